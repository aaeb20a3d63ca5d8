#include "core/lib/http_internal.h"

#include "core/base/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <time.h>

/* --- what became of a call ----------------------------------------------------------------------
 */

/* Everything that is not listed is the network's doing and may pass. */
static enum err_kind result_kind(const struct http_flight *f)
{
    static const struct {
        CURLcode result;
        enum err_kind kind;
    } kinds[] = {
        {CURLE_PEER_FAILED_VERIFICATION, ERR_CONFIG},
        {CURLE_SSL_CACERT_BADFILE, ERR_CONFIG},
        {CURLE_SSL_CERTPROBLEM, ERR_CONFIG},
        {CURLE_SSL_ISSUER_ERROR, ERR_CONFIG},
        {CURLE_SSL_CIPHER, ERR_CONFIG},
        {CURLE_SSL_INVALIDCERTSTATUS, ERR_CONFIG},
        {CURLE_SSL_PINNEDPUBKEYNOTMATCH, ERR_CONFIG},
        {CURLE_URL_MALFORMAT, ERR_BUG},
        {CURLE_BAD_FUNCTION_ARGUMENT, ERR_BUG},
        {CURLE_UNKNOWN_OPTION, ERR_BUG},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].result == (CURLcode)f->result)
            return kinds[i].kind;
    return ERR_TEMP;
}

/* Nobody was there to talk to. */
static int result_code(const struct http_flight *f)
{
    return f->result == CURLE_COULDNT_CONNECT        ? ECONNREFUSED
           : f->result == CURLE_COULDNT_RESOLVE_HOST ? EHOSTUNREACH
                                                     : 0;
}

/* OpenSSL's words for what the server says of the certificate that we showed, or did not show. */
static bool is_certificate_alert(const char *detail)
{
    static const char *const alerts[] = {"alert certificate required", "alert bad certificate",
                                         "alert unknown ca", "alert certificate unknown"};
    for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
        if (strstr(detail, alerts[i]))
            return true;
    return false;
}

/* Sets the error when it was we who ended the call. */
static bool set_own_end(const struct http_flight *f, const char *url, struct err *err)
{
    const struct http_call *call = f->call;
    int64_t stall = call->stall_ms > 0 ? call->stall_ms : LIMIT_STALL_MS;
    bool connected = f->result != CURLE_COULDNT_CONNECT && f->result != CURLE_ABORTED_BY_CALLBACK;
    switch (f->end) {
    case END_STALLED:
        (void)err_set(err, ERR_TEMP, 0, "%s: next to no byte moved for %lld ms", url,
                      (long long)stall);
        return true;
    case END_STOPPED:
        (void)err_set(err, ERR_PERM, ECANCELED, "%s: the transfer was stopped", url);
        return true;
    case END_ABANDONED:
        (void)err_set(err, ERR_PERM, ECANCELED, "%s: the transfer was given up", url);
        return true;
    case END_TOO_LARGE:
        (void)err_set(err, ERR_PERM, EFBIG, "%s: the answer exceeds %zu bytes", url,
                      call->max_body);
        return true;
    case END_HEADERS:
        (void)err_set(err, ERR_PERM, 0, "%s: the answer's headers exceed %zu bytes", url,
                      LIMIT_HTTP_HEADERS);
        return true;
    case END_PRIVATE:
        if (!connected)
            (void)err_set(err, ERR_PERM, 0,
                          "%s: its address %s is not public, and only the operator may name hosts "
                          "of that kind",
                          url, f->peer);
        return !connected;
    case END_RESENT:
        (void)err_set(err, ERR_TEMP, 0, "%s: the connection broke while the body was sent", url);
        return true;
    case END_SOURCE:
        (void)err_set(err, ERR_BUG, 0, "%s: the source of the body is broken", url);
        return true;
    case END_NONE:
        break;
    }
    return false;
}

