#include "cgi/web/request.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define MAX_HEADERS 100

void request_release(struct request *q)
{
    if (q->budget)
        atomic_fetch_sub(&q->budget->used, q->reserved);
    free(q->body);
    arena_release(&q->arena);
    *q = (struct request){0};
}

bool reply_set(struct reply *r, int status, const char *text)
{
    *r = (struct reply){.status = status, .text = text};
    return false;
}

static const char *param(const char *const *params, const char *name)
{
    size_t len = strlen(name);
    for (; *params; params++)
        if (strncmp(*params, name, len) == 0 && (*params)[len] == '=')
            return *params + len + 1;
    return "";
}

/* "X_HUB_SIGNATURE_256" becomes "X-Hub-Signature-256". */
static const char *header_name(struct arena *a, const char *variable, size_t len)
{
    char *name = arena_strndup(a, variable, len);
    bool first = true;
    for (char *p = name; *p; p++) {
        if (*p == '_')
            *p = '-';
        else if (!first && *p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
        first = *p == '-';
    }
    return name;
}

static bool is_name(const char *s, size_t len, const char *name)
{
    return strlen(name) == len && strncmp(s, name, len) == 0;
}

/* The part of a variable's name that names a header; NULL when it is none of ours. HTTP_PROXY is
 * how a client would name our proxy; the content's own headers count only without HTTP_. */
static const char *header_part(const char *variable, size_t *len)
{
    if (is_name(variable, *len, "CONTENT_TYPE") || is_name(variable, *len, "CONTENT_LENGTH"))
        return variable;
    if (*len <= 5 || strncmp(variable, "HTTP_", 5) != 0)
        return NULL;
    *len -= 5;
    variable += 5;
    if (is_name(variable, *len, "PROXY") || is_name(variable, *len, "CONTENT_TYPE") ||
        is_name(variable, *len, "CONTENT_LENGTH"))
        return NULL;
    return variable;
}

static bool take_headers(struct request *q, const char *const *params, struct reply *out)
{
    size_t total = 0;
    for (; *params; params++) {
        const char *equals = strchr(*params, '=');
        if (!equals || equals[1] == '\0')
            continue;
        size_t len = (size_t)(equals - *params);
        const char *part = header_part(*params, &len);
        if (!part)
            continue;
        size_t size = len + strlen(equals + 1);
        if (q->http.headers.n >= MAX_HEADERS || size > LIMIT_HTTP_HEADERS - total)
            return reply_set(out, 431, "too many or too large headers\n");
        total += size;
        struct http_header *h = list_push(&q->arena, &q->http.headers);
        h->name = header_name(&q->arena, part, len);
        h->value = arena_strdup(&q->arena, equals + 1);
    }
    return true;
}

/* Percent-decoding of a path; NULL when it is malformed or hides a NUL. */
static const char *path_decode(struct arena *a, const char *s, size_t len)
{
    char *out = arena_alloc(a, len + 1), *p = out;
    for (size_t i = 0; i < len; i++, p++) {
        *p = s[i];
        if (s[i] != '%')
            continue;
        char hex[3] = {0};
        unsigned char byte;
        if (len - i < 3)
            return NULL;
        memcpy(hex, s + i + 1, 2);
        if (!str_unhex(hex, &byte, 1) || byte == 0)
            return NULL;
        *p = (char)byte;
        i += 2;
    }
    *p = '\0';
    return out;
}

static const char *take_path(struct arena *a, const char *const *params)
{
    static const char *const decoded[] = {"PATH_INFO", "DOCUMENT_URI", "SCRIPT_NAME"};
    for (size_t i = 0; i < ARRAY_LEN(decoded); i++) {
        const char *value = param(params, decoded[i]);
        if (*value)
            return arena_strdup(a, value);
    }
    const char *uri = param(params, "REQUEST_URI");
    return path_decode(a, uri, strcspn(uri, "?"));
}

static const char *below_base(const char *path, const char *base)
{
    const char *rest = str_empty(base) ? NULL : str_after(path, base);
    return rest && (*rest == '/' || *rest == '\0') ? rest : path;
}

/* Digits only; a number too large for size_t is still a (far too large) number. */
static bool take_length(struct request *q, const char *text)
{
    if (!*text)
        return true;
    if (text[strspn(text, "0123456789")] != '\0')
        return false;
    uint64_t length;
    q->has_length = true;
    q->length = str_to_u64(text, &length) && length < SIZE_MAX ? (size_t)length : SIZE_MAX;
    return true;
}

bool request_init(struct request *q, const char *const *params, const char *base_path,
                  struct body_source source, struct reply *out)
{
    *q = (struct request){.source = source};
    if (!take_headers(q, params, out))
        return false;
    q->http.method = arena_strdup(&q->arena, param(params, "REQUEST_METHOD"));
    q->http.query = arena_strdup(&q->arena, param(params, "QUERY_STRING"));
    const char *path = take_path(&q->arena, params);
    if (!path || *path != '/' || !*q->http.method)
        return reply_set(out, 400, "malformed request\n");
    q->http.url = below_base(path, base_path);
    if (!take_length(q, param(params, "CONTENT_LENGTH")))
        return reply_set(out, 400, "malformed Content-Length\n");
    return true;
}

bool request_check_size(const struct request *q, size_t max, struct reply *out)
{
    if (q->has_length && q->length > max)
        return reply_set(out, 413, "the body is too large\n");
    return true;
}

/* The value up to its parameters, compared without case. */
static bool media_type_is(const char *value, const char *type)
{
    size_t len = strcspn(value, "; \t"), want = strlen(type);
    return len == want && strncasecmp(value, type, len) == 0;
}

static bool media_type_ends(const char *value, const char *suffix)
{
    size_t len = strcspn(value, "; \t"), want = strlen(suffix);
    return len > want && strncasecmp(value + len - want, suffix, want) == 0;
}

bool request_check_content(const struct request *q, struct reply *out)
{
    if (!q->has_length)
        return reply_set(out, 411, "Content-Length is required\n");
    const char *encoding = http_header(&q->http.headers, "Content-Encoding");
    if (!str_empty(encoding) && !str_caseeq(encoding, "identity"))
        return reply_set(out, 415, "a Content-Encoding is not supported: send the body as it is\n");
    const char *type = http_header(&q->http.headers, "Content-Type");
    if (str_empty(type) || media_type_is(type, "application/json") ||
        media_type_is(type, "application/x-www-form-urlencoded") || media_type_ends(type, "+json"))
        return true;
    return reply_set(out, 415, "Content-Type must be application/json\n");
}

static bool budget_take(struct body_budget *budget, size_t bytes)
{
    size_t used = atomic_load(&budget->used);
    do {
        if (bytes > budget->max || used > budget->max - bytes)
            return false;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
    return true;
}

bool request_read_body(struct request *q, struct body_budget *budget, struct reply *out)
{
    if (!budget_take(budget, q->length)) {
        reply_set(out, 503, "busy, try again\n");
        out->retry_after = 1;
        return false;
    }
    q->budget = budget;
    q->reserved = q->length;
    q->body = xmalloc(q->length + 1);
    size_t got = q->length ? q->source.read(q->source.ctx, q->body, q->length) : 0;
    if (got != q->length)
        return reply_set(out, 400, "truncated: the body is shorter than its Content-Length\n");
    q->body[got] = '\0';
    q->http.body = q->body;
    q->http.body_len = got;
    return true;
}

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Internal Server Error";
}

void reply_format(const struct reply *r, bool head, struct strbuf *out)
{
    strbuf_addf(out, "Status: %d %s\r\n", r->status, status_text(r->status));
    strbuf_addstr(out, "Content-Type: text/plain; charset=utf-8\r\n"
                       "Cache-Control: no-store\r\n"
                       "X-Content-Type-Options: nosniff\r\n");
    strbuf_addf(out, "Content-Length: %zu\r\n", strlen(r->text));
    if (r->allow)
        strbuf_addf(out, "Allow: %s\r\n", r->allow);
    if (r->retry_after)
        strbuf_addf(out, "Retry-After: %d\r\n", r->retry_after);
    strbuf_addstr(out, "\r\n");
    if (!head)
        strbuf_addstr(out, r->text);
}
