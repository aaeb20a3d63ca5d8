#include "cgi/web/receive.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/wake.h"

/* One hook request on its way. */
struct hook {
    struct service *service;
    struct request *request;
    const struct forge_conf *conf;
    const struct forge *forge;
    const char *path_rest;
    const char *forge_id;
};

/* False when no such source is configured. */
static bool find_source(struct hook *h, const char *rest)
{
    size_t len = strcspn(rest, "/");
    const char *name = arena_strndup(&h->request->arena, rest, len);
    h->path_rest = rest[len] ? rest + len + 1 : "";
    h->conf = settings_forge(h->service->settings, name);
    h->forge = h->conf ? forge_find(h->conf->type) : NULL;
    return h->forge != NULL;
}

static bool keep_header(const struct hook *h, struct http_headers *kept, const char *name,
                        size_t *total)
{
    const char *value = http_header(&h->request->http.headers, name);
    if (!value || http_header(kept, name))
        return true;
    *total += strlen(name) + strlen(value);
    if (*total > LIMIT_HEADERS_KEPT)
        return false;
    http_header_add(&h->request->arena, kept, name, value);
    return true;
}

/* Only what the forge's descriptor lists: other headers may carry secrets. */
static bool keep_headers(const struct hook *h, struct http_headers *kept)
{
    size_t total = 0;
    bool fits = keep_header(h, kept, "Content-Type", &total);
    for (const char *const *name = h->forge->keep_headers; name && *name; name++)
        fits = fits && keep_header(h, kept, *name, &total);
    return fits;
}

static void not_kept(const struct hook *h, const struct err *err, struct reply *out)
{
    log_error("delivery could not be kept", "source", h->conf->name, "error", err->text, NULL);
    reply_set(out, 503, "not kept, try again\n");
    out->retry_after = 5;
    out->reason = "not kept";
    out->fatal = store_is_broken(h->service->store);
}

/* Once for all that share a commit: it looks for everything that is new. */
static void tell_worker(struct service *s)
{
    int64_t commits = store_commits(s->store);
    if (s->wake_path && atomic_exchange(&s->told, commits) != commits)
        wake_send(s->wake_path);
}

static void keep(const struct hook *h, bool boring, struct reply *out)
{
    struct err err = ERR_INIT;
    const struct http_req *req = &h->request->http;
    struct delivery d = {
        .source = h->conf->name,
        .forge_id = h->forge_id,
        .received_at = clock_now_ms(),
        .body = req->body,
        .body_len = req->body_len,
        .verdict = boring ? DELIVERY_IGNORED : DELIVERY_NEW,
        .reason = boring ? "its headers say that it is of no interest" : NULL,
    };
    if (!keep_headers(h, &d.headers)) {
        reply_set(out, 431, "too large headers\n");
        out->reason = "headers too large";
        return;
    }
    bool repeat = false;
    if (store_delivery_put(h->service->store, &d, &repeat, &err)) {
        not_kept(h, &err, out);
        return;
    }
    if (repeat || boring) {
        reply_set(out, 200, repeat ? "seen before\n" : "ignored\n");
        out->reason = repeat ? "repeat" : "ignored";
        return;
    }
    reply_set(out, 202, "kept\n");
    out->reason = "kept";
    tell_worker(h->service);
}

static void answer(struct hook *h, struct reply *out)
{
    struct request *q = h->request;
    if (!request_check_content(q, out) || !request_read_body(q, &h->service->budget, out))
        return;
    int64_t now_s = clock_now_ms() / 1000;
    if (!h->forge->verify(h->conf, &q->http, h->path_rest, now_s)) {
        reply_set(out, 401, "no valid proof\n");
        out->reason = forge_doubt(h->forge, &q->http, now_s);
        return;
    }
    h->forge_id = h->forge->delivery_id(&q->http);
    enum forge_class class = h->forge->classify(&q->http);
    if (class == FORGE_PING) {
        reply_set(out, 200, "pong\n");
        out->reason = "ping";
        return;
    }
    keep(h, class == FORGE_BORING, out);
}

/* The path's rest and the headers stay out of it: they may carry secrets. */
static void log_answer(const struct hook *h, const struct reply *reply, int64_t took_ms)
{
    char bytes[32], ms[32], status[16];
    (void)snprintf(bytes, sizeof bytes, "%zu", h->request->length);
    (void)snprintf(ms, sizeof ms, "%lld", (long long)took_ms);
    (void)snprintf(status, sizeof status, "%d", reply->status);
    const char *verdict = reply->reason ? reply->reason : "refused";
    log_at(reply->status < 400 ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "delivery", "source",
           h->conf->name, "forge_id", h->forge_id, "bytes", bytes, "verdict", verdict, "status",
           status, "ms", ms, NULL);
}

void receive_answer(struct service *s, struct request *q, const char *rest, struct reply *out)
{
    int64_t started = clock_monotonic_ms();
    struct hook h = {.service = s, .request = q};
    if (!find_source(&h, rest)) {
        reply_set(out, 404, "no such source\n");
        return;
    }
    answer(&h, out);
    log_answer(&h, out, clock_monotonic_ms() - started);
}
