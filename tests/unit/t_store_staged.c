#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

/* ---- clean-ups ---- */

static void cleanups_are_settled_together(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    bool repeat;
    struct cleanup items[3];
    struct cleanup_list list = {.at = items, .n = 3}, due;
    for (size_t i = 0; i < 3; i++)
        items[i] = (struct cleanup){.registry = REG,
                                    .name = "team/app",
                                    .tag = arena_printf(&f->a, "change_7_%zu", i),
                                    .digest = "sha256:1",
                                    .run_at = 30 - 10 * (int64_t)i};
    for (int round = 0; round < 2; round++) { /* the same ones again: no second row */
        struct task t = fixture_task(round ? "2" : "1", 0);
        journal_make(f, &p, "a", "sha256:1");
        ok(f, journal_begin(f, &t, &p, &repeat));
        journal_states(&p, STEP_DONE);
        t.state = TASK_DONE;
        ok(f, store_journal_end(f->s, &t, &p.steps, &list, &f->err));
    }
    ok(f, store_cleanups_due(f->s, 100, 10, &f->a, &due, &f->err));
    assert_int_equal(due.n, 3);
    assert_string_equal(due.at[0].tag, "change_7_2");
    ok(f, store_cleanups_due(f->s, 20, 10, &f->a, &due, &f->err));
    assert_int_equal(due.n, 2);
    const bool done[] = {true, false};
    due.at[1].left = true;
    due.at[1].reason = "the registry cannot remove tags";
    due.at[1].run_at = 5000;
    due.at[1].attempt = 1;
    ok(f, store_cleanups_settle(f->s, due.at, done, 2, &f->err));
    ok(f, store_cleanups_list(f->s, &f->a, &due, &f->err));
    assert_int_equal(due.n, 2);
    assert_false(due.at[0].left);
    assert_true(due.at[1].left);
    assert_string_equal(due.at[1].reason, "the registry cannot remove tags");
    ok(f, store_cleanups_due(f->s, 4999, 10, &f->a, &due, &f->err));
    assert_int_equal(due.n, 1);
}

/* ---- staged ---- */

static struct event staged_event(struct fixture *f, const char *project, const char *change,
                                 const char *patchset, const char *digest)
{
    struct event e = {.kind = EVENT_STAGED,
                      .forge = "forge",
                      .project = project,
                      .change = change,
                      .patchset = patchset,
                      .staged_commit = "c1",
                      .tree = "t1",
                      .run_id = "run"};
    for (const char *tag = "ab"; *tag; tag++)
        *list_push(&f->a, &e.images) = (struct event_image){
            .repository = REG "/team/app",
            .tag = arena_printf(&f->a, "change_%s_%c", change, *tag),
            .digest = digest,
        };
    return e;
}

static struct staged staged_of(struct fixture *f, const char *project, const char *change)
{
    struct staged s;
    bool found = false;
    ok(f, store_staged_get(f->s, "forge", project, change, &f->a, &s, &found, &f->err));
    assert_int_equal(found, s.forge != NULL);
    return s;
}

static void older_runs_replace_nothing(void **state)
{
    struct fixture *f = *state;
    bool repeat;
    int64_t d[5];
    for (int i = 0; i < 5; i++)
        d[i] = fixture_put(f, arena_printf(&f->a, "staged %d", i), NULL);
    assert_null(staged_of(f, "team/app", "7").forge);
    struct event e = staged_event(f, "team/app", "7", "2", "sha256:2");
    ok(f, store_staged_put(f->s, &e, d[1], 9000, &f->err));
    struct staged s = staged_of(f, "team/app", "7");
    assert_string_equal(s.patchset, "2");
    assert_string_equal(s.tree, "t1");
    assert_int_equal(s.recorded_at, 9000);
    assert_int_equal(s.images.n, 2);
    assert_string_equal(s.images.at[1].tag, "change_7_b");
    assert_false(s.promoted);

    e = staged_event(f, "team/app", "7", "2", "sha256:older");
    ok(f, store_staged_put(f->s, &e, d[0], 9001, &f->err)); /* earlier delivery, read late */
    e = staged_event(f, "team/app", "7", "1", "sha256:late");
    ok(f, store_staged_put(f->s, &e, d[2], 9002, &f->err)); /* an upload of patchset 1, late */
    assert_string_equal(staged_of(f, "team/app", "7").images.at[0].digest, "sha256:2");
    struct delivery seen;
    ok(f, store_delivery_get(f->s, d[2], &f->a, &seen, &f->err));
    assert_int_equal(seen.verdict, DELIVERY_TAKEN);
    assert_non_null(strstr(seen.reason, "newer run"));

    e = staged_event(f, "team/app", "7", "10", "sha256:10"); /* 10 > 2 as a number */
    ok(f, store_staged_put(f->s, &e, d[3], 9003, &f->err));
    s = staged_of(f, "team/app", "7");
    assert_string_equal(s.images.at[0].digest, "sha256:10");
    assert_int_equal(s.images.n, 2);

    /* A replay of the old upload is a repeat, so it can never look new. */
    fixture_put(f, "staged 1", &repeat);
    assert_true(repeat);

    /* Where patchsets are commits, the time of the run decides when both say it. */
    e = staged_event(f, "team/app", "8", "abc", "sha256:new");
    e.happened_at = 200;
    ok(f, store_staged_put(f->s, &e, d[3], 9003, &f->err));
    e = staged_event(f, "team/app", "8", "def", "sha256:old");
    e.happened_at = 100;
    ok(f, store_staged_put(f->s, &e, d[4], 9004, &f->err));
    assert_string_equal(staged_of(f, "team/app", "8").images.at[0].digest, "sha256:new");
}

