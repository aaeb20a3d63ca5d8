#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/log.h"
#include "core/store/schema.h"
#include "tests/unit/store_fixture.h"

#define C1 "1111111111111111111111111111111111111111"
#define C2 "2222222222222222222222222222222222222222"

static struct report_row row_of(const char *commit, const char *context, const char *state)
{
    return (struct report_row){.forge = "hub",
                               .project = "team/app",
                               .change = "7",
                               .patchset = "3",
                               .commit = commit,
                               .context = context,
                               .state = state,
                               .summary = "one line",
                               .made_at = 500,
                               .run_at = 1000};
}

static struct report_rows due(struct fixture *f, int64_t now, size_t max, int64_t *next)
{
    struct report_rows rows = {0};
    ok(f, store_reports_due(f->s, now, max, &f->a, &rows, next, &f->err));
    return rows;
}

static void what_is_put_comes_back(void **state)
{
    struct fixture *f = *state;
    int64_t next = 0;
    assert_int_equal(due(f, INT64_MAX, 10, &next).n, 0);
    assert_true(next == INT64_MAX);
    struct report_row full = row_of(C1, "slipway/check", "failure");
    full.body = "line\n\ttwo";
    full.task = 42;
    full.attempt = 2;
    full.reason = "HTTP 500";
    ok(f, store_report_put(f->s, &full, &f->err));
    struct report_row bare = {.forge = "hub",
                              .project = "team/app",
                              .commit = C2,
                              .context = "slipway/tag",
                              .state = "pending",
                              .summary = "s",
                              .made_at = 1,
                              .run_at = 2000};
    ok(f, store_report_put(f->s, &bare, &f->err));
    assert_int_equal(due(f, 999, 10, &next).n, 0);
    assert_int_equal(next, 1000);

    struct report_rows rows = due(f, 1000, 10, &next);
    assert_int_equal(next, 2000);
    assert_int_equal(rows.n, 1);
    const struct report_row *r = &rows.at[0];
    assert_string_equal(r->forge, "hub");
    assert_string_equal(r->project, "team/app");
    assert_string_equal(r->change, "7");
    assert_string_equal(r->patchset, "3");
    assert_string_equal(r->commit, C1);
    assert_string_equal(r->context, "slipway/check");
    assert_string_equal(r->state, "failure");
    assert_string_equal(r->summary, "one line");
    assert_string_equal(r->body, "line\n\ttwo");
    assert_string_equal(r->reason, "HTTP 500");
    assert_int_equal(r->task, 42);
    assert_int_equal(r->made_at, 500);
    assert_int_equal(r->attempt, 2);

    rows = due(f, 5000, 10, &next);
    assert_true(next == INT64_MAX);
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.at[1].commit, C2);
    assert_null(rows.at[1].change);
    assert_null(rows.at[1].patchset);
    assert_null(rows.at[1].body);
    assert_null(rows.at[1].reason);
    assert_int_equal(rows.at[1].task, 0);
    assert_int_equal(due(f, 5000, 1, &next).n, 1);
    fixture_reopen(f);
    assert_int_equal(due(f, 5000, 10, &next).n, 2);
}

static void a_newer_one_takes_the_place(void **state)
{
    struct fixture *f = *state;
    int64_t next;
    struct report_row pending = row_of(C1, "slipway/check", "pending");
    struct report_row success = row_of(C1, "slipway/check", "success");
    struct report_row other = row_of(C1, "slipway/gate", "pending");
    ok(f, store_report_put(f->s, &pending, &f->err));
    ok(f, store_report_put(f->s, &other, &f->err));
    struct report_rows sending = due(f, 1000, 1, &next);
    assert_string_equal(sending.at[0].state, "pending");
    ok(f, store_report_put(f->s, &success, &f->err));

    /* The old one was sent meanwhile, or was not: the new one stays as it is. */
    sending.at[0].run_at = 9000;
    sending.at[0].attempt = 5;
    ok(f, store_report_settle(f->s, &sending.at[0], false, &f->err));
    ok(f, store_report_settle(f->s, &sending.at[0], true, &f->err));
    struct report_rows rows = due(f, 1000, 10, &next);
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.at[0].context, "slipway/gate");
    assert_string_equal(rows.at[1].state, "success");
    assert_int_equal(rows.at[1].attempt, 0);
    assert_true(rows.at[1].id > sending.at[0].id);

    /* Ids never come back: what is settled late hits nobody. */
    int64_t last = rows.at[1].id;
    ok(f, store_report_settle(f->s, &rows.at[1], true, &f->err));
    ok(f, store_report_put(f->s, &pending, &f->err));
    rows = due(f, 1000, 10, &next);
    assert_true(rows.at[1].id > last);
}

