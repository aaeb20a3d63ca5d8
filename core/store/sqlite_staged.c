#include "core/store/store_internal.h"

#include "core/base/str.h"

#include <errno.h>

/* A gate without a change has one row a project. */
static const char *change_of(const char *change)
{
    return change ? change : "";
}

/* ---- who owns a staged tag ---- */

static int owner_find(struct sql *db, const char *repository, const char *tag, const char *forge,
                      const char *project, struct arena *a, const char **owner, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    *owner = NULL;
    if (sql_query(db,
                  "SELECT s.forge || '/' || s.project"
                  " FROM staged_image i INDEXED BY staged_image_tag"
                  " CROSS JOIN staged s ON s.id = i.staged"
                  " WHERE i.repository = ?1 AND i.tag = ?2 AND s.promoted = 0"
                  " AND NOT (s.forge = ?3 AND s.project = ?4) LIMIT 1",
                  SQL_ARGS(sql_text(repository), sql_text(tag), sql_text(forge), sql_text(project)),
                  &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc > 0)
        *owner = sql_col_text(q, 0, a);
    return rc < 0 ? -1 : 0;
}

struct owner {
    const char *repository;
    const char *tag;
    const char *forge;
    const char *project;
    struct arena *a;
    const char *owner;
};

static int owner_op(struct sql *db, void *ctx, struct err *err)
{
    struct owner *c = ctx;
    return owner_find(db, c->repository, c->tag, c->forge, c->project, c->a, &c->owner, err);
}

int store_staged_owner(struct store *s, const char *repository, const char *tag, const char *forge,
                       const char *project, struct arena *a, const char **owner, struct err *err)
{
    struct owner c = {
        .repository = repository, .tag = tag, .forge = forge, .project = project, .a = a};
    if (commit_read(&s->commit, owner_op, &c, err))
        return -1;
    *owner = c.owner;
    return 0;
}

/* ---- put ---- */

struct put {
    const struct event *e;
    int64_t delivery;
    int64_t now;
    bool in_process; /* no delivery said it, so none is settled */
};

/* Is what the row records newer than this event? Numbered patchsets tell, then the time of the run
 * where both say it, then the order of arrival. */
static bool row_is_newer(struct sql_stmt *q, const struct put *c, struct arena *a)
{
    int64_t theirs = 0, mine = 0;
    const char *patchset = sql_col_text(q, 1, a);
    if (patchset && c->e->patchset && str_to_i64(patchset, &theirs) &&
        str_to_i64(c->e->patchset, &mine) && theirs != mine)
        return theirs > mine;
    theirs = sql_col_int(q, 2);
    if (theirs && c->e->happened_at && theirs != c->e->happened_at)
        return theirs > c->e->happened_at;
    return sql_col_int(q, 3) > c->delivery;
}

static int put_look(struct sql *db, const struct put *c, int64_t *id, bool *older, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT id, patchset, happened_at, delivery FROM staged"
                  " WHERE forge = ?1 AND project = ?2 AND change = ?3",
                  SQL_ARGS(sql_text(c->e->forge), sql_text(c->e->project),
                           sql_text(change_of(c->e->change))),
                  &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc <= 0)
        return rc;
    *id = sql_col_int(q, 0);
    *older = row_is_newer(q, c, &a);
    return 0;
}

static int put_check_owner(struct sql *db, const struct event *e, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    const char *owner = NULL;
    list_each (const struct event_image, i, &e->images) {
        if (owner_find(db, i->repository, i->tag, e->forge, e->project, &a, &owner, err))
            return -1;
        if (owner)
            return err_set(err, ERR_PERM, EEXIST, "%s:%s belongs to %s, which has not promoted it",
                           i->repository, i->tag, owner);
    }
    return 0;
}

/* A run's own tags in an intermediate registry are of no use once a newer run is recorded; a
 * change's staged tags are written over by that run. */
static int put_replaces(struct sql *db, const struct put *c, int64_t id, struct err *err)
{
    return sql_run(
        db,
        "INSERT INTO cleanup (registry, name, tag, digest, run_at, attempt, is_left)"
        " SELECT substr(i.repository, 1, instr(i.repository, '/') - 1),"
        "        substr(i.repository, instr(i.repository, '/') + 1), i.tag, i.digest, ?2,"
        "        0, 0"
        " FROM staged_image i JOIN staged s ON i.staged = s.id"
        " WHERE s.id = ?1 AND s.run_id != '' AND s.run_id IS NOT ?3"
        " AND substr(i.tag, 1, length(s.run_id) + 1) = s.run_id || '_'"
        " ON CONFLICT (registry, name, tag, digest) DO NOTHING",
        SQL_ARGS(sql_int(id), sql_int(c->now), sql_text(c->e->run_id)), err);
}

