#include "core/engine/run.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/retry.h"
#include "core/engine/building.h"
#include "core/engine/closed.h"
#include "core/engine/deliver.h"
#include "core/engine/intake.h"
#include "core/engine/mirror_task.h"
#include "core/engine/produce.h"
#include "core/engine/publish.h"
#include "core/engine/report.h"
#include "core/engine/rollback.h"
#include "core/os/clock.h"
#include "core/os/random.h"

#include <errno.h>
#include <inttypes.h>

enum { CONFIRM_AGAIN_MS = 5000, BESIDE_AGAIN_MS = 60000, RUN_ID_DIGITS = 16 };

static void log_outcome(const struct task *t, const struct outcome *out, int64_t started_ms)
{
    char id[24], took[24], since[24];
    bool bad = out->state == TASK_DEAD || out->state == TASK_PARTIAL;
    int64_t end = t->live_at ? t->live_at : clock_now_ms();
    (void)snprintf(id, sizeof id, "%" PRId64, t->id);
    (void)snprintf(took, sizeof took, "%" PRId64, clock_monotonic_ms() - started_ms);
    (void)snprintf(since, sizeof since, "%" PRId64, end - t->received_at);
    log_at(bad ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "task", "id", id, "state",
           task_state_name(out->state), "project", t->project, "pipeline", t->pipeline, "ref",
           t->ref, "ms", took, "since_received_ms", since, "reason", out->reason, NULL);
}

/* Counts the attempt and writes the outcome, unless the store has it already. */
static bool settle(const struct engine *e, struct task *t, struct outcome *out, bool settled)
{
    struct err err = ERR_INIT;
    if (settled)
        return true;
    t->state = out->state;
    t->reason = out->reason;
    t->run_at = out->run_at;
    if (store_task_settle(e->store, t, t->id ? NULL : &out->repeat, &err) == 0)
        return true;
    log_error("a task's outcome could not be stored; it is taken up again", "project", t->project,
              "ref", t->ref, "reason", err.text, NULL);
    return false;
}

/* "Merged, but the forge does not say so yet" is tried for ten minutes, whatever the attempts. */
static struct outcome not_yet(const struct task *t, const struct err *err, struct arena *a)
{
    int64_t now = clock_now_ms(), limit = (int64_t)LIMIT_CONFIRM_S * 1000;
    bool over = now - t->received_at >= limit;
    return (struct outcome){
        .state = over ? TASK_DEAD : TASK_FAILED,
        .run_at = now + CONFIRM_AGAIN_MS,
        .reason = over ? arena_printf(a, "%s; asked for %d s", err->text, LIMIT_CONFIRM_S)
                       : arena_strdup(a, err->text),
        .patient = true,
    };
}

static const char *list_notes(const struct plan_notes *notes, struct arena *a)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(2000);
    list_each (const struct plan_note, note, notes) {
        (void)strbuf_addf(&text, "%s", text.len ? "; " : "");
        if (note->at.file)
            (void)strbuf_addf(&text, "%s:%u:%u: ", note->at.file, note->at.line, note->at.column);
        (void)strbuf_addf(&text, "%s: %s", note->what, note->why);
    }
    return strbuf_to_arena(&text, a);
}

/* What the plan alone decides. True when it is the outcome. */
static bool decided_by_plan(const struct plan *plan, struct arena *a, struct outcome *out)
{
    *out = (struct outcome){.state = TASK_SKIPPED, .reason = plan->reason};
    if (plan->verdict == PLAN_NOTHING) {
        if (plan->skipped.n > 1)
            out->reason = arena_printf(a, "nothing to publish: %s", list_notes(&plan->skipped, a));
        return true;
    }
    if (plan->verdict == PLAN_REFUSED) {
        out->state = TASK_DEAD;
        out->reason = arena_printf(a, "refused: %s", list_notes(&plan->refused, a));
        return true;
    }
    if (plan->shadow) {
        out->reason = arena_printf(a, "mode is shadow, nothing was written: %s", plan->reason);
        return true;
    }
    return false;
}

static struct outcome outcome_of_repeat(void)
{
    return (struct outcome){
        .state = TASK_SKIPPED, .reason = "a task that is in hand says the same", .repeat = true};
}

/* Mirroring and building may take long, and what ends the process may do so every time: the attempt
 * is counted before it begins, so that a crash leads to a retry after a pause, and in the end to
 * none. True: it may begin. */
