/* What Python makes of a scalar, as text. Reference: YAML 1.1's type repository, PyYAML's
 * constructors, Python's repr of floats. */
#include "core/domain/zuulfile.h"

#include "core/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

static char *without_underscores(const char *s, struct arena *a)
{
    char *out = arena_strdup(a, s), *to = out;
    for (; *s; s++)
        if (*s != '_')
            *to++ = *s;
    *to = '\0';
    return out;
}

/* "1:30:00", each part but the first below 60. */
static const char *of_sixties(const char *digits, bool minus, struct arena *a)
{
    int64_t value = 0;
    for (const char *s = digits; *s; s += *s == ':') {
        size_t len = strspn(s, "0123456789");
        if (len > 9 || value > INT32_MAX)
            return digits;
        value = value * 60 + strtol(s, NULL, 10);
        s += len;
    }
    return arena_printf(a, "%s%" PRId64, minus && value ? "-" : "", value);
}

static const char *of_int(const char *text, struct arena *a)
{
    char *s = without_underscores(text, a), *end;
    bool minus = *s == '-';
    s += *s == '-' || *s == '+';
    if (strchr(s, ':'))
        return of_sixties(s, minus, a);
    int base = s[0] != '0' || !s[1] ? 10 : s[1] == 'x' ? 16 : s[1] == 'b' ? 2 : 8;
    if (s[0] == '0' && s[1] == 'o')
        return text; /* no number in YAML 1.1 */
    errno = 0;
    unsigned long long value = strtoull(base == 2 || base == 16 ? s + 2 : s, &end, base);
    if (errno || *end)
        return base == 10 ? arena_printf(a, "%s%s", minus ? "-" : "", s) : text;
    return arena_printf(a, "%s%llu", minus && value ? "-" : "", value);
}

/* The fewest digits that read back as the same number: "d.ddde+XX". */
static void shortest(double value, char out[40])
{
    for (int digits = 0; digits <= 16; digits++) {
        (void)snprintf(out, 40, "%.*e", digits, value);
        if (strtod(out, NULL) >= value && strtod(out, NULL) <= value)
            return;
    }
}

/* Python's repr: plain digits from 1e-4 up to 1e16, with ".0" where there is no fraction. */
static const char *of_double(double value, struct arena *a)
{
    char text[40], digits[40];
    bool minus = signbit(value);
    shortest(minus ? -value : value, text);
    char *e = strchr(text, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10), n = 0;
    for (const char *s = text; s < e; s++)
        if (*s != '.')
            digits[n++] = *s;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    const char *sign = minus ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        return arena_printf(a, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1,
                            exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
    if (exponent < 0)
        return arena_printf(a, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
    if (n <= exponent + 1)
        return arena_printf(a, "%s%s%.*s.0", sign, digits, exponent + 1 - n, "0000000000000000");
    return arena_printf(a, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

static const char *of_float(const char *text, struct arena *a)
{
    char *s = without_underscores(text, a);
    bool minus = *s == '-', has_sign = minus || *s == '+';
    s += has_sign;
    if (has_sign && s[0] == '.' && s[1] >= '0' && s[1] <= '9')
        return text; /* PyYAML wants a digit behind a sign */
    if (str_caseeq(s, ".nan"))
        return "nan";
    if (str_caseeq(s, ".inf"))
        return minus ? "-inf" : "inf";
    double value = 0;
    for (;;) {
        char *end;
        value = value * 60 + strtod(s, &end);
        if (*end != ':')
            break;
        s = end + 1;
    }
    return of_double(minus ? -value : value, a);
}

const char *zuulfile_text(const struct yml_node *scalar, struct arena *a)
{
    switch (yml_kind(scalar)) {
    case YML_NULL:
        return NULL;
    case YML_BOOL:
        return strchr("yYtToO", *scalar->text) && !str_caseeq(scalar->text, "off") ? "True"
                                                                                   : "False";
    case YML_INT:
        return of_int(scalar->text, a);
    case YML_FLOAT:
        return of_float(scalar->text, a);
    case YML_TIME:
    case YML_TEXT:
        break;
    }
    return scalar->text;
}