static void a_staged_tag_has_one_owner(void **state)
{
    struct fixture *f = *state;
    const char *owner = "x";
    struct journal p;
    bool repeat;
    int64_t d1 = fixture_put(f, "1", NULL), d2 = fixture_put(f, "2", NULL);
    struct event mine = staged_event(f, "team/app", "7", "1", "sha256:1");
    ok(f, store_staged_put(f->s, &mine, d1, 1, &f->err));
    struct event theirs = staged_event(f, "team/evil", "7", "1", "sha256:2");
    fails(f, store_staged_put(f->s, &theirs, d2, 2, &f->err), ERR_PERM, EEXIST);
    assert_non_null(strstr(f->err.text, "forge/team/app"));
    assert_null(staged_of(f, "team/evil", "7").forge);
    struct delivery d;
    ok(f, store_delivery_get(f->s, d2, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_NEW);
    ok(f, store_staged_owner(f->s, REG "/team/app", "change_7_a", "forge", "team/evil", &f->a,
                             &owner, &f->err));
    assert_string_equal(owner, "forge/team/app");
    ok(f, store_staged_owner(f->s, REG "/team/app", "change_7_a", "forge", "team/app", &f->a,
                             &owner, &f->err));
    assert_null(owner);

    /* Promoting another digest than the recorded one leaves the row open. */
    static const char *const digests[] = {"sha256:other", "sha256:1"};
    for (size_t i = 0; i < 2; i++) {
        struct task t = fixture_task(digests[i], 0);
        journal_make(f, &p, "a", digests[i]);
        ok(f, journal_begin(f, &t, &p, &repeat));
        journal_states(&p, STEP_DONE);
        ok(f, journal_end(f, &t, &p, TASK_DONE));
        assert_int_equal(staged_of(f, "team/app", "7").promoted, i == 1);
    }
    ok(f, store_staged_put(f->s, &theirs, d2, 2, &f->err));
    assert_string_equal(staged_of(f, "team/evil", "7").images.at[0].digest, "sha256:2");
}

static void staging_wakes_the_tasks_that_wait(void **state)
{
    struct fixture *f = *state;
    bool repeat;
    struct task got, wait = fixture_task("1", 0), other = fixture_task("2", 0);
    wait.state = other.state = TASK_WAITING;
    wait.run_at = other.run_at = 50000;
    other.ref = "change/70";
    ok(f, store_task_settle(f->s, &wait, &repeat, &f->err));
    ok(f, store_task_settle(f->s, &other, &repeat, &f->err));
    struct event e = staged_event(f, "team/app", "7", "1", "sha256:1");
    ok(f, store_staged_put(f->s, &e, fixture_put(f, "1", NULL), 4000, &f->err));
    ok(f, store_task_get(f->s, wait.id, &f->a, &got, &f->err));
    assert_int_equal(got.run_at, 4000);
    assert_int_equal(got.state, TASK_WAITING);
    ok(f, store_task_get(f->s, other.id, &f->a, &got, &f->err));
    assert_int_equal(got.run_at, 50000);
}

/* ---- what a sweep asks ---- */

static void a_sweep_finds_records_and_repositories(void **state)
{
    struct fixture *f = *state;
    struct str_list list;
    struct staged_tag_list rows;
    static const char *wanted[] = {"change_8_a", "change_7_b", "change_9_a", "change_7"};
    const struct str_list tags = {.at = wanted, .n = ARRAY_LEN(wanted)};
    struct journal p;
    bool repeat;
    ok(f, store_repositories(f->s, &f->a, &list, &f->err));
    assert_int_equal(list.n, 0);
    struct event e = staged_event(f, "team/app", "7", "1", "sha256:7");
    e.images.at[0].repository = "another.example.org/x";
    ok(f, store_staged_put(f->s, &e, fixture_put(f, "1", NULL), 1000, &f->err));
    e = staged_event(f, "team/tools", "8", "1", "sha256:8");
    ok(f, store_staged_put(f->s, &e, fixture_put(f, "2", NULL), 2000, &f->err));
    ok(f, store_staged_tags(f->s, REG "/team/app", &tags, &f->a, &rows, &f->err));
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.at[0].tag, "change_8_a");
    assert_string_equal(rows.at[0].project, "team/tools");
    assert_int_equal(rows.at[0].recorded_at, 2000);
    assert_string_equal(rows.at[1].change, "7");
    assert_string_equal(rows.at[1].forge, "forge");
    assert_string_equal(rows.at[1].digest, "sha256:7");
    assert_false(rows.at[1].promoted);

    ok(f, store_target_projects(f->s, REG, "team/app", &f->a, &list, &f->err));
    assert_int_equal(list.n, 0);
    struct task t = fixture_task("1", 0);
    journal_make(f, &p, "ab", "sha256:1");
    ok(f, journal_begin(f, &t, &p, &repeat));
    journal_states(&p, STEP_DONE);
    ok(f, journal_end(f, &t, &p, TASK_DONE));
    ok(f, store_target_projects(f->s, REG, "team/app", &f->a, &list, &f->err));
    assert_int_equal(list.n, 1);
    assert_string_equal(list.at[0], "forge/team/app");
    ok(f, store_target_projects(f->s, REG, "team", &f->a, &list, &f->err));
    assert_int_equal(list.n, 0);
    ok(f, store_repositories(f->s, &f->a, &list, &f->err));
    assert_int_equal(list.n, 2);
    assert_string_equal(list.at[0], "another.example.org/x");
    assert_string_equal(list.at[1], REG "/team/app");
}

