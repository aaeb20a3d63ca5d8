#include "core/store/commit.h"

#include "core/base/limits.h"
#include "core/os/clock.h"

#include <errno.h>
#include <semaphore.h>

struct commit_op {
    commit_fn *fn;
    void *ctx;
    int rc;
    struct err err;
    bool done;  /* else whoever is woken has become the leader */
    sem_t wake; /* of its own: a common condition would wake threads only to queue for its mutex */
    struct commit_op *next;
};

void commit_init(struct commit *c, struct sql *db, struct turnstile gate)
{
    *c = (struct commit){.db = db, .gate = gate};
    c->tail = &c->head;
    atomic_init(&c->proved_at, INT64_MIN / 2);
    (void)pthread_mutex_init(&c->use, NULL);
    (void)pthread_mutex_init(&c->queue, NULL);
}

void commit_release(struct commit *c)
{
    (void)pthread_mutex_destroy(&c->use);
    (void)pthread_mutex_destroy(&c->queue);
}

static int refuse_broken(struct err *err)
{
    return err_set(err, ERR_TEMP, EIO,
                   "the store's disk failed: nothing is written until slipway is restarted");
}

/* True when the transaction goes on: the operation succeeded, or its traces are gone. */
static bool commit_run_one(struct commit *c, struct commit_op *op)
{
    struct err undo = ERR_INIT;
    op->rc = sql_run(c->db, "SAVEPOINT op", SQL_NO_ARGS, &op->err);
    if (op->rc)
        return false;
    op->rc = op->fn(c->db, op->ctx, &op->err);
    if (!sql_in_transaction(c->db))
        return false;
    if (op->rc && sql_run(c->db, "ROLLBACK TO op", SQL_NO_ARGS, &undo))
        return false;
    return sql_run(c->db, "RELEASE op", SQL_NO_ARGS, op->rc ? &undo : &op->err) == 0;
}

/* The first that fails, NULL when none does. */
static struct commit_op *commit_run_together(struct commit *c, struct commit_op *group)
{
    struct commit_op *op = group;
    while (op && (op->rc = op->fn(c->db, op->ctx, &op->err)) == 0)
        op = op->next;
    return op;
}

/* Everything once more from the start, so that only those fail that must. */
static int commit_run_apart(struct commit *c, struct commit_op *group, struct err *err)
{
    if (sql_run(c->db, "ROLLBACK", SQL_NO_ARGS, err) ||
        sql_run(c->db, "BEGIN IMMEDIATE", SQL_NO_ARGS, err))
        return -1;
    for (struct commit_op *op = group; op; op = op->next) {
        op->err = (struct err)ERR_INIT;
        if (commit_run_one(c, op))
            continue;
        if (op->err.kind == ERR_NONE)
            (void)err_set(&op->err, ERR_TEMP, EIO, "the transaction could not go on");
        *err = op->err;
        op->rc = -1;
        return -1;
    }
    return 0;
}

/* Savepoints cost more than the rows, for SQLite copies each page that is changed below one; and
 * hardly ever does an operation fail. */
static int commit_run_group(struct commit *c, struct commit_op *group, struct err *err)
{
    if (sql_run(c->db, "BEGIN IMMEDIATE", SQL_NO_ARGS, err))
        return -1;
    struct commit_op *bad = commit_run_together(c, group);
    if (bad && (!group->next || !sql_in_transaction(c->db))) {
        *err = bad->err;
        return -1;
    }
    if (bad && commit_run_apart(c, group, err))
        return -1;
    if (sql_run(c->db, "COMMIT", SQL_NO_ARGS, err))
        return -1;
    (void)atomic_fetch_add(&c->groups, 1);
    for (const struct commit_op *op = group; op; op = op->next)
        if (op->rc == 0)
            atomic_store(&c->proved_at, clock_monotonic_ms());
    return 0;
}

