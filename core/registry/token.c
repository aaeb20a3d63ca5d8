#include "core/registry/auth.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/registry/pace.h"

/* What is asked of a token service; the next row when one is refused. */
static const struct row {
    const char *rights;
    bool more; /* also what the registry asked for; without such a wish the row is passed over */
    bool with; /* also the right to pull from the other repository; likewise */
} rows[] = {
    {"pull,push,delete", true, true},
    {"pull,push,delete", true, false},
    {"pull,push,delete", false, true},
    {"pull,push", false, true},
    {"pull,push,delete", false, false},
    {"pull,push", false, false},
    {"pull", false, true},
    {"pull", false, false},
};

static const char *other_repository(const struct exchange *x)
{
    return str_eq(x->access.with, x->name) ? NULL : x->access.with;
}

static bool row_fits(const struct token_try *t, const struct row *row)
{
    const struct exchange *x = t->signin->of;
    if (row->with && !other_repository(x))
        return false;
    if (row->more && !t->more)
        return false;
    return !x->access.read_only || str_eq(row->rights, "pull");
}

/* The first row from `step` on that fits; ARRAY_LEN(rows): there is none left. */
static size_t fitting(const struct token_try *t, size_t step)
{
    while (step < ARRAY_LEN(rows) && !row_fits(t, &rows[step]))
        step++;
    return step;
}

/* What the registry asked for stands first, as some look at the first alone. */
static struct str_list scopes_of(const struct token_try *t, struct arena *a)
{
    const struct row *row = &rows[t->step];
    const struct exchange *x = t->signin->of;
    struct str_list out = {0};
    if (row->more)
        *list_push(a, &out) = arena_printf(a, "repository:%s:%s", x->name, t->more);
    if (!row->more || !str_eq(row->rights, t->more))
        *list_push(a, &out) = arena_printf(a, "repository:%s:%s", x->name, row->rights);
    if (row->with)
        *list_push(a, &out) = arena_printf(a, "repository:%s:pull", other_repository(x));
    return out;
}

static void add_param(struct strbuf *out, const char *name, const char *value, bool keep_slash)
{
    if (out->len && !strchr("?&", out->buf[out->len - 1]))
        (void)strbuf_addch(out, '&');
    (void)strbuf_addf(out, "%s=", name);
    str_urlencode(out, value, keep_slash);
}

static const char *token_url(const struct token_try *t, struct arena *a)
{
    struct strbuf url CLEANUP_STRBUF = STRBUF_INIT(KIB(16));
    struct str_list scopes = scopes_of(t, a);
    (void)strbuf_add(&url, t->realm, strcspn(t->realm, "#"));
    (void)strbuf_addch(&url, strchr(url.buf, '?') ? '&' : '?');
    if (!str_empty(t->service))
        add_param(&url, "service", t->service, false);
    for (size_t i = 0; i < scopes.n; i++)
        add_param(&url, "scope", scopes.at[i], true);
    return strbuf_to_arena(&url, a);
}

/* distribution, docs/spec/auth/oauth.md: scopes are joined by blanks. */
static const char *token_form(const struct token_try *t, struct arena *a)
{
    struct strbuf form CLEANUP(crypt_wipe_buffer) = STRBUF_INIT(4 * LIMIT_TOKEN);
    struct strbuf all CLEANUP_STRBUF = STRBUF_INIT(KIB(16));
    struct str_list scopes = scopes_of(t, a);
    for (size_t i = 0; i < scopes.n; i++)
        (void)strbuf_addf(&all, "%s%s", i ? " " : "", scopes.at[i]);
    add_param(&form, "grant_type", "refresh_token", false);
    if (!str_empty(t->service))
        add_param(&form, "service", t->service, false);
    add_param(&form, "scope", all.buf, false);
    add_param(&form, "client_id", "slipway", false);
    add_param(&form, "refresh_token", t->credential.identity_token, false);
    return strbuf_to_arena(&form, a);
}

static bool posts(const struct token_try *t)
{
    return t->credential.identity_token && !t->by_get;
}

