#include "core/registry/layout_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/layout_index.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/os/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CREATE_TRIES = 8 };

static int lock_file(int fd, int how)
{
    int rc;
    while ((rc = flock(fd, how)) < 0 && errno == EINTR)
        continue;
    return rc;
}

/* --- temporary files -----------------------------------------------------------------------------
 */

/* A writer holds a lock on its temporary file: one that can be locked has lost its writer. */
static void drop_if_left(int folder, const char *name)
{
    struct stat st;
    int fd CLEANUP(cleanup_fd) =
        openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        lock_file(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(folder, name, 0);
}

static void drop_leftovers_in(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        cleanup_fd(&fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] == '.' && str_ends(e->d_name, LAYOUT_TEMPORARY_END))
            drop_if_left(fd, e->d_name);
    (void)closedir(dir);
}

void layout_drop_leftovers(const struct layout *l)
{
    int blobs CLEANUP(cleanup_fd) =
        openat(l->fd, LAYOUT_BLOBS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    drop_leftovers_in(l->fd, ".");
    if (blobs < 0)
        return;
    drop_leftovers_in(blobs, "sha256");
    drop_leftovers_in(blobs, "sha512");
}

/* Locked, and still there: between its making and its locking somebody may have taken it for a
 * leftover. */
static int hold(struct layout_file *f)
{
    struct stat st;
    if (lock_file(f->fd, LOCK_EX) < 0 || fstat(f->fd, &st) < 0)
        return -1;
    if (st.st_nlink > 0)
        return 0;
    errno = EAGAIN;
    return -1;
}

static int create_held(struct layout_file *f)
{
    for (int i = 0; i < CREATE_TRIES; i++) {
        f->fd = openat(f->folder, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                       0644);
        if (f->fd < 0 || hold(f) == 0)
            return f->fd < 0 ? -1 : 0;
        if (errno != EAGAIN)
            return -1;
        cleanup_fd(&f->fd);
    }
    errno = EAGAIN;
    return -1;
}

/* A name beside the final one, which nobody else has. */
static int create_beside(const struct layout *l, int folder, const char *final, const char *shown,
                         struct layout_file *out, struct err *err)
{
    char suffix[17];
    random_hex(suffix, 8);
    *out = (struct layout_file){.fd = -1, .folder = folder};
    out->temporary = xasprintf(".%.64s.%s" LAYOUT_TEMPORARY_END, final, suffix);
    out->final = xstrdup(final);
    out->shown = xasprintf("%s/%s", l->path, shown);
    if (create_held(out) == 0)
        return 0;
    int failure = errno;
    layout_drop_blob(out);
    return err_errno(err, ERR_PERM, failure, "create %s/%s", l->path, shown);
}

void layout_drop_blob(struct layout_file *f)
{
    if (f->fd >= 0)
        (void)unlinkat(f->folder, f->temporary, 0);
    cleanup_fd(&f->fd);
    cleanup_fd(&f->folder);
    free(f->temporary);
    free(f->final);
    free(f->shown);
    f->temporary = f->final = f->shown = NULL;
}

int layout_keep_blob(struct layout_file *f, struct err *err)
{
    int rc = 0;
    if (fsync(f->fd) < 0)
        rc = err_errno(err, ERR_PERM, errno, "write %s", f->shown);
    else if (renameat(f->folder, f->temporary, f->folder, f->final) < 0)
        rc = err_errno(err, ERR_PERM, errno, "rename to %s", f->shown);
    else if (fsync(f->folder) < 0)
        rc = err_errno(err, ERR_PERM, errno, "sync the folder of %s", f->shown);
    /* Once it is renamed there is nothing under the temporary name. */
    layout_drop_blob(f);
    return rc;
}

int layout_write_whole(const struct layout *l, int folder, const char *name, const char *shown,
                       const void *bytes, size_t len, struct err *err)
{
    struct layout_file f;
    if (create_beside(l, folder, name, shown, &f, err) < 0)
        return -1;
    if (fs_write_all(f.fd, bytes, len, err) < 0) {
        (void)err_wrap(err, "%s", f.shown);
        layout_drop_blob(&f);
        return -1;
    }
    return layout_keep_blob(&f, err);
}

int layout_again(const struct layout *l)
{
    return openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int layout_lock(const struct layout *l, struct err *err)
{
    int fd = layout_again(l);
    int rc = -1;
    if (fd >= 0)
        rc = lock_file(fd, LOCK_EX);
    if (rc == 0)
        return fd;
    int failure = errno;
    cleanup_fd(&fd);
    return err_errno(err, ERR_PERM, failure, "lock %s", l->path);
}

int layout_create_blob(struct layout *l, const char *digest, struct layout_file *out,
                       struct err *err)
{
    struct layout_place at;
    *out = (struct layout_file){.fd = -1, .folder = -1};
    if (layout_find(l, digest, true, &at, err) < 0)
        return -1;
    return create_beside(l, at.folder, at.name, at.shown, out, err);
}

int layout_write(struct layout *l, const char *digest, const void *bytes, size_t len,
                 struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct layout_place at;
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_BUG, 0, "%s: a blob with a malformed digest", l->path);
    struct crypt_hash *hash CLEANUP_CRYPT_HASH = crypt_hash_new_for(digest);
    char found[CRYPT_HASH_TEXT];
    crypt_hash_update(hash, bytes, len);
    crypt_hash_digest(hash, found);
    if (!str_eq(found, digest))
        return err_set(err, ERR_BUG, 0, "%s: the bytes to write are not those of %s", l->path,
                       digest);
    const void *there;
    size_t there_len;
    bool absent;
    struct err ignored = ERR_INIT;
    if (layout_read(l, digest, len, &a, &there, &there_len, &absent, &ignored) == 0 && !absent)
        return 0;
    if (layout_find(l, digest, true, &at, err) < 0)
        return -1;
    return layout_write_whole(l, at.folder, at.name, at.shown, bytes, len, err);
}

int layout_set_root(struct layout *l, const struct descriptor *root, const char *ref_name,
                    struct err *err)
{
    struct err spare = ERR_INIT;
    err = err ? err : &spare;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    struct descriptor entry = *root;
    entry.ref_name = ref_name;
    int held CLEANUP(cleanup_fd) = layout_lock(l, err);
    if (held < 0 || layout_read_small(l, l->fd, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE,
                                      LIMIT_MANIFEST, &a, &bytes, &len, &absent, err) < 0)
        return -1;
    const char *text = layout_index_put(absent ? NULL : bytes, len, &entry, &a, err);
    if (!text)
        return err_wrap(err, "%s", l->path);
    if (strlen(text) > LIMIT_MANIFEST)
        return err_set(err, ERR_PERM, EFBIG, "%s/%s would be larger than %zu bytes", l->path,
                       LAYOUT_INDEX_FILE, LIMIT_MANIFEST);
    int folder = layout_again(l);
    if (folder < 0)
        return err_errno(err, ERR_PERM, errno, "%s", l->path);
    return layout_write_whole(l, folder, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE, text, strlen(text),
                              err);
}
