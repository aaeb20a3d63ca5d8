#include "core/lib/sql.h"

#include "core/base/str.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>

struct sql_stmt {
    const char *text;
    sqlite3_stmt *raw;
    struct sql *db;
    bool in_use;
};

struct sql {
    sqlite3 *raw;
    struct sql_stmt **stmts; /* pointers, so that statements stay where they are */
    size_t n;
    size_t cap;
    atomic_bool broken;
};

struct sql_fault {
    int code; /* primary result code of SQLite */
    enum err_kind kind;
    int errnum;
    const char *what; /* NULL: SQLite's own words are enough */
};

static const struct sql_fault faults[] = {
    {SQLITE_BUSY, ERR_TEMP, EBUSY, "the store is locked by another process"},
    {SQLITE_LOCKED, ERR_TEMP, EBUSY, "the store is locked"},
    {SQLITE_FULL, ERR_TEMP, ENOSPC, "no space is left for the store"},
    {SQLITE_IOERR, ERR_TEMP, EIO, "the store's disk fails"},
    {SQLITE_PROTOCOL, ERR_TEMP, EBUSY, NULL},
    {SQLITE_CORRUPT, ERR_TEMP, EIO, "the store's file is damaged: restore it from a backup"},
    {SQLITE_NOTADB, ERR_CONFIG, EINVAL, "the file is not a database"},
    {SQLITE_READONLY, ERR_CONFIG, EROFS,
     "the store cannot be written: check the owner and mode of the file and of its directory"},
    {SQLITE_CANTOPEN, ERR_CONFIG, EACCES,
     "the store cannot be opened: check the owner and mode of the file and of its directory"},
    {SQLITE_PERM, ERR_CONFIG, EACCES, NULL},
    {SQLITE_AUTH, ERR_CONFIG, EACCES, NULL},
    {SQLITE_TOOBIG, ERR_INPUT, EMSGSIZE, NULL},
    {SQLITE_CONSTRAINT, ERR_BUG, EEXIST, NULL},
};

/* A failed sync leaves it unknown what is on the disk, and the next sync may lie. A refused write
 * (no space, quota, file size) is known at once, and SQLite rolls it back. */
static bool fault_breaks(struct sql *db, int extended, int errnum)
{
    int last = 0;
    switch (extended) {
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return true;
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_TRUNCATE:
        (void)sqlite3_file_control(db->raw, "main", SQLITE_FCNTL_LAST_ERRNO, &last);
        return errnum == EIO || last == EIO;
    default:
        return (extended & 0xff) == SQLITE_CORRUPT;
    }
}

static int sql_failed(struct sql *db, struct err *err)
{
    int extended = sqlite3_extended_errcode(db->raw);
    int errnum = sqlite3_system_errno(db->raw);
    const char *text = sqlite3_errmsg(db->raw);
    if ((extended & 0xff) == SQLITE_NOMEM) {
        (void)fputs("slipway: out of memory in the store\n", stderr);
        abort();
    }
    if (fault_breaks(db, extended, errnum))
        atomic_store(&db->broken, true);
    if ((extended & 0xff) == SQLITE_CANTOPEN && (errnum == EMFILE || errnum == ENFILE))
        return err_errno(err, ERR_TEMP, errnum, "the store cannot be opened");
    if ((extended & 0xff) == SQLITE_IOERR && errnum == EDQUOT)
        return err_errno(err, ERR_TEMP, errnum, "no space is left for the store");
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        const struct sql_fault *f = &faults[i];
        if (f->code != (extended & 0xff))
            continue;
        if (!f->what)
            return err_set(err, f->kind, f->errnum, "%s (SQLite %d)", text, extended);
        return err_set(err, f->kind, f->errnum, "%s: %s (SQLite %d)", f->what, text, extended);
    }
    return err_set(err, ERR_BUG, 0, "%s (SQLite %d)", text, extended);
}

static int sql_configure(struct sql *db, int busy_ms, struct err *err)
{
    static const struct {
        int option;
        int value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        int now = -1;
        if (sqlite3_db_config(db->raw, options[i].option, options[i].value, &now) != SQLITE_OK ||
            now != options[i].value)
            return err_set(err, ERR_CONFIG, 0, "this SQLite (%s) lacks option %d", sqlite3_version,
                           options[i].option);
    }
    (void)sqlite3_extended_result_codes(db->raw, 1);
    (void)sqlite3_busy_timeout(db->raw, busy_ms);
    return 0;
}

int sql_open(const char *path, int busy_ms, struct sql **out, struct err *err)
{
    struct sql *db = xcalloc(1, sizeof *db);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int rc = sqlite3_open_v2(path, &db->raw, flags, "unix");
    if (!db->raw)
        rc = err_set(err, ERR_TEMP, ENOMEM, "SQLite cannot start");
    else if (rc != SQLITE_OK)
        rc = sql_failed(db, err);
    else
        rc = sql_configure(db, busy_ms, err);
    if (rc) {
        (void)err_wrap(err, "%s", path);
        sql_close(db);
        return -1;
    }
    *out = db;
    return 0;
}

void sql_close(struct sql *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < db->n; i++) {
        (void)sqlite3_finalize(db->stmts[i]->raw);
        free(db->stmts[i]);
    }
    free(db->stmts);
    (void)sqlite3_close(db->raw);
    free(db);
}

bool sql_is_broken(const struct sql *db)
{
    return atomic_load(&db->broken);
}

