#include "core/store/store_internal.h"

#include "core/lib/crypt.h"

#include <errno.h>

/* ---- headers as bytes: name, NUL, value, NUL, ... ---- */

static void *headers_pack(struct arena *a, const struct http_headers *h, size_t *len)
{
    size_t size = 0;
    list_each (const struct http_header, one, h)
        size += strlen(one->name) + strlen(one->value) + 2;
    char *bytes = arena_alloc(a, size), *to = bytes;
    list_each (const struct http_header, one, h) {
        to = mempcpy(to, one->name, strlen(one->name) + 1);
        to = mempcpy(to, one->value, strlen(one->value) + 1);
    }
    *len = size;
    return bytes;
}

static void headers_unpack(struct arena *a, const char *bytes, size_t len, struct http_headers *out)
{
    *out = (struct http_headers){0};
    size_t at = 0;
    while (at < len) {
        const char *name = bytes + at;
        at += strnlen(name, len - at) + 1;
        if (at >= len)
            return;
        const char *value = bytes + at;
        at += strnlen(value, len - at) + 1;
        *list_push(a, out) = (struct http_header){.name = name, .value = value};
    }
}

static enum delivery_verdict verdict_from_row(struct sql_stmt *q, int column)
{
    for (int v = 0; v < DELIVERY__MAX; v++)
        if (sql_col_is(q, column, delivery_verdict_name((enum delivery_verdict)v)))
            return (enum delivery_verdict)v;
    return DELIVERY_MALFORMED;
}

/* The first columns of every query here; the body comes behind them where it is wanted. */
#define DELIVERY_COLUMNS "d.id, d.source, d.forge_id, d.received_at, d.verdict, d.reason, d.headers"
#define DELIVERY_BODY 7

static void delivery_from_row(struct sql_stmt *q, struct arena *a, bool with_body,
                              struct delivery *d)
{
    size_t len = 0;
    *d = (struct delivery){
        .id = sql_col_int(q, 0),
        .source = sql_col_text(q, 1, a),
        .forge_id = sql_col_text(q, 2, a),
        .received_at = sql_col_int(q, 3),
        .verdict = verdict_from_row(q, 4),
        .reason = sql_col_text(q, 5, a),
    };
    const char *headers = sql_col_blob(q, 6, a, &len);
    headers_unpack(a, headers, len, &d->headers);
    if (with_body)
        d->body = sql_col_blob(q, DELIVERY_BODY, a, &d->body_len);
}

/* ---- put ---- */

struct put {
    const struct delivery *d;
    unsigned char digest[CRYPT_SHA256_BYTES];
    const void *headers;
    size_t headers_len;
    int64_t id;
    bool repeat;
};

#define SUPPRESSES                                                                                 \
    " AND d.verdict IN ('new', 'taken')"                                                           \
    " AND (d.verdict = 'new' OR d.record = 1 OR EXISTS"                                            \
    "  (SELECT 1 FROM task t INDEXED BY task_delivery WHERE t.delivery = d.id AND t.reopened = 0"  \
    "   AND t.state IN ('queued', 'waiting', 'running', 'undoing', 'failed', 'held', 'done')))"    \
    " LIMIT 1"

static int put_find(struct sql *db, struct put *p, struct err *err)
{
    static const char by_digest[] = "SELECT d.id FROM delivery d INDEXED BY delivery_digest"
                                    " WHERE d.source = ?1 AND d.digest = ?2" SUPPRESSES;
    static const char by_forge_id[] = "SELECT d.id FROM delivery d INDEXED BY delivery_forge_id"
                                      " WHERE d.source = ?1 AND d.forge_id = ?2" SUPPRESSES;
    if (sql_one_int(db, by_digest,
                    SQL_ARGS(sql_text(p->d->source), sql_blob(p->digest, sizeof p->digest)), &p->id,
                    &p->repeat, err))
        return -1;
    if (p->repeat || !p->d->forge_id)
        return 0;
    return sql_one_int(db, by_forge_id, SQL_ARGS(sql_text(p->d->source), sql_text(p->d->forge_id)),
                       &p->id, &p->repeat, err);
}

