#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"

static void compares(void **state)
{
    (void)state;
    assert_true(str_eq(NULL, NULL));
    assert_false(str_eq(NULL, ""));
    assert_false(str_eq("", NULL));
    assert_true(str_caseeq("Content-TYPE", "content-type"));
    assert_false(str_caseeq("a", "ab"));
    assert_false(str_caseeq("ab", "a"));
    assert_true(str_caseeq(NULL, NULL));
    assert_false(str_caseeq("[", "{")); /* 32 apart, no letters */
    assert_false(str_caseeq("\xc4", "\xe4"));
    assert_true(str_starts("abc", ""));
    assert_false(str_starts("ab", "abc"));
    assert_null(str_after(NULL, "a"));
    assert_string_equal(str_after("refs/heads/x", "refs/heads/"), "x");
    assert_true(str_ends("a.yaml", ".yaml"));
    assert_false(str_ends("yaml", ".yaml"));
    assert_true(str_ends("", ""));
    assert_true(str_empty(NULL));
    const char *items[] = {"a", "b"};
    struct str_list list = {items, 2, 2};
    assert_true(str_in("b", &list));
    assert_false(str_in("c", &list));
    assert_false(str_in(NULL, &list));
}

static void reads_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"-5", true, -5},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775807", true, -INT64_MAX},
        {"9223372036854775808", false, 0},
        {"18446744073709551617", false, 0},
        {"99999999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1\n", false, 0},
        {"0x1", false, 0},
        {"1.0", false, 0},
        {NULL, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t value = 77;
        assert_int_equal(str_to_i64(cases[i].text, &value), cases[i].ok);
        assert_int_equal(value, cases[i].ok ? cases[i].value : 77);
    }
    uint64_t u = 77;
    assert_true(str_to_u64("18446744073709551615", &u));
    assert_true(u == UINT64_MAX);
    assert_false(str_to_u64("18446744073709551616", &u));
    assert_false(str_to_u64("-1", &u));
}

static void reads_times_and_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* -1: refused */
        int64_t bytes;
    } cases[] = {
        {"0", 0, 0},          {"90s", 90, -1},      {"10m", 600, -1},
        {"2h", 7200, -1},     {"14d", 1209600, -1}, {"77", 77, 77},
        {"512K", -1, 524288}, {"4M", -1, 4194304},  {"2G", -1, INT64_C(2147483648)},
        {"", -1, -1},         {"s", -1, -1},        {"-1s", -1, -1},
        {"1.5h", -1, -1},     {"1hh", -1, -1},      {"1 h", -1, -1},
        {"1h30m", -1, -1},    {NULL, -1, -1},       {"9223372036854775807d", -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t seconds = -1;
        size_t bytes = 0;
        bool good = str_to_seconds(cases[i].text, &seconds);
        assert_int_equal(good, cases[i].seconds >= 0);
        assert_int_equal(seconds, cases[i].seconds);
        good = str_to_bytes(cases[i].text, &bytes);
        assert_int_equal(good, cases[i].bytes >= 0);
        assert_int_equal(bytes, cases[i].bytes < 0 ? 0 : cases[i].bytes);
    }
    static const struct {
        int64_t seconds;
        const char *text;
    } shown[] = {{0, "0s"},    {59, "59s"},   {60, "1m"},       {90, "90s"},
                 {3600, "1h"}, {5400, "90m"}, {1209600, "14d"}, {90000, "25h"}};
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        char out[24];
        str_seconds(shown[i].seconds, out);
        assert_string_equal(out, shown[i].text);
    }
}