bool sql_in_transaction(const struct sql *db)
{
    return !sqlite3_get_autocommit(db->raw);
}

int sql_script(struct sql *db, const char *text, struct err *err)
{
    if (sqlite3_exec(db->raw, text, NULL, NULL, NULL) != SQLITE_OK)
        return sql_failed(db, err);
    return 0;
}

static struct sql_stmt *sql_prepare(struct sql *db, const char *text, struct err *err)
{
    for (size_t i = 0; i < db->n; i++)
        if (db->stmts[i]->text == text)
            return db->stmts[i];
    sqlite3_stmt *raw = NULL;
    if (sqlite3_prepare_v3(db->raw, text, -1, SQLITE_PREPARE_PERSISTENT, &raw, NULL) != SQLITE_OK) {
        (void)sql_failed(db, err);
        return NULL;
    }
    if (db->n == db->cap) {
        db->cap = db->cap ? db->cap * 2 : 32;
        db->stmts = xreallocarray(db->stmts, db->cap, sizeof(struct sql_stmt *));
    }
    struct sql_stmt *q = xcalloc(1, sizeof *q);
    *q = (struct sql_stmt){.text = text, .raw = raw, .db = db};
    db->stmts[db->n++] = q;
    return q;
}

static int sql_bind(sqlite3_stmt *raw, int at, const struct sql_value *v)
{
    switch (v->kind) {
    case SQL_KIND_INT:
        return sqlite3_bind_int64(raw, at, v->number);
    case SQL_KIND_TEXT:
        return sqlite3_bind_text64(raw, at, v->bytes, v->len, SQLITE_STATIC, SQLITE_UTF8);
    case SQL_KIND_BLOB:
        /* A NULL pointer would bind NULL, but an empty blob is a value. */
        return sqlite3_bind_blob64(raw, at, v->bytes ? v->bytes : "", v->len, SQLITE_STATIC);
    case SQL_KIND_NULL:
        break;
    }
    return sqlite3_bind_null(raw, at);
}

int sql_query(struct sql *db, const char *text, struct sql_values values, struct sql_stmt **out,
              struct err *err)
{
    struct sql_stmt *q = sql_prepare(db, text, err);
    if (!q)
        return -1;
    if (q->in_use)
        return err_set(err, ERR_BUG, EBUSY, "a statement is used inside itself");
    if (sqlite3_bind_parameter_count(q->raw) != (int)values.n)
        return err_set(err, ERR_BUG, EINVAL, "a statement with %d values got %zu",
                       sqlite3_bind_parameter_count(q->raw), values.n);
    q->in_use = true;
    for (size_t i = 0; i < values.n; i++)
        if (sql_bind(q->raw, (int)i + 1, &values.at[i]) != SQLITE_OK) {
            (void)sql_failed(db, err);
            sql_reset(q);
            return -1;
        }
    *out = q;
    return 0;
}

int sql_step(struct sql_stmt *q, struct err *err)
{
    int rc = sqlite3_step(q->raw);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : sql_failed(q->db, err);
}

void sql_reset(struct sql_stmt *q)
{
    if (!q)
        return;
    (void)sqlite3_reset(q->raw);
    (void)sqlite3_clear_bindings(q->raw);
    q->in_use = false;
}

int sql_run(struct sql *db, const char *text, struct sql_values values, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, text, values, &q, err))
        return -1;
    int rc;
    while ((rc = sql_step(q, err)) > 0)
        continue;
    return rc;
}

int sql_one_int(struct sql *db, const char *text, struct sql_values values, int64_t *out,
                bool *found, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, text, values, &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc < 0)
        return -1;
    if (rc > 0)
        *out = sql_col_int(q, 0);
    if (found)
        *found = rc > 0;
    return 0;
}

int64_t sql_col_int(struct sql_stmt *q, int column)
{
    return sqlite3_column_int64(q->raw, column);
}

bool sql_col_bool(struct sql_stmt *q, int column)
{
    return sqlite3_column_int64(q->raw, column) != 0;
}

const char *sql_col_text(struct sql_stmt *q, int column, struct arena *a)
{
    const unsigned char *text = sqlite3_column_text(q->raw, column);
    return text ? arena_strndup(a, (const char *)text, (size_t)sqlite3_column_bytes(q->raw, column))
                : NULL;
}

bool sql_col_is(struct sql_stmt *q, int column, const char *text)
{
    return str_eq((const char *)sqlite3_column_text(q->raw, column), text);
}

const void *sql_col_blob(struct sql_stmt *q, int column, struct arena *a, size_t *len)
{
    const void *bytes = sqlite3_column_blob(q->raw, column);
    *len = (size_t)sqlite3_column_bytes(q->raw, column);
    if (!bytes && sqlite3_column_type(q->raw, column) == SQLITE_NULL)
        return NULL;
    char *copy = arena_alloc(a, *len + 1); /* callers may print it */
    if (bytes)
        memcpy(copy, bytes, *len);
    return copy;
}

int64_t sql_changes(const struct sql *db)
{
    return sqlite3_changes64(db->raw);
}

int64_t sql_last_id(const struct sql *db)
{
    return sqlite3_last_insert_rowid(db->raw);
}

int64_t sql_work(const struct sql *db)
{
    int64_t steps = 0;
    for (size_t i = 0; i < db->n; i++)
        steps += sqlite3_stmt_status(db->stmts[i]->raw, SQLITE_STMTSTATUS_VM_STEP, 0);
    return steps;
}
