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

static bool is_kept(struct fixture *f, const char *digest)
{
    struct kept_manifest m;
    ok(f, store_manifest_get(f->s, digest, &f->a, &m, &f->err));
    return m.bytes != NULL;
}

static void check_opened(struct fixture *f, const struct task *t)
{
    struct task_list l;
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.at[0].fence, t->fence);
    assert_int_equal(l.at[0].state, TASK_RUNNING);
    assert_string_equal(l.at[0].order.commit, "c1");
    struct step_list steps;
    ok(f, store_steps_get(f->s, t->id, &f->a, &steps, &f->err));
    assert_int_equal(steps.n, 2);
    assert_null(steps.at[0].former_digest);
    assert_string_equal(steps.at[1].former_digest, "sha256:former");
    assert_string_equal(steps.at[1].staged_tag, "change_7_b");
    assert_int_equal(steps.at[0].state, STEP_PLANNED);
    struct kept_manifest m;
    ok(f, store_manifest_get(f->s, "sha256:former", &f->a, &m, &f->err));
    assert_int_equal(m.len, 4);
    assert_memory_equal(m.bytes, "old\0", 4);
    struct target at = target_of(f, "a");
    assert_int_equal(at.locked_by, t->id);
    assert_string_equal(at.desired, "sha256:n");
    assert_null(at.applied);
}

static void check_closed(struct fixture *f, const struct task *t, int64_t d)
{
    struct task got;
    struct task_list l;
    struct target at;
    ok(f, store_task_get(f->s, t->id, &f->a, &got, &f->err));
    assert_int_equal(got.state, TASK_DONE);
    assert_int_equal(got.live_at, 77);
    assert_false(got.open_journal);
    at = target_of(f, "b");
    assert_string_equal(at.applied, "sha256:n");
    assert_string_equal(at.order.project, "forge/team/app");
    assert_int_equal(at.order.seq, d);
    assert_int_equal(at.locked_by, 0);
    assert_true(is_kept(f, "sha256:n"));
    assert_false(is_kept(f, "sha256:former")); /* nobody needs it any more */
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    struct cleanup_list due;
    ok(f, store_cleanups_due(f->s, 5, 10, &f->a, &due, &f->err));
    assert_int_equal(due.n, 1);
    assert_int_equal(due.at[0].task, t->id);
    struct step_list published;
    ok(f, store_published_steps(f->s, "forge/team/app", "c1", REG, "team/app", &f->a, &published,
                                &f->err));
    assert_true(published.n > 0);
    assert_string_equal(published.at[0].new_digest, "sha256:n");
    ok(f, store_published_steps(f->s, "forge/team/app", "c2", REG, "team/app", &f->a, &published,
                                &f->err));
    assert_int_equal(published.n, 0);
}

static void a_publication_is_two_commits(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    bool repeat = true;
    int64_t d = fixture_put(f, "merged", NULL);
    struct task t = fixture_task("k", d);
    journal_make(f, &p, "ab", "sha256:n");
    assert_null(p.expected[0].applied);
    assert_null(p.expected[0].order.project);
    ok(f, journal_begin(f, &t, &p, &repeat));
    assert_false(repeat);
    assert_true(t.id > 0 && t.open_journal && t.state == TASK_RUNNING);

    fixture_reopen(f); /* as after a crash */
    check_opened(f, &t);
    journal_states(&p, STEP_DONE);
    p.step[1].state = STEP_SAME;
    p.step[1].note = "was there";
    t.live_at = 77;
    struct cleanup c = {.registry = REG,
                        .name = "team/app",
                        .tag = "change_7_a",
                        .digest = "sha256:n",
                        .kept_tag = "a",
                        .kept_digest = "sha256:n",
                        .run_at = 5};
    struct cleanup_list cleanups = {.at = &c, .n = 1};
    t.state = TASK_DONE;
    ok(f, store_journal_end(f->s, &t, &p.steps, &cleanups, &f->err));
    assert_false(t.open_journal);
    check_closed(f, &t, d);
    /* The stalled worker that ends it once more is told. */
    fails(f, journal_end(f, &t, &p, TASK_DONE), ERR_BUG, ESTALE);

    struct task same = fixture_task("k", fixture_put(f, "merged, again", NULL));
    ok(f, journal_begin(f, &same, &p, &repeat));
    assert_true(repeat);
    assert_int_equal(same.id, t.id);
    assert_false(same.open_journal);
}

