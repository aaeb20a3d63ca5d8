#include "core/base/base.h"

#include "core/base/str.h"
#include "core/engine/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void reads_what_a_config_says(void **state)
{
    (void)state;
    static const struct {
        const char *config, *change, *url;
    } table[] = {
        {"{\"config\":{\"Labels\":{\"org.zuul-ci.change\":\"7\",\"org.zuul-ci.change_url\":\"u\"}}"
         "}",
         "7", "u"},
        {"{\"config\":{\"Labels\":{\"org.zuul-ci.change_url\":\"u\",\"other\":\"7\"}}}", NULL, "u"},
        {"{\"config\":{\"Labels\":{\"org\":{\"zuul-ci\":{\"change\":\"7\"}}}}}", NULL, NULL},
        {"{\"config\":{\"Labels\":{\"org.zuul-ci.change\":7}}}", NULL, NULL},
        {"{\"config\":{\"Labels\":{\"org.zuul-ci.change\":null}}}", NULL, NULL},
        {"{\"config\":{\"Labels\":[\"org.zuul-ci.change\"]}}", NULL, NULL},
        {"{\"config\":{\"Labels\":null}}", NULL, NULL},
        {"{\"config\":null}", NULL, NULL},
        {"{\"Labels\":{\"org.zuul-ci.change\":\"7\"}}", NULL, NULL},
        {"[]", NULL, NULL},
        {"not JSON", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct labels got = {.change = "former", .change_url = "former"};
        labels_of_config(table[i].config, strlen(table[i].config), &a, &got);
        if (!str_eq(got.change, table[i].change) || !str_eq(got.change_url, table[i].url))
            fail_msg("%s: change %s, url %s", table[i].config, got.change ? got.change : "-",
                     got.change_url ? got.change_url : "-");
    }
}

static void tells_whose_change_a_url_is(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool fits;
    } table[] = {
        {"https://code.example.org/team/app/pull/7", true},
        {"https://code.example.org/team/app", true},
        {"https://review.example.org/c/team/app/+/7", true},
        {"https://review.example.org/7", true}, /* names no project */
        {"https://review.example.org", true},
        {"anything", true},
        {"https://code.example.org/team/app-tools/pull/7", false},
        {"https://code.example.org/my-team/app/pull/7", false},
        {"https://code.example.org/other/team/7", false},
        {"https://team/app.example.org/x/7", false},
        {"https://own.example.org/x/y/7", true}, /* is the event's own */
    };
    const struct event event = {.project = "team/app",
                                .change_url = "https://own.example.org/x/y/7"};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (labels_url_fits(table[i].url, &event) != table[i].fits)
            fail_msg("%s", table[i].url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_a_config_says),
        cmocka_unit_test(tells_whose_change_a_url_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
