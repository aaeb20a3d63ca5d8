#include "core/store/schema.h"

#include <errno.h>

/* "SLPY": tells our files from other programs' databases. */
#define SCHEMA_APPLICATION 1397510233

/*
 * Receive sequences, task ids and fences must never come back, so deliveries are only pruned below
 * the newest one, tasks and targets are never deleted, and clean-ups (which are) autoincrement.
 *
 * Every partial index below serves one query that names it with INDEXED BY: a change that would
 * make the query scan finished rows is an error when the statement is prepared.
 */
static const char schema_1[] =
    "CREATE TABLE pulse ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"
    "  at INTEGER NOT NULL"
    ") STRICT;"
    "INSERT INTO pulse VALUES (1, 0);"

    "CREATE TABLE delivery ("
    "  id INTEGER PRIMARY KEY,"
    "  source TEXT NOT NULL,"
    "  forge_id TEXT,"
    "  received_at INTEGER NOT NULL,"
    "  verdict TEXT NOT NULL"
    "    CHECK (verdict IN ('new', 'taken', 'ignored', 'malformed', 'repeat')),"
    "  record INTEGER NOT NULL DEFAULT 0," /* its meaning is a staged row, not a task */
    "  reason TEXT,"
    "  digest BLOB NOT NULL CHECK (length(digest) = 32),"
    "  headers BLOB NOT NULL"
    ") STRICT;"
    /* Apart, so that a new verdict does not rewrite it. */
    "CREATE TABLE delivery_body ("
    "  id INTEGER PRIMARY KEY REFERENCES delivery (id) ON DELETE CASCADE,"
    "  body BLOB NOT NULL"
    ") STRICT;"
    "CREATE INDEX delivery_digest ON delivery (source, digest)"
    "  WHERE verdict IN ('new', 'taken');"
    "CREATE INDEX delivery_forge_id ON delivery (source, forge_id)"
    "  WHERE forge_id IS NOT NULL AND verdict IN ('new', 'taken');"
    "CREATE INDEX delivery_new ON delivery (id) WHERE verdict = 'new';"
    "CREATE INDEX delivery_idle ON delivery (verdict, id, received_at)"
    "  WHERE verdict IN ('ignored', 'malformed', 'repeat');"

    "CREATE TABLE task ("
    "  id INTEGER PRIMARY KEY,"
    "  delivery INTEGER REFERENCES delivery (id),"
    "  state TEXT NOT NULL CHECK (state IN ('queued', 'waiting', 'running', 'undoing', 'done',"
    "    'skipped', 'superseded', 'failed', 'dead', 'partial', 'held', 'cancelled')),"
    "  forge TEXT NOT NULL,"
    "  project TEXT NOT NULL,"
    "  pipeline TEXT NOT NULL,"
    "  lane TEXT NOT NULL,"
    "  key TEXT NOT NULL UNIQUE,"
    "  ref TEXT NOT NULL,"
    "  event TEXT NOT NULL,"
    "  order_project TEXT,"
    "  order_commit TEXT,"
    "  order_at INTEGER NOT NULL,"
    "  order_seq INTEGER NOT NULL,"
    "  received_at INTEGER NOT NULL,"
    "  run_at INTEGER NOT NULL,"
    "  updated_at INTEGER NOT NULL,"
    "  live_at INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  fence INTEGER NOT NULL,"
    "  open INTEGER NOT NULL CHECK (open IN (0, 1)),"
    "  reopened INTEGER NOT NULL DEFAULT 0," /* its ref was deleted: repeats nothing any more */
    "  reason TEXT,"
    "  superseded_by INTEGER REFERENCES task (id),"
    "  CHECK (open = 1 OR state NOT IN ('running', 'undoing')),"
    "  CHECK (open = 0 OR state IN ('running', 'undoing', 'failed', 'waiting', 'queued', 'held'))"
    ") STRICT;"
    "CREATE INDEX task_ready ON task (id, run_at)"
    "  WHERE state IN ('queued', 'waiting', 'failed') AND open = 0;"
    "CREATE INDEX task_run_at ON task (run_at)"
    "  WHERE state IN ('queued', 'waiting', 'failed', 'undoing');"
    "CREATE INDEX task_open ON task (lane) WHERE open = 1;"
    "CREATE INDEX task_unfinished ON task (state, id) WHERE state <> 'done';"
    "CREATE INDEX task_delivery ON task (delivery) WHERE delivery IS NOT NULL;"
    "CREATE INDEX task_ref ON task (forge, project, ref) WHERE reopened = 0;"
    "CREATE INDEX task_project ON task (project, id);"
    "CREATE INDEX task_commit ON task (order_project, order_commit)"
    "  WHERE order_commit IS NOT NULL;"

    "CREATE TABLE step ("
    "  task INTEGER NOT NULL REFERENCES task (id),"
    "  at INTEGER NOT NULL,"
    "  registry TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  tag TEXT NOT NULL,"
    "  staged_tag TEXT,"
    "  new_digest TEXT NOT NULL,"
    "  new_type TEXT,"
    "  former_digest TEXT,"
    "  former_type TEXT,"
    "  state TEXT NOT NULL"
    "    CHECK (state IN ('planned', 'same', 'done', 'restored', 'foreign', 'stuck')),"
    "  note TEXT,"
    "  PRIMARY KEY (task, at),"
    "  UNIQUE (task, registry, name, tag)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE manifest ("
    "  digest TEXT PRIMARY KEY,"
    "  media_type TEXT NOT NULL,"
    "  bytes BLOB NOT NULL"
    ") STRICT;"

    "CREATE TABLE target ("
    "  registry TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  tag TEXT NOT NULL,"
    "  desired TEXT,"
    "  applied TEXT,"
    "  order_project TEXT,"
    "  order_commit TEXT,"
    "  order_at INTEGER NOT NULL DEFAULT 0,"
    "  order_seq INTEGER NOT NULL DEFAULT 0,"
    "  fence INTEGER NOT NULL,"
    "  locked_by INTEGER REFERENCES task (id),"
    "  PRIMARY KEY (registry, name, tag)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX target_applied ON target (applied) WHERE applied IS NOT NULL;"

    "CREATE TABLE cleanup ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  registry TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  tag TEXT NOT NULL,"
    "  digest TEXT NOT NULL,"
    "  kept_tag TEXT,"
    "  kept_digest TEXT,"
    "  task INTEGER REFERENCES task (id),"
    "  run_at INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  is_left INTEGER NOT NULL,"
    "  reason TEXT,"
    "  UNIQUE (registry, name, tag, digest)"
    ") STRICT;"
    "CREATE INDEX cleanup_run_at ON cleanup (run_at);"

    "CREATE TABLE staged ("
    "  id INTEGER PRIMARY KEY,"
    "  forge TEXT NOT NULL,"
    "  project TEXT NOT NULL,"
    "  change TEXT NOT NULL," /* '' for a gate without a change */
    "  patchset TEXT,"
    "  commit_id TEXT,"
    "  tree TEXT,"
    "  run_id TEXT,"
    "  happened_at INTEGER NOT NULL,"
    "  recorded_at INTEGER NOT NULL,"
    "  delivery INTEGER NOT NULL," /* how new the row is */
    "  promoted INTEGER NOT NULL,"
    "  UNIQUE (forge, project, change)"
    ") STRICT;"
    "CREATE TABLE staged_image ("
    "  staged INTEGER NOT NULL REFERENCES staged (id),"
    "  at INTEGER NOT NULL,"
    "  repository TEXT NOT NULL,"
    "  tag TEXT NOT NULL,"
    "  digest TEXT NOT NULL,"
    "  PRIMARY KEY (staged, at)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX staged_image_tag ON staged_image (repository, tag);";

