#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

#define REG "registry.example.org"

/* A journal of n tags a, b, c ... of one repository, all moved to a digest. */
struct plan {
    struct step step[8];
    struct step_list steps;
    struct target expected[8];
};

static void plan_make(struct fixture *f, struct plan *p, const char *tags, const char *digest)
{
    *p = (struct plan){0};
    size_t n = strlen(tags);
    for (size_t i = 0; i < n; i++) {
        p->step[i] = (struct step){
            .registry = REG,
            .name = "team/app",
            .tag = arena_printf(&f->a, "%c", tags[i]),
            .staged_tag = arena_printf(&f->a, "change_7_%c", tags[i]),
            .new_digest = digest,
            .new_type = "type",
            .former_digest = i ? "sha256:former" : NULL,
        };
        p->expected[i] =
            (struct target){.registry = REG, .name = "team/app", .tag = p->step[i].tag};
    }
    p->steps = (struct step_list){.at = p->step, .n = n};
    ok(f, store_targets_get(f->s, p->expected, n, &f->a, &f->err));
}

static int begin(struct fixture *f, struct task *t, struct plan *p, bool *repeat)
{
    struct kept_manifest kept[] = {
        {.digest = p->step[0].new_digest, .media_type = "type", .bytes = "new", .len = 3},
        {.digest = "sha256:former", .media_type = "type", .bytes = "old\0", .len = 4},
    };
    struct kept_manifest_list list = {.at = kept, .n = ARRAY_LEN(kept)};
    return store_journal_begin(f->s, t, &p->steps, p->expected, &list, repeat, &f->err);
}

static void plan_states(struct plan *p, enum step_state state)
{
    for (size_t i = 0; i < p->steps.n; i++)
        p->step[i].state = state;
}

static int end(struct fixture *f, struct task *t, struct plan *p, enum task_state state)
{
    t->state = state;
    return store_journal_end(f->s, t, &p->steps, NULL, &f->err);
}

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

static void a_publication_is_two_commits(void **state)
{
    struct fixture *f = *state;
    struct plan p;
    bool repeat = true;
    int64_t d = fixture_put(f, "merged", NULL);
    struct task got, t = fixture_task("k", d);
    plan_make(f, &p, "ab", "sha256:n");
    assert_null(p.expected[0].applied);
    assert_null(p.expected[0].order.project);
    ok(f, begin(f, &t, &p, &repeat));
    assert_false(repeat);
    assert_true(t.id > 0 && t.open_journal && t.state == TASK_RUNNING);

    fixture_reopen(f); /* as after a crash */
    struct task_list l;
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.at[0].fence, t.fence);
    assert_int_equal(l.at[0].state, TASK_RUNNING);
    assert_string_equal(l.at[0].order.commit, "c1");
    struct step_list steps;
    ok(f, store_steps_get(f->s, t.id, &f->a, &steps, &f->err));
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
    assert_int_equal(at.locked_by, t.id);
    assert_string_equal(at.desired, "sha256:n");
    assert_null(at.applied);

    plan_states(&p, STEP_DONE);
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
    ok(f, store_task_get(f->s, t.id, &f->a, &got, &f->err));
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
    assert_int_equal(due.at[0].task, t.id);
    const char *digest = NULL;
    ok(f, store_published_digest(f->s, "forge/team/app", "c1", REG, "team/app", &f->a, &digest,
                                 &f->err));
    assert_string_equal(digest, "sha256:n");
    ok(f, store_published_digest(f->s, "forge/team/app", "c2", REG, "team/app", &f->a, &digest,
                                 &f->err));
    assert_null(digest);
    /* The stalled worker that ends it once more is told. */
    fails(f, end(f, &t, &p, TASK_DONE), ERR_BUG, ESTALE);

    struct task same = fixture_task("k", fixture_put(f, "merged, again", NULL));
    ok(f, begin(f, &same, &p, &repeat));
    assert_true(repeat);
    assert_int_equal(same.id, t.id);
    assert_false(same.open_journal);
}

