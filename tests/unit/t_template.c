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

static struct template_own own[] = {
    {"own", "sooner", {"f", 1, 1}},
    {"own", "later", {"f", 2, 1}},
    {"date", "{{ now(utc=True, fmt='%Y%m%d') }}", {"f", 3, 1}},
    {"short", "{{ zuul.branch | replace('stable/', '') }}", {"f", 4, 1}},
    {"nested", "{{ short }}", {"f", 5, 1}},
    {"round", "{{ about }}", {"f", 6, 1}},
    {"about", "x{{ round }}", {"f", 7, 1}},
    {"mine", "{{ zuul.tag }}", {"f", 8, 1}},
    {"parts", "{{ zuul.tag.split('.') }}", {"f", 9, 1}},
};

static const struct template_owns owns = {own, ARRAY_LEN(own), ARRAY_LEN(own)};

static const struct template_vars all = {
    .branch = "stable/1.0",
    .tag = "v1.2.3",
    .change = "77",
    .patchset = "2",
    .pipeline = "tag",
    .now_s = 1795486620, /* 2026-11-24T02:17:00Z */
    .own = &owns,
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
        {"{{ zuul.patchset }}/{{ zuul.pipeline }}", "2/tag"},
        {"{{ zuul.branch | replace('stable/', '') }}", "1.0"},
        {"{{ zuul.branch.replace('stable/', '') }}", "1.0"},
        {"{{ zuul.tag.split('.')[0] }}", "v1"},
        {"{{ '.'.join(zuul.tag.split('.')[:2]) }}", "v1.2"},
        {"{{ zuul.tag.split('.')[1:] | join('-') }}", "2-3"},
        {"{{ zuul.tag.split('.')[-1] }}", "3"},
        {"{{ zuul.tag.split('.')[7:9] | join }}", ""},
        {"{{ zuul.tag | split('.') | join('_') }}", "v1_2_3"},
        {"{{ zuul.get('tag', '') }}{{ zuul.get('change') }}", "v1.2.377"},
        {"{{ zuul.tag is defined | ternary('a', 'b') }}", "a"},
        {"{{ zuul.tag is not defined | ternary('a', 'b') }}", "b"},
        {"{{ (zuul.pipeline == 'tag') | ternary('t', 'x') }}", "t"},
        {"{{ 'x' if zuul.pipeline != 'tag' else 'y' if not zuul.tag is defined else 'z' }}", "z"},
        {"{{ '' | default('e') }}|{{ '' | d('e', true) }}|{{ '' | default('e', False) }}", "|e|"},
        {"{{ now(utc=True,fmt='%Y%m%d') }}", "20261124"},
        {"{{ now(true, '%H%M') }}-{{ now(fmt='%j%y%%', utc=false) }}", "0217-32826%"},
        {"{{ date }}-{{ nested }}", "20261124-1.0"},
        {"{{ own }}", "later"},
        {"{{ '}}' }}{{ 12 }}", "}}12"},
        {"{{ ['a', zuul.change, 5] | join('+') }}", "a+77+5"},
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
        {"{{ zuul.branch }}{{ x( }}", NULL, TEMPLATE_ERROR},
        /* Only the branch that is taken must be there. */
        {"{{ zuul.tag is defined | ternary(zuul.tag.split('.')[0], 'none') }}", "none",
         TEMPLATE_OK},
        {"{{ zuul.tag if zuul.tag is defined else 'none' }}", "none", TEMPLATE_OK},
        {"{{ zuul.get('tag', 'none') }}", "none", TEMPLATE_OK},
        {"{{ zuul.get('tag') }}", "zuul.tag", TEMPLATE_UNDEFINED},
        {"{{ zuul.tag.split('.')[0] | default('none') }}", "none", TEMPLATE_OK},
        {"{{ now(utc=true, fmt='%Y') }}", "the time of now()", TEMPLATE_UNDEFINED},
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
        {"{{ zuul.patchsett }}", "'{{ zuul.patchsett }}' is not a form Slipway knows: there is no "
                                 "variable zuul.patchsett; there are zuul.branch, zuul.tag"},
        {"x {{ now(utc=True) }} y", "'{{ now(utc=True) }}' is not a form Slipway knows: now wants"},
        {"{{ now() }}", "now wants a format"},
        {"{{ now(utc=True, fmt='%s') }}", "now wants a format"},
        {"{{ now('utc', '%Y') }}", "utc=true"},
        {"{{ zuul.tag is defined }}", "a condition is no text"},
        {"{{ true }}", "a condition is no text"},
        {"{{ zuul.tag is string }}", "of tests there is only"},
        {"{{ zuul.tag | default('a', true, 'b') }}", "default with 3 arguments"},
        {"{{ zuul.tag | default }}", "default with 0 arguments"},
        {"{{ zuul.tag | default('a\\'b') }}", "'\\' in it"},
        {"{{ zuul.tag | default('a\") }}", "without its closing quote"},
        {"{{ zuul.tag | upper }}", "there is no filter upper; there are default"},
        {"{{ zuul.tag.upper() }}", "there is no method upper; there are join"},
        {"{{ lookup('env', 'HOME') }}", "there is no function lookup"},
        {"{{ zuul.get(zuul.tag) }}", "zuul.get wants"},
        {"{{ zuul.get('secret', '') }}", "there is no variable zuul.secret"},
        {"{{ zuul['tag'] }}", "a number belongs into"},
        {"{{ zuul.tag.split('.')[0 }}", "a missing ']'"},
        {"{{ ('a' }}", "a missing ')'"},
        {"{{ ['a' 'b'] }}", "a missing ']'"},
        {"{{ 'a' if zuul.tag is defined }}", "`if` without `else`"},
        {"{{ zuul.tag ~ 'x' }}", "what '~ 'x' }}' means there"},
        {"{{ zuul.tagx }}", "there is no variable"},
        {"{{ zuul . tag }}", "'.' without a method"},
        {"{{ Zuul.Tag }}", "there is no variable"},
        {"{{- zuul.tag -}}", "'-' where a value belongs"},
        {"{{{ zuul.tag }}}", "'{' where a value belongs"},
        {"{{}}", "nothing where a value belongs"},
        {"{{ zuul.tag", "'{{ zuul.tag' has no closing '}}'"},
        {"{{", "'{{' has no closing '}}'"},
        {"{{ zuul.tag }", "has no closing"},
        {"{{ zuul.tag | default('x }", "has no closing"},
        {"{% if x %}a{% endif %}", "'{% if x %}' is not a form Slipway knows: there are no '{%'"},
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

/* Right in form, wrong with these values. */
static void test_values_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"{{ nobody }}", "nothing defines the variable nobody"},
        {"{{ round }}", "stands for itself"},
        {"{{ zuul.tag.split('.')[3] }}", "there is no item 3: 3 in the list"},
        {"{{ zuul.tag.split('.')[-4] }}", "there is no item -4"},
        {"{{ zuul.tag[0] }}", "'[ ]' wants a list"},
        {"{{ zuul.tag.split('') }}", "something to split at"},
        {"{{ zuul.tag.replace('', 'x') }}", "something to look for"},
        {"{{ zuul.tag | join('.') }}", "join wants a list"},
        {"{{ zuul.tag.split('.').split('.') }}", "split wants a text"},
        {"{{ zuul.tag | ternary('a', 'b') }}", "ternary wants a condition"},
        {"{{ 'a' if zuul.tag else 'b' }}", "`if` wants a condition"},
        {"{{ 'a' if not zuul.tag else 'b' }}", "`not` wants a condition"},
        {"{{ (zuul.tag == [ 'a' ]) | ternary('a', 'b') }}", "lists cannot be compared"},
        {"{{ [['a']] }}", "an item of a list must be a text"},
        {"x{{ zuul.tag.split('.') }}", "a list within a text"},
        {"{{ zuul.tag.split('.') }}", "is a list, where one text belongs"},
        {"{{ (zuul.tag is defined) }}", "a condition is no text"},
        {"{{ zuul.tag is defined | default('x') }}", "a condition is no text"},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct diags diags = {.arena = &a};
        const char *out = NULL;
        assert_int_equal(template_expand(table[i].text, place, &all, &diags, &out), TEMPLATE_ERROR);
        assert_int_equal(diags.n, 1);
        if (!strstr(diags.at[0].text, table[i].says))
            fail_msg("%s: %s", table[i].text, diags.at[0].text);
    }
    arena_release(&a);
}

