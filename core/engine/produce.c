#include "core/engine/produce.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/ask.h"
#include "core/engine/building.h"
#include "core/engine/closed.h"
#include "core/engine/intake.h"
#include "core/engine/prepare.h"
#include "core/engine/provenance.h"
#include "core/engine/publish.h"
#include "core/engine/report.h"
#include "core/engine/stage.h"
#include "core/os/clock.h"

#include <errno.h>

enum { NEWER_MAX = 20 };

struct production {
    const struct engine *engine;
    struct task *task;
    const struct event *event;
    struct plan *plan;
    const struct policy_project *policy;
    struct arena *arena;
};

static bool has_source(const struct plan *plan, enum plan_source source)
{
    list_each (const struct plan_tag, t, &plan->tags)
        if (t->source == source)
            return true;
    return false;
}

bool produce_wants(const struct plan *plan)
{
    return plan->builds.n || has_source(plan, PLAN_FROM_BUILD) ||
           has_source(plan, PLAN_FROM_INTERMEDIATE);
}

static bool is_staging(const struct plan *plan)
{
    return plan->tags.n && plan->tags.at[0].staging;
}

static const char *key_of(const struct production *p)
{
    return p->task->key;
}

/* ---- superseded by what is newer ------------------------------------------------------------- */

static bool writes(const struct plan *plan, const struct plan_tag *t)
{
    list_each (const struct plan_tag, other, &plan->tags)
        if (str_eq(other->registry, t->registry) && str_eq(other->name, t->name) &&
            str_eq(other->tag, t->tag))
            return true;
    return false;
}

/* Numbered patchsets tell, then the forge's times; what came later is newer only where neither
 * does.
 */
static bool is_later_patchset(const struct event *mine, const struct event *other)
{
    int64_t a = 0, b = 0;
    if (mine->patchset && other->patchset && str_to_i64(mine->patchset, &a) &&
        str_to_i64(other->patchset, &b) && a != b)
        return b > a;
    return !mine->happened_at || !other->happened_at || other->happened_at >= mine->happened_at;
}

/* What was told later may be older all the same; where nobody can say, it is not newer. */
static bool is_newer(const struct production *p, const struct task *task, const struct event *event)
{
    struct err ignored = ERR_INIT;
    enum ancestry related = ANCESTRY_NOT_ASKED;
    struct order_key other = task->order;
    other.commit = event->order_commit;
    other.happened_at = event->happened_at;
    if (order_wants_ancestry(&other, &p->task->order) &&
        ask_ancestry(p->engine, event, &other, &p->task->order, &related, &ignored) < 0)
        return false;
    return order_compare(&other, &p->task->order, related) == ORDER_NEWER;
}

/* Will the later task write all that this one would, so that nobody misses it? */
static bool is_covered(const struct production *p, const struct task *later)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err ignored = ERR_INIT;
    struct event event = {0};
    struct plan plan = {0};
    if (event_from_json(later->event, &a, &event, &ignored) < 0)
        return false;
    /* Another patchset of the same change: nobody waits for what the former one built. */
    if (p->event->kind == EVENT_OPENED || p->event->kind == EVENT_GATED)
        return event.kind == p->event->kind && str_eq(event.change, p->event->change) &&
               is_later_patchset(p->event, &event);
    if (intake_plan(p->engine, &event, &a, &plan, &ignored) < 0 || plan.verdict != PLAN_GO ||
        plan.shadow || !is_newer(p, later, &event))
        return false;
    list_each (const struct plan_tag, t, &p->plan->tags)
        if (t->immutable || !writes(&plan, t))
            return false;
    return p->plan->tags.n > 0;
}

/* What a later patchset's run staged is not written over by an earlier one's. */
static bool is_outdated(const struct production *p, struct outcome *out)
{
    struct err ignored = ERR_INIT;
    struct staged row;
    bool is_there = false;
    int64_t mine, theirs;
    if (p->event->kind != EVENT_GATED || !p->event->patchset || !p->engine->store ||
        store_staged_get(p->engine->store, p->event->forge, p->event->project, p->event->change,
                         p->arena, &row, &is_there, &ignored) < 0 ||
        !is_there || !row.patchset || !str_to_i64(p->event->patchset, &mine) ||
        !str_to_i64(row.patchset, &theirs) || theirs <= mine)
        return false;
    *out = (struct outcome){
        .state = TASK_SUPERSEDED,
        .reason = arena_printf(p->arena, "patchset %s of change %s is staged already", row.patchset,
                               p->event->change),
    };
    return true;
}

