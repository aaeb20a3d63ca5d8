/*
 * sql.h - SQLite: one connection, statements prepared once, values bound and copied out. Nothing
 * of SQLite's own shows. Not thread-safe: the owner serialises its threads.
 *
 * Errors: ERR_TEMP with code EBUSY (locked by another), ENOSPC (full), EIO (the disk failed, see
 * sql_is_broken) or EMFILE; ERR_CONFIG for files that cannot be opened or written, or that are no
 * database; ERR_BUG with code EEXIST for a broken constraint, ERR_BUG for anything else. After an
 * error SQLite may have rolled back the whole transaction: ask sql_in_transaction.
 */
#ifndef SLIPWAY_SQL_H
#define SLIPWAY_SQL_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct sql;      /* a connection */
struct sql_stmt; /* a statement of its cache */

enum sql_kind { SQL_KIND_NULL, SQL_KIND_INT, SQL_KIND_TEXT, SQL_KIND_BLOB };

/* One value for a `?`. Texts and blobs are borrowed until the statement is reset. */
struct sql_value {
    enum sql_kind kind;
    int64_t number;
    const void *bytes;
    size_t len;
};

static inline struct sql_value sql_int(int64_t number)
{
    return (struct sql_value){.kind = SQL_KIND_INT, .number = number};
}

/* A reference to a row: 0 is NULL. */
static inline struct sql_value sql_id(int64_t id)
{
    return id ? sql_int(id) : (struct sql_value){0};
}

static inline struct sql_value sql_text(const char *text) /* NULL is NULL */
{
    return text ? (struct sql_value){.kind = SQL_KIND_TEXT, .bytes = text, .len = strlen(text)}
                : (struct sql_value){0};
}

static inline struct sql_value sql_blob(const void *bytes, size_t len)
{
    return (struct sql_value){.kind = SQL_KIND_BLOB, .bytes = bytes, .len = len};
}

struct sql_values {
    const struct sql_value *at;
    size_t n;
};

/* SQL_ARGS(sql_int(1), sql_text("a")): the values for ?1, ?2, ... */
#define SQL_ARGS(...)                                                                              \
    ((struct sql_values){(const struct sql_value[]){__VA_ARGS__},                                  \
                         sizeof((const struct sql_value[]){__VA_ARGS__}) /                         \
                             sizeof(struct sql_value)})
#define SQL_NO_ARGS ((struct sql_values){NULL, 0})

/* Opens an existing file for reading and writing; waits busy_ms for locks. Schemas are not
 * trusted, double-quoted strings are refused, extensions cannot be loaded. */
int sql_open(const char *path, int busy_ms, struct sql **out, struct err *err);
void sql_close(struct sql *db); /* NULL is fine */

/* True after a write or sync of the file failed in a way that makes its state unknown, or when it
 * was found damaged. Stays true. May be asked from any thread. */
bool sql_is_broken(const struct sql *db);
bool sql_in_transaction(const struct sql *db);

/* Runs one or more statements without values and rows. Not cached. */
int sql_script(struct sql *db, const char *text, struct err *err);

/*
 * The statement is prepared at its first use and kept; text is a string literal (its address is
 * the key). sql_run runs it to its end. sql_query hands it out for stepping; the caller resets it
 * with sql_reset (declare it CLEANUP_SQL), and it must not be asked for again before that.
 */
int sql_run(struct sql *db, const char *text, struct sql_values values, struct err *err);
int sql_query(struct sql *db, const char *text, struct sql_values values, struct sql_stmt **out,
              struct err *err);

int sql_step(struct sql_stmt *q, struct err *err); /* 1: a row, 0: no more, -1: error */
void sql_reset(struct sql_stmt *q);                /* NULL is fine */

static inline void cleanup_sql(struct sql_stmt **q)
{
    sql_reset(*q);
}
#define CLEANUP_SQL CLEANUP(cleanup_sql)

/* The first column of the first row; *found false (and *out as it was) when there is no row. */
int sql_one_int(struct sql *db, const char *text, struct sql_values values, int64_t *out,
                bool *found, struct err *err);

/* Columns of the present row, from 0. Texts and blobs are copied into the arena. */
int64_t sql_col_int(struct sql_stmt *q, int column); /* NULL is 0 */
bool sql_col_bool(struct sql_stmt *q, int column);
const char *sql_col_text(struct sql_stmt *q, int column, struct arena *a); /* NULL is NULL */
bool sql_col_is(struct sql_stmt *q, int column, const char *text); /* compares without copying */
const void *sql_col_blob(struct sql_stmt *q, int column, struct arena *a, size_t *len);

int64_t sql_changes(const struct sql *db); /* rows that the last statement changed */
int64_t sql_last_id(const struct sql *db); /* of the last insert */

/* Steps of SQLite's virtual machine in all cached statements so far: what a query costs, whatever
 * the machine is busy with. */
int64_t sql_work(const struct sql *db);

#endif
