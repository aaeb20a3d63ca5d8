#include "core/domain/link.h"

#include "core/base/limits.h"
#include "core/base/str.h"

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* The end of a quoted string whose opening quote is at s; where the closing quote is missing, the
 * end of the text. */
static const char *quoted_end(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1])
            s++;
    return *s ? s + 1 : s;
}

/* A parameter's value: what lies between the quotes, or the word. */
struct value {
    const char *at;
    size_t len;
};

static struct value take_value(const char **s)
{
    const char *from = *s;
    if (*from == '"') {
        *s = quoted_end(from);
        bool closed = *s > from + 1 && (*s)[-1] == '"';
        return (struct value){from + 1, (size_t)(*s - from) - 1 - closed};
    }
    *s += strcspn(from, " \t;,");
    return (struct value){from, (size_t)(*s - from)};
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(const char *s, size_t len, const char *word)
{
    if (len != strlen(word))
        return false;
    for (size_t i = 0; i < len; i++)
        if (lower(s[i]) != word[i])
            return false;
    return true;
}

static bool has_next(struct value v)
{
    for (size_t i = 0; i < v.len;) {
        size_t word = 0;
        while (i + word < v.len && v.at[i + word] != ' ' && v.at[i + word] != '\t')
            word++;
        if (is_word(v.at + i, word, "next"))
            return true;
        i += word + 1;
    }
    return false;
}

/* Reads the parameters up to the comma that ends this link; s stands behind the target. */
static bool take_params(const char **s)
{
    bool seen = false, next = false;
    for (;;) {
        *s = skip_blanks(*s);
        if (**s == '\0' || **s == ',')
            return next;
        if (**s != ';') {
            /* No parameter: on to the next place where one may begin. */
            *s = **s == '"' ? quoted_end(*s) : *s + 1;
            continue;
        }
        *s = skip_blanks(*s + 1);
        size_t len = strcspn(*s, " \t=;,\"");
        bool rel = is_word(*s, len, "rel");
        *s = skip_blanks(*s + len);
        if (**s != '=')
            continue;
        *s = skip_blanks(*s + 1);
        struct value value = take_value(s);
        if (rel && !seen) {
            seen = true;
            next = has_next(value);
        }
    }
}

static bool target_ok(struct value t)
{
    if (t.len == 0 || t.len > LIMIT_LINK)
        return false;
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.at[i] <= ' ' || t.at[i] == '\x7f' || t.at[i] == '"' ||
            t.at[i] == '<' || t.at[i] == '>')
            return false;
    return true;
}

/* One link; s stands at its first character. */
static bool take_link(const char **s, struct value *target)
{
    if (**s == '<') {
        size_t len = strcspn(*s + 1, ">");
        *target = (struct value){*s + 1, len};
        *s += 1 + len;
        if (**s == '>')
            (*s)++;
        else
            target->len = 0;
    } else {
        /* Without brackets a comma may be part of the address; what ends it is a parameter. */
        size_t len = strcspn(*s, "; \t");
        *target = (struct value){*s, len};
        *s += len;
    }
    return take_params(s);
}

bool link_next(const struct http_headers *headers, const char **url, struct arena *a)
{
    size_t links = 0;
    for (size_t i = 0; i < headers->n; i++) {
        if (!str_caseeq(headers->at[i].name, "Link"))
            continue;
        const char *s = headers->at[i].value;
        while (s && links++ < LIMIT_LINKS) {
            s += strspn(s, " \t,");
            if (*s == '\0')
                break;
            struct value target;
            if (take_link(&s, &target) && target_ok(target)) {
                *url = arena_strndup(a, target.at, target.len);
                return true;
            }
        }
    }
    return false;
}
