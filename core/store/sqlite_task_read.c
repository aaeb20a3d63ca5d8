#include "core/store/store_internal.h"

#include "core/base/str.h"
#include "core/os/clock.h"

/* A task that may be claimed: ready, and nobody else's steps are unfinished in its lane. */
#define READY "task.state IN ('queued', 'waiting', 'failed') AND task.open = 0"
#define LANE_FREE                                                                                  \
    "NOT EXISTS (SELECT 1 FROM task b INDEXED BY task_open"                                        \
    " WHERE b.open = 1 AND b.lane = task.lane)"

static enum task_state state_from_row(struct sql_stmt *q, int column)
{
    for (int v = 0; v < TASK__MAX; v++)
        if (sql_col_is(q, column, task_state_name((enum task_state)v)))
            return (enum task_state)v;
    return TASK_HELD;
}

void task_from_row(struct sql_stmt *q, struct arena *a, struct task *t)
{
    *t = (struct task){
        .id = sql_col_int(q, 0),
        .delivery = sql_col_int(q, 1),
        .state = state_from_row(q, 2),
        .forge = sql_col_text(q, 3, a),
        .project = sql_col_text(q, 4, a),
        .pipeline = sql_col_text(q, 5, a),
        .lane = sql_col_text(q, 6, a),
        .key = sql_col_text(q, 7, a),
        .ref = sql_col_text(q, 8, a),
        .event = sql_col_text(q, 9, a),
        .order.project = sql_col_text(q, 10, a),
        .order.commit = sql_col_text(q, 11, a),
        .order.happened_at = sql_col_int(q, 12),
        .order.seq = sql_col_int(q, 13),
        .received_at = sql_col_int(q, 14),
        .run_at = sql_col_int(q, 15),
        .updated_at = sql_col_int(q, 16),
        .live_at = sql_col_int(q, 17),
        .attempt = (int)sql_col_int(q, 18),
        .fence = sql_col_int(q, 19),
        .open_journal = sql_col_bool(q, 20),
        .reason = sql_col_text(q, 21, a),
        .superseded_by = sql_col_int(q, 22),
    };
    t->order.version = str_after(t->ref, "refs/tags/");
}

struct read {
    int64_t key; /* now, or where the page begins */
    size_t max;
    enum task_state state;
    const char *project;
    const char *lane;
    struct arena *a;
    struct task_list *out;
    struct task *one;
    int64_t at;
};

static int read_rows(struct sql_stmt *q, struct read *c, struct err *err)
{
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        task_from_row(q, c->a, list_push(c->a, c->out));
    return rc;
}

static int due_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    /* One of each lane, for no more can run: a long queue of one lane must not fill the answer. */
    if (sql_query(db,
                  "SELECT " TASK_COLUMNS " FROM task WHERE task.id IN"
                  " (SELECT min(task.id) FROM task INDEXED BY task_ready"
                  "  WHERE " READY " AND task.run_at <= ?1 AND " LANE_FREE
                  "  GROUP BY task.lane ORDER BY 1 LIMIT ?2) ORDER BY task.id",
                  SQL_ARGS(sql_int(c->key), sql_int(store_page(c->max))), &q, err))
        return -1;
    return read_rows(q, c, err);
}

int store_tasks_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                    struct task_list *out, struct err *err)
{
    *out = (struct task_list){0};
    struct read c = {.key = now_ms, .max = max, .a = a, .out = out};
    return commit_read(&s->commit, due_op, &c, err);
}

/* A task behind another's open journal is not waited for: the journal's own task is. */
static int next_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    return sql_one_int(db,
                       "SELECT task.run_at FROM task INDEXED BY task_run_at"
                       " WHERE task.state IN ('queued', 'waiting', 'failed', 'undoing')"
                       " AND (task.open = 1 OR " LANE_FREE ") ORDER BY task.run_at LIMIT 1",
                       SQL_NO_ARGS, &c->at, NULL, err);
}

int store_tasks_next_due(struct store *s, int64_t *at_ms, struct err *err)
{
    struct read c = {.at = INT64_MAX};
    if (commit_read(&s->commit, next_op, &c, err))
        return -1;
    *at_ms = c.at;
    return 0;
}