static int put_row(struct sql *db, const struct put *c, int64_t *id, struct err *err)
{
    const struct event *e = c->e;
    if (*id && put_replaces(db, c, *id, err))
        return err_wrap(err, "let go of what an older run staged");
    if (*id &&
        (sql_run(db, "DELETE FROM staged_image WHERE staged = ?1", SQL_ARGS(sql_int(*id)), err) ||
         sql_run(db, "DELETE FROM staged WHERE id = ?1", SQL_ARGS(sql_int(*id)), err)))
        return -1;
    if (sql_run(db,
                "INSERT INTO staged (id, forge, project, change, patchset, commit_id, tree, run_id,"
                " happened_at, recorded_at, delivery, promoted)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)",
                SQL_ARGS(sql_id(*id), sql_text(e->forge), sql_text(e->project),
                         sql_text(change_of(e->change)), sql_text(e->patchset),
                         sql_text(e->staged_commit), sql_text(e->tree), sql_text(e->run_id),
                         sql_int(e->happened_at), sql_int(c->now), sql_int(c->delivery)),
                err))
        return -1;
    *id = sql_last_id(db);
    return 0;
}

static int put_images(struct sql *db, int64_t id, const struct event_images *images,
                      struct err *err)
{
    for (size_t i = 0; i < images->n; i++)
        if (sql_run(db,
                    "INSERT INTO staged_image (staged, at, repository, tag, digest)"
                    " VALUES (?1, ?2, ?3, ?4, ?5)",
                    SQL_ARGS(sql_int(id), sql_int((int64_t)i), sql_text(images->at[i].repository),
                             sql_text(images->at[i].tag), sql_text(images->at[i].digest)),
                    err))
            return -1;
    return 0;
}

static int put_wake_tasks(struct sql *db, const struct put *c, struct err *err)
{
    CLEANUP(cleanup_free) char *ref = xasprintf("change/%s", change_of(c->e->change));
    return sql_run(
        db,
        "UPDATE task INDEXED BY task_ref SET run_at = ?4 WHERE forge = ?1"
        " AND project = ?2 AND ref = ?3 AND reopened = 0 AND state = 'waiting'"
        " AND run_at > ?4",
        SQL_ARGS(sql_text(c->e->forge), sql_text(c->e->project), sql_text(ref), sql_int(c->now)),
        err);
}

/* A replayed upload must not bring an old row back, so the delivery says that it is a record: its
 * body is a repeat for ever. */
static int put_settle(struct sql *db, const struct put *c, bool older, struct err *err)
{
    if (delivery_mark(db, c->delivery, DELIVERY_TAKEN,
                      older ? "an upload of a newer run is recorded already" : "recorded", err))
        return -1;
    return sql_run(db, "UPDATE delivery SET record = 1 WHERE id = ?1",
                   SQL_ARGS(sql_int(c->delivery)), err);
}

static int put_op(struct sql *db, void *ctx, struct err *err)
{
    const struct put *c = ctx;
    int64_t id = 0;
    bool older = false;
    if (put_look(db, c, &id, &older, err))
        return -1;
    if (!older && (put_check_owner(db, c->e, err) || put_row(db, c, &id, err) ||
                   put_images(db, id, &c->e->images, err) || put_wake_tasks(db, c, err)))
        return -1;
    return c->in_process ? 0 : put_settle(db, c, older, err);
}

int store_staged_put(struct store *s, const struct event *e, int64_t delivery, int64_t now_ms,
                     struct err *err)
{
    struct put c = {.e = e, .delivery = delivery, .now = now_ms};
    return commit_write(&s->commit, put_op, &c, err);
}

int store_staged_record(struct store *s, const struct event *e, int64_t seq, int64_t now_ms,
                        struct err *err)
{
    struct put c = {.e = e, .delivery = seq, .now = now_ms, .in_process = true};
    return commit_write(&s->commit, put_op, &c, err);
}

/* ---- get ---- */

struct get {
    const char *forge;
    const char *project;
    const char *change;
    struct arena *a;
    struct staged *out;
    bool found;
};

