/* What Python makes of a scalar, as text. Reference: YAML 1.1's type repository, PyYAML's
 * constructors, Python's str() of numbers and times. */
#include "core/domain/zuulfile.h"

#include "core/base/str.h"

#include <float.h>
#include <math.h>

#define DIGITS "0123456789"

/* ---- whole numbers of any length ------------------------------------------------------------- */

/* Python converts no more digits than these between numbers and texts. */
#define MOST_DIGITS 4300
#define LIMB_DIGITS 9
#define LIMB 1000000000u

struct big {
    uint32_t limbs[MOST_DIGITS / LIMB_DIGITS + 1]; /* the lowest first, each below LIMB */
    size_t n;
    uint32_t factor, addend; /* put off: *this * factor + addend */
    bool too_long;
};

static void big_settle(struct big *b)
{
    uint64_t carry = b->addend;
    for (size_t i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limbs[i] * b->factor;
        b->limbs[i] = (uint32_t)(carry % LIMB);
        carry /= LIMB;
    }
    if (carry && b->n == ARRAY_LEN(b->limbs))
        b->too_long = true;
    else if (carry)
        b->limbs[b->n++] = (uint32_t)carry;
    b->factor = 1;
    b->addend = 0;
}

/* The number times base, plus digit. Some steps are gathered before the limbs are gone through. */
static void big_push(struct big *b, unsigned base, unsigned digit)
{
    if (b->too_long)
        return;
    b->factor *= base;
    b->addend = b->addend * base + digit;
    if (b->factor >= LIMB / 64)
        big_settle(b);
}

static void big_push_digits(struct big *b, const char *digits, size_t len)
{
    for (size_t i = 0; i < len; i++)
        big_push(b, 10, (unsigned)(digits[i] - '0'));
}

/* NULL: longer than Python allows. */
static const char *big_text(struct big *b, bool minus, struct arena *a)
{
    if (!b->too_long)
        big_settle(b);
    char text[ARRAY_LEN(b->limbs) * LIMB_DIGITS + 1];
    size_t len = 0;
    for (size_t i = b->n; i > 0; i--)
        len += (size_t)snprintf(text + len, sizeof text - len, "%0*u", LIMB_DIGITS,
                                (unsigned)b->limbs[i - 1]);
    text[len] = '\0';
    const char *first = text + strspn(text, "0");
    if (b->too_long || strlen(first) > MOST_DIGITS)
        return NULL;
    return *first ? arena_printf(a, "%s%s", minus ? "-" : "", first) : "0";
}

