#include "core/engine/publish.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/retry.h"
#include "core/engine/clean.h"
#include "core/engine/ask.h"
#include "core/engine/locks.h"
#include "core/engine/publishing.h"
#include "core/os/clock.h"
#include "core/os/random.h"

#include <errno.h>
#include <stdarg.h>

enum { BEGIN_TRIES = 5, END_TRIES = 5, NOTES_MAX = 2000 };

/* Every tag that is not as it should be is named, however many. */
#define NAMES_MAX MIB(1)

/* ---- shared by the stages -------------------------------------------------------------------- */

const struct kept_manifest *publishing_bytes(const struct publishing *p, const char *digest)
{
    for (size_t i = 0; i < p->kept.n; i++)
        if (str_eq(p->kept.at[i].digest, digest))
            return &p->kept.at[i];
    return NULL;
}

void publishing_keep(struct publishing *p, const char *digest, const char *type, const void *bytes,
                     size_t len)
{
    if (publishing_bytes(p, digest))
        return;
    *list_push(p->arena, &p->kept) =
        (struct kept_manifest){.digest = digest, .media_type = type, .bytes = bytes, .len = len};
}

void publishing_note(struct publishing *p, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)strbuf_addf(&p->notes, "%s%s", p->notes.len ? "; " : "", text);
}

struct registry_op publishing_op(const struct flip *f, enum registry_verb verb, const char *ref)
{
    return (struct registry_op){
        .verb = verb, .host = f->step.registry, .name = f->step.name, .ref = ref};
}

void publishing_name(struct publishing *p, struct flip *f)
{
    f->repository = arena_printf(p->arena, "%s/%s", f->step.registry, f->step.name);
    f->full = arena_printf(p->arena, "%s:%s", f->repository, f->step.tag);
    f->target =
        (struct target){.registry = f->step.registry, .name = f->step.name, .tag = f->step.tag};
    *list_push(p->arena, &p->names) = f->full;
}

static const char *with_notes(struct publishing *p, const char *text)
{
    return p->notes.len ? arena_printf(p->arena, "%s; %s", text, p->notes.buf) : text;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_order(struct publishing *p, struct flip *f, struct err *err)
{
    char why[512];
    const struct order_key *mine = &p->task->order;
    if (!f->target.order.project)
        return 0;
    if (order_wants_ancestry(mine, &f->target.order) &&
        ask_ancestry(p->engine, p->event, mine, &f->target.order, &f->ancestry, err) < 0)
        return err_wrap(err, "asking how %.12s and %.12s are related", mine->commit,
                        f->target.order.commit);
    enum order order = order_compare(mine, &f->target.order, f->ancestry);
    /* What was live before is only run again when an operator says so: that is a wish. */
    if (order == ORDER_SAME && f->target.rolled_back && !p->task->live_at) {
        f->stale = true;
        publishing_note(p,
                        "%s stays as task %lld has put it back; `slipway queue retry` of this task "
                        "publishes it again",
                        f->full, (long long)f->target.rolled_back);
        return 0;
    }
    if (order != ORDER_STALE)
        return 0;
    f->stale = true;
    order_explain(mine, &f->target.order, f->ancestry, why, sizeof why);
    publishing_note(p, "%s stays, it is newer: %s", f->full, why);
    return 0;
}

/* Reads the targets' rows and leaves out what is stale. */
static int order_targets(struct publishing *p, struct err *err)
{
    struct target *rows = arena_alloc(p->arena, p->n * sizeof *rows);
    for (size_t i = 0; i < p->n; i++)
        rows[i] = p->flips[i].target;
    if (store_targets_get(p->engine->store, rows, p->n, p->arena, err) < 0)
        return -1;
    for (size_t i = 0; i < p->n; i++) {
        p->flips[i].target = rows[i];
        if (compare_order(p, &p->flips[i], err) < 0)
            return -1;
    }
    return 0;
}

static int check_pinned(const struct publishing *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        if (!f->stale && f->target.held)
            return err_set(err, ERR_PERM, EPERM,
                           "%s is pinned (%.200s): `slipway rollback --release %s`, then `slipway "
                           "queue release`",
                           f->full, f->target.held, f->full);
    }
    return 0;
}

static size_t count_fresh(const struct publishing *p)
{
    size_t fresh = 0;
    for (size_t i = 0; i < p->n; i++)
        fresh += !p->flips[i].stale;
    return fresh;
}

