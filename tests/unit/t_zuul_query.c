#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuul_builds.h"

#define API "https://zuul.example.org/api/tenant/t"

static const struct zuul_query usual = {.project = "team/app",
                                        .change = "7",
                                        .patchset = "2",
                                        .pipeline = "gate",
                                        .job = "build-images"};

/* ---- promote_container_image_query ---- */

static const struct {
    const char *text;
    const char *want; /* NULL: an error ... */
    const char *says; /* ... of this text */
} queries[] = {
    {"change={{ zuul.change }}&patchset={{ zuul.patchset }}&pipeline={{ "
     "promote_container_image_pipeline }}&job_name={{ promote_container_image_job }}",
     "change=7&patchset=2&pipeline=gate&job_name=build-images", NULL},
    {"project={{zuul.project.name}}&branch=main", "project=team%2Fapp&branch=main", NULL},
    {"newrev=%20{{   zuul.change   }}}", "newrev=%207}", NULL},
    {"", "", NULL},
    {"a={{ zuul.change", NULL, "'{{ zuul.change' is not a form"},
    {"a={{ zuul.change }", NULL, "is not a form"},
    {"a={{ zuul.change | int }}&b", NULL, "'{{ zuul.change | int }}' is not a form"},
    {"a={{ zuul.tag }}", NULL, "known are {{ zuul.change }}, {{ zuul.patchset }}"},
    {"a={{ }}", NULL, "is not a form"},
    {"a={{ zuul.change zuul.change }}", NULL, "is not a form"},
    {"a={{ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx }}", NULL,
     "is not a form"},
    {"a={%if%}", NULL, "'{%if%}' is not a form"},
    {"a=b#c", NULL, "must not hold '#'"},
    {"a=b c", NULL, "visible ASCII"},
    {"a=b\xc3\xa9", NULL, "visible ASCII"},
    {"a=b\rX-Header: y", NULL, "visible ASCII"},
};

static void test_query(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT, checked = ERR_INIT;
        const char *got = zuul_query_expand(queries[i].text, &usual, &a, &err);
        assert_int_equal(zuul_query_check(queries[i].text, &checked), got ? 0 : -1);
        if (queries[i].want) {
            assert_non_null(got);
            assert_string_equal(got, queries[i].want);
            continue;
        }
        assert_null(got);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_string_equal(err.text, checked.text);
        if (!strstr(err.text, queries[i].says))
            fail_msg("query %zu: %s", i, err.text);
    }
}

static void test_query_values(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const struct zuul_query sly = {.project = "p", .change = "7&result=FAILURE#{{ zuul.x }}"};
    assert_string_equal(zuul_query_expand("change={{ zuul.change }}", &sly, &a, &err),
                        "change=7%26result%3DFAILURE%23%7B%7B%20zuul.x%20%7D%7D");
    assert_null(zuul_query_expand("patchset={{ zuul.patchset }}", &sly, &a, &err));
    assert_string_equal(err.text, "promote_container_image_query: zuul.patchset is not known for "
                                  "this event");
    char *text CLEANUP(cleanup_free) = xmalloc(LIMIT_ZUUL_QUERY + 2);
    memset(text, 'x', LIMIT_ZUUL_QUERY + 1);
    text[LIMIT_ZUUL_QUERY + 1] = '\0';
    assert_non_null(zuul_query_expand(text + 1, &usual, &a, &err));
    assert_int_equal(zuul_query_check(text + 1, &err), 0);
    assert_int_equal(zuul_query_check(text, &err), -1);
    assert_null(zuul_query_expand(text, &usual, &a, &err));
    assert_non_null(strstr(err.text, "is longer than"));
}

/* ---- which Zuul ---- */

static struct zuul_conf three[] = {
    {.name = "one", .api = API},
    {.name = "two", .api = "https://zuul.example.org/api/tenant/u"},
    {.name = "three", .api = "https://other.example.org/api"},
};

