#include "core/store/store_internal.h"

#include "core/base/str.h"

#include "core/os/clock.h"

#include <errno.h>

/* The reason that a row carries: people never find an empty one behind a task that is not queued.
 */
static struct sql_value task_reason(const struct task *t)
{
    if (t->reason || t->state == TASK_QUEUED)
        return sql_text(t->reason);
    return sql_text(task_state_name(t->state));
}

static int task_insert(struct sql *db, const struct task *t, int64_t now_ms, int64_t *id,
                       struct err *err)
{
    if (sql_run(
            db,
            "INSERT INTO task (delivery, state, forge, project, pipeline, lane, key, ref, event,"
            " order_project, order_commit, order_at, order_seq, received_at, run_at,"
            " updated_at, live_at, attempt, fence, open, reason, superseded_by)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
            " ?17, ?18, 1, 0, ?19, ?20)",
            SQL_ARGS(sql_id(t->delivery), sql_text(task_state_name(t->state)), sql_text(t->forge),
                     sql_text(t->project), sql_text(t->pipeline), sql_text(t->lane),
                     sql_text(t->key), sql_text(t->ref ? t->ref : ""), sql_text(t->event),
                     sql_text(t->order.project), sql_text(t->order.commit),
                     sql_int(t->order.happened_at), sql_int(t->order.seq), sql_int(t->received_at),
                     sql_int(t->run_at), sql_int(now_ms), sql_int(t->live_at), sql_int(t->attempt),
                     task_reason(t), sql_id(t->superseded_by)),
            err))
        return -1;
    *id = sql_last_id(db);
    return 0;
}

/* A skipped, dead or cancelled task starts again under its old number, as the new one. */
static int task_take_over(struct sql *db, const struct task *t, int64_t id, int64_t now_ms,
                          struct err *err)
{
    return sql_run(
        db,
        "UPDATE task SET delivery = ?2, state = ?3, lane = ?4, event = ?5, order_project = ?6,"
        " order_commit = ?7, order_at = ?8, order_seq = ?9, received_at = ?10, run_at = ?11,"
        " updated_at = ?12, live_at = ?13, attempt = ?14, fence = fence + 1, reason = ?15,"
        " superseded_by = ?16 WHERE id = ?1",
        SQL_ARGS(sql_int(id), sql_id(t->delivery), sql_text(task_state_name(t->state)),
                 sql_text(t->lane), sql_text(t->event), sql_text(t->order.project),
                 sql_text(t->order.commit), sql_int(t->order.happened_at), sql_int(t->order.seq),
                 sql_int(t->received_at), sql_int(t->run_at), sql_int(now_ms), sql_int(t->live_at),
                 sql_int(t->attempt), task_reason(t), sql_id(t->superseded_by)),
        err);
}

static int task_find_key(struct sql *db, const char *key, struct task_place *out, bool *found,
                         bool *over, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT id, fence, state IN ('skipped', 'dead', 'cancelled') FROM task"
                  " WHERE key = ?1",
                  SQL_ARGS(sql_text(key)), &q, err))
        return -1;
    int rc = sql_step(q, err);
    *found = rc > 0;
    if (rc <= 0)
        return rc;
    out->id = sql_col_int(q, 0);
    out->fence = sql_col_int(q, 1);
    *over = sql_col_bool(q, 2);
    return 0;
}

static int task_put_row(struct sql *db, const struct task *t, int64_t now_ms,
                        struct task_place *out, struct err *err)
{
    bool found = false, over = false;
    *out = (struct task_place){.fence = 1};
    if (task_find_key(db, t->key, out, &found, &over, err))
        return -1;
    out->repeat = found && !over;
    if (out->repeat)
        return 0;
    if (!found)
        return task_insert(db, t, now_ms, &out->id, err);
    out->fence++;
    return task_take_over(db, t, out->id, now_ms, err);
}

static int task_mark_delivery(struct sql *db, int64_t delivery, int64_t says_the_same,
                              struct err *err)
{
    char reason[64];
    (void)snprintf(reason, sizeof reason, "task %lld says the same", (long long)says_the_same);
    return delivery_mark(db, delivery, says_the_same ? DELIVERY_REPEAT : DELIVERY_TAKEN,
                         says_the_same ? reason : NULL, err);
}

int task_put_new(struct sql *db, const struct task *t, int64_t now_ms, struct task_place *out,
                 struct err *err)
{
    if (task_put_row(db, t, now_ms, out, err))
        return -1;
    return task_mark_delivery(db, t->delivery, out->repeat ? out->id : 0, err);
}

/* ---- enqueue ---- */