/* A tag that shows something else than what we applied was moved by a stranger before us. */
static int check_foreign(struct publishing *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        if (f->stale || !f->target.applied || str_eq(f->former_digest, f->target.applied) ||
            f->step.state == STEP_SAME)
            continue;
        const char *shows = f->former_digest ? f->former_digest : "nothing";
        if (p->policy->on_foreign == FOREIGN_HOLD)
            return err_set(
                err, ERR_PERM, EPERM,
                "%s shows %s, which Slipway did not put there, and on_foreign is hold: put "
                "it back or say overwrite, then `slipway queue release`",
                f->full, shows);
        publishing_note(p, "%s showed %s, which Slipway did not put there", f->full, shows);
    }
    return 0;
}

/* ---- journal --------------------------------------------------------------------------------- */

static struct step_list fresh_steps(struct publishing *p, struct target **expected)
{
    struct step_list steps = {0};
    size_t n = 0;
    *expected = arena_alloc(p->arena, p->n * sizeof **expected);
    for (size_t i = 0; i < p->n; i++) {
        if (p->flips[i].stale)
            continue;
        *list_push(p->arena, &steps) = p->flips[i].step;
        (*expected)[n++] = p->flips[i].target;
    }
    return steps;
}

/* Of all bytes that were seen, those that the steps need. */
static struct kept_manifest_list kept_of_steps(const struct publishing *p,
                                               const struct step_list *steps)
{
    struct kept_manifest_list kept = {0};
    for (size_t i = 0; i < p->kept.n; i++) {
        bool wanted = false;
        list_each (const struct step, step, steps)
            wanted = wanted || str_eq(step->new_digest, p->kept.at[i].digest) ||
                     str_eq(step->former_digest, p->kept.at[i].digest);
        if (wanted)
            *list_push(p->arena, &kept) = p->kept.at[i];
    }
    return kept;
}

/* The commit after the flips; a store in trouble is asked a few times, since what is live should
 * be known. -1: the journal stays open and is found again. */
static int end_journal(struct publishing *p, const struct outcome *out, struct cleanup_list *list,
                       struct err *err)
{
    struct target *expected;
    struct step_list steps = fresh_steps(p, &expected);
    int64_t pause = 50;
    p->task->state = out->state;
    p->task->reason = out->reason;
    p->task->run_at = out->run_at;
    for (int i = 0; i < END_TRIES; i++) {
        if (store_journal_end(p->engine->store, p->task, &steps, list, err) == 0)
            return 0;
        if (err->kind != ERR_TEMP)
            break;
        clock_sleep_ms(pause);
        pause *= 3;
    }
    log_error("a journal could not be closed; it is taken up again", "reason", err->text, NULL);
    return -1;
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static size_t count_state(const struct publishing *p, enum step_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += !p->flips[i].stale && p->flips[i].step.state == state;
    return n;
}

static const char *list_state(struct publishing *p, enum step_state state)
{
    struct strbuf names CLEANUP_STRBUF = STRBUF_INIT(NAMES_MAX);
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        if (!f->stale && f->step.state == state)
            (void)strbuf_addf(&names, "%s%s%s%s%s", names.len ? ", " : "", f->full,
                              f->step.note ? " (" : "", f->step.note ? f->step.note : "",
                              f->step.note ? ")" : "");
    }
    return strbuf_to_arena(&names, p->arena);
}

static struct outcome outcome_live(struct publishing *p)
{
    struct arena *a = p->arena;
    size_t done = count_state(p, STEP_DONE), same = count_state(p, STEP_SAME);
    size_t foreign = count_state(p, STEP_FOREIGN);
    struct outcome out = {.state = TASK_DONE};
    if (count_fresh(p) == 0 && p->n) {
        out.state = TASK_SUPERSEDED;
        out.reason = "nothing to publish";
    } else if (foreign) {
        out.state = TASK_PARTIAL;
        out.reason = arena_printf(a, "%zu tag%s live, but not %s", done + same,
                                  done + same == 1 ? "" : "s", list_state(p, STEP_FOREIGN));
    } else if (same) {
        out.reason =
            arena_printf(a, "%zu tag%s moved, %zu already right", done, done == 1 ? "" : "s", same);
    } else {
        out.reason = arena_printf(a, "%zu tag%s moved", done, done == 1 ? "" : "s");
    }
    out.reason = with_notes(p, out.reason);
    return out;
}

