#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuulfile.h"

#include <time.h>

/*
 * tests/fixtures/zuul/x.yaml must give what x.expect says: a dump of what was read. With
 * UPDATE_FIXTURES in the environment the .expect files are written instead: read the difference
 * before you keep it.
 */
#define FIXTURES "tests/fixtures/zuul"

static void show_value(struct strbuf *out, const struct yml_node *n, struct arena *a)
{
    if (n->type == YML_SCALAR) {
        const char *text = zuulfile_text(n, a);
        (void)strbuf_addf(out, text ? "<%s>" : "null", text);
        return;
    }
    (void)strbuf_addch(out, n->type == YML_SEQ ? '[' : '{');
    for (size_t i = 0; i < n->n; i++) {
        (void)strbuf_addstr(out, i ? ", " : "");
        if (n->type == YML_MAP)
            (void)strbuf_addf(out, "%s: ", n->pairs[i].key->text);
        show_value(out, n->type == YML_MAP ? n->pairs[i].value : n->items[i], a);
    }
    (void)strbuf_addch(out, n->type == YML_SEQ ? ']' : '}');
}

static void show_matchers(struct strbuf *out, const char *name, const struct zuul_matchers *list)
{
    if (list->given)
        (void)strbuf_addf(out, " %s(", name);
    list_each (const struct zuul_matcher, m, list)
        (void)strbuf_addf(out, " %s<%s>@%u:%u", m->negate ? "not " : "", m->regex, m->at.line,
                          m->at.column);
    (void)strbuf_addstr(out, list->given ? " )" : "");
}

static void show_job(struct strbuf *out, const struct zuul_job_stanza *job, struct arena *a)
{
    (void)strbuf_addf(out, "job <%s> at %u:%u", job->name, job->at.line, job->at.column);
    if (job->has_parent)
        (void)strbuf_addf(out, job->parent ? " parent <%s>" : " no parent", job->parent);
    (void)strbuf_addstr(out, job->abstract ? " abstract" : "");
    show_matchers(out, "branches", &job->branches);
    show_matchers(out, "files", &job->files);
    show_matchers(out, "irrelevant-files", &job->irrelevant_files);
    (void)strbuf_addch(out, '\n');
    if (!job->vars)
        return;
    (void)strbuf_addstr(out, "    ");
    show_value(out, job->vars, a);
    (void)strbuf_addch(out, '\n');
}

static void show_project(struct strbuf *out, const char *what,
                         const struct zuul_project_stanza *project, struct arena *a)
{
    (void)strbuf_addf(out, "%s %s at %u:%u", what, project->name ? project->name : "here",
                      project->at.line, project->at.column);
    for (size_t i = 0; i < project->templates.n; i++)
        (void)strbuf_addf(out, " template <%s>", project->templates.at[i]);
    if (project->vars) {
        (void)strbuf_addch(out, ' ');
        show_value(out, project->vars, a);
    }
    (void)strbuf_addch(out, '\n');
    list_each (const struct zuul_pipeline, pipeline, &project->pipelines) {
        (void)strbuf_addf(out, "  %s at %u:%u\n", pipeline->name, pipeline->at.line,
                          pipeline->at.column);
        list_each (const struct zuul_job_stanza, job, &pipeline->jobs) {
            (void)strbuf_addstr(out, "  ");
            show_job(out, job, a);
        }
    }
}

static char *show(const struct zuulfile *file, const struct diags *diags, struct arena *a)
{
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(1));
    list_each (const struct zuul_job_stanza, job, &file->jobs)
        show_job(&out, job, a);
    list_each (const struct zuul_project_stanza, template, &file->templates)
        show_project(&out, "template", template, a);
    list_each (const struct zuul_project_stanza, project, &file->projects)
        show_project(&out, "project", project, a);
    diag_format(diags, &out);
    return strbuf_to_arena(&out, a);
}

static char *slurp(const char *path, struct arena *a)
{
    CLEANUP_STRBUF struct strbuf b = STRBUF_INIT(MIB(1));
    CLEANUP(cleanup_file) FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    char chunk[4096];
    size_t got;
    while (f && (got = fread(chunk, 1, sizeof chunk, f)) > 0)
        (void)strbuf_add(&b, chunk, got);
    return strbuf_to_arena(&b, a);
}

static void test_fixtures(void **state)
{
    (void)state;
    static const char *const names[] = {"anchors", "generated", "projects"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct arena a = ARENA_INIT;
        struct diags diags = {.arena = &a};
        struct zuulfile file = {0};
        const char *text = slurp(arena_printf(&a, FIXTURES "/%s.yaml", names[i]), &a);
        assert_true(zuulfile_read("f", "main", text, strlen(text), &file, &diags));
        const char *path = arena_printf(&a, FIXTURES "/%s.expect", names[i]);
        const char *got = show(&file, &diags, &a);
        if (getenv("UPDATE_FIXTURES")) {
            CLEANUP(cleanup_file) FILE *f = fopen(path, "wb");
            assert_true(f && fputs(got, f) >= 0);
        }
        const char *want = slurp(path, &a);
        if (!str_eq(got, want))
            fail_msg("%s\n--- got\n%s--- want\n%s", path, got, want);
        arena_release(&a);
    }
}

