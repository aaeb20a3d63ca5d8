#include "core/base/base.h"

#include "tests/unit/plan_scene.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- the promote flow, whole ---- */

static void test_merge(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    scene_make(s);
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
    scene_free(s);
}

static void test_json(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    scene_image(s, &s->file.images, "extra", "team/extra", "{{~zuul.tag~}} x");
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images = s->file.images;
    scene_make(s);
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
    scene_free(s);
}

/* Keys are named where something is promoted. */
static void test_signers(void **state)
{
    (void)state;
    static const char *const paths[] = {"/k/release.pub", "/k/security.pub"};
    static const enum event_kind kinds[] = {EVENT_MERGED, EVENT_GATED, EVENT_CLOSED};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct scene *s = scene_new(kinds[i]);
        for (size_t k = 0; k < ARRAY_LEN(paths); k++)
            list_push(&s->arena, &s->policy.require_signature)->path = paths[k];
        s->policy.may_build[PIPELINE_GATE] = true;
        scene_make(s);
        assert_int_equal(s->plan.verdict, PLAN_GO);
        assert_int_equal(s->plan.signers.n, i == 0 ? 2 : 0);
        const char *says = strstr(s->text, "signature");
        if (i == 0)
            assert_non_null(strstr(s->text, "\neach needs a signature by /k/release.pub or "
                                            "/k/security.pub\n"));
        else
            assert_null(says);
        struct err err = ERR_INIT;
        const char *text = plan_to_json(&s->plan, &s->event, &s->arena);
        struct js *v CLEANUP_JS = js_parse(text, strlen(text), &err);
        assert_int_equal(js_len(js_get(v, "require_signature")), i == 0 ? 2 : 0);
        scene_free(s);
    }
}

/* ---- nothing to do ---- */

static void test_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->in.policy = NULL;
    scene_expect(
        s, PLAN_NOTHING,
        "nothing: no entry of `projects` matches review team/app: nothing is done for it\n");
    s = scene_new(EVENT_MERGED);
    s->in.file = NULL;
    scene_expect(s, PLAN_NOTHING, "nothing: no .slipway.yaml at " COMMIT "\n");
    static const enum event_kind none[] = {EVENT_STAGED, EVENT_BRANCH_DELETED, EVENT_TAG_DELETED};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        scene_expect(scene_new(none[i]), PLAN_NOTHING, "publishes nothing");
    scene_expect(scene_new(EVENT_BRANCH), PLAN_NOTHING,
                 ".slipway.yaml has no jobs for pipeline post");
    s = scene_new(EVENT_MERGED);
    scene_given_row(s, PIPELINE_PROMOTE);
    scene_expect(s, PLAN_NOTHING, "has no jobs for pipeline promote");
    s = scene_new(EVENT_MERGED);
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].images.n = 0;
    scene_expect(s, PLAN_NOTHING, "lists no images");
    scene_expect(
        scene_new(EVENT_OPENED), PLAN_NOTHING,
        "build-container-image: policy does not let this project build in check (may_build)");
    scene_expect(
        scene_new(EVENT_GATED), PLAN_NOTHING,
        "upload-container-image: policy does not let this project build in gate (may_build)");
    s = scene_new(EVENT_OPENED);
    s->policy.may_build[PIPELINE_CHECK] = true;
    scene_expect(s, PLAN_GO, "go: 2 images to build\n\nbuild:\n  " REG "/team/app from app\n");
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
        struct scene *s = scene_new(EVENT_MERGED);
        s->event.branch = branch_rows[i].branch;
        s->in.default_branch = branch_rows[i].default_branch;
        if (branch_rows[i].repository)
            *list_push(&s->arena, &s->file.branches) = scene_text(2, branch_rows[i].repository);
        if (branch_rows[i].policy)
            scene_pattern(s, &s->policy.branches, branch_rows[i].policy);
        scene_expect(s, branch_rows[i].says ? PLAN_NOTHING : PLAN_GO, branch_rows[i].says);
    }
    struct scene *s = scene_new(EVENT_MERGED);
    *list_push(&s->arena, &s->file.branches) = scene_text(2, "**");
    *list_push(&s->arena, &s->file.branches) = scene_text(3, "^(");
    scene_expect(s, PLAN_REFUSED, "[.slipway.yaml:3:3]");
    s = scene_new(EVENT_MERGED);
    s->event.default_branch = "trunk";
    scene_expect(s, PLAN_NOTHING, "is not the default branch (trunk)");
}