static const char schema_2[] =
    /* A tag that an operator pinned: nothing moves it until it is released. */
    "ALTER TABLE target ADD COLUMN held TEXT;"
    /* The task that moved it last; and the rollback that it shows, until something newer does. */
    "ALTER TABLE target ADD COLUMN moved_by INTEGER;"
    "ALTER TABLE target ADD COLUMN rolled_back INTEGER;"
    "UPDATE target SET moved_by = last.task FROM"
    " (SELECT registry, name, tag, new_digest, max(task) AS task FROM step WHERE state = 'done'"
    "  GROUP BY registry, name, tag, new_digest) AS last"
    " WHERE target.registry = last.registry AND target.name = last.name"
    " AND target.tag = last.tag AND target.applied = last.new_digest;"
    /* A rollback moves a tag and leaves the order where it is. */
    "ALTER TABLE step ADD COLUMN keeps_order INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX task_superseded ON task (superseded_by) WHERE state = 'superseded';"
    "CREATE TABLE report ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  forge TEXT NOT NULL,"
    "  project TEXT NOT NULL,"
    "  change TEXT,"
    "  patchset TEXT,"
    "  commit_id TEXT NOT NULL,"
    "  context TEXT NOT NULL," /* "slipway/check" */
    "  state TEXT NOT NULL CHECK (state IN ('pending', 'success', 'failure')),"
    "  summary TEXT NOT NULL,"
    "  body TEXT,"
    "  task INTEGER,"
    "  made_at INTEGER NOT NULL,"
    "  run_at INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  reason TEXT,"
    "  UNIQUE (forge, project, commit_id, context)"
    ") STRICT;"
    "CREATE INDEX report_run_at ON report (run_at);";

