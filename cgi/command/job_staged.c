#include "cgi/command/job_staged.h"

#include "core/base/str.h"
#include "core/engine/labels.h"
#include "core/engine/presence.h"

enum look { LOOK_THERE, LOOK_LIVE, LOOK_GONE, LOOK_FAILED };

static const char *full_name(const char *host, const char *name, const char *tag, struct arena *a)
{
    return arena_printf(a, "%s/%s:%s", host, name, tag);
}

static void say_gone(const struct job *j, const char *what, const struct presence *p)
{
    if (p->digest)
        (void)fprintf(stderr, "slipway %s: %s is not whole: %s is not there\n", j->cmd->name, what,
                      p->missing);
    else
        (void)fprintf(stderr,
                      "slipway %s: %s is not there: promoted and moved on since, cleaned up, or "
                      "never uploaded\n",
                      j->cmd->name, what);
}

/* Does the final tag say that it was built for this change? */
static enum look look_at_final(const struct job *j, const struct plan_tag *t, struct err *err)
{
    struct labels labels;
    if (labels_read(&j->engine, t->registry, t->name, t->tag, j->arena, &labels, err) < 0)
        return LOOK_FAILED;
    if (!str_eq(labels.change, j->event.change) ||
        (labels.change_url && !labels_url_fits(labels.change_url, &j->event)))
        return LOOK_GONE;
    if (!j->flags->quiet)
        (void)fprintf(stderr, "slipway %s: %s is of change %s already\n", j->cmd->name,
                      job_target(t, j->arena), j->event.change);
    return LOOK_LIVE;
}

/* Something of it is not there: said, unless it is live. */
static enum look look_at_what_is_left(const struct job *j, const struct plan_tag *t,
                                      const char *full, const struct presence *p, struct err *err)
{
    enum look found = p->digest ? LOOK_GONE : look_at_final(j, t, err);
    if (found == LOOK_GONE)
        say_gone(j, full, p);
    return found;
}

static enum look look_at_staged(const struct job *j, const struct plan_tag *t, struct err *err)
{
    struct presence p;
    if (presence_look(&j->engine, t->registry, t->name, t->staged_tag, j->arena, &p, err) < 0)
        return LOOK_FAILED;
    if (!p.missing)
        return LOOK_THERE;
    return look_at_what_is_left(j, t, full_name(t->registry, t->name, t->staged_tag, j->arena), &p,
                                err);
}

/* Where nobody keeps records, the run's name tells which of the images it is. */
static enum look look_between(struct job *j, const struct plan_tag *t, struct err *err)
{
    const char *host, *name;
    struct presence p;
    if (t->vars->promote_api || t->vars->promote_job || t->vars->promote_query)
        return LOOK_THERE; /* Zuul knows */
    if (!j->flags->run_id || !j->entry.intermediate) {
        (void)err_set(err, ERR_CONFIG, 0,
                      "%s comes from an intermediate registry, and no store is at hand that knows "
                      "of it: say --run-id ID of its upload and --intermediate HOST/PREFIX",
                      job_target(t, j->arena));
        return LOOK_FAILED;
    }
    const char *repository = arena_printf(j->arena, "%s/%s", t->registry, t->name);
    (void)plan_intermediate(j->entry.intermediate, repository, j->arena, &host, &name);
    const char *tag = arena_printf(j->arena, "%s_%s", j->flags->run_id, t->wanted);
    if (presence_look(&j->engine, host, name, tag, j->arena, &p, err) < 0)
        return LOOK_FAILED;
    if (p.missing)
        return look_at_what_is_left(j, t, full_name(host, name, tag, j->arena), &p, err);
    *list_push(j->arena, &j->staged.images) = (struct event_image){
        .repository = arena_printf(j->arena, "%s/%s", host, name), .tag = tag, .digest = p.digest};
    return LOOK_THERE;
}

static void begin_record(struct job *j)
{
    j->staged = j->event;
    j->staged.kind = EVENT_STAGED;
    j->staged.tree = j->tree;
    j->staged.images.n = 0;
}

bool job_staged_look(struct job *j, int *code)
{
    struct plan_tags left = {0};
    bool gone = false;
    begin_record(j);
    list_each (const struct plan_tag, t, &j->plan.tags) {
        struct err err = ERR_INIT;
        enum look found = t->source == PLAN_FROM_STAGED         ? look_at_staged(j, t, &err)
                          : t->source == PLAN_FROM_INTERMEDIATE ? look_between(j, t, &err)
                                                                : LOOK_THERE;
        if (found == LOOK_FAILED) {
            *code = job_failed(j, &err, NULL);
            return false;
        }
        gone |= found == LOOK_GONE;
        if (found != LOOK_LIVE)
            *list_push(j->arena, &left) = *t;
    }
    *code = EXIT_NOT_FOUND;
    if (j->plan.tags.n && !left.n) {
        j->plan.verdict = PLAN_NOTHING;
        j->plan.reason = arena_printf(j->arena, "change %s is live already", j->event.change);
    }
    j->plan.tags = left;
    return !gone;
}
