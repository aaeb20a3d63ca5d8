#include "core/store/store_internal.h"

#include "core/base/str.h"
#include "core/os/clock.h"

#include <errno.h>

/* ---- begin ---- */

struct begin {
    struct task t; /* a copy, with a clean reason */
    const struct step_list *steps;
    const struct target *expected;
    const struct kept_manifest_list *kept;
    struct task_place place;
};

/* The event and the order key go along: what was learnt from the forge since the task was made
 * must be there when a crash leaves the rest to another process. */
static int begin_claim(struct sql *db, struct begin *c, struct err *err)
{
    const struct task *t = &c->t;
    if (sql_run(db,
                "UPDATE task SET state = 'running', open = 1, fence = fence + 1, reason = ?3,"
                " attempt = ?4, updated_at = ?5, event = ?6, order_project = ?7,"
                " order_commit = ?8, order_at = ?9, order_seq = ?10"
                " WHERE id = ?1 AND fence = ?2 AND open = 0",
                SQL_ARGS(sql_int(c->place.id), sql_int(c->place.fence),
                         sql_text(t->reason ? t->reason : "publishing"), sql_int(t->attempt),
                         sql_int(clock_now_ms()), sql_text(t->event), sql_text(t->order.project),
                         sql_text(t->order.commit), sql_int(t->order.happened_at),
                         sql_int(t->order.seq)),
                err) ||
        store_check_fence(db, c->place.id, err))
        return -1;
    c->place.fence++;
    return 0;
}

static int begin_keep(struct sql *db, const struct kept_manifest_list *kept, struct err *err)
{
    if (!kept)
        return 0;
    list_each (const struct kept_manifest, m, kept)
        if (sql_run(
                db,
                "INSERT INTO manifest (digest, media_type, bytes) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (digest) DO NOTHING",
                SQL_ARGS(sql_text(m->digest), sql_text(m->media_type), sql_blob(m->bytes, m->len)),
                err))
            return err_wrap(err, "keep manifest %s", m->digest);
    return 0;
}

static bool row_is(struct sql_stmt *q, const struct target *expected)
{
    return sql_col_is(q, 0, expected->applied) && sql_col_is(q, 1, expected->order.project) &&
           sql_col_is(q, 2, expected->order.commit) &&
           sql_col_int(q, 3) == expected->order.happened_at &&
           sql_col_int(q, 4) == expected->order.seq && sql_col_is(q, 5, expected->order.version);
}

static int begin_check_target(struct sql *db, int64_t task, const struct step *step,
                              const struct target *expected, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT applied, order_project, order_commit, order_at, order_seq,"
                  " order_version, locked_by, held"
                  " FROM target WHERE registry = ?1 AND name = ?2 AND tag = ?3",
                  SQL_ARGS(sql_text(step->registry), sql_text(step->name), sql_text(step->tag)), &q,
                  err))
        return -1;
    int rc = sql_step(q, err);
    if (rc < 0)
        return -1;
    int64_t locked_by = rc ? sql_col_int(q, 6) : 0;
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    const char *held = rc ? sql_col_text(q, 7, &a) : NULL;
    if (locked_by == task)
        return err_set(err, ERR_BUG, EEXIST, "a journal names one tag twice");
    if (locked_by)
        return err_set(err, ERR_TEMP, EBUSY, "task %lld is publishing this tag",
                       (long long)locked_by);
    if (held)
        return err_set(err, ERR_PERM, EPERM, "it is pinned: %s", held);
    bool same = rc ? row_is(q, expected) : !expected->applied && !expected->order.project;
    if (!same)
        return err_set(err, ERR_TEMP, EAGAIN, "another event has moved this tag meanwhile");
    return 0;
}

static int begin_lock(struct sql *db, int64_t task, const struct step *step,
                      const struct target *expected, struct err *err)
{
    if (begin_check_target(db, task, step, expected, err))
        return err_wrap(err, "%s/%s:%s", step->registry, step->name, step->tag);
    return sql_run(db,
                   "INSERT INTO target (registry, name, tag, desired, fence, locked_by)"
                   " VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (registry, name, tag) DO UPDATE"
                   " SET desired = ?4, fence = fence + 1, locked_by = ?5",
                   SQL_ARGS(sql_text(step->registry), sql_text(step->name), sql_text(step->tag),
                            sql_text(step->new_digest), sql_int(task)),
                   err);
}