static void what_failed_waits(void **state)
{
    struct fixture *f = *state;
    int64_t next;
    struct report_row row = row_of(C1, "slipway/check", "pending");
    ok(f, store_report_put(f->s, &row, &f->err));
    struct report_rows rows = due(f, 1000, 10, &next);
    rows.at[0].run_at = 7000;
    rows.at[0].attempt = 1;
    rows.at[0].reason = "HTTP 502";
    ok(f, store_report_settle(f->s, &rows.at[0], false, &f->err));
    assert_int_equal(due(f, 6999, 10, &next).n, 0);
    assert_int_equal(next, 7000);
    rows = due(f, 7000, 10, &next);
    assert_int_equal(rows.at[0].attempt, 1);
    assert_int_equal(rows.at[0].made_at, 500);
    assert_string_equal(rows.at[0].reason, "HTTP 502");
    ok(f, store_report_settle(f->s, &rows.at[0], true, &f->err));
    assert_int_equal(due(f, INT64_MAX, 10, &next).n, 0);
}

static void bad_ones_are_refused_and_secrets_left_out(void **state)
{
    struct fixture *f = *state;
    int64_t next;
    struct report_row row = row_of(C1, "slipway/check", "merry");
    fails(f, store_report_put(f->s, &row, &f->err), ERR_BUG, EEXIST);
    row.state = "failure";
    row.commit = NULL;
    fails(f, store_report_put(f->s, &row, &f->err), ERR_BUG, EEXIST);
    row.commit = C1;
    log_secret("sesame-open-wide");
    row.summary = "with sesame-open-wide in it";
    row.body = "and\nsesame-open-wide";
    ok(f, store_report_put(f->s, &row, &f->err));
    const struct report_rows rows = due(f, 1000, 10, &next);
    assert_int_equal(rows.n, 1);
    assert_null(strstr(rows.at[0].summary, "sesame"));
    assert_null(strstr(rows.at[0].body, "sesame"));
}

#define SCHEMA_1 "tests/fixtures/store/schema-1.sql"

static int64_t count(struct fixture *f, const char *query)
{
    int64_t n = -1;
    ok(f, sql_one_int(f->s->db, query, SQL_NO_ARGS, &n, NULL, &f->err));
    return n;
}

/* A store as an older version left it, with rows that must survive. */
static void an_older_file_is_migrated(void **state)
{
    struct fixture *f = *state;
    struct strbuf script CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct sql *db = NULL;
    int64_t next;
    const char *path = str_after(f->url, "sqlite:");
    ok(f, fs_read_file(SCHEMA_1, &script, &f->err));
    ok(f, fs_replace_file(path, "", 0, 0660, &f->err));
    ok(f, sql_open(path, 1000, &db, &f->err));
    ok(f, sql_script(db, script.buf, &f->err));
    sql_close(db);

    fixture_open(f);
    assert_int_equal(count(f, "PRAGMA user_version"), schema_version());
    assert_int_equal(count(f, "PRAGMA foreign_key_check"), -1);
    struct report_row row = row_of(C1, "slipway/check", "pending");
    ok(f, store_report_put(f->s, &row, &f->err));
    assert_int_equal(due(f, 1000, 10, &next).n, 1);

    struct step_list steps = {0};
    ok(f, store_steps_get(f->s, 1, &f->a, &steps, &f->err));
    assert_int_equal(steps.n, 1);
    assert_false(steps.at[0].keeps_order);
    assert_string_equal(steps.at[0].tag, "latest");
    struct target targets[] = {{.registry = "r.example.org", .name = "team/app", .tag = "latest"},
                               {.registry = "r.example.org", .name = "team/app", .tag = "stable"}};
    ok(f, store_targets_get(f->s, targets, ARRAY_LEN(targets), &f->a, &f->err));
    assert_null(targets[0].held);
    assert_string_equal(targets[0].applied, targets[0].desired);
    assert_int_equal(targets[1].locked_by, 2);
    struct task_list open = {0};
    ok(f, store_tasks_open(f->s, &f->a, &open, &f->err));
    assert_int_equal(open.n, 1);
    assert_int_equal(open.at[0].id, 2);
    assert_int_equal(count(f, "SELECT count(*) FROM task"), 3);
    assert_int_equal(count(f, "SELECT count(*) FROM cleanup"), 1);
    assert_int_equal(count(f, "SELECT count(*) FROM staged_image"), 1);
    fixture_reopen(f);
    assert_int_equal(due(f, 1000, 10, &next).n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_put_comes_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_newer_one_takes_the_place, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(what_failed_waits, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(bad_ones_are_refused_and_secrets_left_out, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_older_file_is_migrated, fixture_dir, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
