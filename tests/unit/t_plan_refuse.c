#include "core/base/base.h"

#include "tests/unit/plan_scene.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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
        struct scene *s = scene_new(EVENT_MERGED);
        s->event.branch = "stable/1.0";
        s->in.default_branch = "stable/1.0";
        s->file.images.at[0].repository.text = refused_rows[i].repository;
        s->file.images.at[0].tags.at[0].text = refused_rows[i].tag;
        scene_pattern(s, &s->policy.image_tags, "latest");
        scene_pattern(s, &s->policy.image_tags, "v*");
        scene_expect(s, PLAN_REFUSED, refused_rows[i].says);
    }
}

static void test_more_refusals(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->file.images.at[0].registry.text = "nobody.example.org";
    s->file.images.at[0].repository.text = "team/app";
    scene_expect(s, PLAN_REFUSED,
                 "registry nobody.example.org is not one of the operator's `registries`");
    s = scene_new(EVENT_MERGED);
    s->in.knows_registry = NULL;
    scene_expect(s, PLAN_REFUSED, "is not one of the operator's `registries`");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].registry.text = "bad host";
    s->file.images.at[0].repository.text = "team/app";
    scene_expect(s, PLAN_REFUSED, "is not the name of a registry");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[1].registry.text = NULL;
    scene_expect(s, PLAN_REFUSED,
                 "no `registry` is given and `repository` does not start with one");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].registry.text = NULL;
    scene_expect(s, PLAN_GO, "registry.example.org/team/app:latest");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].repository.text = NULL;
    scene_expect(s, PLAN_REFUSED, "it has no `repository`");
    s = scene_new(EVENT_MERGED);
    s->policy.may_publish.n = 0;
    scene_expect(s, PLAN_REFUSED, "lets team/app publish nowhere (`may_publish` is empty)");

    char tag[LIMIT_TAG + 1];
    memset(tag, 'x', LIMIT_TAG);
    tag[LIMIT_TAG] = '\0';
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = tag;
    scene_expect(s, PLAN_REFUSED, "is longer than the 128 characters");
    tag[LIMIT_TAG - strlen("change_7_")] = '\0';
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = tag;
    scene_expect(s, PLAN_GO, NULL);
}

/* One refusal stops everything: all checks come before all writes. */
static void test_all_or_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->file.images.at[1].tags.at[0].text = "change_9_x";
    scene_make(s);
    assert_int_equal(s->plan.verdict, PLAN_REFUSED);
    assert_int_equal(s->plan.refused.n, 1);
    assert_int_equal(s->plan.cleaned.n, 0);
    assert_non_null(strstr(s->text, "\nnot published:\n"));
    scene_free(s);
}

static void test_same_target(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    scene_image(s, &s->file.images, "app2", "team/app", "latest");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    scene_expect(s, PLAN_REFUSED, "two publications for one tag: the image at line 10 (app)");
    s = scene_new(EVENT_MERGED);
    scene_image(s, &s->file.images, "app", "team/app", "latest latest");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    scene_make(s);
    assert_int_equal(s->plan.tags.n, 2);
    assert_int_equal(s->plan.cleaned.n, 2);
    scene_free(s);
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
    {EVENT_OPENED, PIPELINE_CHECK, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "it would push what nobody has approved"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, true, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "would publish what has not merged"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, true, PROMOTE_BY_TAG, false, PLAN_NOTHING,
     "does not let this project build in gate"},
    {EVENT_GATED, PIPELINE_GATE, JOB_UPLOAD, false, PROMOTE_INTERMEDIATE, true, PLAN_REFUSED,
     "policy names no `intermediate` registry"},
    {EVENT_GATED, PIPELINE_GATE, JOB_PROMOTE, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "only a merged change has staged tags"},
    {EVENT_GATED, PIPELINE_GATE, JOB_BUILD, false, PROMOTE_BY_TAG, true, PLAN_GO,
     "2 images to build"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, true, PROMOTE_BY_TAG, true, PLAN_GO,
     "build of tools -> registry.example.org/team/tools:latest\n"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, true, PROMOTE_BY_TAG, false, PLAN_REFUSED,
     "does not let this project build in promote"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_UPLOAD, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "stage once more what has merged"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_PROMOTE, false, PROMOTE_INTERMEDIATE, true, PLAN_GO,
     "latest in the intermediate registry -> registry.example.org/team/app:latest\n"},
    {EVENT_MERGED, PIPELINE_PROMOTE, JOB_MIRROR, false, PROMOTE_BY_TAG, true, PLAN_NOTHING, NULL},
    {EVENT_GATED, PIPELINE_GATE, JOB_MIRROR, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "it would write what has not merged"},
    {EVENT_BRANCH, PIPELINE_POST, JOB_UPLOAD, true, PROMOTE_BY_TAG, true, PLAN_GO,
     "build of app   -> registry.example.org/team/app:latest\n"},
    {EVENT_BRANCH, PIPELINE_POST, JOB_PROMOTE, false, PROMOTE_BY_TAG, true, PLAN_REFUSED,
     "only a merged change has staged tags"},
    {EVENT_TAG, PIPELINE_TAG, JOB_UPLOAD, false, PROMOTE_BY_TAG, false, PLAN_REFUSED,
     "does not let this project build in tag"},
    {EVENT_TAG, PIPELINE_TAG, JOB_PROMOTE, false, PROMOTE_INTERMEDIATE, true, PLAN_GO,
     "what is published for this commit -> "},
};

