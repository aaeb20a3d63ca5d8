#include "core/forge/dialogue.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"

#include <errno.h>
#include <stdarg.h>

const char *dialogue_escape(struct arena *a, const char *s, bool keep_slash)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(3 * strlen(s) + 1);
    str_urlencode(&b, s, keep_slash);
    return strbuf_to_arena(&b, a);
}

const char *dialogue_base(struct arena *a, const char *url)
{
    size_t len = url ? strlen(url) : 0;
    while (len && url[len - 1] == '/')
        len--;
    return url ? arena_strndup(a, url, len) : NULL;
}

enum forge_step dialogue_get(struct forge_dialogue *d, int stage, const char *url,
                             struct http_req *next)
{
    *next = (struct http_req){.method = "GET", .url = url, .query = ""};
    d->stage = stage;
    return FORGE_MORE;
}

void dialogue_post(struct forge_dialogue *d, const struct js *body, struct http_req *next)
{
    next->method = "POST";
    next->body = js_dump(body, d->arena);
    next->body_len = strlen(next->body);
    http_header_add(d->arena, &next->headers, "Content-Type", "application/json; charset=utf-8");
}

void dialogue_basic(struct forge_dialogue *d, struct http_req *next)
{
    const struct forge_conf *conf = d->conf;
    if (str_empty(conf->username) || str_empty(conf->password))
        return;
    char *pair = arena_printf(d->arena, "%s:%s", conf->username, conf->password);
    char *encoded = crypt_base64(d->arena, pair, strlen(pair));
    crypt_wipe(pair, strlen(pair));
    http_header_add(d->arena, &next->headers, "Authorization",
                    arena_printf(d->arena, "Basic %s", encoded));
}

bool dialogue_ok(const struct http_resp *resp, const char *what, struct err *err)
{
    if (resp->status == 200)
        return true;
    if (resp->status >= 400)
        (void)forge_refused(resp, what, err);
    else if (resp->status >= 300)
        (void)err_set(err, ERR_PERM, resp->status,
                      "%s: the forge answers with a redirect (HTTP %d), which is not followed: was "
                      "it renamed, or is the configured url not the last one?",
                      what, resp->status);
    else
        (void)err_set(err, ERR_TEMP, resp->status, "%s: unexpected answer, HTTP %d", what,
                      resp->status);
    return false;
}

bool dialogue_taken(const struct http_resp *resp, const char *what, const char *right,
                    struct err *err)
{
    static const int refusals[] = {401, 403, 404, 422};
    if (resp->status == 201 || dialogue_ok(resp, what, err))
        return true;
    for (size_t i = 0; err && err->kind == ERR_PERM && i < ARRAY_LEN(refusals); i++)
        if (resp->status == refusals[i]) {
            size_t len = strlen(err->text);
            (void)snprintf(err->text + len, sizeof err->text - len, " (it takes %s)", right);
        }
    return false;
}

struct js *dialogue_json(const struct http_resp *resp, const char *prefix, const char *what,
                         struct err *err)
{
    if (!dialogue_ok(resp, what, err))
        return NULL;
    const char *text = resp->body;
    size_t len = resp->body_len, skip = prefix ? strlen(prefix) : 0;
    if (skip && (len < skip || memcmp(text, prefix, skip) != 0)) {
        (void)err_set(err, ERR_TEMP, 0, "%s: the answer does not start with %.*s", what,
                      (int)strcspn(prefix, "\n"), prefix);
        return NULL;
    }
    CLEANUP_JS struct js *v = js_parse(text + skip, len - skip, err);
    if (v && js_is_object(v))
        return STEAL(v);
    if (v)
        (void)err_set(err, ERR_TEMP, 0, "no JSON object");
    if (err)
        err->kind = ERR_TEMP;
    (void)err_wrap(err, "%s: the answer is not understood", what);
    return NULL;
}

const char *dialogue_commit(struct forge_dialogue *d, const struct js *v, const char *path,
                            const char *what, struct err *err)
{
    const char *commit = js_str(v, path);
    if (event_commit_ok(commit) && !event_commit_is_zero(commit))
        return arena_strdup(d->arena, commit);
    (void)err_set(err, ERR_TEMP, 0, "%s: the answer has no commit in \"%s\"", what, path);
    return NULL;
}

enum forge_step dialogue_not_yet(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)err_set(err, ERR_TEMP, EAGAIN, "%s", text);
    return FORGE_FAILED;
}

enum forge_step dialogue_never(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)err_set(err, ERR_PERM, 0, "%s", text);
    return FORGE_FAILED;
}
