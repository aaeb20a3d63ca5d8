#include "core/registry/upload.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"

#include <errno.h>

#define OCTETS "application/octet-stream"

static const char *what(struct upload *u)
{
    return arena_printf(u->arena, "%s@%s", u->name, u->digest);
}

static struct exchange exchange_of(const struct upload *u, const char *method)
{
    return (struct exchange){.host = u->host,
                             .name = u->name,
                             .access = u->access,
                             .method = method,
                             .url = u->url,
                             .max_body = LIMIT_ERROR_BODY,
                             .safe = true};
}

/* A length that a header names; a malformed one counts as not told. */
static size_t told_length(const struct http_resp *resp, const char *name)
{
    uint64_t n;
    const char *value = http_header(&resp->headers, name);
    return value && str_to_u64(value, &n) ? n < SIZE_MAX ? (size_t)n : SIZE_MAX : 0;
}

/* The session's address is that of the last answer which named one. */
static int take_location(struct upload *u, const char *base, const struct http_resp *resp,
                         struct err *err)
{
    const char *location = http_header(&resp->headers, "Location");
    if (!location)
        return u->url ? 0
                      : err_set(err, ERR_PERM, resp->status,
                                "%s opened an upload of %s without saying where",
                                u->host->conf->host, what(u));
    const char *url = http_join(u->arena, base, location);
    bool own, paired;
    char shown[HTTP_SHOWN_URL];
    http_shown_url(url ? url : "", shown);
    if (!url)
        return err_set(err, ERR_PERM, resp->status, "%s sends the upload of %s to no address",
                       u->host->conf->host, what(u));
    if (exchange_check_url(u->host, url, u->arena, &own, &paired, err) < 0)
        return err_wrap(err, "%s sends the upload of %s to \"%s\"", u->host->conf->host, what(u),
                        shown);
    u->url = url;
    return 0;
}

static const char *uploads_url(struct upload *u)
{
    return arena_printf(u->arena, "%s/v2/%s/blobs/uploads/", registry_base(u->host, u->arena),
                        u->name);
}

static int opened(struct upload *u, struct err *err)
{
    u->min_chunk = told_length(&u->x.resp, "OCI-Chunk-Min-Length");
    u->max_chunk = told_length(&u->x.resp, "OCI-Chunk-Max-Length");
    return take_location(u, uploads_url(u), &u->x.resp, err);
}

static const char *encoded(struct upload *u, const char *text)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(KIB(4));
    str_urlencode(&out, text, false);
    return strbuf_to_arena(&out, u->arena);
}

/* Does the answer name another digest than the one that was meant? */
static bool other_digest(const struct upload *u)
{
    const char *told = http_header(&u->x.resp.headers, "Docker-Content-Digest");
    return told && imageref_digest_ok(told) && strcspn(told, ":") == strcspn(u->digest, ":") &&
           !str_eq(told, u->digest);
}

/* 0: the mount's answer settles it, one way or the other. 1: to be opened in the plain way. */
static int try_mount(struct upload *u, const char *from, bool *mounted, struct err *err)
{
    struct registry_access plain = u->access;
    u->access.with = from;
    u->x = exchange_of(u, "POST");
    u->x.path = arena_printf(u->arena, "blobs/uploads/?mount=%s&from=%s", encoded(u, u->digest),
                             encoded(u, from));
    exchange_all(u->r, u->arena, &u->x, 1);
    if (!u->x.failed && u->x.resp.status == 201 && !other_digest(u)) {
        *mounted = true;
        return 0;
    }
    if (!u->x.failed && u->x.resp.status == 202 && http_header(&u->x.resp.headers, "Location"))
        return opened(u, err);
    u->access = plain;
    return 1;
}

int upload_open(struct upload *u, const char *mount_from, bool *mounted, struct err *err)
{
    *mounted = false;
    u->url = NULL;
    if (mount_from) {
        int rc = try_mount(u, mount_from, mounted, err);
        if (rc <= 0)
            return rc;
    }
    u->x = exchange_of(u, "POST");
    u->x.path = "blobs/uploads/";
    exchange_all(u->r, u->arena, &u->x, 1);
    if (u->x.failed) {
        *err = u->x.err;
        return -1;
    }
    return u->x.resp.status == 202 ? opened(u, err) : upload_refused(u, err);
}

int upload_open_with(struct upload *u, const void *bytes, size_t len, bool *done, struct err *err)
{
    u->url = NULL;
    u->x = exchange_of(u, "POST");
    u->x.path = arena_printf(u->arena, "blobs/uploads/?digest=%s", encoded(u, u->digest));
    u->x.content_type = OCTETS;
    u->x.body = bytes;
    u->x.body_len = len;
    exchange_all(u->r, u->arena, &u->x, 1);
    *done = !u->x.failed && u->x.resp.status == 201 && !other_digest(u);
    if (u->x.failed) {
        *err = u->x.err;
        return -1;
    }
    return u->x.resp.status == 202 ? opened(u, err) : 0;
}