static struct outcome outcome_undone(struct publishing *p, const char *why)
{
    struct arena *a = p->arena;
    struct outcome out = {.state = TASK_DEAD};
    if (count_state(p, STEP_STUCK) + count_state(p, STEP_FOREIGN) == 0) {
        out.reason = arena_printf(a, "%s; nothing was published, every tag is as it was", why);
        return out;
    }
    out.state = TASK_PARTIAL;
    const char *stuck = list_state(p, STEP_STUCK), *foreign = list_state(p, STEP_FOREIGN);
    out.reason = arena_printf(a, "%s; NOT as before: %s%s%s", why, stuck,
                              *stuck && *foreign ? ", " : "", foreign);
    return out;
}

/* Trouble with an open journal never ends by itself: it is tried for as long as it takes. */
static struct outcome outcome_later(struct publishing *p, enum task_state state,
                                    const struct err *err)
{
    int64_t delay = 0;
    struct err temporary = *err;
    int attempt = p->task->attempt + 1;
    temporary.kind = ERR_TEMP;
    p->task->attempt = attempt;
    (void)retry_next(&temporary, attempt < LIMIT_ATTEMPTS ? attempt : LIMIT_ATTEMPTS - 1,
                     random_below(1000), &delay);
    return (struct outcome){
        .state = state,
        .run_at = clock_now_ms() + delay,
        .reason = arena_printf(p->arena, "%s: %s",
                               state == TASK_UNDOING ? "putting the former digests back"
                                                     : "some tags may be live already",
                               err->text),
    };
}

/* ---- the flows ------------------------------------------------------------------------------- */

static struct outcome undo(struct publishing *p, const char *why, bool *settled)
{
    struct err err = ERR_INIT;
    struct cleanup_list none = {0};
    if (p->task->state != TASK_UNDOING) {
        p->task->reason = why;
        if (store_journal_undo(p->engine->store, p->task, &err) < 0)
            return outcome_later(p, TASK_FAILED, &err);
        p->task->state = TASK_UNDOING;
    }
    if (publishing_back(p, &err) < 0)
        return outcome_later(p, TASK_UNDOING, &err);
    struct outcome out = outcome_undone(p, why);
    *settled = end_journal(p, &out, &none, &err) == 0;
    return *settled ? out : outcome_later(p, TASK_UNDOING, &err);
}

static struct outcome flip_and_end(struct publishing *p, bool *settled)
{
    struct err err = ERR_INIT;
    if (publishing_forward(p, &err) < 0) {
        if (err.kind == ERR_TEMP)
            return outcome_later(p, TASK_FAILED, &err);
        return undo(p, arena_strdup(p->arena, err.text), settled);
    }
    p->task->live_at = clock_now_ms();
    struct outcome out = outcome_live(p);
    struct cleanup_list cleanups = retire_list(p);
    *settled = end_journal(p, &out, &cleanups, &err) == 0;
    if (!*settled)
        return outcome_later(p, TASK_FAILED, &err);
    if (clean_run(p->engine, cleanups.at, cleanups.n, p->arena, &err) < 0)
        log_warn("clean-ups are tried again later", "reason", err.text, NULL);
    return out;
}

static void start(struct publishing *p, const struct plan *plan)
{
    p->n = plan->tags.n;
    p->flips = arena_alloc(p->arena, p->n * sizeof *p->flips);
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_tag *tag = &plan->tags.at[i];
        p->flips[i].plan = tag;
        p->flips[i].step = (struct step){.registry = tag->registry,
                                         .name = tag->name,
                                         .tag = tag->tag,
                                         .staged_tag = tag->staged_tag};
        publishing_name(p, &p->flips[i]);
    }
}

/* Another lane's journal on one of our tags is tried for as long as it takes, and so are we. */
static struct outcome outcome_behind(const struct publishing *p, const struct err *err)
{
    int64_t now = clock_now_ms();
    return (struct outcome){.state = TASK_FAILED,
                            .run_at = now + retry_poll_ms(now - p->task->received_at),
                            .reason = arena_strdup(p->arena, err->text),
                            .patient = true};
}

/* What the operator has to decide first holds the task. */
static struct outcome outcome_refused(const struct publishing *p, const struct err *err)
{
    struct outcome out = outcome_of_error(err, p->task->attempt, p->arena);
    if (err->kind == ERR_PERM && err->code == EPERM)
        out.state = TASK_HELD;
    return out;
}

bool publishing_commit(struct publishing *p, struct outcome *out, bool *settled)
{
    struct err err = ERR_INIT;
    struct target *expected;
    bool repeat = false;
    struct step_list steps = fresh_steps(p, &expected);
    const struct kept_manifest_list kept = kept_of_steps(p, &steps);
    if (store_journal_begin(p->engine->store, p->task, &steps, expected, &kept, &repeat, &err) <
        0) {
        *out = err.kind == ERR_TEMP && err.code == EBUSY ? outcome_behind(p, &err)
                                                         : outcome_refused(p, &err);
        return err.code != EAGAIN;
    }
    if (repeat) {
        out->repeat = *settled = true;
        return true;
    }
    *out = flip_and_end(p, settled);
    return true;
}

