#include "core/engine/deliver.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/plan.h"
#include "core/engine/closed.h"

/* What a kind of event leads to here. */
static const struct {
    bool starts; /* a task */
    const char *ignored;
} kinds[EVENT__MAX] = {
    [EVENT_OPENED] = {true, NULL},
    [EVENT_GATED] = {true, NULL},
    [EVENT_MERGED] = {true, NULL},
    [EVENT_CLOSED] = {true, NULL},
    [EVENT_BRANCH] = {true, NULL},
    [EVENT_BRANCH_DELETED] = {false, NULL},
    [EVENT_TAG] = {true, NULL},
    [EVENT_TAG_DELETED] = {false, NULL},
    [EVENT_STAGED] = {false, NULL},
    [EVENT_TIMER] = {false, "no delivery can say what the clock says"},
};

void deliver_task(const struct event *event, int64_t delivery, int64_t received_at, struct arena *a,
                  struct task *out)
{
    enum pipeline pipeline;
    const char *name =
        plan_pipeline(event->kind, &pipeline) ? pipeline_name(pipeline) : CLOSED_PIPELINE;
    const char *ref = event->change ? arena_printf(a, "change/%s", event->change)
                      : event->tag  ? arena_printf(a, "refs/tags/%s", event->tag)
                                    : arena_printf(a, "refs/heads/%s", event->branch);
    const char *commit = event->order_commit ? event->order_commit : event->staged_commit;
    /* A change may be closed, reopened and closed again. */
    const char *once = event->kind == EVENT_CLOSED ? arena_printf(a, "%lld", (long long)delivery)
                       : commit                    ? commit
                                                   : "-";
    bool of_change =
        event->kind == EVENT_OPENED || event->kind == EVENT_GATED || event->kind == EVENT_CLOSED;
    const char *lane_ref = event->branch && !of_change ? event->branch : ref;
    *out = (struct task){
        .delivery = delivery,
        .state = TASK_QUEUED,
        .forge = event->forge,
        .project = event->project,
        .pipeline = name,
        .ref = ref,
        .event = event_to_json(event, a),
        .lane = arena_printf(a, "%s %s %s %s", event->forge, event->project, lane_ref, name),
        .key = arena_printf(a, "%s %s %s %s %s", event->forge, event->project, name, ref, once),
        .order = {.project = arena_printf(a, "%s/%s", event->forge, event->project),
                  .commit = commit,
                  .happened_at = event->happened_at,
                  .seq = delivery,
                  .version = event->change ? NULL : event->tag},
        .received_at = received_at,
    };
}

/* An event that policy knows nothing of is kept as ignored: mended, it is taken up again. */
static const char *why_ignored(const struct engine *e, const struct event *event, struct arena *a)
{
    if (kinds[event->kind].ignored)
        return kinds[event->kind].ignored;
    if (event->kind == EVENT_TAG_DELETED || event->kind == EVENT_BRANCH_DELETED)
        return NULL;
    const struct policy_project *policy = policy_find(e->policy, event->forge, event->project);
    enum pipeline pipeline;
    if (!policy)
        return arena_printf(a, "no entry of `projects` matches %s of forge %s", event->project,
                            event->forge);
    /* These do nothing but build. */
    bool builds =
        event->kind == EVENT_OPENED || event->kind == EVENT_GATED || event->kind == EVENT_BRANCH;
    if (builds && plan_pipeline(event->kind, &pipeline) && !policy->may_build[pipeline])
        return arena_printf(a, "policy does not let this project build in %s (may_build)",
                            pipeline_name(pipeline));
    return NULL;
}

/* What lies in the intermediate registry has the run in front of its tag, and its name is that of a
 * repository to which the project may publish. */
static bool is_intermediate(const struct policy_project *policy, const struct event *event,
                            const struct event_image *image, struct arena *a)
{
    const char *prefix = arena_printf(a, "%s_", event->run_id ? event->run_id : "");
    return event->run_id && str_starts(image->tag, prefix) &&
           policy_behind(policy, image->repository, a);
}

/* A gate may only record its own change's staged tags, where its project may publish: otherwise one
 * project could claim those of another. */
static const char *why_not_staged(const struct engine *e, const struct event *event,
                                  struct arena *a)
{
    const struct policy_project *policy = policy_find(e->policy, event->forge, event->project);
    const char *prefix = arena_printf(a, "change_%s_", event->change);
    list_each (const struct event_image, image, &event->images) {
        if (is_intermediate(policy, event, image, a))
            continue;
        if (!str_starts(image->tag, prefix))
            return arena_printf(a, "%s:%s is no staged tag of change %s: it would start with %s",
                                image->repository, image->tag, event->change, prefix);
        if (!policy_may_publish(policy, image->repository))
            return arena_printf(a, "policy does not let %s publish to %s", event->project,
                                image->repository);
    }
    return NULL;
}

static const char *sort_event(const struct engine *e, const struct delivery *d,
                              const struct event *event, struct arena *a, struct delivered *out)
{
    const char *ignored = why_ignored(e, event, a);
    if (ignored)
        return ignored;
    if (event->kind == EVENT_STAGED) {
        ignored = why_not_staged(e, event, a);
        if (!ignored)
            *list_push(a, &out->staged) = *event;
        return ignored;
    }
    if (!kinds[event->kind].starts) {
        *list_push(a, &out->deleted) = *event;
        return NULL;
    }
    deliver_task(event, d->id, d->received_at, a, list_push(a, &out->tasks));
    *list_push(a, &out->events) = *event;
    return NULL;
}

/* A sender whose clock is far ahead would otherwise win over all others until that time comes. */
static void drop_future(struct event *event, int64_t received_at)
{
    if (event->happened_at > received_at / 1000 + LIMIT_EVENT_AHEAD_S)
        event->happened_at = 0;
}

void deliver_sort(const struct engine *e, const struct delivery *d, struct arena *a,
                  struct delivered *out)
{
    struct err err = ERR_INIT;
    struct event_list events = {0};
    const struct forge_conf *conf = engine_forge(e, d->source);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    struct http_req req = {.method = "POST",
                           .url = "/",
                           .query = "",
                           .headers = d->headers,
                           .body = d->body,
                           .body_len = d->body_len};
    *out = (struct delivered){.verdict = DELIVERY_IGNORED};
    if (!forge) {
        out->reason = arena_printf(a, "forge '%s' is not configured (any more)", d->source);
        return;
    }
    if (forge->parse(conf, &req, a, &events, &out->reason, &err) < 0) {
        out->verdict = DELIVERY_MALFORMED;
        out->reason = arena_strdup(a, err.text);
        return;
    }
    list_each (struct event, event, &events) {
        drop_future(event, d->received_at);
        const char *ignored = sort_event(e, d, event, a, out);
        if (ignored)
            out->reason = ignored;
    }
    if (out->tasks.n || out->staged.n || out->deleted.n)
        out->verdict = DELIVERY_TAKEN;
    else if (!out->reason)
        out->reason = "it says nothing that Slipway acts on";
}