/* One transaction for the group. When it fails, everybody who had not failed already gets its
 * error: nothing of theirs is on disk. */
static void commit_lead(struct commit *c, struct commit_op *group)
{
    struct err err = ERR_INIT;
    (void)pthread_mutex_lock(&c->use);
    int rc = sql_is_broken(c->db) ? refuse_broken(&err) : turnstile_enter(&c->gate, true, &err);
    if (!rc) {
        rc = commit_run_group(c, group, &err);
        if (sql_in_transaction(c->db))
            (void)sql_run(c->db, "ROLLBACK", SQL_NO_ARGS, NULL);
        turnstile_leave(&c->gate);
    }
    (void)pthread_mutex_unlock(&c->use);
    for (struct commit_op *op = group; rc && op; op = op->next)
        if (op->rc == 0) {
            op->rc = -1;
            op->err = err;
        }
}

/* Cuts the next group off the queue; its first is the caller's own. */
static struct commit_op *commit_take(struct commit *c)
{
    (void)pthread_mutex_lock(&c->queue);
    struct commit_op *group = c->head, *last = group;
    size_t n = 1;
    for (; n < LIMIT_COMMIT_GROUP && last->next; n++)
        last = last->next;
    c->waiting -= n;
    c->head = last->next;
    if (!c->head)
        c->tail = &c->head;
    last->next = NULL;
    (void)pthread_mutex_unlock(&c->queue);
    return group;
}

/* The next leader is woken first, so that the disk does not wait for the others to be. An operation
 * lives on its caller's stack: it must not be looked at once its caller may go on. */
static void commit_finish(struct commit *c, struct commit_op *group, const struct commit_op *own)
{
    (void)pthread_mutex_lock(&c->queue);
    struct commit_op *heir = c->head;
    c->leading = heir != NULL;
    (void)pthread_mutex_unlock(&c->queue);
    if (heir)
        (void)sem_post(&heir->wake);
    while (group) {
        struct commit_op *op = group;
        group = op->next;
        op->done = true;
        if (op != own)
            (void)sem_post(&op->wake);
    }
}

/* True when the caller must lead. */
static bool commit_join(struct commit *c, struct commit_op *op)
{
    (void)pthread_mutex_lock(&c->queue);
    *c->tail = op;
    c->tail = &op->next;
    c->waiting++;
    bool lead = !c->leading;
    c->leading = true;
    (void)pthread_mutex_unlock(&c->queue);
    return lead;
}

int commit_write(struct commit *c, commit_fn *fn, void *ctx, struct err *err)
{
    struct commit_op op = {.fn = fn, .ctx = ctx};
    if (sql_is_broken(c->db))
        return refuse_broken(err);
    (void)sem_init(&op.wake, 0, 0);
    if (!commit_join(c, &op))
        while (sem_wait(&op.wake))
            continue;
    if (!op.done) {
        struct commit_op *group = commit_take(c);
        commit_lead(c, group);
        commit_finish(c, group, &op);
    }
    (void)sem_destroy(&op.wake);
    if (op.rc && err)
        *err = op.err;
    return op.rc;
}

int commit_read(struct commit *c, commit_fn *fn, void *ctx, struct err *err)
{
    (void)pthread_mutex_lock(&c->use);
    int rc = turnstile_enter(&c->gate, false, err);
    if (!rc) {
        rc = sql_run(c->db, "BEGIN", SQL_NO_ARGS, err);
        if (!rc)
            rc = fn(c->db, ctx, err);
        if (sql_in_transaction(c->db))
            (void)sql_run(c->db, "ROLLBACK", SQL_NO_ARGS, NULL);
        turnstile_leave(&c->gate);
    }
    (void)pthread_mutex_unlock(&c->use);
    return rc;
}

bool commit_is_proved(const struct commit *c, int64_t within_ms)
{
    return clock_monotonic_ms() - atomic_load(&c->proved_at) <= within_ms;
}
