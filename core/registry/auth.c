#include "core/registry/auth.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/challenge.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"
#include "core/os/clock.h"

/* Registries whose token service is known to live elsewhere under the same roof. */
static const struct {
    const char *host;
    const char *realm;
} known_realms[] = {
    {"docker.io", "https://auth.docker.io"},
    {"registry.gitlab.com", "https://gitlab.com"},
};

/* What is asked of a token service; the next row when one is refused. */
static const char *const rights[] = {"pull,push,delete", "pull,push", "pull"};

static bool same_text(const char *a, const char *b)
{
    return a && b && crypt_equal_text(a, b);
}

static const char *basic_header(const struct registry_conf *conf, struct arena *a)
{
    if (str_empty(conf->username))
        return NULL;
    const char *both =
        arena_printf(a, "%s:%s", conf->username, conf->password ? conf->password : "");
    return arena_printf(a, "Basic %s", crypt_base64(a, both, strlen(both)));
}

/* The token of a repository while it is good, else NULL. Call with the lock held. */
static const char *good_token(struct registry_host *h, const char *name)
{
    const struct registry_repo *repo = registry_repo(h, name);
    return repo->token && clock_monotonic_ms() < repo->token_until ? repo->token : NULL;
}

const char *auth_header(struct registry *r, struct arena *a, struct registry_host *h,
                        const char *name)
{
    const char *out = NULL;
    registry_lock(r);
    if (h->auth == AUTH_BASIC) {
        out = basic_header(h->conf, a);
    } else if (h->auth == AUTH_BEARER) {
        const char *token = good_token(h, name);
        out = token ? arena_printf(a, "Bearer %s", token) : NULL;
    }
    registry_unlock(r);
    return out;
}

bool auth_wants_token(struct registry *r, struct registry_host *h, const char *name)
{
    registry_lock(r);
    bool wants = h->auth == AUTH_BEARER && !good_token(h, name);
    registry_unlock(r);
    return wants;
}

void auth_forget(struct registry *r, struct registry_host *h)
{
    registry_lock(r);
    h->auth = AUTH_NOT_ASKED;
    registry_unlock(r);
}

static bool realm_is_allowed(const struct registry_host *h, const char *origin, struct arena *a)
{
    if (str_eq(origin, http_origin(a, registry_base(h, a))))
        return true;
    for (size_t i = 0; i < h->conf->realms.n; i++)
        if (str_eq(origin, http_origin(a, h->conf->realms.at[i])))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(known_realms); i++)
        if (str_caseeq(h->conf->host, known_realms[i].host) &&
            str_eq(origin, known_realms[i].realm))
            return true;
    return false;
}

int auth_check_realm(const struct registry_host *h, const char *realm, struct arena *a,
                     struct err *err)
{
    const char *origin = http_origin(a, realm);
    if (!origin || strpbrk(realm, " \t\r\n"))
        return err_set(err, ERR_CONFIG, 0,
                       "registry %s asks to sign in at an address that is malformed",
                       h->conf->host);
    if (str_starts(origin, "http:") && !h->conf->plain_http)
        return err_set(err, ERR_CONFIG, 0,
                       "registry %s asks to sign in at %.300s, where credentials would travel in "
                       "the clear: that is never done for a registry that is reached over https",
                       h->conf->host, origin);
    if (realm_is_allowed(h, origin, a))
        return 0;
    return err_set(err, ERR_CONFIG, 0,
                   "registry %s asks to sign in at %.300s, which is another server: if that is "
                   "right, list %.300s in `realms` of that registry",
                   h->conf->host, origin, origin);
}

/* Makes the challenge the host's own. Call with the lock held. */
static void remember(struct registry_host *h, const struct challenge *c)
{
    if (c->scheme == CHALLENGE_BASIC) {
        h->auth = AUTH_BASIC;
        return;
    }
    h->auth = AUTH_BEARER;
    free(h->realm);
    free(h->service);
    h->realm = xstrdup(c->realm);
    h->service = c->service ? xstrdup(c->service) : NULL;
}

static int check_challenge(const struct registry_host *h, const struct challenge *c,
                           struct arena *a, struct err *err)
{
    if (c->scheme == CHALLENGE_BEARER && str_empty(c->realm))
        return err_set(err, ERR_CONFIG, 0, "registry %s asks for a token without naming a realm",
                       h->conf->host);
    if (c->scheme == CHALLENGE_BEARER)
        return auth_check_realm(h, c->realm, a, err);
    if (str_empty(h->conf->username))
        return err_set(err, ERR_CONFIG, 0,
                       "registry %s asks for credentials and none are configured for it",
                       h->conf->host);
    return 0;
}

/* Picks what to answer: the first good Bearer challenge, else the first good Basic one. */
static enum signin_result choose(struct registry *r, struct arena *a, struct signin *s)
{
    struct challenges all = challenge_parse(s->challenge, a);
    static const enum challenge_scheme order[] = {CHALLENGE_BEARER, CHALLENGE_BASIC};
    bool objected = false;
    for (size_t k = 0; k < ARRAY_LEN(order); k++)
        for (size_t i = 0; i < all.n; i++) {
            if (all.at[i].scheme != order[k])
                continue;
            struct err why = ERR_INIT;
            if (check_challenge(s->host, &all.at[i], a, &why) == 0) {
                registry_lock(r);
                remember(s->host, &all.at[i]);
                registry_unlock(r);
                return SIGNIN_OK;
            }
            if (!objected)
                s->err = why;
            objected = true;
        }
    return objected ? SIGNIN_FAILED : SIGNIN_REFUSED;
}

/* A sign-in that needs a token request, and how far down the rights it got. */
struct token_try {
    struct signin *signin;
    const char *realm;
    const char *service;
    size_t right;
    bool done;
};

