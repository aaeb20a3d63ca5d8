#include "core/registry/redirect.h"

#include "core/base/limits.h"
#include "core/base/str.h"

bool redirect_is(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int redirect_hop(const struct registry_host *h, const char *url, const struct http_resp *resp,
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

int redirect_follow(struct registry *r, struct arena *a, struct exchange *x, const char *what,
                    const char **moved, struct err *err)
{
    const char *url =
        x->url ? x->url
               : arena_printf(a, "%s/v2/%s/%s", registry_base(x->host, a), x->name, x->path);
    *moved = NULL;
    for (int hops = 0; redirect_is(x->resp.status); hops++) {
        struct http_call call;
        bool own;
        if (redirect_hop(x->host, url, &x->resp, hops, what, a, &call, &own, err) < 0)
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

const char *redirect_own(const struct registry_host *h, const char *base, const char *to,
                         struct arena *a)
{
    bool own = false, paired = false;
    const char *url = to ? http_join(a, base, to) : NULL;
    if (!url || exchange_check_url(h, url, a, &own, &paired, NULL) < 0 || !own)
        return NULL;
    return url;
}