static void test_jobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(job_rows); i++) {
        struct scene *s = scene_new(job_rows[i].event);
        scene_given_row(s, PIPELINE_RELEASE);
        scene_given_row(s, job_rows[i].row);
        struct imagefile_job *job = scene_job(s, job_rows[i].row, job_rows[i].job);
        job->direct = job_rows[i].direct;
        job->method = job_rows[i].method;
        s->policy.may_build[job_rows[i].row] = job_rows[i].may_build;
        scene_expect(s, job_rows[i].want, job_rows[i].says);
    }
    /* A default row that policy forbids is no mistake of the repository's. */
    struct scene *s = scene_new(EVENT_TAG);
    memset(s->policy.may_build, 0, sizeof s->policy.may_build);
    scene_expect(s, PLAN_NOTHING, "does not let this project build in tag");
    s = scene_new(EVENT_GATED);
    s->policy.may_build[PIPELINE_GATE] = true;
    s->event.change = NULL;
    scene_expect(s, PLAN_REFUSED, "the event has no change to stage for");
    s = scene_new(EVENT_MERGED);
    s->event.change = NULL;
    scene_expect(s, PLAN_REFUSED, "only a merged change has staged tags");
}

static void test_undefined(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = "{{ zuul.tag }}";
    s->file.images.at[1].repository.text = "team/{{ zuul.tag }}";
    scene_make(s);
    assert_int_equal(s->plan.verdict, PLAN_NOTHING);
    assert_int_equal(s->plan.skipped.n, 2);
    assert_string_equal(s->plan.skipped.at[1].why, "zuul.tag is not defined for a merge");
    scene_free(s);
    s = scene_new(EVENT_TAG);
    s->file.images.at[1].tags.at[0].text = "{{ zuul.tag }}-{{ zuul.change }}";
    scene_expect(s, PLAN_NOTHING, "zuul.change is not defined for a git tag");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].no_tags = true;
    scene_expect(s, PLAN_GO, "`tags: []`: it is built only");
    s = scene_new(EVENT_MERGED);
    s->file.images.at[0].repository.text = "team/{{ zuul.project.short_name }}";
    scene_expect(s, PLAN_GO, "team/app:latest");
}

static void test_too_many(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    for (int i = 0; i <= LIMIT_PLAN; i++)
        scene_image(s, &s->file.images, "x", "team/x", arena_printf(&s->arena, "t%d", i));
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    plan_make(&s->in, &s->arena, &s->plan);
    assert_int_equal(s->plan.verdict, PLAN_REFUSED);
    assert_int_equal(s->plan.tags.n, LIMIT_PLAN);
    assert_non_null(strstr(s->plan.reason, "at most 2000"));
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_more_refusals),
        cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_same_target),
        cmocka_unit_test(test_jobs),           cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
