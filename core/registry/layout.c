#include "core/registry/layout.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/layout_index.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/registry/layout_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

int layout_read_small(const struct layout *l, int at, const char *name, const char *shown,
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

/* --- opening and making one ----------------------------------------------------------------------
 */

static bool is_leftover(const char *name)
{
    return str_ends(name, LAYOUT_TEMPORARY_END);
}

static int check_empty(const struct layout *l, struct err *err)
{
    int fd = layout_again(l);
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
    if (mkdirat(l->fd, LAYOUT_BLOBS, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_CONFIG, errno, "make directory %s/" LAYOUT_BLOBS, l->path);
    int folder = layout_again(l);
    if (folder < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", l->path);
    return layout_write_whole(l, folder, LAYOUT_VERSION_FILE, LAYOUT_VERSION_FILE,
                              LAYOUT_VERSION_TEXT, strlen(LAYOUT_VERSION_TEXT), err);
}

static int check_or_make(const struct layout *l, bool create, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    /* Only a writer locks: a layout may be read where nothing can be written. */
    int held CLEANUP(cleanup_fd) = create ? layout_lock(l, err) : -1;
    if (create && held < 0)
        return -1;
    if (layout_read_small(l, l->fd, LAYOUT_VERSION_FILE, LAYOUT_VERSION_FILE, KIB(64), &a, &bytes,
                          &len, &absent, err) < 0)
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
    struct err spare = ERR_INIT;
    err = err ? err : &spare;
    if (create && fs_mkdirs(path, 0755, err) < 0)
        return NULL;
    struct layout *l = xcalloc(1, sizeof *l);
    l->path = xstrdup(path);
    l->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->fd < 0)
        (void)err_errno(err, ERR_CONFIG, errno, "OCI layout %s", path);
    else if (check_or_make(l, create, err) == 0) {
        if (create)
            layout_drop_leftovers(l);
        return l;
    }
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

int layout_find(const struct layout *l, const char *digest, bool create, struct layout_place *out,
                struct err *err)
{
    out->folder = -1;
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_PERM, EINVAL, "%s: a malformed digest", l->path);
    char algorithm[16];
    size_t len = strcspn(digest, ":");
    (void)snprintf(algorithm, sizeof algorithm, "%.*s", (int)len, digest);
    out->name = digest + len + 1;
    (void)snprintf(out->shown, sizeof out->shown, LAYOUT_BLOBS "/%s/%s", algorithm, out->name);
    if (create && mkdirat(l->fd, LAYOUT_BLOBS, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_PERM, errno, "make directory %s/" LAYOUT_BLOBS, l->path);
    int blobs CLEANUP(cleanup_fd) = open_folder(l->fd, LAYOUT_BLOBS);
    if (blobs < 0)
        return refused(l, LAYOUT_BLOBS, errno, err);
    if (create && mkdirat(blobs, algorithm, 0755) < 0 && errno != EEXIST)
        return err_errno(err, ERR_PERM, errno, "make directory %s/" LAYOUT_BLOBS "/%s", l->path,
                         algorithm);
    out->folder = open_folder(blobs, algorithm);
    return out->folder < 0 ? refused(l, out->shown, errno, err) : 0;
}

int layout_read(struct layout *l, const char *digest, size_t max, struct arena *a,
                const void **bytes, size_t *len, bool *absent, struct err *err)
{
    struct err spare = ERR_INIT;
    err = err ? err : &spare;
    struct layout_place at;
    *absent = false;
    if (layout_find(l, digest, false, &at, err) < 0) {
        *absent = err->code == ENOENT;
        return *absent ? 0 : -1;
    }
    int folder CLEANUP(cleanup_fd) = at.folder;
    if (layout_read_small(l, folder, at.name, at.shown, max, a, bytes, len, absent, err) < 0)
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
    struct layout_place at;
    struct err err;
    struct stat st;
    if (layout_find(l, digest, false, &at, &err) < 0)
        return false;
    int folder CLEANUP(cleanup_fd) = at.folder;
    return fstatat(folder, at.name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_size == size;
}

int layout_open_blob(struct layout *l, const char *digest, int64_t size, struct err *err)
{
    struct err spare = ERR_INIT;
    err = err ? err : &spare;
    struct layout_place at;
    int64_t found = 0;
    if (layout_find(l, digest, false, &at, err) < 0)
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

/* --- index.json ----------------------------------------------------------------------------------
 */

static int read_index(struct layout *l, struct arena *a, struct manifest *out, struct err *err)
{
    const void *bytes = NULL;
    size_t len = 0;
    bool absent;
    *out = (struct manifest){.is_index = true};
    if (layout_read_small(l, l->fd, LAYOUT_INDEX_FILE, LAYOUT_INDEX_FILE, LIMIT_MANIFEST, a, &bytes,
                          &len, &absent, err) < 0)
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
    struct err spare = ERR_INIT;
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

int layout_roots(struct layout *l, struct arena *a, struct descriptors *out, struct err *err)
{
    struct manifest index;
    if (read_index(l, a, &index, err) < 0)
        return -1;
    *out = index.children;
    return 0;
}

int layout_names(struct layout *l, struct arena *a, struct str_list *out, struct err *err)
{
    struct descriptors roots;
    if (layout_roots(l, a, &roots, err) < 0)
        return -1;
    list_each (struct descriptor, d, &roots)
        *list_push(a, out) = d->ref_name ? d->ref_name : "";
    return 0;
}
