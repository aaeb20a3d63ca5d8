#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static struct target target_of(struct fixture *f, const char *tag)
{
    struct target t = {.registry = REG, .name = "team/app", .tag = tag};
    ok(f, store_targets_get(f->s, &t, 1, &f->a, &f->err));
    return t;
}

/* One publication of tag a, from begin to end. */
static struct task publish(struct fixture *f, const char *key, const char *digest, bool back,
                           const char *hold, enum step_state state)
{
    struct journal p;
    bool repeat = false;
    struct task t = fixture_task(key, fixture_put(f, key, NULL));
    t.order.commit = key;
    journal_make(f, &p, "a", digest);
    p.step[0].keeps_order = back;
    p.step[0].hold = hold;
    ok(f, journal_begin(f, &t, &p, &repeat));
    assert_false(repeat);
    journal_states(&p, state);
    ok(f, journal_end(f, &t, &p, TASK_DONE));
    return t;
}

static void a_rollback_keeps_the_order(void **state)
{
    struct fixture *f = *state;
    struct task two = publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    struct target t = target_of(f, "a");
    assert_int_equal(t.moved_by, two.id);
    assert_int_equal(t.rolled_back, 0);
    assert_null(t.held);

    struct task back = publish(f, "back", "sha256:1", true, NULL, STEP_DONE);
    struct target after = target_of(f, "a");
    assert_string_equal(after.applied, "sha256:1");
    assert_string_equal(after.desired, "sha256:1");
    assert_string_equal(after.order.commit, "two");
    assert_int_equal(after.order.seq, t.order.seq);
    assert_int_equal(after.moved_by, back.id);
    assert_int_equal(after.rolled_back, back.id);
    assert_int_equal(after.locked_by, 0);
    struct step_list steps;
    ok(f, store_steps_get(f->s, back.id, &f->a, &steps, &f->err));
    assert_true(steps.at[0].keeps_order);
    ok(f, store_steps_get(f->s, two.id, &f->a, &steps, &f->err));
    assert_false(steps.at[0].keeps_order);

    struct task three = publish(f, "three", "sha256:3", false, NULL, STEP_DONE);
    after = target_of(f, "a");
    assert_string_equal(after.order.commit, "three");
    assert_int_equal(after.moved_by, three.id);
    assert_int_equal(after.rolled_back, 0);
}

/* What shows the right digest already was moved by nobody, but it is the newest word. */
static void the_same_digest_moves_nothing(void **state)
{
    struct fixture *f = *state;
    struct task two = publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    struct task back = publish(f, "back", "sha256:1", true, NULL, STEP_SAME);
    struct target t = target_of(f, "a");
    assert_int_equal(t.moved_by, two.id);
    assert_int_equal(t.rolled_back, back.id);
    assert_string_equal(t.order.commit, "two");
    (void)publish(f, "three", "sha256:1", false, NULL, STEP_SAME);
    t = target_of(f, "a");
    assert_int_equal(t.moved_by, two.id);
    assert_int_equal(t.rolled_back, 0);
    assert_string_equal(t.order.commit, "three");
}

static void what_did_not_go_back_keeps_all(void **state)
{
    static const enum step_state ends[] = {STEP_RESTORED, STEP_FOREIGN, STEP_STUCK};
    struct fixture *f = *state;
    struct task two = publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const char *key = arena_printf(&f->a, "back %zu", i);
        (void)publish(f, key, "sha256:1", true, "why", ends[i]);
        struct target t = target_of(f, "a");
        assert_string_equal(t.applied, "sha256:2");
        assert_int_equal(t.moved_by, two.id);
        assert_int_equal(t.rolled_back, 0);
        assert_null(t.held);
    }
}

static void a_pinned_tag_is_refused(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    bool done = true, repeat;
    ok(f, store_target_hold(f->s, REG, "team/app", "a", "why", &done, &f->err));
    assert_false(done); /* nobody published it yet */
    (void)publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    ok(f, store_target_hold(f->s, REG, "team/app", "a", NULL, &done, &f->err));
    assert_false(done);
    ok(f, store_target_hold(f->s, REG, "team/app", "a", "broken login", &done, &f->err));
    assert_true(done);
    assert_string_equal(target_of(f, "a").held, "broken login");

    struct task t = fixture_task("three", fixture_put(f, "three", NULL));
    journal_make(f, &p, "ba", "sha256:3");
    fails(f, journal_begin(f, &t, &p, &repeat), ERR_PERM, EPERM);
    assert_non_null(strstr(f->err.text, "team/app:a"));
    assert_non_null(strstr(f->err.text, "broken login"));
    assert_int_equal(target_of(f, "b").locked_by, 0);
    journal_make(f, &p, "b", "sha256:3");
    ok(f, journal_begin(f, &t, &p, &repeat));

    fixture_reopen(f);
    assert_string_equal(target_of(f, "a").held, "broken login");
    ok(f, store_target_hold(f->s, REG, "team/app", "a", NULL, &done, &f->err));
    assert_true(done);
    assert_null(target_of(f, "a").held);
}

static void a_rollback_pins_in_the_same_commit(void **state)
{
    struct fixture *f = *state;
    (void)publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    (void)publish(f, "back", "sha256:1", true, "broken login", STEP_DONE);
    assert_string_equal(target_of(f, "a").held, "broken login");
}

/* A store of the first schema, with what it knew of who moved what. */
static void an_old_store_learns_who_moved_it(void **state)
{
    struct fixture *f = *state;
    (void)publish(f, "one", "sha256:1", false, NULL, STEP_DONE);
    struct task two = publish(f, "two", "sha256:2", false, NULL, STEP_DONE);
    (void)publish(f, "three", "sha256:3", false, NULL, STEP_RESTORED);
    ok(f, sql_script(f->s->db,
                     "DROP INDEX task_superseded; DROP TABLE report;"
                     "ALTER TABLE target DROP COLUMN held;"
                     "ALTER TABLE target DROP COLUMN moved_by;"
                     "ALTER TABLE target DROP COLUMN rolled_back;"
                     "ALTER TABLE target DROP COLUMN order_version;"
                     "ALTER TABLE step DROP COLUMN keeps_order; PRAGMA user_version = 1",
                     &f->err));
    fixture_reopen(f);
    struct target t = target_of(f, "a");
    assert_string_equal(t.applied, "sha256:2");
    assert_int_equal(t.moved_by, two.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rollback_keeps_the_order, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_same_digest_moves_nothing, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(what_did_not_go_back_keeps_all, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_pinned_tag_is_refused, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_rollback_pins_in_the_same_commit, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_old_store_learns_who_moved_it, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
