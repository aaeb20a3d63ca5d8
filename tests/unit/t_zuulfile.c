#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuulfile.h"

/* Made with Python 3.11 and PyYAML 6.0: str(yaml.safe_load(text)). */
static const struct {
    const char *text, *python;
} scalars[] = {
    {"1", "1"},
    {"0", "0"},
    {"-0", "0"},
    {"+3", "3"},
    {"010", "8"},
    {"0o10", "0o10"},
    {"017", "15"},
    {"08", "08"},
    {"0x1F", "31"},
    {"0b101", "5"},
    {"1_000", "1000"},
    {"1:30", "90"},
    {"-1:30", "-90"},
    {"01:30", "01:30"},
    {"1:90", "1:90"},
    {"190:20:30", "685230"},
    {"1.10", "1.1"},
    {"1.0", "1.0"},
    {"10.0", "10.0"},
    {".5", "0.5"},
    {"-.5", "-.5"},
    {"0.0", "0.0"},
    {"-0.0", "-0.0"},
    {"1e3", "1e3"},
    {"1.5e3", "1.5e3"},
    {"1.5e+3", "1500.0"},
    {"1.0e+16", "1e+16"},
    {"1.0e+15", "1000000000000000.0"},
    {"123456789.123", "123456789.123"},
    {"0.0001", "0.0001"},
    {"0.00001", "1e-05"},
    {"1.0e-7", "1e-07"},
    {"1:30.5", "90.5"},
    {".inf", "inf"},
    {"-.inf", "-inf"},
    {".NaN", "nan"},
    {"yes", "True"},
    {"No", "False"},
    {"ON", "True"},
    {"off", "False"},
    {"true", "True"},
    {"FALSE", "False"},
    {"y", "y"},
    {"n", "n"},
    {"~", NULL},
    {"null", NULL},
    {"Null", NULL},
    {"2026-01-05", "2026-01-05"},
    {"2026-1-5", "2026-1-5"},
    {"2025.1", "2025.1"},
    {"2026.10", "2026.1"},
    {"3.9", "3.9"},
    {"3.10", "3.1"},
    {"1.2.3", "1.2.3"},
    {"v1", "v1"},
    {"latest", "latest"},
    {"12345678901234567890", "12345678901234567890"},
    {"99999999999999999999", "99999999999999999999"},
    {"0xFFFFFFFFFFFFFFFF", "18446744073709551615"},
    {"1__0", "10"},
    {"1_", "1"},
    {"1.5_0", "1.5"},
    {"685_230.15", "685230.15"},
    {"6.8523015e+5", "685230.15"},
    {"+.5", "+.5"},
    {"0.", "0.0"},
    {"1.", "1.0"},
    {"20:30.15", "1230.15"},
    {"0:0", "0:0"},
    {"0123", "83"},
    {"0888", "0888"},
    {"-010", "-8"},
    {"1.7976931348623157e+308", "1.7976931348623157e+308"},
    {"4.9406564584124654e-324", "5e-324"},
    {"0.1", "0.1"},
    {"0.30000000000000004", "0.30000000000000004"},
    {"1.e+3", "1000.0"},
};

static void test_texts(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        const char *line = arena_printf(&a, "- %s\n- '%s'\n", scalars[i].text, scalars[i].text);
        const struct yml_node *list = yml_parse_last("f", line, strlen(line), &diags);
        assert_non_null(list);
        const char *got = zuulfile_text(list->items[0], &a);
        if (!str_eq(got, scalars[i].python))
            fail_msg("%s is %s, not %s", scalars[i].text, got, scalars[i].python);
        assert_string_equal(zuulfile_text(list->items[1], &a), scalars[i].text);
    }
}

/* ---- which files ----------------------------------------------------------------------------- */