static int begin_step(struct sql *db, int64_t task, size_t at, const struct step *step,
                      struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    return sql_run(db,
                   "INSERT INTO step (task, at, registry, name, tag, staged_tag, new_digest,"
                   " new_type, former_digest, former_type, state, note, keeps_order)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                   SQL_ARGS(sql_int(task), sql_int((int64_t)at), sql_text(step->registry),
                            sql_text(step->name), sql_text(step->tag), sql_text(step->staged_tag),
                            sql_text(step->new_digest), sql_text(step->new_type),
                            sql_text(step->former_digest), sql_text(step->former_type),
                            sql_text(step_state_name(step->state)),
                            sql_text(store_text(&a, step->note)), sql_int(step->keeps_order)),
                   err);
}

static int begin_op(struct sql *db, void *ctx, struct err *err)
{
    struct begin *c = ctx;
    c->place = (struct task_place){.id = c->t.id, .fence = c->t.fence};
    if (!c->t.id) {
        struct task queued = c->t;
        queued.state = TASK_QUEUED;
        if (task_put_new(db, &queued, clock_now_ms(), &c->place, err))
            return -1;
        if (c->place.repeat)
            return 0;
    }
    if (begin_claim(db, c, err) || begin_keep(db, c->kept, err) ||
        sql_run(db, "DELETE FROM step WHERE task = ?1", SQL_ARGS(sql_int(c->place.id)), err))
        return -1;
    for (size_t i = 0; i < c->steps->n; i++)
        if (begin_lock(db, c->place.id, &c->steps->at[i], &c->expected[i], err) ||
            begin_step(db, c->place.id, i, &c->steps->at[i], err))
            return -1;
    return 0;
}

int store_journal_begin(struct store *s, struct task *t, const struct step_list *steps,
                        const struct target *expected, const struct kept_manifest_list *kept,
                        bool *repeat, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct begin c = {.t = *t, .steps = steps, .expected = expected, .kept = kept};
    c.t.reason = store_text(&a, t->reason);
    if (commit_write(&s->commit, begin_op, &c, err))
        return -1;
    t->id = c.place.id;
    t->fence = c.place.fence;
    if (repeat)
        *repeat = c.place.repeat;
    if (!c.place.repeat) {
        t->state = TASK_RUNNING;
        t->open_journal = true;
    }
    return 0;
}

/* ---- undo ---- */

static int undo_op(struct sql *db, void *ctx, struct err *err)
{
    const struct task *t = ctx;
    if (sql_run(db,
                "UPDATE task SET state = 'undoing', reason = ?3, updated_at = ?4"
                " WHERE id = ?1 AND fence = ?2 AND open = 1",
                SQL_ARGS(sql_int(t->id), sql_int(t->fence),
                         sql_text(t->reason ? t->reason : "restoring the former digests"),
                         sql_int(clock_now_ms())),
                err))
        return -1;
    return store_check_fence(db, t->id, err);
}

int store_journal_undo(struct store *s, struct task *t, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct task copy = *t;
    copy.reason = store_text(&a, t->reason);
    if (commit_write(&s->commit, undo_op, &copy, err))
        return -1;
    t->state = TASK_UNDOING;
    return 0;
}

/* ---- end ---- */

struct end {
    const struct task *t;
    const char *reason;
    const struct step_list *steps;
    const struct cleanup_list *cleanups;
};

static bool end_closes(const struct end *c)
{
    return c->t->state != TASK_FAILED;
}

static int end_task(struct sql *db, const struct end *c, struct err *err)
{
    const struct task *t = c->t;
    if (sql_run(db,
                "UPDATE task SET state = ?3, reason = ?4, run_at = ?5, attempt = ?6,"
                " updated_at = ?7, live_at = ?8, superseded_by = ?9, open = ?10"
                " WHERE id = ?1 AND fence = ?2 AND open = 1",
                SQL_ARGS(sql_int(t->id), sql_int(t->fence), sql_text(task_state_name(t->state)),
                         sql_text(c->reason ? c->reason : task_state_name(t->state)),
                         sql_int(t->run_at), sql_int(t->attempt), sql_int(clock_now_ms()),
                         sql_int(t->live_at), sql_id(t->superseded_by),
                         sql_int(end_closes(c) ? 0 : 1)),
                err))
        return -1;
    return store_check_fence(db, t->id, err);
}