static const char *closing_url(struct upload *u)
{
    return arena_printf(u->arena, "%s%cdigest=%s", u->url, strchr(u->url, '?') ? '&' : '?',
                        encoded(u, u->digest));
}

static int fly(struct upload *u, struct flow *flow, int64_t len, struct err *err)
{
    u->x.content_type = OCTETS;
    u->x.body_len = (size_t)len;
    if (exchange_prepare(u->r, u->arena, &u->x, &u->call) < 0) {
        *err = u->x.err;
        return -1;
    }
    u->flow = flow;
    u->source = flow_source(flow);
    u->call.source = &u->source;
    u->call.req.body = NULL;
    u->call.req.body_len = (size_t)len;
    u->call.via.http1 = true;
    u->flight = http_start(u->r->http, &u->call);
    flow_upload_is(flow, u->flight);
    return 0;
}

int upload_fly_whole(struct upload *u, struct flow *flow, int64_t len, struct err *err)
{
    u->x = exchange_of(u, "PUT");
    u->x.url = closing_url(u);
    return fly(u, flow, len, err);
}

int upload_fly_chunk(struct upload *u, struct flow *flow, int64_t at, int64_t len, struct err *err)
{
    u->x = exchange_of(u, "PATCH");
    http_header_add(u->arena, &u->x.headers, "Content-Range",
                    arena_printf(u->arena, "%lld-%lld", (long long)at, (long long)(at + len - 1)));
    return fly(u, flow, len, err);
}

int upload_landed(struct upload *u, int *status, struct err *err)
{
    struct http_flight *flight = STEAL(u->flight);
    flow_upload_is(u->flow, NULL);
    *status = 0;
    int rc = http_land(u->r->http, flight, u->arena);
    exchange_note(u->r, &u->x, &u->call);
    u->x.resp = u->call.resp;
    if (rc < 0) {
        *err = u->call.err;
        return -1;
    }
    *status = u->call.resp.status;
    if (*status >= 200 && *status < 300 && str_eq(u->x.method, "PATCH"))
        return take_location(u, u->call.req.url, &u->call.resp, err);
    return 0;
}

int upload_close(struct upload *u, const void *bytes, size_t len, int *status, struct err *err)
{
    u->x = exchange_of(u, "PUT");
    u->x.url = closing_url(u);
    u->x.content_type = OCTETS;
    u->x.body = bytes;
    u->x.body_len = len;
    exchange_all(u->r, u->arena, &u->x, 1);
    *status = u->x.resp.status;
    if (u->x.failed)
        *err = u->x.err;
    return u->x.failed ? -1 : 0;
}

/* "0-99", perhaps with a unit before it: 100 bytes are there. "0-0" is said for none at all. */
static bool parse_range(const char *value, int64_t *next)
{
    const char *p = value ? str_after(value, "bytes=") : NULL;
    p = value && !p ? str_after(value, "bytes ") : p;
    p = str_after(p ? p : value ? value : "", "0-");
    if (!p || !str_to_i64(p, next) || *next < 0 || *next > LIMIT_BLOB_BYTES)
        return false;
    *next = *next ? *next + 1 : 0;
    return true;
}

int upload_where(struct upload *u, int64_t *next, struct err *err)
{
    u->x = exchange_of(u, "GET");
    exchange_all(u->r, u->arena, &u->x, 1);
    if (u->x.failed) {
        *err = u->x.err;
        return -1;
    }
    if (u->x.resp.status < 200 || u->x.resp.status >= 300)
        return upload_refused(u, err);
    if (!parse_range(http_header(&u->x.resp.headers, "Range"), next))
        return err_set(err, ERR_TEMP, u->x.resp.status, "%s does not say how much of %s it has",
                       u->host->conf->host, what(u));
    return take_location(u, u->url, &u->x.resp, err);
}

int upload_refused(struct upload *u, struct err *err)
{
    return exchange_refused(&u->x, "push", what(u), err);
}

void upload_cancel(struct upload *u)
{
    if (u->flight) {
        struct http_flight *flight = STEAL(u->flight);
        flow_upload_is(u->flow, NULL);
        (void)http_land(u->r->http, flight, u->arena);
    }
    if (!u->url)
        return;
    u->access.patient = false;
    u->access.until = 0;
    u->x = exchange_of(u, "DELETE");
    u->x.safe = false;
    u->x.timeout_ms = LIMIT_CONNECT_MS; /* a courtesy, and worth no more */
    exchange_all(u->r, u->arena, &u->x, 1);
    u->url = NULL;
}
