#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/lib/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    char path[128];
    struct sql *db;
    struct arena a;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/t_sql.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/x.db", f->dir);
    int fd = open(f->path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct err err = ERR_INIT;
    assert_int_equal(sql_open(f->path, 50, &f->db, &err), 0);
    assert_int_equal(sql_script(f->db,
                                "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b BLOB,"
                                " n INTEGER) STRICT",
                                &err),
                     0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sql_close(f->db);
    arena_release(&f->a);
    char journal[160];
    (void)snprintf(journal, sizeof journal, "%s-journal", f->path);
    (void)unlink(f->path);
    (void)unlink(journal);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void values_come_back(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    static const char put[] = "INSERT INTO t (a, b, n) VALUES (?1, ?2, ?3)";
    assert_int_equal(
        sql_run(f->db, put,
                SQL_ARGS(sql_text("caf\xc3\xa9"), sql_blob("a\0b", 3), sql_int(INT64_MIN)), &err),
        0);
    assert_int_equal(sql_last_id(f->db), 1);
    assert_int_equal(sql_changes(f->db), 1);
    assert_int_equal(
        sql_run(f->db, put, SQL_ARGS(sql_text(NULL), sql_blob(NULL, 0), sql_id(0)), &err), 0);
    CLEANUP_SQL struct sql_stmt *q = NULL;
    assert_int_equal(
        sql_query(f->db, "SELECT a, b, n, n IS NULL FROM t ORDER BY id", SQL_NO_ARGS, &q, &err), 0);
    size_t len = 0;
    assert_int_equal(sql_step(q, &err), 1);
    assert_string_equal(sql_col_text(q, 0, &f->a), "caf\xc3\xa9");
    assert_true(sql_col_is(q, 0, "caf\xc3\xa9"));
    assert_false(sql_col_is(q, 0, NULL));
    assert_memory_equal(sql_col_blob(q, 1, &f->a, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    assert_true(sql_col_int(q, 2) == INT64_MIN);
    assert_int_equal(sql_step(q, &err), 1);
    assert_null(sql_col_text(q, 0, &f->a));
    assert_true(sql_col_is(q, 0, NULL));
    assert_non_null(sql_col_blob(q, 1, &f->a, &len)); /* empty, not NULL */
    assert_int_equal(len, 0);
    assert_true(sql_col_bool(q, 3));
    assert_int_equal(sql_step(q, &err), 0);
}

static void misuse_is_a_bug(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    static const char get[] = "SELECT n FROM t WHERE id = ?1";
    struct sql_stmt *q = NULL, *again = NULL;
    assert_int_equal(sql_query(f->db, get, SQL_NO_ARGS, &q, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    assert_int_equal(sql_query(f->db, get, SQL_ARGS(sql_int(1)), &q, &err), 0);
    assert_int_equal(sql_query(f->db, get, SQL_ARGS(sql_int(1)), &again, &err), -1);
    assert_int_equal(err.code, EBUSY);
    sql_reset(q);
    assert_int_equal(sql_query(f->db, get, SQL_ARGS(sql_int(1)), &q, &err), 0);
    sql_reset(q);
    assert_int_equal(sql_run(f->db, "SELEKT", SQL_NO_ARGS, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    assert_int_equal(sql_run(f->db, "SELECT \"no such column\" FROM t", SQL_NO_ARGS, &err), -1);
    assert_int_equal(sql_run(f->db, "INSERT INTO t (n) VALUES ('text')", SQL_NO_ARGS, &err), -1);
    assert_int_equal(err.code, EEXIST);
}

static void constraints_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    static const char put[] = "INSERT INTO t (a) VALUES (?1)";
    int64_t n = 7;
    bool found = true;
    assert_int_equal(sql_run(f->db, put, SQL_ARGS(sql_text("x")), &err), 0);
    assert_int_equal(sql_run(f->db, put, SQL_ARGS(sql_text("x")), &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    assert_int_equal(err.code, EEXIST);
    assert_int_equal(sql_one_int(f->db, "SELECT id FROM t WHERE a = ?1", SQL_ARGS(sql_text("y")),
                                 &n, &found, &err),
                     0);
    assert_false(found);
    assert_int_equal(n, 7);
    assert_int_equal(sql_one_int(f->db, "SELECT id FROM t WHERE a = ?1", SQL_ARGS(sql_text("x")),
                                 &n, &found, &err),
                     0);
    assert_true(found);
    assert_int_equal(n, 1);
    assert_false(sql_is_broken(f->db));
}

static void a_locked_file_is_temporary(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct sql *other = NULL;
    assert_int_equal(sql_open(f->path, 10, &other, &err), 0);
    assert_int_equal(sql_script(other, "BEGIN IMMEDIATE", &err), 0);
    assert_true(sql_in_transaction(other));
    assert_int_equal(sql_script(f->db, "BEGIN IMMEDIATE", &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.code, EBUSY);
    assert_int_equal(sql_script(other, "ROLLBACK", &err), 0);
    assert_int_equal(sql_script(f->db, "BEGIN IMMEDIATE; COMMIT", &err), 0);
    sql_close(other);
}

static void bad_files_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct sql *db = NULL;
    char path[160];
    (void)snprintf(path, sizeof path, "%s/none", f->dir);
    assert_int_equal(sql_open(path, 10, &db, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(db);
    assert_int_equal(access(path, F_OK), -1); /* never made by opening */

    assert_int_equal(symlink(f->path, path), 0);
    assert_int_equal(sql_open(path, 10, &db, &err), -1);
    (void)unlink(path);

    FILE *text = fopen(path, "w");
    for (int i = 0; i < 200; i++)
        (void)fputs("not a database at all\n", text);
    (void)fclose(text);
    assert_int_equal(sql_open(path, 10, &db, &err), 0);
    assert_int_equal(sql_script(db, "SELECT * FROM sqlite_schema", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    sql_close(db);
    (void)unlink(path);
}

/* A file size limit makes write(2) fail with EFBIG: not a broken disk, and it recovers. */
static void a_refused_write_recovers(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct rlimit was, tight = {.rlim_cur = 65536};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    tight.rlim_max = was.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    static char big[300000];
    int rc =
        sql_run(f->db, "INSERT INTO t (b) VALUES (?1)", SQL_ARGS(sql_blob(big, sizeof big)), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_false(sql_is_broken(f->db));
    assert_int_equal(
        sql_run(f->db, "INSERT INTO t (b) VALUES (?1)", SQL_ARGS(sql_blob(big, sizeof big)), &err),
        0);
}

static void damage_breaks(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    for (int i = 0; i < 200; i++)
        assert_int_equal(
            sql_run(f->db, "INSERT INTO t (b) VALUES (zeroblob(3000))", SQL_NO_ARGS, &err), 0);
    sql_close(f->db);
    f->db = NULL;
    int fd = open(f->path, O_WRONLY);
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    for (off_t page = 1; page < 8; page++)
        assert_int_equal(pwrite(fd, junk, sizeof junk, page * 4096), (ssize_t)sizeof junk);
    close(fd);
    assert_int_equal(sql_open(f->path, 10, &f->db, &err), 0);
    int64_t n = 0;
    assert_int_equal(
        sql_one_int(f->db, "SELECT sum(length(b)) FROM t", SQL_NO_ARGS, &n, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.code, EIO);
    assert_true(sql_is_broken(f->db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_a_bug, setup, teardown),
        cmocka_unit_test_setup_teardown(constraints_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_locked_file_is_temporary, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_write_recovers, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_breaks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
