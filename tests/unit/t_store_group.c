#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 32, EACH = 20 };

/* ---- many threads, few commits ---- */

struct putter {
    struct store *s;
    int number;
    atomic_bool *stop; /* NULL: EACH times */
    int64_t ids[EACH];
    int failures;
    int64_t puts;
};

static void *put_many(void *arg)
{
    struct putter *p = arg;
    for (int i = 0; p->stop ? !atomic_load(p->stop) : i < EACH; i++) {
        char body[64];
        bool repeat = true;
        struct err err;
        (void)snprintf(body, sizeof body, "thread %d body %d", p->number, i);
        struct delivery d = {.source = "forge", .body = body, .body_len = strlen(body)};
        if (store_delivery_put(p->s, &d, &repeat, &err) || repeat)
            p->failures++;
        if (!p->stop)
            p->ids[i] = d.id;
        p->puts++;
    }
    return NULL;
}

static void deliveries_share_commits(void **state)
{
    struct fixture *f = *state;
    static struct putter putters[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.s = f->s, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &putters[i]), 0);
    }
    bool seen[THREADS * EACH + 1] = {false};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(putters[i].failures, 0);
        for (int k = 0; k < EACH; k++) {
            int64_t id = putters[i].ids[k];
            assert_true(id > 0 && id <= THREADS * EACH && !seen[id]);
            assert_true(k == 0 || id > putters[i].ids[k - 1]);
            seen[id] = true;
        }
    }
    long long groups = atomic_load(&f->s->commit.groups);
    print_message("%d deliveries in %lld commits\n", THREADS * EACH, groups);
    assert_true(groups < THREADS * EACH * 3 / 4);
    struct delivery d;
    ok(f, store_delivery_get(f->s, putters[3].ids[7], &f->a, &d, &f->err));
    assert_memory_equal(d.body, "thread 3 body 7", d.body_len);
}

/* ---- one group, made by holding its leader up ---- */

struct member {
    struct store *s;
    commit_fn *fn;
    int number;
    int rc;
    struct err err;
};

static size_t queue_length(struct commit *c)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&c->queue);
    n = c->waiting;
    (void)pthread_mutex_unlock(&c->queue);
    return n;
}

static bool is_leading(struct commit *c)
{
    (void)pthread_mutex_lock(&c->queue);
    bool leading = c->leading;
    (void)pthread_mutex_unlock(&c->queue);
    return leading;
}

enum { MEMBERS = 10 };

static int op_hold(struct sql *db, void *ctx, struct err *err)
{
    struct member *m = ctx;
    (void)db;
    (void)err;
    while (queue_length(&m->s->commit) < MEMBERS)
        clock_sleep_ms(1);
    return 0;
}

static int op_insert(struct sql *db, void *ctx, struct err *err)
{
    const struct member *m = ctx;
    char digest[32];
    memset(digest, m->number, sizeof digest);
    return sql_run(db,
                   "INSERT INTO delivery (source, received_at, verdict, digest, headers)"
                   " VALUES ('member', ?1, 'new', ?2, x'')",
                   SQL_ARGS(sql_int(m->number), sql_blob(digest, sizeof digest)), err);
}

/* Writes, and then breaks a constraint. */
static int op_bad(struct sql *db, void *ctx, struct err *err)
{
    if (op_insert(db, ctx, err))
        return -1;
    return sql_run(db, "INSERT INTO pulse VALUES (2, 0)", SQL_NO_ARGS, err);
}

/* Loses the whole transaction, as SQLite may on a full disk. */
static int op_rollback(struct sql *db, void *ctx, struct err *err)
{
    (void)ctx;
    (void)sql_script(db, "ROLLBACK", err);
    return err_set(err, ERR_TEMP, ENOSPC, "no space");
}

/* Makes the commit itself fail. */
static int op_spoil(struct sql *db, void *ctx, struct err *err)
{
    (void)ctx;
    if (sql_script(db, "PRAGMA defer_foreign_keys = ON", err))
        return -1;
    return sql_run(db, "INSERT INTO delivery_body (id, body) VALUES (99999, x'')", SQL_NO_ARGS,
                   err);
}

static void *member_run(void *arg)
{
    struct member *m = arg;
    m->rc = commit_write(&m->s->commit, m->fn, m, &m->err);
    return NULL;
}

/* Member 4 does what fn says, the others insert; all ten are one group behind the one that holds.
 */
