#include "core/registry/registry_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/registry/auth.h"

/* Sign-ins of one round: one for each repository, however many requests wait for it. */
struct signins {
    struct signin *at;
    size_t n;
    size_t cap;
};

static struct signin *signin_for(struct signins *list, struct arena *a, const struct exchange *x)
{
    list_each (struct signin, s, list)
        if (s->host == x->host && str_eq(s->name, x->name))
            return s;
    struct signin *s = list_push(a, list);
    s->host = x->host;
    s->name = x->name;
    return s;
}

static void make_call(struct registry *r, struct arena *a, struct exchange *x,
                      struct http_call *call)
{
    const char *url = arena_printf(a, "%s/v2/%s/%s", registry_base(x->host, a), x->name, x->path);
    *call = (struct http_call){
        .req = {.method = x->method, .url = url, .body = x->body, .body_len = x->body_len},
        .max_body = x->max_body,
        .ca_file = x->host->conf->ca_file};
    struct http_headers *headers = &call->req.headers;
    x->sent = auth_header(r, a, x->host, x->name);
    if (x->sent)
        http_header_add(a, headers, "Authorization", x->sent);
    if (x->accept)
        http_header_add(a, headers, "Accept", x->accept);
    if (x->content_type)
        http_header_add(a, headers, "Content-Type", x->content_type);
}

/* A host that is known to want tokens gets one before the first request. Where that fails for
 * good, the request goes without, and its 401 says anew where to sign in; where it may pass, the
 * request fails, and the next one asks anew. Puts what is left to send into `of`. */
static size_t fetch_ahead(struct registry *r, struct arena *a, struct exchange *x, size_t *of,
                          size_t n)
{
    struct signins list = {0};
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (auth_wants_token(r, x[i].host, x[i].name))
            (void)signin_for(&list, a, &x[i]);
    auth_sign_in(r, a, list.at, list.n);
    list_each (struct signin, s, &list) {
        if (s->result != SIGNIN_OK)
            auth_forget(r, s->host);
        for (size_t i = 0; i < n; i++)
            if (s->result == SIGNIN_FAILED && s->err.kind == ERR_TEMP && s->host == x[i].host &&
                str_eq(s->name, x[i].name)) {
                x[i].failed = true;
                x[i].err = s->err;
            }
    }
    for (size_t i = 0; i < n; i++)
        if (!x[i].failed)
            of[left++] = i;
    return left;
}

/* Sends those in `of` and keeps in it the ones whose 401 is worth a sign-in; returns how many. */
static size_t send_round(struct registry *r, struct arena *a, struct exchange *x, size_t *of,
                         size_t n)
{
    struct http_call *calls = arena_alloc(a, n * sizeof *calls);
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        make_call(r, a, &x[of[i]], &calls[i]);
    (void)http_all(r->http, a, calls, n);
    for (size_t i = 0; i < n; i++) {
        struct exchange *one = &x[of[i]];
        one->failed = calls[i].failed;
        one->err = calls[i].err;
        one->resp = calls[i].resp;
        if (!one->failed && one->resp.status == 401 && !one->signed_in)
            of[left++] = of[i];
    }
    return left;
}

/* Signs in for those in `of` and keeps in it the ones to send again; returns how many. */
static size_t sign_in_round(struct registry *r, struct arena *a, struct exchange *x, size_t *of,
                            size_t n)
{
    struct signins list = {0};
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        struct signin *s = signin_for(&list, a, &x[of[i]]);
        s->challenge = &x[of[i]].resp.headers;
        s->rejected = x[of[i]].sent;
    }
    auth_sign_in(r, a, list.at, list.n);
    for (size_t i = 0; i < n; i++) {
        struct exchange *one = &x[of[i]];
        const struct signin *s = signin_for(&list, a, one);
        one->failed = s->result == SIGNIN_FAILED;
        if (one->failed)
            one->err = s->err;
        if (s->result != SIGNIN_OK)
            continue;
        one->signed_in = true;
        of[left++] = of[i];
    }
    return left;
}

void exchange_all(struct registry *r, struct arena *a, struct exchange *x, size_t n)
{
    size_t *of = arena_alloc(a, n * sizeof *of);
    for (size_t i = 0; i < n; i++)
        x[i].failed = false;
    size_t left = fetch_ahead(r, a, x, of, n);
    while (left) {
        left = send_round(r, a, x, of, left);
        if (left)
            left = sign_in_round(r, a, x, of, left);
    }
}
