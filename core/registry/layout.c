#include "core/registry/layout.h"

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

#define BLOBS "blobs"
#define TEMPORARY_END ".slipway-tmp"

struct layout {
    int fd;
    char *path;
};

/* --- files below the directory, never through a symbolic link ------------------------------------
 */

/* Everything in the directory may have been put there by somebody else. */
static int open_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int refused(const struct layout *l, const char *name, int failure, struct err *err)
{
    if (failure == ELOOP)
        return err_set(err, ERR_PERM, ELOOP, "%s/%s is a symbolic link: a layout has none", l->path,
                       name);
    if (failure == ENOTDIR)
        return err_set(err, ERR_PERM, ENOTDIR, "%s/%s is not a plain directory", l->path, name);
    return err_errno(err, ERR_PERM, failure, "%s/%s", l->path, name);
}

/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
static int open_regular(const struct layout *l, int at, const char *name, const char *shown,
                        int64_t *size, struct err *err)
{
    int fd CLEANUP(cleanup_fd) =
        openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return refused(l, shown, errno, err);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_PERM, EINVAL, "%s/%s is not a regular file", l->path, shown);
    *size = st.st_size;
    int out = fd;
    fd = -1;
    return out;
}

/* A whole file of bounded size; *absent when there is none (and then no error). */
static int read_small(const struct layout *l, int at, const char *name, const char *shown,
                      size_t max, struct arena *a, const void **bytes, size_t *len, bool *absent,
                      struct err *err)
{
    int64_t size = 0;
    *absent = false;
    int fd CLEANUP(cleanup_fd) = open_regular(l, at, name, shown, &size, err);
    if (fd < 0) {
        *absent = err->code == ENOENT;
        return *absent ? 0 : -1;
    }
    if (size > (int64_t)max)
        return err_set(err, ERR_PERM, EFBIG, "%s/%s: %lld bytes, more than the %zu allowed",
                       l->path, shown, (long long)size, max);
    struct strbuf buf CLEANUP_STRBUF = STRBUF_INIT(max);
    if (fs_read_fd(fd, &buf, err) < 0) {
        err->kind = err->kind == ERR_INPUT ? ERR_PERM : err->kind;
        return err_wrap(err, "%s/%s", l->path, shown);
    }
    *bytes = strbuf_to_arena(&buf, a);
    *len = buf.len;
    return 0;
}

