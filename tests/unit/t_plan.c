#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/plan.h"
#include "core/lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define REG "registry.example.org"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define STAGED "fedcba9876543210fedcba9876543210fedcba98"

/* A scene is everything that a plan is made from; each test changes one thing in it. */
struct scene {
    struct arena arena;
    struct event event;
    struct imagefile file;
    struct policy_project policy;
    struct plan_input in;
    struct plan plan;
    struct pattern *patterns[32];
    size_t n;
    char text[8192]; /* plan_print */
};

static bool knows(const void *ctx, const char *host)
{
    (void)ctx;
    return str_eq(host, REG) || str_eq(host, "other.example.org:5000");
}

static void add_pattern(struct scene *s, struct pattern_list *list, const char *text)
{
    struct err err = ERR_INIT;
    struct pattern *p = pattern_compile(text, &err);
    assert_non_null(p);
    s->patterns[s->n++] = p;
    *list_push(&s->arena, list) = p;
}

static struct image_text at_line(unsigned line, const char *text)
{
    return (struct image_text){text, {".slipway.yaml", line, 3}};
}

/* tags: separated by blanks, NULL: `tags: []`; '~' stands for a blank within one. */
static struct image *add_image(struct scene *s, struct image_list *list, const char *context,
                               const char *repository, const char *tags)
{
    struct image *image = list_push(&s->arena, list);
    unsigned line = (unsigned)list->n * 10;
    image->at = at_line(line, "").at;
    image->context = at_line(line, context);
    image->registry = at_line(line + 1, REG);
    image->repository = at_line(line + 2, repository);
    image->no_tags = !tags;
    if (!tags)
        return image;
    struct str_list parts = str_split(&s->arena, tags, ' ');
    for (size_t i = 0; i < parts.n; i++) {
        char *tag = arena_strdup(&s->arena, parts.at[i]);
        for (char *p = tag; *p; p++)
            if (*p == '~')
                *p = ' ';
        *list_push(&s->arena, &image->tags) = at_line(line + 3, tag);
    }
    return image;
}

static struct imagefile_job *add_job(struct scene *s, enum pipeline p, enum job_kind kind)
{
    struct imagefile_row *row = &s->file.pipelines[p];
    struct imagefile_job *job = list_push(&s->arena, &row->jobs);
    job->kind = kind;
    job->at = at_line(100 + (unsigned)p, "").at;
    job->images = s->file.images;
    return job;
}

static void default_rows(struct scene *s)
{
    (void)add_job(s, PIPELINE_CHECK, JOB_BUILD);
    (void)add_job(s, PIPELINE_GATE, JOB_UPLOAD);
    (void)add_job(s, PIPELINE_PROMOTE, JOB_PROMOTE);
    add_job(s, PIPELINE_TAG, JOB_UPLOAD)->direct = true;
    add_job(s, PIPELINE_RELEASE, JOB_UPLOAD)->direct = true;
}

static void given_row(struct scene *s, enum pipeline p)
{
    s->file.pipelines[p] = (struct imagefile_row){.given = true};
}

/* Two images as in the smallest file of the design, a permissive policy, a merge on main. */
static struct scene *new_scene(enum event_kind kind)
{
    struct scene *s = xcalloc(1, sizeof *s);
    s->event = (struct event){
        .kind = kind,
        .forge = "review",
        .project = "team/app",
        .branch = "main",
        .change = "7",
        .patchset = "2",
        .list_commit = COMMIT,
        .order_commit = COMMIT,
        .staged_commit = STAGED,
    };
    if (kind == EVENT_TAG) {
        s->event.branch = s->event.change = NULL;
        s->event.tag = "v1.2.3";
    }
    if (kind == EVENT_BRANCH)
        s->event.change = NULL;
    s->file.file = ".slipway.yaml";
    add_image(s, &s->file.images, "app", REG "/team/app", "latest");
    add_image(s, &s->file.images, "tools", "team/tools", "{{~zuul.tag~|~default('latest')~}}");
    default_rows(s);
    s->policy.forge = "review";
    add_pattern(s, &s->policy.may_publish, REG "/team/*");
    for (int p = PIPELINE_PROMOTE; p < PIPELINE__MAX; p++)
        s->policy.may_build[p] = true;
    s->in = (struct plan_input){
        .event = &s->event, .file = &s->file, .policy = &s->policy, .knows_registry = knows};
    return s;
}

