#include "core/base/base.h"

#include "tests/unit/plan_scene.h"

#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A list of one image whose tags are one text. */
static struct scene *scene_of(enum event_kind kind, const char *tags)
{
    struct scene *s = scene_new(kind);
    s->file.images = (struct image_list){0};
    struct image *image = scene_image(s, &s->file.images, "app", REG "/team/app", "x");
    image->tags.at[0].text = tags;
    for (size_t i = 0; i < PIPELINE__MAX; i++)
        list_each (struct imagefile_job, job, &s->file.pipelines[i].jobs)
            job->images = s->file.images;
    return s;
}

static void own(struct scene *s, const char *name, const char *text)
{
    for (size_t i = 0; i < PIPELINE__MAX; i++)
        list_each (struct imagefile_job, job, &s->file.pipelines[i].jobs)
            *list_push(&s->arena, &job->vars.own) = (struct template_own){name, text, {0}};
}

static const char *planned(struct scene *s)
{
    const char *all = "";
    scene_make(s);
    list_each (const struct plan_tag, t, &s->plan.tags)
        all = arena_printf(&s->arena, "%s%s%s%s", all, *all ? " " : "",
                           t->staged_tag ? arena_printf(&s->arena, "%s>", t->staged_tag) : "",
                           t->tag);
    return s->plan.refused.n ? s->plan.refused.at[0].why : all;
}

#define VERSIONS                                                                                   \
    "{{ zuul.tag is defined | ternary([zuul.get('tag', '').split('.')[0], "                        \
    "'.'.join(zuul.get('tag', '').split('.')[:2]), zuul.get('tag', '')], ['latest']) }}"

static void test_one_text_gives_several_tags(void **state)
{
    (void)state;
    static const struct {
        enum event_kind kind;
        const char *tags, *git_tag, *planned;
    } table[] = {
        {EVENT_TAG, VERSIONS, "1.2.3", "1 1.2 1.2.3"},
        {EVENT_TAG, VERSIONS, "v1.2.3", "v1 v1.2 v1.2.3"},
        {EVENT_TAG, VERSIONS, "7", "7"},
        {EVENT_TAG, VERSIONS, "1.2", "1 1.2"},
        {EVENT_TAG, VERSIONS, "1.2.0-rc.1", "1.2.0-rc.1"},
        {EVENT_TAG, "{{ zuul.tag.split('-') | join('_') }}", "v1.2.0-rc.1", "v1.2.0_rc.1"},
        {EVENT_MERGED, VERSIONS, NULL, "change_7_latest>latest"},
        {EVENT_GATED, VERSIONS, NULL, "change_7_latest"},
        {EVENT_MERGED, "{{ [] }}", NULL, ""},
        {EVENT_MERGED, "{{ ['a', 'b', 'a'] }}", NULL, "change_7_a>a change_7_b>b"},
        {EVENT_MERGED, "{{ ['a', 'not legal'] }}", NULL, "is not a legal image tag"},
        {EVENT_TAG, "{{ zuul.tag.split('.')[5] }}", "1.2.3", "there is no item 5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct scene *s = scene_of(table[i].kind, table[i].tags);
        s->policy.may_build[PIPELINE_GATE] = true;
        if (table[i].git_tag)
            s->event.tag = table[i].git_tag;
        const char *got = planned(s);
        if (!(s->plan.refused.n ? strstr(got, table[i].planned) != NULL
                                : str_eq(got, table[i].planned)))
            fail_msg("%zu: %s", i, got);
        scene_free(s);
    }
}

/* What depends on zuul.tag does so through a variable as well, and the same image is built once. */
static void test_variables_of_the_repository(void **state)
{
    (void)state;
    struct scene *s = scene_of(EVENT_TAG, "{{ versions }}");
    own(s, "versions", VERSIONS);
    s->event.tag = "1.2.3";
    assert_string_equal(planned(s), "1 1.2 1.2.3");
    assert_int_equal(s->plan.builds.n, 1);
    assert_int_equal(s->plan.builds.at[0].refs.n, 3);
    scene_free(s);

    s = scene_of(EVENT_TAG, "{{ stable }}");
    own(s, "stable", "stable");
    assert_string_equal(planned(s), "");
    assert_non_null(strstr(s->plan.reason, "does not depend on zuul.tag"));
    scene_free(s);

    s = scene_of(EVENT_MERGED, "{{ today }}");
    own(s, "today", "{{ now(utc=True, fmt='%Y%m%d') }}");
    s->in.now_s = 1795486620; /* 2026-11-24T02:17:00Z */
    assert_string_equal(planned(s), "change_7_20261124>20261124");
    scene_free(s);

    s = scene_of(EVENT_MERGED, "{{ nobody }}");
    assert_non_null(strstr(planned(s), "nothing defines the variable nobody"));
    scene_free(s);
}

/* Anything that makes it another image. */
static void test_what_differs_is_built_apart(void **state)
{
    (void)state;
    struct scene *s = scene_new(EVENT_BRANCH);
    struct image_list *images = &s->file.images;
    scene_given_row(s, PIPELINE_POST);
    images->n = 0;
    for (int i = 0; i < 5; i++)
        (void)scene_image(s, images, "app",
                          arena_printf(&s->arena, "registry.example.org/team/app%d", i), NULL);
    *list_push(&s->arena, &images->at[1].arch) = "linux/arm64";
    *list_push(&s->arena, &images->at[2].labels) = "colour=red";
    *list_push(&s->arena, &images->at[3].siblings) = "example.org/lib";
    (void)scene_job(s, PIPELINE_POST, JOB_BUILD);
    scene_make(s);
    assert_int_equal(s->plan.builds.n, 4); /* the last one is as the first one */
    scene_free(s);
}

/* The gate knew the patchset's commit, the merge knows its own. */
static void test_lists_with_a_commit(void **state)
{
    (void)state;
    struct scene *s = scene_of(EVENT_MERGED, "{{ ['latest', short] }}");
    own(s, "short", "{{ zuul.commit_id.split('f')[0] }}");
    s->event.list_commit = "aaf0000000000000000000000000000000000000";
    s->event.staged_commit = "bbf0000000000000000000000000000000000000";
    assert_string_equal(planned(s), "change_7_latest>latest change_7_bb>aa");
    scene_free(s);

    s = scene_of(EVENT_MERGED, "{{ zuul.commit_id.split('f') }}");
    s->event.list_commit = "aafa000000000000000000000000000000000000";
    s->event.staged_commit = "b0b0000000000000000000000000000000000000";
    assert_non_null(strstr(planned(s), "another number of tags at the gate"));
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_text_gives_several_tags),
        cmocka_unit_test(test_variables_of_the_repository),
        cmocka_unit_test(test_what_differs_is_built_apart),
        cmocka_unit_test(test_lists_with_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