/* Every step of the journal must be named, or its target would stay locked for ever. */
static int end_steps(struct sql *db, const struct end *c, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    int64_t known = 0;
    if (sql_one_int(db, "SELECT count(*) FROM step WHERE task = ?1", SQL_ARGS(sql_int(c->t->id)),
                    &known, NULL, err))
        return -1;
    if (known != (int64_t)c->steps->n)
        return err_set(err, ERR_BUG, EINVAL, "the journal has %lld steps, not %zu",
                       (long long)known, c->steps->n);
    list_each (const struct step, step, c->steps) {
        if (sql_run(db,
                    "UPDATE step SET state = ?5, note = ?6"
                    " WHERE task = ?1 AND registry = ?2 AND name = ?3 AND tag = ?4",
                    SQL_ARGS(sql_int(c->t->id), sql_text(step->registry), sql_text(step->name),
                             sql_text(step->tag), sql_text(step_state_name(step->state)),
                             sql_text(store_text(&a, step->note))),
                    err))
            return -1;
        if (sql_changes(db) != 1)
            return err_set(err, ERR_BUG, ENOENT, "the journal has no step for %s/%s:%s",
                           step->registry, step->name, step->tag);
    }
    return 0;
}

/* A tag that went back keeps its place in the order: only what is strictly newer moves it on. Its
 * version is that of what is shown again: one that was a mistake must not be the highest for ever.
 */
static int end_rolled_back(struct sql *db, const struct end *c, const struct step *step,
                           struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    return sql_run(db,
                   "UPDATE target SET locked_by = NULL, applied = ?5, rolled_back = ?1,"
                   " order_version = (SELECT substr(task.ref, 11) FROM step JOIN task"
                   "  ON step.task = task.id WHERE step.registry = ?2 AND step.name = ?3"
                   "  AND step.tag = ?4 AND step.new_digest = ?5 AND step.task != ?1"
                   "  AND step.state IN ('done', 'same') AND task.ref LIKE 'refs/tags/%'"
                   "  ORDER BY task.id DESC LIMIT 1),"
                   " moved_by = CASE WHEN ?6 THEN ?1 ELSE moved_by END, held "
                   "= coalesce(?7, held)"
                   " WHERE registry = ?2 AND name = ?3 AND tag = ?4 AND locked_by = ?1",
                   SQL_ARGS(sql_int(c->t->id), sql_text(step->registry), sql_text(step->name),
                            sql_text(step->tag), sql_text(step->new_digest),
                            sql_int(step->state == STEP_DONE),
                            sql_text(store_text(&a, step->hold))),
                   err);
}

/* What the target shows now. A restored tag keeps the place in the order that it had. */
static int end_target(struct sql *db, const struct end *c, const struct step *step, struct err *err)
{
    const struct order_key *k = &c->t->order;
    struct sql_value id = sql_int(c->t->id), registry = sql_text(step->registry),
                     name = sql_text(step->name), tag = sql_text(step->tag);
    bool live = step->state == STEP_DONE || step->state == STEP_SAME;
    int rc;
    if (live && step->keeps_order)
        rc = end_rolled_back(db, c, step, err);
    else if (live)
        rc = sql_run(db,
                     "UPDATE target SET locked_by = NULL, applied = ?5, order_project = ?6,"
                     " order_commit = ?7, order_at = ?8, order_seq = ?9, rolled_back = NULL,"
                     " moved_by = CASE WHEN ?10 THEN ?1 ELSE moved_by END, order_version = ?11"
                     " WHERE registry = ?2 AND name = ?3 AND tag = ?4 AND locked_by = ?1",
                     SQL_ARGS(id, registry, name, tag, sql_text(step->new_digest),
                              sql_text(k->project), sql_text(k->commit), sql_int(k->happened_at),
                              sql_int(k->seq), sql_int(step->state == STEP_DONE),
                              sql_text(k->version)),
                     err);
    else
        rc = sql_run(db,
                     "UPDATE target SET locked_by = NULL,"
                     " desired = CASE WHEN ?5 THEN applied ELSE desired END"
                     " WHERE registry = ?2 AND name = ?3 AND tag = ?4 AND locked_by = ?1",
                     SQL_ARGS(id, registry, name, tag, sql_int(step->state == STEP_RESTORED)), err);
    if (!rc && sql_changes(db) != 1)
        rc = err_set(err, ERR_BUG, ESTALE, "%s/%s:%s is not locked by task %lld", step->registry,
                     step->name, step->tag, (long long)c->t->id);
    return rc;
}

static int end_former_applied(struct sql *db, const struct step *step, struct arena *a,
                              struct str_list *digests, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "SELECT applied FROM target WHERE registry = ?1 AND name = ?2 AND tag = ?3",
                  SQL_ARGS(sql_text(step->registry), sql_text(step->name), sql_text(step->tag)), &q,
                  err))
        return -1;
    int rc = sql_step(q, err);
    const char *applied = rc > 0 ? sql_col_text(q, 0, a) : NULL;
    const char *all[] = {applied, step->new_digest, step->former_digest};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] && !str_in(all[i], digests))
            *list_push(a, digests) = all[i];
    return rc < 0 ? -1 : 0;
}

