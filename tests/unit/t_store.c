#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

/* ---- deliveries ---- */

static void deliveries_come_back_whole(void **state)
{
    struct fixture *f = *state;
    static const char body[] = "{\"a\":\0\"b\xff\"}";
    struct delivery d = {.source = "forge", .forge_id = "id-1", .received_at = 42};
    bool repeat = true;
    d.body = body;
    d.body_len = sizeof body;
    http_header_add(&f->a, &d.headers, "X-Event", "push");
    http_header_add(&f->a, &d.headers, "X-Empty", "");
    ok(f, store_delivery_put(f->s, &d, &repeat, &f->err));
    assert_false(repeat);
    fixture_reopen(f);
    struct delivery_list l;
    ok(f, store_deliveries_new(f->s, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_int_equal(l.at[0].id, d.id);
    assert_int_equal(l.at[0].received_at, 42);
    assert_int_equal(l.at[0].body_len, sizeof body);
    assert_memory_equal(l.at[0].body, body, sizeof body);
    assert_int_equal(l.at[0].headers.n, 2);
    assert_string_equal(http_header(&l.at[0].headers, "x-event"), "push");
    assert_string_equal(http_header(&l.at[0].headers, "x-empty"), "");
    assert_string_equal(l.at[0].forge_id, "id-1");
    ok(f, store_deliveries_new(f->s, d.id, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_deliveries_list(f->s, DELIVERY__MAX, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_null(l.at[0].body);
    struct delivery one;
    ok(f, store_delivery_get(f->s, d.id, &f->a, &one, &f->err));
    assert_int_equal(one.body_len, sizeof body);
    ok(f, store_delivery_get(f->s, d.id + 1, &f->a, &one, &f->err));
    assert_int_equal(one.id, 0);

    struct delivery empty = {.source = "forge", .received_at = 43};
    ok(f, store_delivery_put(f->s, &empty, &repeat, &f->err));
    ok(f, store_delivery_get(f->s, empty.id, &f->a, &one, &f->err));
    assert_int_equal(one.id, empty.id);
    assert_int_equal(one.body_len, 0);
}

static void a_repeat_is_suppressed_only_while_its_task_counts(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum task_state state;
        bool suppressed;
    } cases[] = {
        {TASK_QUEUED, true},   {TASK_WAITING, true},    {TASK_FAILED, true},
        {TASK_HELD, true},     {TASK_DONE, true},       {TASK_SKIPPED, false},
        {TASK_DEAD, false},    {TASK_CANCELLED, false}, {TASK_SUPERSEDED, false},
        {TASK_PARTIAL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *key = arena_printf(&f->a, "key %zu", i);
        bool repeat;
        int64_t id = fixture_put(f, key, NULL);
        assert_int_equal(fixture_put(f, key, &repeat), id);
        assert_true(repeat); /* still new */
        struct task t = fixture_task(key, id);
        t.state = cases[i].state;
        ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
        assert_false(repeat);
        int64_t again = fixture_put(f, key, &repeat);
        assert_int_equal(repeat, cases[i].suppressed);
        assert_int_equal(again == id, cases[i].suppressed);
    }
    bool repeat;
    int64_t id = fixture_put(f, "ignored", NULL);
    ok(f, store_delivery_settle(f->s, id, DELIVERY_IGNORED, "no project", &f->err));
    fixture_put(f, "ignored", &repeat);
    assert_false(repeat);
    struct delivery other = {.source = "elsewhere", .body = "key 0", .body_len = 5};
    ok(f, store_delivery_put(f->s, &other, &repeat, &f->err));
    assert_false(repeat);
}

static void the_forges_own_id_marks_a_repeat(void **state)
{
    struct fixture *f = *state;
    bool repeat = false;
    struct delivery d = {.source = "forge", .forge_id = "u-1", .body = "a", .body_len = 1};
    ok(f, store_delivery_put(f->s, &d, &repeat, &f->err));
    int64_t first = d.id;
    d.body = "b";
    ok(f, store_delivery_put(f->s, &d, &repeat, &f->err));
    assert_true(repeat);
    assert_int_equal(d.id, first);
    d.forge_id = "u-2";
    ok(f, store_delivery_put(f->s, &d, &repeat, &f->err));
    assert_false(repeat);
    assert_int_equal(d.id, first + 1);
}

static void a_deleted_ref_may_come_again(void **state)
{
    struct fixture *f = *state;
    bool repeat;
    size_t repeats;
    int64_t id = fixture_put(f, "tag v1", NULL);
    struct task t = fixture_task("v1 at c1", id);
    t.ref = "refs/tags/v1";
    ok(f, store_tasks_enqueue(f->s, id, &t, 1, &repeats, &f->err));
    t.state = TASK_DONE;
    ok(f, store_task_settle(f->s, &t, NULL, &f->err));
    fixture_put(f, "tag v1", &repeat);
    assert_true(repeat);

    int64_t gone = fixture_put(f, "deleted v1", NULL);
    ok(f, store_ref_deleted(f->s, gone, "forge", "team/other", t.ref, &f->err));
    fixture_put(f, "tag v1", &repeat);
    assert_true(repeat); /* another project's tag */
    ok(f, store_ref_deleted(f->s, gone, "forge", "team/app", t.ref, &f->err));
    struct delivery d;
    ok(f, store_delivery_get(f->s, gone, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_TAKEN);
    assert_string_equal(d.reason, "refs/tags/v1 was deleted");

    int64_t again = fixture_put(f, "tag v1", &repeat);
    assert_false(repeat);
    struct task t2 = fixture_task("v1 at c1", again);
    t2.ref = "refs/tags/v1";
    ok(f, store_tasks_enqueue(f->s, again, &t2, 1, &repeats, &f->err));
    assert_int_equal(repeats, 0);
    assert_int_not_equal(t2.id, t.id);
    /* And the second deletion is news, too. */
    fixture_put(f, "deleted v1", &repeat);
    assert_false(repeat);
}

static void pruning_spares_what_counts(void **state)
{
    struct fixture *f = *state;
    struct delivery_list l;
    bool repeat, done;
    struct delivery d = {.source = "forge", .received_at = 100};
    for (int i = 0; i < 500; i++) {
        const char *body = arena_printf(&f->a, "%d", i);
        d.body = body;
        d.body_len = strlen(body);
        d.verdict = i % 2 ? DELIVERY_IGNORED : DELIVERY_MALFORMED;
        ok(f, store_delivery_put(f->s, &d, &repeat, &f->err));
    }
    int64_t last = d.id, kept = last - 10, tasked = last - 20;
    ok(f, store_delivery_settle(f->s, kept, DELIVERY_TAKEN, NULL, &f->err));
    struct task t = fixture_task("k", tasked);
    ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
    ok(f, store_delivery_settle(f->s, tasked, DELIVERY_IGNORED, "odd", &f->err));
    ok(f, store_deliveries_prune(f->s, 100, &f->err));
    ok(f, store_deliveries_list(f->s, DELIVERY__MAX, 0, 1000, &f->a, &l, &f->err));
    assert_int_equal(l.n, LIMIT_ROWS); /* none was older; pages are bounded */
    ok(f, store_deliveries_prune(f->s, 101, &f->err));
    ok(f, store_deliveries_list(f->s, DELIVERY__MAX, 0, 1000, &f->a, &l, &f->err));
    assert_int_equal(l.n, 3);
    assert_int_equal(l.at[0].id, last);
    assert_int_equal(l.at[1].id, kept);
    assert_int_equal(l.at[2].id, tasked);
    int64_t next = fixture_put(f, "after", NULL);
    assert_int_equal(next, last + 1);
    int64_t bodies = 0;
    ok(f, sql_one_int(f->s->db, "SELECT count(*) FROM delivery_body", SQL_NO_ARGS, &bodies, NULL,
                      &f->err));
    assert_int_equal(bodies, 4);

    ok(f, store_delivery_reopen(f->s, last, &done, &f->err));
    assert_true(done);
    ok(f, store_delivery_reopen(f->s, last, &done, &f->err));
    assert_false(done);
    ok(f, store_deliveries_list(f->s, DELIVERY_NEW, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 2);
    ok(f, store_deliveries_list(f->s, DELIVERY_IGNORED, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_string_equal(l.at[0].reason, "odd");
    fails(f, store_delivery_settle(f->s, 9999, DELIVERY_TAKEN, NULL, &f->err), ERR_BUG, ENOENT);
}

/* ---- tasks ---- */

static void tasks_are_unique_by_key(void **state)
{
    struct fixture *f = *state;
    size_t repeats = 9;
    int64_t d1 = fixture_put(f, "1", NULL), d2 = fixture_put(f, "2", NULL);
    struct task both[2] = {fixture_task("a", d1), fixture_task("b", d1)};
    ok(f, store_tasks_enqueue(f->s, d1, both, 2, &repeats, &f->err));
    assert_int_equal(repeats, 0);
    assert_true(both[0].id > 0 && both[1].id > both[0].id);

    struct task some[2] = {fixture_task("b", d2), fixture_task("c", d2)};
    ok(f, store_tasks_enqueue(f->s, d2, some, 2, &repeats, &f->err));
    assert_int_equal(repeats, 1);
    assert_int_equal(some[0].id, both[1].id);
    struct delivery d;
    ok(f, store_delivery_get(f->s, d2, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_TAKEN);

    int64_t d3 = fixture_put(f, "3", NULL);
    struct task same = fixture_task("a", d3);
    ok(f, store_tasks_enqueue(f->s, d3, &same, 1, &repeats, &f->err));
    assert_int_equal(repeats, 1);
    ok(f, store_delivery_get(f->s, d3, &f->a, &d, &f->err));
    assert_int_equal(d.verdict, DELIVERY_REPEAT);
    assert_non_null(strstr(d.reason, "says the same"));

    /* What was dead is taken up again, under its number and with the new delivery. */
    both[0].state = TASK_DEAD;
    both[0].reason = "refused";
    both[0].attempt = 3;
    ok(f, store_task_settle(f->s, &both[0], NULL, &f->err));
    int64_t d4 = fixture_put(f, "4", NULL);
    struct task anew = fixture_task("a", d4), got;
    ok(f, store_tasks_enqueue(f->s, d4, &anew, 1, &repeats, &f->err));
    assert_int_equal(repeats, 0);
    assert_int_equal(anew.id, both[0].id);
    ok(f, store_task_get(f->s, anew.id, &f->a, &got, &f->err));
    assert_int_equal(got.state, TASK_QUEUED);
    assert_int_equal(got.attempt, 0);
    assert_int_equal(got.delivery, d4);
    assert_null(got.reason);
    /* The worker that still held the old one is told. */
    fails(f, store_task_settle(f->s, &both[0], NULL, &f->err), ERR_BUG, ESTALE);
    /* A delivery that does not exist takes its tasks with it. */
    struct task lost = fixture_task("lost", 77);
    assert_int_equal(store_tasks_enqueue(f->s, 77, &lost, 1, &repeats, &f->err), -1);
    assert_int_equal(f->err.kind, ERR_BUG);
    struct task_list l;
    ok(f, store_tasks_list(f->s, TASK__MAX, NULL, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 3);
}

static void due_tasks_come_in_order(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum task_state state;
        int64_t run_at;
    } rows[] = {
        {TASK_QUEUED, 50}, {TASK_WAITING, 10}, {TASK_FAILED, 30},    {TASK_QUEUED, 500},
        {TASK_HELD, 1},    {TASK_DONE, 1},     {TASK_SUPERSEDED, 1},
    };
    struct task_list l;
    int64_t at = 0;
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_true(at == INT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool repeat;
        struct task t = fixture_task(arena_printf(&f->a, "%zu", i), 0);
        t.state = rows[i].state;
        t.run_at = rows[i].run_at;
        t.lane = arena_printf(&f->a, "lane %zu", i);
        ok(f, store_task_settle(f->s, &t, &repeat, &f->err));
    }
    ok(f, store_tasks_due(f->s, 100, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(l.at[i].id, i + 1);
    assert_string_equal(l.at[1].reason, "waiting");
    ok(f, store_tasks_due(f->s, 100, 2, &f->a, &l, &f->err));
    assert_int_equal(l.n, 2);
    ok(f, store_tasks_due(f->s, 9, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 0);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_int_equal(at, 10);
}

static void lists_are_paged_and_filtered(void **state)
{
    struct fixture *f = *state;
    struct task_list l;
    for (int i = 0; i < 30; i++) {
        struct task t = fixture_task(arena_printf(&f->a, "%d", i), 0);
        t.project = i % 3 ? "team/app" : "team/other";
        t.state = i % 2 ? TASK_DONE : TASK_DEAD;
        ok(f, store_task_settle(f->s, &t, NULL, &f->err));
    }
    ok(f, store_tasks_list(f->s, TASK__MAX, NULL, 0, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 10);
    assert_int_equal(l.at[0].id, 30);
    ok(f, store_tasks_list(f->s, TASK__MAX, NULL, l.at[9].id, 100, &f->a, &l, &f->err));
    assert_int_equal(l.n, 20);
    assert_int_equal(l.at[0].id, 20);
    static const struct {
        enum task_state state;
        const char *project;
        size_t n;
    } cases[] = {{TASK_DONE, NULL, 15},        {TASK_DEAD, NULL, 15},
                 {TASK_DONE, "team/other", 5}, {TASK__MAX, "team/other", 10},
                 {TASK_QUEUED, NULL, 0},       {TASK__MAX, "team/none", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ok(f, store_tasks_list(f->s, cases[i].state, cases[i].project, 0, 100, &f->a, &l, &f->err));
        assert_int_equal(l.n, cases[i].n);
    }
}

static int order_it(struct fixture *f, char what, int64_t id, bool *done)
{
    switch (what) {
    case 'r':
        return store_task_retry(f->s, id, done, &f->err);
    case 'h':
        return store_task_hold(f->s, id, "wait for Monday", done, &f->err);
    case 'l':
        return store_task_release(f->s, id, done, &f->err);
    default:
        return store_task_cancel(f->s, id, NULL, done, &f->err);
    }
}

static void operators_orders_fit_the_state(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum task_state from;
        const char *allowed; /* retry, hold, reLease, cancel */
    } cases[] = {
        {TASK_QUEUED, "hc"},   {TASK_WAITING, "rhc"},  {TASK_FAILED, "rhc"}, {TASK_DONE, "r"},
        {TASK_SKIPPED, "r"},   {TASK_SUPERSEDED, "r"}, {TASK_DEAD, "rc"},    {TASK_PARTIAL, "r"},
        {TASK_CANCELLED, "r"}, {TASK_HELD, "rlc"},
    };
    static const enum task_state to[128] = {
        ['r'] = TASK_QUEUED, ['h'] = TASK_HELD, ['l'] = TASK_QUEUED, ['c'] = TASK_CANCELLED};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (const char *what = "rhlc"; *what; what++) {
            bool done = false, want = strchr(cases[i].allowed, *what) != NULL;
            struct task got, t = fixture_task(arena_printf(&f->a, "%zu%c", i, *what), 0);
            t.state = cases[i].from;
            t.attempt = 4;
            ok(f, store_task_settle(f->s, &t, NULL, &f->err));
            ok(f, order_it(f, *what, t.id, &done));
            ok(f, store_task_get(f->s, t.id, &f->a, &got, &f->err));
            assert_int_equal(done, want);
            assert_int_equal(got.state, want ? to[(int)*what] : cases[i].from);
            if (!want)
                continue;
            assert_true(got.state == TASK_QUEUED || got.reason);
            assert_true(*what != 'r' || got.attempt == 0);
            fails(f, store_task_settle(f->s, &t, NULL, &f->err), ERR_BUG, ESTALE);
        }
    bool done = true;
    ok(f, store_task_retry(f->s, 123456, &done, &f->err));
    assert_false(done);
}

/* Finished tasks cost nothing: SQLite does the same number of steps with 100,000 of them. */
static int64_t claim_work(struct fixture *f)
{
    struct task_list l;
    int64_t at, before;
    ok(f, store_tasks_due(f->s, 2000, 10, &f->a, &l, &f->err)); /* prepares */
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    before = sql_work(f->s->db);
    ok(f, store_tasks_due(f->s, 2000, 10, &f->a, &l, &f->err));
    assert_int_equal(l.n, 1);
    ok(f, store_tasks_next_due(f->s, &at, &f->err));
    assert_int_equal(at, 1000);
    ok(f, store_tasks_open(f->s, &f->a, &l, &f->err));
    return sql_work(f->s->db) - before;
}

static void finished_tasks_cost_nothing(void **state)
{
    struct fixture *f = *state;
    static const char fill[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
        " INSERT INTO task (state, forge, project, pipeline, lane, key, ref, event, order_at,"
        " order_seq, received_at, run_at, updated_at, live_at, attempt, fence, open)"
        " SELECT 'done', 'f', 'p', 'promote', 'main', 'k' || i || '/' || %d, 'r', '{}',"
        " 0, 0, 0, 0, 0, 0, 0, 1, 0 FROM n";
    char text[1024];
    struct task t = fixture_task("ready", 0);
    ok(f, store_task_settle(f->s, &t, NULL, &f->err));
    (void)snprintf(text, sizeof text, fill, 1000, 1);
    ok(f, sql_script(f->s->db, text, &f->err));
    int64_t few = claim_work(f);
    (void)snprintf(text, sizeof text, fill, 99000, 2);
    ok(f, sql_script(f->s->db, text, &f->err));
    assert_true(few > 10);
    assert_int_equal(claim_work(f), few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        STORE_TEST(deliveries_come_back_whole),
        STORE_TEST(a_repeat_is_suppressed_only_while_its_task_counts),
        STORE_TEST(the_forges_own_id_marks_a_repeat),
        STORE_TEST(a_deleted_ref_may_come_again),
        STORE_TEST(pruning_spares_what_counts),
        STORE_TEST(tasks_are_unique_by_key),
        STORE_TEST(due_tasks_come_in_order),
        STORE_TEST(lists_are_paged_and_filtered),
        STORE_TEST(operators_orders_fit_the_state),
        STORE_TEST(finished_tasks_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