struct row {
    const char *text, *result;
};

static void check_rows(const struct row *rows, size_t n, bool fine)
{
    for (size_t i = 0; i < n; i++) {
        struct arena a = ARENA_INIT;
        struct diags diags = {.arena = &a};
        struct zuulfile file = {0};
        bool ok = zuulfile_read("f", NULL, rows[i].text, strlen(rows[i].text), &file, &diags);
        const char *got = show(&file, &diags, &a);
        if (!str_eq(got, rows[i].result) || ok != fine || (diags.errors > 0) == fine)
            fail_msg("---\n%s--- gave (%s)\n%s--- not\n%s", rows[i].text, ok ? "true" : "false",
                     got, rows[i].result);
        arena_release(&a);
    }
}

static void test_python_is_lenient(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* Of several same keys the last one counts, also where the first two are merge keys. */
        {"- job: {name: a, vars: {x: 1, y: 2, x: 3, x: 4}}\n",
         "job <a> at 1:8\n    {y: <2>, x: <4>}\n"},
        {"- job:\n    name: a\n    vars:\n      <<: {x: 1, y: 1}\n      <<: {y: 2, z: 2}\n"
         "      z: 3\n",
         "job <a> at 2:5\n    {z: <3>, y: <2>, x: <1>}\n"},
        {"- job: {name: a, vars: {<<: [{x: 1}, {x: 2}], <<: {y: 1}}}\n",
         "job <a> at 1:8\n    {y: <1>, x: <1>}\n"},
        {"- job: {<<: {name: old}, name: a}\n- job: {<<: {name: b}}\n",
         "job <a> at 1:8\njob <b> at 2:8\n"},
        {"- <<: {job: {name: a}}\n", "job <a> at 1:13\n"},
        /* Empty files, however empty. */
        {"", ""},
        {"\xEF\xBB\xBF", ""},
        {"\xEF\xBB\xBF# x\n", ""},
        {"--- # x\n...\n", ""},
        {"null\n", ""},
        /* An empty text is no matcher, and an empty name of a project is none. */
        {"- job: {name: a, files: '', branches: []}\n", "job <a> at 1:8 branches( ) files( )\n"},
        {"- project: {name: ''}\n", "project here at 1:12\n"},
        {"- job: {name: a, files: !override b}\n", "job <a> at 1:8 files( <b>@1:25 )\n"},
        {"- job: {name: a, irrelevant-files: !inherit [b]}\n",
         "job <a> at 1:8 irrelevant-files( <b>@1:46 )\n"},
        {"- job: {name: a, vars: !override {x: !inherit [1]}}\n",
         "job <a> at 1:8\n    {x: [<1>]}\n"},
    };
    check_rows(rows, ARRAY_LEN(rows), true);
}

static void test_broken_are_left_out(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* An alias of what was reported is no better for being reported once. */
        {"- job: &j {name: a, files: [[b]]}\n- job: *j\n- job: {name: c}\n",
         "job <c> at 3:8\nf:1:29: error: files must be a text\n"},
        {"- job: {name: a, vars: &v [x]}\n- job: {name: b, vars: *v}\n",
         "f:1:24: error: vars must be a map (key: value), but is a list\n"},
        {"- project: {gate: &p {jobs: [{a: {abstract: 2}}, b]}, check: *p}\n",
         "project here at 1:12\n  gate at 1:13\n  job <b> at 1:50\n  check at 1:55\n"
         "  job <b> at 1:50\nf:1:45: error: abstract must be true or false\n"},
        {"- project: {name: a, vars: [x], gate: {jobs: [b]}}\n- project: {name: c}\n",
         "project c at 2:12\nf:1:28: error: vars must be a map (key: value), but is a list\n"},
        {"- project: {name: [a], gate: {jobs: [b]}}\n", "f:1:19: error: name must be a text\n"},
        {"- project: {templates: [a, [b]], gate: {jobs: [b]}}\n",
         "f:1:28: error: a template's name must be a text\n"},
        {"- project-template: {name: {a: b}}\n", "f:1:28: error: name must be a text\n"},
        {"- job: {name: a, parent: [b]}\n", "f:1:26: error: parent must be a text\n"},
        {"- job: {name: a, branches: {regex: b, negate: x}}\n",
         "f:1:47: error: negate must be true or false\n"},
        {"- job: {name: a, branches: {regex: b, negat: true}}\n",
         "f:1:39: error: unknown key 'negat'; did you mean 'negate'?\n"},
        /* A job that would be called nothing. */
        {"- job: {name: ''}\n", "f:1:15: error: name must not be empty\n"},
        {"- project: {gate: {jobs: ['']}}\n",
         "project here at 1:12\n  gate at 1:13\nf:1:27: error: a job's name must not be empty\n"},
    };
    check_rows(rows, ARRAY_LEN(rows), false);
}

