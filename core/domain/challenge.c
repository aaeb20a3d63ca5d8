#include "core/domain/challenge.h"

#include "core/base/limits.h"
#include "core/base/str.h"

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *s)
{
    size_t len = 0;
    while (is_token_char(s[len]))
        len++;
    return len;
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* Copies a quoted string without its quotes and backslashes; s stands behind the opening quote.
 * NULL when the closing one is missing. */
static const char *take_quoted(const char **s, struct arena *a)
{
    char *out = arena_alloc(a, strlen(*s) + 1), *p = out;
    for (const char *in = *s; *in; in++) {
        if (*in == '"') {
            *s = in + 1;
            return out;
        }
        if (*in == '\\' && in[1])
            in++;
        *p++ = *in;
    }
    *s += strlen(*s);
    return NULL;
}

static enum challenge_scheme scheme_of(const char *name)
{
    if (str_caseeq(name, "basic"))
        return CHALLENGE_BASIC;
    return str_caseeq(name, "bearer") ? CHALLENGE_BEARER : CHALLENGE_OTHER;
}

/* The first of several parameters of one name counts. */
static void set_param(struct challenge *c, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **slot;
    } params[] = {
        {"realm", &c->realm},
        {"service", &c->service},
        {"scope", &c->scope},
        {"error", &c->error},
    };
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (str_caseeq(name, params[i].name) && !*params[i].slot)
            *params[i].slot = value;
}

/* Reads the value behind '='; NULL for the padding of a token68 and for anything malformed. */
static const char *take_value(const char **s, struct arena *a)
{
    *s = skip_blanks(*s);
    if (**s == '"') {
        (*s)++;
        return take_quoted(s, a);
    }
    size_t len = token_len(*s);
    const char *value = len ? arena_strndup(a, *s, len) : NULL;
    *s += len;
    return value;
}

/* One name: a parameter of the current challenge, or the scheme of a new one. */
static void take_item(const char **s, struct arena *a, struct challenges *out, size_t first)
{
    size_t len = token_len(*s);
    const char *name = arena_strndup(a, *s, len);
    *s = skip_blanks(*s + len);
    if (**s != '=') {
        if (out->n < LIMIT_CHALLENGES)
            list_push(a, out)->scheme = scheme_of(name);
        return;
    }
    (*s)++;
    const char *value = take_value(s, a);
    if (value && out->n > first)
        set_param(&out->at[out->n - 1], name, value);
}

static void parse_header(const char *s, struct arena *a, struct challenges *out)
{
    size_t first = out->n;
    for (;;) {
        s += strspn(s, " \t,");
        if (*s == '\0' || out->n == LIMIT_CHALLENGES)
            return;
        if (token_len(s) > 0)
            take_item(&s, a, out, first);
        else
            s += strcspn(s, " \t,");
    }
}

struct challenges challenge_parse(const struct http_headers *headers, struct arena *a)
{
    struct challenges out = {0};
    for (size_t i = 0; i < headers->n; i++)
        if (str_caseeq(headers->at[i].name, "WWW-Authenticate"))
            parse_header(headers->at[i].value, a, &out);
    return out;
}
