#include "core/store/store_internal.h"

#include "core/base/limits.h"

/* ---- targets ---- */

struct targets {
    struct target *at;
    size_t n;
    struct arena *a;
};

static int target_read(struct sql *db, struct target *t, struct arena *a, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT desired, applied, order_project, order_commit, order_at, order_seq,"
                  " fence, locked_by, held, moved_by, rolled_back, order_version FROM target"
                  " WHERE registry = ?1 AND name = ?2 AND tag = ?3",
                  SQL_ARGS(sql_text(t->registry), sql_text(t->name), sql_text(t->tag)), &q, err))
        return -1;
    int rc = sql_step(q, err);
    *t = (struct target){.registry = t->registry, .name = t->name, .tag = t->tag};
    if (rc <= 0)
        return rc;
    t->desired = sql_col_text(q, 0, a);
    t->applied = sql_col_text(q, 1, a);
    t->order.project = sql_col_text(q, 2, a);
    t->order.commit = sql_col_text(q, 3, a);
    t->order.happened_at = sql_col_int(q, 4);
    t->order.seq = sql_col_int(q, 5);
    t->fence = sql_col_int(q, 6);
    t->locked_by = sql_col_int(q, 7);
    t->held = sql_col_text(q, 8, a);
    t->moved_by = sql_col_int(q, 9);
    t->rolled_back = sql_col_int(q, 10);
    t->order.version = sql_col_text(q, 11, a);
    return 0;
}

static int targets_op(struct sql *db, void *ctx, struct err *err)
{
    const struct targets *c = ctx;
    for (size_t i = 0; i < c->n; i++)
        if (target_read(db, &c->at[i], c->a, err))
            return -1;
    return 0;
}

int store_targets_get(struct store *s, struct target *targets, size_t n, struct arena *a,
                      struct err *err)
{
    struct targets c = {.at = targets, .n = n, .a = a};
    return commit_read(&s->commit, targets_op, &c, err);
}

struct hold {
    const char *registry;
    const char *name;
    const char *tag;
    const char *why; /* NULL: let go */
    bool done;
};

static int hold_op(struct sql *db, void *ctx, struct err *err)
{
    struct hold *c = ctx;
    if (sql_run(
            db,
            "UPDATE target SET held = ?4 WHERE registry = ?1 AND name = ?2 AND tag = ?3"
            " AND (?4 IS NOT NULL OR held IS NOT NULL)",
            SQL_ARGS(sql_text(c->registry), sql_text(c->name), sql_text(c->tag), sql_text(c->why)),
            err))
        return -1;
    c->done = sql_changes(db) == 1;
    return 0;
}

int store_target_hold(struct store *s, const char *registry, const char *name, const char *tag,
                      const char *why, bool *done, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct hold c = {.registry = registry, .name = name, .tag = tag, .why = store_text(&a, why)};
    if (commit_write(&s->commit, hold_op, &c, err))
        return -1;
    *done = c.done;
    return 0;
}

/* ---- steps ---- */

struct steps {
    int64_t task;
    struct arena *a;
    struct step_list *out;
};

static enum step_state step_state_from_row(struct sql_stmt *q, int column)
{
    for (int v = 0; v < STEP__MAX; v++)
        if (sql_col_is(q, column, step_state_name((enum step_state)v)))
            return (enum step_state)v;
    return STEP_STUCK;
}

#define STEP_COLUMNS                                                                               \
    "step.registry, step.name, step.tag, step.staged_tag, step.new_digest, step.new_type,"         \
    " step.former_digest, step.former_type, step.state, step.note, step.keeps_order"

static int steps_rows(struct sql_stmt *q, struct arena *a, struct step_list *out, struct err *err)
{
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(a, out) = (struct step){
            .registry = sql_col_text(q, 0, a),
            .name = sql_col_text(q, 1, a),
            .tag = sql_col_text(q, 2, a),
            .staged_tag = sql_col_text(q, 3, a),
            .new_digest = sql_col_text(q, 4, a),
            .new_type = sql_col_text(q, 5, a),
            .former_digest = sql_col_text(q, 6, a),
            .former_type = sql_col_text(q, 7, a),
            .state = step_state_from_row(q, 8),
            .note = sql_col_text(q, 9, a),
            .keeps_order = sql_col_bool(q, 10),
        };
    return rc;
}

static int steps_op(struct sql *db, void *ctx, struct err *err)
{
    const struct steps *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "SELECT " STEP_COLUMNS " FROM step WHERE step.task = ?1 ORDER BY step.at",
                  SQL_ARGS(sql_int(c->task)), &q, err))
        return -1;
    return steps_rows(q, c->a, c->out, err);
}

int store_steps_get(struct store *s, int64_t task, struct arena *a, struct step_list *out,
                    struct err *err)
{
    *out = (struct step_list){0};
    struct steps c = {.task = task, .a = a, .out = out};
    return commit_read(&s->commit, steps_op, &c, err);
}

/* ---- manifests ---- */

struct kept {
    const char *digest;
    struct arena *a;
    struct kept_manifest *out;
};

static int manifest_op(struct sql *db, void *ctx, struct err *err)
{
    const struct kept *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "SELECT media_type, bytes FROM manifest WHERE digest = ?1",
                  SQL_ARGS(sql_text(c->digest)), &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc <= 0)
        return rc;
    c->out->digest = arena_strdup(c->a, c->digest);
    c->out->media_type = sql_col_text(q, 0, c->a);
    c->out->bytes = sql_col_blob(q, 1, c->a, &c->out->len);
    return 0;
}

int store_manifest_get(struct store *s, const char *digest, struct arena *a,
                       struct kept_manifest *out, struct err *err)
{
    *out = (struct kept_manifest){0};
    struct kept c = {.digest = digest, .a = a, .out = out};
    return commit_read(&s->commit, manifest_op, &c, err);
}

/* ---- what was published ---- */

struct published {
    const char *project;
    const char *commit;
    const char *registry;
    const char *name;
    struct arena *a;
    struct step_list *out;
};

static int published_op(struct sql *db, void *ctx, struct err *err)
{
    const struct published *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " STEP_COLUMNS " FROM task INDEXED BY task_commit CROSS JOIN step"
                  " ON step.task = task.id WHERE task.order_project = ?1 AND task.order_commit = ?2"
                  " AND step.registry = ?3 AND step.name = ?4 AND step.state IN ('done', 'same')"
                  " ORDER BY task.updated_at DESC, task.id DESC, step.at LIMIT ?5",
                  SQL_ARGS(sql_text(c->project), sql_text(c->commit), sql_text(c->registry),
                           sql_text(c->name), sql_int(LIMIT_PLAN)),
                  &q, err))
        return -1;
    return steps_rows(q, c->a, c->out, err);
}

int store_published_steps(struct store *s, const char *project, const char *commit,
                          const char *registry, const char *name, struct arena *a,
                          struct step_list *out, struct err *err)
{
    *out = (struct step_list){0};
    struct published c = {.project = project,
                          .commit = commit,
                          .registry = registry,
                          .name = name,
                          .a = a,
                          .out = out};
    return commit_read(&s->commit, published_op, &c, err);
}