static void test_lists(void **state)
{
    (void)state;
#define PARTS                                                                                      \
    "[zuul.get('tag', '').split('.')[0], '.'.join(zuul.get('tag', '').split('.')[:2]), "           \
    "zuul.get('tag', '')]"
    static const struct {
        const char *text, *tag, *items;
    } table[] = {
        {"{{ zuul.tag is defined | ternary(" PARTS ", ['latest']) }}", "1.2.3", "1 1.2 1.2.3"},
        {"{{ zuul.tag is defined | ternary(" PARTS ", ['latest']) }}", NULL, "latest"},
        {"{{ zuul.tag is defined | ternary(" PARTS ", ['latest']) }}", "7", "7"},
        {"{{ ['latest'] if zuul.tag is not defined else " PARTS " }}", "v1.2.3", "v1 v1.2 v1.2.3"},
        {"{{ parts }}", "1.2", "1 2"},
        {"{{ zuul.tag | default('latest') }}", NULL, "latest"},
        {"plain", NULL, "plain"},
        {"{{ [] }}", NULL, ""},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct template_vars vars = {.tag = table[i].tag, .own = &owns};
        struct diags diags = {.arena = &a};
        struct str_list out;
        const char *missing, *items = "";
        assert_int_equal(template_expand_list(table[i].text, place, &vars, &diags, &out, &missing),
                         TEMPLATE_OK);
        for (size_t k = 0; k < out.n; k++)
            items = arena_printf(&a, "%s%s%s", items, k ? " " : "", out.at[k]);
        assert_string_equal(items, table[i].items);
    }
    arena_release(&a);
}