static bool begin_long(const struct engine *e, struct task *t, struct arena *a, bool *settled,
                       struct outcome *out)
{
    struct err err = ERR_INIT;
    bool repeat = false;
    int64_t delay = 0;
    (void)err_set(&err, ERR_TEMP, 0, "each time the process ended before the task did");
    if (t->attempt > LIMIT_ATTEMPTS) {
        *out = outcome_of_error(&err, t->attempt - 1, a);
        return false;
    }
    int known = t->attempt < LIMIT_ATTEMPTS ? t->attempt : LIMIT_ATTEMPTS - 1;
    (void)retry_next(&err, known, random_below(1000), &delay);
    t->state = TASK_QUEUED;
    t->reason = NULL;
    t->run_at = clock_now_ms() + delay;
    if (store_task_settle(e->store, t, t->id ? NULL : &repeat, &err) < 0) {
        *out = outcome_of_error(&err, t->attempt, a);
        return false;
    }
    *settled = repeat;
    if (repeat)
        *out = outcome_of_repeat();
    return !repeat;
}

/* The same for each attempt at a task: what a former one left in an intermediate registry is taken
 * up again. */
static const char *run_id_of(const struct task *t, struct arena *a)
{
    char digest[CRYPT_SHA256_HEX];
    const char *text = arena_printf(a, "%s %" PRId64, t->key, t->received_at);
    crypt_sha256_hex(text, strlen(text), digest);
    return arena_strndup(a, digest, RUN_ID_DIGITS);
}

/* Where nobody tells of the push that a merge is, its task is made from the merge. One that was
 * told of has the same key. */