static int put_op(struct sql *db, void *ctx, struct err *err)
{
    struct put *p = ctx;
    const struct delivery *d = p->d;
    if (put_find(db, p, err))
        return -1;
    if (p->repeat)
        return 0;
    if (sql_run(db,
                "INSERT INTO delivery (source, forge_id, received_at, verdict, reason, digest,"
                " headers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                SQL_ARGS(sql_text(d->source), sql_text(d->forge_id), sql_int(d->received_at),
                         sql_text(delivery_verdict_name(d->verdict)), sql_text(d->reason),
                         sql_blob(p->digest, sizeof p->digest),
                         sql_blob(p->headers, p->headers_len)),
                err))
        return -1;
    p->id = sql_last_id(db);
    return sql_run(db, "INSERT INTO delivery_body (id, body) VALUES (?1, ?2)",
                   SQL_ARGS(sql_int(p->id), sql_blob(d->body, d->body_len)), err);
}

int store_delivery_put(struct store *s, struct delivery *d, bool *repeat, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct put p = {.d = d};
    crypt_sha256(d->body, d->body_len, p.digest);
    p.headers = headers_pack(&a, &d->headers, &p.headers_len);
    if (commit_write(&s->commit, put_op, &p, err))
        return err_wrap(err, "keep a delivery of %s", d->source);
    d->id = p.id;
    *repeat = p.repeat;
    return 0;
}

/* ---- settle ---- */

int delivery_mark(struct sql *db, int64_t id, enum delivery_verdict verdict, const char *reason,
                  struct err *err)
{
    if (!id)
        return 0;
    const char *name = delivery_verdict_name(verdict);
    bool found = false;
    int64_t there = 0;
    if (sql_one_int(db, "SELECT 1 FROM delivery WHERE id = ?1", SQL_ARGS(sql_int(id)), &there,
                    &found, err))
        return -1;
    if (!found)
        return err_set(err, ERR_BUG, ENOENT, "there is no delivery %lld", (long long)id);
    return sql_run(db,
                   "UPDATE delivery SET verdict = ?2, reason = ?3 WHERE id = ?1"
                   " AND NOT (verdict = 'taken' AND ?2 = 'repeat')",
                   SQL_ARGS(sql_int(id), sql_text(name), sql_text(reason)), err);
}

struct settle {
    int64_t id;
    enum delivery_verdict verdict;
    const char *reason;
};

static int settle_op(struct sql *db, void *ctx, struct err *err)
{
    const struct settle *c = ctx;
    return delivery_mark(db, c->id, c->verdict, c->reason, err);
}

int store_delivery_settle(struct store *s, int64_t id, enum delivery_verdict verdict,
                          const char *reason, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct settle c = {.id = id, .verdict = verdict, .reason = store_text(&a, reason)};
    return commit_write(&s->commit, settle_op, &c, err);
}

struct reopen {
    int64_t id;
    bool done;
};

static int reopen_op(struct sql *db, void *ctx, struct err *err)
{
    struct reopen *c = ctx;
    if (sql_run(db,
                "UPDATE delivery SET verdict = 'new', reason = NULL"
                " WHERE id = ?1 AND verdict IN ('ignored', 'malformed')",
                SQL_ARGS(sql_int(c->id)), err))
        return -1;
    c->done = sql_changes(db) == 1;
    return 0;
}

int store_delivery_reopen(struct store *s, int64_t id, bool *done, struct err *err)
{
    struct reopen c = {.id = id};
    if (commit_write(&s->commit, reopen_op, &c, err))
        return -1;
    *done = c.done;
    return 0;
}

/* ---- prune ---- */

struct prune {
    int64_t before;
    int64_t gone;
};

/* The newest row always stays: its number must not be given out again. */
static int prune_op(struct sql *db, void *ctx, struct err *err)
{
    struct prune *c = ctx;
    if (sql_run(db,
                "DELETE FROM delivery WHERE id IN (SELECT d.id FROM delivery d"
                " INDEXED BY delivery_idle WHERE d.verdict IN ('ignored', 'malformed', 'repeat')"
                " AND d.received_at < ?1 AND d.id < (SELECT max(id) FROM delivery)"
                " AND NOT EXISTS (SELECT 1 FROM task t INDEXED BY task_delivery"
                "  WHERE t.delivery = d.id) LIMIT ?2)",
                SQL_ARGS(sql_int(c->before), sql_int(LIMIT_ROWS)), err))
        return -1;
    c->gone = sql_changes(db);
    return 0;
}

