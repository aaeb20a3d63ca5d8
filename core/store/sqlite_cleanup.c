#include "core/store/store_internal.h"

/* One row for a tag and digest: a task that runs again asks for the same clean-up again. */
int cleanup_put(struct sql *db, struct cleanup *c, int64_t task, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    bool found = false;
    return sql_one_int(
        db,
        "INSERT INTO cleanup (registry, name, tag, digest, kept_tag, kept_digest, task,"
        " run_at, attempt, is_left, reason)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT (registry, name, tag, digest) DO UPDATE SET kept_tag = ?5,"
        " kept_digest = ?6, task = ?7, run_at = ?8, attempt = ?9, is_left = ?10,"
        " reason = ?11 RETURNING id",
        SQL_ARGS(sql_text(c->registry), sql_text(c->name), sql_text(c->tag), sql_text(c->digest),
                 sql_text(c->kept_tag), sql_text(c->kept_digest), sql_id(task), sql_int(c->run_at),
                 sql_int(c->attempt), sql_int(c->left), sql_text(store_text(&a, c->reason))),
        &c->id, &found, err);
}

struct list {
    int64_t now;
    size_t max;
    struct arena *a;
    struct cleanup_list *out;
};

#define CLEANUP_COLUMNS                                                                            \
    "id, registry, name, tag, digest, kept_tag, kept_digest, task, run_at, attempt, is_left, "     \
    "reason"

static int list_rows(struct sql_stmt *q, struct list *c, struct err *err)
{
    struct arena *a = c->a;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(a, c->out) = (struct cleanup){
            .id = sql_col_int(q, 0),
            .registry = sql_col_text(q, 1, a),
            .name = sql_col_text(q, 2, a),
            .tag = sql_col_text(q, 3, a),
            .digest = sql_col_text(q, 4, a),
            .kept_tag = sql_col_text(q, 5, a),
            .kept_digest = sql_col_text(q, 6, a),
            .task = sql_col_int(q, 7),
            .run_at = sql_col_int(q, 8),
            .attempt = (int)sql_col_int(q, 9),
            .left = sql_col_bool(q, 10),
            .reason = sql_col_text(q, 11, a),
        };
    return rc;
}

static int due_op(struct sql *db, void *ctx, struct err *err)
{
    struct list *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " CLEANUP_COLUMNS " FROM cleanup INDEXED BY cleanup_run_at"
                  " WHERE run_at <= ?1 ORDER BY run_at LIMIT ?2",
                  SQL_ARGS(sql_int(c->now), sql_int(store_page(c->max))), &q, err))
        return -1;
    return list_rows(q, c, err);
}

int store_cleanups_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                       struct cleanup_list *out, struct err *err)
{
    *out = (struct cleanup_list){0};
    struct list c = {.now = now_ms, .max = max, .a = a, .out = out};
    return commit_read(&s->commit, due_op, &c, err);
}

static int list_op(struct sql *db, void *ctx, struct err *err)
{
    struct list *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "SELECT " CLEANUP_COLUMNS " FROM cleanup ORDER BY id LIMIT ?1",
                  SQL_ARGS(sql_int(LIMIT_ROWS)), &q, err))
        return -1;
    return list_rows(q, c, err);
}

int store_cleanups_list(struct store *s, struct arena *a, struct cleanup_list *out, struct err *err)
{
    *out = (struct cleanup_list){0};
    struct list c = {.a = a, .out = out};
    return commit_read(&s->commit, list_op, &c, err);
}

struct settle {
    const struct cleanup *items;
    const bool *done;
    size_t n;
};

static int settle_one(struct sql *db, const struct cleanup *c, bool done, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    if (done)
        return sql_run(db, "DELETE FROM cleanup WHERE id = ?1", SQL_ARGS(sql_int(c->id)), err);
    return sql_run(db,
                   "UPDATE cleanup SET run_at = ?2, attempt = ?3, is_left = ?4, reason = ?5"
                   " WHERE id = ?1",
                   SQL_ARGS(sql_int(c->id), sql_int(c->run_at), sql_int(c->attempt),
                            sql_int(c->left), sql_text(store_text(&a, c->reason))),
                   err);
}

static int settle_op(struct sql *db, void *ctx, struct err *err)
{
    const struct settle *c = ctx;
    for (size_t i = 0; i < c->n; i++)
        if (settle_one(db, &c->items[i], c->done[i], err))
            return -1;
    return 0;
}

int store_cleanups_settle(struct store *s, const struct cleanup *items, const bool *done, size_t n,
                          struct err *err)
{
    struct settle c = {.items = items, .done = done, .n = n};
    return n ? commit_write(&s->commit, settle_op, &c, err) : 0;
}