/* True when a token has to be fetched; else the result is settled. */
static bool needs_token(struct registry *r, struct arena *a, struct signin *s, struct token_try *t)
{
    s->result = s->challenge ? choose(r, a, s) : SIGNIN_OK;
    if (s->result != SIGNIN_OK)
        return false;
    registry_lock(r);
    bool bearer = s->host->auth == AUTH_BEARER;
    const char *token = bearer ? good_token(s->host, s->name) : NULL;
    *t = (struct token_try){.signin = s,
                            .realm = arena_strdup(a, bearer ? s->host->realm : NULL),
                            .service = arena_strdup(a, bearer ? s->host->service : NULL)};
    /* Another thread may have fetched a better one meanwhile. */
    bool other = token && !same_text(str_after(s->rejected, "Bearer "), token);
    registry_unlock(r);
    if (!bearer && same_text(s->rejected, basic_header(s->host->conf, a)))
        s->result = SIGNIN_REFUSED;
    return bearer && !other;
}

static const char *token_url(const struct token_try *t, struct arena *a)
{
    struct strbuf url CLEANUP_STRBUF = STRBUF_INIT(KIB(16));
    (void)strbuf_add(&url, t->realm, strcspn(t->realm, "#"));
    (void)strbuf_addch(&url, strchr(url.buf, '?') ? '&' : '?');
    if (!str_empty(t->service)) {
        (void)strbuf_addstr(&url, "service=");
        str_urlencode(&url, t->service, false);
        (void)strbuf_addch(&url, '&');
    }
    (void)strbuf_addstr(&url, "scope=");
    const char *scope = arena_printf(a, "repository:%s:%s", t->signin->name, rights[t->right]);
    str_urlencode(&url, scope, true);
    return strbuf_to_arena(&url, a);
}

static bool token_is_sane(const char *token)
{
    if (str_empty(token))
        return false;
    for (; *token; token++)
        if (*token <= ' ' || *token > '~')
            return false;
    return true;
}

static int keep_token(struct registry *r, const struct token_try *t, const struct http_resp *resp,
                      struct err *err)
{
    struct js *doc CLEANUP_JS = js_parse(resp->body, resp->body_len, NULL);
    const char *token = js_str(doc, "token");
    if (str_empty(token))
        token = js_str(doc, "access_token");
    if (!token_is_sane(token))
        return err_set(err, ERR_TEMP, resp->status,
                       "the token service of registry %s answered without a usable token",
                       t->signin->host->conf->host);
    int64_t life = js_int(doc, "expires_in", 60);
    life = life < 1 ? 1 : life > LIMIT_TOKEN_S ? LIMIT_TOKEN_S : life;
    registry_lock(r);
    struct registry_repo *repo = registry_repo(t->signin->host, t->signin->name);
    if (repo->token)
        crypt_wipe(repo->token, strlen(repo->token));
    free(repo->token);
    repo->token = xstrdup(token);
    repo->token_until = clock_monotonic_ms() + life * 800;
    registry_unlock(r);
    return 0;
}

static void judge(struct registry *r, struct arena *a, struct token_try *t,
                  const struct http_call *call)
{
    struct signin *s = t->signin;
    int status = call->resp.status;
    t->done = true;
    s->result = SIGNIN_FAILED;
    if (call->failed) {
        s->err = call->err;
        (void)err_wrap(&s->err, "signing in for registry %s", s->host->conf->host);
        return;
    }
    if (status >= 200 && status < 300) {
        if (keep_token(r, t, &call->resp, &s->err) == 0)
            s->result = SIGNIN_OK;
        return;
    }
    if (status >= 400 && http_status_kind(status) == ERR_PERM && t->right + 1 < ARRAY_LEN(rights)) {
        t->right++;
        t->done = false;
        return;
    }
    (void)err_set(&s->err, status < 400 ? ERR_PERM : http_status_kind(status), status,
                  "signing in for %s/%s: %.300s answered %d%s", s->host->conf->host, s->name,
                  http_origin(a, t->realm), status,
                  status != 401 && status != 403       ? ""
                  : str_empty(s->host->conf->username) ? "; no credentials are configured for "
                                                         "that registry"
                                                       : "; check the credentials of that "
                                                         "registry");
    s->err.retry_after = http_retry_after(&call->resp, clock_now_ms() / 1000);
}

/* One round of token requests for all that are not done; false when none was left. */
static bool token_round(struct registry *r, struct arena *a, struct token_try *t, size_t n)
{
    struct http_call *calls = arena_alloc(a, n * sizeof *calls);
    size_t *of = arena_alloc(a, n * sizeof *of);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (t[i].done)
            continue;
        const struct registry_conf *conf = t[i].signin->host->conf;
        const char *basic = basic_header(conf, a);
        of[k] = i;
        calls[k] = (struct http_call){.req = {.method = "GET", .url = token_url(&t[i], a)},
                                      .max_body = LIMIT_TOKEN,
                                      .ca_file = conf->ca_file};
        if (basic)
            http_header_add(a, &calls[k].req.headers, "Authorization", basic);
        http_header_add(a, &calls[k].req.headers, "Accept", "application/json");
        k++;
    }
    if (k == 0)
        return false;
    (void)http_all(r->http, a, calls, k);
    for (size_t i = 0; i < k; i++)
        judge(r, a, &t[of[i]], &calls[i]);
    return true;
}

void auth_sign_in(struct registry *r, struct arena *a, struct signin *s, size_t n)
{
    struct token_try *tries = arena_alloc(a, n * sizeof *tries);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (needs_token(r, a, &s[i], &tries[k]))
            k++;
    while (token_round(r, a, tries, k)) {
    }
}
