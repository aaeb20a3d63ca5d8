#include "core/registry/download.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <errno.h>

const char *download_what(struct arena *a, const char *name, const char *digest)
{
    return arena_printf(a, "%s@%s", name, digest);
}

bool download_is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int download_hop(const struct registry_host *h, const char *url, const struct http_resp *resp,
                 int hops, const char *what, struct arena *a, struct http_call *call, bool *own,
                 struct err *err)
{
    const char *location = http_header(&resp->headers, "Location");
    const char *next = location ? http_join(a, url, location) : NULL;
    bool paired = false;
    struct err why = ERR_INIT;
    if (hops >= LIMIT_REDIRECTS)
        (void)err_set(&why, ERR_PERM, 0, "it is one redirect too many");
    else if (!next)
        (void)err_set(&why, ERR_PERM, 0, "it is no address");
    else if (exchange_check_url(h, next, a, own, &paired, &why) == 0) {
        *call = (struct http_call){.req = {.method = "GET", .url = next},
                                   .via = *own ? h->conf->via : exchange_foreign_via(h, paired)};
        call->via.http1 = true;
        return 0;
    }
    char shown[HTTP_SHOWN_URL];
    http_shown_url(next ? next : "", shown);
    return err_set(err, ERR_PERM, resp->status,
                   "registry %s redirects %s to \"%s\", which is not followed: %s", h->conf->host,
                   what, shown, why.text);
}

/* An address of the registry's own that wants the credentials too. */
static void ask_with_credentials(struct registry *r, struct arena *a, struct exchange *x,
                                 const char *url)
{
    const char *before = x->url;
    x->url = url;
    exchange_all(r, a, x, 1);
    x->url = before;
}

int download_follow(struct registry *r, struct arena *a, struct exchange *x, const char *what,
                    const char **moved, struct err *err)
{
    const char *url =
        x->url ? x->url
               : arena_printf(a, "%s/v2/%s/%s", registry_base(x->host, a), x->name, x->path);
    *moved = NULL;
    for (int hops = 0; download_is_redirect(x->resp.status); hops++) {
        struct http_call call;
        bool own;
        if (download_hop(x->host, url, &x->resp, hops, what, a, &call, &own, err) < 0)
            return -1;
        call.req.method = x->method;
        call.max_body = x->max_body;
        if (x->accept)
            http_header_add(a, &call.req.headers, "Accept", x->accept);
        if (http_do(r->http, a, &call, err) < 0)
            return -1;
        *moved = url = call.req.url;
        x->resp = call.resp;
        if (!own || x->resp.status != 401)
            continue;
        ask_with_credentials(r, a, x, url);
        if (x->failed) {
            *err = x->err;
            return -1;
        }
    }
    return 0;
}

/* Sends d->call, with the range that is wanted. */
static void fly(struct download *d)
{
    int64_t offset = flow_expect(d->flow);
    if (offset > 0 && !http_header(&d->call.req.headers, "Range"))
        http_header_add(d->arena, &d->call.req.headers, "Range",
                        arena_printf(d->arena, "bytes=%lld-", (long long)offset));
    d->sink = flow_sink(d->flow);
    d->call.sink = &d->sink;
    d->call.max_body = LIMIT_ERROR_BODY;
    d->call.via.http1 = true;
    d->call.stall_ms = LIMIT_STALL_DOWNLOAD_MS;
    d->flight = http_start(d->r->http, &d->call);
    flow_download_is(d->flow, d->flight);
}

static int fly_exchange(struct download *d, struct err *err)
{
    if (exchange_prepare(d->r, d->arena, &d->x, &d->call) < 0) {
        *err = d->x.err;
        return -1;
    }
    d->by_exchange = d->own = true;
    fly(d);
    return 0;
}

int download_start(struct download *d, struct err *err)
{
    d->x = (struct exchange){.host = d->host,
                             .name = d->name,
                             .access = d->access,
                             .method = "GET",
                             .path = arena_printf(d->arena, "blobs/%s", d->digest),
                             .max_body = LIMIT_ERROR_BODY};
    d->hops = 0;
    d->signed_in = false;
    return fly_exchange(d, err);
}

static enum download_result redirected(struct download *d, struct err *err)
{
    struct http_call next;
    if (download_hop(d->host, d->call.req.url, &d->call.resp, d->hops,
                     download_what(d->arena, d->name, d->digest), d->arena, &next, &d->own,
                     err) < 0)
        return DOWNLOAD_FAILED;
    d->hops++;
    d->call = next;
    d->by_exchange = false;
    fly(d);
    return DOWNLOAD_GOES_ON;
}

/* A 401: of the registry itself, or of an address of its own that wants the credentials too. */
static bool sign_in(struct download *d, struct err *err)
{
    if (!d->own || d->signed_in)
        return false;
    if (!d->by_exchange) {
        d->x.url = d->call.req.url;
        return true;
    }
    d->signed_in = true;
    if (exchange_sign_in(d->r, d->arena, &d->x))
        return true;
    if (d->x.failed)
        *err = d->x.err;
    return false;
}

static enum download_result refused(struct download *d, struct err *err)
{
    int status = d->x.resp.status;
    const char *what = download_what(d->arena, d->name, d->digest);
    (void)exchange_refused(&d->x, "pull", what, err);
    if (!d->own) {
        char shown[HTTP_SHOWN_URL];
        http_shown_url(d->call.req.url, shown);
        (void)err_set(err, err->kind, status, "%s, whose storage at %s answered %d",
                      arena_printf(d->arena, "%s could not pull %s", d->host->conf->host, what),
                      shown, status);
    }
    if (status == 404)
        err->code = ENOENT;
    return DOWNLOAD_FAILED;
}

enum download_result download_ended(struct download *d, struct err *err)
{
    struct http_flight *flight = STEAL(d->flight);
    flow_download_is(d->flow, NULL);
    int rc = http_land(d->r->http, flight, d->arena);
    if (d->by_exchange)
        exchange_note(d->r, &d->x, &d->call);
    d->x.resp = d->call.resp;
    if (flow_failed(d->flow, err))
        return DOWNLOAD_FAILED;
    if (rc < 0) {
        *err = d->call.err;
        return DOWNLOAD_FAILED;
    }
    int status = d->call.resp.status;
    if (status == 200 || status == 206)
        return DOWNLOAD_ENDED;
    if (download_is_redirect(status))
        return redirected(d, err);
    *err = (struct err)ERR_INIT;
    if (status == 401 && sign_in(d, err))
        return fly_exchange(d, err) < 0 ? DOWNLOAD_FAILED : DOWNLOAD_GOES_ON;
    return err->kind != ERR_NONE ? DOWNLOAD_FAILED : refused(d, err);
}

void download_cancel(struct download *d)
{
    if (!d->flight)
        return;
    struct http_flight *flight = STEAL(d->flight);
    flow_download_is(d->flow, NULL);
    (void)http_land(d->r->http, flight, d->arena);
}