static unsigned digit_of(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* s: without sign and underscores. NULL: Python refuses it. */
static const char *of_int(const char *s, bool minus, struct arena *a)
{
    struct big b = {.factor = 1};
    if (!strchr(s, ':')) {
        unsigned base = s[0] != '0' || !s[1] ? 10 : s[1] == 'x' ? 16 : s[1] == 'b' ? 2 : 8;
        s += base == 16 || base == 2 ? 2 : 0;
        if (!*s)
            return NULL;
        for (; *s; s++)
            big_push(&b, base, digit_of(*s));
        return big_text(&b, minus, a);
    }
    size_t len = strcspn(s, ":");
    big_push_digits(&b, s, len);
    for (s += len; *s == ':'; s += 1 + len) {
        len = strspn(s + 1, DIGITS);
        big_push(&b, 60, (unsigned)strtoul(s + 1, NULL, 10));
    }
    return big_text(&b, minus, a);
}

/* ---- numbers with a point -------------------------------------------------------------------- */

static bool reads_as(const char *text, double value)
{
    double read = strtod(text, NULL);
    return read >= value && read <= value;
}

/* The last digit of "d.ddde+XX" one higher; false: it was a nine. */
static bool bump_last(char *text)
{
    char *last = strchr(text, 'e') - 1;
    if (*last == '9' || *last == '.')
        return false;
    ++*last;
    return true;
}

/* The fewest digits that read back as the same positive number: "d.ddde+XX". Above a power of two
 * numbers lie wider apart than below it: there the next one up may do where the nearest fails. */
static void shortest(double value, char out[40])
{
    for (int digits = 0; digits < DBL_DECIMAL_DIG; digits++) {
        (void)snprintf(out, 40, "%.*e", digits, value);
        if (reads_as(out, value) || (bump_last(out) && reads_as(out, value)))
            return;
    }
}

/* Python's repr: plain digits from 1e-4 up to 1e16, with ".0" where there is no fraction. */
static const char *of_double(double value, struct arena *a)
{
    const char *sign = signbit(value) ? "-" : "";
    value = fabs(value);
    if (value > DBL_MAX)
        return arena_printf(a, "%sinf", sign);
    char text[40], digits[40];
    shortest(value, text);
    size_t n = 0;
    const char *s = text;
    for (; *s != 'e'; s++)
        if (*s != '.')
            digits[n++] = *s;
    int exponent = (int)strtol(s + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    if (exponent < -4 || exponent >= 16)
        return arena_printf(a, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1,
                            exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
    if (exponent < 0)
        return arena_printf(a, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
    if (n <= (size_t)exponent + 1)
        return arena_printf(a, "%s%s%.*s.0", sign, digits, exponent + 1 - (int)n,
                            "0000000000000000");
    return arena_printf(a, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

/* "1:30:00.5": from the last part on, each times a whole power of sixty, in PyYAML's order, so that
 * it is rounded alike. False: such a power is beyond all floats. */
static bool add_sixties(const char *s, double *out, struct arena *a)
{
    struct big power = {.factor = 1};
    big_push(&power, 10, 1);
    *out = 0;
    const char *end = s + strlen(s);
    for (;;) {
        const char *colon = memrchr(s, ':', (size_t)(end - s));
        const char *part = colon ? colon + 1 : s;
        double scale = strtod(big_text(&power, false, a), NULL);
        if (scale > DBL_MAX)
            return false;
        /* Apart, so that no compiler makes one operation, rounded once, of both. */
        volatile double product = strtod(part, NULL) * scale;
        *out += product;
        if (!colon)
            return true;
        end = colon;
        big_push(&power, 60, 0);
    }
}

static const char *of_float(const char *s, bool minus, struct arena *a)
{
    if (str_caseeq(s, ".nan"))
        return "nan";
    if (str_caseeq(s, ".inf"))
        return minus ? "-inf" : "inf";
    double value = 0;
    if (!strchr(s, ':'))
        value = strtod(s, NULL);
    else if (!add_sixties(s, &value, a))
        return NULL;
    return of_double(minus ? -value : value, a);
}

/* ---- times ----------------------------------------------------------------------------------- */

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool is_date(int year, int month, int day)
{
    return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days_in(year, month);
}

/* The number at *s, and steps behind it and the one character that follows. */
static int take(const char **s)
{
    char *end;
    int value = (int)strtol(*s, &end, 10);
    *s = *end ? end + 1 : end;
    return value;
}

/* ".5", behind the seconds, as Python shows it: six digits, or nothing for zero. */
static const char *fraction_of(const char **s, struct arena *a)
{
    if (**s != '.')
        return "";
    size_t len = strspn(*s + 1, DIGITS);
    char six[] = "000000";
    for (size_t i = 0; i < len && i < 6; i++)
        six[i] = (*s)[1 + i];
    *s += 1 + len;
    return str_eq(six, "000000") ? "" : arena_printf(a, ".%s", six);
}

/* "", "+02:00"; NULL: a whole day or more. */
static const char *zone_of(const char *s, struct arena *a)
{
    s += strspn(s, " \t");
    if (!*s)
        return "";
    bool minus = *s == '-';
    int minutes = 0;
    if (*s++ != 'Z') {
        int hours = take(&s);
        minutes = hours * 60 + (*s ? take(&s) : 0);
    }
    if (minutes >= 24 * 60)
        return NULL;
    return arena_printf(a, "%c%02d:%02d", minus && minutes ? '-' : '+', minutes / 60, minutes % 60);
}

/* A date or a moment. NULL: there is none such, which Python refuses. */
static const char *of_time(const char *s, struct arena *a)
{
    int year = take(&s), month = take(&s), day = take(&s);
    if (!is_date(year, month, day))
        return NULL;
    if (!*s)
        return arena_printf(a, "%04d-%02d-%02d", year, month, day);
    int hour = take(&s), minute = take(&s), second = (int)strtol(s, (char **)&s, 10);
    const char *fraction = fraction_of(&s, a), *zone = zone_of(s, a);
    if (hour > 23 || minute > 59 || second > 59 || !zone)
        return NULL;
    return arena_printf(a, "%04d-%02d-%02d %02d:%02d:%02d%s%s", year, month, day, hour, minute,
                        second, fraction, zone);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static char *without_underscores(const char *s, struct arena *a)
{
    char *out = arena_strdup(a, s), *to = out;
    for (; *s; s++)
        if (*s != '_')
            *to++ = *s;
    *to = '\0';
    return out;
}

static const char *of_number(enum yml_kind kind, const char *text, struct arena *a)
{
    const char *s = without_underscores(text, a);
    bool minus = *s == '-';
    s += minus || *s == '+';
    /* No numbers in YAML 1.1, however much they look so: 0o17, -.5. */
    if (str_starts(s, "0o") || (s[0] == '.' && strchr(DIGITS, s[1]) && strchr("+-", *text)))
        return text;
    return kind == YML_INT ? of_int(s, minus, a) : of_float(s, minus, a);
}

static bool is_true(const char *word)
{
    return str_caseeq(word, "yes") || str_caseeq(word, "true") || str_caseeq(word, "on");
}

const char *zuulfile_text(const struct yml_node *scalar, struct arena *a)
{
    const char *text = NULL;
    switch (yml_kind(scalar)) {
    case YML_NULL:
        return NULL;
    case YML_BOOL:
        return is_true(scalar->text) ? "True" : "False";
    case YML_INT:
        text = of_number(YML_INT, scalar->text, a);
        break;
    case YML_FLOAT:
        text = of_number(YML_FLOAT, scalar->text, a);
        break;
    case YML_TIME:
        text = of_time(scalar->text, a);
        break;
    case YML_TEXT:
        break;
    }
    return text ? text : scalar->text;
}