int store_deliveries_prune(struct store *s, int64_t before_ms, struct err *err)
{
    struct prune c = {.before = before_ms};
    do {
        if (commit_write(&s->commit, prune_op, &c, err))
            return -1;
    } while (c.gone == LIMIT_ROWS);
    return 0;
}

/* ---- reading ---- */

struct list {
    enum delivery_verdict verdict;
    int64_t from;
    size_t max;
    struct arena *a;
    struct delivery_list *out;
    struct delivery *one;
};

static int list_rows(struct sql_stmt *q, struct list *c, bool with_body, struct err *err)
{
    size_t before = c->a->used;
    while (c->a->used - before < LIMIT_BODIES_IN_FLIGHT) {
        int rc = sql_step(q, err);
        if (rc <= 0)
            return rc;
        delivery_from_row(q, c->a, with_body, list_push(c->a, c->out));
    }
    return 0; /* the rest is for the next page */
}

static int new_op(struct sql *db, void *ctx, struct err *err)
{
    struct list *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " DELIVERY_COLUMNS ", b.body FROM delivery d INDEXED BY delivery_new"
                  " CROSS JOIN delivery_body b ON b.id = d.id"
                  " WHERE d.verdict = 'new' AND d.id > ?1 ORDER BY d.id LIMIT ?2",
                  SQL_ARGS(sql_int(c->from), sql_int(store_page(c->max))), &q, err))
        return -1;
    return list_rows(q, c, true, err);
}

int store_deliveries_new(struct store *s, int64_t after, size_t max, struct arena *a,
                         struct delivery_list *out, struct err *err)
{
    *out = (struct delivery_list){0};
    struct list c = {.from = after, .max = max, .a = a, .out = out};
    return commit_read(&s->commit, new_op, &c, err);
}

static int list_op(struct sql *db, void *ctx, struct err *err)
{
    static const char all[] = "SELECT " DELIVERY_COLUMNS " FROM delivery d"
                              " WHERE d.id < ?1 ORDER BY d.id DESC LIMIT ?2";
    static const char of_verdict[] = "SELECT " DELIVERY_COLUMNS " FROM delivery d"
                                     " WHERE d.id < ?1 AND d.verdict = ?3"
                                     " ORDER BY d.id DESC LIMIT ?2";
    static const char idle[] =
        "SELECT " DELIVERY_COLUMNS " FROM delivery d INDEXED BY delivery_idle"
        " WHERE d.id < ?1 AND d.verdict = ?3 AND d.verdict IN ('ignored', 'malformed', 'repeat')"
        " ORDER BY d.id DESC LIMIT ?2";
    struct list *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    struct sql_value from = sql_int(c->from > 0 ? c->from : INT64_MAX);
    struct sql_value max = sql_int(store_page(c->max));
    int rc;
    if (c->verdict == DELIVERY__MAX)
        rc = sql_query(db, all, SQL_ARGS(from, max), &q, err);
    else
        rc = sql_query(
            db, c->verdict == DELIVERY_NEW || c->verdict == DELIVERY_TAKEN ? of_verdict : idle,
            SQL_ARGS(from, max, sql_text(delivery_verdict_name(c->verdict))), &q, err);
    return rc ? rc : list_rows(q, c, false, err);
}

int store_deliveries_list(struct store *s, enum delivery_verdict verdict, int64_t before,
                          size_t max, struct arena *a, struct delivery_list *out, struct err *err)
{
    *out = (struct delivery_list){0};
    struct list c = {.verdict = verdict, .from = before, .max = max, .a = a, .out = out};
    return commit_read(&s->commit, list_op, &c, err);
}

static int get_op(struct sql *db, void *ctx, struct err *err)
{
    struct list *c = ctx;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db,
                  "SELECT " DELIVERY_COLUMNS ", b.body FROM delivery d"
                  " JOIN delivery_body b ON b.id = d.id WHERE d.id = ?1",
                  SQL_ARGS(sql_int(c->from)), &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc > 0)
        delivery_from_row(q, c->a, true, c->one);
    return rc < 0 ? -1 : 0;
}

int store_delivery_get(struct store *s, int64_t id, struct arena *a, struct delivery *out,
                       struct err *err)
{
    *out = (struct delivery){0};
    struct list c = {.from = id, .a = a, .one = out};
    return commit_read(&s->commit, get_op, &c, err);
}
