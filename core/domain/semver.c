#include "core/domain/semver.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/semver_part.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_identifier(char c)
{
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
}

static bool all_digits(struct semver_part p)
{
    for (size_t i = 0; i < p.len; i++)
        if (!is_digit(p.at[i]))
            return false;
    return p.len > 0;
}

/* Takes the next identifier of a dotted text off its front; false at the end. */
static bool next_identifier(struct semver_part *rest, struct semver_part *out)
{
    if (!rest->at)
        return false;
    const char *dot = memchr(rest->at, '.', rest->len);
    *out = (struct semver_part){rest->at, dot ? (size_t)(dot - rest->at) : rest->len};
    if (dot)
        *rest = (struct semver_part){dot + 1, rest->len - out->len - 1};
    else
        *rest = (struct semver_part){0};
    return true;
}

/* Identifiers are not empty; in a pre-release numbers have no leading zeros. */
static bool identifiers_ok(struct semver_part all, bool numbers_strict)
{
    struct semver_part one;
    while (next_identifier(&all, &one))
        if (one.len == 0 || (numbers_strict && one.len > 1 && one.at[0] == '0' && all_digits(one)))
            return false;
    return true;
}

bool semver_take_tail(const char **s, struct semver *v, bool zeros)
{
    const char *p = *s;
    if (*p == '-') {
        v->pre.at = ++p;
        while (is_identifier(*p) || *p == '.')
            p++;
        v->pre.len = (size_t)(p - v->pre.at);
        if (!identifiers_ok(v->pre, !zeros))
            return false;
    }
    if (*p == '+') {
        v->build.at = ++p;
        while (is_identifier(*p) || *p == '.')
            p++;
        v->build.len = (size_t)(p - v->build.at);
        if (!identifiers_ok(v->build, false))
            return false;
    }
    *s = p;
    return true;
}

bool semver_take_number(const char **s, bool zeros, struct semver_part *out)
{
    size_t len = strspn(*s, "0123456789");
    if (len == 0 || (len > 1 && **s == '0' && !zeros))
        return false;
    *out = (struct semver_part){*s, len};
    *s += len;
    return true;
}

bool semver_parse(const char *text, unsigned leniency, struct semver *out)
{
    struct semver v = {0};
    bool zeros = leniency & SEMVER_ZEROS;
    if (!text || strnlen(text, LIMIT_SEMVER + 1) > LIMIT_SEMVER)
        return false;
    if ((leniency & SEMVER_V) && (*text == 'v' || *text == 'V'))
        text++;
    do {
        if (v.numbers == SEMVER_NUMBERS || !semver_take_number(&text, zeros, &v.number[v.numbers]))
            return false;
        v.numbers++;
    } while (*text == '.' && text++);
    if (v.numbers < ((leniency & SEMVER_SHORT) ? 2 : 3) ||
        v.numbers > ((leniency & SEMVER_LONG) ? 4 : 3) || !semver_take_tail(&text, &v, zeros) ||
        *text)
        return false;
    *out = v;
    return true;
}

/* Numbers of any length; an absent one is 0. */
static int compare_numbers(struct semver_part a, struct semver_part b)
{
    while (a.len && *a.at == '0') {
        a.at++;
        a.len--;
    }
    while (b.len && *b.at == '0') {
        b.at++;
        b.len--;
    }
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len ? memcmp(a.at, b.at, a.len) : 0;
}

static int compare_identifiers(struct semver_part a, struct semver_part b)
{
    bool a_number = all_digits(a), b_number = all_digits(b);
    if (a_number && b_number)
        return compare_numbers(a, b);
    if (a_number != b_number)
        return a_number ? -1 : 1;
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.at, b.at, len);
    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int compare_pre(struct semver_part a, struct semver_part b)
{
    struct semver_part one, other;
    if (a.len == 0 || b.len == 0)
        return a.len ? -1 : b.len ? 1 : 0;
    for (;;) {
        bool more_a = next_identifier(&a, &one), more_b = next_identifier(&b, &other);
        if (!more_a || !more_b)
            return more_a ? 1 : more_b ? -1 : 0;
        int order = compare_identifiers(one, other);
        if (order)
            return order;
    }
}

int semver_compare_numbers(const struct semver *a, const struct semver *b)
{
    for (size_t i = 0; i < SEMVER_NUMBERS; i++) {
        int order = compare_numbers(a->number[i], b->number[i]);
        if (order)
            return order;
    }
    return 0;
}

int semver_compare(const struct semver *a, const struct semver *b)
{
    int order = semver_compare_numbers(a, b);
    return order ? order : compare_pre(a->pre, b->pre);
}