struct enqueue {
    int64_t delivery;
    const struct task *tasks;
    size_t n;
    struct task_place *places;
};

static int enqueue_op(struct sql *db, void *ctx, struct err *err)
{
    struct enqueue *c = ctx;
    int64_t now = clock_now_ms();
    size_t repeats = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct task t = c->tasks[i];
        t.delivery = c->delivery;
        t.state = TASK_QUEUED;
        t.attempt = 0;
        if (task_put_row(db, &t, now, &c->places[i], err))
            return err_wrap(err, "task %s", t.key);
        repeats += c->places[i].repeat;
    }
    bool all = c->n > 0 && repeats == c->n;
    return task_mark_delivery(db, c->delivery, all ? c->places[0].id : 0, err);
}

int store_tasks_enqueue(struct store *s, int64_t delivery, struct task *tasks, size_t n,
                        size_t *repeats, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct enqueue c = {.delivery = delivery, .tasks = tasks, .n = n};
    c.places = arena_alloc(&a, n * sizeof *c.places);
    if (commit_write(&s->commit, enqueue_op, &c, err))
        return -1;
    *repeats = 0;
    for (size_t i = 0; i < n; i++) {
        tasks[i].id = c.places[i].id;
        tasks[i].fence = c.places[i].fence;
        *repeats += c.places[i].repeat;
    }
    return 0;
}

/* ---- superseded ---- */

int task_requeue_superseded(struct sql *db, int64_t id, enum task_state state, struct err *err)
{
    char reason[128];
    if (state != TASK_DEAD && state != TASK_PARTIAL && state != TASK_SKIPPED &&
        state != TASK_CANCELLED)
        return 0;
    (void)snprintf(reason, sizeof reason, "task %lld, which superseded it, ended as %s",
                   (long long)id, task_state_name(state));
    return sql_run(db,
                   "UPDATE task INDEXED BY task_superseded SET state = 'queued', attempt = 0,"
                   " run_at = ?2, updated_at = ?2, reason = ?3, superseded_by = NULL,"
                   " fence = fence + 1 WHERE superseded_by = ?1 AND state = 'superseded'",
                   SQL_ARGS(sql_int(id), sql_int(clock_now_ms()), sql_text(reason)), err);
}

/* ---- settle ---- */

struct settle {
    struct task t; /* a copy, with a clean reason */
    struct task_place place;
};

static int settle_op(struct sql *db, void *ctx, struct err *err)
{
    struct settle *c = ctx;
    const struct task *t = &c->t;
    if (!t->id)
        return task_put_new(db, t, clock_now_ms(), &c->place, err);
    if (sql_run(db,
                "UPDATE task SET state = ?3, reason = ?4, run_at = ?5, attempt = ?6,"
                " updated_at = ?7, live_at = ?8, superseded_by = ?9"
                " WHERE id = ?1 AND fence = ?2",
                SQL_ARGS(sql_int(t->id), sql_int(t->fence), sql_text(task_state_name(t->state)),
                         task_reason(t), sql_int(t->run_at), sql_int(t->attempt),
                         sql_int(clock_now_ms()), sql_int(t->live_at), sql_id(t->superseded_by)),
                err))
        return -1;
    c->place = (struct task_place){.id = t->id, .fence = t->fence};
    if (store_check_fence(db, t->id, err))
        return -1;
    return task_requeue_superseded(db, t->id, t->state, err);
}

int store_task_settle(struct store *s, struct task *t, bool *repeat, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct settle c = {.t = *t};
    c.t.reason = store_text(&a, t->reason);
    if (t->state == TASK_RUNNING)
        return err_set(err, ERR_BUG, EINVAL, "only a journal makes a task run");
    if (commit_write(&s->commit, settle_op, &c, err))
        return -1;
    t->id = c.place.id;
    t->fence = c.place.fence;
    if (repeat)
        *repeat = c.place.repeat;
    return 0;
}

/* ---- by an operator ---- */

struct order_of {
    const char *sql; /* ?1 id, ?2 now, ?3 reason */
    int64_t id;
    const char *reason;
    enum task_state becomes;
    bool done;
};

static int order_op(struct sql *db, void *ctx, struct err *err)
{
    struct order_of *c = ctx;
    if (sql_run(db, c->sql, SQL_ARGS(sql_int(c->id), sql_int(clock_now_ms()), sql_text(c->reason)),
                err))
        return -1;
    c->done = sql_changes(db) == 1;
    return c->done ? task_requeue_superseded(db, c->id, c->becomes, err) : 0;
}