static const char *joined(const struct str_list *list, struct arena *a)
{
    const char *all = "";
    for (size_t i = 0; i < list->n; i++)
        all = arena_printf(a, "%s%s%s", all, i ? " " : "", list->at[i]);
    return all;
}

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        const char *tree, *chosen;
    } table[] = {
        {"README .zuul.yaml zuul.yaml", "zuul.yaml"},
        {".zuul.yaml .zuul.d/a.yaml", ".zuul.yaml"},
        {"zuul.d/b.yaml zuul.d/a.yaml .zuul.yaml", "zuul.d/a.yaml zuul.d/b.yaml"},
        {"zuul.d/notes.txt .zuul.yaml", ".zuul.yaml"},
        {"zuul.d/x/b.yaml zuul.d/c.yaml zuul.d/x/y/a.yaml",
         "zuul.d/c.yaml zuul.d/x/b.yaml zuul.d/x/y/a.yaml"},
        {"zuul.d/x/.zuul.ignore zuul.d/x/b.yaml zuul.d/x/y/a.yaml zuul.d/xb.yaml",
         "zuul.d/xb.yaml"},
        {"sub/zuul.yaml zuul.yml", ""},
        {".zuul.d/one.yaml", ".zuul.d/one.yaml"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct str_list tree = str_split(&a, table[i].tree, ' ');
        struct str_list got = zuulfile_choose(&tree, &a);
        assert_string_equal(joined(&got, &a), table[i].chosen);
    }
}

/* ---- stanzas --------------------------------------------------------------------------------- */

static bool read_one(const char *text, struct zuulfile *out, struct diags *diags)
{
    *out = (struct zuulfile){0};
    return zuulfile_read("zuul.yaml", "main", text, strlen(text), out, diags);
}

static void test_stanzas(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    struct zuulfile f;
    assert_true(read_one("---\n"
                         "# a comment\n"
                         "- queue:\n"
                         "    name: integrated\n"
                         "- secret:\n"
                         "    name: registry\n"
                         "    data:\n"
                         "      password: !encrypted/pkcs1-oaep\n"
                         "      - abc\n"
                         "      - def\n"
                         "- job:\n"
                         "    name: paint:app\n"
                         "    parent: build-container-image\n"
                         "    abstract: yes\n"
                         "    branches: main\n"
                         "    files: &paint-files\n"
                         "    - app/.*\n"
                         "    - {regex: doc/, negate: true}\n"
                         "    vars: &id001\n"
                         "      container_images:\n"
                         "        -\n"
                         "          &one\n"
                         "          context: app\n"
                         "          tags: 1.10\n"
                         "        - <<: *one\n"
                         "          context: other\n"
                         "- job:\n"
                         "    name: hang\n"
                         "    parent: null\n"
                         "    irrelevant-files: *paint-files\n"
                         "    vars: *id001\n"
                         "- project-template:\n"
                         "    name: gallery\n"
                         "    check: &checks\n"
                         "      jobs: [paint:app]\n"
                         "    gate: *checks\n"
                         "- project:\n"
                         "    name: 2024\n"
                         "    merge-mode: squash-merge\n"
                         "    templates: gallery\n"
                         "    vars: {colour: red}\n"
                         "    promote:\n"
                         "      fail-fast: true\n"
                         "      jobs:\n"
                         "        - hang\n"
                         "        - paint:app:\n"
                         "            branches: ['^stable/.*']\n"
                         "            vars:\n"
                         "              colour: blue\n"
                         "              colour: green\n"
                         "- project:\n",
                         &f, &diags));
    assert_int_equal(f.jobs.n, 2);
    const struct zuul_job_stanza *paint = &f.jobs.at[0], *hang = &f.jobs.at[1];
    assert_string_equal(paint->name, "paint:app");
    assert_string_equal(paint->parent, "build-container-image");
    assert_true(paint->abstract && paint->branches.given && !paint->irrelevant_files.given);
    assert_int_equal(paint->files.n, 2);
    assert_string_equal(paint->files.at[1].regex, "doc/");
    assert_true(paint->files.at[1].negate && !paint->files.at[0].negate);
    assert_string_equal(paint->branch, "main");
    assert_int_equal(paint->at.line, 12);
    assert_true(hang->has_parent && !hang->parent && hang->vars == paint->vars);
    const struct yml_node *images = yml_get(hang->vars, "container_images");
    assert_int_equal(images->n, 2);
    assert_string_equal(yml_get(images->items[1], "context")->text, "other");
    assert_string_equal(zuulfile_text(yml_get(images->items[1], "tags"), &a), "1.1");
    assert_int_equal(f.templates.n, 1);
    assert_int_equal(f.templates.at[0].pipelines.n, 2);
    assert_int_equal(f.projects.n, 1);
    const struct zuul_project_stanza *project = &f.projects.at[0];
    assert_string_equal(project->name, "2024");
    assert_string_equal(joined(&project->templates, &a), "gallery");
    assert_int_equal(project->pipelines.n, 1);
    const struct zuul_pipeline *promote = &project->pipelines.at[0];
    assert_string_equal(promote->name, "promote");
    assert_int_equal(promote->jobs.n, 2);
    assert_null(promote->jobs.at[0].vars);
    assert_string_equal(yml_get(promote->jobs.at[1].vars, "colour")->text, "green");
    assert_int_equal(diags.n, 0);
}

