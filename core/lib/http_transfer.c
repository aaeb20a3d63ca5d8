#include "core/lib/http_internal.h"

#include "core/base/str.h"

#include <curl/curl.h>

/* How much of a refusal is read and thrown away to keep its connection. */
#define REFUSAL_DRAINED MIB(1)
#define LOW_SPEED_S 30L
/* Of handles, in bytes; curl frees them when the transfer ends. Answers are small, and gathered
 * elsewhere. Streams: larger ones were no faster. */
#define PLAIN_BUFFER 8192L
#define SINK_BUFFER 65536L
#define SOURCE_BUFFER 262144L

_Static_assert(sizeof((struct http_flight *)0)->detail >= CURL_ERROR_SIZE, "curl writes more");

/* --- callbacks of one transfer ------------------------------------------------------------------
 */

static bool is_sunk(const struct http_flight *f)
{
    return f->call->sink && (f->status == 200 || f->status == 206);
}

static bool stop(struct http_flight *f, enum flight_end end)
{
    f->end = end;
    return false;
}

/* The head of an answer is whole. Those in between (1xx) are of no interest. */
static bool head_done(struct http_flight *f)
{
    (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &f->status);
    f->head_done = f->status >= 200;
    /* After an early answer curl sends no more, but waits for a source that sleeps. */
    if (f->head_done && f->starved)
        http_flight_resume(f->client, f);
    if (!f->head_done || !is_sunk(f) || !f->call->sink->begin)
        return true;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct http_headers headers = {0};
    const char *p = f->headers.buf, *end = p + f->headers.len;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        http_header_add(&scratch, &headers, p, value);
        p = value + strlen(value) + 1;
    }
    const struct http_sink *sink = f->call->sink;
    return sink->begin(sink->user, (int)f->status, &headers) == 0 || stop(f, END_STOPPED);
}

static bool add_header(struct http_flight *f, const char *data, size_t len)
{
    const char *colon = memchr(data, ':', len);
    if (!colon || colon == data)
        return true;
    const char *value = colon + 1, *end = data + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr("\r\n \t", end[-1]))
        end--;
    (void)strbuf_add(&f->headers, data, (size_t)(colon - data));
    (void)strbuf_addch(&f->headers, '\0');
    (void)strbuf_add(&f->headers, value, (size_t)(end - value));
    (void)strbuf_addch(&f->headers, '\0');
    return !f->headers.full || stop(f, END_HEADERS);
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct http_flight *f = user;
    size_t len = size * count;
    bool good = true;
    if (len > 5 && memcmp(data, "HTTP/", 5) == 0) {
        strbuf_reset(&f->headers); /* an interim answer came before */
        f->head_done = false;
    } else if (f->head_done) {
        /* A trailer, which nobody wants, but curl keeps. */
        f->trailed += len;
        good = f->trailed <= LIMIT_HTTP_HEADERS || stop(f, END_HEADERS);
    } else if (len && (*data == '\r' || *data == '\n')) {
        good = head_done(f);
    } else {
        good = add_header(f, data, len);
    }
    return good ? len : 0;
}

/* Keeps the head of a refusal's text and drains the rest. */
static size_t add_refusal(struct http_flight *f, const char *data, size_t len)
{
    size_t room = f->body.len < LIMIT_ERROR_BODY ? LIMIT_ERROR_BODY - f->body.len : 0;
    size_t kept = len < room ? len : room;
    f->body.max = LIMIT_ERROR_BODY;
    (void)strbuf_add(&f->body, data, kept);
    f->drained += len - kept;
    f->cut = f->drained > REFUSAL_DRAINED;
    return f->cut ? 0 : len;
}

static size_t sink_body(struct http_flight *f, const char *data, size_t len)
{
    const struct http_sink *sink = f->call->sink;
    int rc = sink->write(sink->user, data, len);
    f->clogged = rc == HTTP_WAIT;
    if (rc == 0)
        return len;
    if (rc == HTTP_WAIT)
        return CURL_WRITEFUNC_PAUSE;
    return stop(f, END_STOPPED);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct http_flight *f = user;
    size_t len = size * count;
    if (f->starved)
        http_flight_resume(f->client, f); /* as in head_done, should this be the last */
    if (f->status >= 400)
        return add_refusal(f, data, len);
    if (is_sunk(f))
        return sink_body(f, data, len);
    if (strbuf_add(&f->body, data, len) == 0)
        return len;
    return stop(f, END_TOO_LARGE);
}

static size_t on_read(char *buf, size_t size, size_t count, void *user)
{
    struct http_flight *f = user;
    const struct http_source *source = f->call->source;
    size_t left = f->call->req.body_len - f->given;
    size_t max = size * count < left ? size * count : left;
    if (max == 0)
        return 0;
    ptrdiff_t got = source->read(source->user, buf, max);
    f->starved = got == HTTP_WAIT;
    if (got == HTTP_WAIT)
        return CURL_READFUNC_PAUSE;
    if (got <= 0 || (size_t)got > max) {
        (void)stop(f, got == HTTP_STOP ? END_STOPPED : END_SOURCE);
        return CURL_READFUNC_ABORT;
    }
    f->given += (size_t)got;
    return (size_t)got;
}

