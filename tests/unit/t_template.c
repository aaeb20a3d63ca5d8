#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/template.h"

static const struct place place = {"f", 3, 7};

static const struct template_vars all = {
    .branch = "stable/1.0",
    .tag = "v1.2.3",
    .change = "77",
    .commit_id = "c0ffee",
    .project_name = "team/app",
    .project_short_name = "app",
};

static void test_expands(void **state)
{
    (void)state;
    static const struct {
        const char *text, *result;
    } table[] = {
        {"", ""},
        {"latest", "latest"},
        {"{{ zuul.branch }}", "stable/1.0"},
        {"{{zuul.tag}}", "v1.2.3"},
        {"a{{ zuul.change }}b{{ zuul.commit_id }}c", "a77bc0ffeec"},
        {"{{\n zuul.project.name\t}}", "team/app"},
        {"{{ zuul.project.short_name }}", "app"},
        {"{{ zuul.tag | default('latest') }}", "v1.2.3"},
        {"{{ zuul.tag|default(\"latest\") }}", "v1.2.3"},
        {"{{ zuul.tag | default ( 'latest' ) }}", "v1.2.3"},
        {"{ {x} }} {", "{ {x} }} {"},
        {"{{ zuul.tag }}{{ zuul.tag }}", "v1.2.3v1.2.3"},
    };
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *out = NULL;
        assert_int_equal(template_expand(table[i].text, place, &all, &diags, &out), TEMPLATE_OK);
        assert_string_equal(out, table[i].result);
        assert_true(template_check(table[i].text, place, &diags));
    }
    assert_int_equal(diags.n, 0);
    arena_release(&a);
}

static void test_undefined(void **state)
{
    (void)state;
    static const struct template_vars none = {0};
    static const struct {
        const char *text, *result; /* the result of a default, else the variable's name */
        enum template_result rc;
    } table[] = {
        {"{{ zuul.tag | default('latest') }}", "latest", TEMPLATE_OK},
        {"{{ zuul.tag | default(\"it's\") }}", "it's", TEMPLATE_OK},
        {"{{ zuul.tag | default('') }}", "", TEMPLATE_OK},
        {"v{{ zuul.tag | default('{{ zuul.branch }}') }}", "v{{ zuul.branch }}", TEMPLATE_OK},
        {"{{ zuul.branch }}-{{ zuul.tag }}", "zuul.branch", TEMPLATE_UNDEFINED},
        {"{{ zuul.project.short_name }}", "zuul.project.short_name", TEMPLATE_UNDEFINED},
        /* What is malformed is an error even behind something undefined. */
        {"{{ zuul.branch }}{{ x }}", NULL, TEMPLATE_ERROR},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct diags diags = {.arena = &a};
        const char *out = NULL;
        assert_int_equal(template_expand(table[i].text, place, &none, &diags, &out), table[i].rc);
        if (table[i].result)
            assert_string_equal(out, table[i].result);
        assert_int_equal(diags.errors, table[i].rc == TEMPLATE_ERROR);
    }
    arena_release(&a);
}

static void test_values_are_not_templates(void **state)
{
    (void)state;
    static const struct template_vars sly = {.branch = "{{ zuul.tag }}", .tag = "v1"};
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const char *out = NULL;
    assert_int_equal(template_expand("{{ zuul.branch }}", place, &sly, &diags, &out), TEMPLATE_OK);
    assert_string_equal(out, "{{ zuul.tag }}");
    arena_release(&a);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"{{ zuul.patchset }}", "'{{ zuul.patchset }}' is not a form Slipway knows; known are "
                                "{{ zuul.branch }}, {{ zuul.tag }}"},
        {"x {{ now(utc=True) }} y", "'{{ now(utc=True) }}' is not a form"},
        {"{{ zuul.tag is defined }}", "'{{ zuul.tag is defined }}' is not"},
        {"{{ zuul.tag | default('a', true) }}", "is not a form"},
        {"{{ zuul.tag | default(latest) }}", "is not a form"},
        {"{{ zuul.tag | default('a\\'b') }}", "is not a form"},
        {"{{ zuul.tag | default('a\") }}", "is not a form"},
        {"{{ zuul.tag | upper }}", "is not a form"},
        {"{{ zuul.branch | replace('stable/', '') }}", "is not a form"},
        {"{{ zuul.tagx }}", "is not a form"},
        {"{{ zuul . tag }}", "is not a form"},
        {"{{ Zuul.Tag }}", "is not a form"},
        {"{{- zuul.tag -}}", "is not a form"},
        {"{{{ zuul.tag }}}", "is not a form"},
        {"{{}}", "'{{}}' is not a form"},
        {"{{ zuul.tag", "'{{ zuul.tag' has no closing '}}'"},
        {"{{", "'{{' has no closing '}}'"},
        {"{{ zuul.tag }", "has no closing"},
        {"{{ zuul.tag | default('x }", "has no closing"},
        {"{% if x %}a{% endif %}", "'{% if x %}' is not a form"},
        {"{# comment #}", "'{# comment #}' is not a form"},
        {"{%", "'{%' is not a form"},
        {"{{ a\nb\x1b[2J }}", "'{{ a?b?[2J }}' is not a form"},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct diags diags = {.arena = &a};
        const char *out = NULL;
        assert_false(template_check(table[i].text, place, &diags));
        assert_int_equal(template_expand(table[i].text, place, &all, &diags, &out), TEMPLATE_ERROR);
        assert_int_equal(diags.n, 1); /* the same finding, once */
        if (!strstr(diags.at[0].text, table[i].says))
            fail_msg("%s: %s", table[i].text, diags.at[0].text);
        assert_int_equal(diags.at[0].line, 3);
        assert_int_equal(diags.at[0].column, 7);
    }
    arena_release(&a);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    char text[LIMIT_TEMPLATE + 2];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    struct diags diags = {.arena = &a};
    assert_false(template_check(text, place, &diags));
    text[sizeof text - 2] = '\0';
    assert_true(template_check(text, place, &diags));
    /* Expansion is bounded as well. */
    const char *out = NULL;
    struct template_vars vars = {.tag = text};
    assert_int_equal(template_expand("{{ zuul.tag }}", place, &vars, &diags, &out), TEMPLATE_OK);
    assert_int_equal(template_expand("{{ zuul.tag }}x", place, &vars, &diags, &out),
                     TEMPLATE_ERROR);
    arena_release(&a);
}

static void test_uses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *variable;
        bool uses;
    } table[] = {
        {"{{ zuul.tag }}", "zuul.tag", true},
        {"v{{zuul.tag|default('x')}}", "zuul.tag", true},
        {"{{ zuul.branch }}{{ zuul.tag }}", "zuul.tag", true},
        {"{{ zuul.branch }}", "zuul.tag", false},
        {"zuul.tag", "zuul.tag", false},
        {"{{ zuul.branch | default('zuul.tag') }}", "zuul.tag", false},
        {"{{ zuul.project.name }}", "zuul.project", false},
        {"{{ nonsense }}{{ zuul.tag }}", "zuul.tag", false},
        {"", "zuul.tag", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (template_uses(table[i].text, table[i].variable) != table[i].uses)
            fail_msg("'%s'", table[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expands), cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_refuses), cmocka_unit_test(test_values_are_not_templates),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
