#include "core/build/build_source.h"

#include "core/base/str.h"
#include "core/os/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH_MAX 200 /* folders in folders; each holds two descriptors while it is copied */

/* The kernel itself refuses what leads out, links and ".." on the way included. */
static int open_beneath(int dir, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    for (int tries = 0;; tries++) {
        int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        /* EAGAIN: something was renamed meanwhile. */
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN) || tries == 100)
            return fd;
    }
}

static int open_failed(const char *what, const char *path, int failure, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *shown = str_printable(&a, path);
    switch (failure) {
    case EXDEV:
        return err_set(err, ERR_PERM, failure, "%s %.200s leads out of the source", what, shown);
    case ENOENT:
        return err_set(err, ERR_PERM, failure, "%s %.200s is not in the source", what, shown);
    case ENOTDIR:
        return err_set(err, ERR_PERM, failure, "%s %.200s is not a folder", what, shown);
    case ELOOP:
        return err_set(err, ERR_PERM, failure, "%s %.200s: symbolic links lead in a circle", what,
                       shown);
    default:
        return err_errno(err, ERR_PERM, failure, "%s %.200s", what, shown);
    }
}

static int path_of(int fd, struct arena *a, const char **out, struct err *err)
{
    char real[PATH_MAX];
    const char *link = arena_printf(a, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, real, sizeof real - 1);
    if (len < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", link);
    *out = arena_strndup(a, real, (size_t)len);
    return 0;
}

/* path: as the image says it, relative to the source's root. */
static int open_folder(int root, const char *what, const char *path, struct err *err)
{
    int fd = open_beneath(root, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return open_failed(what, path, errno, err);
    return fd;
}

/* 0 also when it is not there: *out stays NULL. */
static int look_for(int root, const char *path, struct arena *a, const char **out, struct err *err)
{
    struct stat st;
    int fd CLEANUP(cleanup_fd) = open_beneath(root, path, O_RDONLY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0)
        return open_failed("container file", path, errno, err);
    if (fstat(fd, &st) < 0)
        return err_errno(err, ERR_PERM, errno, "container file %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_PERM, 0, "container file %.200s is not a regular file", path);
    return path_of(fd, a, out, err);
}

static int find_file(const struct build_spec *spec, const struct build_image *image, int root,
                     const char *folder, struct arena *a, const char **out, struct err *err)
{
    const char *const named[] = {
        image->filename ? arena_printf(a, "%s/%s", image->context, image->filename) : NULL,
        image->filename ? arena_printf(a, "%s/%s", folder, image->filename) : NULL};
    const char *const usual[] = {
        spec->tool == BUILD_DOCKER ? NULL : arena_printf(a, "%s/Containerfile", folder),
        arena_printf(a, "%s/Dockerfile", folder)};
    const char *const *tried = image->filename ? named : usual;
    *out = NULL;
    for (size_t i = 0; i < 2 && !*out; i++)
        if (tried[i] && look_for(root, tried[i], a, out, err) < 0)
            return -1;
    /* A link may have any name; what the tool opens is what counts (build_check.c). */
    if (*out && str_ends(*out, ".in"))
        return err_set(err, ERR_PERM, EINVAL,
                       "the container file is a link to %s: a name with .in at its end would make "
                       "the tool run cpp over it",
                       strrchr(*out, '/') + 1);
    if (*out)
        return 0;
    return err_set(err, ERR_PERM, ENOENT, "no container file: %s%s%s is not in the source",
                   tried[0] ? tried[0] : "", tried[0] && !image->filename ? " or " : "",
                   tried[0] && image->filename ? "" : tried[1]);
}

int build_source_find(const struct build_spec *spec, const struct build_image *image,
                      struct arena *a, struct build_source *out, struct err *err)
{
    *out = (struct build_source){0};
    int root CLEANUP(cleanup_fd) = open(spec->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_errno(err, ERR_PERM, errno, "source %s", spec->source);
    const char *folder =
        image->path ? arena_printf(a, "%s/%s", image->context, image->path) : image->context;
    int context CLEANUP(cleanup_fd) = open_folder(root, "context", image->context, err);
    if (context < 0)
        return -1;
    int sent CLEANUP(cleanup_fd) = open_folder(root, "path", folder, err);
    if (sent < 0 || path_of(sent, a, &out->context, err) < 0)
        return -1;
    return find_file(spec, image, root, folder, a, &out->filename, err);
}

struct copying {
    int64_t left; /* bytes */
    int depth;
};

static int copy_folder(struct copying *c, int from, int to, struct err *err);

static int copy_bytes(struct copying *c, int from, int to, struct err *err)
{
    char chunk[65536];
    for (;;) {
        ssize_t got = read(from, chunk, sizeof chunk);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, ERR_PERM, errno, "read");
        c->left -= got;
        if (c->left < 0)
            return err_set(err, ERR_PERM, EFBIG,
                           "context and siblings are larger than a build may be");
        if (fs_write_all(to, chunk, (size_t)got, err) < 0)
            return -1;
    }
}

/* Both get into the image. */
static int keep_looks(int fd, const struct stat *st)
{
    const struct timespec times[] = {st->st_atim, st->st_mtim};
    return fchmod(fd, st->st_mode & 0777) < 0 ? -1 : futimens(fd, times);
}

static int copy_file(struct copying *c, int from, int to, const char *name, struct err *err)
{
    struct stat st;
    int in CLEANUP(cleanup_fd) = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    int out CLEANUP(cleanup_fd) = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    if (copy_bytes(c, in, out, err) < 0)
        return err_wrap(err, "%s", name);
    return keep_looks(out, &st) < 0 ? err_errno(err, ERR_PERM, errno, "%s", name) : 0;
}

static int copy_link(int from, int to, const char *name, struct err *err)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(from, name, target, sizeof target - 1);
    if (len < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    target[len] = '\0';
    if (symlinkat(target, to, name) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    return 0;
}

static int copy_subfolder(struct copying *c, int from, int to, const char *name, struct err *err)
{
    struct stat st;
    int in CLEANUP(cleanup_fd) =
        openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0 || mkdirat(to, name, 0755) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    int out CLEANUP(cleanup_fd) = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    if (++c->depth > DEPTH_MAX)
        return err_set(err, ERR_PERM, ELOOP, "%s: more than %d folders deep", name, DEPTH_MAX);
    if (copy_folder(c, in, out, err) < 0)
        return err_wrap(err, "%s", name);
    c->depth--;
    return keep_looks(out, &st) < 0 ? err_errno(err, ERR_PERM, errno, "%s", name) : 0;
}

static int copy_entry(struct copying *c, int from, int to, const char *name, struct err *err)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", name);
    if (S_ISDIR(st.st_mode))
        return copy_subfolder(c, from, to, name, err);
    if (S_ISREG(st.st_mode))
        return copy_file(c, from, to, name, err);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name, err);
    return 0; /* sockets and the like are no part of a source */
}

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static int copy_folder(struct copying *c, int from, int to, struct err *err)
{
    int listed = dup(from);
    DIR *dir CLEANUP(cleanup_dir) = listed < 0 ? NULL : fdopendir(listed);
    if (!dir) {
        cleanup_fd(&listed);
        return err_errno(err, ERR_PERM, errno, "list");
    }
    for (const struct dirent *entry; (errno = 0, entry = readdir(dir));) {
        if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
            continue;
        if (copy_entry(c, from, to, entry->d_name, err) < 0)
            return -1;
    }
    return errno ? err_errno(err, ERR_PERM, errno, "list") : 0;
}

/* The folder for host/a/b, made as far as it is not there; no link is in a tree that we made. */
static int make_folders(int top, const char *name, struct arena *a, struct err *err)
{
    struct str_list parts = str_split(a, name, '/');
    int at = dup(top);
    for (size_t i = 0; at >= 0 && i < parts.n; i++) {
        bool made = mkdirat(at, parts.at[i], 0755) == 0 || errno == EEXIST;
        int next =
            made ? openat(at, parts.at[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        int failure = errno;
        (void)close(at);
        errno = failure;
        at = next;
    }
    if (at < 0)
        return err_errno(err, ERR_PERM, errno, BUILD_SIBLINGS "/%s", name);
    return at;
}

static int put_sibling(const char *siblings, const char *name, int top, struct copying *c,
                       struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    int root CLEANUP(cleanup_fd) = open(siblings, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_errno(err, ERR_PERM, errno, "%s", siblings);
    int from CLEANUP(cleanup_fd) = open_beneath(root, name, O_RDONLY | O_DIRECTORY);
    if (from < 0)
        return err_set(err, ERR_PERM, errno, "the project was not checked out beside this one");
    int to CLEANUP(cleanup_fd) = make_folders(top, name, &a, err);
    if (to < 0)
        return -1;
    return copy_folder(c, from, to, err);
}

/* The copy of the context, with an empty folder for the siblings in it; returns the latter. */
static int copy_context(struct copying *c, const char *context, const char *to, struct err *err)
{
    int from CLEANUP(cleanup_fd) = open(context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0 || mkdir(to, 0755) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", from < 0 ? context : to);
    int copy CLEANUP(cleanup_fd) = open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (copy < 0)
        return err_errno(err, ERR_PERM, errno, "%s", to);
    if (faccessat(from, BUILD_SIBLINGS, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return err_set(err, ERR_PERM, EEXIST,
                       "siblings: %s/" BUILD_SIBLINGS " is there already: remove it", context);
    if (copy_folder(c, from, copy, err) < 0)
        return err_wrap(err, "context");
    if (mkdirat(copy, BUILD_SIBLINGS, 0755) < 0)
        return err_errno(err, ERR_PERM, errno, "%s/" BUILD_SIBLINGS, to);
    int top = openat(copy, BUILD_SIBLINGS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return top < 0 ? err_errno(err, ERR_PERM, errno, "%s/" BUILD_SIBLINGS, to) : top;
}

int build_siblings_join(const struct build_spec *spec, const struct build_image *image,
                        const char *context, const char *to, int64_t max, struct err *err)
{
    struct copying c = {.left = max};
    int top CLEANUP(cleanup_fd) = copy_context(&c, context, to, err);
    if (top < 0)
        return -1;
    for (size_t i = 0; i < image->siblings.n; i++)
        if (put_sibling(spec->siblings, image->siblings.at[i], top, &c, err) < 0)
            return err_wrap(err, "sibling %s", image->siblings.at[i]);
    return 0;
}