static void make(struct scene *s)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(sizeof s->text - 1);
    plan_make(&s->in, &s->arena, &s->plan);
    assert_non_null(s->plan.reason);
    plan_print(&s->plan, &s->event, &out);
    assert_false(out.full);
    memcpy(s->text, out.buf, out.len + 1);
}

static void free_scene(struct scene *s)
{
    for (size_t i = 0; i < s->n; i++)
        pattern_free(s->patterns[i]);
    arena_release(&s->arena);
    free(s);
}

static void expect(struct scene *s, enum plan_verdict verdict, const char *text)
{
    make(s);
    if (s->plan.verdict != verdict || (text && !strstr(s->text, text)))
        fail_msg("verdict %d, want %d with \"%s\"; plan:\n%s", (int)s->plan.verdict, (int)verdict,
                 text, s->text);
    if (verdict == PLAN_NOTHING || verdict == PLAN_REFUSED)
        assert_int_equal(s->plan.cleaned.n, 0);
    if (verdict == PLAN_NOTHING)
        assert_int_equal(s->plan.tags.n, 0);
    free_scene(s);
}

/* ---- the promote flow, whole ---- */

static void test_merge(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    make(s);
    assert_string_equal(
        s->text, "review team/app: merged change 7 branch main at 0123456789ab, pipeline promote\n"
                 "go: 2 tags to publish\n"
                 "\n"
                 "publish:\n"
                 "  registry.example.org/team/app:change_7_latest   -> "
                 "registry.example.org/team/app:latest\n"
                 "  registry.example.org/team/tools:change_7_latest -> "
                 "registry.example.org/team/tools:latest\n"
                 "\n"
                 "cleaned up afterwards:\n"
                 "  registry.example.org/team/app:change_7_latest    promoted to latest "
                 "[.slipway.yaml:13:3]\n"
                 "  registry.example.org/team/tools:change_7_latest  promoted to latest "
                 "[.slipway.yaml:23:3]\n");
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_int_equal(s->plan.tags.at[0].source, PLAN_FROM_STAGED);
    assert_string_equal(s->plan.tags.at[1].registry, REG);
    assert_string_equal(s->plan.tags.at[1].name, "team/tools");
    assert_false(s->plan.tags.at[0].immutable);
    assert_false(s->plan.shadow);
    free_scene(s);
}

static void test_json(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    add_image(s, &s->file.images, "extra", "team/extra", "{{~zuul.tag~}} x");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    make(s);
    struct err err = ERR_INIT;
    const char *text = plan_to_json(&s->plan, &s->event, &s->arena);
    struct js *v CLEANUP_JS = js_parse(text, strlen(text), &err);
    assert_non_null(v);
    assert_int_equal(js_int(v, "version", 0), 1);
    assert_string_equal(js_str(v, "verdict"), "go");
    assert_string_equal(js_str(v, "pipeline"), "promote");
    assert_int_equal(js_len(js_get(v, "tags")), 3);
    assert_string_equal(js_str(js_at(js_get(v, "tags"), 0), "staged_tag"), "change_7_latest");
    assert_int_equal(js_len(js_get(v, "skipped")), 1);
    assert_string_equal(js_str(js_at(js_get(v, "skipped"), 0), "why"),
                        "zuul.tag is not defined for a merge");
    assert_int_equal(js_int(js_at(js_get(v, "skipped"), 0), "line", 0), 33);
    free_scene(s);
}

/* ---- nothing to do ---- */

