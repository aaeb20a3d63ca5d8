#include "core/engine/mirror_task.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/mirror.h"
#include "core/os/clock.h"

#include <inttypes.h>

enum { LOOK_BACK = 20 };

#define TIMER_FORGE "clock" /* what stands for a forge in tasks that no forge has sent */

static struct outcome settle(const struct mirror_result *r, const struct task *t, struct arena *a)
{
    struct err err = ERR_INIT;
    const char *summary = mirror_summary(r, a);
    if (!r->count[MIRROR_FAILED])
        return (struct outcome){.state = TASK_DONE, .reason = summary};
    (void)err_set(&err, r->temporary ? ERR_TEMP : ERR_PERM, 0, "%s", summary);
    return outcome_of_error(&err, t->attempt, a);
}

static struct mirror_opts options(const struct engine *e, const struct policy_project *policy)
{
    return (struct mirror_opts){
        .registry = e->registry,
        .rules = {.policy = policy, .knows_registry = engine_knows_registry, .ctx = e->registry},
        .store = e->store,
        .locks = e->locks,
        .may_prune = true,
        .stop = e->stop,
    };
}

struct outcome mirror_task_run(const struct engine *e, const struct task *t,
                               const struct plan *plan, const struct policy_project *policy,
                               struct arena *a)
{
    struct mirror_result result;
    struct mirror_opts opts = options(e, policy);
    mirror_run(&opts, &plan->mirrors, a, &result);
    return settle(&result, t, a);
}

int mirror_task_queue(const struct engine *e, const struct task *t, struct arena *a,
                      struct err *err)
{
    bool known, repeat;
    struct task more = *t;
    more.id = 0;
    more.state = TASK_QUEUED;
    more.pipeline = MIRROR_PIPELINE;
    more.lane = arena_printf(a, "%s " MIRROR_PIPELINE, t->lane);
    more.key = arena_printf(a, "%s " MIRROR_PIPELINE, t->key);
    more.attempt = 0;
    more.fence = 0;
    more.run_at = clock_now_ms();
    more.reason = NULL;
    if (store_task_known(e->store, more.key, &known, err) < 0)
        return -1;
    return known ? 0 : store_task_settle(e->store, &more, &repeat, err);
}

/* ---- by the clock ---------------------------------------------------------------------------- */

static const struct mirror_conf *find_conf(const struct engine *e, const char *name)
{
    if (e->mirrors)
        list_each (const struct mirror_conf, conf, e->mirrors)
            if (str_eq(conf->name, name))
                return conf;
    return NULL;
}

struct outcome mirror_timer_run(const struct engine *e, const struct task *t, const char *name,
                                struct arena *a)
{
    const struct mirror_conf *conf = find_conf(e, name);
    struct diags refused = {.arena = a};
    struct mirror_entries entries = {0};
    struct mirror_result result;
    struct mirror_opts opts = options(e, NULL);
    if (!conf)
        return (struct outcome){.state = TASK_SKIPPED,
                                .reason = "the configuration has no such list any more"};
    mirror_resolve(&conf->items, &opts.rules, &entries, &refused);
    if (refused.errors)
        return (struct outcome){.state = TASK_DEAD, .reason = refused.at[0].text};
    opts.prune = conf->prune;
    opts.rate_min = conf->rate_min;
    opts.timeout_s = conf->timeout_s;
    mirror_run(&opts, &entries, a, &result);
    return settle(&result, t, a);
}

/* May its last task still run? A forge may have a project of that name, too. */
static bool is_under_way(const struct engine *e, const char *name, struct arena *a)
{
    static const enum task_state ends[] = {TASK_DONE, TASK_SKIPPED, TASK_SUPERSEDED, TASK_DEAD,
                                           TASK_CANCELLED};
    struct err err = ERR_INIT;
    struct task_list tasks = {0};
    if (store_tasks_list(e->store, TASK__MAX, name, 0, LOOK_BACK, a, &tasks, &err) < 0)
        return true;
    list_each (const struct task, t, &tasks) {
        if (!str_eq(t->forge, TIMER_FORGE))
            continue;
        for (size_t i = 0; i < ARRAY_LEN(ends); i++)
            if (t->state == ends[i])
                return false;
        return true;
    }
    return false;
}

static bool queue_one(const struct engine *e, const struct mirror_conf *conf, int64_t span,
                      int64_t now_ms)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    bool repeat;
    const char *project = arena_printf(&a, "mirrors/%s", conf->name);
    struct event event = {.kind = EVENT_TIMER, .forge = TIMER_FORGE, .project = conf->name};
    struct task task = {
        .state = TASK_QUEUED,
        .forge = TIMER_FORGE,
        .project = project,
        .pipeline = pipeline_name(PIPELINE_PERIODIC),
        .lane = project,
        .key = arena_printf(&a, "%s %" PRId64 " %" PRId64, project, conf->every_s, span),
        .ref = project,
        .event = event_to_json(&event, &a),
        .order = {.project = project},
        .received_at = now_ms,
        .run_at = now_ms,
    };
    if (is_under_way(e, project, &a))
        return false;
    if (store_task_settle(e->store, &task, &repeat, &err) == 0)
        return true;
    log_warn("a mirror list that is due could not be queued; tried again", "list", conf->name,
             "reason", err.text, NULL);
    return false;
}

void mirror_timer_queue(const struct engine *e, int64_t *spans, int64_t now_ms)
{
    for (size_t i = 0; e->mirrors && i < e->mirrors->n; i++) {
        const struct mirror_conf *conf = &e->mirrors->at[i];
        int64_t span = now_ms / 1000 / conf->every_s;
        if (spans[i] != span && queue_one(e, conf, span, now_ms))
            spans[i] = span;
    }
}
