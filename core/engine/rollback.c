#include "core/engine/rollback.h"

#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/engine/locks.h"
#include "core/engine/publishing.h"
#include "core/engine/rolling.h"
#include "core/engine/run.h"
#include "core/os/clock.h"
#include "core/os/lock.h"
#include "core/os/random.h"
#include "core/os/wake.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define ROLLBACK_PIPELINE "rollback"

enum { BEGIN_TRIES = 5, NOTES_MAX = 2000, PATIENCE_MS = 120 * 1000, POLL_MS = 20 };

const char *rollback_state_name(enum rollback_state s)
{
    static const char *const names[ROLLBACK__MAX] = {
        [ROLLBACK_WOULD] = "would-revert", [ROLLBACK_DONE] = "reverted",
        [ROLLBACK_SAME] = "same",          [ROLLBACK_MOVED] = "moved",
        [ROLLBACK_ABSENT] = "absent",      [ROLLBACK_MISSING] = "missing",
        [ROLLBACK_FAILED] = "failed",
    };
    return (unsigned)s < ROLLBACK__MAX ? names[s] : "unknown";
}

/* ---- the task -------------------------------------------------------------------------------- */

static void add_flip(struct publishing *p, const struct spot *s, const char *hold)
{
    struct flip *f = &p->flips[p->n++];
    bool same = s->state == ROLLBACK_SAME;
    f->step = (struct step){.registry = s->was.registry,
                            .name = s->was.name,
                            .tag = s->was.tag,
                            .new_digest = s->was.former_digest,
                            .new_type = same ? s->shows_type : s->to_type,
                            .former_digest = s->shows,
                            .former_type = s->shows_type,
                            .state = same ? STEP_SAME : STEP_PLANNED,
                            .keeps_order = true,
                            .hold = hold};
    publishing_name(p, f);
    f->target = s->target;
    f->former_digest = s->shows;
    f->former_type = s->shows_type;
}

static void fill(struct publishing *p, const struct rolling *r)
{
    p->n = 0;
    p->flips = arena_alloc(p->arena, (r->n + 1) * sizeof *p->flips);
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].state == ROLLBACK_WOULD || rolling_pins(r, &r->at[i]))
            add_flip(p, &r->at[i], r->hold);
    for (size_t i = 0; i < r->kept.n; i++) {
        const struct kept_manifest *m = &r->kept.at[i];
        publishing_keep(p, m->digest, m->media_type, m->bytes, m->len);
    }
    publishing_note(p, "what task %" PRId64 " moved", r->task);
    const char *left = rolling_list(r, ROLLBACK_MOVED, ROLLBACK_ABSENT);
    if (*left)
        publishing_note(p, "left: %s", left);
}

/* What was looked at decides, where it decides that nothing is to be moved. */
static bool decided(const struct rolling *r, const struct task *t, struct outcome *out)
{
    struct err err = ERR_INIT;
    if (rolling_blocked(r)) {
        (void)err_set(&err, r->temporary ? ERR_TEMP : ERR_PERM, 0, "nothing was moved: %s",
                      rolling_list(r, ROLLBACK_MISSING, ROLLBACK_FAILED));
        *out = outcome_of_error(&err, t->attempt, r->arena);
        return true;
    }
    if (rolling_wanted(r))
        return false;
    const char *left = rolling_list(r, ROLLBACK_MOVED, ROLLBACK_ABSENT);
    *out = (struct outcome){
        .state = TASK_SKIPPED,
        .reason = *left ? arena_printf(r->arena, "there is nothing to put back: %s", left)
                        : "there is nothing to put back: every tag is as it was before"};
    return true;
}

/* With the locks of r->names held. Returns false when a target was moved meanwhile. */
static bool move(struct publishing *p, struct rolling *r, struct outcome *out, bool *settled)
{
    struct err err = ERR_INIT;
    strbuf_reset(&p->notes);
    if (rolling_look(r, &err) < 0) {
        *out = outcome_of_error(&err, p->task->attempt, p->arena);
        return true;
    }
    if (decided(r, p->task, out))
        return true;
    fill(p, r);
    if (publishing_prove(p, &err) < 0) {
        *out = outcome_of_error(&err, p->task->attempt, p->arena);
        return true;
    }
    return publishing_commit(p, out, settled);
}

