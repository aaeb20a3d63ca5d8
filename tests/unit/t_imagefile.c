#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imagefile.h"

#include <dirent.h>

/*
 * tests/fixtures/imagefile/valid/x.yaml must give what x.expect says: warnings, then a dump of what
 * was read; invalid/x.yaml must give the findings of x.expect, word for word. With UPDATE_FIXTURES
 * in the environment the .expect files are written instead: read the difference before you keep it.
 */
#define FIXTURES "tests/fixtures/imagefile"

static void add_field(struct strbuf *out, const char *name, const char *value)
{
    if (value)
        (void)strbuf_addf(out, " %s=<%s>", name, value);
}

static void add_list(struct strbuf *out, const char *name, const struct str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        add_field(out, name, list->at[i]);
}

static void show_image(struct strbuf *out, const struct image *image)
{
    (void)strbuf_addf(out, "    image at %u:%u", image->at.line, image->at.column);
    add_field(out, "context", image->context.text);
    add_field(out, "registry", image->registry.text);
    add_field(out, "repository", image->repository.text);
    for (size_t i = 0; i < image->tags.n; i++)
        (void)strbuf_addf(out, " tag=<%s>@%u:%u", image->tags.at[i].text, image->tags.at[i].at.line,
                          image->tags.at[i].at.column);
    if (image->no_tags)
        (void)strbuf_addstr(out, " no-tags");
    add_field(out, "container_filename", image->container_filename);
    add_field(out, "path", image->path);
    add_field(out, "target", image->target);
    add_list(out, "build_arg", &image->build_args);
    add_list(out, "sibling", &image->siblings);
    add_list(out, "label", &image->labels);
    add_list(out, "arch", &image->arch);
    add_field(out, "namespace", image->namespace_);
    add_field(out, "repo_shortname", image->repo_shortname);
    add_field(out, "repo_description", image->repo_description);
    add_field(out, "visibility", image->visibility);
    (void)strbuf_addch(out, '\n');
}

static void show_vars(struct strbuf *out, const struct imagefile_vars *vars)
{
    add_field(out, "api", vars->promote_api);
    add_field(out, "pipeline", vars->promote_pipeline);
    add_field(out, "job", vars->promote_job);
    add_field(out, "query", vars->promote_query);
    add_field(out, "command", vars->container_command);
    add_field(out, "filename", vars->container_filename);
    add_field(out, "work_dir", vars->work_dir);
    add_field(out, "format", vars->format);
    if (vars->submodules || vars->lfs)
        (void)strbuf_addf(out, "%s%s", vars->submodules ? " submodules" : "",
                          vars->lfs ? " lfs" : "");
    for (size_t i = 0; i < vars->build_env.n; i++)
        add_field(out, vars->build_env.at[i].name, vars->build_env.at[i].value);
}

static void show_job(struct strbuf *out, const struct imagefile_job *job)
{
    (void)strbuf_addf(out, "  %s at %u:%u method=%s%s", job_name(job->kind), job->at.line,
                      job->at.column, job->method == PROMOTE_BY_TAG ? "tag" : "intermediate",
                      job->kind != JOB_UPLOAD ? ""
                      : job->direct           ? " direct"
                                              : " staged");
    show_vars(out, &job->vars);
    (void)strbuf_addch(out, '\n');
    if (job->kind == JOB_MIRROR) {
        for (size_t i = 0; i < job->mirrors.n; i++) {
            const struct imagefile_mirror *m = &job->mirrors.at[i];
            (void)strbuf_addf(out, "    %s:%s -> %s:%s (%s)\n", m->src_repository, m->src_tag,
                              m->dest_repositories.n ? m->dest_repositories.at[0] : "-",
                              m->dest_tag, m->dest_registry);
        }
        return;
    }
    for (size_t i = 0; i < job->images.n; i++)
        show_image(out, &job->images.at[i]);
}

static void show_file(struct strbuf *out, const struct imagefile *file)
{
    for (size_t i = 0; i < file->branches.n; i++)
        (void)strbuf_addf(out, "branch <%s>\n", file->branches.at[i].text);
    if (file->container_command)
        (void)strbuf_addf(out, "command %s\n", file->container_command);
    for (size_t i = 0; i < PIPELINE__MAX; i++) {
        const struct imagefile_row *row = &file->pipelines[i];
        if (!row->given && !row->jobs.n)
            continue;
        (void)strbuf_addf(out, "%s (%s)\n", pipeline_name((enum pipeline)i),
                          row->given ? "given" : "default");
        for (size_t j = 0; j < row->jobs.n; j++)
            show_job(out, &row->jobs.at[j]);
    }
}

static char *slurp(const char *path, size_t *len)
{
    struct strbuf b = STRBUF_INIT(MIB(4));
    CLEANUP(cleanup_file) FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    char chunk[4096];
    size_t got;
    while (f && (got = fread(chunk, 1, sizeof chunk, f)) > 0)
        (void)strbuf_add(&b, chunk, got);
    return strbuf_detach(&b, len);
}

