#include "core/registry/blob.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/registry/download.h"
#include "core/registry/redirect.h"
#include "core/registry/registry_internal.h"
#include "core/registry/stream.h"
#include "core/registry/upload.h"

#include <errno.h>
#include <unistd.h>

static const char *where(const struct endpoint *at, struct arena *a)
{
    return at->layout ? layout_path(at->layout) : arena_printf(a, "%s/%s", at->host, at->name);
}

static int check_endpoint(const struct endpoint *at, struct registry_host **host, struct err *err)
{
    *host = NULL;
    if (at->layout)
        return 0;
    if (!at->registry || !at->host || !at->name || !imageref_name_ok(at->name))
        return err_set(err, ERR_BUG, 0, "a request for a blob without a legal name");
    *host = registry_find(at->registry, at->host, at->access.anonymous);
    if (!*host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", at->host,
                       at->name);
    return 0;
}

static int check_digest(const char *digest, struct err *err)
{
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_PERM, 0, "a blob with a malformed digest");
    return 0;
}

static void digest_of(const char *like, const void *bytes, size_t len, char out[CRYPT_HASH_TEXT])
{
    struct crypt_hash *hash CLEANUP_CRYPT_HASH = crypt_hash_new_for(like);
    crypt_hash_update(hash, bytes, len);
    crypt_hash_digest(hash, out);
}

/* --- is it there ------------------------------------------------------------------------------ */

static struct exchange exchange_for(const struct endpoint *at, struct registry_host *host,
                                    const char *method, const char *path, size_t max)
{
    return (struct exchange){.host = host,
                             .name = at->name,
                             .access = at->access,
                             .method = method,
                             .path = path,
                             .max_body = max};
}

static bool size_fits(const struct http_resp *resp, int64_t size)
{
    const char *length = http_header(&resp->headers, "Content-Length");
    int64_t told;
    return !length || (str_to_i64(length, &told) && told == size);
}

/* What an answer to HEAD says. */
static int sight_of(struct registry *r, struct exchange *x, const struct endpoint *at,
                    const struct descriptor *blob, struct arena *a, enum blob_sight *out,
                    struct err *err)
{
    const char *what = download_what(a, at->name, blob->digest), *moved = NULL;
    if (x->failed) {
        *err = x->err;
        return err_wrap(err, "%s/%s", at->host, what);
    }
    if (redirect_follow(r, a, x, what, &moved, err) < 0)
        return err_wrap(err, "%s/%s", at->host, what);
    bool known = x->resp.status == 200 || x->resp.status == 404;
    if (!known && !moved)
        return exchange_refused(x, "look for", what, err);
    *out = !known                                                     ? BLOB_UNSURE
           : x->resp.status == 200 && size_fits(&x->resp, blob->size) ? BLOB_SEEN
                                                                      : BLOB_ABSENT;
    return 0;
}