static void test_nothing(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->in.policy = NULL;
    expect(s, PLAN_NOTHING,
           "nothing: no entry of `projects` matches review team/app: nothing is done for it\n");
    s = new_scene(EVENT_MERGED);
    s->in.file = NULL;
    expect(s, PLAN_NOTHING, "nothing: no .slipway.yaml at " COMMIT "\n");
    static const enum event_kind none[] = {EVENT_STAGED, EVENT_BRANCH_DELETED, EVENT_TAG_DELETED};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        expect(new_scene(none[i]), PLAN_NOTHING, "publishes nothing");
    expect(new_scene(EVENT_BRANCH), PLAN_NOTHING, ".slipway.yaml has no jobs for pipeline post");
    s = new_scene(EVENT_MERGED);
    given_row(s, PIPELINE_PROMOTE);
    expect(s, PLAN_NOTHING, "has no jobs for pipeline promote");
    s = new_scene(EVENT_MERGED);
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images.n = 0;
    expect(s, PLAN_NOTHING, "lists no images");
    expect(new_scene(EVENT_OPENED), PLAN_NOTHING,
           "build-container-image: policy does not let this project build in check (may_build)");
    expect(new_scene(EVENT_GATED), PLAN_NOTHING,
           "upload-container-image: policy does not let this project build in gate (may_build)");
    s = new_scene(EVENT_OPENED);
    s->policy.may_build[PIPELINE_CHECK] = true;
    expect(s, PLAN_NOTHING, "it only builds: it publishes nothing");
}

static const struct {
    const char *branch, *repository, *policy, *default_branch, *says; /* says NULL: go */
} branch_rows[] = {
    {"main", NULL, NULL, NULL, NULL},
    {"master", NULL, NULL, NULL, NULL},
    {"mainx", NULL, NULL, NULL, "branch mainx is not the default branch (main or master)"},
    {"main", NULL, NULL, "devel", "branch main is not the default branch (devel)"},
    {"devel", NULL, NULL, "devel", NULL},
    {"stable", "^stab.*", NULL, NULL, NULL},
    {"main", "^stab.*", NULL, "main", "branch main is not among the `branches` of .slipway.yaml"},
    {"main", NULL, "release/*", NULL,
     "the operator's policy does not take branch main (branches: release/*)"},
    {"release/a/b", "**", "release/*", NULL, "the operator's policy does not take branch"},
    {"release/a", "**", "release/*", NULL, NULL},
    {NULL, NULL, NULL, NULL, "does not say which branch"},
    {"", "**", NULL, NULL, "does not say which branch"},
};

static void test_branches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(branch_rows); i++) {
        struct scene *s = new_scene(EVENT_MERGED);
        s->event.branch = branch_rows[i].branch;
        s->in.default_branch = branch_rows[i].default_branch;
        if (branch_rows[i].repository)
            *list_push(&s->arena, &s->file.branches) = at_line(2, branch_rows[i].repository);
        if (branch_rows[i].policy)
            add_pattern(s, &s->policy.branches, branch_rows[i].policy);
        expect(s, branch_rows[i].says ? PLAN_NOTHING : PLAN_GO, branch_rows[i].says);
    }
    struct scene *s = new_scene(EVENT_MERGED);
    *list_push(&s->arena, &s->file.branches) = at_line(2, "**");
    *list_push(&s->arena, &s->file.branches) = at_line(3, "^(");
    expect(s, PLAN_REFUSED, "[.slipway.yaml:3:3]");
    s = new_scene(EVENT_MERGED);
    s->event.default_branch = "trunk";
    expect(s, PLAN_NOTHING, "is not the default branch (trunk)");
}

/* ---- tags ---- */