static void test_says_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",        "# only this\n", "---\n",
                                        "--- ~\n", "[]\n",          "- nodeset: {name: x}\n"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    struct zuulfile f;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_true(read_one(texts[i], &f, &diags));
        assert_int_equal(f.jobs.n + f.projects.n + f.templates.n + diags.n, 0);
    }
}

/* What is wrong is said with its place, and the rest of the file is read. */
static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        size_t jobs, line, column;
    } table[] = {
        {"a: 1\n", "the file must be a list", 0, 1, 1},
        {"- job\n", "one stanza", 0, 1, 3},
        {"- {job: {name: a}, project: {}}\n", "one stanza", 0, 1, 3},
        {"- job: 5\n", "job must be", 0, 1, 8},
        {"- job: {parent: x}\n- job: {name: b}\n", "a job needs a name", 1, 1, 8},
        {"- job:\n    name: [a]\n", "name must be a text", 0, 2, 11},
        {"- job: {name: a, abstract: maybe}\n", "abstract must be", 0, 1, 28},
        {"- job: {name: a, files: [{negate: true}]}\n", "a map with `regex`", 0, 1, 26},
        {"- job: {name: a, files: [[b]]}\n", "files must be a text", 0, 1, 26},
        {"- job: {name: a, vars: [b]}\n", "vars must be", 0, 1, 24},
        {"- project-template: {check: {jobs: []}}\n", "needs a name", 0, 1, 21},
        {"- project: {gate: {jobs: [{a: {}, b: {}}]}}\n", "here are 2", 0, 1, 27},
        {"- project: {gate: {jobs: [{a: 5}]}}\n", "what a job is given must be", 0, 1, 31},
        {"- job: {name: a}\n--- \n- job: {name: b}\n", "a second document", 0, 2, 1},
        {"- job: {name: *no}\n", "no", 0, 1, 15},
        {"- job: {name: a\n", "", 0, 2, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct diags diags = {.arena = &a};
        struct zuulfile f;
        assert_false(read_one(table[i].text, &f, &diags));
        assert_true(diags.errors > 0);
        if (!strstr(diags.at[0].text, table[i].says) || diags.at[0].line != table[i].line ||
            diags.at[0].column != table[i].column || f.jobs.n != table[i].jobs)
            fail_msg("%zu: %u:%u: %s (%zu jobs)", i, diags.at[0].line, diags.at[0].column,
                     diags.at[0].text, f.jobs.n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_choice),
        cmocka_unit_test(test_stanzas), cmocka_unit_test(test_says_nothing),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
