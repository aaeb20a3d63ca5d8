#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/semver.h"

static void test_parse(void **state)
{
    (void)state;
    enum { NONE = 99 };
    static const struct {
        const char *text;
        unsigned leniency; /* the least that takes it; NONE: nothing does */
        size_t numbers;
        const char *pre, *build;
    } table[] = {
        {"1.2.3", SEMVER_STRICT, 3, "", ""},
        {"0.0.0", SEMVER_STRICT, 3, "", ""},
        {"1.2.3-rc.1", SEMVER_STRICT, 3, "rc.1", ""},
        {"1.2.3-rc.1+b.01", SEMVER_STRICT, 3, "rc.1", "b.01"},
        {"1.2.3+b-1", SEMVER_STRICT, 3, "", "b-1"},
        {"1.2.3--", SEMVER_STRICT, 3, "-", ""},
        {"1.2.3-0a.x-y", SEMVER_STRICT, 3, "0a.x-y", ""},
        {"99999999999999999999999.1.2", SEMVER_STRICT, 3, "", ""},
        {"v1.2.3", SEMVER_V, 3, "", ""},
        {"V1.2.3-a", SEMVER_V, 3, "a", ""},
        {"1.2", SEMVER_SHORT, 2, "", ""},
        {"1.2-alpine", SEMVER_SHORT, 2, "alpine", ""},
        {"v1.2", SEMVER_V | SEMVER_SHORT, 2, "", ""},
        {"1.2.3.4", SEMVER_LONG, 4, "", ""},
        {"1.2.3.4-rc1", SEMVER_LONG, 4, "rc1", ""},
        {"2026.01.05", SEMVER_ZEROS, 3, "", ""},
        {"1.2.3-01", SEMVER_ZEROS, 3, "01", ""},
        {"", NONE, 0, "", ""},
        {"v", NONE, 0, "", ""},
        {"1", NONE, 0, "", ""},
        {"1.", NONE, 0, "", ""},
        {"1.2.", NONE, 0, "", ""},
        {".1.2", NONE, 0, "", ""},
        {"1..2", NONE, 0, "", ""},
        {"1.2.3.4.5", NONE, 0, "", ""},
        {"1.2.3-", NONE, 0, "", ""},
        {"1.2.3-a..b", NONE, 0, "", ""},
        {"1.2.3-a.", NONE, 0, "", ""},
        {"1.2.3+", NONE, 0, "", ""},
        {"1.2.3+a+b", NONE, 0, "", ""},
        {"1.2.3-a_b", NONE, 0, "", ""},
        {"1.2.3 ", NONE, 0, "", ""},
        {" 1.2.3", NONE, 0, "", ""},
        {"vv1.2.3", NONE, 0, "", ""},
        {"-1.2.3", NONE, 0, "", ""},
        {"+1.2.3", NONE, 0, "", ""},
        {"1.x.3", NONE, 0, "", ""},
        {"latest", NONE, 0, "", ""},
        {"1.2.\xd9\xa3", NONE, 0, "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        for (unsigned with = 0; with < 16; with++) {
            struct semver v;
            unsigned least = table[i].leniency;
            bool fits = least != NONE && (with & least) == least;
            if (semver_parse(table[i].text, with, &v) != fits)
                fail_msg("'%s' with %u", table[i].text, with);
            if (!fits)
                continue;
            assert_int_equal(v.numbers, table[i].numbers);
            assert_int_equal(v.pre.len, strlen(table[i].pre));
            assert_int_equal(v.build.len, strlen(table[i].build));
            assert_true(!v.pre.len || !memcmp(v.pre.at, table[i].pre, v.pre.len));
            assert_true(!v.build.len || !memcmp(v.build.at, table[i].build, v.build.len));
        }
    char text[LIMIT_SEMVER + 2] = "1.2.";
    memset(text + 4, '7', LIMIT_SEMVER - 4);
    struct semver v;
    assert_true(semver_parse(text, SEMVER_STRICT, &v));
    text[LIMIT_SEMVER] = '7';
    assert_false(semver_parse(text, SEMVER_STRICT, &v));
    assert_false(semver_parse(NULL, SEMVER_TAG, &v));
}

static struct semver version(const char *text)
{
    struct semver v = {0};
    if (!semver_parse(text, SEMVER_TAG | SEMVER_ZEROS, &v))
        fail_msg("'%s' is no version", text);
    return v;
}

static void test_order(void **state)
{
    (void)state;
    /* Each comes before all that follow. */
    static const char *const order[] = {"0.0.0-0",
                                        "0.0.0",
                                        "0.0.1",
                                        "0.9.10",
                                        "0.10.9",
                                        "1.0.0-0",
                                        "1.0.0-1",
                                        "1.0.0-9",
                                        "1.0.0-10",
                                        "1.0.0-99999999999999999999998",
                                        "1.0.0-99999999999999999999999",
                                        "1.0.0--",
                                        "1.0.0-Alpha",
                                        "1.0.0-alpha",
                                        "1.0.0-alpha.1",
                                        "1.0.0-alpha.beta",
                                        "1.0.0-alpha0",
                                        "1.0.0-beta",
                                        "1.0.0-beta.2",
                                        "1.0.0-beta.11",
                                        "1.0.0-rc.1",
                                        "1.0.0",
                                        "1.0.0.1",
                                        "1.0.1",
                                        "1.2.0-rc",
                                        "1.2",
                                        "1.2.1",
                                        "1.18446744073709551615.0",
                                        "1.18446744073709551616.0",
                                        "v2.0.0",
                                        "10.0.0",
                                        "2026.01.05",
                                        "2026.1.6"};
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (size_t j = 0; j < ARRAY_LEN(order); j++) {
            struct semver a = version(order[i]), b = version(order[j]);
            int got = semver_compare(&a, &b);
            if ((got < 0) != (i < j) || (got > 0) != (i > j))
                fail_msg("%s and %s: %d", order[i], order[j], got);
        }
    static const char *const same[][2] = {{"1.2", "1.2.0"},       {"v1.2.3", "1.2.3"},
                                          {"1.2.3+a", "1.2.3+b"}, {"1.2.0.0", "1.2"},
                                          {"1.02.3", "1.2.3"},    {"1.2.3-rc+x", "v1.2.3-rc"}};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct semver a = version(same[i][0]), b = version(same[i][1]);
        assert_int_equal(semver_compare(&a, &b), 0);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range, *in, *out; /* blanks between the versions */
    } table[] = {
        {"*", "0.0.0 1.2.3 99.0", "1.0.0-rc.1"},
        {"x", "1.2.3", "1.0.0-0"},
        {"1.2.3", "1.2.3 v1.2.3 1.2.3+b", "1.2.4 1.2.2 1.2.3-rc 1.2.3.1"},
        {"=1.2.3", "1.2.3", "1.2.4"},
        {"v1.2.3", "1.2.3", "1.2.4"},
        {"1.2.3.4", "1.2.3.4", "1.2.3 1.2.3.5"},
        {"1", "1.0.0 1.99.9", "0.9.9 2.0.0 2.0.0-rc 1.0.0-rc"},
        {"1.2", "1.2 1.2.0 1.2.99", "1.3.0 1.1.9 1.3.0-rc"},
        {"1.x", "1.0.0 1.9", "2.0.0 0.9"},
        {"1.2.*", "1.2.0 1.2.9", "1.3.0"},
        {"1.X.x", "1.4.2", "2.0.0"},
        {"1.x.3", "1.4.2", "2.0.3"}, /* what stands behind an x counts for nothing */
        {"1.2.3.x", "1.2.3 1.2.3.9", "1.2.4"},
        {">=1.2 <2", "1.2.0 1.99.0", "2.0.0 2.0.0-rc 1.1.9 1.2.0-rc"},
        {">=1.2, <2", "1.2.0 1.99.0", "2.0.0 1.1.9"},
        {">=1.2,<2", "1.3", "2.0.0"},
        {"  >= 1.2   < 2  ", "1.3", "2.0.0"},
        {">1.2", "1.3.0 2.0.0", "1.2.0 1.2.99 1.3.0-rc"},
        {">1.2.3", "1.2.4 1.2.3.1", "1.2.3"},
        {">1", "2.0.0", "1.99.0 2.0.0-rc"},
        {"<=1.2", "1.2.99 0.1.0", "1.3.0 1.3.0-rc"},
        {"<=1.2.3", "1.2.3", "1.2.4 1.2.3.1"},
        {"<1.2", "1.1.99", "1.2.0 1.2.0-rc"},
        {"<1.2.3", "1.2.2", "1.2.3 1.2.3-rc"},
        {"<*", "", "0.0.0 1.0.0 1.0.0-rc"},
        {">*", "", "0.0.0 1.0.0"},
        {">=*", "0.0.0 1.0.0", ""},
        {"^*", "0.0.0 7.0.0", ""},
        {"^1.4", "1.4.0 1.99.1", "2.0.0 1.3.9 2.0.0-rc"},
        {"^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"},
        {"^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"},
        {"^0.0.3", "0.0.3", "0.0.4 0.0.2"},
        {"^0.0", "0.0.0 0.0.9", "0.1.0"},
        {"^0", "0.0.1 0.9.0", "1.0.0"},
        {"^0.x", "0.9.0", "1.0.0"},
        {"^9.9", "9.10.0", "10.0.0 9.8.0"},
        {"^99999999999999999999.0.0", "99999999999999999999.7.0", "100000000000000000000.0.0"},
        {"~1.4.2", "1.4.2 1.4.99", "1.5.0 1.4.1 1.5.0-rc"},
        {"~1.4", "1.4.0 1.4.9", "1.5.0"},
        {"~1", "1.0.0 1.9.0", "2.0.0"},
        {"~>1.4.2", "1.4.3", "1.5.0"},
        {"1.2 - 1.4", "1.2.0 1.4.99", "1.5.0 1.1.0"},
        {"1.2.3 - 1.4.5", "1.2.3 1.4.5", "1.4.6 1.2.2"},
        {"1.2.3-rc.1 - 2", "1.2.3-rc.2 2.9.9", "3.0.0 1.2.3-rc.0"},
        {"1.x || >=3 <4 || 5.0.0", "1.2.0 3.1.0 5.0.0", "2.0.0 4.0.0 5.0.1"},
        {"1.2.3||2.0.0", "1.2.3 2.0.0", "1.2.4"},
        {">=1 !=1.2.3", "1.2.2 1.2.4", "1.2.3 0.9.0"},
        {">=1 !=1.2", "1.1.0 1.3.0", "1.2.0 1.2.9"},
        {"!=1.2.3", "1.2.2 5.0.0", "1.2.3 5.0.0-rc"},
        /* Pre-releases: only where a comparator names one of the same numbers. */
        {">=1.2.0-rc.1", "1.2.0-rc.1 1.2.0-rc.2 1.2.0 2.0.0", "1.2.0-rc.0 1.3.0-rc.1"},
        {">=1.2.0-rc.1 <2", "1.2.0-rc.2 1.9.0", "1.9.0-rc.1 2.0.0-alpha 2.0.0"},
        {"^1.2.3-beta.2", "1.2.3-beta.4 1.2.3 1.9.0", "1.2.3-beta.1 1.2.4-beta.2 2.0.0"},
        {"~1.2.3-beta", "1.2.3-rc 1.2.9", "1.3.0 1.2.4-rc"},
        {"1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"},
        {">1.2.3-rc.1", "1.2.3-rc.2 1.2.3", "1.2.3-rc.1"},
        {"<1.2.3-rc.2", "1.2.3-rc.1 1.2.2", "1.2.3-rc.2 1.2.2-rc.1"},
        {"!=1.2.3-rc.1 >=1", "1.2.3", "1.2.3-rc.1 1.2.3-rc.2"},
        {">=1.2.0-rc.1 || >=3", "1.2.0-rc.2 3.1.0", "3.1.0-rc.2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        char *written = xstrdup(table[i].range);
        const struct semver_range *range = semver_range_compile(written, &a, &err);
        if (!range)
            fail_msg("%s", err.text);
        memset(written, '!', strlen(written)); /* nothing of it may be borrowed */
        free(written);
        const char *const lists[] = {table[i].out, table[i].in};
        for (int in = 0; in < 2; in++) {
            struct str_list texts = str_split(&a, lists[in], ' ');
            for (size_t k = 0; k < texts.n && *lists[in]; k++) {
                struct semver v = version(texts.at[k]);
                if (semver_range_has(range, &v) != in)
                    fail_msg("'%s' in '%s' must be %d", texts.at[k], table[i].range, in);
            }
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *range, *says;
    } table[] = {
        {"", "character 1,"},         {"   ", "character 4,"},         {"latest", "character 1,"},
        {">=", "character 3,"},       {">=1.2 <", "character 8,"},     {">=1.2 ||", "character 9,"},
        {"|| 1.2", "character 1,"},   {"1 | 2", "single |"},           {"1.2,,1.3", "character 5,"},
        {"1.", "character 3,"},       {"1.2.3.4.5", "more than four"}, {"01.2.3", "leading zeros"},
        {"1.2.3-01", "pre-release"},  {"1.2.3-", "pre-release"},       {"1.2-rc", "not whole"},
        {"1.2.x-rc", "not whole"},    {"1.2.3rc", "character 6,"},     {">=1.2<2", "character 6,"},
        {"=>1.2", "character 2,"},    {"1.2 -1.3", "character 5,"},    {"1.2 - ", "character 7,"},
        {"1.2 - >2", "character 7,"}, {"^^1", "character 2,"},         {"^v", "character 3,"},
        {"1.2\n<2", "character 4,"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        assert_null(semver_range_compile(table[i].range, &a, &err));
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, table[i].says));
        assert_null(strpbrk(err.text, "\r\n"));
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_PATTERN * 2);
    while (text.len <= LIMIT_PATTERN)
        (void)strbuf_addstr(&text, "* ");
    assert_null(semver_range_compile(text.buf, &a, NULL));
    text.buf[LIMIT_PATTERN - 1] = '\0';
    struct err err = ERR_INIT;
    assert_null(semver_range_compile(text.buf, &a, &err));
    assert_non_null(strstr(err.text, "too many"));
    assert_null(semver_range_compile(NULL, &a, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