static void test_tag_and_release(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_TAG);
    make(s);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_int_equal(s->plan.pipeline, PIPELINE_TAG);
    assert_int_equal(s->plan.tags.n, 1); /* tag and release ask for the same thing */
    assert_string_equal(s->plan.tags.at[0].tag, "v1.2.3");
    assert_int_equal(s->plan.tags.at[0].source, PLAN_FROM_BUILD);
    assert_true(s->plan.tags.at[0].immutable);
    assert_int_equal(s->plan.skipped.n, 1);
    assert_non_null(strstr(s->text, "app (tag latest)  it does not depend on zuul.tag: a git tag "
                                    "does not move it"));
    assert_int_equal(s->plan.cleaned.n, 0);
    free_scene(s);

    s = new_scene(EVENT_TAG);
    given_row(s, PIPELINE_TAG);
    given_row(s, PIPELINE_RELEASE);
    (void)add_job(s, PIPELINE_TAG, JOB_PROMOTE);
    make(s);
    assert_int_equal(s->plan.tags.n, 2); /* a written row moves literal tags, too */
    assert_int_equal(s->plan.tags.at[0].source, PLAN_FROM_PUBLISHED);
    assert_null(s->plan.tags.at[0].staged_tag);
    assert_false(s->plan.tags.at[0].immutable);
    assert_non_null(strstr(s->text, "  what is published for this commit -> "));
    free_scene(s);

    s = new_scene(EVENT_TAG);
    given_row(s, PIPELINE_RELEASE);
    (void)add_job(s, PIPELINE_RELEASE, JOB_PROMOTE);
    expect(s, PLAN_REFUSED, "two publications for one tag: the image at line 20 (tools)");

    s = new_scene(EVENT_TAG); /* no release: the release row is not looked at */
    s->event.tag = "v1.2.3-rc1";
    given_row(s, PIPELINE_RELEASE);
    (void)add_job(s, PIPELINE_RELEASE, JOB_PROMOTE);
    expect(s, PLAN_GO, "tools:v1.2.3-rc1 (immutable)");

    s = new_scene(EVENT_TAG);
    add_pattern(s, &s->policy.git_tags, "v2*");
    expect(s, PLAN_NOTHING, "the operator's policy does not take git tag v1.2.3 (git_tags: v2*)");
    s = new_scene(EVENT_TAG);
    s->event.tag = NULL;
    expect(s, PLAN_NOTHING, "does not say which git tag");
}

static const struct {
    const char *git_tag;
    bool release, immutable;
} tag_rows[] = {
    {"1", true, false},      {"v1.2", true, false},     {"1.2.3", true, true},
    {"v1.2.3", true, true},  {"1.2.3.4", true, false},  {"v1.2.3-rc.1", false, true},
    {"v", false, false},     {"1.", false, false},      {"1..2", false, false},
    {"vv1", false, false},   {"nightly", false, false}, {"1.2.3-", false, false},
    {"1.2.x", false, false}, {"0123456", true, true},   {"x0123456y", false, true},
    {"012345", true, false},
};

static void test_versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tag_rows); i++) {
        struct scene *s = new_scene(EVENT_TAG);
        s->event.tag = tag_rows[i].git_tag;
        given_row(s, PIPELINE_TAG);
        (void)add_job(s, PIPELINE_RELEASE, JOB_MIRROR); /* a refusal shows that it was looked at */
        make(s);
        if ((s->plan.refused.n > 0) != tag_rows[i].release)
            fail_msg("%s: release row %s", tag_rows[i].git_tag, s->text);
        free_scene(s);
        s = new_scene(EVENT_TAG);
        s->event.tag = tag_rows[i].git_tag;
        make(s);
        assert_int_equal(s->plan.tags.n, 1);
        if (s->plan.tags.at[0].immutable != tag_rows[i].immutable)
            fail_msg("%s: immutable %d", tag_rows[i].git_tag, s->plan.tags.at[0].immutable);
        free_scene(s);
    }
}

static void test_immutable_by_policy(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_TAG);
    add_pattern(s, &s->policy.immutable, "w*");
    make(s);
    assert_false(s->plan.tags.at[0].immutable);
    free_scene(s);
    s = new_scene(EVENT_MERGED);
    add_pattern(s, &s->policy.immutable, "lat*");
    make(s);
    assert_true(s->plan.tags.at[0].immutable);
    free_scene(s);
    s = new_scene(EVENT_TAG);
    s->policy.immutable_given = true; /* `immutable: []` */
    make(s);
    assert_false(s->plan.tags.at[0].immutable);
    free_scene(s);
}