static int get_images(struct sql *db, int64_t id, struct get *c, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT repository, tag, digest FROM staged_image WHERE staged = ?1"
                  " ORDER BY at",
                  SQL_ARGS(sql_int(id)), &q, err))
        return -1;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(c->a, &c->out->images) = (struct event_image){
            .repository = sql_col_text(q, 0, c->a),
            .tag = sql_col_text(q, 1, c->a),
            .digest = sql_col_text(q, 2, c->a),
        };
    return rc;
}

static int get_op(struct sql *db, void *ctx, struct err *err)
{
    struct get *c = ctx;
    struct arena *a = c->a;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(
            db,
            "SELECT id, forge, project, change, patchset, commit_id, tree, run_id,"
            " recorded_at, promoted FROM staged"
            " WHERE forge = ?1 AND project = ?2 AND change = ?3",
            SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(change_of(c->change))), &q,
            err))
        return -1;
    int rc = sql_step(q, err);
    if (rc <= 0)
        return rc;
    c->found = true;
    *c->out = (struct staged){
        .forge = sql_col_text(q, 1, a),
        .project = sql_col_text(q, 2, a),
        .change = sql_col_text(q, 3, a),
        .patchset = sql_col_text(q, 4, a),
        .commit = sql_col_text(q, 5, a),
        .tree = sql_col_text(q, 6, a),
        .run_id = sql_col_text(q, 7, a),
        .recorded_at = sql_col_int(q, 8),
        .promoted = sql_col_bool(q, 9),
    };
    return get_images(db, sql_col_int(q, 0), c, err);
}

int store_staged_get(struct store *s, const char *forge, const char *project, const char *change,
                     struct arena *a, struct staged *out, bool *found, struct err *err)
{
    *out = (struct staged){0};
    struct get c = {.forge = forge, .project = project, .change = change, .a = a, .out = out};
    if (commit_read(&s->commit, get_op, &c, err))
        return -1;
    *found = c.found;
    return 0;
}

/* ---- what a sweep wants to know ---- */

struct staged_tags {
    const char *repository;
    const struct str_list *tags;
    struct arena *a;
    struct staged_tag_list *out;
};

static int staged_tag_rows(struct sql *db, const struct staged_tags *c, const char *tag,
                           struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT i.digest, s.forge, s.project, s.change, s.recorded_at, s.promoted"
                  " FROM staged_image i INDEXED BY staged_image_tag"
                  " CROSS JOIN staged s ON s.id = i.staged"
                  " WHERE i.repository = ?1 AND i.tag = ?2 ORDER BY s.recorded_at DESC, s.id DESC",
                  SQL_ARGS(sql_text(c->repository), sql_text(tag)), &q, err))
        return -1;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(c->a, c->out) = (struct staged_tag){
            .tag = tag,
            .digest = sql_col_text(q, 0, c->a),
            .forge = sql_col_text(q, 1, c->a),
            .project = sql_col_text(q, 2, c->a),
            .change = sql_col_text(q, 3, c->a),
            .recorded_at = sql_col_int(q, 4),
            .promoted = sql_col_bool(q, 5),
        };
    return rc;
}

static int staged_tags_op(struct sql *db, void *ctx, struct err *err)
{
    const struct staged_tags *c = ctx;
    for (size_t i = 0; i < c->tags->n; i++)
        if (staged_tag_rows(db, c, c->tags->at[i], err))
            return -1;
    return 0;
}

int store_staged_tags(struct store *s, const char *repository, const struct str_list *tags,
                      struct arena *a, struct staged_tag_list *out, struct err *err)
{
    *out = (struct staged_tag_list){0};
    struct staged_tags c = {.repository = repository, .tags = tags, .a = a, .out = out};
    return commit_read(&s->commit, staged_tags_op, &c, err);
}

static int staged_runs_op(struct sql *db, void *ctx, struct err *err)
{
    const struct staged_tags *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT i.tag, i.digest, s.forge, s.project, s.change, s.recorded_at, s.promoted,"
                  " substr(i.tag, length(s.run_id) + 2)"
                  " FROM staged_image i INDEXED BY staged_image_tag"
                  " CROSS JOIN staged s ON s.id = i.staged"
                  " WHERE i.repository = ?1 AND s.run_id != ''"
                  " AND substr(i.tag, 1, length(s.run_id) + 1) = s.run_id || '_'"
                  " ORDER BY s.recorded_at DESC, s.id DESC",
                  SQL_ARGS(sql_text(c->repository)), &q, err))
        return -1;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(c->a, c->out) = (struct staged_tag){
            .tag = sql_col_text(q, 0, c->a),
            .digest = sql_col_text(q, 1, c->a),
            .forge = sql_col_text(q, 2, c->a),
            .project = sql_col_text(q, 3, c->a),
            .change = sql_col_text(q, 4, c->a),
            .recorded_at = sql_col_int(q, 5),
            .promoted = sql_col_bool(q, 6),
            .final = sql_col_text(q, 7, c->a),
        };
    return rc;
}