/* ---- builds ---- */

static const struct plan_tag *tag_named(const struct scene *s, const char *tag)
{
    list_each (const struct plan_tag, t, &s->plan.tags)
        if (strcmp(t->tag, tag) == 0)
            return t;
    fail_msg("no %s in:\n%s", tag, s->text);
    return NULL;
}

static void test_builds_once_in_order(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_BRANCH);
    scene_given_row(s, PIPELINE_POST);
    s->file.images = (struct image_list){0};
    (void)scene_image(s, &s->file.images, "base", REG "/team/base", NULL);
    struct image *app = scene_image(s, &s->file.images, "app", REG "/team/app", "latest edge");
    *list_push(&s->arena, &app->arch) = "linux/arm64";
    (void)scene_image(s, &s->file.images, "tools", REG "/team/tools", "latest");
    scene_job(s, PIPELINE_POST, JOB_UPLOAD)->direct = true;
    (void)scene_job(s, PIPELINE_POST, JOB_BUILD);
    scene_make(s);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_int_equal(s->plan.tags.n, 3);
    assert_int_equal(s->plan.builds.n, 3); /* what is built only, too */
    assert_string_equal(s->plan.builds.at[0].label, REG "/team/base");
    assert_int_equal(s->plan.builds.at[0].refs.n, 0);
    assert_int_equal(s->plan.builds.at[1].refs.n, 2);
    assert_string_equal(s->plan.builds.at[1].refs.at[1], REG "/team/app:edge");
    assert_int_equal(tag_named(s, "edge")->build, 1);
    assert_false(s->plan.tags.at[0].staging);
    assert_non_null(strstr(s->text, "team/app from app for linux/arm64\n"));
    scene_free(s);
}

static void test_stages_under_a_prefix(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_GATED);
    s->policy.may_build[PIPELINE_GATE] = true;
    scene_make(s);
    assert_true(tag_named(s, "change_7_latest")->staging);
    assert_false(tag_named(s, "change_7_latest")->immutable);
    /* A later image's FROM line says the final name. */
    assert_string_equal(s->plan.builds.at[0].refs.at[0], REG "/team/app:latest");
    assert_non_null(strstr(s->text, "\nstage:\n"));
    scene_free(s);

    s = scene_new(EVENT_BRANCH);
    scene_given_row(s, PIPELINE_POST);
    (void)scene_job(s, PIPELINE_POST, JOB_UPLOAD);
    scene_make(s);
    assert_true(tag_named(s, "post_latest")->staging);
    scene_free(s);

    s = scene_new(EVENT_BRANCH);
    scene_given_row(s, PIPELINE_POST);
    (void)scene_job(s, PIPELINE_POST, JOB_UPLOAD);
    scene_job(s, PIPELINE_POST, JOB_UPLOAD)->direct = true;
    scene_expect(s, PLAN_REFUSED, "pipeline post both stages and publishes");
}

