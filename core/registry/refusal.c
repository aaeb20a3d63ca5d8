#include "core/registry/registry_internal.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/lib/json.h"
#include "core/os/clock.h"

/* The last two are Harbor's and Quay's words for the same. */
static const char *const unknown_codes[] = {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND",
                                            "TAG_EXPIRED"};

/* The body as JSON when it holds a list of errors, else NULL. */
static struct js *parse_errors(const struct http_resp *resp)
{
    struct js *doc = js_parse(resp->body, resp->body_len, NULL);
    if (doc && js_len(js_get(doc, "errors")) > 0)
        return doc;
    js_free(doc);
    return NULL;
}

bool exchange_has_errors(const struct exchange *x)
{
    struct js *doc CLEANUP_JS = parse_errors(&x->resp);
    return doc != NULL;
}

bool exchange_says_unknown(const struct exchange *x)
{
    struct js *doc CLEANUP_JS = parse_errors(&x->resp);
    const struct js *errors = doc ? js_get(doc, "errors") : NULL;
    for (size_t i = 0; doc && i < js_len(errors); i++)
        for (size_t k = 0; k < ARRAY_LEN(unknown_codes); k++)
            if (str_eq(js_str(js_at(errors, i), "code"), unknown_codes[k]))
                return true;
    return false;
}

void refusal_hide(char *text, const char *secret)
{
    size_t len = secret ? strlen(secret) : 0;
    if (len < 4)
        return;
    for (char *p = text; (p = strstr(p, secret)); p += 3) {
        memcpy(p, "***", 3);
        memmove(p + 3, p + len, strlen(p + len) + 1);
    }
}

static void hide_secrets(const struct exchange *x, char *text)
{
    const char *blank = x->sent ? strchr(x->sent, ' ') : NULL;
    refusal_hide(text, blank ? blank + 1 : NULL);
    refusal_hide(text, x->host->conf->password);
    (void)log_redact(text);
}

/* A stranger's text for a one-line message: without secrets (it may echo what it was sent), then
 * bounded, without control bytes. */
static void add_text(struct strbuf *out, const struct exchange *x, const char *told, size_t max)
{
    char *text CLEANUP(cleanup_free) = xstrdup(told);
    hide_secrets(x, text);
    size_t len = strlen(text);
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++)
        (void)strbuf_addch(out, (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i]);
}

static void add_reason(struct strbuf *out, const struct exchange *x)
{
    struct js *doc CLEANUP_JS = parse_errors(&x->resp);
    const struct js *first = doc ? js_at(js_get(doc, "errors"), 0) : NULL;
    const char *code = first ? js_str(first, "code") : NULL;
    const char *message = first ? js_str(first, "message") : NULL;
    if (!str_empty(code)) {
        (void)strbuf_addch(out, ' ');
        add_text(out, x, code, 60);
    }
    if (!str_empty(message)) {
        (void)strbuf_addstr(out, ": ");
        add_text(out, x, message, 300);
    }
}

const char *refusal_advice(const struct registry_host *h, const char *origin, struct arena *a)
{
    if (h->anonymous)
        return "; " REFUSAL_NOT_PUBLIC;
    if (origin && !str_starts(origin, "registries."))
        return arena_printf(a, "; check the credentials of that registry (%.200s)", origin);
    return origin || !str_empty(h->conf->username) ? "; check the credentials of that registry"
                                                   : "; no credentials are configured for that "
                                                     "registry";
}

/* What Go's and nginx's servers answer to http on their TLS port. */
static bool wants_tls(const struct exchange *x)
{
    static const char *const texts[] = {"HTTP request to an HTTPS server",
                                        "HTTP request was sent to HTTPS port"};
    for (size_t i = 0; x->resp.status == 400 && i < ARRAY_LEN(texts); i++)
        if (x->host->conf->plain_http && x->resp.body_len && strstr(x->resp.body, texts[i]))
            return true;
    return false;
}

int exchange_refused(const struct exchange *x, const char *verb, const char *what, struct err *err)
{
    int status = x->resp.status;
    bool denied = status == 401 || status == 403;
    const struct registry_conf *conf = x->host->conf;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf reason CLEANUP_STRBUF = STRBUF_INIT(1024);
    add_reason(&reason, x);
    const char *advice = "";
    if (wants_tls(x))
        return err_set(err, ERR_CONFIG, status,
                       "%s speaks https, but is asked by plain http: leave plain_http out",
                       conf->host);
    if (denied)
        advice = refusal_advice(x->host, x->origin, &a);
    else if (status >= 300 && status < 400)
        advice = "; redirects are not followed here";
    (void)err_set(err, status < 400 ? ERR_PERM : http_status_kind(status), status,
                  "%s %s %s %.*s: %d%s%s", conf->host, denied ? "refused to" : "could not", verb,
                  300, what, status, reason.buf, advice);
    if (err)
        err->retry_after = http_retry_after(&x->resp, clock_now_ms() / 1000);
    return -1;
}