static void test_not_yaml(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } table[] = {
        {"\0", 1},         {"\n\0\n", 3}, {"# \0\n", 4}, {"\xff\xfe", 2}, {"- job: {{ x }}\n", 15},
        {"# \x1b[2J\n", 7}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a = ARENA_INIT;
        struct diags diags = {.arena = &a};
        struct zuulfile file = {0};
        if (zuulfile_read("f", NULL, table[i].text, table[i].len, &file, &diags))
            fail_msg("text %zu was taken", i);
        assert_int_not_equal(diags.errors, 0);
        assert_int_equal(file.jobs.n, 0);
        arena_release(&a);
    }
}

/* What was read outlives the names it was read by. */
static void test_own_names(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    struct zuulfile file = {0};
    char path[] = "zuul.d/a.yaml", branch[] = "main";
    static const char text[] = "- job: {name: a}\n- project: {gate: {jobs: [a]}}\n";
    assert_true(zuulfile_read(path, branch, text, strlen(text), &file, &diags));
    memset(path, 'x', sizeof path - 1);
    memset(branch, 'x', sizeof branch - 1);
    assert_string_equal(file.jobs.at[0].at.file, "zuul.d/a.yaml");
    assert_string_equal(file.jobs.at[0].branch, "main");
    assert_string_equal(file.projects.at[0].branch, "main");
    assert_string_equal(file.projects.at[0].pipelines.at[0].jobs.at[0].branch, "main");
    arena_release(&a);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* Folders to pass over, folders in them, and names that only begin like theirs. */
static void test_very_many_paths(void **state)
{
    (void)state;
    enum { many = 30000 };
    struct arena a = ARENA_INIT;
    struct str_list paths = {0};
    for (int i = 0; i < many; i++) {
        *list_push(&a, &paths) = arena_printf(&a, "zuul.d/f%05d/.zuul.ignore", i);
        *list_push(&a, &paths) = arena_printf(&a, "zuul.d/f%05d/-a/b.yaml", i);
        *list_push(&a, &paths) = arena_printf(&a, "zuul.d/f%05d/c/.zuul.ignore", i);
        *list_push(&a, &paths) = arena_printf(&a, "zuul.d/f%05d/d.yaml", i);
        *list_push(&a, &paths) = arena_printf(&a, "zuul.d/f%05d-x/e.yaml", many - i - 1);
    }
    struct timespec start;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    struct str_list got = zuulfile_choose(&paths, &a);
    assert_true(seconds_since(&start) < 2);
    assert_int_equal(got.n, many);
    for (int i = 0; i < many; i++) {
        char want[64];
        (void)snprintf(want, sizeof want, "zuul.d/f%05d-x/e.yaml", i);
        assert_string_equal(got.at[i], want);
    }
    arena_release(&a);
}

/* A folder that is passed over as a whole is as good as none. */
static void test_ignored_choice(void **state)
{
    (void)state;
    static const struct row table[] = {
        {"zuul.d/.zuul.ignore zuul.d/a.yaml .zuul.yaml", ".zuul.yaml"},
        {"zuul.d/x/.zuul.ignore zuul.d/x/a.yaml .zuul.d/b.yaml", ".zuul.d/b.yaml"},
        {"zuul.d/x/not.zuul.ignore zuul.d/x/a.yaml", "zuul.d/x/a.yaml"},
        {".zuul.ignore zuul.d/a.yaml", "zuul.d/a.yaml"},
        {"x/.zuul.ignore zuul.d/x/a.yaml", "zuul.d/x/a.yaml"},
        {"zuul.d/a.yml zuul.d/b.yaml.j2 .zuul.d/B.yaml .zuul.d/a.yaml",
         ".zuul.d/B.yaml .zuul.d/a.yaml"},
        {"zuul.dd/a.yaml zuul.yaml/a.yaml", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a = ARENA_INIT;
        struct str_list paths = str_split(&a, table[i].text, ' ');
        struct str_list got = zuulfile_choose(&paths, &a);
        const char *all = "";
        for (size_t n = 0; n < got.n; n++)
            all = arena_printf(&a, "%s%s%s", all, n ? " " : "", got.at[n]);
        assert_string_equal(all, table[i].result);
        arena_release(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_python_is_lenient),
        cmocka_unit_test(test_broken_are_left_out),
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_own_names),
        cmocka_unit_test(test_very_many_paths),
        cmocka_unit_test(test_ignored_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
