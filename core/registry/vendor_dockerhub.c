/*
 * Docker Hub: docs.docker.com/reference/api/hub/latest/ (AuthCreateAccessToken: POST
 * /v2/auth/token; PostUsersLogin, deprecated: POST /v2/users/login; ListRepositoryTags: GET
 * /v2/namespaces/{namespace}/repositories/{repository}/tags). DELETE
 * /v2/repositories/{namespace}/{repository}/tags/{tag}/ is what the web pages and Harbor's adapter
 * call. That a deletion may answer 500 and finish in the background:
 * docs.docker.com/reference/api/registry/latest/operations/DeleteImageManifest.
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/registry/auth.h"

#define TOKEN_S 300 /* when the token does not say how long it lives */
#define PAGE 100

/* Seconds until a JWT expires by its own word, TOKEN_S when it says nothing. */
static int64_t life_of(struct arena *a, const char *token)
{
    const char *dot = strchr(token, '.');
    size_t len = dot ? strcspn(dot + 1, ".") : 0;
    if (len == 0)
        return TOKEN_S;
    char *text = arena_printf(a, "%.*s%s", (int)len, dot + 1, &"==="[3 - (4 - len % 4) % 4]);
    for (char *p = text; *p; p++)
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    size_t n = 0;
    unsigned char *plain = crypt_unbase64(a, text, &n);
    struct js *doc CLEANUP_JS = plain ? js_parse(plain, n, NULL) : NULL;
    int64_t until = doc ? js_int(doc, "exp", 0) : 0;
    int64_t life = until ? until - clock_now_ms() / 1000 : TOKEN_S;
    return life < 1 ? 1 : life > LIMIT_TOKEN_S ? LIMIT_TOKEN_S : life;
}

static void set_token(struct vendor_job *j, const char *token)
{
    j->header = "Authorization";
    j->proof = arena_printf(j->a, "Bearer %s", token);
}

static bool kept_token(struct vendor_job *j)
{
    struct registry_vendor *memory = &j->host->vendor;
    registry_lock(j->r);
    bool good = memory->token && clock_monotonic_ms() < memory->token_until;
    if (good)
        set_token(j, memory->token);
    registry_unlock(j->r);
    return good;
}

static void keep_token(struct vendor_job *j, const char *token)
{
    struct registry_vendor *memory = &j->host->vendor;
    registry_lock(j->r);
    if (memory->token)
        crypt_wipe(memory->token, strlen(memory->token));
    free(memory->token);
    memory->token = token ? xstrdup(token) : NULL;
    memory->token_until = token ? clock_monotonic_ms() + life_of(j->a, token) * 800 : 0;
    registry_unlock(j->r);
}

static int send_login(struct vendor_job *j, const char *path, const char *user_key,
                      const char *secret_key, struct vendor_query *q, struct err *err)
{
    struct js *body CLEANUP_JS = js_object();
    js_put_str(body, user_key, j->username);
    js_put_str(body, secret_key, j->password);
    *q = (struct vendor_query){.method = "POST", .path = path, .json = js_dump(body, j->a)};
    return vendor_ask(j, q, err);
}

/* The current call, else the one before it. */
static int sign_in(struct vendor_job *j, struct err *err)
{
    struct vendor_query q;
    if (kept_token(j))
        return 0;
    j->header = NULL;
    if (str_empty(j->username) || str_empty(j->password))
        return err_set(err, ERR_PERM, 401,
                       "Docker Hub's API for %s needs credentials: a user name and a password or "
                       "access token",
                       j->host->conf->host);
    if (send_login(j, "/v2/auth/token", "identifier", "secret", &q, err) < 0)
        return -1;
    if ((q.resp.status == 404 || q.resp.status == 405) &&
        send_login(j, "/v2/users/login", "username", "password", &q, err) < 0)
        return -1;
    if (q.resp.status != 200)
        return vendor_refused(j, &q.resp, "sign in", "for tags", err);
    struct js *doc CLEANUP_JS = js_parse(q.resp.body, q.resp.body_len, NULL);
    const char *token = doc ? js_str(doc, "access_token") : NULL;
    if (!token && doc)
        token = js_str(doc, "token");
    if (!auth_token_ok(token))
        return err_set(err, ERR_TEMP, q.resp.status,
                       "Docker Hub's API for %s answered the sign-in without a usable token",
                       j->host->conf->host);
    keep_token(j, token);
    set_token(j, token);
    return 0;
}

/* One request, signed in; once more with a new token when the kept one is refused. */
static int ask_signed(struct vendor_job *j, struct vendor_query *q, struct err *err)
{
    for (int round = 0; round < 2; round++) {
        if (sign_in(j, err) < 0 || vendor_ask(j, q, err) < 0)
            return -1;
        if (q->resp.status != 401)
            return 0;
        keep_token(j, NULL);
    }
    return 0;
}

static enum vendor_step remove_tag(struct vendor_job *j, const char *tag, const char *digest,
                                   struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    struct vendor_query q = {.method = "DELETE",
                             .path = arena_printf(j->a, "/v2/repositories/%s/tags/%s/", j->name,
                                                  vendor_escape(j->a, tag, false))};
    (void)digest;
    if (ask_signed(j, &q, err) < 0)
        return err->kind == ERR_TEMP ? VENDOR_FAILED : VENDOR_NO_WAY;
    enum vendor_step step = vendor_judge(j, &q.resp, "remove", what, err);
    return q.resp.status == 500 ? VENDOR_UNSURE : step;
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    const char *slash = strchr(j->name, '/');
    if (!slash || strchr(slash + 1, '/'))
        return err_set(err, ERR_PERM, 0, "Docker Hub has no repository called %s", j->name);
    (void)wanted;
    /* Public repositories are told to everybody. */
    if (!str_empty(j->username) && !str_empty(j->password) && sign_in(j, err) < 0)
        return -1;
    for (int page = 1; page <= LIMIT_TAG_LIST / PAGE + 1; page++) {
        struct js *doc CLEANUP_JS = NULL;
        const char *path =
            arena_printf(j->a, "/v2/namespaces/%.*s/repositories/%s/tags?page_size=%d&page=%d",
                         (int)(slash - j->name), j->name, slash + 1, PAGE, page);
        if (vendor_get(j, path, j->name, &doc, NULL, err) < 0)
            return -1;
        const struct js *list = js_get(doc, "results");
        for (size_t i = 0; i < js_len(list); i++) {
            const struct js *one = js_at(list, i);
            const char *time = js_str(one, "tag_last_pushed");
            if (!time)
                time = js_str(one, "last_updated");
            if (vendor_add_tag(j, out, js_str(one, "name"), time, err) < 0)
                return -1;
        }
        if (!js_str(doc, "next") || js_len(list) == 0)
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "Docker Hub's list of tags has no end");
}

static const char *const hosts[] = {"docker.io", NULL};

const struct vendor vendor_dockerhub = {
    .type = "dockerhub",
    .title = "Docker Hub",
    .hosts = hosts,
    .api = "https://hub.docker.com",
    .one_account = true,
    .not_isolated = "Docker Hub deletes tags by its own API only, which needs credentials",
    .remove = remove_tag,
    .times = tag_times,
};
