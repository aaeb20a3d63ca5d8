#include "core/lib/yaml.h"

#include "core/base/str.h"

#include <inttypes.h>

#define DIGITS "0123456789"
#define YAML_ORG "tag:yaml.org,2002:"

struct word {
    const char *text;
    bool value;
};

/* YAML 1.1's booleans, as far as the common loaders go (y and n stay strings there). */
static const struct word booleans[] = {
    {"true", true},   {"True", true}, {"TRUE", true}, {"false", false}, {"False", false},
    {"FALSE", false}, {"yes", true},  {"Yes", true},  {"YES", true},    {"no", false},
    {"No", false},    {"NO", false},  {"on", true},   {"On", true},     {"ON", true},
    {"off", false},   {"Off", false}, {"OFF", false},
};

static bool text_to_bool(const char *s, bool *out)
{
    for (size_t i = 0; i < ARRAY_LEN(booleans); i++) {
        if (str_eq(s, booleans[i].text)) {
            *out = booleans[i].value;
            return true;
        }
    }
    return false;
}

static bool is_null_text(const char *s)
{
    return *s == '\0' || str_eq(s, "~") || str_eq(s, "null") || str_eq(s, "Null") ||
           str_eq(s, "NULL");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_sign(const char *s)
{
    return *s == '-' || *s == '+' ? s + 1 : s;
}

static bool only(const char *s, const char *allowed)
{
    return *s && s[strspn(s, allowed)] == '\0';
}

/* The ":30" parts of a sexagesimal number, at least one; NULL when there is none. */
static const char *skip_sixties(const char *s)
{
    const char *start = s;
    while (*s == ':') {
        size_t digits = strspn(s + 1, DIGITS);
        if (digits < 1 || digits > 2 || (digits == 2 && s[1] > '5'))
            return NULL;
        s += 1 + digits;
    }
    return s > start ? s : NULL;
}

static bool is_int_text(const char *s)
{
    s = skip_sign(s);
    if (*s == '0') {
        if (s[1] == '\0')
            return true;
        if (s[1] == 'b')
            return only(s + 2, "01_");
        if (s[1] == 'x')
            return only(s + 2, DIGITS "abcdefABCDEF_");
        return only(s + 1 + (s[1] == 'o'), "01234567_");
    }
    if (!is_digit(*s))
        return false;
    s += strspn(s, DIGITS "_");
    if (*s == '\0')
        return true;
    const char *end = skip_sixties(s);
    return end && *end == '\0';
}

static bool is_exponent(const char *s)
{
    return (*s == 'e' || *s == 'E') && (s[1] == '-' || s[1] == '+') && only(s + 2, DIGITS);
}

static bool is_float_text(const char *s)
{
    if (str_eq(s, ".nan") || str_eq(s, ".NaN") || str_eq(s, ".NAN"))
        return true;
    s = skip_sign(s);
    if (str_eq(s, ".inf") || str_eq(s, ".Inf") || str_eq(s, ".INF"))
        return true;
    bool whole = is_digit(*s);
    if (whole)
        s += strspn(s, DIGITS "_");
    const char *sixties = whole ? skip_sixties(s) : NULL;
    if (sixties)
        s = sixties;
    if (*s != '.' || (!whole && !is_digit(s[1])))
        return false;
    s += 1 + strspn(s + 1, DIGITS "_");
    return *s == '\0' || (!sixties && is_exponent(s));
}

/* Between min and max digits; NULL otherwise. */
static const char *skip_digits(const char *s, size_t min, size_t max)
{
    size_t n = s ? strspn(s, DIGITS) : 0;
    return n >= min && n <= max ? s + n : NULL;
}

static const char *skip_char(const char *s, char c)
{
    return s && *s == c ? s + 1 : NULL;
}

static bool is_zone(const char *s)
{
    s += strspn(s, " \t");
    if (*s == '\0' || str_eq(s, "Z"))
        return true;
    if (*s != '-' && *s != '+')
        return false;
    s = skip_digits(s + 1, 1, 2);
    if (s && *s == ':')
        s = skip_digits(s + 1, 2, 2);
    return s && *s == '\0';
}

static bool is_time_text(const char *s)
{
    const char *month = skip_char(skip_digits(s, 4, 4), '-');
    const char *day = skip_char(skip_digits(month, 1, 2), '-');
    const char *rest = skip_digits(day, 1, 2);
    if (!rest)
        return false;
    if (*rest == '\0') /* a bare date has two digits each */
        return rest - s == 10;
    size_t blanks = strspn(rest, " \t");
    if (blanks == 0 && *rest != 'T' && *rest != 't')
        return false;
    const char *minute = skip_char(skip_digits(rest + (blanks ? blanks : 1), 1, 2), ':');
    const char *second = skip_char(skip_digits(minute, 2, 2), ':');
    rest = skip_digits(second, 2, 2);
    if (!rest)
        return false;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, DIGITS);
    return is_zone(rest);
}

/* What YAML 1.1 makes of a plain scalar, with an article; NULL: a string. */
static const char *typed_as(const struct yml_node *n)
{
    bool value;
    if (n->type != YML_SCALAR || !n->plain)
        return NULL;
    if (n->tag)
        return str_starts(n->tag, YAML_ORG) ? "a value with a type tag" : NULL;
    if (is_null_text(n->text))
        return "nothing (null)";
    if (text_to_bool(n->text, &value))
        return "a truth value";
    if (is_int_text(n->text) || is_float_text(n->text))
        return "a number";
    return is_time_text(n->text) ? "a time" : NULL;
}