static void set_network_error(const struct http_client *c, const struct http_flight *f,
                              const char *url, struct err *err)
{
    const char *ca_file = http_reach_ca_file(c, f->call);
    const char *detail = *f->detail ? f->detail : curl_easy_strerror((CURLcode)f->result);
    enum err_kind kind = result_kind(f);
    if (http_reach_leaks(f->call, detail))
        detail = curl_easy_strerror((CURLcode)f->result);
    if (f->proxy_status >= 300)
        (void)err_set(err,
                      f->proxy_status == 407 ? ERR_CONFIG : http_status_kind((int)f->proxy_status),
                      0, "%s: the proxy answers %ld", url, f->proxy_status);
    else if (is_certificate_alert(detail))
        (void)err_set(err, ERR_CONFIG, 0,
                      "%s: the server wants another client certificate than %s (%s)", url,
                      f->call->via.client_cert ? f->call->via.client_cert : "none", detail);
    else if (f->result == CURLE_PEER_FAILED_VERIFICATION)
        (void)err_set(err, kind, 0, "%s: %s%s%s", url, detail,
                      ca_file ? "; its authority is not in ca_file "
                              : "; name its authority's certificate in ca_file",
                      ca_file ? ca_file : "");
    else if (strstr(detail, "wrong version number"))
        (void)err_set(err, ERR_CONFIG, 0,
                      "%s: the server speaks no TLS there; if it is meant to speak plain http, say "
                      "so with plain_http",
                      url);
    else
        (void)err_set(err, kind, result_code(f), "%s: %s", url, detail);
}

static void set_failure(const struct http_client *c, const struct http_flight *f)
{
    struct err *err = &f->call->err;
    char url[HTTP_SHOWN_URL];
    http_shown_url(f->call->req.url, url);
    f->call->failed = true;
    if (!set_own_end(f, url, err))
        set_network_error(c, f, url, err);
    for (char *p = err->text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    (void)log_redact(err->text);
}

/* Copies the loop's findings to the caller's arena. */
static void collect(const struct http_client *c, struct http_flight *f, struct arena *a)
{
    struct http_call *call = f->call;
    call->resp = (struct http_resp){.body = ""};
    if (f->refused) {
        call->failed = true;
    } else if (f->result != CURLE_OK) {
        set_failure(c, f);
    } else {
        call->resp.status = (int)f->status;
        call->resp.body = strbuf_to_arena(&f->body, a);
        call->resp.body_len = f->body.len;
        const char *p = f->headers.buf, *end = p + f->headers.len;
        while (p < end) {
            const char *value = p + strlen(p) + 1;
            http_header_add(a, &call->resp.headers, p, value);
            p = value + strlen(value) + 1;
        }
    }
    strbuf_release(&f->body);
    strbuf_release(&f->headers);
    strbuf_release(&f->authorities);
}

/* --- making flights -----------------------------------------------------------------------------
 */

/* FNV-1a of the authority, letters folded. */
static unsigned lane_of(const char *url)
{
    const char *host = strstr(url, "://");
    uint32_t hash = 2166136261u;
    for (const char *p = host + 3; *p && !strchr("/?#", *p); p++) {
        unsigned char ch = (unsigned char)*p;
        hash = (hash ^ (ch >= 'A' && ch <= 'Z' ? ch + 32u : ch)) * 16777619u;
    }
    return (hash ^ hash >> 16) % HTTP_LANES;
}

/* Makes a flight of the call: refused, and done, when it can't start. */
static void prepare(struct http_client *c, struct http_flight *f, struct http_call *call,
                    struct http_waiter *waiter)
{
    f->client = c;
    f->call = call;
    f->waiter = waiter;
    f->streaming = call->source || call->sink;
    f->headers = (struct strbuf)STRBUF_INIT(LIMIT_HTTP_HEADERS);
    f->body = (struct strbuf)STRBUF_INIT(call->max_body);
    f->authorities = (struct strbuf)STRBUF_INIT(LIMIT_AUTHORITIES);
    call->failed = false;
    const char *fault = http_call_fault(call);
    if (fault) {
        char url[HTTP_SHOWN_URL];
        http_shown_url(call->req.url, url);
        (void)err_set(&call->err, ERR_BUG, 0, "request to %s: %s", url, fault);
    }
    f->refused = f->done = fault || http_reach_check(c, f) < 0;
    if (!f->refused)
        f->lane = lane_of(call->req.url);
}

static void waiter_init(struct http_waiter *w)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->done, &attr);
    (void)pthread_condattr_destroy(&attr);
    w->left = 0;
}