static int end_forget_manifests(struct sql *db, const struct str_list *digests, struct err *err)
{
    list_each (const char *, digest, digests)
        if (sql_run(db,
                    "DELETE FROM manifest WHERE digest = ?1"
                    " AND NOT EXISTS (SELECT 1 FROM target INDEXED BY target_applied"
                    "  WHERE applied = ?1)"
                    " AND NOT EXISTS (SELECT 1 FROM task INDEXED BY task_open CROSS JOIN step"
                    "  ON step.task = task.id WHERE task.open = 1"
                    "  AND (step.new_digest = ?1 OR step.former_digest = ?1))",
                    SQL_ARGS(sql_text(*digest)), err))
            return -1;
    return 0;
}

static int end_targets(struct sql *db, const struct end *c, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct str_list digests = {0};
    list_each (const struct step, step, c->steps)
        if (end_former_applied(db, step, &a, &digests, err) || end_target(db, c, step, err))
            return -1;
    return end_forget_manifests(db, &digests, err);
}

/* What a superseded change staged is never promoted: its row claims nothing any more. */
static int end_superseded(struct sql *db, const struct end *c, struct err *err)
{
    const char *change = str_after(c->t->ref, "change/");
    if (!change)
        return 0;
    return sql_run(db,
                   "UPDATE staged SET promoted = 1 WHERE forge = ?1 AND project = ?2 AND"
                   " change = ?3",
                   SQL_ARGS(sql_text(c->t->forge), sql_text(c->t->project), sql_text(change)), err);
}

/* A row whose digest is another one belongs to a newer upload: it stays open. */
static int end_staged_tag(struct sql *db, const struct task *t, const char *registry,
                          const char *name, const char *tag, const char *digest, struct err *err)
{
    CLEANUP(cleanup_free) char *repository = xasprintf("%s/%s", registry, name);
    return sql_run(db,
                   "UPDATE staged SET promoted = 1 WHERE forge = ?1 AND project = ?2 AND id IN"
                   " (SELECT staged FROM staged_image INDEXED BY staged_image_tag"
                   "  WHERE repository = ?3 AND tag = ?4 AND digest = ?5)",
                   SQL_ARGS(sql_text(t->forge), sql_text(t->project), sql_text(repository),
                            sql_text(tag), sql_text(digest)),
                   err);
}

/* What goes was promoted, or something else in its place. */
static int end_staged(struct sql *db, const struct end *c, struct err *err)
{
    if (c->t->state == TASK_SUPERSEDED)
        return end_superseded(db, c, err);
    if (c->t->state != TASK_DONE)
        return 0;
    list_each (const struct step, s, c->steps)
        if (s->staged_tag && (s->state == STEP_DONE || s->state == STEP_SAME) &&
            end_staged_tag(db, c->t, s->registry, s->name, s->staged_tag, s->new_digest, err))
            return -1;
    for (size_t i = 0; c->cleanups && i < c->cleanups->n; i++) {
        const struct cleanup *gone = &c->cleanups->at[i];
        if (end_staged_tag(db, c->t, gone->registry, gone->name, gone->tag, gone->digest, err))
            return -1;
    }
    return 0;
}

static int end_op(struct sql *db, void *ctx, struct err *err)
{
    const struct end *c = ctx;
    if (end_task(db, c, err) || end_steps(db, c, err))
        return -1;
    if (end_closes(c) && (end_targets(db, c, err) || end_staged(db, c, err) ||
                          task_requeue_superseded(db, c->t->id, c->t->state, err)))
        return -1;
    for (size_t i = 0; c->cleanups && i < c->cleanups->n; i++)
        if (cleanup_put(db, &c->cleanups->at[i], c->t->id, err))
            return -1;
    return 0;
}

int store_journal_end(struct store *s, struct task *t, const struct step_list *steps,
                      const struct cleanup_list *cleanups, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct end c = {.t = t, .steps = steps, .cleanups = cleanups};
    c.reason = store_text(&a, t->reason);
    if (t->state == TASK_RUNNING || t->state == TASK_UNDOING)
        return err_set(err, ERR_BUG, EINVAL, "a journal cannot end in state %s",
                       task_state_name(t->state));
    if (commit_write(&s->commit, end_op, &c, err))
        return -1;
    t->open_journal = !end_closes(&c);
    return 0;
}
