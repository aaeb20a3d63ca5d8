#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

/* ---- opening ---- */

static void the_file_is_made_for_two_users(void **state)
{
    struct fixture *f = *state;
    mode_t was = umask(077);
    fixture_open(f);
    umask(was);
    struct stat st;
    assert_int_equal(stat(str_after(f->url, "sqlite:"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    ok(f, store_ping(f->s, &f->err));
    assert_false(store_is_broken(f->s));
    assert_string_equal(store_wake_path(f->s, &f->a), arena_printf(&f->a, "%s/s.db.wake", f->dir));
    assert_string_equal(store_work_lock_path(f->s, &f->a),
                        arena_printf(&f->a, "%s/s.db.work", f->dir));
    struct str_list left = {0};
    ok(f, fs_list(f->dir, ".tmp", &f->a, &left, &f->err));
    assert_int_equal(left.n, 0);
}

static void bad_places_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store_opts opts = {.url = f->url};
    struct store *s = NULL;
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, ENOENT);
    assert_non_null(strstr(f->err.text, "there is no store"));

    const char *path = str_after(f->url, "sqlite:");
    opts.may_create = true;
    assert_int_equal(chmod(f->dir, 0777), 0);
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EPERM);
    assert_int_equal(chmod(f->dir, 01777), 0); /* a journal could be planted all the same */
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EPERM);
    assert_int_equal(chmod(f->dir, 0700), 0);

    assert_int_equal(symlink("/etc/hostname", path), 0);
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EINVAL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EINVAL);
    assert_int_equal(rmdir(path), 0);

    static const char *const urls[] = {"postgresql://host/db",     "sqlite:",   "sqlite:/tmp/",
                                       "sqlite:/no/such/dir/x.db", "/tmp/x.db", ""};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        opts.url = urls[i];
        assert_int_equal(store_open(&opts, &s, &f->err), -1);
        assert_int_equal(f->err.kind, ERR_CONFIG);
    }
    opts.url = f->url;
    ok(f, store_open(&opts, &s, &f->err));
    store_close(s);
    assert_int_equal(chmod(path, 0666), 0);
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EPERM);
    assert_null(f->s);
}

static void other_schemas_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store_opts opts = {.url = f->url};
    struct store *s = NULL;
    fixture_open(f);
    int64_t version = 0;
    ok(f, sql_one_int(f->s->db, "PRAGMA user_version", SQL_NO_ARGS, &version, NULL, &f->err));
    ok(f, sql_script(f->s->db, "PRAGMA user_version = 99", &f->err));
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EPROTO);
    assert_non_null(strstr(f->err.text, "this store was made by a newer slipway (schema 99, this"));
    char back[64];
    (void)snprintf(back, sizeof back, "PRAGMA user_version = %lld", (long long)version);
    ok(f, sql_script(f->s->db, back, &f->err));
    ok(f, sql_script(f->s->db, "PRAGMA application_id = 5", &f->err));
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EINVAL);

    /* Somebody else's database is left alone. */
    store_close(STEAL(f->s));
    const char *path = str_after(f->url, "sqlite:");
    assert_int_equal(truncate(path, 0), 0);
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, ENOENT);
    struct sql *db = NULL;
    ok(f, sql_open(path, 10, &db, &f->err));
    ok(f, sql_script(db, "CREATE TABLE theirs (x)", &f->err));
    sql_close(db);
    opts.may_create = true;
    fails(f, store_open(&opts, &s, &f->err), ERR_CONFIG, EINVAL);
}

int main(void)
{
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_dir, fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(the_file_is_made_for_two_users),
        STORE_TEST(bad_places_are_refused),
        STORE_TEST(other_schemas_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