static void test_through_an_intermediate_registry(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_GATED);
    s->policy.may_build[PIPELINE_GATE] = true;
    s->policy.intermediate = "other.example.org:5000/gate";
    s->in.run_id = "r1";
    s->file.pipelines[PIPELINE_GATE].jobs.at[0].method = PROMOTE_INTERMEDIATE;
    scene_make(s);
    const struct plan_tag *t = tag_named(s, "r1_latest");
    assert_string_equal(t->registry, "other.example.org:5000");
    assert_string_equal(t->name, "gate/" REG "/team/app");
    assert_true(t->staging);
    scene_free(s);

    s = scene_new(EVENT_MERGED);
    s->policy.intermediate = "other.example.org:5000/gate";
    s->file.pipelines[PIPELINE_PROMOTE].jobs.at[0].method = PROMOTE_INTERMEDIATE;
    scene_make(s);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    t = tag_named(s, "latest");
    assert_int_equal(t->source, PLAN_FROM_INTERMEDIATE);
    assert_string_equal(t->wanted, "latest");
    assert_null(t->staged_tag);
    assert_int_equal(s->plan.cleaned.n, 0);
    scene_free(s);

    s = scene_new(EVENT_GATED); /* not one of the registries */
    s->policy.may_build[PIPELINE_GATE] = true;
    s->policy.intermediate = "third.example.org/gate";
    s->file.pipelines[PIPELINE_GATE].jobs.at[0].method = PROMOTE_INTERMEDIATE;
    scene_expect(s, PLAN_REFUSED, "intermediate registry third.example.org is not one of");
}

static void test_names_in_an_intermediate_registry(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    const char *host, *name;
    assert_true(
        plan_intermediate("ir.example.org:5000", "r.example.org:443/a/b", &a, &host, &name));
    assert_string_equal(host, "ir.example.org:5000");
    assert_string_equal(name, "r.example.org_443/a/b");
    assert_true(plan_intermediate("ir.example.org/x/y", "r.example.org/a", &a, &host, &name));
    assert_string_equal(name, "x/y/r.example.org/a");
    assert_false(plan_intermediate("ir.example.org/X", "r.example.org/a", &a, &host, &name));
    arena_release(&a);
}

/* ---- tags ---- */

static void test_tag_and_release(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_TAG);
    scene_make(s);
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
    scene_free(s);

    s = scene_new(EVENT_TAG);
    scene_given_row(s, PIPELINE_TAG);
    scene_given_row(s, PIPELINE_RELEASE);
    (void)scene_job(s, PIPELINE_TAG, JOB_PROMOTE);
    scene_make(s);
    assert_int_equal(s->plan.tags.n, 2); /* a written row moves literal tags, too */
    assert_int_equal(s->plan.tags.at[0].source, PLAN_FROM_PUBLISHED);
    assert_null(s->plan.tags.at[0].staged_tag);
    assert_false(s->plan.tags.at[0].immutable);
    assert_non_null(strstr(s->text, "  what is published for this commit -> "));
    scene_free(s);

    s = scene_new(EVENT_TAG);
    scene_given_row(s, PIPELINE_RELEASE);
    (void)scene_job(s, PIPELINE_RELEASE, JOB_PROMOTE);
    scene_expect(s, PLAN_REFUSED, "two publications for one tag: the image at line 20 (tools)");

    s = scene_new(EVENT_TAG); /* a written row for tags stands in for the default of releases */
    scene_given_row(s, PIPELINE_TAG);
    (void)scene_job(s, PIPELINE_TAG, JOB_PROMOTE);
    scene_expect(s, PLAN_GO, "2 tags to publish");

    s = scene_new(EVENT_TAG); /* ... but not when it is empty */
    scene_given_row(s, PIPELINE_TAG);
    scene_expect(s, PLAN_GO, "1 tag to publish");

    s = scene_new(EVENT_TAG); /* no release: the release row is not looked at */
    s->event.tag = "v1.2.3-rc1";
    scene_given_row(s, PIPELINE_RELEASE);
    (void)scene_job(s, PIPELINE_RELEASE, JOB_PROMOTE);
    scene_expect(s, PLAN_GO, "tools:v1.2.3-rc1 (immutable)");

    s = scene_new(EVENT_TAG);
    scene_pattern(s, &s->policy.git_tags, "v2*");
    scene_expect(s, PLAN_NOTHING,
                 "the operator's policy does not take git tag v1.2.3 (git_tags: v2*)");
    s = scene_new(EVENT_TAG);
    s->event.tag = NULL;
    scene_expect(s, PLAN_NOTHING, "does not say which git tag");
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
        struct scene *s = scene_new(EVENT_TAG);
        s->event.tag = tag_rows[i].git_tag;
        scene_given_row(s, PIPELINE_TAG);
        /* A refusal shows that it was looked at. */
        (void)scene_job(s, PIPELINE_RELEASE, JOB_PROMOTE);
        s->file.pipelines[PIPELINE_RELEASE].jobs.at[0].method = PROMOTE_INTERMEDIATE;
        scene_make(s);
        if ((s->plan.refused.n > 0) != tag_rows[i].release)
            fail_msg("%s: release row %s", tag_rows[i].git_tag, s->text);
        scene_free(s);
        s = scene_new(EVENT_TAG);
        s->event.tag = tag_rows[i].git_tag;
        scene_make(s);
        assert_int_equal(s->plan.tags.n, 1);
        if (s->plan.tags.at[0].immutable != tag_rows[i].immutable)
            fail_msg("%s: immutable %d", tag_rows[i].git_tag, s->plan.tags.at[0].immutable);
        scene_free(s);
    }
}

