#include "core/registry/flow.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

struct flow {
    pthread_mutex_t lock; /* guards everything below that changes */
    struct http_client *http;
    const char *digest;
    int64_t size;
    const struct blob_progress *progress;
    struct crypt_hash *hash;
    char *ring; /* the byte at offset n of the blob is at n % cap */
    size_t cap;
    bool keeps;
    int from_fd, to_fd;
    const char *from_shown, *to_shown;

    int64_t received; /* counted and hashed */
    int64_t sent;     /* handed on */
    int64_t base;     /* kept from here on */
    int64_t told;     /* as progress */
    int64_t skip;     /* of the present answer: known already */
    bool whole;
    bool failed;
    struct err err;

    struct http_flight *download, *upload;
    bool download_sleeps, upload_sleeps;
    size_t wanted; /* room that the sleeping download needs */
};

struct flow *flow_new(struct http_client *http, const char *digest, int64_t size,
                      const struct blob_progress *progress, size_t window)
{
    struct flow *f = xcalloc(1, sizeof *f);
    f->http = http;
    f->digest = digest;
    f->size = size;
    f->progress = progress;
    f->hash = crypt_hash_new_for(digest);
    f->cap = window + LIMIT_RING;
    if ((int64_t)f->cap > size)
        f->cap = size > 0 ? (size_t)size : 1;
    f->ring = xmalloc(f->cap);
    f->keeps = window > 0;
    f->from_fd = f->to_fd = -1;
    (void)pthread_mutex_init(&f->lock, NULL);
    return f;
}

void flow_free(struct flow *f)
{
    if (!f)
        return;
    (void)pthread_mutex_destroy(&f->lock);
    crypt_hash_free(f->hash);
    free(f->ring);
    free(f);
}

static void flow_lock(struct flow *f)
{
    (void)pthread_mutex_lock(&f->lock);
}

static void flow_unlock(struct flow *f)
{
    (void)pthread_mutex_unlock(&f->lock);
}

void flow_from_file(struct flow *f, int fd, const char *shown)
{
    f->from_fd = fd;
    f->from_shown = shown;
}

void flow_to_file(struct flow *f, int fd, const char *shown)
{
    f->to_fd = fd;
    f->to_shown = shown;
}

/* --- with the lock held --------------------------------------------------------------------------
 */

static void wake_upload(struct flow *f)
{
    if (f->upload && f->upload_sleeps)
        http_flight_resume(f->http, f->upload);
    f->upload_sleeps = false;
}

static void wake_download(struct flow *f)
{
    if (f->download && f->download_sleeps)
        http_flight_resume(f->http, f->download);
    f->download_sleeps = false;
}

/* The first reason counts. Both sides learn of it when they are asked next. */
static int fail(struct flow *f)
{
    f->failed = true;
    wake_upload(f);
    wake_download(f);
    return -1;
}

static int wrong_bytes(struct flow *f, const char *why)
{
    (void)err_set(&f->err, ERR_PERM, 0, "wrong bytes: %s instead of %s of %lld bytes", why,
                  f->digest, (long long)f->size);
    return fail(f);
}

static size_t room(const struct flow *f)
{
    return f->cap - (size_t)(f->received - f->base);
}

/* What may be handed on now: the last byte only of a blob that is as it must be. */
static int64_t ready(const struct flow *f)
{
    int64_t end = f->received;
    if (!f->whole && end == f->size)
        end--;
    return end > f->sent ? end - f->sent : 0;
}

static int check_whole(struct flow *f)
{
    char found[CRYPT_HASH_TEXT];
    if (f->received < f->size)
        return 0;
    crypt_hash_digest(f->hash, found);
    f->whole = str_eq(found, f->digest);
    return f->whole ? 0 : wrong_bytes(f, found);
}

static int count(struct flow *f, const char *data, size_t len)
{
    crypt_hash_update(f->hash, data, len);
    f->received += (int64_t)len;
    return check_whole(f);
}

static void put_ring(struct flow *f, const char *data, size_t len)
{
    size_t at = (size_t)f->received % f->cap;
    size_t first = len < f->cap - at ? len : f->cap - at;
    memcpy(f->ring + at, data, first);
    memcpy(f->ring, data + first, len - first);
}

static void get_ring(const struct flow *f, char *out, size_t len)
{
    size_t at = (size_t)f->sent % f->cap;
    size_t first = len < f->cap - at ? len : f->cap - at;
    memcpy(out, f->ring + at, first);
    memcpy(out + first, f->ring, len - first);
}