static void beginning_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct journal p1, p2, p3;
    bool repeat;
    struct delivery d;
    int64_t d1 = fixture_put(f, "1", NULL), d2 = fixture_put(f, "2", NULL);
    struct task t1 = fixture_task("1", d1), t2 = fixture_task("2", d2), t3 = fixture_task("3", d2);
    journal_make(f, &p1, "b", "sha256:1");
    journal_make(f, &p2, "ab", "sha256:2");
    journal_make(f, &p3, "ab", "sha256:2");
    ok(f, journal_begin(f, &t1, &p1, &repeat));

    fails(f, journal_begin(f, &t2, &p2, &repeat), ERR_TEMP, EBUSY);
    assert_non_null(strstr(f->err.text, REG "/team/app:b"));
    assert_int_equal(t2.id, 0);
    assert_false(t2.open_journal);
    assert_int_equal(target_of(f, "a").locked_by, 0);
    assert_false(is_kept(f, "sha256:2"));
    ok(f, store_delivery_get(f->s, d2, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_NEW);

    journal_states(&p1, STEP_DONE);
    ok(f, journal_end(f, &t1, &p1, TASK_DONE));
    fails(f, journal_begin(f, &t2, &p2, &repeat), ERR_TEMP, EAGAIN); /* b has moved */
    journal_make(f, &p2, "ab", "sha256:2");
    ok(f, journal_begin(f, &t2, &p2, &repeat));
    journal_states(&p2, STEP_DONE);
    ok(f, journal_end(f, &t2, &p2, TASK_DONE));

    fails(f, journal_begin(f, &t3, &p3, &repeat), ERR_TEMP, EAGAIN);
    journal_make(f, &p3, "aa", "sha256:3");
    fails(f, journal_begin(f, &t3, &p3, &repeat), ERR_BUG, EEXIST);
}

/* Each part of what a target showed is compared. */
static void every_part_of_the_order_is_compared(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    bool repeat;
    struct task t = fixture_task("1", 0);
    journal_make(f, &p, "a", "sha256:1");
    ok(f, journal_begin(f, &t, &p, &repeat));
    journal_states(&p, STEP_DONE);
    ok(f, journal_end(f, &t, &p, TASK_DONE));
    for (int i = 0; i < 6; i++) {
        struct task other = fixture_task("2", 0);
        journal_make(f, &p, "a", "sha256:2");
        struct target *e = &p.expected[0];
        if (i == 0)
            e->applied = "sha256:x";
        else if (i == 1)
            e->order.project = "forge/other";
        else if (i == 2)
            e->order.commit = NULL;
        else if (i == 3)
            e->order.happened_at++;
        else if (i == 4)
            e->order.seq++;
        else
            e->applied = NULL;
        fails(f, journal_begin(f, &other, &p, &repeat), ERR_TEMP, EAGAIN);
    }
}

static void fences_keep_stale_workers_out(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    bool repeat, done;
    struct task t = fixture_task("1", 0);
    ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
    struct task stale = t;
    journal_make(f, &p, "a", "sha256:1");
    ok(f, journal_begin(f, &t, &p, NULL));
    assert_int_equal(t.fence, stale.fence + 1);
    fails(f, journal_begin(f, &stale, &p, NULL), ERR_BUG, ESTALE);
    fails(f, store_task_settle(f->s, &stale, NULL, &f->err), ERR_BUG, ESTALE);
    fails(f, store_journal_undo(f->s, &stale, &f->err), ERR_BUG, ESTALE);
    fails(f, journal_end(f, &stale, &p, TASK_DONE), ERR_BUG, ESTALE);
    ok(f, store_task_retry(f->s, t.id, &done, &f->err));
    assert_false(done); /* it runs */
    ok(f, store_task_cancel(f->s, t.id, NULL, &done, &f->err));
    assert_false(done);

    /* An operator's hold beats a worker that has looked at the task but not begun. */
    struct task t2 = fixture_task("2", 0);
    ok(f, store_task_settle(f->s, &t2, &repeat, &f->err));
    ok(f, store_task_hold(f->s, t2.id, "no", &done, &f->err));
    journal_make(f, &p, "z", "sha256:2");
    fails(f, journal_begin(f, &t2, &p, NULL), ERR_BUG, ESTALE);
    assert_int_equal(target_of(f, "z").locked_by, 0);
}

/* All steps must be named, and be the journal's own. */
static void check_wrong_ends(struct fixture *f, struct task *taken, struct journal *p)
{
    struct journal wrong = *p;
    wrong.steps = (struct step_list){.at = wrong.step, .n = 1};
    fails(f, journal_end(f, taken, &wrong, TASK_DEAD), ERR_BUG, EINVAL);
    wrong.steps.n = 2;
    wrong.step[1].tag = "other";
    fails(f, journal_end(f, taken, &wrong, TASK_DEAD), ERR_BUG, ENOENT);
    fails(f, journal_end(f, taken, p, TASK_RUNNING), ERR_BUG, EINVAL);
}

/* Undoing may have to wait, too; but only what has a journal undoes or runs. */
static void check_undoing_waits(struct fixture *f, struct task *taken, struct task *next)
{
    struct task_list l;
    int64_t at;
    taken->run_at = clock_now_ms() + 60000;
    taken->state = TASK_UNDOING;
    ok(f, store_task_settle(f->s, taken, NULL, &f->err));
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_int_equal(at, taken->run_at);
    next->state = TASK_UNDOING;
    fails(f, store_task_settle(f->s, next, NULL, &f->err), ERR_BUG, EEXIST);
    next->state = TASK_RUNNING;
    fails(f, store_task_settle(f->s, next, NULL, &f->err), ERR_BUG, EINVAL);
}

