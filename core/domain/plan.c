#include "core/domain/plan.h"

#include "core/base/str.h"
#include "core/domain/plan_part.h"

bool plan_pipeline(enum event_kind kind, enum pipeline *out)
{
    static const struct {
        enum event_kind kind;
        enum pipeline pipeline;
    } rows[] = {
        {EVENT_OPENED, PIPELINE_CHECK},   {EVENT_GATED, PIPELINE_GATE},
        {EVENT_MERGED, PIPELINE_PROMOTE}, {EVENT_BRANCH, PIPELINE_POST},
        {EVENT_TAG, PIPELINE_TAG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == kind) {
            *out = rows[i].pipeline;
            return true;
        }
    return false;
}

/* 1, v1.2, 1.2.3: what a release is called (reference: the release regex of Zuul's own pipelines,
 * with the `v` that most projects write). */
static bool looks_like_release(const char *tag)
{
    tag += *tag == 'v';
    for (;;) {
        size_t digits = strspn(tag, "0123456789");
        if (!digits)
            return false;
        tag += digits;
        if (*tag == '\0')
            return true;
        if (*tag++ != '.')
            return false;
    }
}

static const char *short_name(const char *project)
{
    const char *slash = project ? strrchr(project, '/') : NULL;
    return slash ? slash + 1 : project;
}

struct template_vars plan_variables(const struct event *e)
{
    struct template_vars vars = {
        .commit_id = e->list_commit,
        .project_name = e->project,
        .project_short_name = short_name(e->project),
    };
    if (e->kind == EVENT_TAG)
        vars.tag = e->tag;
    else
        vars.branch = e->branch;
    if (e->kind != EVENT_TAG && e->kind != EVENT_BRANCH)
        vars.change = e->change;
    if (vars.change)
        vars.patchset = e->patchset;
    return vars;
}

static const char *file_name(const struct plan_work *w)
{
    const struct imagefile *file = w->in->file;
    return file && file->file ? file->file : IMAGEFILE_NAME;
}

/* Does the repository ask for work on this branch? NULL, or why not. */
static const char *repository_branch(struct plan_work *w, const char *branch)
{
    const struct imagefile *file = w->in->file;
    const char *usual =
        w->in->default_branch ? w->in->default_branch : w->in->event->default_branch;
    if (!file->branches.n) {
        if (usual ? str_eq(branch, usual) : str_eq(branch, "main") || str_eq(branch, "master"))
            return NULL;
        return arena_printf(w->arena,
                            "branch %s is not the default branch (%s) and %s names no other "
                            "under `branches`",
                            branch, usual ? usual : "main or master", file_name(w));
    }
    bool matches = false;
    list_each (const struct image_text, text, &file->branches) {
        struct err err = ERR_INIT;
        struct pattern *pattern = pattern_compile(text->text, &err);
        if (!pattern)
            plan_note(w, &w->plan->refused, text->at, text->text, "%s", err.text);
        else
            matches = matches || pattern_match(pattern, branch);
        pattern_free(pattern);
    }
    if (matches || w->plan->refused.n)
        return NULL;
    return arena_printf(w->arena, "branch %s is not among the `branches` of %s", branch,
                        file_name(w));
}

static const char *check_branch(struct plan_work *w)
{
    const char *branch = w->in->event->branch;
    const struct policy_project *policy = w->in->policy;
    if (str_empty(branch))
        return "the event does not say which branch it is about";
    const char *why = repository_branch(w, branch);
    if (!why && !policy_matches(&policy->branches, branch, true))
        why = arena_printf(w->arena, "the operator's policy does not take branch %s (branches: %s)",
                           branch, plan_patterns(w->arena, &policy->branches));
    return why;
}

static const char *check_ref(struct plan_work *w)
{
    const struct event *e = w->in->event;
    const struct policy_project *policy = w->in->policy;
    if (e->kind == EVENT_CLOSED)
        return NULL;
    if (e->kind != EVENT_TAG)
        return check_branch(w);
    if (str_empty(e->tag))
        return "the event does not say which git tag it is about";
    if (policy_matches(&policy->git_tags, e->tag, true))
        return NULL;
    return arena_printf(w->arena, "the operator's policy does not take git tag %s (git_tags: %s)",
                        e->tag, plan_patterns(w->arena, &policy->git_tags));
}

/* Why nothing is done for this event at all; NULL: go on. */
static const char *not_for_us(struct plan_work *w)
{
    const struct event *e = w->in->event;
    enum pipeline pipeline;
    if (!w->in->policy)
        return arena_printf(w->arena,
                            "no entry of `projects` matches %s %s: nothing is done for it",
                            e->forge ? e->forge : "-", e->project ? e->project : "-");
    if (e->kind != EVENT_CLOSED && !plan_pipeline(e->kind, &pipeline))
        return arena_printf(w->arena, "an event of kind %s publishes nothing",
                            event_kind_name(e->kind));
    if (!w->in->file)
        return arena_printf(w->arena, "no " IMAGEFILE_NAME " at %s",
                            e->list_commit ? e->list_commit : "the event's commit");
    return check_ref(w);
}

/* One job of one row. */
struct job_work {
    struct plan_work *w;
    const struct imagefile_row *row;
    const struct imagefile_job *job;
    enum pipeline pipeline;
};

static void refuse_job(const struct job_work *j, const char *why)
{
    plan_note(j->w, &j->w->plan->refused, j->job->at, job_name(j->job->kind), "%s", why);
}

static void skip_job(const struct job_work *j, const char *why)
{
    plan_note(j->w, &j->w->plan->skipped, j->job->at, job_name(j->job->kind), "%s", why);
}

static bool is_unreviewed(enum pipeline p)
{
    return p == PIPELINE_CHECK || p == PIPELINE_GATE;
}

/* A build that nobody wrote down is no mistake of the repository's. */
static bool may_build(const struct job_work *j)
{
    const struct policy_project *policy = j->w->in->policy;
    if (policy && policy->may_build[j->pipeline])
        return true;
    const char *why =
        arena_printf(j->w->arena, "policy does not let this project build in %s (may_build)",
                     pipeline_name(j->pipeline));
    if (j->row->given && !is_unreviewed(j->pipeline))
        refuse_job(j, why);
    else
        skip_job(j, why);
    return false;
}

static const char *change_prefix(const struct plan_work *w)
{
    const char *change = w->in->event->change;
    return str_empty(change) ? NULL : arena_printf(w->arena, "change_%s_", change);
}

static void plan_images(const struct job_work *j, const struct plan_how *how)
{
    list_each (const struct image, image, &j->job->images)
        plan_image(j->w, image, how);
}

/* Why a job cannot go through the intermediate registry; NULL: it can. */
static const char *no_intermediate(const struct job_work *j)
{
    return j->w->in->policy->intermediate
               ? NULL
               : "the operator's policy names no `intermediate` registry for this project";
}

static const char *run_prefix(const struct plan_work *w)
{
    return arena_printf(w->arena, "%s_", w->in->run_id ? w->in->run_id : "<run>");
}

/* Where a staged upload goes: to the final repository under the prefix of its change, else of its
 * pipeline; or to the intermediate registry under that of the run. */
static bool stage_upload(const struct job_work *j, struct plan_how *how)
{
    struct plan_work *w = j->w;
    how->write_staged = true;
    how->intermediate = j->job->method == PROMOTE_INTERMEDIATE;
    const char *why = how->intermediate ? no_intermediate(j) : NULL;
    if (why)
        refuse_job(j, why);
    if (how->intermediate)
        how->prefix = run_prefix(w);
    else if (w->vars.change)
        how->prefix = change_prefix(w);
    else
        how->prefix = arena_printf(w->arena, "%s_", pipeline_name(j->pipeline));
    return !why;
}

static void plan_upload(const struct job_work *j)
{
    struct plan_how how = {
        .source = PLAN_FROM_BUILD,
        .only_zuul_tag = !j->row->given && j->w->in->event->kind == EVENT_TAG,
        .vars = &j->job->vars,
    };
    bool has_change = j->w->vars.change != NULL;
    bool staged = !j->job->direct;
    if (!may_build(j))
        return;
    if (staged && has_change && !is_unreviewed(j->pipeline)) {
        refuse_job(j, "it would stage once more what has merged already: promote it, or upload it "
                      "directly (upload_container_image_promote: false)");
        return;
    }
    if (staged && j->pipeline == PIPELINE_CHECK) {
        refuse_job(j, "it would push what nobody has approved: it belongs under gate");
        return;
    }
    if (!staged && is_unreviewed(j->pipeline)) {
        refuse_job(j, "a direct upload would publish what has not merged: it belongs under "
                      "promote, post, tag or release");
        return;
    }
    if (staged && is_unreviewed(j->pipeline) && !has_change) {
        refuse_job(j, "the event has no change to stage for");
        return;
    }
    if (!staged || stage_upload(j, &how))
        plan_images(j, &how);
}

static void plan_builds(const struct job_work *j)
{
    struct plan_how how = {.source = PLAN_FROM_BUILD, .vars = &j->job->vars};
    if (!may_build(j))
        return;
    list_each (const struct image, image, &j->job->images)
        plan_only_build(j->w, image, &how);
}

/* Of a merge: from the staged tags, or from the intermediate registry; of a git tag: what was
 * published for its commit. */
static void plan_promote(const struct job_work *j)
{
    const struct event *e = j->w->in->event;
    struct plan_how how = {.source = PLAN_FROM_PUBLISHED, .vars = &j->job->vars};
    if (e->kind != EVENT_TAG) {
        bool through = j->job->method == PROMOTE_INTERMEDIATE;
        how.source = through ? PLAN_FROM_INTERMEDIATE : PLAN_FROM_STAGED;
        how.prefix = through ? "" : change_prefix(j->w);
        if (e->kind != EVENT_MERGED || str_empty(e->change)) {
            refuse_job(j, "only a merged change has staged tags to promote: it belongs under "
                          "promote, tag or release");
            return;
        }
    }
    how.only_zuul_tag = !j->row->given && e->kind == EVENT_TAG;
    plan_images(j, &how);
}

static void plan_mirror(const struct job_work *j)
{
    const struct plan_input *in = j->w->in;
    const struct mirror_rules rules = {
        .policy = in->policy, .knows_registry = in->knows_registry, .ctx = in->ctx};
    struct diags refused = {.arena = j->w->arena};
    if (is_unreviewed(j->pipeline)) {
        refuse_job(j, "it would write what has not merged: it belongs under promote, tag or "
                      "release, or into the operator's `mirrors`");
        return;
    }
    mirror_resolve(&j->job->mirrors, &rules, &j->w->plan->mirrors, &refused);
    list_each (const struct diag, d, &refused) {
        struct place at = {d->file, d->line, d->column};
        plan_note(j->w, &j->w->plan->refused, at, job_name(j->job->kind), "%s", d->text);
    }
}

static void plan_job(const struct job_work *j)
{
    switch (j->job->kind) {
    case JOB_BUILD:
        plan_builds(j);
        break;
    case JOB_UPLOAD:
        plan_upload(j);
        break;
    case JOB_PROMOTE:
        plan_promote(j);
        break;
    case JOB_MIRROR:
        plan_mirror(j);
        break;
    case JOB__MAX:
        break;
    }
}

static size_t plan_row(struct plan_work *w, enum pipeline pipeline)
{
    const struct imagefile_row *row = &w->in->file->pipelines[pipeline];
    w->vars.pipeline = pipeline_name(pipeline);
    list_each (const struct imagefile_job, job, &row->jobs) {
        struct job_work j = {.w = w, .row = row, .job = job, .pipeline = pipeline};
        plan_job(&j);
    }
    return row->jobs.n;
}

static void clean_images(struct plan_work *w, const struct image_list *images,
                         const struct imagefile_vars *vars)
{
    struct plan_how how = {.prefix = change_prefix(w), .vars = vars, .clean_only = true};
    list_each (const struct image, image, images)
        plan_image(w, image, &how);
}

/* Everything that a gate may have staged: whatever is not there or shows something else is left
 * alone when it comes to it. */
static void plan_closed(struct plan_work *w)
{
    static const enum pipeline rows[] = {PIPELINE_GATE, PIPELINE_PROMOTE};
    if (!change_prefix(w))
        return;
    clean_images(w, &w->in->file->images, &w->in->file->vars);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        list_each (const struct imagefile_job, job, &w->in->file->pipelines[rows[i]].jobs)
            clean_images(w, &job->images, &job->vars);
}

static const char *and_more(struct arena *a, size_t n)
{
    return n > 1 ? arena_printf(a, " (and %zu more)", n - 1) : "";
}

static const char *count_of(struct arena *a, size_t n, const char *what, const char *to)
{
    return arena_printf(a, "%zu %s%s %s", n, what, n == 1 ? "" : "s", to);
}

/* What is built here has its signature still before it. */
static void note_signers(struct plan_work *w)
{
    bool promotes = false;
    list_each (const struct plan_tag, t, &w->plan->tags)
        promotes = promotes || t->source != PLAN_FROM_BUILD;
    if (promotes && w->in->policy)
        list_each (const struct policy_key, k, &w->in->policy->require_signature)
            *list_push(w->arena, &w->plan->signers) = k->path;
}

/* What is staged waits for a merge, what is published is live at once: not in one breath. */
static void refuse_mixed(struct plan_work *w)
{
    const struct plan_tags *tags = &w->plan->tags;
    for (size_t i = 1; i < tags->n; i++)
        if (tags->at[i].staging != tags->at[0].staging) {
            plan_note(w, &w->plan->refused, tags->at[i].image->at, "upload-container-image",
                      "pipeline %s both stages and publishes: give each a pipeline of its own",
                      pipeline_name(w->plan->pipeline));
            return;
        }
}

static void conclude(struct plan_work *w, size_t jobs)
{
    struct plan *p = w->plan;
    struct arena *a = w->arena;
    note_signers(w);
    refuse_mixed(w);
    if (p->refused.n) {
        p->verdict = PLAN_REFUSED;
        p->reason = arena_printf(a, "%s: %s%s", p->refused.at[0].what, p->refused.at[0].why,
                                 and_more(a, p->refused.n));
        p->cleaned.n = 0;
        p->builds.n = 0;
        return;
    }
    if (p->tags.n || p->cleaned.n || p->mirrors.n || p->builds.n) {
        bool staging = p->tags.n && p->tags.at[0].staging;
        p->verdict = PLAN_GO;
        p->reason = p->tags.n ? count_of(a, p->tags.n, "tag", staging ? "to stage" : "to publish")
                    : p->builds.n  ? count_of(a, p->builds.n, "image", "to build")
                    : p->mirrors.n ? count_of(a, p->mirrors.n, "image", "to mirror")
                                   : count_of(a, p->cleaned.n, "staged tag", "to clean up");
        return;
    }
    p->verdict = PLAN_NOTHING;
    if (w->in->event->kind == EVENT_CLOSED)
        p->reason = "the closed change has no staged tags to clean up";
    else if (p->skipped.n)
        p->reason = arena_printf(a, "nothing to publish: %s: %s%s", p->skipped.at[0].what,
                                 p->skipped.at[0].why, and_more(a, p->skipped.n));
    else if (!jobs)
        p->reason = arena_printf(a, "%s has no jobs for pipeline %s", file_name(w),
                                 pipeline_name(p->pipeline));
    else
        p->reason = arena_printf(a, "%s lists no images", file_name(w));
}

/* Both rows have the same default; whoever writes `tag` alone means all git tags, and would have
 * every release published twice, unless `tag: []` leaves them to the other row. */
static bool asks_for_release(const struct imagefile *file)
{
    const struct imagefile_row *tag = &file->pipelines[PIPELINE_TAG];
    return file->pipelines[PIPELINE_RELEASE].given || !tag->given || !tag->jobs.n;
}

void plan_make(const struct plan_input *in, struct arena *a, struct plan *out)
{
    const struct event *e = in->event;
    struct plan_work w = {.in = in, .arena = a, .plan = out, .vars = plan_variables(e)};
    w.vars.now_s = in->now_s;
    *out = (struct plan){.verdict = PLAN_NOTHING};
    (void)plan_pipeline(e->kind, &out->pipeline);
    out->shadow = in->policy && in->policy->mode == POLICY_SHADOW;
    out->reason = not_for_us(&w);
    if (out->reason)
        return;
    size_t jobs = 0;
    if (e->kind == EVENT_CLOSED) {
        plan_closed(&w);
    } else if (!out->refused.n) {
        jobs = plan_row(&w, out->pipeline);
        out->pushes = e->kind == EVENT_MERGED && in->file->pipelines[PIPELINE_POST].jobs.n > 0;
        if (e->kind == EVENT_TAG && looks_like_release(e->tag) && asks_for_release(in->file))
            jobs += plan_row(&w, PIPELINE_RELEASE);
    }
    conclude(&w, jobs);
}