static int newer_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " TASK_COLUMNS " FROM task INDEXED BY task_ready WHERE " READY
                  " AND task.id > ?1 AND task.lane = ?2 ORDER BY task.id DESC LIMIT ?3",
                  SQL_ARGS(sql_int(c->key), sql_text(c->lane), sql_int(store_page(c->max))), &q,
                  err))
        return -1;
    return read_rows(q, c, err);
}

int store_lane_newer(struct store *s, const char *lane, int64_t id, size_t max, struct arena *a,
                     struct task_list *out, struct err *err)
{
    *out = (struct task_list){0};
    struct read c = {.key = id, .max = max, .lane = lane, .a = a, .out = out};
    return commit_read(&s->commit, newer_op, &c, err);
}

static int open_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " TASK_COLUMNS " FROM task INDEXED BY task_open WHERE task.open = 1"
                  " AND (task.state = 'running' OR (task.run_at <= ?1 AND"
                  "  task.state IN ('queued', 'waiting', 'failed', 'undoing')))"
                  " ORDER BY task.id LIMIT ?2",
                  SQL_ARGS(sql_int(c->key), sql_int(LIMIT_ROWS)), &q, err))
        return -1;
    return read_rows(q, c, err);
}

int store_tasks_open(struct store *s, struct arena *a, struct task_list *out, struct err *err)
{
    *out = (struct task_list){0};
    struct read c = {.key = clock_now_ms(), .a = a, .out = out};
    return commit_read(&s->commit, open_op, &c, err);
}

/* Which index serves a list depends on what is asked for; ?1 before, ?2 max, ?3 state, ?4 project.
 */
static const char *list_text(const struct read *c)
{
#define ROWS "SELECT " TASK_COLUMNS " FROM task "
#define PAGE " AND task.id < ?1 ORDER BY task.id DESC LIMIT ?2"
    static const char all[] = ROWS "WHERE ?3 IS NULL AND ?4 IS NULL" PAGE;
    static const char done[] = ROWS "WHERE task.state = ?3 AND ?4 IS NULL" PAGE;
    static const char unfinished[] =
        ROWS "INDEXED BY task_unfinished"
             " WHERE task.state = ?3 AND task.state <> 'done' AND ?4 IS NULL" PAGE;
    static const char project[] = ROWS "INDEXED BY task_project"
                                       " WHERE task.project = ?4 AND (?3 IS NULL OR"
                                       " task.state = ?3)" PAGE;
#undef ROWS
#undef PAGE
    if (c->project)
        return project;
    if (c->state == TASK__MAX)
        return all;
    return c->state == TASK_DONE ? done : unfinished;
}

static int list_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    struct sql_value state = {0};
    if (c->state != TASK__MAX)
        state = sql_text(task_state_name(c->state));
    if (sql_query(db, list_text(c),
                  SQL_ARGS(sql_int(c->key > 0 ? c->key : INT64_MAX), sql_int(store_page(c->max)),
                           state, sql_text(c->project)),
                  &q, err))
        return -1;
    return read_rows(q, c, err);
}

int store_tasks_list(struct store *s, enum task_state state, const char *project, int64_t before,
                     size_t max, struct arena *a, struct task_list *out, struct err *err)
{
    *out = (struct task_list){0};
    struct read c = {
        .key = before, .max = max, .state = state, .project = project, .a = a, .out = out};
    return commit_read(&s->commit, list_op, &c, err);
}

static int get_op(struct sql *db, void *ctx, struct err *err)
{
    struct read *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "SELECT " TASK_COLUMNS " FROM task WHERE task.id = ?1",
                  SQL_ARGS(sql_int(c->key)), &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc > 0)
        task_from_row(q, c->a, c->one);
    return rc < 0 ? -1 : 0;
}

int store_task_get(struct store *s, int64_t id, struct arena *a, struct task *out, struct err *err)
{
    *out = (struct task){0};
    struct read c = {.key = id, .a = a, .one = out};
    return commit_read(&s->commit, get_op, &c, err);
}