/* One pass from order to journal. Returns true when `out` is final; false: look again. */
static bool attempt_publish(struct publishing *p, struct outcome *out, bool *settled)
{
    struct err err = ERR_INIT;
    *out = (struct outcome){0};
    strbuf_reset(&p->notes);
    if (p->rebuilt)
        publishing_note(p, "%s", p->rebuilt);
    if (order_targets(p, &err) < 0 || check_pinned(p, &err) < 0) {
        *out = outcome_refused(p, &err);
        return true;
    }
    enum stage stage = publishing_resolve(p, &err);
    if (stage == STAGE_WAIT) {
        *out = outcome_of_wait(p->task, p->policy->wait_for_staged_s, &err, p->arena);
        return true;
    }
    if (stage == STAGE_FAILED || check_foreign(p, &err) < 0 || publishing_attest(p, &err) < 0 ||
        publishing_prove(p, &err) < 0) {
        *out = outcome_refused(p, &err);
        return true;
    }
    return publishing_commit(p, out, settled);
}

struct outcome publish_run(const struct engine *e, struct task *t, const struct event *event,
                           const struct plan *plan, const struct policy_project *policy,
                           struct arena *a, bool *settled)
{
    struct publishing p = {.engine = e,
                           .task = t,
                           .event = event,
                           .policy = policy,
                           .arena = a,
                           .rebuilt = plan->rebuilt,
                           .notes = STRBUF_INIT(NOTES_MAX)};
    struct outcome out = {0};
    *settled = false;
    start(&p, plan);
    target_locks_take(e->locks, &p.names);
    for (int i = 0; i < BEGIN_TRIES; i++) {
        if (attempt_publish(&p, &out, settled))
            break;
        start(&p, plan);
    }
    target_locks_drop(e->locks, &p.names);
    strbuf_release(&p.notes);
    return out;
}

/* ---- after a crash or temporary trouble ------------------------------------------------------ */

static int load_journal(struct publishing *p, struct err *err)
{
    struct step_list steps = {0};
    if (store_steps_get(p->engine->store, p->task->id, p->arena, &steps, err) < 0)
        return -1;
    p->n = steps.n;
    p->flips = arena_alloc(p->arena, p->n * sizeof *p->flips);
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        f->step = steps.at[i];
        f->step.hold = p->event->hold;
        if (f->step.state != STEP_SAME)
            f->step.state = STEP_PLANNED;
        publishing_name(p, f);
        const char *digests[] = {f->step.new_digest, f->step.former_digest};
        for (size_t j = 0; j < ARRAY_LEN(digests); j++) {
            struct kept_manifest kept = {0};
            if (!digests[j])
                continue;
            if (store_manifest_get(p->engine->store, digests[j], p->arena, &kept, err) < 0)
                return -1;
            if (kept.bytes)
                publishing_keep(p, kept.digest, kept.media_type, kept.bytes, kept.len);
        }
        if (f->step.state == STEP_PLANNED && !publishing_bytes(p, f->step.new_digest))
            return err_set(err, ERR_BUG, 0, "the journal of task %lld lost the bytes of %s",
                           (long long)p->task->id, f->step.new_digest);
    }
    return 0;
}

struct outcome publish_resume(const struct engine *e, struct task *t, struct arena *a,
                              bool *settled)
{
    struct err err = ERR_INIT;
    struct event event = {0};
    struct publishing p = {
        .engine = e, .task = t, .event = &event, .arena = a, .notes = STRBUF_INIT(NOTES_MAX)};
    struct outcome out;
    *settled = false;
    if (event_from_json(t->event, a, &event, &err) == 0)
        p.policy = policy_find(e->policy, event.forge, event.project);
    if (load_journal(&p, &err) < 0) {
        out = outcome_later(&p, t->state == TASK_UNDOING ? TASK_UNDOING : TASK_FAILED, &err);
    } else {
        target_locks_take(e->locks, &p.names);
        if (t->state == TASK_UNDOING)
            out = undo(&p, t->reason ? t->reason : "a former run failed", settled);
        else if (publishing_look(&p, &err) < 0)
            out = outcome_later(&p, TASK_FAILED, &err);
        else
            out = flip_and_end(&p, settled);
        target_locks_drop(e->locks, &p.names);
    }
    strbuf_release(&p.notes);
    return out;
}
