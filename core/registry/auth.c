#include "core/registry/auth.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/challenge.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"

/* Registries whose token service is known to live elsewhere under the same roof. */
static const struct {
    const char *host;
    const char *realm;
} known_realms[] = {
    {"docker.io", "https://auth.docker.io"},
    {"registry.gitlab.com", "https://gitlab.com"},
};

static bool same_text(const char *a, const char *b)
{
    return a && b && crypt_equal_text(a, b);
}

/* What the operator wrote himself. A user "<token>" is docker's way to say "refresh token". */
static void conf_credential(struct registry *r, struct arena *a, const struct registry_conf *conf,
                            struct credential *out)
{
    out->origin = arena_printf(a, "registries.%s", conf->host);
    if (!str_eq(conf->username, "<token>")) {
        out->username = conf->username;
        out->password = conf->password ? conf->password : "";
        return;
    }
    const char *replaced = credentials_replaced(r->credentials, out->origin, a);
    out->identity_token = replaced ? replaced : conf->password;
}

int auth_credential(struct registry *r, struct arena *a, const struct registry_host *h,
                    const char *name, struct credential *out, struct err *err)
{
    const struct registry_conf *conf = h->conf;
    *out = (struct credential){0};
    if (h->anonymous)
        return 0;
    if (str_empty(conf->username))
        return credentials_find(r->credentials, conf->credential_helper, conf->host, name, a, out,
                                err);
    conf_credential(r, a, conf, out);
    return 0;
}

const char *auth_basic(struct arena *a, const char *username, const char *password)
{
    const char *both = arena_printf(a, "%s:%s", username, password ? password : "");
    return arena_printf(a, "Basic %s", crypt_base64(a, both, strlen(both)));
}

bool auth_token_ok(const char *token)
{
    if (str_empty(token))
        return false;
    for (; *token; token++)
        if (*token <= ' ' || *token > '~')
            return false;
    return true;
}

static const char *basic_header(const struct credential *c, struct arena *a)
{
    return str_empty(c->username) ? NULL : auth_basic(a, c->username, c->password);
}

static bool is_good(const struct registry_token *t)
{
    return t->token && clock_monotonic_ms() < t->until;
}

/* The token for an exchange while it is good, else NULL: its own, or to read one that was asked for
 * this repository as the source of a mount. Call with the lock held. */
static const struct registry_token *good_token(const struct exchange *x)
{
    const struct registry_token *own = registry_token(x->host, x->name, &x->access);
    if (is_good(own))
        return own;
    for (const struct registry_token *t = x->host->tokens; t && x->access.read_only; t = t->next)
        if (str_eq(t->with, x->name) && is_good(t))
            return t;
    return NULL;
}

int auth_header(struct registry *r, struct arena *a, struct exchange *x, struct err *err)
{
    struct credential c;
    x->sent = x->origin = NULL;
    registry_lock(r);
    enum registry_auth auth = x->host->auth;
    const struct registry_token *token = auth == AUTH_BEARER ? good_token(x) : NULL;
    if (token) {
        x->sent = arena_printf(a, "Bearer %s", token->token);
        x->origin = arena_strdup(a, token->origin);
    }
    registry_unlock(r);
    if (auth == AUTH_NOT_ASKED || x->sent)
        return 0;
    if (auth_credential(r, a, x->host, x->name, &c, err) < 0)
        return -1;
    x->origin = c.origin;
    if (auth == AUTH_BASIC)
        x->sent = basic_header(&c, a);
    else if (c.registry_token)
        x->sent = arena_printf(a, "Bearer %s", c.registry_token);
    return 0;
}

bool auth_wants_token(struct registry *r, const struct exchange *x)
{
    registry_lock(r);
    bool wants = x->host->auth == AUTH_BEARER && !good_token(x);
    registry_unlock(r);
    return wants;
}

void auth_forget(struct registry *r, struct registry_host *h)
{
    registry_lock(r);
    h->auth = AUTH_NOT_ASKED;
    registry_unlock(r);
}

bool auth_same(const struct exchange *x, const struct exchange *y)
{
    return x->host == y->host && str_eq(x->name, y->name) &&
           str_eq(x->access.with, y->access.with) && x->access.read_only == y->access.read_only;
}

static bool realm_is_paired(const struct registry_host *h, const char *origin, struct arena *a)
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

int auth_check_realm(const struct registry_host *h, const char *realm, bool has_credentials,
                     struct arena *a, bool *paired, struct err *err)
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
    *paired = realm_is_paired(h, origin, a);
    /* Without credentials there is nothing to lose but a request into our own network. */
    if (*paired ||
        (!has_credentials && str_starts(origin, "https:") && !http_host_is_private(a, realm)))
        return 0;
    return err_set(err, ERR_CONFIG, 0,
                   "registry %s asks to sign in at %.300s, which is another server: if that is "
                   "right, list %.300s in `realms` of that registry (or --realm, by hand)",
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

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(text, list[i]))
            return true;
    return false;
}

/* What the scope of a challenge wants for the repository beyond what is asked for anyway, as far
 * as we know those rights; NULL: nothing. Old registries delete only with "*". */