static const struct {
    const char *api;
    size_t n;         /* entries that there are */
    const char *want; /* its name, or the error's text when NULL */
    const char *says;
} selections[] = {
    {NULL, 1, "one", NULL},
    {API, 1, "one", NULL},
    {API "//", 3, "one", NULL},
    {"https://zuul.example.org/api/tenant/u", 3, "two", NULL},
    {"https://other.example.org/api/", 3, "three", NULL},
    {"https://zuul.example.org/api/tenant/{{ zuul.tenant }}", 1, "one", NULL},
    {"https://zuul.example.org/api/tenant/{{zuul.tenant}}/", 3, NULL, "means several"},
    {"https://other.example.org/{{ zuul.tenant }}", 3, "three", NULL},
    {"https://{{ zuul.tenant }}/api", 3, "three", NULL},
    {"https://zuul.example.org/{{ zuul.tenant }}", 3, NULL, "is none of"},
    {"https://zuul.example.org/api/tenant/t{{ zuul.tenant }}", 1, NULL, "is none of"},
    {"https://zuul.example.org/api/tenant/{{ zuul.project }}", 1, NULL, "is none of"},
    {"https://zuul.example.org/api/tenant/{{ zuul.tenant", 1, NULL, "is none of"},
    {"http://zuul.example.org/api/tenant/t", 3, NULL, "is none of the entries under `zuul`: one ("},
    {"https://zuul.example.org/api/tenant/t2", 3, NULL, "is none of"},
    {"https://zuul.example.org/api/tenant", 3, NULL, "is none of"},
    {"", 3, NULL, "is none of"},
    {NULL, 3, NULL, "promote_container_image_api is missing; it selects one of: one (https://"},
    {NULL, 0, NULL, "no entry under `zuul`"},
    {API, 0, NULL, "no entry under `zuul`"},
};

static void test_select(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(selections); i++) {
        const struct zuul_confs confs = {.at = three, .n = selections[i].n};
        const struct zuul_conf *got = zuul_select(&confs, selections[i].api, &err);
        if (selections[i].want && (!got || !str_eq(got->name, selections[i].want)))
            fail_msg("selection %zu: %s", i, got ? got->name : err.text);
        if (!selections[i].want &&
            (got || err.kind != ERR_CONFIG || !strstr(err.text, selections[i].says)))
            fail_msg("selection %zu: %s", i, got ? got->name : err.text);
    }
    assert_null(zuul_select(NULL, API, &err));
}

static void test_url(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_query q = usual;
    assert_string_equal(zuul_builds_url(&three[0], &q, &a, &err),
                        API "/builds?result=SUCCESS&project=team%2Fapp&change=7&patchset=2&"
                            "pipeline=gate&job_name=build-images");
    q.patchset = NULL;
    q.job = "build images&limit=1";
    assert_string_equal(zuul_builds_url(&three[0], &q, &a, &err),
                        API "/builds?result=SUCCESS&project=team%2Fapp&change=7&pipeline=gate&"
                            "job_name=build%20images%26limit%3D1");
    q.custom = "branch=main";
    q.job = q.pipeline = q.change = NULL;
    assert_string_equal(zuul_builds_url(&three[0], &q, &a, &err),
                        API "/builds?result=SUCCESS&project=team%2Fapp&branch=main");
    q.custom = "";
    assert_string_equal(zuul_builds_url(&three[0], &q, &a, &err),
                        API "/builds?result=SUCCESS&project=team%2Fapp");
    q.custom = "branch=main&project=team%2fapp";
    assert_non_null(zuul_builds_url(&three[0], &q, &a, &err));
}

static void test_url_refused(void **state)
{
    (void)state;
    static const struct {
        struct zuul_query q;
        const char *says;
    } rows[] = {
        {{.project = "p", .pipeline = "gate", .job = "j"}, "the change is not known"},
        {{.project = "p", .change = "", .pipeline = "gate", .job = "j"}, "the change is not known"},
        {{.change = "1", .pipeline = "gate", .job = "j"}, "the project is not known"},
        {{.project = "p", .change = "1", .job = "j"},
         "promote_container_image_pipeline is missing"},
        {{.project = "p", .change = "1", .pipeline = "x"},
         "promote_container_image_job is missing"},
        {{.project = "p", .custom = "a=b c"}, "visible ASCII"},
        {{.project = "p", .custom = "a=b#c"}, "must not hold '#'"},
        {{.project = "p", .custom = "a=b\n"}, "visible ASCII"},
        {{.project = "p", .custom = "a=b&project=q"}, "asks for builds of 'q'; only those of p"},
        {{.project = "p", .custom = "project=*"}, "asks for builds of '*'"},
        {{.project = "p", .custom = "project="}, "asks for builds of ''"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        assert_null(zuul_builds_url(&three[0], &rows[i].q, &a, &err));
        if (err.kind != ERR_CONFIG || !strstr(err.text, rows[i].says))
            fail_msg("row %zu: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query),       cmocka_unit_test(test_query_values),
        cmocka_unit_test(test_select),      cmocka_unit_test(test_url),
        cmocka_unit_test(test_url_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
