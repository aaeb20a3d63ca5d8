#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/lib/pattern.h"

#include <pthread.h>
#include <time.h>

static struct pattern *compile(const char *text)
{
    struct err err = ERR_INIT;
    struct pattern *p = pattern_compile(text, &err);
    if (!p)
        fail_msg("%s: %s", text, err.text);
    return p;
}

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *subject;
        bool matches;
    } table[] = {
        {"main", "main", true},
        {"main", "mainline", false},
        {"stable/*", "stable/1.0", true},
        {"stable/*", "stable/1/0", false},
        {"team/**", "team/a/b", true},
        {"a.c", "abc", false},
        {"^stable/.*", "stable/1/0", true},
        {"^stable/", "stable/1.0", false},
        {"^v[0-9]+", "v12", true},
        {"^v[0-9]+", "xv12", false},
        {"^(release|stable)/([0-9]+[.])*[0-9]+(-(rc|beta)[0-9]*)?", "stable/2026.11.23-rc4", true},
        {"^.*/(feature|topic)-.*-[a-z]+-.*[0-9]", "me/x-y-z/topic-a-b-c-d-e-f-g-h-i-j-k-l-9", true},
        {"^v[0-9]+", "v12x", false},
        {"^v[0-9]+", "v12\n", false},
        {"^v[0-9]+$", "v12\n", false},
        {"^a|b", "b", true},
        {"^a|b", "ax", false},
        {"^a|b", "xb", false},
        {"^(a|ab)", "ab", true}, /* whole text: the shorter branch is given up */
        {"^.*", "", true},
        {"^(?!change_).*", "change_1_x", false},
        {"^(?!change_).*", "latest", true},
        {"^(.)\\1", "aa", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct pattern *p = compile(table[i].pattern);
        if (pattern_match(p, table[i].subject) != table[i].matches)
            fail_msg("'%s' and '%s'", table[i].pattern, table[i].subject);
        assert_string_equal(pattern_text(p), table[i].pattern);
        assert_false(pattern_match(p, NULL));
        pattern_free(p);
    }
    pattern_free(NULL);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "empty"},
        {"!main", "negated"},
        {"^v(", "at character 4"},
        {"^[z-a]", "no regular expression"},
        {"^*", "no regular expression"},
        {"^\\C", "no regular expression"},
        {"^((((((((((a{1,999}){1,999}){1,999}){1,999}){1,999}){1,9}){1,9}){1,9}){1,9}){1,9})",
         "too large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        struct pattern *p = pattern_compile(table[i].text, &err);
        if (p || err.kind != ERR_CONFIG || !strstr(err.text, table[i].says))
            fail_msg("'%s': %s", table[i].text, p ? "accepted" : err.text);
    }
    char text[LIMIT_PATTERN + 2];
    memset(text, 'a', sizeof text);
    text[LIMIT_PATTERN + 1] = '\0';
    struct err err = ERR_INIT;
    assert_null(pattern_compile(text, &err));
    text[LIMIT_PATTERN] = '\0';
    struct pattern *p = compile(text);
    assert_true(pattern_match(p, text));
    pattern_free(p);
}

static void test_catastrophe_is_bounded(void **state)
{
    (void)state;
    static const char *const evil[] = {
        "^(a+)+[bc]",
        "^(a|aa)+[bc]",
        "^(.*)(.*)(.*)(.*)(.*)(.*)[bc]",
        "^(?:(?:a?){50}){50}[bc]",
        "^(?:(?:a?){99}){70}[bc]",
        "^(?:(?:(?:a?){30}){30}){2}[bc]",
    };
    char subject[256];
    memset(subject, 'a', sizeof subject);
    subject[sizeof subject - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
        struct pattern *p = compile(evil[i]);
        clock_t start = clock();
        assert_false(pattern_match(p, subject));
        if (clock() - start > CLOCKS_PER_SEC / 4)
            fail_msg("%s took too long", evil[i]);
        pattern_free(p);
    }
}

static void test_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *prefix;
    } table[] = {
        {"registry.example.org/team/*", "registry.example.org/team/"},
        {"v?", "v"},
        {"main", "main"},
        {"**", ""},
        {"^main", ""},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct pattern *p = compile(table[i].pattern);
        assert_string_equal(pattern_literal_prefix(p, &a), table[i].prefix);
        pattern_free(p);
    }
    arena_release(&a);
}

struct shared {
    struct pattern *p;
    int failed;
};

static void *match_much(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < 2000; i++)
        if (!pattern_match(shared->p, "stable/2026.1") || pattern_match(shared->p, "main"))
            __atomic_store_n(&shared->failed, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct shared shared = {compile("^(stable|old)/([0-9]+)[.]([0-9]+)"), 0};
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, match_much, &shared), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(shared.failed, 0);
    pattern_free(shared.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),   cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_prefix),  cmocka_unit_test(test_catastrophe_is_bounded),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