static void beginning_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct plan p1, p2, p3;
    bool repeat;
    struct delivery d;
    int64_t d1 = fixture_put(f, "1", NULL), d2 = fixture_put(f, "2", NULL);
    struct task t1 = fixture_task("1", d1), t2 = fixture_task("2", d2), t3 = fixture_task("3", d2);
    plan_make(f, &p1, "b", "sha256:1");
    plan_make(f, &p2, "ab", "sha256:2");
    plan_make(f, &p3, "ab", "sha256:2");
    ok(f, begin(f, &t1, &p1, &repeat));

    fails(f, begin(f, &t2, &p2, &repeat), ERR_TEMP, EBUSY);
    assert_non_null(strstr(f->err.text, REG "/team/app:b"));
    assert_int_equal(t2.id, 0);
    assert_false(t2.open_journal);
    assert_int_equal(target_of(f, "a").locked_by, 0);
    assert_false(is_kept(f, "sha256:2"));
    ok(f, store_delivery_get(f->s, d2, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_NEW);

    plan_states(&p1, STEP_DONE);
    ok(f, end(f, &t1, &p1, TASK_DONE));
    fails(f, begin(f, &t2, &p2, &repeat), ERR_TEMP, EAGAIN); /* b has moved */
    plan_make(f, &p2, "ab", "sha256:2");
    ok(f, begin(f, &t2, &p2, &repeat));
    plan_states(&p2, STEP_DONE);
    ok(f, end(f, &t2, &p2, TASK_DONE));

    fails(f, begin(f, &t3, &p3, &repeat), ERR_TEMP, EAGAIN);
    plan_make(f, &p3, "aa", "sha256:3");
    fails(f, begin(f, &t3, &p3, &repeat), ERR_BUG, EEXIST);
}

/* Each part of what a target showed is compared. */
static void every_part_of_the_order_is_compared(void **state)
{
    struct fixture *f = *state;
    struct plan p;
    bool repeat;
    struct task t = fixture_task("1", 0);
    plan_make(f, &p, "a", "sha256:1");
    ok(f, begin(f, &t, &p, &repeat));
    plan_states(&p, STEP_DONE);
    ok(f, end(f, &t, &p, TASK_DONE));
    for (int i = 0; i < 6; i++) {
        struct task other = fixture_task("2", 0);
        plan_make(f, &p, "a", "sha256:2");
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
        fails(f, begin(f, &other, &p, &repeat), ERR_TEMP, EAGAIN);
    }
}

static void fences_keep_stale_workers_out(void **state)
{
    struct fixture *f = *state;
    struct plan p;
    bool repeat, done;
    struct task t = fixture_task("1", 0);
    ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
    struct task stale = t;
    plan_make(f, &p, "a", "sha256:1");
    ok(f, begin(f, &t, &p, NULL));
    assert_int_equal(t.fence, stale.fence + 1);
    fails(f, begin(f, &stale, &p, NULL), ERR_BUG, ESTALE);
    fails(f, store_task_settle(f->s, &stale, NULL, &f->err), ERR_BUG, ESTALE);
    fails(f, store_journal_undo(f->s, &stale, &f->err), ERR_BUG, ESTALE);
    fails(f, end(f, &stale, &p, TASK_DONE), ERR_BUG, ESTALE);
    ok(f, store_task_retry(f->s, t.id, &done, &f->err));
    assert_false(done); /* it runs */
    ok(f, store_task_cancel(f->s, t.id, NULL, &done, &f->err));
    assert_false(done);

    /* An operator's hold beats a worker that has looked at the task but not begun. */
    struct task t2 = fixture_task("2", 0);
    ok(f, store_task_settle(f->s, &t2, &repeat, &f->err));
    ok(f, store_task_hold(f->s, t2.id, "no", &done, &f->err));
    plan_make(f, &p, "z", "sha256:2");
    fails(f, begin(f, &t2, &p, NULL), ERR_BUG, ESTALE);
    assert_int_equal(target_of(f, "z").locked_by, 0);
}