static int queue_push(const struct engine *e, const struct task *t, const struct event *merge,
                      struct arena *a, struct err *err)
{
    const struct policy_project *policy = policy_find(e->policy, merge->forge, merge->project);
    const struct forge_conf *conf = engine_forge(e, merge->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    const struct event push = {.kind = EVENT_BRANCH,
                               .forge = merge->forge,
                               .project = merge->project,
                               .branch = merge->branch,
                               .default_branch = merge->default_branch,
                               .list_commit = merge->list_commit,
                               .order_commit = merge->list_commit,
                               .staged_commit = merge->list_commit,
                               .happened_at = merge->happened_at};
    struct task task;
    bool known, ignored;
    if (!forge || !forge->merge_is_push || !policy || !policy->may_build[PIPELINE_POST])
        return 0;
    deliver_task(&push, t->delivery, t->received_at, a, &task);
    task.run_at = clock_now_ms();
    if (store_task_known(e->store, task.key, &known, err) < 0)
        return -1;
    return known ? 0 : store_task_settle(e->store, &task, &ignored, err);
}

/* What a merge leads to besides its own task becomes tasks of their own, once. The merge is stored
 * before them: their commit settles the delivery. */
static int queue_beside(const struct engine *e, struct task *t, const struct event *event,
                        const struct plan *plan, struct arena *a, bool *repeat, struct err *err)
{
    *repeat = false;
    if (str_eq(t->pipeline, MIRROR_PIPELINE) ||
        (!plan->pushes && !(plan->mirrors.n && plan->tags.n)))
        return 0;
    if (!t->id) {
        t->state = TASK_QUEUED;
        t->run_at = clock_now_ms() + BESIDE_AGAIN_MS;
        if (store_task_settle(e->store, t, repeat, err) < 0 || *repeat)
            return *repeat ? 0 : -1;
    }
    if (plan->pushes && queue_push(e, t, event, a, err) < 0)
        return -1;
    return plan->mirrors.n && plan->tags.n && plan->verdict == PLAN_GO && !plan->shadow
               ? mirror_task_queue(e, t, a, err)
               : 0;
}

static struct outcome pursue(const struct engine *e, struct task *t, struct arena *a, bool *settled)
{
    struct err err = ERR_INIT;
    struct event event = {0};
    struct plan plan = {0};
    struct outcome out;
    if (event_from_json(t->event, a, &event, &err) < 0)
        return outcome_of_error(&err, t->attempt, a);
    if (event.kind == EVENT_TIMER)
        return begin_long(e, t, a, settled, &out) ? mirror_timer_run(e, t, event.project, a) : out;
    if (event.kind == EVENT_ROLLBACK)
        return rollback_task_run(e, t, &event, a, settled);
    if (event.kind == EVENT_CLOSED)
        return closed_run(e, t, &event, a);
    /* Whoever waited for the builder the last time need not read and plan anew to wait on. */
    if (str_eq(t->reason, BUILDING_BUSY) && building_is_busy(e))
        return outcome_of_busy(BUILDING_BUSY, a);
    event.run_id = run_id_of(t, a);
    if (intake_plan(e, &event, a, &plan, &err) < 0)
        return err.kind == ERR_TEMP && err.code == EAGAIN ? not_yet(t, &err, a)
                                                          : outcome_of_error(&err, t->attempt, a);
    t->order.commit = event.order_commit;
    t->order.happened_at = event.happened_at;
    t->event = event_to_json(&event, a);
    bool repeat;
    if (queue_beside(e, t, &event, &plan, a, &repeat, &err) < 0)
        return outcome_of_error(&err, t->attempt, a);
    if (repeat) {
        *settled = true;
        return outcome_of_repeat();
    }
    if (decided_by_plan(&plan, a, &out))
        return out;
    const struct policy_project *policy = policy_find(e->policy, event.forge, event.project);
    if (str_eq(t->pipeline, MIRROR_PIPELINE) || (plan.mirrors.n && !plan.tags.n))
        return begin_long(e, t, a, settled, &out) ? mirror_task_run(e, t, &plan, policy, a) : out;
    if (produce_rebuilds(e, &event, &plan, policy, a) || produce_wants(&plan))
        return begin_long(e, t, a, settled, &out)
                   ? produce_run(e, t, &event, &plan, policy, a, settled)
                   : out;
    return publish_run(e, t, &event, &plan, policy, a, settled);
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool is_over(enum task_state state)
{
    static const bool over[TASK__MAX] = {
        [TASK_DONE] = true, [TASK_SKIPPED] = true, [TASK_SUPERSEDED] = true,
        [TASK_DEAD] = true, [TASK_PARTIAL] = true, [TASK_CANCELLED] = true,
    };
    return over[state];
}

/* A forge that gates on a pipeline, or was told that something is under way, is told the end,
 * whatever it is. */
static void report_end(const struct engine *e, const struct task *t, const struct outcome *out,
                       struct arena *a)
{
    static const char *const gates[] = {"check", "gate"}, *const builds[] = {"tag", "post"};
    struct err ignored = ERR_INIT;
    struct event event = {0};
    bool wanted = out->promised;
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        wanted = wanted || str_eq(t->pipeline, gates[i]) ||
                 (t->attempt > 1 && str_eq(t->pipeline, builds[i]));
    if (!wanted || out->repeat || !is_over(out->state) ||
        event_from_json(t->event, a, &event, &ignored) < 0)
        return;
    const struct report r = {
        .state =
            out->state == TASK_DONE || out->state == TASK_SKIPPED ? REPORT_SUCCESS : REPORT_FAILURE,
        .pipeline = t->pipeline,
        .summary = out->reason,
        .body = out->detail,
    };
    report_queue(e, &event, t->id, &r);
}

/* What is at its end needs no sources and layouts any more; a retry by hand builds anew. */
static void forget_builds(const struct engine *e, const struct task *t, const struct outcome *out)
{
    if (is_over(out->state) && !out->repeat)
        building_forget(e, t->key);
}

/* A report that is lost in a crash would leave the forge waiting, so it comes before the end is on
 * disk, and perhaps twice; a task that has no number yet gets it there. */
static bool finish(const struct engine *e, struct task *t, struct outcome *out, bool settled,
                   int64_t started_ms, struct arena *a)
{
    bool stored = t->id != 0;
    if (stored)
        report_end(e, t, out, a);
    bool known = settle(e, t, out, settled);
    if (!stored)
        report_end(e, t, out, a);
    if (known)
        forget_builds(e, t, out);
    log_outcome(t, out, started_ms);
    return known;
}

bool run_task(const struct engine *e, struct task *t, struct arena *a)
{
    int64_t started = clock_monotonic_ms();
    bool settled = false;
    t->attempt++;
    struct outcome out = pursue(e, t, a, &settled);
    if (out.patient)
        t->attempt--;
    return finish(e, t, &out, settled, started, a);
}

bool run_resume(const struct engine *e, struct task *t, struct arena *a)
{
    int64_t started = clock_monotonic_ms();
    bool settled = false;
    struct outcome out = publish_resume(e, t, a, &settled);
    out.promised = str_eq(t->pipeline, pipeline_name(PIPELINE_POST)) ||
                   str_eq(t->pipeline, pipeline_name(PIPELINE_TAG));
    return finish(e, t, &out, settled, started, a);
}
