#include "core/os/fs.h"

#include "core/base/str.h"
#include "core/os/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static int read_to_end(int fd, struct strbuf *out, enum err_kind too_long, struct err *err)
{
    char chunk[16384];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, ERR_PERM, errno, "read");
        if (strbuf_add(out, chunk, (size_t)got) < 0)
            return err_set(err, too_long, EMSGSIZE, "longer than %zu bytes", out->max);
    }
}

int fs_read_file(const char *path, struct strbuf *out, struct err *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd CLEANUP(cleanup_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
                       "%s: not a regular file", path);
    if (read_to_end(fd, out, ERR_CONFIG, err) < 0)
        return err_wrap(err, "%s", path);
    return 0;
}

int fs_read_fd(int fd, struct strbuf *out, struct err *err)
{
    return read_to_end(fd, out, ERR_INPUT, err);
}

int fs_write_all(int fd, const void *data, size_t len, struct err *err)
{
    const char *p = data;
    while (len) {
        ssize_t put = write(fd, p, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_errno(err, ERR_PERM, errno, "write");
        p += put;
        len -= (size_t)put;
    }
    return 0;
}

const char *fs_dirname(struct arena *a, const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len && path[len - 1] != '/')
        len--;
    if (!len)
        return ".";
    while (len > 1 && path[len - 1] == '/')
        len--;
    return arena_strndup(a, path, len);
}

static int sync_directory_of(const char *path, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *dir = fs_dirname(&a, path);
    int fd CLEANUP(cleanup_fd) = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_errno(err, ERR_PERM, errno, "sync %s", dir);
    return 0;
}

static int write_new_file(const char *path, const void *data, size_t len, mode_t mode,
                          struct err *err)
{
    int fd CLEANUP(cleanup_fd) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_PERM, errno, "create %s", path);
    if (fs_write_all(fd, data, len, err) < 0)
        return err_wrap(err, "%s", path);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", path);
    int closing = fd;
    fd = -1;
    if (close(closing) < 0)
        return err_errno(err, ERR_PERM, errno, "close %s", path);
    return 0;
}

int fs_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
    char suffix[17];
    random_hex(suffix, 8);
    char *beside CLEANUP(cleanup_free) = xasprintf("%s.%s.tmp", path, suffix);
    if (write_new_file(beside, data, len, mode, err) < 0) {
        (void)unlink(beside);
        return -1;
    }
    if (rename(beside, path) < 0) {
        int failure = errno;
        (void)unlink(beside);
        return err_errno(err, ERR_PERM, failure, "rename to %s", path);
    }
    return sync_directory_of(path, err);
}

static int make_directory(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) == 0)
        return 0;
    int failure = errno;
    struct stat st;
    /* On a read-only file system mkdir says so before it says that the directory exists. */
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        failure = ENOTDIR;
    }
    return err_errno(err, ERR_CONFIG, failure, "make directory %s", path);
}

int fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
    char *copy CLEANUP(cleanup_free) = xstrdup(path);
    for (char *p = copy + 1; *copy && *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        if (make_directory(copy, mode, err) < 0)
            return -1;
        *p = '/';
    }
    return make_directory(path, mode, err);
}

static int remove_at(int dir_fd, const char *name);

static int remove_entries(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *dir CLEANUP(cleanup_dir) = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return -1;
    }
    for (struct dirent *entry; (errno = 0, entry = readdir(dir));) {
        if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
            continue;
        if (remove_at(fd, entry->d_name) < 0)
            return -1;
    }
    return errno ? -1 : 0;
}

static int remove_at(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    /* POSIX says EPERM for a directory, Linux says EISDIR. */
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (remove_entries(dir_fd, name) < 0)
        return -1;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

int fs_remove_tree(const char *path, struct err *err)
{
    if (remove_at(AT_FDCWD, path) < 0)
        return err_errno(err, ERR_PERM, errno, "remove %s", path);
    return 0;
}

bool fs_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int fs_list(const char *dir, const char *suffix, struct arena *a, struct str_list *out,
            struct err *err)
{
    DIR *stream CLEANUP(cleanup_dir) = opendir(dir);
    if (!stream)
        return err_errno(err, ERR_CONFIG, errno, "%s", dir);
    struct str_list names = {0};
    for (struct dirent *entry; (errno = 0, entry = readdir(stream));) {
        const char *name = entry->d_name;
        if (!str_eq(name, ".") && !str_eq(name, "..") && str_ends(name, suffix ? suffix : ""))
            *list_push(a, &names) = arena_strdup(a, name);
    }
    if (errno)
        return err_errno(err, ERR_CONFIG, errno, "%s", dir);
    if (names.n)
        qsort(names.at, names.n, sizeof *names.at, compare_names);
    *out = names;
    return 0;
}