/* --- calls that are waited for ------------------------------------------------------------------
 */

size_t http_all(struct http_client *c, struct arena *a, struct http_call *calls, size_t n)
{
    struct http_waiter waiter = {.done = PTHREAD_COND_INITIALIZER};
    struct http_flight *flights CLEANUP(cleanup_free) = xcalloc(n, sizeof *flights);
    size_t failed = 0;
    for (size_t i = 0; i < n; i++)
        prepare(c, &flights[i], &calls[i], &waiter);
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++)
        if (!flights[i].refused) {
            http_enqueue(c, &flights[i]);
            waiter.left++;
        }
    if (waiter.left)
        http_wake(c);
    while (waiter.left)
        (void)pthread_cond_wait(&waiter.done, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_cond_destroy(&waiter.done);
    for (size_t i = 0; i < n; i++) {
        collect(c, &flights[i], a);
        failed += calls[i].failed;
    }
    return failed;
}

int http_do(struct http_client *c, struct arena *a, struct http_call *call, struct err *err)
{
    if (http_all(c, a, call, 1) == 0)
        return 0;
    if (err)
        *err = call->err;
    return -1;
}

/* --- calls that are started and landed ----------------------------------------------------------
 */

struct http_flight *http_start(struct http_client *c, struct http_call *call)
{
    struct http_flight *f = xcalloc(1, sizeof *f);
    prepare(c, f, call, NULL);
    if (f->refused)
        return f;
    (void)pthread_mutex_lock(&c->lock);
    http_enqueue(c, f);
    (void)pthread_mutex_unlock(&c->lock);
    http_wake(c);
    return f;
}

static struct timespec deadline_in(int64_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static size_t find_done(struct http_flight *const *flights, size_t n)
{
    size_t i = 0;
    while (i < n && !(flights[i] && flights[i]->done))
        i++;
    return i;
}

static size_t set_waiter(struct http_flight *const *flights, size_t n, struct http_waiter *w)
{
    size_t set = 0;
    for (size_t i = 0; i < n; i++)
        if (flights[i]) {
            flights[i]->waiter = w;
            set++;
        }
    return set;
}

size_t http_wait(struct http_client *c, struct http_flight *const *flights, size_t n,
                 int64_t timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms > 0 ? timeout_ms : 0);
    struct http_waiter waiter;
    waiter_init(&waiter);
    (void)pthread_mutex_lock(&c->lock);
    size_t at = find_done(flights, n);
    if (at == n && set_waiter(flights, n, &waiter)) {
        int rc = 0;
        for (waiter.left = 1; waiter.left && rc != ETIMEDOUT;)
            rc = timeout_ms < 0 ? pthread_cond_wait(&waiter.done, &c->lock)
                                : pthread_cond_timedwait(&waiter.done, &c->lock, &deadline);
        at = find_done(flights, n);
        (void)set_waiter(flights, n, NULL);
    }
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_cond_destroy(&waiter.done);
    return at;
}

int http_land(struct http_client *c, struct http_flight *f, struct arena *a)
{
    struct http_waiter waiter;
    waiter_init(&waiter);
    (void)pthread_mutex_lock(&c->lock);
    if (!f->done) {
        (void)set_waiter(&f, 1, &waiter);
        waiter.left = 1;
        atomic_store(&f->abandon, true);
        atomic_store(&c->attention, true);
        http_wake(c);
    }
    while (waiter.left)
        (void)pthread_cond_wait(&waiter.done, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_cond_destroy(&waiter.done);
    collect(c, f, a);
    bool failed = f->call->failed;
    free(f);
    return failed ? -1 : 0;
}

void http_flight_resume(struct http_client *c, struct http_flight *f)
{
    atomic_store(&f->resume, true);
    atomic_store(&c->attention, true);
    if (!pthread_equal(pthread_self(), c->thread))
        http_wake(c);
}