static void a_failed_journal_stays_open(void **state)
{
    struct fixture *f = *state;
    struct plan p;
    struct task_list l;
    bool repeat, done;
    int64_t at;
    struct task t = fixture_task("1", 0), next = fixture_task("2", 0), got;
    plan_make(f, &p, "ab", "sha256:1");
    ok(f, begin(f, &t, &p, &repeat));
    ok(f, store_task_settle(f->s, &next, &repeat, &f->err)); /* same lane */
    ok(f, store_tasks_due(f->s, 5000, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_true(at == INT64_MAX);

    p.step[0].state = STEP_DONE;
    t.run_at = clock_now_ms() + 60000;
    t.attempt = 1;
    t.reason = "503";
    ok(f, end(f, &t, &p, TASK_FAILED));
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
    fails(f, end(f, &t, &p, TASK_DONE), ERR_BUG, ESTALE);
    struct task taken = l.at[0];
    struct step_list steps;
    ok(f, store_steps_get(f->s, taken.id, &f->a, &steps, &f->err));
    assert_int_equal(steps.at[0].state, STEP_DONE);
    assert_int_equal(steps.at[1].state, STEP_PLANNED);
    fails(f, begin(f, &taken, &p, NULL), ERR_BUG, ESTALE);
    ok(f, store_journal_undo(f->s, &taken, &f->err));
    ok(f, store_task_get(f->s, taken.id, &f->a, &got, &f->err));
    assert_int_equal(got.state, TASK_UNDOING);
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);

    /* Undoing may have to wait, too. */
    taken.run_at = clock_now_ms() + 60000;
    taken.state = TASK_UNDOING;
    ok(f, store_task_settle(f->s, &taken, NULL, &f->err));
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_int_equal(at, taken.run_at);
    next.state = TASK_UNDOING;
    fails(f, store_task_settle(f->s, &next, NULL, &f->err), ERR_BUG, EEXIST);
    next.state = TASK_RUNNING;
    fails(f, store_task_settle(f->s, &next, NULL, &f->err), ERR_BUG, EINVAL);

    /* All steps must be named, and be the journal's own. */
    struct plan wrong = p;
    wrong.steps = (struct step_list){.at = wrong.step, .n = 1};
    fails(f, end(f, &taken, &wrong, TASK_DEAD), ERR_BUG, EINVAL);
    wrong.steps.n = 2;
    wrong.step[1].tag = "other";
    fails(f, end(f, &taken, &wrong, TASK_DEAD), ERR_BUG, ENOENT);
    fails(f, end(f, &taken, &p, TASK_RUNNING), ERR_BUG, EINVAL);

    plan_states(&p, STEP_RESTORED);
    ok(f, end(f, &taken, &p, TASK_DEAD));
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
    struct plan p;
    bool repeat;
    const char *tags = "abcde";
    struct task t1 = fixture_task("1", 0), t2 = fixture_task("2", 0);
    plan_make(f, &p, tags, "sha256:1");
    ok(f, begin(f, &t1, &p, &repeat));
    plan_states(&p, STEP_DONE);
    ok(f, end(f, &t1, &p, TASK_DONE));
    t2.order.commit = "c2";
    t2.order.happened_at = 6;
    plan_make(f, &p, tags, "sha256:2");
    ok(f, begin(f, &t2, &p, &repeat));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        p.step[i].state = cases[i].step;
    ok(f, end(f, &t2, &p, TASK_PARTIAL));
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

/* ---- clean-ups ---- */

static void cleanups_are_settled_together(void **state)
{
    struct fixture *f = *state;
    struct plan p;
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
        plan_make(f, &p, "a", "sha256:1");
        ok(f, begin(f, &t, &p, &repeat));
        plan_states(&p, STEP_DONE);
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
    struct plan p;
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
        plan_make(f, &p, "a", digests[i]);
        ok(f, begin(f, &t, &p, &repeat));
        plan_states(&p, STEP_DONE);
        ok(f, end(f, &t, &p, TASK_DONE));
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
        STORE_TEST(cleanups_are_settled_together),
        STORE_TEST(older_runs_replace_nothing),
        STORE_TEST(a_staged_tag_has_one_owner),
        STORE_TEST(staging_wakes_the_tasks_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
