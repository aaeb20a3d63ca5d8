/*
 * store_internal.h - what the files of the SQLite back end share. Functions that take a struct sql
 * run inside a transaction that their caller opened through commit_write or commit_read.
 */
#ifndef SLIPWAY_STORE_INTERNAL_H
#define SLIPWAY_STORE_INTERNAL_H

#include "core/base/limits.h"
#include "core/lib/sql.h"
#include "core/store/commit.h"
#include "core/store/store.h"

struct store {
    char *path; /* canonical */
    struct sql *db;
    struct turnstile gate;
    struct commit commit;
};

/* A page's size: what was asked for, at most LIMIT_ROWS. */
static inline int64_t store_page(size_t max)
{
    return max < LIMIT_ROWS ? (int64_t)max : LIMIT_ROWS;
}

/* A text for people, copied, without registered secrets. NULL stays NULL. */
const char *store_text(struct arena *a, const char *text);

/* ERR_BUG with code ESTALE unless the last statement changed a row: somebody else has the task. */
int store_check_fence(struct sql *db, int64_t task, struct err *err);

/* A delivery's verdict. id 0 (made by hand) is left alone; a taken one never becomes a repeat. */
int delivery_mark(struct sql *db, int64_t id, enum delivery_verdict verdict, const char *reason,
                  struct err *err);

/* The columns that task_from_row reads, of a table or alias named task. */
#define TASK_COLUMNS                                                                               \
    "task.id, task.delivery, task.state, task.forge, task.project, task.pipeline, task.lane,"      \
    " task.key, task.ref, task.event, task.order_project, task.order_commit, task.order_at,"       \
    " task.order_seq, task.received_at, task.run_at, task.updated_at, task.live_at, task.attempt," \
    " task.fence, task.open, task.reason, task.superseded_by"

void task_from_row(struct sql_stmt *q, struct arena *a, struct task *t);

/* Where a task that is to be stored went. */
struct task_place {
    int64_t id;
    int64_t fence;
    bool repeat; /* another task says the same: nothing was written */
};

/*
 * Inserts a task (its delivery becomes taken), or takes over the row of one with the same key that
 * was skipped, is dead or was cancelled, or finds that it is a repeat (its delivery becomes one).
 * The row gets t's state, run_at, attempt, reason, live_at and superseded_by.
 */
int task_put_new(struct sql *db, const struct task *t, int64_t now_ms, struct task_place *out,
                 struct err *err);

/* When a task ends otherwise than it was expected to, those that it superseded are queued again: in
 * the same commit, so that nothing that only they touch is lost. Other states: nothing. */
int task_requeue_superseded(struct sql *db, int64_t id, enum task_state state, struct err *err);

/* Queues a clean-up for a task; the same tag and digest again replaces the row. */
int cleanup_put(struct sql *db, struct cleanup *c, int64_t task, struct err *err);

#endif
