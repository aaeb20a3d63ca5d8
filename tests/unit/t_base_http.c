#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/httpmsg.h"
#include "core/base/str.h"

static void finds_headers(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_headers h = {0};
    assert_null(http_header(&h, "X"));
    char name[] = "X-Hub-Signature", value[] = "one";
    http_header_add(&a, &h, name, value);
    http_header_add(&a, &h, "x-hub-signature", "two");
    memset(name, 'z', sizeof name - 1);
    memset(value, 'z', sizeof value - 1);
    assert_string_equal(http_header(&h, "X-HUB-SIGNATURE"), "one");
    assert_null(http_header(&h, "X-Hub"));
    assert_null(http_header(&h, "X-Hub-Signature-256"));
}

static void reads_query_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *want;
    } cases[] = {
        {"a=1&b=2", "b", "2"},  {"a=1&a=2", "a", "1"},
        {"ab=1&b=2", "b", "2"}, {"a=", "a", ""},
        {"a", "a", NULL},       {"", "a", NULL},
        {NULL, "a", NULL},      {"b=1", "a", NULL},
        {"&&a=x&", "a", "x"},   {"a=%41%2f+b", "a", "A/ b"},
        {"a=%4", "a", "%4"},    {"a=%", "a", "%"},
        {"a=%zz", "a", "%zz"},  {"a=%00x", "a", "%00x"},
        {"a=b=c", "a", "b=c"},  {"a=1;b=2", "a", "1;b=2"},
        {"A=1", "a", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        const char *got = http_query_param(&a, cases[i].query, cases[i].name);
        if (!str_eq(got, cases[i].want))
            fail_msg("%s: %s", cases[i].query, got ? got : "(none)");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_headers),
        cmocka_unit_test(reads_query_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