/* A few bytes that mean very much work or text. */
static void test_growth_is_bounded(void **state)
{
    (void)state;
    struct template_own wide[10];
    char name[10][4], text[10][LIMIT_TEMPLATE + 1];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name[i], sizeof name[i], "v%c", 'a' + i);
        size_t len = i < 9 ? 400 * strlen("{{vx}}") : 0;
        for (size_t k = 0; k < len; k++)
            text[i][k] = "{{vx}}"[k % 6] == 'x' ? (char)('b' + i) : "{{vx}}"[k % 6];
        text[i][len] = '\0';
        wide[i] = (struct template_own){name[i], text[i], place};
    }
    const struct template_owns bomb = {wide, 10, 10};
    const struct template_vars vars = {.tag = "aaaaaaaaaaaaaaaa", .own = &bomb};
    const char *grows =
        "{{ zuul.tag.replace('a','aaaaaaaaaaaaaaaa').replace('a','aaaaaaaaaaaaaaaa')"
        ".replace('a','aaaaaaaaaaaaaaaa') }}";
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const char *out;
    char deep[LIMIT_TEMPLATE];
    assert_int_equal(template_expand("{{ va }}", place, &vars, &diags, &out), TEMPLATE_ERROR);
    assert_int_equal(template_expand(grows, place, &vars, &diags, &out), TEMPLATE_ERROR);
    assert_non_null(strstr(diags.at[1].text, "grows beyond"));
    assert_true(a.used < MIB(16));
    assert_false(template_uses("{{ va }}", "zuul.tag", &bomb));
    memset(deep, '(', sizeof deep);
    memcpy(deep, "{{", 2);
    deep[sizeof deep - 1] = '\0';
    assert_false(template_check(deep, place, &diags));
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
        {"{{ nonsense( }}{{ zuul.tag }}", "zuul.tag", false},
        {"", "zuul.tag", false},
        {"{{ zuul.get('tag', '').split('.')[0] }}", "zuul.tag", true},
        {"{{ ['a'] if zuul.tag is defined else ['b'] }}", "zuul.tag", true},
        {"{{ mine }}", "zuul.tag", true},
        {"{{ nested }}", "zuul.branch", true},
        {"{{ nested }}", "zuul.tag", false},
        {"{{ round }}", "zuul.tag", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (template_uses(table[i].text, table[i].variable, &owns) != table[i].uses)
            fail_msg("'%s'", table[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expands),
        cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_values_are_not_templates),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_values_that_do_not_fit),
        cmocka_unit_test(test_growth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