static int write_file(struct flow *f, const char *data, size_t len)
{
    if (fs_write_all(f->to_fd, data, len, &f->err) < 0) {
        (void)err_wrap(&f->err, "%s", f->to_shown);
        return fail(f);
    }
    f->sent = f->base = f->received + (int64_t)len;
    return 0;
}

/* Fills the free part of the ring that lies in one piece. */
static void read_file(struct flow *f)
{
    size_t at = (size_t)f->received % f->cap, len = room(f);
    if (len > f->cap - at)
        len = f->cap - at;
    if ((int64_t)len > f->size - f->received)
        len = (size_t)(f->size - f->received);
    if (!len)
        return;
    ssize_t got;
    do {
        got = pread(f->from_fd, f->ring + at, len, (off_t)f->received);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        (void)count(f, f->ring + at, (size_t)got);
    } else if (got == 0) {
        (void)wrong_bytes(f, "fewer bytes");
    } else {
        (void)err_errno(&f->err, ERR_PERM, errno, "%s", f->from_shown);
        (void)fail(f);
    }
}

/* --- the download's end --------------------------------------------------------------------------
 */

static int unusable(struct flow *f, const char *what, const char *value)
{
    char shown[80];
    (void)snprintf(shown, sizeof shown, "%.79s", value);
    for (char *p = shown; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    (void)err_set(&f->err, ERR_PERM, 0, "an unusable answer for %s of %lld bytes: %s \"%s\"",
                  f->digest, (long long)f->size, what, shown);
    return fail(f);
}

/* "bytes 100-199/200"; the length may be "*". */
static bool range_is(const char *value, int64_t from, int64_t size)
{
    const char *p = value ? str_after(value, "bytes ") : NULL;
    char first[24], rest[24];
    (void)snprintf(first, sizeof first, "%lld-%lld/", (long long)from, (long long)size - 1);
    (void)snprintf(rest, sizeof rest, "%lld", (long long)size);
    const char *total = p ? str_after(p, first) : NULL;
    return total && (str_eq(total, "*") || str_eq(total, rest));
}

static int check_head(struct flow *f, int status, const struct http_headers *headers)
{
    const char *coding = http_header(headers, "Content-Encoding");
    const char *length = http_header(headers, "Content-Length");
    const char *range = http_header(headers, "Content-Range");
    if (!str_empty(coding) && !str_caseeq(coding, "identity"))
        return unusable(f, "Content-Encoding", coding);
    if (status == 206 && !range_is(range, f->received, f->size))
        return unusable(f, "Content-Range", range ? range : "");
    f->skip = status == 206 ? 0 : f->received;
    int64_t expected = status == 206 ? f->size - f->received : f->size, told;
    if (length && (!str_to_i64(length, &told) || told != expected)) {
        char why[80];
        (void)snprintf(why, sizeof why, "an answer of %.40s bytes", length);
        return status == 206 ? unusable(f, "Content-Length", length) : wrong_bytes(f, why);
    }
    return 0;
}

static int sink_begin(void *user, int status, const struct http_headers *headers)
{
    struct flow *f = user;
    flow_lock(f);
    if (!f->failed)
        (void)check_head(f, status, headers);
    int rc = f->failed ? HTTP_STOP : 0;
    flow_unlock(f);
    return rc;
}

/* With the lock held. */
static int take(struct flow *f, const char *data, size_t len)
{
    if (f->failed)
        return HTTP_STOP;
    size_t known = f->skip < (int64_t)len ? (size_t)f->skip : len;
    size_t more = len - known;
    if ((int64_t)more > f->size - f->received) {
        (void)wrong_bytes(f, "more bytes");
        return HTTP_STOP;
    }
    if (f->to_fd < 0 && more > room(f)) {
        f->wanted = more;
        f->download_sleeps = true;
        if (more <= f->cap)
            return HTTP_WAIT;
        (void)err_set(&f->err, ERR_BUG, 0, "a piece of %zu bytes is larger than the ring", more);
        (void)fail(f);
        return HTTP_STOP;
    }
    f->skip -= (int64_t)known;
    if (!more)
        return 0;
    if (f->to_fd < 0)
        put_ring(f, data + known, more);
    else if (write_file(f, data + known, more) < 0)
        return HTTP_STOP;
    (void)count(f, data + known, more);
    if (!f->failed && ready(f) > 0)
        wake_upload(f);
    return f->failed ? HTTP_STOP : 0;
}

/* What is new since it was told last; called without the lock. */
static void tell(struct flow *f, int64_t bytes)
{
    if (bytes && f->progress && f->progress->moved)
        f->progress->moved(f->progress->user, bytes);
}

/* With the lock held. */
static int64_t news(struct flow *f)
{
    int64_t bytes = f->sent - f->told;
    f->told = f->sent;
    return bytes;
}

static int sink_write(void *user, const char *data, size_t len)
{
    struct flow *f = user;
    flow_lock(f);
    int rc = take(f, data, len);
    int64_t bytes = f->to_fd >= 0 ? news(f) : 0;
    flow_unlock(f);
    tell(f, bytes);
    return rc;
}

struct http_sink flow_sink(struct flow *f)
{
    return (struct http_sink){.begin = sink_begin, .write = sink_write, .user = f};
}

/* --- the upload's end ----------------------------------------------------------------------------
 */

/* A sleeper is woken for as much as is worth it, and when nothing else would ever move. */
static bool worth_waking(const struct flow *f)
{
    return f->download_sleeps && room(f) >= f->wanted &&
           (room(f) >= f->cap / 2 || f->sent == f->received);
}

static ptrdiff_t source_read(void *user, char *buf, size_t max)
{
    struct flow *f = user;
    ptrdiff_t rc = HTTP_WAIT;
    flow_lock(f);
    if (!f->failed && f->from_fd >= 0 && !ready(f))
        read_file(f);
    int64_t n = ready(f);
    if (f->failed) {
        rc = HTTP_STOP;
    } else if (n > 0) {
        rc = n < (int64_t)max ? (ptrdiff_t)n : (ptrdiff_t)max;
        get_ring(f, buf, (size_t)rc);
        f->sent += rc;
        if (!f->keeps)
            f->base = f->sent;
        if (worth_waking(f))
            wake_download(f);
    } else {
        f->upload_sleeps = true;
    }
    int64_t bytes = news(f);
    flow_unlock(f);
    tell(f, bytes);
    return rc;
}

struct http_source flow_source(struct flow *f)
{
    return (struct http_source){.read = source_read, .user = f};
}

/* --- the thread that moves the blob --------------------------------------------------------------
 */

void flow_download_is(struct flow *f, struct http_flight *flight)
{
    flow_lock(f);
    f->download = flight;
    /* It may have fallen asleep, and missed its waking, before it was known here. */
    if (flight)
        http_flight_resume(f->http, flight);
    flow_unlock(f);
}

void flow_upload_is(struct flow *f, struct http_flight *flight)
{
    flow_lock(f);
    f->upload = flight;
    if (flight)
        http_flight_resume(f->http, flight);
    flow_unlock(f);
}

int64_t flow_expect(struct flow *f)
{
    flow_lock(f);
    int64_t offset = f->received;
    f->download_sleeps = false;
    flow_unlock(f);
    return offset;
}

bool flow_whole(struct flow *f)
{
    flow_lock(f);
    bool whole = f->whole;
    flow_unlock(f);
    return whole;
}

int flow_check_end(struct flow *f, struct err *err)
{
    int rc = 0;
    flow_lock(f);
    if (!f->failed && !f->whole) {
        char why[80];
        (void)snprintf(why, sizeof why, "%lld bytes", (long long)f->received);
        (void)wrong_bytes(f, why);
    }
    if (f->failed) {
        *err = f->err;
        rc = -1;
    }
    flow_unlock(f);
    return rc;
}

bool flow_failed(struct flow *f, struct err *err)
{
    flow_lock(f);
    bool failed = f->failed;
    if (failed)
        *err = f->err;
    flow_unlock(f);
    return failed;
}

int64_t flow_sent(struct flow *f)
{
    flow_lock(f);
    int64_t sent = f->sent;
    flow_unlock(f);
    return sent;
}

void flow_arrived(struct flow *f)
{
    flow_lock(f);
    f->base = f->sent;
    if (worth_waking(f))
        wake_download(f);
    flow_unlock(f);
}

bool flow_rewind(struct flow *f, int64_t offset)
{
    flow_lock(f);
    bool kept = offset >= f->base && offset <= f->sent;
    if (kept) {
        f->sent = f->base = offset;
        f->upload_sleeps = false;
        if (worth_waking(f))
            wake_download(f);
    }
    int64_t bytes = kept ? news(f) : 0;
    flow_unlock(f);
    tell(f, bytes);
    return kept;
}

void flow_untell(struct flow *f)
{
    flow_lock(f);
    int64_t bytes = -f->told;
    f->told = 0;
    flow_unlock(f);
    tell(f, bytes);
}
