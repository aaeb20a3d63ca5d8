#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/*
 * SQLite's calls come here, for the program's own symbols win over the C library's. The nth one
 * from now fails.
 */
static struct {
    int countdown;
    int errnum;
    int calls;
} sync_fault, write_fault;

static bool fault_hits(int *countdown, int *calls)
{
    (*calls)++;
    return *countdown > 0 && --*countdown == 0;
}

/* SQLite itself passes over a failed sync of the directory. It is not needed: a truncated journal
 * keeps its name, which the opening of the store synced. So directories are left out. */
static bool is_directory(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int fdatasync(int fd)
{
    if (!is_directory(fd) && fault_hits(&sync_fault.countdown, &sync_fault.calls)) {
        errno = sync_fault.errnum;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    if (fault_hits(&write_fault.countdown, &write_fault.calls)) {
        errno = write_fault.errnum;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, data, len, at);
}

static int put(struct fixture *f, const char *body)
{
    bool repeat = false;
    struct delivery d = {.source = "forge", .body = body, .body_len = strlen(body)};
    return store_delivery_put(f->s, &d, &repeat, &f->err);
}

static void check_sound(struct fixture *f, int64_t at_least)
{
    int64_t n = 0;
    CLEANUP_SQL struct sql_stmt *q = NULL;
    ok(f, sql_query(f->s->db, "PRAGMA integrity_check", SQL_NO_ARGS, &q, &f->err));
    assert_int_equal(sql_step(q, &f->err), 1);
    assert_true(sql_col_is(q, 0, "ok"));
    ok(f, sql_one_int(f->s->db, "SELECT count(*) FROM delivery", SQL_NO_ARGS, &n, NULL, &f->err));
    assert_true(n >= at_least);
}

/* Every sync of an accept fails once: no receipt, nothing is tried again, and what was acknowledged
 * before is there after a restart. */
static void a_failed_sync_ends_it(void **state)
{
    struct fixture *f = *state;
    sync_fault.errnum = EIO;
    int points = 0, kept = 0;
    for (int n = 1; n < 50; n++) {
        ok(f, put(f, arena_printf(&f->a, "before %d", n)));
        kept++;
        sync_fault.countdown = n;
        int rc = put(f, arena_printf(&f->a, "during %d", n));
        bool hit = sync_fault.countdown == 0;
        sync_fault.countdown = 0;
        if (!hit) {
            assert_int_equal(rc, 0);
            break;
        }
        points++;
        assert_int_equal(rc, -1);
        assert_int_equal(f->err.kind, ERR_TEMP);
        assert_true(store_is_broken(f->s));
        int calls = sync_fault.calls;
        fails(f, put(f, "after"), ERR_TEMP, EIO);
        fails(f, store_ping(f->s, &f->err), ERR_TEMP, EIO);
        assert_int_equal(sync_fault.calls, calls);
        fixture_reopen(f);
        assert_false(store_is_broken(f->s));
        check_sound(f, kept);
    }
    print_message("%d syncs\n", points);
    assert_true(points >= 3);
}

/* Every write of an accept finds the disk full once: refused, and well again at once. */
static void a_full_disk_recovers(void **state)
{
    struct fixture *f = *state;
    write_fault.errnum = ENOSPC;
    int points = 0, kept = 0;
    for (int n = 1; n < 100; n++) {
        write_fault.countdown = n;
        int rc = put(f, arena_printf(&f->a, "during %d", n));
        bool hit = write_fault.countdown == 0;
        write_fault.countdown = 0;
        if (!hit) {
            assert_int_equal(rc, 0);
            break;
        }
        points++;
        assert_int_equal(rc, -1);
        assert_int_equal(f->err.kind, ERR_TEMP);
        assert_int_equal(f->err.code, ENOSPC);
        assert_false(store_is_broken(f->s));
        ok(f, put(f, arena_printf(&f->a, "after %d", n)));
        kept++;
        check_sound(f, kept);
    }
    print_message("%d writes\n", points);
    assert_true(points >= 5);
}

static void a_readiness_check_sees_a_full_disk(void **state)
{
    struct fixture *f = *state;
    write_fault.errnum = ENOSPC;
    write_fault.countdown = 1;
    fails(f, store_ping(f->s, &f->err), ERR_TEMP, ENOSPC);
    ok(f, store_ping(f->s, &f->err));
    write_fault.countdown = 1;
    ok(f, store_ping(f->s, &f->err)); /* proved a moment ago */
    write_fault.countdown = 0;
}

/* ---- kill -9 ---- */

enum { ACK = 40, KILLERS = 4 };

struct acker {
    struct store *s;
    int pipe;
    int round;
    int number;
};

static void *acknowledge(void *arg)
{
    const struct acker *k = arg;
    for (int i = 0;; i++) {
        char body[ACK] = {0};
        bool repeat;
        (void)snprintf(body, sizeof body, "round %d thread %d body %d", k->round, k->number, i);
        struct delivery d = {.source = "forge", .body = body, .body_len = sizeof body};
        if (store_delivery_put(k->s, &d, &repeat, NULL) || write(k->pipe, body, ACK) != ACK)
            _exit(3);
    }
    return NULL;
}

static void NORETURN accept_until_killed(const char *url, int fd, int round)
{
    struct err err = ERR_INIT;
    struct store *s = NULL;
    struct acker ackers[KILLERS];
    pthread_t threads[KILLERS];
    if (store_open(&(struct store_opts){.url = url, .may_create = true}, &s, &err))
        _exit(2);
    for (int i = 0; i < KILLERS; i++) {
        ackers[i] = (struct acker){.s = s, .pipe = fd, .round = round, .number = i};
        if (pthread_create(&threads[i], NULL, acknowledge, &ackers[i]))
            _exit(4);
    }
    for (;;)
        (void)pause();
}

/* Kills a receiver after so many milliseconds; appends what it had acknowledged. */
static void kill_once(struct fixture *f, int round, struct str_list *acked)
{
    int ends[2];
    char body[ACK];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        accept_until_killed(f->url, ends[1], round);
    close(ends[1]);
    if (round) /* the first one may be killed before it has made the store */
        assert_int_equal(read(ends[0], body, ACK), ACK);
    if (round)
        *list_push(&f->a, acked) = arena_strdup(&f->a, body);
    clock_sleep_ms(rand() % 40);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], body, ACK) == ACK)
        *list_push(&f->a, acked) = arena_strdup(&f->a, body);
    close(ends[0]);
}

