#include "tests/unit/plan_scene.h"

#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static bool knows(const void *ctx, const char *host)
{
    (void)ctx;
    return str_eq(host, REG) || str_eq(host, "other.example.org:5000");
}

void scene_pattern(struct scene *s, struct pattern_list *list, const char *text)
{
    struct err err = ERR_INIT;
    struct pattern *p = pattern_compile(text, &err);
    assert_non_null(p);
    s->patterns[s->n++] = p;
    *list_push(&s->arena, list) = p;
}

struct image_text scene_text(unsigned line, const char *text)
{
    return (struct image_text){text, {".slipway.yaml", line, 3}};
}

struct image *scene_image(struct scene *s, struct image_list *list, const char *context,
                          const char *repository, const char *tags)
{
    struct image *image = list_push(&s->arena, list);
    unsigned line = (unsigned)list->n * 10;
    image->at = scene_text(line, "").at;
    image->context = scene_text(line, context);
    image->registry = scene_text(line + 1, REG);
    image->repository = scene_text(line + 2, repository);
    image->no_tags = !tags;
    if (!tags)
        return image;
    struct str_list parts = str_split(&s->arena, tags, ' ');
    for (size_t i = 0; i < parts.n; i++) {
        char *tag = arena_strdup(&s->arena, parts.at[i]);
        for (char *p = tag; *p; p++)
            if (*p == '~')
                *p = ' ';
        *list_push(&s->arena, &image->tags) = scene_text(line + 3, tag);
    }
    return image;
}

struct imagefile_job *scene_job(struct scene *s, enum pipeline p, enum job_kind kind)
{
    struct imagefile_row *row = &s->file.pipelines[p];
    struct imagefile_job *job = list_push(&s->arena, &row->jobs);
    job->kind = kind;
    job->at = scene_text(100 + (unsigned)p, "").at;
    job->images = s->file.images;
    return job;
}

static void default_rows(struct scene *s)
{
    (void)scene_job(s, PIPELINE_CHECK, JOB_BUILD);
    (void)scene_job(s, PIPELINE_GATE, JOB_UPLOAD);
    (void)scene_job(s, PIPELINE_PROMOTE, JOB_PROMOTE);
    scene_job(s, PIPELINE_TAG, JOB_UPLOAD)->direct = true;
    scene_job(s, PIPELINE_RELEASE, JOB_UPLOAD)->direct = true;
}

void scene_given_row(struct scene *s, enum pipeline p)
{
    s->file.pipelines[p] = (struct imagefile_row){.given = true};
}

/* Two images as in the smallest file of the design, a permissive policy, a merge on main. */
struct scene *scene_new(enum event_kind kind)
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
    scene_image(s, &s->file.images, "app", REG "/team/app", "latest");
    scene_image(s, &s->file.images, "tools", "team/tools", "{{~zuul.tag~|~default('latest')~}}");
    default_rows(s);
    s->policy.forge = "review";
    scene_pattern(s, &s->policy.may_publish, REG "/team/*");
    for (int p = PIPELINE_PROMOTE; p < PIPELINE__MAX; p++)
        s->policy.may_build[p] = true;
    s->in = (struct plan_input){
        .event = &s->event, .file = &s->file, .policy = &s->policy, .knows_registry = knows};
    return s;
}

void scene_make(struct scene *s)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(sizeof s->text - 1);
    plan_make(&s->in, &s->arena, &s->plan);
    assert_non_null(s->plan.reason);
    plan_print(&s->plan, &s->event, &out);
    assert_false(out.full);
    memcpy(s->text, out.buf, out.len + 1);
}

void scene_free(struct scene *s)
{
    for (size_t i = 0; i < s->n; i++)
        pattern_free(s->patterns[i]);
    arena_release(&s->arena);
    free(s);
}

void scene_expect(struct scene *s, enum plan_verdict verdict, const char *text)
{
    scene_make(s);
    if (s->plan.verdict != verdict || (text && !strstr(s->text, text)))
        fail_msg("verdict %d, want %d with \"%s\"; plan:\n%s", (int)s->plan.verdict, (int)verdict,
                 text, s->text);
    if (verdict == PLAN_NOTHING || verdict == PLAN_REFUSED)
        assert_int_equal(s->plan.cleaned.n, 0);
    if (verdict == PLAN_NOTHING)
        assert_int_equal(s->plan.tags.n, 0);
    scene_free(s);
}
