#include "core/store/commit.h"

#include "core/base/limits.h"
#include "core/os/clock.h"

#include <errno.h>

struct commit_op {
    commit_fn *fn;
    void *ctx;
    int rc;
    struct err err;
    bool done;
    pthread_cond_t wake;
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

static int commit_run_group(struct commit *c, struct commit_op *group, struct err *err)
{
    if (sql_run(c->db, "BEGIN IMMEDIATE", SQL_NO_ARGS, err))
        return -1;
    int64_t kept = 0;
    for (struct commit_op *op = group; op; op = op->next) {
        if (!commit_run_one(c, op)) {
            if (op->err.kind == ERR_NONE)
                (void)err_set(&op->err, ERR_TEMP, EIO, "the transaction could not go on");
            *err = op->err;
            op->rc = -1;
            return -1;
        }
        kept += op->rc == 0;
    }
    if (sql_run(c->db, "COMMIT", SQL_NO_ARGS, err))
        return -1;
    (void)atomic_fetch_add(&c->groups, 1);
    if (kept)
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

/* Cuts the next group off the queue, whose mutex is held. */
static struct commit_op *commit_take(struct commit *c)
{
    struct commit_op *group = c->head, *last = group;
    size_t n = 1;
    for (; n < LIMIT_COMMIT_GROUP && last->next; n++)
        last = last->next;
    c->waiting -= n;
    c->head = last->next;
    if (!c->head)
        c->tail = &c->head;
    last->next = NULL;
    return group;
}

/* An operation lives on its caller's stack: it must not be looked at once it is marked as done. */
static void commit_finish(struct commit *c, struct commit_op *group)
{
    while (group) {
        struct commit_op *next = group->next;
        group->done = true;
        (void)pthread_cond_signal(&group->wake);
        group = next;
    }
    c->leading = false;
    if (c->head)
        (void)pthread_cond_signal(&c->head->wake);
}

int commit_write(struct commit *c, commit_fn *fn, void *ctx, struct err *err)
{
    struct commit_op op = {.fn = fn, .ctx = ctx, .wake = PTHREAD_COND_INITIALIZER};
    if (sql_is_broken(c->db))
        return refuse_broken(err);
    (void)pthread_mutex_lock(&c->queue);
    *c->tail = &op;
    /* cppcheck-suppress autoVariables ; the queue lets go of it before it is done */
    c->tail = &op.next;
    c->waiting++;
    while (!op.done) {
        if (c->leading) {
            (void)pthread_cond_wait(&op.wake, &c->queue);
            continue;
        }
        c->leading = true;
        struct commit_op *group = commit_take(c);
        (void)pthread_mutex_unlock(&c->queue);
        commit_lead(c, group);
        (void)pthread_mutex_lock(&c->queue);
        commit_finish(c, group);
    }
    (void)pthread_mutex_unlock(&c->queue);
    (void)pthread_cond_destroy(&op.wake);
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