static void nothing_acknowledged_is_lost(void **state)
{
    struct fixture *f = *state;
    struct str_list acked = {0};
    unsigned seed = (unsigned)getpid();
    srand(seed);
    for (int round = 0; round < 30; round++)
        kill_once(f, round, &acked);
    fixture_open(f);
    check_sound(f, (int64_t)acked.n);
    print_message("seed %u: %zu acknowledged\n", seed, acked.n);
    assert_true(acked.n >= 29);
    list_each (const char *, text, &acked) {
        int64_t n = 0;
        char body[ACK] = {0};
        memcpy(body, *text, strlen(*text));
        ok(f, sql_one_int(f->s->db, "SELECT count(*) FROM delivery_body WHERE body = ?1",
                          SQL_ARGS(sql_blob(body, sizeof body)), &n, NULL, &f->err));
        assert_int_equal(n, 1);
    }
}

/* ---- two users ---- */

enum { SHARED_GROUP = 60123 };

static pid_t as_user(const char *url, uid_t uid, int (*job)(struct store *s))
{
    pid_t child = fork();
    if (child)
        return child;
    gid_t group = SHARED_GROUP;
    struct err err = ERR_INIT;
    struct store *s = NULL;
    umask(077);
    if (setgroups(1, &group) || setgid((gid_t)uid) || setuid(uid))
        _exit(2);
    if (store_open(&(struct store_opts){.url = url, .may_create = true}, &s, &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        _exit(3);
    }
    int rc = job(s);
    store_close(s);
    _exit(rc);
}

static int job_put(struct store *s)
{
    char body[32];
    bool repeat;
    (void)snprintf(body, sizeof body, "from %u", (unsigned)getuid());
    struct delivery d = {.source = "forge", .body = body, .body_len = strlen(body)};
    return store_delivery_put(s, &d, &repeat, NULL) || repeat ? 7 : 0;
}

/* Changes more than the cache holds, so that the file itself is half changed, and dies. */
static int op_die(struct sql *db, void *ctx, struct err *err)
{
    (void)ctx;
    if (sql_script(db,
                   "PRAGMA cache_size = 10; UPDATE delivery SET source = 'spoilt';"
                   "DELETE FROM delivery_body;",
                   err))
        return -1;
    for (int i = 0; i < 50; i++)
        if (sql_run(db, "INSERT INTO manifest VALUES (hex(randomblob(8)), 't', zeroblob(9000))",
                    SQL_NO_ARGS, err))
            return -1;
    (void)kill(getpid(), SIGKILL);
    return 0;
}

static int job_die(struct store *s)
{
    struct err err = ERR_INIT;
    (void)commit_write(&s->commit, op_die, NULL, &err);
    return 8;
}

static void two_users_share_the_file(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0) {
        print_message("skipped: needs root to become two users\n");
        skip();
    }
    assert_int_equal(chown(f->dir, 0, SHARED_GROUP), 0);
    assert_int_equal(chmod(f->dir, 02770), 0);
    static const struct {
        uid_t uid;
        int (*job)(struct store *s);
        int status;
    } turns[] = {
        {60001, job_put, 0},       {60002, job_put, 0},
        {60001, job_die, SIGKILL}, {60002, job_put, 0}, /* a repeat unless it was rolled back */
        {60002, job_die, SIGKILL}, {60001, job_put, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        int status = -1;
        if (i == 3 || i == 5) { /* the dead one's journal is hot */
            struct stat st;
            assert_int_equal(stat(arena_printf(&f->a, "%s/s.db-journal", f->dir), &st), 0);
            assert_true(st.st_size > 0);
            assert_int_equal(st.st_mode & 0777, 0660);
        }
        pid_t child = as_user(f->url, turns[i].uid + (i >= 3 ? 10 : 0), turns[i].job);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, turns[i].status);
    }
    fixture_open(f);
    check_sound(f, 4);
    int64_t n = 0;
    ok(f, sql_one_int(f->s->db, "SELECT count(*) FROM delivery WHERE source = 'forge'", SQL_NO_ARGS,
                      &n, NULL, &f->err));
    assert_int_equal(n, 4);
    ok(f,
       sql_one_int(f->s->db, "SELECT count(*) FROM delivery_body", SQL_NO_ARGS, &n, NULL, &f->err));
    assert_int_equal(n, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_acknowledged_is_lost, fixture_dir,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(two_users_share_the_file, fixture_dir, fixture_teardown),
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        STORE_TEST(a_failed_sync_ends_it),
        STORE_TEST(a_full_disk_recovers),
        STORE_TEST(a_readiness_check_sees_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