static void test_commit_in_tag(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = "g-{{ zuul.commit_id }}";
    make(s);
    /* The gate could only know its own commit. */
    assert_string_equal(s->plan.tags.at[0].staged_tag, "change_7_g-" STAGED);
    assert_string_equal(s->plan.tags.at[0].tag, "g-" COMMIT);
    assert_true(s->plan.tags.at[0].immutable);
    free_scene(s);
}

/* ---- refusals of names, tags and permissions ---- */

static const struct {
    const char *repository, *tag, *says;
} refused_rows[] = {
    {"team/App", "latest", "is not a legal repository name"},
    {"team//app", "latest", "is not a legal repository name"},
    {"team/../app", "latest", "is not a legal repository name"},
    {"", "latest", "is not a legal repository name"},
    {REG "/", "latest", "is not a legal repository name"},
    {"team/app:x", "latest", "is not a legal repository name"},
    {"other.example.org:5000/team/app", "latest",
     "`registry` says " REG ", but `repository` starts with other.example.org:5000"},
    {"unknown.example.org:5000/team/app", "latest", "but `repository` starts with"},
    {"others/app", "latest",
     "the operator's policy does not let team/app publish there (may_publish: " REG "/team/*)"},
    {"team/app/deeper", "latest", "does not let team/app publish there"},
    {"{{ zuul.project }}/app", "latest", "is not a form Slipway knows"},
    {"team/app", "{% if x %}", "is not a form Slipway knows"},
    {"team/app", "{{zuul.branch}}", "'/' is not allowed. Where it comes from a branch"},
    {"team/app", "a b", "is not a legal image tag"},
    {"team/app", ".hidden", "is not a legal image tag"},
    {"team/app", "", "is not a legal image tag"},
    {"team/app", "change_8_latest", "has the shape of a staged tag"},
    {"team/app", "nightly", "does not let team/app write this tag (image_tags: latest, v*)"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++) {
        struct scene *s = new_scene(EVENT_MERGED);
        s->event.branch = "stable/1.0";
        s->in.default_branch = "stable/1.0";
        s->file.images.at[0].repository.text = refused_rows[i].repository;
        s->file.images.at[0].tags.at[0].text = refused_rows[i].tag;
        add_pattern(s, &s->policy.image_tags, "latest");
        add_pattern(s, &s->policy.image_tags, "v*");
        expect(s, PLAN_REFUSED, refused_rows[i].says);
    }
}

static void test_more_refusals(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->file.images.at[0].registry.text = "nobody.example.org";
    s->file.images.at[0].repository.text = "team/app";
    expect(s, PLAN_REFUSED,
           "registry nobody.example.org is not one of the operator's `registries`");
    s = new_scene(EVENT_MERGED);
    s->in.knows_registry = NULL;
    expect(s, PLAN_REFUSED, "is not one of the operator's `registries`");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].registry.text = "bad host";
    s->file.images.at[0].repository.text = "team/app";
    expect(s, PLAN_REFUSED, "is not the name of a registry");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[1].registry.text = NULL;
    expect(s, PLAN_REFUSED, "no `registry` is given and `repository` does not start with one");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].registry.text = NULL;
    expect(s, PLAN_GO, "registry.example.org/team/app:latest");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].repository.text = NULL;
    expect(s, PLAN_REFUSED, "it has no `repository`");
    s = new_scene(EVENT_MERGED);
    s->policy.may_publish.n = 0;
    expect(s, PLAN_REFUSED, "lets team/app publish nowhere (`may_publish` is empty)");

    char tag[LIMIT_TAG + 1];
    memset(tag, 'x', LIMIT_TAG);
    tag[LIMIT_TAG] = '\0';
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = tag;
    expect(s, PLAN_REFUSED, "is longer than the 128 characters");
    tag[LIMIT_TAG - strlen("change_7_")] = '\0';
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = tag;
    expect(s, PLAN_GO, NULL);
}