static bool is_closed(const struct production *p, struct outcome *out)
{
    bool of_change = p->event->kind == EVENT_OPENED || p->event->kind == EVENT_GATED;
    if (!of_change || !closed_since(p->engine, p->task))
        return false;
    *out = (struct outcome){
        .state = TASK_SUPERSEDED,
        .reason = arena_printf(p->arena, "change %s was closed meanwhile", p->event->change),
    };
    return true;
}

static bool is_superseded(const struct production *p, struct outcome *out)
{
    struct err ignored = ERR_INIT;
    struct task_list newer = {0};
    if (is_outdated(p, out) || is_closed(p, out))
        return true;
    if (!p->task->id || store_lane_newer(p->engine->store, p->task->lane, p->task->id, NEWER_MAX,
                                         p->arena, &newer, &ignored) < 0)
        return false;
    list_each (const struct task, t, &newer) {
        if (t->state == TASK_WAITING || !is_covered(p, t))
            continue;
        p->task->superseded_by = t->id;
        *out = (struct outcome){
            .state = TASK_SUPERSEDED,
            .reason = arena_printf(
                p->arena, "task %lld is newer and %s; should it fail, this one runs",
                (long long)t->id, p->plan->tags.n ? "writes the same tags" : "builds the same"),
        };
        return true;
    }
    return false;
}

/* ---- on_stale: rebuild ----------------------------------------------------------------------- */

/* The gate's staged tag has no use any more; it goes while it shows what was recorded. */
static void let_go(struct plan_tag *t, const struct staged *row, struct arena *a)
{
    const char *repository = arena_printf(a, "%s/%s", t->registry, t->name);
    list_each (const struct event_image, i, &row->images)
        if (str_eq(i->repository, repository) && str_eq(i->tag, t->staged_tag)) {
            t->spent = (struct plan_spent){t->registry, t->name, t->staged_tag, i->digest};
        }
}

static void build_instead(struct production *p, const struct staged *row)
{
    struct plan *plan = p->plan;
    list_each (struct plan_tag, t, &plan->tags) {
        if (t->source != PLAN_FROM_STAGED && t->source != PLAN_FROM_INTERMEDIATE)
            continue;
        struct plan_build *build = NULL;
        list_each (struct plan_build, b, &plan->builds)
            if (b->image == t->image)
                build = b;
        if (!build) {
            build = list_push(p->arena, &plan->builds);
            *build =
                (struct plan_build){.image = t->image,
                                    .vars = t->vars,
                                    .label = arena_printf(p->arena, "%s/%s", t->registry, t->name),
                                    .at = t->image->at};
        }
        *list_push(p->arena, &build->refs) =
            arena_printf(p->arena, "%s/%s:%s", t->registry, t->name, t->tag);
        if (t->staged_tag)
            let_go(t, row, p->arena);
        t->source = PLAN_FROM_BUILD;
        t->staged_tag = t->wanted = NULL;
        t->build = (size_t)(build - plan->builds.at);
    }
}

bool produce_rebuilds(const struct engine *e, const struct event *event, struct plan *plan,
                      const struct policy_project *policy, struct arena *a)
{
    struct production p = {.engine = e, .event = event, .plan = plan, .arena = a};
    struct err err = ERR_INIT;
    const struct staged *row;
    struct staged stale = {0};
    bool found = false;
    if (policy->on_stale != STALE_REBUILD || !policy->may_build[PIPELINE_PROMOTE] ||
        event->kind != EVENT_MERGED || !event->change ||
        provenance_row(e, event, policy, a, &row, &err) == 0 || err.code != ESTALE)
        return false;
    struct err ignored = ERR_INIT;
    (void)store_staged_get(e->store, event->forge, event->project, event->change, a, &stale, &found,
                           &ignored);
    build_instead(&p, &stale);
    plan->rebuilt = arena_printf(a, "built anew from what merged, since %.*s",
                                 (int)strcspn(err.text, ";"), err.text);
    return true;
}