/* A connection is there, new or warm, and the request is about to be sent. */
static int on_request(void *user, char *remote, char *local, int remote_port, int local_port)
{
    struct http_flight *f = user;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (f->given)
        (void)stop(f, END_RESENT);
    else if (!f->call->via.public_only || http_reach_is_public(f, remote))
        return CURL_PREREQFUNC_OK;
    return CURL_PREREQFUNC_ABORT;
}

/* --- setting up and finishing a transfer --------------------------------------------------------
 */

static void set_headers(struct http_flight *f)
{
    const struct http_headers *headers = &f->call->req.headers;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < headers->n; i++) {
        const struct http_header *h = &headers->at[i];
        const char *line = *h->value ? arena_printf(&scratch, "%s: %s", h->name, h->value)
                                     : arena_printf(&scratch, "%s;", h->name);
        f->lines = curl_slist_append(f->lines, line);
    }
    f->lines = curl_slist_append(f->lines, "Expect:");
    if (!http_header(headers, "Content-Type"))
        f->lines = curl_slist_append(f->lines, "Content-Type:");
    curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->lines);
}

static void set_method(struct http_flight *f)
{
    const struct http_req *req = &f->call->req;
    CURL *e = f->easy;
    if (str_eq(req->method, "HEAD")) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (str_eq(req->method, "GET") && !req->body) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        return;
    }
    /* Every other method sends its exact length, also when that is 0: some registries insist. */
    if (f->call->source) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, f);
        curl_easy_setopt(e, CURLOPT_KEEP_SENDING_ON_ERROR, 0L);
    } else {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body_len ? req->body : "");
    }
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
}

/* What takes too long. curl's limit on low speed is for plain calls alone: 7.88 does not count a
 * transfer whose receiving pauses, but ends one whose sending does, so that streams are watched by
 * the loop instead. */
static void set_patience(struct http_flight *f)
{
    CURL *e = f->easy;
    int64_t timeout = f->call->timeout_ms;
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
    if (f->streaming) {
        curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout > 0 ? (long)timeout : 0L);
        return;
    }
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout > 0 ? (long)timeout : (long)LIMIT_REQUEST_MS);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
}

static void set_manners(const struct http_client *c, struct http_flight *f)
{
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    /* A connection of the other kind is not taken from the warm ones either. */
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                     (long)(f->call->via.http1 ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, f->call->sink ? SINK_BUFFER : PLAIN_BUFFER);
    if (f->call->source)
        curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, SOURCE_BUFFER);
    /* Who gives up waits for no resolver, and so holds up nobody else. */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
}

void http_transfer_begin(const struct http_client *c, struct http_flight *f, void *easy)
{
    f->easy = easy;
    curl_easy_setopt(easy, CURLOPT_URL, f->call->req.url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, f);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, f->detail);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
    if (f->call->source || f->call->via.public_only) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, f);
    }
    set_manners(c, f);
    set_patience(f);
    http_reach_set(c, f);
    set_method(f);
    set_headers(f);
}

/* A server that refuses a body before it has it whole may close at once: its answer counts, even
 * where its text was lost. */
static bool is_early_refusal(const struct http_flight *f, int result)
{
    if (!f->call->source || f->end != END_NONE || !f->head_done || f->status < 400)
        return false;
    return result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR ||
           result == CURLE_PARTIAL_FILE || result == CURLE_HTTP2_STREAM;
}

void http_transfer_end(struct http_flight *f, int result)
{
    CURL *e = f->easy;
    f->result = f->cut || is_early_refusal(f, result) ? CURLE_OK : result;
    if (result == CURLE_SEND_FAIL_REWIND)
        (void)stop(f, END_RESENT); /* curl has seen it before on_request could */
    (void)curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &f->status);
    (void)curl_easy_getinfo(e, CURLINFO_HTTP_CONNECTCODE, &f->proxy_status);
    /* A reset forgets the request, its credentials included, and keeps TLS sessions. */
    curl_easy_reset(e);
    curl_slist_free_all(f->lines);
    f->lines = NULL;
    f->easy = NULL;
}

int64_t http_transfer_moved(const struct http_flight *f)
{
    curl_off_t up = 0, down = 0;
    long head = 0, request = 0;
    (void)curl_easy_getinfo(f->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    (void)curl_easy_getinfo(f->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    (void)curl_easy_getinfo(f->easy, CURLINFO_HEADER_SIZE, &head);
    (void)curl_easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &request);
    return up + down + head + request;
}