static const char schema_3[] =
    /* Of git tags versions decide which one is newer. */
    "ALTER TABLE target ADD COLUMN order_version TEXT;"
    "UPDATE target SET order_version = substr(task.ref, 11) FROM task"
    " WHERE task.id = target.moved_by AND task.ref LIKE 'refs/tags/%';";

static const char *const migrations[] = {schema_1, schema_2, schema_3};

int schema_version(void)
{
    return (int)ARRAY_LEN(migrations);
}

/* Is the file still empty, ours, or somebody else's? */
static int schema_look(struct sql *db, bool may_create, int64_t *version, struct err *err)
{
    int64_t application = 0, objects = 0;
    if (sql_one_int(db, "PRAGMA user_version", SQL_NO_ARGS, version, NULL, err) ||
        sql_one_int(db, "PRAGMA application_id", SQL_NO_ARGS, &application, NULL, err) ||
        sql_one_int(db, "SELECT count(*) FROM sqlite_schema", SQL_NO_ARGS, &objects, NULL, err))
        return -1;
    if (application != SCHEMA_APPLICATION && (objects || *version || application))
        return err_set(err, ERR_CONFIG, EINVAL, "this is the database of another program");
    if (*version > schema_version())
        return err_set(err, ERR_CONFIG, EPROTO,
                       "this store was made by a newer slipway (schema %lld, this one knows %d)",
                       (long long)*version, schema_version());
    if (*version <= 0 && !may_create)
        return err_set(err, ERR_CONFIG, ENOENT,
                       "the store is empty: 'slipway work' or 'slipway serve' fills it");
    return 0;
}

static int schema_apply(struct sql *db, int64_t version, struct err *err)
{
    for (int64_t i = version; i < schema_version(); i++)
        if (sql_script(db, migrations[i], err))
            return err_wrap(err, "schema %lld", (long long)i + 1);
    char mark[128];
    (void)snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   SCHEMA_APPLICATION, schema_version());
    return sql_script(db, mark, err);
}

int schema_migrate(struct sql *db, bool may_create, struct err *err)
{
    int64_t version = 0;
    if (sql_script(db, "BEGIN IMMEDIATE", err))
        return -1;
    int rc = schema_look(db, may_create, &version, err);
    if (!rc && version < schema_version())
        rc = schema_apply(db, version, err);
    if (!rc)
        rc = sql_script(db, "COMMIT", err);
    if (rc && sql_in_transaction(db))
        (void)sql_script(db, "ROLLBACK", NULL);
    return rc;
}
