#include "core/lib/http.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/strbuf.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "version.h"

/* How much of a refusal is read and thrown away to keep its connection. */
#define REFUSAL_DRAINED MIB(1)
#define LOW_SPEED_S 30L
#define CA_CACHE_S 60L
#define LOOP_WAIT_MS 30000
#define HTTP_BUFFER 8192L /* of each handle; answers are small, and gathered elsewhere */

/* Callers of one http_all wait here; guarded by the client's lock. */
struct batch {
    pthread_cond_t done;
    size_t left;
};

/* One call on its way. The loop thread owns it from the queue until the batch is told. */
struct job {
    struct http_call *call;
    struct batch *batch;
    struct job *next;
    const char *ca_file;
    CURL *easy;
    struct curl_slist *lines;
    struct strbuf headers; /* "name NUL value NUL" for each */
    struct strbuf body;
    size_t drained;
    bool too_large;
    bool headers_too_large;
    bool cut;
    long status;
    CURLcode result;
    char detail[CURL_ERROR_SIZE];
};

struct http_client {
    pthread_mutex_t lock; /* guards first, last, stop and every batch */
    struct job *first, *last;
    bool stop;
    struct job *waiting, **waiting_end; /* only the loop thread touches these three */
    size_t active;
    CURLM *multi;
    CURL *idle[LIMIT_HTTP_IDLE]; /* only the loop thread touches these */
    size_t idle_n;
    char *user_agent;
    char *ca_file;
    pthread_t thread;
};

static void curl_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

/* --- callbacks of one transfer, in the loop thread ----------------------------------------------
 */

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct job *job = user;
    size_t len = size * count;
    if (len > 5 && memcmp(data, "HTTP/", 5) == 0) {
        strbuf_reset(&job->headers); /* an interim answer came before */
        return len;
    }
    const char *colon = memchr(data, ':', len);
    if (!colon || colon == data)
        return len;
    const char *value = colon + 1, *end = data + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr("\r\n \t", end[-1]))
        end--;
    (void)strbuf_add(&job->headers, data, (size_t)(colon - data));
    (void)strbuf_addch(&job->headers, '\0');
    (void)strbuf_add(&job->headers, value, (size_t)(end - value));
    (void)strbuf_addch(&job->headers, '\0');
    job->headers_too_large = job->headers.full;
    return job->headers.full ? 0 : len;
}

/* Keeps the head of a refusal's text and drains the rest. */
static size_t add_refusal(struct job *job, const char *data, size_t len)
{
    size_t room = job->body.len < LIMIT_ERROR_BODY ? LIMIT_ERROR_BODY - job->body.len : 0;
    size_t kept = len < room ? len : room;
    job->body.max = LIMIT_ERROR_BODY;
    (void)strbuf_add(&job->body, data, kept);
    job->drained += len - kept;
    job->cut = job->drained > REFUSAL_DRAINED;
    return job->cut ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct job *job = user;
    size_t len = size * count;
    long status = 0;
    (void)curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400)
        return add_refusal(job, data, len);
    if (strbuf_add(&job->body, data, len) == 0)
        return len;
    job->too_large = true;
    return 0;
}

/* curl 7.88 opens sockets that children would inherit. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)user;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* --- setting up and finishing a transfer, in the loop thread ------------------------------------
 */

static bool method_is(const struct job *job, const char *method)
{
    return str_eq(job->call->req.method, method);
}

static void set_headers(struct job *job)
{
    const struct http_headers *headers = &job->call->req.headers;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < headers->n; i++) {
        const struct http_header *h = &headers->at[i];
        const char *line = *h->value ? arena_printf(&scratch, "%s: %s", h->name, h->value)
                                     : arena_printf(&scratch, "%s;", h->name);
        job->lines = curl_slist_append(job->lines, line);
    }
    job->lines = curl_slist_append(job->lines, "Expect:");
    if (!http_header(headers, "Content-Type"))
        job->lines = curl_slist_append(job->lines, "Content-Type:");
    curl_easy_setopt(job->easy, CURLOPT_HTTPHEADER, job->lines);
}

static void set_method(struct job *job)
{
    const struct http_req *req = &job->call->req;
    CURL *e = job->easy;
    if (method_is(job, "HEAD")) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (method_is(job, "GET") && !req->body) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        return;
    }
    /* Every other method sends its exact length, also when that is 0: some registries insist. */
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body_len ? req->body : "");
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
}

