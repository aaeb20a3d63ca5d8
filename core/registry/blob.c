#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/crypt.h"
#include "core/registry/registry_internal.h"

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where a registry may send us for a blob: its own origin, or any public https server. */
static bool may_follow(const struct registry_host *h, const char *url, struct arena *a)
{
    const char *origin = http_origin(a, url);
    if (!origin)
        return false;
    return str_eq(origin, http_origin(a, registry_base(h, a))) ||
           (str_starts(origin, "https:") && !http_host_is_private(a, url));
}

/* Follows a redirect to the registry's storage, without any credentials. */
static int follow(struct registry *r, struct arena *a, struct exchange *x, struct err *err)
{
    const char *url = arena_printf(a, "%s/v2/%s/%s", registry_base(x->host, a), x->name, x->path);
    for (int i = 0; is_redirect(x->resp.status); i++) {
        url = http_join(a, url, http_header(&x->resp.headers, "Location"));
        if (i == LIMIT_REDIRECTS || !url || !may_follow(x->host, url, a)) {
            char show[HTTP_SHOWN_URL];
            http_shown_url(url, show);
            return err_set(err, ERR_PERM, x->resp.status,
                           "registry %s redirects a blob of %s to \"%s\", which is not followed",
                           x->host->conf->host, x->name, show);
        }
        struct http_call call = {.req = {.method = "GET", .url = url},
                                 .max_body = x->max_body,
                                 .ca_file = x->host->conf->ca_file};
        if (http_do(r->http, a, &call, err) < 0)
            return -1;
        x->resp = call.resp;
    }
    return 0;
}

int registry_small_blob(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *digest, size_t max, const void **bytes, size_t *len,
                        struct err *err)
{
    struct registry_host *h = registry_find(r, host);
    if (!h)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name) || !str_starts(digest, "sha256:") || !imageref_digest_ok(digest))
        return err_set(err, ERR_BUG, 0, "a request for a blob without a legal name");
    struct exchange x = {.host = h,
                         .name = name,
                         .method = "GET",
                         .path = arena_printf(a, "blobs/%s", digest),
                         .max_body = max};
    exchange_all(r, a, &x, 1);
    const char *what = arena_printf(a, "%s@%s", name, digest);
    if (x.failed) {
        *err = x.err;
        return err_wrap(err, "%s/%s", host, what);
    }
    if (follow(r, a, &x, err) < 0)
        return err_wrap(err, "%s/%s", host, what);
    if (x.resp.status != 200)
        return exchange_refused(&x, "pull", what, err);
    char found[CRYPT_DIGEST_TEXT];
    crypt_digest(x.resp.body, x.resp.body_len, found);
    if (!str_eq(found, digest))
        return err_set(err, ERR_PERM, 0,
                       "%s/%s: wrong bytes: the registry's answer has the digest %s", host, what,
                       found);
    *bytes = x.resp.body;
    *len = x.resp.body_len;
    return 0;
}
