#include "core/forge/forge.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/forge/dialogue.h"
#include "core/forge/signature.h"
#include "core/forge/types.h"

static const struct forge *const table[] = {&forge_github, &forge_gerrit, &forge_generic};

const struct forge *const *forge_table(size_t *n)
{
    *n = ARRAY_LEN(table);
    return table;
}

const struct forge *forge_find(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_eq(type, table[i]->type))
            return table[i];
    return NULL;
}

#define PLACEHOLDER "{project}"

const char *forge_git_url(const struct forge_conf *conf, const char *project, struct arena *a)
{
    const struct forge *forge = forge_find(conf->type);
    const char *base = conf->git ? conf->git : conf->url;
    if (!base)
        return NULL;
    /* A plain path is taken literally by git, a URL is decoded. */
    const char *name = strstr(base, "://") ? dialogue_escape(a, project, true) : project;
    const char *here = strstr(base, PLACEHOLDER);
    if (here)
        return arena_printf(a, "%.*s%s%s", (int)(here - base), base, name,
                            here + strlen(PLACEHOLDER));
    bool proven = !conf->git && conf->username && forge && forge->git_auth_path;
    return arena_printf(a, "%s%s/%s", dialogue_base(a, base), proven ? forge->git_auth_path : "",
                        name);
}

/* Takes an end off where it is there; NULL where it has to be. */
static char *without_end(const char *text, const char *end, bool must, struct arena *a)
{
    size_t len = strlen(text), tail = strlen(end);
    if (!str_ends(text, end))
        return must ? NULL : arena_strdup(a, text);
    return arena_strndup(a, text, len - tail);
}

const char *forge_git_project(const struct forge_conf *conf, const char *url, struct arena *a)
{
    const char *like = forge_git_url(conf, "x", a);
    size_t len = like ? strlen(like) : 0;
    const char *base = conf->git ? conf->git : conf->url;
    const char *here = base ? strstr(base, PLACEHOLDER) : NULL;
    const char *end = here ? here + strlen(PLACEHOLDER) : "";
    if (!len)
        return NULL;
    const char *start = arena_strndup(a, like, len - strlen(end) - 1);
    const char *rest = str_after(url, start);
    rest = rest ? without_end(rest, end, false, a) : NULL;
    /* Servers take a name with ".git" behind it, and with a slash, for the same. */
    rest = rest ? without_end(rest, "/", false, a) : NULL;
    return rest ? without_end(rest, ".git", false, a) : NULL;
}

const char *forge_doubt(const struct forge *forge, const struct http_req *req, int64_t now_s)
{
    const char *standard = signature_standard_doubt(req, now_s);
    if (standard)
        return standard;
    if (!signature_is_standard(req) && forge->proof && !http_header(&req->headers, forge->proof))
        return "it carries no signature";
    return forge->proof ? "its signature matches no hook secret of this source"
                        : "its address holds no hook secret of this source";
}

/* A limit on requests is told in several ways; all mean "later". */
static bool is_throttled(const struct http_resp *resp)
{
    return resp->status == 429 ||
           (resp->status == 403 &&
            (http_header(&resp->headers, "Retry-After") ||
             str_eq(http_header(&resp->headers, "X-RateLimit-Remaining"), "0")));
}

static enum err_kind kind_of(const struct http_resp *resp)
{
    int status = resp->status;
    bool later = status == 408 || status == 425 || (status >= 500 && status != 501);
    return later || is_throttled(resp) ? ERR_TEMP : ERR_PERM;
}

/* The first line of the body without control bytes, and without secrets: before it is cut, since
 * half of a secret is not known for one. */
static void first_line(const struct http_resp *resp, char out[201])
{
    size_t len = resp->body ? strcspn(resp->body, "\r\n") : 0;
    char *line CLEANUP(cleanup_free) = xasprintf("%.*s", (int)len, resp->body ? resp->body : "");
    (void)log_redact(line);
    (void)snprintf(out, 201, "%s", line);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?';
}

enum forge_step forge_refused(const struct http_resp *resp, const char *what, struct err *err)
{
    char line[201];
    uint64_t wait = 0;
    first_line(resp, line);
    (void)err_set(err, kind_of(resp), resp->status, "%s: HTTP %d%s%s%s", what, resp->status,
                  resp->status == 401 ? " (are the forge's credentials right?)" : "",
                  *line ? ": " : "", line);
    if (err) {
        (void)log_redact(err->text);
        if (str_to_u64(http_header(&resp->headers, "Retry-After"), &wait))
            err->retry_after = wait > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (int64_t)wait;
    }
    return FORGE_FAILED;
}

enum forge_step forge_use_git(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err)
{
    (void)d;
    (void)last;
    (void)next;
    (void)err;
    return FORGE_USE_GIT;
}

const char *forge_secret(const struct forge_conf *conf, struct err *err)
{
    for (size_t i = 0; i < conf->hook_secrets.n; i++)
        if (!str_empty(conf->hook_secrets.at[i]))
            return conf->hook_secrets.at[i];
    (void)err_set(err, ERR_CONFIG, 0, "forge '%s' has no hook secret", conf->name);
    return NULL;
}

const char *forge_sample_post(const struct forge_conf *conf, const struct js *v, int64_t now_s,
                              struct arena *a, char digest[CRYPT_SHA256_HEX], struct http_req *out)
{
    const char *body = js_dump(v, a);
    const char *seed = arena_printf(a, "%lld %s", (long long)now_s, body);
    crypt_sha256_hex(seed, strlen(seed), digest);
    *out = (struct http_req){.method = "POST",
                             .url = arena_printf(a, "/hooks/%s", conf->name),
                             .query = "",
                             .body = body,
                             .body_len = strlen(body)};
    http_header_add(a, &out->headers, "Content-Type", "application/json");
    http_header_add(a, &out->headers, "User-Agent", "slipway-send-test-hook");
    return body;
}
