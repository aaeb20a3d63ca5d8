#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static struct task stored(struct fixture *f, const char *key, const char *lane,
                          enum task_state state)
{
    bool repeat = false;
    struct task t = fixture_task(key, fixture_put(f, key, NULL));
    t.lane = lane;
    t.state = state;
    ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
    assert_false(repeat);
    return t;
}

static struct task task_of(struct fixture *f, int64_t id)
{
    struct task t;
    ok(f, store_task_get(f->s, id, &f->a, &t, &f->err));
    return t;
}

static void newer_ones_of_the_lane(void **state)
{
    struct fixture *f = *state;
    struct task_list l;
    struct task first = stored(f, "1", "main", TASK_QUEUED);
    struct task other = stored(f, "2", "stable", TASK_QUEUED);
    struct task waiting = stored(f, "3", "main", TASK_WAITING);
    (void)stored(f, "4", "main", TASK_DONE);
    (void)stored(f, "5", "main", TASK_HELD);
    struct task failed = stored(f, "6", "main", TASK_FAILED);
    ok(f, store_lane_newer(f->s, "main", first.id, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 2);
    assert_int_equal(l.at[0].id, failed.id);
    assert_int_equal(l.at[1].id, waiting.id);
    assert_string_equal(l.at[1].event, "{}");
    ok(f, store_lane_newer(f->s, "main", first.id, 1, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.at[0].id, failed.id);
    ok(f, store_lane_newer(f->s, "main", failed.id, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_lane_newer(f->s, "stable", other.id, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_lane_newer(f->s, "no such lane", 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
}

/* An old task that gave way to a newer one. */
static void supersede(struct fixture *f, struct task *old, int64_t by)
{
    old->state = TASK_SUPERSEDED;
    old->superseded_by = by;
    old->reason = "a newer one writes all of its tags";
    ok(f, store_task_settle(f->s, old, NULL, &f->err));
    assert_int_equal(task_of(f, old->id).superseded_by, by);
    assert_int_equal(task_of(f, old->id).state, TASK_SUPERSEDED);
}

static void settling_requeues_what_gave_way(void **state)
{
    static const struct {
        enum task_state end;
        bool again;
    } rows[] = {{TASK_DONE, false},   {TASK_FAILED, false},     {TASK_WAITING, false},
                {TASK_HELD, false},   {TASK_SUPERSEDED, false}, {TASK_DEAD, true},
                {TASK_SKIPPED, true}, {TASK_PARTIAL, true},     {TASK_CANCELLED, true}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *name = task_state_name(rows[i].end);
        struct task old = stored(f, arena_printf(&f->a, "old %s", name), name, TASK_QUEUED);
        struct task by = stored(f, arena_printf(&f->a, "by %s", name), name, TASK_QUEUED);
        struct task stranger = stored(f, arena_printf(&f->a, "no %s", name), name, TASK_DONE);
        supersede(f, &old, by.id);
        by.state = rows[i].end;
        ok(f, store_task_settle(f->s, &by, NULL, &f->err));
        struct task got = task_of(f, old.id);
        assert_int_equal(got.state, rows[i].again ? TASK_QUEUED : TASK_SUPERSEDED);
        assert_int_equal(got.superseded_by, rows[i].again ? 0 : by.id);
        assert_int_equal(got.fence, old.fence + rows[i].again);
        if (rows[i].again)
            assert_non_null(strstr(got.reason, name));
        assert_int_equal(task_of(f, stranger.id).state, TASK_DONE);
    }
}

static void a_journals_end_requeues_too(void **state)
{
    static const enum task_state ends[] = {TASK_DONE, TASK_PARTIAL, TASK_DEAD};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct journal p;
        bool repeat;
        const char *name = task_state_name(ends[i]);
        struct task old = stored(f, arena_printf(&f->a, "old %s", name), "main", TASK_QUEUED);
        struct task by = stored(f, arena_printf(&f->a, "by %s", name), "main", TASK_QUEUED);
        supersede(f, &old, by.id);
        journal_make(f, &p, "a", "sha256:n");
        ok(f, journal_begin(f, &by, &p, &repeat));
        journal_states(&p, ends[i] == TASK_DONE ? STEP_DONE : STEP_RESTORED);
        ok(f, journal_end(f, &by, &p, TASK_FAILED));
        assert_int_equal(task_of(f, old.id).state, TASK_SUPERSEDED);
        ok(f, journal_end(f, &by, &p, ends[i]));
        assert_int_equal(task_of(f, old.id).state,
                         ends[i] == TASK_DONE ? TASK_SUPERSEDED : TASK_QUEUED);
    }
}

static void an_operators_cancel_requeues_too(void **state)
{
    struct fixture *f = *state;
    bool done;
    struct task old = stored(f, "old", "main", TASK_QUEUED);
    struct task by = stored(f, "by", "main", TASK_QUEUED);
    supersede(f, &old, by.id);
    ok(f, store_task_hold(f->s, by.id, NULL, &done, &f->err));
    ok(f, store_task_release(f->s, by.id, &done, &f->err));
    ok(f, store_task_retry(f->s, by.id, &done, &f->err));
    assert_int_equal(task_of(f, old.id).state, TASK_SUPERSEDED);
    ok(f, store_task_cancel(f->s, by.id, NULL, &done, &f->err));
    assert_true(done);
    assert_int_equal(task_of(f, old.id).state, TASK_QUEUED);
    supersede(f, &(struct task){.id = old.id, .fence = old.fence + 1, .run_at = 1}, by.id);
    ok(f, store_task_cancel(f->s, by.id, NULL, &done, &f->err));
    assert_false(done); /* it is cancelled already: no order, no effect */
    assert_int_equal(task_of(f, old.id).state, TASK_SUPERSEDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(newer_ones_of_the_lane, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(settling_requeues_what_gave_way, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_journals_end_requeues_too, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_operators_cancel_requeues_too, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