/* The fence rises, so that a worker that looks at the task right now cannot undo the order. */
static int task_order(struct store *s, const char *sql, int64_t id, enum task_state becomes,
                      const char *reason, bool *done, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct order_of c = {
        .sql = sql, .id = id, .becomes = becomes, .reason = store_text(&a, reason)};
    if (commit_write(&s->commit, order_op, &c, err))
        return -1;
    *done = c.done;
    return 0;
}

int store_task_retry(struct store *s, int64_t id, bool *done, struct err *err)
{
    return task_order(s,
                      "UPDATE task SET state = 'queued', attempt = 0, run_at = ?2,"
                      " updated_at = ?2, reason = ?3, superseded_by = NULL, fence = fence + 1"
                      " WHERE id = ?1 AND state NOT IN ('queued', 'running', 'undoing')",
                      id, TASK_QUEUED, NULL, done, err);
}

int store_task_hold(struct store *s, int64_t id, const char *reason, bool *done, struct err *err)
{
    return task_order(s,
                      "UPDATE task SET state = 'held', updated_at = ?2, reason = ?3,"
                      " fence = fence + 1"
                      " WHERE id = ?1 AND state IN ('queued', 'waiting', 'failed')",
                      id, TASK_HELD, reason ? reason : "held by an operator", done, err);
}

int store_task_release(struct store *s, int64_t id, bool *done, struct err *err)
{
    return task_order(s,
                      "UPDATE task SET state = 'queued', run_at = ?2, updated_at = ?2,"
                      " reason = ?3, fence = fence + 1 WHERE id = ?1 AND state = 'held'",
                      id, TASK_QUEUED, NULL, done, err);
}

int store_task_cancel(struct store *s, int64_t id, const char *reason, bool *done, struct err *err)
{
    return task_order(s,
                      "UPDATE task SET state = 'cancelled', updated_at = ?2, reason = ?3,"
                      " fence = fence + 1 WHERE id = ?1 AND open = 0"
                      " AND state IN ('queued', 'waiting', 'failed', 'held', 'dead')",
                      id, TASK_CANCELLED, reason ? reason : "cancelled by an operator", done, err);
}

/* ---- a ref was deleted ---- */

struct deleted {
    int64_t delivery;
    const char *forge;
    const char *project;
    const char *ref;
};

static int deleted_op(struct sql *db, void *ctx, struct err *err)
{
    const struct deleted *c = ctx;
    char reason[LIMIT_REF + 32];
    if (sql_run(db,
                "UPDATE task INDEXED BY task_ref SET key = key || '#' || id, reopened = 1"
                " WHERE forge = ?1 AND project = ?2 AND ref = ?3 AND reopened = 0",
                SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(c->ref)), err))
        return -1;
    const char *version = str_after(c->ref, "refs/tags/");
    /* A version that is taken back is not the highest one any more. */
    if (version &&
        sql_run(db,
                "UPDATE target SET order_version = NULL"
                " WHERE order_project = ?1 || '/' || ?2 AND order_version = ?3",
                SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(version)), err))
        return -1;
    (void)snprintf(reason, sizeof reason, "%s was deleted", c->ref);
    return delivery_mark(db, c->delivery, DELIVERY_TAKEN, reason, err);
}

int store_ref_deleted(struct store *s, int64_t delivery, const char *forge, const char *project,
                      const char *ref, struct err *err)
{
    struct deleted c = {.delivery = delivery, .forge = forge, .project = project, .ref = ref};
    return commit_write(&s->commit, deleted_op, &c, err);
}

static int retire_op(struct sql *db, void *ctx, struct err *err)
{
    const struct deleted *c = ctx;
    return sql_run(db,
                   "UPDATE task INDEXED BY task_ref SET key = key || '#' || id, reopened = 1"
                   " WHERE forge = ?1 AND project = ?2 AND ref = ?3 AND reopened = 0"
                   " AND pipeline IN ('check', 'gate')",
                   SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(c->ref)), err);
}

int store_tasks_retire(struct store *s, const char *forge, const char *project, const char *ref,
                       struct err *err)
{
    struct deleted c = {.forge = forge, .project = project, .ref = ref};
    return commit_write(&s->commit, retire_op, &c, err);
}

struct known {
    const char *key;
    int64_t id;
};

static int known_op(struct sql *db, void *ctx, struct err *err)
{
    struct known *c = ctx;
    c->id = 0;
    return sql_one_int(db, "SELECT id FROM task WHERE key = ?1", SQL_ARGS(sql_text(c->key)), &c->id,
                       NULL, err);
}

int store_task_known(struct store *s, const char *key, bool *known, struct err *err)
{
    struct known c = {.key = key};
    if (commit_read(&s->commit, known_op, &c, err))
        return -1;
    *known = c.id != 0;
    return 0;
}