static struct outcome attempt(struct publishing *p, const struct event *event, bool *again,
                              bool *settled)
{
    struct err err = ERR_INIT;
    struct outcome out = {0};
    struct rolling r = {.engine = p->engine, .arena = p->arena, .hold = event->hold};
    *again = false;
    if (rolling_find(&r, event->of_task, event->target, &err) < 0)
        return outcome_of_error(&err, p->task->attempt, p->arena);
    target_locks_take(p->engine->locks, &r.names);
    *again = !move(p, &r, &out, settled);
    target_locks_drop(p->engine->locks, &r.names);
    return out;
}

struct outcome rollback_task_run(const struct engine *e, struct task *t, const struct event *event,
                                 struct arena *a, bool *settled)
{
    struct publishing p = {.engine = e,
                           .task = t,
                           .event = event,
                           .policy = policy_find(e->policy, event->forge, event->project),
                           .arena = a,
                           .notes = STRBUF_INIT(NOTES_MAX)};
    struct outcome out = {0};
    bool again = true;
    *settled = false;
    for (int i = 0; i < BEGIN_TRIES && again; i++)
        out = attempt(&p, event, &again, settled);
    strbuf_release(&p.notes);
    return out;
}

/* ---- making it, and waiting for it ----------------------------------------------------------- */

static int put_task(const struct engine *e, const struct rollback_opts *opts,
                    const struct rolling *r, struct arena *a, int64_t *id, struct err *err)
{
    char unique[17];
    bool repeat;
    int64_t now = clock_now_ms();
    random_hex(unique, 8);
    const struct event event = {.kind = EVENT_ROLLBACK,
                                .forge = r->forge,
                                .project = r->project,
                                .of_task = r->task,
                                .target = opts->ref,
                                .hold = opts->hold};
    const char *key = arena_printf(a, ROLLBACK_PIPELINE " %s", unique);
    struct task t = {
        .state = TASK_QUEUED,
        .forge = r->forge,
        .project = r->project,
        .pipeline = ROLLBACK_PIPELINE,
        .lane = key, /* the targets are what must not be shared, and those are locked */
        .key = key,
        .ref = opts->ref ? opts->ref : arena_printf(a, "task/%" PRId64, opts->task),
        .event = event_to_json(&event, a),
        .received_at = now,
        .run_at = now,
    };
    if (store_task_settle(e->store, &t, &repeat, err) < 0)
        return -1;
    *id = t.id;
    return 0;
}

static bool has_ended(const struct task *t)
{
    return !t->open_journal && t->state != TASK_QUEUED && t->state != TASK_WAITING &&
           t->state != TASK_RUNNING && t->state != TASK_UNDOING && t->state != TASK_FAILED;
}

static bool is_due(const struct task *t)
{
    return !has_ended(t) && (t->state == TASK_RUNNING || t->run_at <= clock_now_ms());
}

/* Only one process runs tasks of a store. False: another one does. */
static int run_here(const struct engine *e, int64_t id, struct arena *a, bool *ran, struct err *err)
{
    struct task t;
    *ran = false;
    int lock = lock_file_try(store_work_lock_path(e->store, a), err);
    if (lock < 0)
        return err->code == EWOULDBLOCK ? 0 : -1;
    int rc = store_task_get(e->store, id, a, &t, err);
    if (rc == 0 && is_due(&t))
        *ran = t.open_journal ? run_resume(e, &t, a) : run_task(e, &t, a);
    (void)close(lock);
    return rc;
}

static int wait_for(const struct engine *e, int64_t id, struct arena *a, struct task *t,
                    struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + PATIENCE_MS, pause = POLL_MS;
    const char *wake_path = store_wake_path(e->store, a);
    for (;;) {
        struct arena spare CLEANUP(arena_release) = ARENA_INIT;
        bool ran = false;
        if (store_task_get(e->store, id, a, t, err) < 0)
            return -1;
        if (has_ended(t) || clock_monotonic_ms() > deadline)
            return 0;
        if (is_due(t)) {
            wake_send(wake_path);
            if (run_here(e, id, &spare, &ran, err) < 0)
                return err_wrap(err, "the rollback is task %" PRId64 ", left to `slipway work`",
                                id);
        }
        if (ran)
            continue;
        clock_sleep_ms(pause);
        pause = pause < 500 ? pause * 2 : pause;
    }
}

/* ---- what became of it ----------------------------------------------------------------------- */