static void test_immutable_by_policy(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_TAG);
    scene_pattern(s, &s->policy.immutable, "w*");
    scene_make(s);
    assert_false(s->plan.tags.at[0].immutable);
    scene_free(s);
    s = scene_new(EVENT_MERGED);
    scene_pattern(s, &s->policy.immutable, "lat*");
    scene_make(s);
    assert_true(s->plan.tags.at[0].immutable);
    scene_free(s);
    s = scene_new(EVENT_TAG);
    s->policy.immutable_given = true; /* `immutable: []` */
    scene_make(s);
    assert_false(s->plan.tags.at[0].immutable);
    scene_free(s);
}

static void test_commit_in_tag(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->file.images.at[0].tags.at[0].text = "g-{{ zuul.commit_id }}";
    scene_make(s);
    /* The gate could only know its own commit. */
    assert_string_equal(s->plan.tags.at[0].staged_tag, "change_7_g-" STAGED);
    assert_string_equal(s->plan.tags.at[0].tag, "g-" COMMIT);
    assert_true(s->plan.tags.at[0].immutable);
    scene_free(s);
}

static void test_closed(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_CLOSED);
    s->file.images.at[0].tags.at[0].text = "{{ zuul.branch }}";
    s->event.branch = "stable/1.0"; /* illegal as a tag: passed over, never an error */
    scene_make(s);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_int_equal(s->plan.tags.n, 0);
    assert_int_equal(s->plan.cleaned.n, 1);
    assert_string_equal(s->plan.cleaned.at[0].what, REG "/team/tools:change_7_latest");
    assert_non_null(strstr(s->text, "go: 1 staged tag to clean up"));
    scene_free(s);
    s = scene_new(EVENT_CLOSED);
    s->policy.may_publish.n = 0;
    scene_expect(s, PLAN_NOTHING, "no staged tags to clean up");
    s = scene_new(EVENT_CLOSED);
    s->event.change = NULL;
    scene_expect(s, PLAN_NOTHING, "no staged tags to clean up");
}

static void test_shadow(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_MERGED);
    s->policy.mode = POLICY_SHADOW;
    scene_make(s);
    assert_true(s->plan.shadow);
    assert_int_equal(s->plan.verdict, PLAN_GO);
    assert_non_null(strstr(s->text, "nothing is written"));
    scene_free(s);
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
        cmocka_unit_test(test_signers),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_builds_once_in_order),
        cmocka_unit_test(test_stages_under_a_prefix),
        cmocka_unit_test(test_through_an_intermediate_registry),
        cmocka_unit_test(test_names_in_an_intermediate_registry),
        cmocka_unit_test(test_tag_and_release),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_immutable_by_policy),
        cmocka_unit_test(test_commit_in_tag),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_pipelines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