static const char *wanted_more(const struct exchange *x, const char *scope, struct arena *a)
{
    static const char *const rights[] = {"pull", "push", "delete", "*"};
    if (x->access.read_only || !scope)
        return NULL;
    const char *prefix = arena_printf(a, "repository:%s:", x->name);
    struct str_list scopes = str_split(a, scope, ' ');
    for (size_t i = 0; i < scopes.n; i++) {
        const char *text = str_after(scopes.at[i], prefix);
        struct str_list wanted = str_split(a, text ? text : "", ',');
        bool known = true, beyond = false;
        for (size_t k = 0; k < wanted.n; k++) {
            known = known && is_one_of(wanted.at[k], rights, ARRAY_LEN(rights));
            beyond = beyond || !is_one_of(wanted.at[k], rights, ARRAY_LEN(rights) - 1);
        }
        if (known && beyond)
            return text;
    }
    return NULL;
}

static void remember_scope(const struct signin *s, const struct challenge *c, struct arena *a)
{
    struct registry_token *t = registry_token(s->of->host, s->of->name, &s->of->access);
    const char *more =
        str_eq(c->error, "insufficient_scope") ? wanted_more(s->of, c->scope, a) : NULL;
    if (!more || str_eq(more, t->more))
        return;
    free(t->more);
    t->more = xstrdup(more);
}

static int check_challenge(const struct registry_host *h, const struct challenge *c,
                           const struct credential *credential, struct arena *a, struct err *err)
{
    bool paired;
    bool has = credential->identity_token || !str_empty(credential->username);
    if (c->scheme == CHALLENGE_BEARER && str_empty(c->realm))
        return err_set(err, ERR_CONFIG, 0, "registry %s asks for a token without naming a realm",
                       h->conf->host);
    if (c->scheme == CHALLENGE_BEARER)
        return credential->registry_token ? 0 : auth_check_realm(h, c->realm, has, a, &paired, err);
    if (str_empty(credential->username) && h->anonymous)
        return err_set(err, ERR_CONFIG, 401,
                       "registry %s asks for credentials: " REFUSAL_NOT_PUBLIC, h->conf->host);
    if (str_empty(credential->username))
        return err_set(err, ERR_CONFIG, 401,
                       "registry %s asks for credentials and none are configured for it",
                       h->conf->host);
    return 0;
}

/* Picks what to answer: the first good Bearer challenge, else the first good Basic one. */
static enum signin_result choose(struct registry *r, struct arena *a, struct signin *s,
                                 const struct credential *credential)
{
    struct challenges all = challenge_parse(s->challenge, a);
    static const enum challenge_scheme order[] = {CHALLENGE_BEARER, CHALLENGE_BASIC};
    struct registry_host *h = s->of->host;
    bool objected = false;
    for (size_t k = 0; k < ARRAY_LEN(order); k++)
        for (size_t i = 0; i < all.n; i++) {
            if (all.at[i].scheme != order[k])
                continue;
            struct err why = ERR_INIT;
            if (check_challenge(h, &all.at[i], credential, a, &why) == 0) {
                registry_lock(r);
                remember(h, &all.at[i]);
                remember_scope(s, &all.at[i], a);
                registry_unlock(r);
                return SIGNIN_OK;
            }
            if (!objected)
                s->err = why;
            objected = true;
        }
    return objected ? SIGNIN_FAILED : SIGNIN_REFUSED;
}

/* Nothing better than what was refused: a helper may say something else the next time. */
static enum signin_result refused(struct registry *r, const struct credential *c)
{
    if (c->origin)
        credentials_forget(r->credentials, c->origin);
    return SIGNIN_REFUSED;
}

/* True when a token has to be fetched; else the result is settled. */
static bool needs_token(struct registry *r, struct arena *a, struct signin *s, struct token_try *t)
{
    struct registry_host *h = s->of->host;
    *t = (struct token_try){.signin = s};
    s->result = SIGNIN_FAILED;
    s->no_credential = auth_credential(r, a, h, s->of->name, &t->credential, &s->err) < 0;
    if (s->no_credential)
        return false;
    s->result = s->challenge ? choose(r, a, s, &t->credential) : SIGNIN_OK;
    if (s->result != SIGNIN_OK)
        return false;
    registry_lock(r);
    bool bearer = h->auth == AUTH_BEARER;
    const struct registry_token *token = bearer ? good_token(s->of) : NULL;
    t->realm = arena_strdup(a, bearer ? h->realm : NULL);
    t->service = arena_strdup(a, bearer ? h->service : NULL);
    t->by_get = h->no_token_post;
    t->more = arena_strdup(a, registry_token(h, s->of->name, &s->of->access)->more);
    /* Another thread may have fetched a better one meanwhile. */
    bool other = token && !same_text(str_after(s->rejected, "Bearer "), token->token);
    registry_unlock(r);
    if (bearer && t->credential.registry_token && !token) {
        if (same_text(str_after(s->rejected, "Bearer "), t->credential.registry_token))
            s->result = refused(r, &t->credential);
        return false;
    }
    if (!bearer && same_text(s->rejected, basic_header(&t->credential, a)))
        s->result = refused(r, &t->credential);
    if (!bearer || other)
        return false;
    bool has = t->credential.identity_token || !str_empty(t->credential.username);
    s->result = SIGNIN_FAILED;
    return auth_check_realm(h, t->realm, has, a, &t->paired, &s->err) == 0;
}

void auth_sign_in(struct registry *r, struct arena *a, struct signin *s, size_t n)
{
    struct token_try *tries = arena_alloc(a, n * sizeof *tries);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (needs_token(r, a, &s[i], &tries[k]))
            k++;
    token_fetch(r, a, tries, k);
}