static const struct step *step_of(const struct step_list *steps, const struct spot *s)
{
    list_each (const struct step, step, steps)
        if (str_eq(step->registry, s->was.registry) && str_eq(step->name, s->was.name) &&
            str_eq(step->tag, s->was.tag))
            return step;
    return NULL;
}

/* What did not move: the task came to see it otherwise, or it failed. */
static void settle_spot(const struct rolling *r, struct spot *s, const struct task *t,
                        const struct step *step)
{
    bool pins = rolling_pins(r, s);
    if (s->state != ROLLBACK_WOULD && !pins)
        return;
    s->reason = t->reason;
    if (step && has_ended(t) && (step->state == STEP_DONE || step->state == STEP_SAME)) {
        s->state = pins ? ROLLBACK_SAME : ROLLBACK_DONE;
        s->reason = r->hold ? arena_printf(r->arena, "pinned: %s", r->hold) : NULL;
    } else if (!step && (t->state == TASK_DONE || t->state == TASK_SKIPPED)) {
        s->state = ROLLBACK_MOVED;
    } else {
        s->state = ROLLBACK_FAILED;
        if (step && step->note)
            s->reason = step->note;
    }
}

static int settle_spots(struct rolling *r, const struct task *t, struct rollback_result *out,
                        struct err *err)
{
    struct step_list steps = {0};
    if (store_steps_get(r->engine->store, t->id, r->arena, &steps, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n; i++)
        settle_spot(r, &r->at[i], t, step_of(&steps, &r->at[i]));
    out->state = t->state;
    out->temporary = !has_ended(t);
    return 0;
}

static void add_rows(const struct rolling *r, struct rollback_result *out)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct spot *s = &r->at[i];
        *list_push(r->arena, out) = (struct rollback_row){.state = s->state,
                                                          .target = s->full,
                                                          .from = s->shows,
                                                          .to = s->was.former_digest,
                                                          .reason = s->reason};
        out->count[s->state]++;
    }
}

int rollback_run(const struct engine *e, const struct rollback_opts *opts, struct arena *a,
                 struct rollback_result *out, struct err *err)
{
    struct rolling r = {.engine = e,
                        .arena = a,
                        .access = {.read_only = true, .patient = true},
                        .hold = opts->hold};
    struct task t;
    *out = (struct rollback_result){0};
    if (rolling_find(&r, opts->task, opts->ref, err) < 0 || rolling_look(&r, err) < 0)
        return -1;
    out->temporary = r.temporary;
    if (!opts->dry_run && !rolling_blocked(&r) && rolling_wanted(&r) &&
        (put_task(e, opts, &r, a, &out->task, err) < 0 || wait_for(e, out->task, a, &t, err) < 0 ||
         settle_spots(&r, &t, out, err) < 0))
        return -1;
    add_rows(&r, out);
    return 0;
}

/* ---- letting go ------------------------------------------------------------------------------ */

static int release_one(const struct engine *e, struct target *t, struct arena *a,
                       struct str_list *out, struct err *err)
{
    bool done = false;
    if (store_targets_get(e->store, t, 1, a, err) < 0)
        return -1;
    const char *why = t->held;
    if (!why)
        return 0;
    if (store_target_hold(e->store, t->registry, t->name, t->tag, NULL, &done, err) < 0)
        return -1;
    if (done)
        *list_push(a, out) = arena_printf(a, "%s/%s:%s: %s", t->registry, t->name, t->tag, why);
    return 0;
}

static int release_ref(const struct engine *e, const char *text, struct arena *a,
                       struct str_list *out, struct err *err)
{
    struct imageref ref;
    if (imageref_parse(text, NULL, a, &ref, err) < 0)
        return -1;
    if (!ref.tag || ref.digest)
        return err_set(err, ERR_CONFIG, EINVAL, "%s: name a tag, and no digest", text);
    struct target t = {.registry = ref.host, .name = ref.name, .tag = ref.tag};
    return release_one(e, &t, a, out, err);
}

int rollback_release(const struct engine *e, int64_t task, const char *ref, struct arena *a,
                     struct str_list *out, struct err *err)
{
    struct rolling r = {.engine = e, .arena = a};
    if (!task)
        return release_ref(e, ref, a, out, err);
    if (rolling_find(&r, task, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < r.n; i++)
        if (release_one(e, &r.at[i].target, a, out, err) < 0)
            return -1;
    return 0;
}
