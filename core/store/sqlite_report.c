#include "core/store/store_internal.h"

struct put {
    const struct report_row *row;
};

/* Replacing a row gives it a new id, so that whoever is sending the old one cannot settle the new
 * one with it. */
static int put_op(struct sql *db, void *ctx, struct err *err)
{
    const struct report_row *r = ((const struct put *)ctx)->row;
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    return sql_run(db,
                   "INSERT OR REPLACE INTO report (forge, project, change, patchset, commit_id,"
                   " context, state, summary, body, task, made_at, run_at, attempt, reason)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                   SQL_ARGS(sql_text(r->forge), sql_text(r->project), sql_text(r->change),
                            sql_text(r->patchset), sql_text(r->commit), sql_text(r->context),
                            sql_text(r->state), sql_text(store_text(&a, r->summary)),
                            sql_text(store_text(&a, r->body)), sql_id(r->task), sql_int(r->made_at),
                            sql_int(r->run_at), sql_int(r->attempt),
                            sql_text(store_text(&a, r->reason))),
                   err);
}

int store_report_put(struct store *s, const struct report_row *r, struct err *err)
{
    struct put c = {.row = r};
    return commit_write(&s->commit, put_op, &c, err);
}

struct due {
    int64_t now;
    size_t max;
    struct arena *a;
    struct report_rows *out;
    int64_t next;
};

static int due_rows(struct sql *db, const struct due *c, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT id, forge, project, change, patchset, commit_id, context, state, summary,"
                  " body, task, made_at, run_at, attempt, reason"
                  " FROM report INDEXED BY report_run_at"
                  " WHERE run_at <= ?1 ORDER BY run_at, id LIMIT ?2",
                  SQL_ARGS(sql_int(c->now), sql_int(store_page(c->max))), &q, err))
        return -1;
    struct arena *a = c->a;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(a, c->out) = (struct report_row){
            .id = sql_col_int(q, 0),
            .forge = sql_col_text(q, 1, a),
            .project = sql_col_text(q, 2, a),
            .change = sql_col_text(q, 3, a),
            .patchset = sql_col_text(q, 4, a),
            .commit = sql_col_text(q, 5, a),
            .context = sql_col_text(q, 6, a),
            .state = sql_col_text(q, 7, a),
            .summary = sql_col_text(q, 8, a),
            .body = sql_col_text(q, 9, a),
            .task = sql_col_int(q, 10),
            .made_at = sql_col_int(q, 11),
            .run_at = sql_col_int(q, 12),
            .attempt = (int)sql_col_int(q, 13),
            .reason = sql_col_text(q, 14, a),
        };
    return rc;
}

static int due_op(struct sql *db, void *ctx, struct err *err)
{
    struct due *c = ctx;
    *c->out = (struct report_rows){0};
    c->next = INT64_MAX;
    if (due_rows(db, c, err))
        return -1;
    return sql_one_int(db,
                       "SELECT run_at FROM report INDEXED BY report_run_at WHERE run_at > ?1"
                       " ORDER BY run_at LIMIT 1",
                       SQL_ARGS(sql_int(c->now)), &c->next, NULL, err);
}

int store_reports_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                      struct report_rows *out, int64_t *next, struct err *err)
{
    *out = (struct report_rows){0};
    *next = INT64_MAX;
    struct due c = {.now = now_ms, .max = max, .a = a, .out = out, .next = INT64_MAX};
    if (commit_read(&s->commit, due_op, &c, err))
        return -1;
    *next = c.next;
    return 0;
}

struct settle {
    const struct report_row *row;
    bool done;
};

static int settle_op(struct sql *db, void *ctx, struct err *err)
{
    const struct settle *c = ctx;
    const struct report_row *r = c->row;
    if (c->done)
        return sql_run(db, "DELETE FROM report WHERE id = ?1", SQL_ARGS(sql_int(r->id)), err);
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    return sql_run(db, "UPDATE report SET run_at = ?2, attempt = ?3, reason = ?4 WHERE id = ?1",
                   SQL_ARGS(sql_int(r->id), sql_int(r->run_at), sql_int(r->attempt),
                            sql_text(store_text(&a, r->reason))),
                   err);
}

int store_report_settle(struct store *s, const struct report_row *r, bool done, struct err *err)
{
    struct settle c = {.row = r, .done = done};
    return commit_write(&s->commit, settle_op, &c, err);
}
