#include "core/base/str.h"

#include <time.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_eq(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_caseeq(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

bool str_starts(const char *s, const char *prefix)
{
    return str_after(s, prefix) != NULL;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t len = strlen(s), tail = strlen(suffix);
    return len >= tail && memcmp(s + len - tail, suffix, tail) == 0;
}

bool str_empty(const char *s)
{
    return !s || !*s;
}

bool str_in(const char *s, const struct str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(s, list->at[i]))
            return true;
    return false;
}

const char *str_after(const char *s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s && strncmp(s, prefix, len) == 0 ? s + len : NULL;
}

bool str_to_u64(const char *s, uint64_t *out)
{
    if (str_empty(s))
        return false;
    uint64_t value = 0;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool str_to_i64(const char *s, int64_t *out)
{
    if (!s)
        return false;
    bool negative = *s == '-';
    uint64_t magnitude;
    if (!str_to_u64(s + negative, &magnitude) || magnitude > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

struct unit {
    char letter;
    int64_t factor;
};

static const struct unit times[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
static const struct unit sizes[] = {
    {'K', INT64_C(1) << 10}, {'M', INT64_C(1) << 20}, {'G', INT64_C(1) << 30}};

/* A whole number with one of the units behind it, or none. */
static bool with_unit(const char *s, const struct unit *units, size_t n, int64_t *out)
{
    char digits[20];
    size_t len = s ? strspn(s, "0123456789") : 0;
    int64_t value, factor, product;
    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, s, len);
    digits[len] = '\0';
    factor = s[len] ? 0 : 1;
    for (size_t i = 0; i < n; i++)
        if (s[len] == units[i].letter && !s[len + 1])
            factor = units[i].factor;
    if (!factor || !str_to_i64(digits, &value) || __builtin_mul_overflow(value, factor, &product))
        return false;
    *out = product;
    return true;
}

bool str_to_seconds(const char *s, int64_t *out)
{
    return with_unit(s, times, ARRAY_LEN(times), out);
}

bool str_to_bytes(const char *s, size_t *out)
{
    int64_t value;
    if (!with_unit(s, sizes, ARRAY_LEN(sizes), &value))
        return false;
    *out = (size_t)value;
    return true;
}

void str_seconds(int64_t seconds, char out[24])
{
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(times) && (seconds == 0 || seconds % times[i].factor))
        i++;
    (void)snprintf(out, 24, "%lld%c", (long long)(seconds / times[i].factor), times[i].letter);
}

void str_hex(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_unhex(const char *hex, void *out, size_t len)
{
    if (!hex || strlen(hex) != 2 * len)
        return false;
    unsigned char *p = out;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        p[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool str_is_hex(const char *s, size_t len)
{
    if (!s || strlen(s) != len)
        return false;
    for (; *s; s++)
        if (hex_value(*s) < 0 || lower(*s) != *s)
            return false;
    return true;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void str_urlencode(struct strbuf *out, const char *s, bool keep_slash)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (is_unreserved(c) || (keep_slash && c == '/'))
            (void)strbuf_addch(out, *s);
        else
            (void)strbuf_addf(out, "%%%02X", c);
    }
}

size_t str_utf8(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
               (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F);
    return bad ? 0 : n;
}

size_t str_control(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0)
        return 2;
    return (p[0] && p[0] < ' ') || p[0] == 0x7F;
}

char *str_printable(struct arena *a, const char *s)
{
    char *copy = arena_strdup(a, s);
    for (char *p = copy; *p; p++) {
        size_t n = str_control(p);
        memset(p, '?', n);
        p += n ? n - 1 : 0;
    }
    return copy;
}

struct str_list str_split(struct arena *a, const char *s, char sep)
{
    struct str_list parts = {0};
    for (;;) {
        const char *end = strchr(s, sep);
        size_t len = end ? (size_t)(end - s) : strlen(s);
        *list_push(a, &parts) = arena_strndup(a, s, len);
        if (!end)
            return parts;
        s = end + 1;
    }
}

/* Levenshtein distance over one row; names longer than the row are never near. */
static size_t str_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t rows = strlen(a), columns = strlen(b);
    if (rows > LONGEST || columns > LONGEST)
        return SIZE_MAX;
    size_t row[LONGEST + 1];
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t best = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[columns];
}

const char *str_nearest(const char *s, const char *const *list, size_t n)
{
    size_t allowed = strlen(s) / 3;
    allowed = allowed < 1 ? 1 : allowed > 3 ? 3 : allowed;
    const char *nearest = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t distance = str_distance(s, list[i]);
        if (distance <= allowed) {
            nearest = list[i];
            allowed = distance ? distance - 1 : 0;
            if (distance == 0)
                break;
        }
    }
    return nearest;
}

/* Backtracks to the last `*` and the last `**` only, so the work stays polynomial. */
bool str_glob(const char *glob, const char *name)
{
    const char *star = NULL, *star_name = NULL;          /* last `*` */
    const char *double_star = NULL, *double_name = NULL; /* last `**` */
    while (*name) {
        if (glob[0] == '*' && glob[1] == '*') {
            double_star = glob += 2;
            double_name = name;
            star = NULL;
            continue;
        }
        if (*glob == '*') {
            star = ++glob;
            star_name = name;
            continue;
        }
        if (*glob && (*glob == *name || (*glob == '?' && *name != '/'))) {
            glob++;
            name++;
            continue;
        }
        if (star && *star_name != '/') {
            glob = star;
            name = ++star_name;
            continue;
        }
        if (!double_star)
            return false;
        star = NULL;
        glob = double_star;
        name = ++double_name;
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

void str_rfc3339(int64_t seconds, char out[32])
{
    time_t when = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&when, &tm) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
        (void)snprintf(out, 32, "-");
}

/* "+01:00" or "Z" in seconds; false when it is neither. */
static bool parse_offset(const char *s, int64_t *seconds)
{
    if (str_eq(s, "Z") || str_eq(s, "z")) {
        *seconds = 0;
        return true;
    }
    static const char shape[] = "0d:0d";
    if ((*s != '+' && *s != '-') || strlen(s) != sizeof shape)
        return false;
    for (size_t i = 0; i + 1 < sizeof shape; i++)
        if (shape[i] == ':' ? s[i + 1] != ':' : s[i + 1] < '0' || s[i + 1] > '9')
            return false;
    int hours = (s[1] - '0') * 10 + s[2] - '0', minutes = (s[4] - '0') * 10 + s[5] - '0';
    if (hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 60 + minutes) * 60 * (*s == '-' ? -1 : 1);
    return true;
}

/* strptime alone takes blanks, short fields and the 31st of February. */
static bool date_shape(const char *s)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    for (size_t i = 0; shape[i]; i++) {
        bool fits = shape[i] == 'd'   ? s[i] >= '0' && s[i] <= '9'
                    : shape[i] == 'T' ? s[i] == 'T' || s[i] == ' '
                                      : s[i] == shape[i];
        if (!fits)
            return false;
    }
    return true;
}

bool str_from_rfc3339(const char *s, int64_t *seconds)
{
    if (!s || strlen(s) < 20 || !date_shape(s))
        return false;
    struct tm tm = {0};
    const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        rest = strptime(s, "%Y-%m-%d %H:%M:%S", &tm); /* Gerrit writes a blank */
    if (!rest)
        return false;
    if (*rest == '.') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (!digits)
            return false;
        rest += 1 + digits;
    }
    int64_t offset = 0;
    if (*rest && !parse_offset(rest, &offset))
        return false;
    int day = tm.tm_mday, seconds_of_minute = tm.tm_sec, leap = tm.tm_sec > 59;
    tm.tm_sec -= leap;
    int64_t local = (int64_t)timegm(&tm) + leap;
    if (tm.tm_mday != day || seconds_of_minute > 60)
        return false;
    *seconds = local - offset;
    return true;
}