/* One refusal stops everything: all checks come before all writes. */
static void test_all_or_nothing(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->file.images.at[1].tags.at[0].text = "change_9_x";
    make(s);
    assert_int_equal(s->plan.verdict, PLAN_REFUSED);
    assert_int_equal(s->plan.refused.n, 1);
    assert_int_equal(s->plan.cleaned.n, 0);
    assert_non_null(strstr(s->text, "\nnot published:\n"));
    free_scene(s);
}

static void test_same_target(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    add_image(s, &s->file.images, "app2", "team/app", "latest");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    expect(s, PLAN_REFUSED, "two publications for one tag: the image at line 10 (app)");
    s = new_scene(EVENT_MERGED);
    add_image(s, &s->file.images, "app", "team/app", "latest latest");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    make(s);
    assert_int_equal(s->plan.tags.n, 2);
    assert_int_equal(s->plan.cleaned.n, 2);
    free_scene(s);
}

/* ---- jobs ---- */

static const struct {
    enum event_kind event;
    enum pipeline row;
    enum job_kind job;
    bool direct;
    enum promote_method method;
    bool may_build;
    enum plan_verdict want;
    const char *says;
} job_rows[] = {
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_GO,
     "build of app   -> registry.example.org/team/app:change_7_latest\n"},
    {EVENT_OPENED, PIPELINE_CHECK, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_GO,
     "app:change_7_latest"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, true, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "would publish what has not merged"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, true, PROMOTE_BY_TAG, false, PLAN_NOTHING,
     "does not let this project build in gate"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, false, PROMOTE_INTERMEDIATE, true, PLAN_NOTHING,
     "an upload has nothing to do"},
    {EVENT_GATED, PIPELINE_GATE, JOB_PROMOTE, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "only a merged change has staged tags"},
    {EVENT_GATED, PIPELINE_GATE, JOB_BUILD, false, PROMOTE_BY_TAG, true, PLAN_NOTHING,
     "it only builds"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, true, PROMOTE_BY_TAG, true, PLAN_GO,
     "build of tools -> registry.example.org/team/tools:latest\n"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, true, PROMOTE_BY_TAG, false, PLAN_REFUSED,
     "does not let this project build in promote"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "stage once more what has merged"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_PROMOTE, false, PROMOTE_INTERMEDIATE, true, PLAN_REFUSED,
     "promotion through an intermediate registry is not available in this version"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_MIRROR, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "mirroring is not available in this version"},
    {EVENT_BRANCH, PIPELINE_POST, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_GO,
     "build of app   -> registry.example.org/team/app:latest\n"},
    {EVENT_BRANCH, PIPELINE_POST, JOB_PROMOTE, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "only a merged change has staged tags"},
    {EVENT_TAG, PIPELINE_TAG, JOB_UPLOAD, false, PROMOTE_BY_TAG, false, PLAN_REFUSED,
     "does not let this project build in tag"},
    {EVENT_TAG, PIPELINE_TAG, JOB_PROMOTE, false, PROMOTE_INTERMEDIATE, true, PLAN_REFUSED,
     "promotion through an intermediate registry"},
};

static void test_jobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(job_rows); i++) {
        struct scene *s = new_scene(job_rows[i].event);
        given_row(s, PIPELINE_RELEASE);
        given_row(s, job_rows[i].row);
        struct imagefile_job *job = add_job(s, job_rows[i].row, job_rows[i].job);
        job->direct = job_rows[i].direct;
        job->method = job_rows[i].method;
        s->policy.may_build[job_rows[i].row] = job_rows[i].may_build;
        expect(s, job_rows[i].want, job_rows[i].says);
    }
    /* A default row that policy forbids is no mistake of the repository's. */
    struct scene *s = new_scene(EVENT_TAG);
    memset(s->policy.may_build, 0, sizeof s->policy.may_build);
    expect(s, PLAN_NOTHING, "does not let this project build in tag");
    s = new_scene(EVENT_GATED);
    s->policy.may_build[PIPELINE_GATE] = true;
    s->event.change = NULL;
    expect(s, PLAN_REFUSED, "the event has no change to stage for");
    s = new_scene(EVENT_MERGED);
    s->event.change = NULL;
    expect(s, PLAN_REFUSED, "only a merged change has staged tags");
}