static void run_group(struct fixture *f, commit_fn *fn, struct member members[MEMBERS])
{
    pthread_t threads[MEMBERS], first;
    struct member holder = {.s = f->s, .fn = op_hold};
    long long before = atomic_load(&f->s->commit.groups);
    assert_int_equal(pthread_create(&first, NULL, member_run, &holder), 0);
    while (!is_leading(&f->s->commit))
        clock_sleep_ms(1);
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = (struct member){.s = f->s, .fn = i == 4 ? fn : op_insert, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, member_run, &members[i]), 0);
    }
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(pthread_join(first, NULL), 0);
    assert_int_equal(holder.rc, 0);
    assert_true(atomic_load(&f->s->commit.groups) <= before + 2);
}

static int64_t members_kept(struct fixture *f)
{
    int64_t n = -1;
    ok(f, sql_one_int(f->s->db, "SELECT count(*) FROM delivery WHERE source = 'member'",
                      SQL_NO_ARGS, &n, NULL, &f->err));
    return n;
}

static void a_bad_row_fails_alone(void **state)
{
    struct fixture *f = *state;
    struct member m[MEMBERS];
    run_group(f, op_bad, m);
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(m[i].rc, i == 4 ? -1 : 0);
    assert_int_equal(m[4].err.kind, ERR_BUG);
    assert_int_equal(members_kept(f), MEMBERS - 1);
}

static void a_lost_transaction_fails_its_group(void **state)
{
    struct fixture *f = *state;
    struct member m[MEMBERS];
    run_group(f, op_rollback, m);
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(m[i].rc, -1);
        assert_int_equal(m[i].err.code, ENOSPC);
    }
    assert_int_equal(members_kept(f), 0);
    ok(f, store_ping(f->s, &f->err));
}

static void a_failed_commit_fails_its_group(void **state)
{
    struct fixture *f = *state;
    struct member m[MEMBERS];
    run_group(f, op_spoil, m);
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(m[i].rc, -1);
        assert_int_equal(m[i].err.kind, ERR_BUG);
    }
    assert_int_equal(members_kept(f), 0);
    run_group(f, op_insert, m);
    assert_int_equal(members_kept(f), MEMBERS);
}

/* ---- two processes: nobody is starved ---- */

static void NORETURN serve_until_told(const char *url, int from_parent, int to_parent)
{
    static struct putter putters[THREADS];
    pthread_t threads[THREADS];
    atomic_bool stop = false;
    struct err err = ERR_INIT;
    struct store *s = NULL;
    char c = 'r';
    if (store_open(&(struct store_opts){.url = url}, &s, &err))
        _exit(2);
    for (int i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.s = s, .number = i, .stop = &stop};
        if (pthread_create(&threads[i], NULL, put_many, &putters[i]))
            _exit(3);
    }
    while (atomic_load(&s->commit.groups) < 3)
        clock_sleep_ms(1);
    long long before = atomic_load(&s->commit.groups);
    if (write(to_parent, &c, 1) != 1 || read(from_parent, &c, 1) != 1)
        _exit(4);
    long long groups = atomic_load(&s->commit.groups) - before;
    atomic_store(&stop, true);
    int failures = 0;
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        failures += putters[i].failures;
    }
    if (write(to_parent, &groups, sizeof groups) != sizeof groups)
        _exit(5);
    _exit(failures ? 6 : 0);
}

/* The worker commits beside 32 clients. Each of its commits may wait for one or two of theirs, not
 * for dozens, and theirs go on as well. Counted, not timed. */
static void a_worker_is_not_starved(void **state)
{
    struct fixture *f = *state;
    enum { COMMITS = 60 };
    int down[2], up[2];
    char c;
    assert_int_equal(pipe(down) | pipe(up), 0);
    pid_t child = fork();
    if (child == 0)
        serve_until_told(f->url, down[0], up[1]);
    assert_int_equal(read(up[0], &c, 1), 1);
    struct task t = fixture_task("k", 0);
    for (int i = 0; i < COMMITS; i++)
        ok(f, store_task_settle(f->s, &t, NULL, &f->err));
    long long theirs = 0;
    assert_int_equal(write(down[1], "s", 1), 1);
    assert_int_equal(read(up[0], &theirs, sizeof theirs), sizeof theirs);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    print_message("%d commits of the worker, %lld of the receiver meanwhile\n", COMMITS, theirs);
    assert_true(theirs >= COMMITS / 10);
    assert_true(theirs <= COMMITS * 6);
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
}

int main(void)
{
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_is_not_starved, fixture_setup, fixture_teardown),
        STORE_TEST(deliveries_share_commits),
        STORE_TEST(a_bad_row_fails_alone),
        STORE_TEST(a_lost_transaction_fails_its_group),
        STORE_TEST(a_failed_commit_fails_its_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