static void set_trust(struct job *job)
{
    CURL *e = job->easy;
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    if (job->ca_file) {
        /* An authority that the operator names stands in the place of the system's. */
        curl_easy_setopt(e, CURLOPT_CAINFO, job->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
}

static void set_manners(const struct http_client *c, struct job *job)
{
    CURL *e = job->easy;
    int64_t timeout = job->call->timeout_ms > 0 ? job->call->timeout_ms : LIMIT_REQUEST_MS;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, HTTP_BUFFER);
}

static void job_start(struct http_client *c, struct job *job)
{
    CURL *e = c->idle_n ? c->idle[--c->idle_n] : curl_easy_init();
    if (!e)
        abort();
    job->easy = e;
    curl_easy_setopt(e, CURLOPT_URL, job->call->req.url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, job);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, job->detail);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, job);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, job);
    set_manners(c, job);
    set_trust(job);
    set_method(job);
    set_headers(job);
    if (curl_multi_add_handle(c->multi, e) != CURLM_OK)
        abort();
}

static void job_finish(struct http_client *c, struct job *job, CURLcode result)
{
    CURL *e = job->easy;
    c->active--;
    job->result = job->cut ? CURLE_OK : result;
    (void)curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &job->status);
    (void)curl_multi_remove_handle(c->multi, e);
    /* A reset forgets the request, its credentials included, and keeps TLS sessions. */
    curl_easy_reset(e);
    curl_slist_free_all(job->lines);
    job->lines = NULL;
    job->easy = NULL;
    if (c->idle_n < ARRAY_LEN(c->idle))
        c->idle[c->idle_n++] = e;
    else
        curl_easy_cleanup(e);
    (void)pthread_mutex_lock(&c->lock);
    if (--job->batch->left == 0)
        (void)pthread_cond_signal(&job->batch->done);
    (void)pthread_mutex_unlock(&c->lock);
}

static bool take_queue(struct http_client *c, struct job **jobs)
{
    (void)pthread_mutex_lock(&c->lock);
    *jobs = c->first;
    c->first = c->last = NULL;
    bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    return !stop;
}

static void reap(struct http_client *c)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(c->multi, &left));) {
        struct job *job = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode result = msg->data.result;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&job);
        job_finish(c, job, result);
    }
}

/* A handle holds buffers, so a large batch gets only so many at a time. */
static void start_waiting(struct http_client *c)
{
    while (c->waiting && c->active < LIMIT_HTTP_ACTIVE) {
        struct job *job = c->waiting;
        c->waiting = job->next;
        if (!c->waiting)
            c->waiting_end = &c->waiting;
        c->active++;
        job_start(c, job);
    }
}

static void *loop(void *user)
{
    struct http_client *c = user;
    struct job *jobs;
    c->waiting_end = &c->waiting;
    while (take_queue(c, &jobs)) {
        *c->waiting_end = jobs;
        while (*c->waiting_end)
            c->waiting_end = &(*c->waiting_end)->next;
        start_waiting(c);
        int running;
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            abort();
        reap(c);
        if (c->waiting && c->active < LIMIT_HTTP_ACTIVE)
            continue;
        if (curl_multi_poll(c->multi, NULL, 0, LOOP_WAIT_MS, NULL) != CURLM_OK)
            abort();
    }
    return NULL;
}

/* --- the caller's side --------------------------------------------------------------------------
 */

static void client_destroy(struct http_client *c)
{
    while (c->idle_n)
        curl_easy_cleanup(c->idle[--c->idle_n]);
    (void)curl_multi_cleanup(c->multi);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->user_agent);
    free(c->ca_file);
    free(c);
}

struct http_client *http_client_new(const struct http_client_opts *opts, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, curl_start);
    const char *ca_file = opts ? opts->ca_file : NULL;
    if (ca_file && access(ca_file, R_OK) != 0) {
        (void)err_set(err, ERR_CONFIG, 0, "ca_file %s cannot be read", ca_file);
        return NULL;
    }
    struct http_client *c = xcalloc(1, sizeof *c);
    const char *agent = opts && opts->user_agent ? opts->user_agent : "slipway/" SLIPWAY_VERSION;
    c->user_agent = xstrdup(agent);
    c->ca_file = ca_file ? xstrdup(ca_file) : NULL;
    (void)pthread_mutex_init(&c->lock, NULL);
    c->multi = curl_multi_init();
    if (!c->multi)
        abort();
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)LIMIT_HOST_CONNECTIONS);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_HTTP_IDLE);
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&c->thread, NULL, loop, c);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return c;
    (void)err_errno(err, ERR_TEMP, rc, "cannot start the thread for HTTP");
    client_destroy(c);
    return NULL;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_mutex_unlock(&c->lock);
    (void)curl_multi_wakeup(c->multi);
    (void)pthread_join(c->thread, NULL);
    client_destroy(c);
}