static void check_expect(const char *path, const char *got)
{
    if (getenv("UPDATE_FIXTURES")) {
        CLEANUP(cleanup_file) FILE *f = fopen(path, "wb");
        if (!f || fputs(got, f) < 0)
            fail_msg("%s cannot be written", path);
        return;
    }
    size_t len;
    CLEANUP(cleanup_free) char *want = slurp(path, &len);
    if (!str_eq(got, want))
        fail_msg("%s\n--- got\n%s--- want\n%s", path, got, want);
}

static void check_fixture(const char *kind, const char *name, struct arena *a)
{
    const char *path = arena_printf(a, FIXTURES "/%s/%s.yaml", kind, name);
    const char *file = arena_printf(a, "%s.yaml", name);
    size_t len;
    CLEANUP(cleanup_free) char *text = slurp(path, &len);
    struct diags diags = {.arena = a};
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(4));
    const struct imagefile *read = imagefile_parse(file, text, len, &diags);
    diag_format(&diags, &out);
    if ((read != NULL) != str_eq(kind, "valid") || (read != NULL) != (diags.errors == 0))
        fail_msg("%s is %s\n%s", path, read ? "accepted" : "refused", out.buf);
    if (read)
        show_file(&out, read);
    check_expect(arena_printf(a, FIXTURES "/%s/%s.expect", kind, name), out.buf);
}

static size_t check_folder(const char *kind)
{
    struct arena a = ARENA_INIT;
    const char *folder = arena_printf(&a, FIXTURES "/%s", kind);
    DIR *dir = opendir(folder);
    if (!dir)
        fail_msg("%s: run this from the top of the tree", folder);
    size_t n = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (!str_ends(entry->d_name, ".yaml"))
            continue;
        check_fixture(kind, arena_strndup(&a, entry->d_name, strlen(entry->d_name) - 5), &a);
        n++;
    }
    if (dir)
        (void)closedir(dir);
    arena_release(&a);
    return n;
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(check_folder("valid") >= 8);
}

static void test_invalid(void **state)
{
    (void)state;
    assert_true(check_folder("invalid") >= 8);
}

/* The commented sample that people start from must be right, without even a warning. */
static void test_sample(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    size_t len;
    CLEANUP(cleanup_free) char *text = slurp("config/images.example.yaml", &len);
    const struct imagefile *file = imagefile_parse("sample", text, len, &diags);
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(1));
    diag_format(&diags, &out);
    assert_string_equal(out.buf, "");
    assert_non_null(file);
    assert_true(file->images.n > 0);
    arena_release(&a);
}

static const char *first_error(const char *text, struct arena *a)
{
    struct diags diags = {.arena = a};
    return imagefile_parse("f", text, strlen(text), &diags) ? "" : diags.at[0].text;
}

static void test_limits(void **state)
{
    (void)state;
    static const char image[] = "  - {context: a, repository: r.example.org/a}\n";
    struct arena a = ARENA_INIT;
    CLEANUP_STRBUF struct strbuf b = STRBUF_INIT(MIB(1));
    (void)strbuf_addstr(&b, "container_images:\n");
    for (int i = 0; i < LIMIT_IMAGES; i++)
        (void)strbuf_addstr(&b, image);
    assert_string_equal(first_error(b.buf, &a), "");
    (void)strbuf_addstr(&b, image);
    assert_string_equal(first_error(b.buf, &a), "container_images has more than 1000 items");
    strbuf_reset(&b);
    (void)strbuf_addstr(&b, "container_images:\n  - context: a\n    repository: r.example.org/a\n"
                            "    tags:\n");
    for (int i = 0; i < LIMIT_TAGS; i++)
        (void)strbuf_addf(&b, "    - t%d\n", i);
    assert_string_equal(first_error(b.buf, &a), "");
    (void)strbuf_addstr(&b, "    - more\n");
    assert_string_equal(first_error(b.buf, &a), "tags has more than 100 items");
    strbuf_reset(&b);
    (void)strbuf_addstr(&b, "container_images: []\npipelines:\n  gate:\n");
    for (int i = 0; i <= LIMIT_JOBS; i++)
        (void)strbuf_addstr(&b, "  - upload-container-image\n");
    assert_string_equal(first_error(b.buf, &a), "pipeline gate has more than 20 jobs");
    arena_release(&a);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < PIPELINE__MAX; i++) {
        enum pipeline p;
        assert_true(pipeline_from_name(pipeline_name((enum pipeline)i), &p));
        assert_int_equal(p, i);
    }
    for (size_t i = 0; i < JOB__MAX; i++) {
        enum job_kind j;
        assert_true(job_from_name(job_name((enum job_kind)i), &j));
        assert_int_equal(j, i);
    }
    enum pipeline p;
    enum job_kind j;
    assert_false(pipeline_from_name("Gate", &p));
    assert_false(pipeline_from_name(NULL, &p));
    assert_false(job_from_name("build", &j));
    assert_string_equal(pipeline_name(PIPELINE__MAX), "unknown");
    assert_string_equal(job_name(JOB__MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),  cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_sample), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