static void a_sweep_finds_what_runs_left(void **state)
{
    struct fixture *f = *state;
    struct staged_tag_list rows;
    static const struct {
        const char *change, *run, *tag, *final;
    } cases[] = {{"7", "r1", "r1_a_b", "a_b"},
                 {"8", "r2", "change_8_a", NULL}, /* a change's, not its run's */
                 {"9", "r3", "r30_a", NULL},
                 {"10", NULL, "_a", NULL},
                 {"11", "%_", "r1_a", NULL},
                 {"12", "r1_a", "r1_a_b", "b"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event e = staged_event(f, "team/app", cases[i].change, "1", "sha256:7");
        e.run_id = cases[i].run;
        e.images.at[0].tag = cases[i].tag;
        ok(f, store_staged_record(f->s, &e, (int64_t)i, 1000 + (int64_t)i, &f->err));
    }
    ok(f, store_staged_runs(f->s, REG "/team/app", &f->a, &rows, &f->err));
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.at[0].change, "12");
    assert_string_equal(rows.at[0].final, "b");
    assert_string_equal(rows.at[1].tag, "r1_a_b");
    assert_string_equal(rows.at[1].final, "a_b");
    assert_string_equal(rows.at[1].digest, "sha256:7");
    assert_string_equal(rows.at[1].project, "team/app");
    assert_int_equal(rows.at[1].recorded_at, 1000);
    ok(f, store_staged_runs(f->s, REG "/team", &f->a, &rows, &f->err));
    assert_int_equal(rows.n, 0);
}

static void a_sweep_finds_tasks_that_may_still_promote(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum task_state state;
        bool pending;
    } cases[] = {{TASK_QUEUED, true},      {TASK_WAITING, true}, {TASK_FAILED, true},
                 {TASK_HELD, true},        {TASK_DONE, false},   {TASK_SKIPPED, false},
                 {TASK_SUPERSEDED, false}, {TASK_DEAD, false},   {TASK_CANCELLED, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t id = -1;
        bool repeat;
        struct task t = fixture_task(task_state_name(cases[i].state), 0);
        t.ref = arena_printf(&f->a, "change/%zu", 100 + i);
        t.state = cases[i].state;
        t.reason = "so";
        ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
        ok(f, store_task_pending(f->s, "forge", "team/app", t.ref, &id, &f->err));
        assert_int_equal(id, cases[i].pending ? t.id : 0);
        ok(f, store_task_pending(f->s, "forge", "team/other", t.ref, &id, &f->err));
        assert_int_equal(id, 0);
    }
}

int main(void)
{
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(cleanups_are_settled_together),
        STORE_TEST(older_runs_replace_nothing),
        STORE_TEST(a_staged_tag_has_one_owner),
        STORE_TEST(staging_wakes_the_tasks_that_wait),
        STORE_TEST(a_sweep_finds_records_and_repositories),
        STORE_TEST(a_sweep_finds_what_runs_left),
        STORE_TEST(a_sweep_finds_tasks_that_may_still_promote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