static void make_call(const struct token_try *t, struct arena *a, struct http_call *call)
{
    const struct registry_host *h = t->signin->of->host;
    const struct credential *c = &t->credential;
    const char *secret = c->identity_token ? c->identity_token : c->password;
    const char *user = c->identity_token && str_empty(c->username) ? "<token>" : c->username;
    *call = (struct http_call){.max_body = LIMIT_TOKEN,
                               .via = t->paired ? h->conf->via : exchange_foreign_via(h, false)};
    struct http_headers *headers = &call->req.headers;
    http_header_add(a, headers, "Accept", "application/json");
    if (posts(t)) {
        call->req.method = "POST";
        call->req.url = arena_strndup(a, t->realm, strcspn(t->realm, "#"));
        call->req.body = token_form(t, a);
        call->req.body_len = strlen(call->req.body);
        http_header_add(a, headers, "Content-Type", "application/x-www-form-urlencoded");
        return;
    }
    call->req.method = "GET";
    call->req.url = token_url(t, a);
    if (str_empty(user) || !t->paired)
        return;
    http_header_add(a, headers, "Authorization", auth_basic(a, user, secret));
}

static void store_token(struct registry *r, const struct exchange *x, const char *origin,
                        const char *token, int64_t life_s)
{
    registry_lock(r);
    struct registry_token *t = registry_token(x->host, x->name, &x->access);
    if (t->token)
        crypt_wipe(t->token, strlen(t->token));
    free(t->token);
    free(t->origin);
    t->origin = origin ? xstrdup(origin) : NULL;
    t->token = xstrdup(token);
    t->until = clock_monotonic_ms() + life_s * 800;
    registry_unlock(r);
}

static int keep_token(struct registry *r, const struct token_try *t, const struct http_resp *resp,
                      struct err *err)
{
    struct js *doc CLEANUP_JS = js_parse(resp->body, resp->body_len, NULL);
    const char *token = js_str(doc, "token"), *refresh = js_str(doc, "refresh_token");
    if (str_empty(token))
        token = js_str(doc, "access_token");
    if (!auth_token_ok(token))
        return err_set(err, ERR_TEMP, resp->status,
                       "the token service of registry %s answered without a usable token",
                       t->signin->of->host->conf->host);
    int64_t life = js_int(doc, "expires_in", 60);
    life = life < 1 ? 1 : life > LIMIT_TOKEN_S ? LIMIT_TOKEN_S : life;
    store_token(r, t->signin->of, t->credential.origin, token, life);
    if (posts(t) && auth_token_ok(refresh) && !str_eq(refresh, t->credential.identity_token)) {
        log_secret(refresh);
        credentials_replace(r->credentials, t->credential.origin, refresh);
    }
    return 0;
}

/* A refusal may be one of the way that was taken, or of some of the rights. */
static bool try_other_way(struct registry *r, struct token_try *t, int status)
{
    if (posts(t) && (status == 404 || status == 405)) {
        registry_lock(r);
        t->signin->of->host->no_token_post = true;
        registry_unlock(r);
        t->by_get = true;
        return true;
    }
    if (status < 400 || http_status_kind(status) != ERR_PERM)
        return false;
    t->step = fitting(t, t->step + 1);
    return t->step < ARRAY_LEN(rows);
}

static void judge(struct registry *r, struct arena *a, struct token_try *t,
                  const struct http_call *call)
{
    struct signin *s = t->signin;
    const char *host = s->of->host->conf->host;
    int status = call->resp.status;
    t->done = true;
    s->result = SIGNIN_FAILED;
    if (call->failed) {
        s->err = call->err;
        (void)err_wrap(&s->err, "signing in for registry %s", host);
        return;
    }
    if (status >= 200 && status < 300) {
        if (keep_token(r, t, &call->resp, &s->err) == 0)
            s->result = SIGNIN_OK;
        return;
    }
    if (try_other_way(r, t, status)) {
        t->done = false;
        return;
    }
    bool denied = status == 401 || status == 403;
    if (denied && t->credential.origin)
        credentials_forget(r->credentials, t->credential.origin);
    (void)err_set(&s->err, status < 400 ? ERR_PERM : http_status_kind(status), status,
                  "signing in for %s/%s: %.300s answered %d%s", host, s->of->name,
                  http_origin(a, t->realm), status,
                  denied ? refusal_advice(s->of->host, t->credential.origin, a) : "");
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
        of[k] = i;
        make_call(&t[i], a, &calls[k++]);
    }
    if (k == 0)
        return false;
    (void)http_all(r->http, a, calls, k);
    for (size_t i = 0; i < k; i++) {
        if (calls[i].resp.status == 429 || calls[i].resp.status == 503)
            pace_note(r, t[of[i]].signin->of->host, &calls[i]);
        judge(r, a, &t[of[i]], &calls[i]);
    }
    return true;
}

void token_fetch(struct registry *r, struct arena *a, struct token_try *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        t[i].step = fitting(&t[i], 0);
    while (token_round(r, a, t, n)) {
    }
}