/* ---- reports --------------------------------------------------------------------------------- */

/* Its end is told when the task has been settled. */
static void tell_begin(const struct production *p)
{
    const struct report r = {
        .state = REPORT_PENDING, .pipeline = p->task->pipeline, .summary = "building"};
    report_queue(p->engine, p->event, p->task->id, &r);
}

static struct outcome failed(const struct production *p, const struct err *err, const char *tail)
{
    struct outcome out = outcome_of_error(err, p->task->attempt, p->arena);
    if (p->plan->rebuilt)
        out.reason = arena_printf(p->arena, "%s; %s", out.reason, p->plan->rebuilt);
    out.detail = tail;
    return out;
}

/* ---- the flow -------------------------------------------------------------------------------- */

static struct outcome built_only(const struct production *p)
{
    size_t n = p->plan->builds.n;
    const char *text = arena_printf(p->arena, "%zu image%s built", n, n == 1 ? "" : "s");
    return (struct outcome){.state = TASK_DONE, .reason = text};
}

static struct outcome staged_all(const struct production *p)
{
    struct err err = ERR_INIT;
    size_t n = p->plan->tags.n;
    if (stage_run(p->engine, p->task, p->event, p->plan, p->arena, &err) < 0)
        return err.kind == ERR_PERM && err.code == ECANCELED
                   ? (struct outcome){.state = TASK_SUPERSEDED,
                                      .reason = arena_strdup(p->arena, err.text)}
                   : failed(p, &err, NULL);
    const char *text = arena_printf(p->arena, "%zu tag%s staged", n, n == 1 ? "" : "s");
    return (struct outcome){.state = TASK_DONE, .reason = text};
}

/* Builds and pushes. True: on to the tags. */
static bool make(struct production *p, struct outcome *out)
{
    struct err err = ERR_INIT;
    struct built_list built = {0};
    const struct building_opts opts = {.key = key_of(p)};
    const char *tail = NULL;
    if (is_superseded(p, out))
        return false;
    /* Whoever waits for the builder says so once, and not to the forge at every look. */
    if (building_is_busy(p->engine)) {
        *out = outcome_of_busy(BUILDING_BUSY, p->arena);
        return false;
    }
    tell_begin(p);
    if (prepare_prove(p->engine, p->plan, p->arena, &err) < 0) {
        *out = failed(p, &err, NULL);
        return false;
    }
    if (building_run(p->engine, p->event, p->plan, p->policy, &opts, p->arena, &built, &tail,
                     &err) < 0) {
        *out = err.kind == ERR_TEMP && err.code == EBUSY ? outcome_of_busy(err.text, p->arena)
                                                         : failed(p, &err, tail);
        return false;
    }
    if (prepare_built(p->engine, p->plan, &built, p->arena, &err) == 0)
        return true;
    *out = failed(p, &err, NULL);
    return false;
}

struct outcome produce_run(const struct engine *e, struct task *t, const struct event *event,
                           struct plan *plan, const struct policy_project *policy, struct arena *a,
                           bool *settled)
{
    struct production p = {
        .engine = e, .task = t, .event = event, .plan = plan, .policy = policy, .arena = a};
    struct err err = ERR_INIT;
    struct outcome out = {0};
    bool goes_on = true;
    *settled = false;
    /* What is fetched is found before anything is built for nothing. */
    if (has_source(plan, PLAN_FROM_INTERMEDIATE) &&
        prepare_intermediate(e, event, plan, policy, a, &err) < 0)
        return err.kind == ERR_TEMP && err.code == ENOENT
                   ? outcome_of_wait(t, policy->wait_for_staged_s, &err, a)
                   : outcome_of_error(&err, t->attempt, a);
    if (plan->builds.n)
        goes_on = make(&p, &out);
    if (goes_on)
        out = is_staging(plan) ? staged_all(&p)
              : plan->tags.n   ? publish_run(e, t, event, plan, policy, a, settled)
                               : built_only(&p);
    out.promised = plan->builds.n > 0;
    return out;
}