/* Everything that is not listed is the network's doing and may pass. */
static enum err_kind result_kind(CURLcode result)
{
    static const struct {
        CURLcode result;
        enum err_kind kind;
    } kinds[] = {
        {CURLE_PEER_FAILED_VERIFICATION, ERR_CONFIG},
        {CURLE_SSL_CACERT_BADFILE, ERR_CONFIG},
        {CURLE_SSL_ISSUER_ERROR, ERR_CONFIG},
        {CURLE_SSL_CIPHER, ERR_CONFIG},
        {CURLE_SSL_INVALIDCERTSTATUS, ERR_CONFIG},
        {CURLE_SSL_PINNEDPUBKEYNOTMATCH, ERR_CONFIG},
        {CURLE_URL_MALFORMAT, ERR_BUG},
        {CURLE_BAD_FUNCTION_ARGUMENT, ERR_BUG},
        {CURLE_UNKNOWN_OPTION, ERR_BUG},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].result == result)
            return kinds[i].kind;
    return ERR_TEMP;
}

static void set_failure(const struct job *job, struct http_call *call)
{
    char url[HTTP_SHOWN_URL];
    enum err_kind kind = result_kind(job->result);
    http_shown_url(call->req.url, url);
    call->failed = true;
    if (job->too_large)
        (void)err_set(&call->err, ERR_PERM, 0, "%s: the answer exceeds %zu bytes", url,
                      call->max_body);
    else if (job->headers_too_large)
        (void)err_set(&call->err, ERR_PERM, 0, "%s: the answer's headers exceed %zu bytes", url,
                      LIMIT_HTTP_HEADERS);
    else
        (void)err_set(&call->err, kind, 0, "%s: %s%s%s", url,
                      *job->detail ? job->detail : curl_easy_strerror(job->result),
                      kind != ERR_CONFIG ? ""
                      : job->ca_file     ? "; its authority is not in ca_file "
                                         : "; name its authority's certificate in ca_file",
                      kind == ERR_CONFIG && job->ca_file ? job->ca_file : "");
    for (char *p = call->err.text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    (void)log_redact(call->err.text);
}

/* Copies the loop thread's findings to the caller's arena. */
static void collect(struct job *job, struct arena *a, struct http_call *call)
{
    call->resp = (struct http_resp){.body = ""};
    if (job->result != CURLE_OK) {
        set_failure(job, call);
    } else {
        call->resp.status = (int)job->status;
        call->resp.body = strbuf_to_arena(&job->body, a);
        call->resp.body_len = job->body.len;
        const char *p = job->headers.buf, *end = p + job->headers.len;
        while (p < end) {
            const char *value = p + strlen(p) + 1;
            http_header_add(a, &call->resp.headers, p, value);
            p = value + strlen(value) + 1;
        }
    }
    strbuf_release(&job->body);
    strbuf_release(&job->headers);
}

static void enqueue(struct http_client *c, struct job *job)
{
    if (c->last)
        c->last->next = job;
    else
        c->first = job;
    c->last = job;
}

size_t http_all(struct http_client *c, struct arena *a, struct http_call *calls, size_t n)
{
    struct batch batch = {.done = PTHREAD_COND_INITIALIZER};
    struct job *jobs CLEANUP(cleanup_free) = xcalloc(n, sizeof *jobs);
    size_t failed = 0;
    for (size_t i = 0; i < n; i++) {
        const char *fault = http_call_fault(&calls[i]);
        calls[i].failed = fault != NULL;
        if (fault) {
            char url[HTTP_SHOWN_URL];
            http_shown_url(calls[i].req.url, url);
            calls[i].resp = (struct http_resp){.body = ""};
            (void)err_set(&calls[i].err, ERR_BUG, 0, "request to %s: %s", url, fault);
            continue;
        }
        jobs[i] = (struct job){.call = &calls[i],
                               .batch = &batch,
                               .ca_file = calls[i].ca_file ? calls[i].ca_file : c->ca_file,
                               .headers = STRBUF_INIT(LIMIT_HTTP_HEADERS),
                               .body = STRBUF_INIT(calls[i].max_body)};
    }
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++)
        if (jobs[i].call) {
            enqueue(c, &jobs[i]);
            batch.left++;
        }
    if (batch.left)
        (void)curl_multi_wakeup(c->multi);
    while (batch.left)
        (void)pthread_cond_wait(&batch.done, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_cond_destroy(&batch.done);
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].call)
            collect(&jobs[i], a, &calls[i]);
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