static void knows_control_characters(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        size_t n;
    } table[] = {
        {"", 0},         {"a", 0},    {" ", 0},        {"\n", 1},
        {"\x1b", 1},     {"\x7f", 1}, {"\xc2\x80", 2}, {"\xc2\x9f", 2},
        {"\xc2\xa0", 0}, {"\xc2", 0}, {"\xc3\x9b", 0}, {"\x9b", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(str_control(table[i].s), table[i].n);
}

static void converts_hex(void **state)
{
    (void)state;
    char out[9];
    str_hex("\x00\x7f\xff\xa5", 4, out);
    assert_string_equal(out, "007fffa5");
    unsigned char bytes[4] = {0};
    assert_true(str_unhex("007FffA5", bytes, 4));
    assert_memory_equal(bytes, "\x00\x7f\xff\xa5", 4);
    assert_false(str_unhex("007fffa", bytes, 4));
    assert_false(str_unhex("007fffa5a", bytes, 4));
    assert_false(str_unhex("007fffag", bytes, 4));
    assert_false(str_unhex(NULL, bytes, 4));
    assert_true(str_is_hex("0af9", 4));
    assert_false(str_is_hex("0AF9", 4));
    assert_false(str_is_hex("0af", 4));
    assert_false(str_is_hex(NULL, 4));
}

static void encodes_urls(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool keep;
        const char *want;
    } cases[] = {
        {"aZ09-._~", false, "aZ09-._~"},    {"team/app", true, "team/app"},
        {"team/app", false, "team%2Fapp"},  {"a b+c%", false, "a%20b%2Bc%25"},
        {"\xc3\xa4\n", false, "%C3%A4%0A"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(100);
        str_urlencode(&b, cases[i].in, cases[i].keep);
        assert_string_equal(b.buf, cases[i].want);
    }
}

static void splits(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list parts = str_split(&a, "a,,b,", ',');
    assert_int_equal(parts.n, 4);
    assert_string_equal(parts.at[0], "a");
    assert_string_equal(parts.at[1], "");
    assert_string_equal(parts.at[2], "b");
    assert_string_equal(parts.at[3], "");
    assert_int_equal(str_split(&a, "", ',').n, 1);
}

static void finds_the_nearest(void **state)
{
    (void)state;
    static const char *const keys[] = {"context", "registry", "repository", "tags", "target"};
    static const struct {
        const char *slip, *want;
    } cases[] = {
        {"contxt", "context"},
        {"Registry", "registry"},
        {"repositry", "repository"},
        {"tag", "tags"},
        {"targets", "target"},
        {"banana", NULL},
        {"x", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = str_nearest(cases[i].slip, keys, ARRAY_LEN(keys));
        if (!str_eq(got, cases[i].want))
            fail_msg("%s: %s", cases[i].slip, got ? got : "(none)");
    }
    char long_name[200];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_null(str_nearest(long_name, keys, ARRAY_LEN(keys)));
}

static void matches_globs(void **state)
{
    (void)state;
    static const struct {
        const char *glob, *name;
        bool want;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"*", "a", true},
        {"*", "", true},
        {"*", "a/b", false},
        {"a/*", "a/b", true},
        {"a/*", "a/b/c", false},
        {"a/*/c", "a/b/c", true},
        {"a/*/c", "a/b/b/c", false},
        {"**", "a/b/c", true},
        {"**", "", true},
        {"a/**", "a/b/c", true},
        {"a/**", "a", false},
        {"a/**", "ab/c", false},
        {"**/c", "a/b/c", true},
        {"**/c", "c", false},
        {"a/**/d", "a/b/c/d", true},
        {"a/**/d", "a/b/c/dd", false},
        {"a*b*c", "aXbXbXc", true},
        {"a*b*c", "aXbX/c", false},
        {"*.git", "x.git", true},
        {"*x*", "aaxaa", true},
        {"?", "a", true},
        {"?", "/", false},
        {"?", "", false},
        {"a?c", "abc", true},
        {"team/**/app-*", "team/x/y/app-1", true},
        {"team/**/app-*", "team/x/y/app-1/z", false},
        {"**x*/y", "a/x1/x2/y", true},
        {"[a]", "a", false},
        {"[a]", "[a]", true},
        {"a.c", "abc", false},
        {"*-prod/**/img", "eu-prod/a/img", true},
        {"*-prod/**/img", "eu/x-prod/a/img", false},
        {"A", "a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (str_glob(cases[i].glob, cases[i].name) != cases[i].want)
            fail_msg("%s on %s", cases[i].glob, cases[i].name);
}

/* A pattern made to backtrack ends at once on names as long as they may be. */
static void globs_stay_cheap(void **state)
{
    (void)state;
    char name[2001], glob[501];
    memset(name, 'a', 2000);
    name[2000] = '\0';
    for (size_t i = 0; i + 1 < sizeof glob; i += 2)
        memcpy(glob + i, "*a", 2);
    glob[sizeof glob - 2] = 'b';
    glob[sizeof glob - 1] = '\0';
    assert_false(str_glob(glob, name));
    memcpy(glob, "**", 2);
    assert_false(str_glob(glob, name));
}

static void writes_and_reads_times(void **state)
{
    (void)state;
    char out[32];
    str_rfc3339(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00Z");
    str_rfc3339(1795452010, out);
    int64_t back;
    assert_true(str_from_rfc3339(out, &back));
    assert_int_equal(back, 1795452010);
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"1970-01-01T00:00:00.999999999Z", true, 0},
        {"1970-01-01T01:00:00+01:00", true, 0},
        {"1969-12-31T19:30:00-04:30", true, 0},
        {"1970-01-01 00:00:01.000000000", true, 1},
        {"2024-02-29T00:00:00Z", true, 1709164800},
        {"2016-12-31T23:59:60Z", true, 1483228800},
        {"2023-02-29T00:00:00Z", false, 0},
        {"2026-02-31T12:00:00Z", false, 0},
        {"2026-13-01T00:00:00Z", false, 0},
        {"2026-00-01T00:00:00Z", false, 0},
        {"2026-01-01T24:00:00Z", false, 0},
        {"2026-01-01T00:60:00Z", false, 0},
        {"2026-01-01T00:00:61Z", false, 0},
        {"2026-01-01T00:00:00", false, 0},
        {"2026-01-01T00:00:00Zx", false, 0},
        {"2026-01-01T00:00:00.Z", false, 0},
        {"2026-01-01T00:00:00+1:00", false, 0},
        {"2026-01-01T00:00:00+01:0", false, 0},
        {"2026-01-01T00:00:00+24:00", false, 0},
        {"2026-01-01T00:00:00+01:60", false, 0},
        {"2026-1-1T00:00:00.000Z", false, 0},
        {" 2026-01-01T00:00:00Z", false, 0},
        {"20260101T000000Z      ", false, 0},
        {"", false, 0},
        {NULL, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = 42;
        if (str_from_rfc3339(cases[i].text, &got) != cases[i].ok)
            fail_msg("%s", cases[i].text ? cases[i].text : "NULL");
        assert_int_equal(got, cases[i].ok ? cases[i].want : 42);
    }
    str_rfc3339(INT64_MAX, out);
    assert_string_equal(out, "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(reads_times_and_sizes),
        cmocka_unit_test(knows_control_characters),
        cmocka_unit_test(converts_hex),
        cmocka_unit_test(encodes_urls),
        cmocka_unit_test(splits),
        cmocka_unit_test(finds_the_nearest),
        cmocka_unit_test(matches_globs),
        cmocka_unit_test(globs_stay_cheap),
        cmocka_unit_test(writes_and_reads_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