/* A name beside the final one, which nobody else has. */
static int create_beside(const struct layout *l, int folder, const char *final, const char *shown,
                         struct layout_file *out, struct err *err)
{
    char suffix[17];
    random_hex(suffix, 8);
    *out = (struct layout_file){.fd = -1, .folder = folder};
    out->temporary = xasprintf(".%.64s.%s" TEMPORARY_END, final, suffix);
    out->final = xstrdup(final);
    out->shown = xasprintf("%s/%s", l->path, shown);
    out->fd =
        openat(folder, out->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (out->fd >= 0)
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

/* The whole file in the place of the one that is there. Takes over the folder's descriptor. */
static int write_whole(const struct layout *l, int folder, const char *name, const char *shown,
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

static int again(const struct layout *l)
{
    return openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* One writer of the small files at a time, threads of this process included: a lock belongs to an
 * open file. Released by closing it. */
static int lock(const struct layout *l, struct err *err)
{
    int fd = again(l);
    int rc = -1;
    while (fd >= 0 && (rc = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
        continue;
    if (rc == 0)
        return fd;
    int failure = errno;
    cleanup_fd(&fd);
    return err_errno(err, ERR_PERM, failure, "lock %s", l->path);
}

/* --- opening and making one ----------------------------------------------------------------------
 */

static bool is_leftover(const char *name)
{
    return str_ends(name, TEMPORARY_END);
}

static int check_empty(const struct layout *l, struct err *err)
{
    int fd = again(l);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int failure = errno;
        cleanup_fd(&fd);
        return err_errno(err, ERR_CONFIG, failure, "%s", l->path);
    }
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(dir));)
        empty = str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || is_leftover(e->d_name);
    (void)closedir(dir);
    if (!empty)
        return err_set(err, ERR_CONFIG, ENOTEMPTY,
                       "%s holds other files and is no OCI layout (no %s): name an empty or a new "
                       "directory",
                       l->path, LAYOUT_VERSION_FILE);
    return 0;
}

static int make(const struct layout *l, struct err *err)
{
    if (check_empty(l, err) < 0)
        return -1;
    if (mkdirat(l->fd, BLOBS, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_CONFIG, errno, "make directory %s/" BLOBS, l->path);
    int folder = again(l);
    if (folder < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", l->path);
    return write_whole(l, folder, LAYOUT_VERSION_FILE, LAYOUT_VERSION_FILE, LAYOUT_VERSION_TEXT,
                       strlen(LAYOUT_VERSION_TEXT), err);
}

static int check_or_make(const struct layout *l, bool create, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    /* Only a writer locks: a layout may be read where nothing can be written. */
    int held CLEANUP(cleanup_fd) = create ? lock(l, err) : -1;
    if (create && held < 0)
        return -1;
    if (read_small(l, l->fd, LAYOUT_VERSION_FILE, LAYOUT_VERSION_FILE, KIB(64), &a, &bytes, &len,
                   &absent, err) < 0)
        return -1;
    if (absent && create)
        return make(l, err);
    if (absent)
        return err_set(err, ERR_CONFIG, ENOENT, "%s is no OCI layout: it has no file %s", l->path,
                       LAYOUT_VERSION_FILE);
    return layout_index_version(bytes, len, err) < 0 ? err_wrap(err, "%s", l->path) : 0;
}

struct layout *layout_open(const char *path, bool create, struct err *err)
{
    struct err spare;
    err = err ? err : &spare;
    if (create && fs_mkdirs(path, 0755, err) < 0)
        return NULL;
    struct layout *l = xcalloc(1, sizeof *l);
    l->path = xstrdup(path);
    l->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->fd < 0)
        (void)err_errno(err, ERR_CONFIG, errno, "OCI layout %s", path);
    else if (check_or_make(l, create, err) == 0)
        return l;
    err->kind = err->kind == ERR_TEMP ? ERR_TEMP : ERR_CONFIG;
    layout_close(l);
    return NULL;
}

/* An empty directory that nobody can find any more stands for one that is not there yet. */
static int open_supposed(const char *path)
{
    char folder[] = "/tmp/slipway.XXXXXX";
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT || !mkdtemp(folder))
        return fd;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)rmdir(folder);
    return fd;
}

struct layout *layout_suppose(const char *path, struct err *err)
{
    struct layout *l = xcalloc(1, sizeof *l);
    int rc = -1;
    l->path = xstrdup(path);
    l->fd = open_supposed(path);
    if (l->fd < 0)
        (void)err_errno(err, ERR_CONFIG, errno, "OCI layout %s", path);
    else if (faccessat(l->fd, LAYOUT_VERSION_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        rc = check_or_make(l, false, err);
    else
        rc = check_empty(l, err);
    if (rc == 0)
        return l;
    layout_close(l);
    return NULL;
}

void layout_close(struct layout *l)
{
    if (!l)
        return;
    cleanup_fd(&l->fd);
    free(l->path);
    free(l);
}

const char *layout_path(const struct layout *l)
{
    return l->path;
}

/* --- blobs ---------------------------------------------------------------------------------------
 */

/* Where a blob is: its folder opened, its file's name. -1 also for what is no digest, so that no
 * stranger's text ever becomes a path. */
struct place_of_blob {
    int folder;
    const char *name;
    char shown[sizeof BLOBS + CRYPT_HASH_TEXT];
};

static int find(const struct layout *l, const char *digest, bool create, struct place_of_blob *out,
                struct err *err)
{
    out->folder = -1;
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_PERM, EINVAL, "%s: a malformed digest", l->path);
    char algorithm[16];
    size_t len = strcspn(digest, ":");
    (void)snprintf(algorithm, sizeof algorithm, "%.*s", (int)len, digest);
    out->name = digest + len + 1;
    (void)snprintf(out->shown, sizeof out->shown, BLOBS "/%s/%s", algorithm, out->name);
    if (create && mkdirat(l->fd, BLOBS, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_PERM, errno, "make directory %s/" BLOBS, l->path);
    int blobs CLEANUP(cleanup_fd) = open_folder(l->fd, BLOBS);
    if (blobs < 0)
        return refused(l, BLOBS, errno, err);
    if (create && mkdirat(blobs, algorithm, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_PERM, errno, "make directory %s/" BLOBS "/%s", l->path,
                         algorithm);
    out->folder = open_folder(blobs, algorithm);
    return out->folder < 0 ? refused(l, out->shown, errno, err) : 0;
}

int layout_read(struct layout *l, const char *digest, size_t max, struct arena *a,
                const void **bytes, size_t *len, bool *absent, struct err *err)
{
    struct err spare;
    err = err ? err : &spare;
    struct place_of_blob at;
    *absent = false;
    if (find(l, digest, false, &at, err) < 0) {
        *absent = err->code == ENOENT;
        return *absent ? 0 : -1;
    }
    int folder CLEANUP(cleanup_fd) = at.folder;
    if (read_small(l, folder, at.name, at.shown, max, a, bytes, len, absent, err) < 0)
        return -1;
    if (*absent)
        return 0;
    struct crypt_hash *hash CLEANUP_CRYPT_HASH = crypt_hash_new_for(digest);
    char found[CRYPT_HASH_TEXT];
    crypt_hash_update(hash, *bytes, *len);
    crypt_hash_digest(hash, found);
    if (!str_eq(found, digest))
        return err_set(err, ERR_PERM, 0, "%s/%s: wrong bytes: they have the digest %s", l->path,
                       at.shown, found);
    return 0;
}

bool layout_has(struct layout *l, const char *digest, int64_t size)
{
    struct place_of_blob at;
    struct err err;
    struct stat st;
    if (find(l, digest, false, &at, &err) < 0)
        return false;
    int folder CLEANUP(cleanup_fd) = at.folder;
    return fstatat(folder, at.name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_size == size;
}

int layout_open_blob(struct layout *l, const char *digest, int64_t size, struct err *err)
{
    struct err spare;
    err = err ? err : &spare;
    struct place_of_blob at;
    int64_t found = 0;
    if (find(l, digest, false, &at, err) < 0)
        return -1;
    int folder CLEANUP(cleanup_fd) = at.folder;
    int fd CLEANUP(cleanup_fd) = open_regular(l, folder, at.name, at.shown, &found, err);
    if (fd < 0)
        return -1;
    if (found != size)
        return err_set(err, ERR_PERM, 0, "%s/%s: wrong bytes: %lld of them instead of %lld",
                       l->path, at.shown, (long long)found, (long long)size);
    int out = fd;
    fd = -1;
    return out;
}

int layout_create_blob(struct layout *l, const char *digest, struct layout_file *out,
                       struct err *err)
{
    struct place_of_blob at;
    *out = (struct layout_file){.fd = -1, .folder = -1};
    if (find(l, digest, true, &at, err) < 0)
        return -1;
    return create_beside(l, at.folder, at.name, at.shown, out, err);
}

int layout_write(struct layout *l, const char *digest, const void *bytes, size_t len,
                 struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct place_of_blob at;
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
    struct err ignored;
    if (layout_read(l, digest, len, &a, &there, &there_len, &absent, &ignored) == 0 && !absent)
        return 0;
    if (find(l, digest, true, &at, err) < 0)
        return -1;
    return write_whole(l, at.folder, at.name, at.shown, bytes, len, err);
}

/* --- index.json ----------------------------------------------------------------------------------
 */

static int read_index(struct layout *l, struct arena *a, struct manifest *out, struct err *err)
{
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    *out = (struct manifest){.is_index = true};
    if (read_small(l, l->fd, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE, LIMIT_MANIFEST, a, &bytes, &len,
                   &absent, err) < 0)
        return -1;
    /* One that was just made has no image yet. */
    if (absent)
        return 0;
    return layout_index_parse(bytes, len, a, out, err) < 0 ? err_wrap(err, "%s", l->path) : 0;
}

/* A manifest that somebody names by its digest, root or not. */
static int by_digest(struct layout *l, const struct manifest *index, const char *digest,
                     struct arena *a, struct descriptor *out, bool *absent, struct err *err)
{
    list_each (struct descriptor, d, &index->children)
        if (str_eq(d->digest, digest)) {
            *out = *d;
            return 0;
        }
    const void *bytes;
    size_t len;
    struct manifest m;
    if (layout_read(l, digest, LIMIT_MANIFEST, a, &bytes, &len, absent, err) < 0)
        return -1;
    if (*absent)
        return err_set(err, ERR_PERM, ENOENT, "%s: no manifest %s in this layout", l->path, digest);
    if (manifest_parse(bytes, len, NULL, a, &m, err) < 0)
        return err_wrap(err, "%s: %s", l->path, digest);
    *out = (struct descriptor){
        .media_type = m.media_type, .digest = arena_strdup(a, digest), .size = (int64_t)len};
    return 0;
}

int layout_root(struct layout *l, const char *ref_name, struct arena *a, struct descriptor *out,
                bool *absent, struct err *err)
{
    struct err spare;
    err = err ? err : &spare;
    struct manifest index;
    const struct descriptor *root;
    *absent = false;
    if (read_index(l, a, &index, err) < 0)
        return -1;
    if (ref_name && imageref_digest_ok(ref_name))
        return by_digest(l, &index, ref_name, a, out, absent, err);
    if (layout_index_root(&index, ref_name, &root, err) == 0) {
        *out = *root;
        return 0;
    }
    /* Several that match a name are a contradiction, not an absence. */
    *absent = ref_name != NULL;
    list_each (struct descriptor, d, &index.children)
        if (str_eq(d->ref_name, ref_name) || str_eq(d->image_name, ref_name))
            *absent = false;
    err->kind = ERR_PERM;
    return err_wrap(err, "%s", l->path);
}

int layout_set_root(struct layout *l, const struct descriptor *root, const char *ref_name,
                    struct err *err)
{
    struct err spare;
    err = err ? err : &spare;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    struct descriptor entry = *root;
    entry.ref_name = ref_name;
    int held CLEANUP(cleanup_fd) = lock(l, err);
    if (held < 0 || read_small(l, l->fd, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE, LIMIT_MANIFEST, &a,
                               &bytes, &len, &absent, err) < 0)
        return -1;
    const char *text = layout_index_put(absent ? NULL : bytes, len, &entry, &a, err);
    if (!text)
        return err_wrap(err, "%s", l->path);
    if (strlen(text) > LIMIT_MANIFEST)
        return err_set(err, ERR_PERM, EFBIG, "%s/%s would be larger than %zu bytes", l->path,
                       LAYOUT_INDEX_FILE, LIMIT_MANIFEST);
    int folder = again(l);
    if (folder < 0)
        return err_errno(err, ERR_PERM, errno, "%s", l->path);
    return write_whole(l, folder, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE, text, strlen(text), err);
}

int layout_names(struct layout *l, struct arena *a, struct str_list *out, struct err *err)
{
    struct manifest index;
    if (read_index(l, a, &index, err) < 0)
        return -1;
    list_each (struct descriptor, d, &index.children)
        *list_push(a, out) = d->ref_name ? d->ref_name : "";
    return 0;
}