enum yml_kind yml_kind(const struct yml_node *scalar)
{
    bool value;
    if (scalar->type != YML_SCALAR || !scalar->plain || scalar->tag)
        return YML_TEXT;
    const char *s = scalar->text;
    return is_null_text(s)           ? YML_NULL
           : text_to_bool(s, &value) ? YML_BOOL
           : is_int_text(s)          ? YML_INT
           : is_float_text(s)        ? YML_FLOAT
           : is_time_text(s)         ? YML_TIME
                                     : YML_TEXT;
}

bool yml_is_typed(const struct yml_node *scalar)
{
    return scalar && typed_as(scalar) != NULL;
}

bool yml_is_null(const struct yml_node *scalar)
{
    return scalar && scalar->type == YML_SCALAR && scalar->plain && !scalar->tag &&
           is_null_text(scalar->text);
}

/* How a value of the wrong kind is called in a message. */
static const char *kind_of(const struct yml_node *n)
{
    if (n->type != YML_SCALAR)
        return n->type == YML_SEQ ? "a list" : "a map";
    return yml_is_null(n) ? "empty" : "a single value";
}

bool yml_want_str(const struct yml_node *n, const char *what, bool strict, const char **out,
                  struct diags *diags)
{
    if (!n)
        return false;
    if (n->type != YML_SCALAR || yml_is_null(n)) {
        diag_error(diags, n->at, "%s must be a text, but is %s", what, kind_of(n));
        return false;
    }
    if (n->tag && !str_starts(n->tag, YAML_ORG) && !str_eq(n->tag, "!") && strict) {
        diag_error(diags, n->at, "%s must be a text without the tag '%.80s'", what, n->tag);
        return false;
    }
    const char *type = strict ? typed_as(n) : NULL;
    if (type && n->tag) {
        diag_error(diags, n->at, "%s must be a text without the tag '%.80s'", what, n->tag);
        return false;
    }
    if (type) {
        diag_error(diags, n->at,
                   "%s must be a text, and YAML reads %.80s as %s: quote it: \"%.80s\"", what,
                   n->text, type, n->text);
        return false;
    }
    *out = n->text;
    return true;
}

bool yml_want_bool(const struct yml_node *n, const char *what, bool *out, struct diags *diags)
{
    if (!n)
        return false;
    if (n->type == YML_SCALAR && n->plain && !n->tag && text_to_bool(n->text, out))
        return true;
    diag_error(diags, n->at, "%s must be true or false%s", what,
               n->type == YML_SCALAR && !n->plain ? ", without quotes" : "");
    return false;
}

bool yml_want_int(const struct yml_node *n, const char *what, int64_t min, int64_t max,
                  int64_t *out, struct diags *diags)
{
    if (!n)
        return false;
    int64_t value;
    /* 010 is eight to YAML 1.1 and ten to people: refused, like every other notation. */
    if (n->type == YML_SCALAR && n->plain && !n->tag && str_to_i64(n->text, &value) &&
        (skip_sign(n->text)[0] != '0' || skip_sign(n->text)[1] == '\0') && value >= min &&
        value <= max) {
        *out = value;
        return true;
    }
    diag_error(diags, n->at, "%s must be a whole number from %" PRId64 " to %" PRId64, what, min,
               max);
    return false;
}

bool yml_want_str_list(const struct yml_node *n, const char *what, bool strict,
                       struct str_list *out, struct diags *diags)
{
    if (!n)
        return false;
    const char *text;
    if (n->type == YML_SCALAR && !yml_is_null(n)) {
        if (!yml_want_str(n, what, strict, &text, diags))
            return false;
        *list_push(diags->arena, out) = text;
        return true;
    }
    if (!yml_want_seq(n, what, diags))
        return false;
    bool ok = true;
    for (size_t i = 0; i < n->n; i++) {
        const char *item = arena_printf(diags->arena, "item %zu of %s", i + 1, what);
        if (yml_want_str(n->items[i], item, strict, &text, diags))
            *list_push(diags->arena, out) = text;
        else
            ok = false;
    }
    return ok;
}

bool yml_want_map(const struct yml_node *n, const char *what, struct diags *diags)
{
    if (n && n->type != YML_MAP)
        diag_error(diags, n->at, "%s must be a map (key: value), but is %s", what, kind_of(n));
    return n && n->type == YML_MAP;
}

bool yml_want_seq(const struct yml_node *n, const char *what, struct diags *diags)
{
    if (n && n->type != YML_SEQ)
        diag_error(diags, n->at, "%s must be a list, but is %s", what, kind_of(n));
    return n && n->type == YML_SEQ;
}

const struct yml_node *yml_get(const struct yml_node *map, const char *key)
{
    if (!map || map->type != YML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (str_eq(map->pairs[i].key->text, key))
            return map->pairs[i].value;
    return NULL;
}

static bool is_known_key(const char *key, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, keys[i]))
            return true;
    return false;
}

void yml_check_keys(const struct yml_node *map, const char *const *keys, size_t n,
                    struct diags *diags)
{
    if (!map || map->type != YML_MAP)
        return;
    for (size_t i = 0; i < map->n; i++) {
        const struct yml_node *key = map->pairs[i].key;
        if (is_known_key(key->text, keys, n))
            continue;
        const char *nearest = str_nearest(key->text, keys, n);
        if (nearest)
            diag_error(diags, key->at, "unknown key '%.80s'; did you mean '%s'?", key->text,
                       nearest);
        else
            diag_error(diags, key->at, "unknown key '%.80s'", key->text);
    }
}
