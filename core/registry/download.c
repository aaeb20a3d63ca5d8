#include "core/registry/download.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/registry/redirect.h"

#include <errno.h>

const char *download_what(struct arena *a, const char *name, const char *digest)
{
    return arena_printf(a, "%s@%s", name, digest);
}

/* Sends d->call, with the range that is wanted. */
static void fly(struct download *d)
{
    int64_t offset = flow_expect(d->flow);
    if (offset > 0 && !d->whole && !http_header(&d->call.req.headers, "Range"))
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
    if (redirect_hop(d->host, d->call.req.url, &d->call.resp, d->hops,
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
    bool ranged = http_header(&d->call.req.headers, "Range") != NULL;
    if (status == 200 || status == 206)
        return DOWNLOAD_ENDED;
    if (redirect_is(status))
        return redirected(d, err);
    if (status == 416 && ranged) {
        d->whole = true;
        return download_start(d, err) < 0 ? DOWNLOAD_FAILED : DOWNLOAD_GOES_ON;
    }
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