int blobs_look(const struct endpoint *at, const struct descriptor *const *blobs, size_t n,
               struct arena *a, enum blob_sight *out, struct err *err)
{
    struct registry_host *host = NULL;
    struct exchange *x = arena_alloc(a, (n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        if (check_digest(blobs[i]->digest, err) < 0)
            return -1;
    if (check_endpoint(at, &host, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *path = arena_printf(a, "blobs/%s", blobs[i]->digest);
        if (at->layout)
            out[i] =
                layout_has(at->layout, blobs[i]->digest, blobs[i]->size) ? BLOB_SEEN : BLOB_ABSENT;
        else
            x[i] = exchange_for(at, host, "HEAD", path, LIMIT_ERROR_BODY);
    }
    if (at->layout)
        return 0;
    exchange_all(at->registry, a, x, n);
    for (size_t i = 0; i < n; i++)
        if (sight_of(at->registry, &x[i], at, blobs[i], a, &out[i], err) < 0)
            return -1;
    return 0;
}

int blob_exists(const struct endpoint *at, const struct descriptor *blob, struct arena *a,
                bool *there, struct err *err)
{
    enum blob_sight sight = BLOB_ABSENT;
    int rc = blobs_look(at, &blob, 1, a, &sight, err);
    *there = rc == 0 && sight == BLOB_SEEN;
    return rc;
}

/* --- small ones in memory --------------------------------------------------------------------- */

int blob_read(const struct endpoint *from, const char *digest, size_t max, struct arena *a,
              const void **bytes, size_t *len, struct err *err)
{
    struct registry_host *host;
    const char *moved;
    bool absent;
    if (check_digest(digest, err) < 0 || check_endpoint(from, &host, err) < 0)
        return -1;
    if (from->layout) {
        int rc = layout_read(from->layout, digest, max, a, bytes, len, &absent, err);
        if (rc == 0 && absent)
            return err_set(err, ERR_PERM, ENOENT, "%s: no blob %s", layout_path(from->layout),
                           digest);
        return rc;
    }
    struct exchange x = exchange_for(from, host, "GET", arena_printf(a, "blobs/%s", digest), max);
    const char *what = download_what(a, from->name, digest);
    exchange_all(from->registry, a, &x, 1);
    if (x.failed) {
        *err = x.err;
        return err_wrap(err, "%s/%s", from->host, what);
    }
    if (redirect_follow(from->registry, a, &x, what, &moved, err) < 0)
        return err_wrap(err, "%s/%s", from->host, what);
    if (x.resp.status != 200 && x.resp.status != 206) {
        (void)exchange_refused(&x, "pull", what, err);
        err->code = x.resp.status == 404 ? ENOENT : err->code;
        return -1;
    }
    char found[CRYPT_HASH_TEXT];
    digest_of(digest, x.resp.body, x.resp.body_len, found);
    if (!str_eq(found, digest))
        return err_set(err, ERR_PERM, 0,
                       "%s/%s: wrong bytes: the registry's answer has the digest %s", from->host,
                       what, found);
    *bytes = x.resp.body;
    *len = x.resp.body_len;
    return 0;
}

/* A session and one PUT: for those that do not take a blob in one POST. */
static int put_by_session(struct upload *u, const void *bytes, size_t len, struct err *err)
{
    bool mounted;
    int status = 0;
    if (!u->url && upload_open(u, NULL, &mounted, err) < 0)
        return -1;
    int rc = upload_close(u, bytes, len, &status, err);
    if (rc == 0 && (status == 201 || status == 200 || status == 204))
        return 0;
    if (rc == 0)
        (void)upload_refused(u, err);
    upload_cancel(u);
    return -1;
}

int blob_put(const struct endpoint *to, const void *bytes, size_t len, const char *digest,
             struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_host *host;
    char found[CRYPT_HASH_TEXT];
    if (check_digest(digest, err) < 0 || check_endpoint(to, &host, err) < 0)
        return -1;
    digest_of(digest, bytes, len, found);
    if (!str_eq(found, digest))
        return err_set(err, ERR_BUG, 0, "the bytes to push are not those of %s", digest);
    if (to->layout)
        return layout_write(to->layout, digest, bytes, len, err);
    struct upload u = {.r = to->registry,
                       .host = host,
                       .name = to->name,
                       .access = to->access,
                       .digest = digest,
                       .arena = &a};
    bool done = false;
    int rc = upload_open_with(&u, bytes, len, &done, err);
    if (rc == 0 && !done)
        rc = put_by_session(&u, bytes, len, err);
    return rc < 0 ? err_wrap(err, "%s", where(to, &a)) : 0;
}

/* --- any size --------------------------------------------------------------------------------- */

static int read_on(int fd, char *buf, size_t size, const char *shown, size_t *got, struct err *err)
{
    ssize_t n;
    do {
        n = read(fd, buf, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, ERR_PERM, errno, "%s", shown);
    *got = (size_t)n;
    return 0;
}

/* From file to file, hashed on the way. */
static int copy_bytes(int from, const char *shown, const struct layout_file *to,
                      const struct descriptor *blob, const struct blob_progress *progress,
                      struct err *err)
{
    struct crypt_hash *hash CLEANUP_CRYPT_HASH = crypt_hash_new_for(blob->digest);
    char *buf CLEANUP(cleanup_free) = xmalloc(LIMIT_RING);
    char found[CRYPT_HASH_TEXT];
    int64_t done = 0;
    int rc = 0;
    for (size_t got = 1; got && rc == 0;) {
        rc = read_on(from, buf, LIMIT_RING, shown, &got, err);
        if (rc < 0 || !got)
            break;
        crypt_hash_update(hash, buf, got);
        rc = fs_write_all(to->fd, buf, got, err);
        if (rc < 0) {
            (void)err_wrap(err, "%s", to->shown);
            break;
        }
        done += (int64_t)got;
        if (progress && progress->moved)
            progress->moved(progress->user, (int64_t)got);
    }
    crypt_hash_digest(hash, found);
    if (rc == 0 && (done != blob->size || !str_eq(found, blob->digest)))
        rc = err_set(err, ERR_PERM, 0, "%s: wrong bytes: %s of %lld bytes instead of %s of %lld",
                     shown, found, (long long)done, blob->digest, (long long)blob->size);
    if (rc < 0 && progress && progress->moved)
        progress->moved(progress->user, -done);
    return rc;
}

static int file_to_file(struct layout *from, struct layout *to, const struct descriptor *blob,
                        const struct blob_progress *progress, struct err *err)
{
    struct layout_file file;
    int fd CLEANUP(cleanup_fd) = layout_open_blob(from, blob->digest, blob->size, err);
    if (fd < 0 || layout_create_blob(to, blob->digest, &file, err) < 0)
        return -1;
    if (copy_bytes(fd, layout_path(from), &file, blob, progress, err) == 0)
        return layout_keep_blob(&file, err);
    layout_drop_blob(&file);
    return -1;
}

static bool may_mount(const struct endpoint *from, const struct endpoint *to)
{
    return !from->layout && !to->layout && str_caseeq(from->host, to->host) &&
           !str_eq(from->name, to->name);
}

/* What is to come about the blob of no bytes is known without asking anybody. */
static int copy_nothing(const struct endpoint *to, const struct descriptor *blob, struct err *err)
{
    char found[CRYPT_HASH_TEXT];
    digest_of(blob->digest, "", 0, found);
    if (!str_eq(found, blob->digest))
        return err_set(err, ERR_PERM, 0, "wrong bytes: no bytes at all have the digest %s, not %s",
                       found, blob->digest);
    return blob_put(to, "", 0, blob->digest, err);
}

static int look_first(const struct endpoint *to, const struct descriptor *blob, bool *there,
                      struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    if (blob_exists(to, blob, &a, there, err) == 0)
        return 0;
    /* No HEAD for blobs: nothing is lost by pushing it again. */
    *there = false;
    return err->code == 405 || err->code == 501 ? 0 : -1;
}

static int move_bytes(const struct endpoint *from, const struct endpoint *to,
                      const struct descriptor *blob, const struct blob_progress *progress,
                      bool *mounted, struct err *err)
{
    if (blob->size == 0)
        return copy_nothing(to, blob, err);
    if (!to->layout)
        return stream_to_registry(from, to, blob, may_mount(from, to) ? from->name : NULL, progress,
                                  mounted, err);
    return from->layout ? file_to_file(from->layout, to->layout, blob, progress, err)
                        : stream_to_layout(from, to->layout, blob, progress, err);
}

int blob_copy(const struct endpoint *from, const struct endpoint *to, const struct descriptor *blob,
              bool known_absent, const struct blob_progress *progress, enum blob_way *way,
              struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_host *host;
    struct endpoint source = *from, target = *to;
    struct err spare = ERR_INIT;
    err = err ? err : &spare;
    bool there = false, mounted = false;
    if (check_digest(blob->digest, err) < 0 || check_endpoint(from, &host, err) < 0 ||
        check_endpoint(to, &host, err) < 0)
        return -1;
    if (blob->size < 0 || blob->size > LIMIT_BLOB_BYTES)
        return err_set(err, ERR_PERM, 0, "blob %s: a size of %lld bytes", blob->digest,
                       (long long)blob->size);
    source.access.patient = target.access.patient = true;
    if (!known_absent && look_first(&target, blob, &there, err) < 0)
        return -1;
    if (there) {
        *way = BLOB_THERE;
        return 0;
    }
    if (move_bytes(&source, &target, blob, progress, &mounted, err) < 0)
        return err_wrap(err, "blob %s from %s to %s", blob->digest, where(from, &a), where(to, &a));
    *way = mounted ? BLOB_MOUNTED : BLOB_MOVED;
    return 0;
}