int store_staged_runs(struct store *s, const char *repository, struct arena *a,
                      struct staged_tag_list *out, struct err *err)
{
    *out = (struct staged_tag_list){0};
    struct staged_tags c = {.repository = repository, .a = a, .out = out};
    return commit_read(&s->commit, staged_runs_op, &c, err);
}

/* One text a row. */
struct texts {
    const char *query;
    struct sql_values values;
    struct arena *a;
    struct str_list *out;
};

static int texts_op(struct sql *db, void *ctx, struct err *err)
{
    const struct texts *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, c->query, c->values, &q, err))
        return -1;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        *list_push(c->a, c->out) = sql_col_text(q, 0, c->a);
    return rc;
}

int store_repositories(struct store *s, struct arena *a, struct str_list *out, struct err *err)
{
    *out = (struct str_list){0};
    struct texts c = {.query = "SELECT registry || '/' || name FROM target UNION"
                               " SELECT repository FROM staged_image ORDER BY 1",
                      .values = SQL_NO_ARGS,
                      .a = a,
                      .out = out};
    return commit_read(&s->commit, texts_op, &c, err);
}

int store_target_projects(struct store *s, const char *registry, const char *name, struct arena *a,
                          struct str_list *out, struct err *err)
{
    *out = (struct str_list){0};
    struct texts c = {.query = "SELECT DISTINCT order_project FROM target WHERE registry = ?1"
                               " AND name = ?2 AND order_project IS NOT NULL ORDER BY 1",
                      .values = SQL_ARGS(sql_text(registry), sql_text(name)),
                      .a = a,
                      .out = out};
    return commit_read(&s->commit, texts_op, &c, err);
}

struct pending {
    const char *forge;
    const char *project;
    const char *ref;
    int64_t id;
};

static int pending_op(struct sql *db, void *ctx, struct err *err)
{
    struct pending *c = ctx;
    c->id = 0;
    return sql_one_int(db,
                       "SELECT id FROM task INDEXED BY task_ref WHERE forge = ?1 AND project = ?2"
                       " AND ref = ?3 AND reopened = 0 AND state NOT IN ('done', 'skipped',"
                       " 'superseded', 'dead', 'cancelled') ORDER BY id DESC LIMIT 1",
                       SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(c->ref)), &c->id,
                       NULL, err);
}

int store_task_pending(struct store *s, const char *forge, const char *project, const char *ref,
                       int64_t *id, struct err *err)
{
    struct pending c = {.forge = forge, .project = project, .ref = ref};
    if (commit_read(&s->commit, pending_op, &c, err))
        return -1;
    *id = c.id;
    return 0;
}

struct since {
    const char *forge;
    const char *project;
    const char *ref;
    const char *pipeline;
    int64_t seq;
    int64_t id;
};

static int since_op(struct sql *db, void *ctx, struct err *err)
{
    struct since *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT id FROM task INDEXED BY task_ref WHERE forge = ?1 AND project = ?2"
                  " AND ref = ?3 AND reopened = 0 AND pipeline = ?4 AND order_seq > ?5"
                  " ORDER BY id DESC LIMIT 1",
                  SQL_ARGS(sql_text(c->forge), sql_text(c->project), sql_text(c->ref),
                           sql_text(c->pipeline), sql_int(c->seq)),
                  &q, err))
        return -1;
    int rc = sql_step(q, err);
    c->id = rc > 0 ? sql_col_int(q, 0) : 0;
    return rc < 0 ? -1 : 0;
}

int store_task_since(struct store *s, const char *forge, const char *project, const char *ref,
                     const char *pipeline, int64_t seq, int64_t *id, struct err *err)
{
    struct since c = {
        .forge = forge, .project = project, .ref = ref, .pipeline = pipeline, .seq = seq};
    if (commit_read(&s->commit, since_op, &c, err))
        return -1;
    *id = c.id;
    return 0;
}