static void a_failed_journal_stays_open(void **state)
{
    struct fixture *f = *state;
    struct journal p;
    struct task_list l;
    bool repeat, done;
    int64_t at;
    struct task t = fixture_task("1", 0), next = fixture_task("2", 0), got;
    journal_make(f, &p, "ab", "sha256:1");
    ok(f, journal_begin(f, &t, &p, &repeat));
    ok(f, store_task_settle(f->s, &next, &repeat, &f->err)); /* same lane */
    ok(f, store_tasks_due(f->s, 5000, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_true(at == INT64_MAX);

    p.step[0].state = STEP_DONE;
    t.run_at = clock_now_ms() + 60000;
    t.attempt = 1;
    t.reason = "503";
    ok(f, journal_end(f, &t, &p, TASK_FAILED));
    assert_true(t.open_journal);
    assert_int_equal(target_of(f, "a").locked_by, t.id);
    assert_null(target_of(f, "a").applied);
    assert_true(is_kept(f, "sha256:former"));
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0); /* not due */
    ok(f, store_tasks_due(f->s, t.run_at, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_int_equal(at, t.run_at);
    ok(f, store_task_cancel(f->s, t.id, NULL, &done, &f->err));
    assert_false(done); /* it would leave its locks behind */
    struct task dead = t;
    dead.state = TASK_DEAD;
    fails(f, store_task_settle(f->s, &dead, NULL, &f->err), ERR_BUG, EEXIST);

    ok(f, store_task_retry(f->s, t.id, &done, &f->err));
    assert_true(done);
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_true(l.at[0].open_journal);
    assert_int_equal(l.at[0].state, TASK_QUEUED);
    fails(f, journal_end(f, &t, &p, TASK_DONE), ERR_BUG, ESTALE);
    struct task taken = l.at[0];
    struct step_list steps;
    ok(f, store_steps_get(f->s, taken.id, &f->a, &steps, &f->err));
    assert_int_equal(steps.at[0].state, STEP_DONE);
    assert_int_equal(steps.at[1].state, STEP_PLANNED);
    fails(f, journal_begin(f, &taken, &p, NULL), ERR_BUG, ESTALE);
    ok(f, store_journal_undo(f->s, &taken, &f->err));
    ok(f, store_task_get(f->s, taken.id, &f->a, &got, &f->err));
    assert_int_equal(got.state, TASK_UNDOING);
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);

    check_undoing_waits(f, &taken, &next);
    check_wrong_ends(f, &taken, &p);
    journal_states(&p, STEP_RESTORED);
    ok(f, journal_end(f, &taken, &p, TASK_DEAD));
    assert_int_equal(target_of(f, "a").locked_by, 0);
    ok(f, store_tasks_due(f->s, 5000, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.at[0].id, next.id);
}

static void outcomes_leave_the_right_target(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum step_state step;
        bool moves;
        const char *desired;
    } cases[] = {
        {STEP_DONE, true, "sha256:2"},      {STEP_SAME, true, "sha256:2"},
        {STEP_RESTORED, false, "sha256:1"}, {STEP_FOREIGN, false, "sha256:2"},
        {STEP_STUCK, false, "sha256:2"},
    };
    struct journal p;
    bool repeat;
    const char *tags = "abcde";
    struct task t1 = fixture_task("1", 0), t2 = fixture_task("2", 0);
    journal_make(f, &p, tags, "sha256:1");
    ok(f, journal_begin(f, &t1, &p, &repeat));
    journal_states(&p, STEP_DONE);
    ok(f, journal_end(f, &t1, &p, TASK_DONE));
    t2.order.commit = "c2";
    t2.order.happened_at = 6;
    journal_make(f, &p, tags, "sha256:2");
    ok(f, journal_begin(f, &t2, &p, &repeat));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        p.step[i].state = cases[i].step;
    ok(f, journal_end(f, &t2, &p, TASK_PARTIAL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct target at = target_of(f, p.step[i].tag);
        assert_string_equal(at.applied, cases[i].moves ? "sha256:2" : "sha256:1");
        assert_string_equal(at.order.commit, cases[i].moves ? "c2" : "c1");
        assert_int_equal(at.order.happened_at, cases[i].moves ? 6 : 5);
        assert_string_equal(at.desired, cases[i].desired);
        assert_int_equal(at.locked_by, 0);
        assert_int_equal(at.fence, 2);
    }
    assert_true(is_kept(f, "sha256:1"));
    assert_true(is_kept(f, "sha256:2"));
}

int main(void)
{
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_publication_is_two_commits),
        STORE_TEST(beginning_is_all_or_nothing),
        STORE_TEST(every_part_of_the_order_is_compared),
        STORE_TEST(fences_keep_stale_workers_out),
        STORE_TEST(a_failed_journal_stays_open),
        STORE_TEST(outcomes_leave_the_right_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