static void test_undefined(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = "{{ zuul.tag }}";
    s->file.images.at[1].repository.text = "team/{{ zuul.tag }}";
    make(s);
    assert_int_equal(s->plan.verdict, PLAN_NOTHING);
    assert_int_equal(s->plan.skipped.n, 2);
    assert_string_equal(s->plan.skipped.at[1].why, "zuul.tag is not defined for a merge");
    free_scene(s);
    s = new_scene(EVENT_TAG);
    s->file.images.at[1].tags.at[0].text = "{{ zuul.tag }}-{{ zuul.change }}";
    expect(s, PLAN_NOTHING, "zuul.change is not defined for a git tag");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].no_tags = true;
    expect(s, PLAN_GO, "`tags: []`: it is built only");
    s = new_scene(EVENT_MERGED);
    s->file.images.at[0].repository.text = "team/{{ zuul.project.short_name }}";
    expect(s, PLAN_GO, "team/app:latest");
}

static void test_closed(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_CLOSED);
    s->file.images.at[0].tags.at[0].text = "{{ zuul.branch }}";
    s->event.branch = "stable/1.0"; /* illegal as a tag: passed over, never an error */
    make(s);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_int_equal(s->plan.tags.n, 0);
    assert_int_equal(s->plan.cleaned.n, 1);
    assert_string_equal(s->plan.cleaned.at[0].what, REG "/team/tools:change_7_latest");
    assert_non_null(strstr(s->text, "go: 1 staged tag to clean up"));
    free_scene(s);
    s = new_scene(EVENT_CLOSED);
    s->policy.may_publish.n = 0;
    expect(s, PLAN_NOTHING, "no staged tags to clean up");
    s = new_scene(EVENT_CLOSED);
    s->event.change = NULL;
    expect(s, PLAN_NOTHING, "no staged tags to clean up");
}

static void test_shadow(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    s->policy.mode = POLICY_SHADOW;
    make(s);
    assert_true(s->plan.shadow);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_non_null(strstr(s->text, "nothing is written"));
    free_scene(s);
}

static void test_too_many(void **state)
{
    (void)state;
    struct scene *s = new_scene(EVENT_MERGED);
    for (int i = 0; i <= LIMIT_PLAN; i++)
        add_image(s, &s->file.images, "x", "team/x", arena_printf(&s->arena, "t%d", i));
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    plan_make(&s->in, &s->arena, &s->plan);
    assert_int_equal(s->plan.verdict, PLAN_REFUSED);
    assert_int_equal(s->plan.tags.n, LIMIT_PLAN);
    assert_non_null(strstr(s->plan.reason, "at most 2000"));
    free_scene(s);
}

static void test_pipelines(void **state)
{
    (void)state;
    enum pipeline p = PIPELINE__MAX;
    assert_true(plan_pipeline(EVENT_MERGED, &p) && p == PIPELINE_PROMOTE);
    assert_true(plan_pipeline(EVENT_BRANCH, &p) && p == PIPELINE_POST);
    assert_true(plan_pipeline(EVENT_TAG, &p) && p == PIPELINE_TAG);
    assert_true(plan_pipeline(EVENT_OPENED, &p) && p == PIPELINE_CHECK);
    assert_true(plan_pipeline(EVENT_GATED, &p) && p == PIPELINE_GATE);
    static const enum event_kind none[] = {EVENT_CLOSED, EVENT_STAGED, EVENT_BRANCH_DELETED,
                                           EVENT_TAG_DELETED, EVENT__MAX};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(plan_pipeline(none[i], &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_tag_and_release),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_immutable_by_policy),
        cmocka_unit_test(test_commit_in_tag),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_more_refusals),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_same_target),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_pipelines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
