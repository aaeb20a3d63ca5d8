#include "core/base/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "core/engine/locks.h"

enum { THREADS = 6, ROUNDS = 300, NAMES = 4 };

static const char *const names[NAMES] = {"r/a:1", "r/a:2", "r/b:1", "r/c:1"};

struct contest {
    struct target_locks *locks;
    atomic_int inside[NAMES];
    atomic_int clashes;
    unsigned seed;
};

struct contender {
    struct contest *contest;
    unsigned number;
};

/* Each thread takes two or three names in an order of its own; nobody may share one. */
static void *contend(void *arg)
{
    const struct contender *me = arg;
    struct contest *c = me->contest;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct str_list wanted = {0};
        unsigned first = me->number + round;
        for (unsigned i = 0; i < 2 + round % 2; i++)
            *list_push(&a, &wanted) = names[(first + i * (1 + round % 3)) % NAMES];
        target_locks_take(c->locks, &wanted);
        bool taken[NAMES] = {false};
        for (unsigned i = 0; i < NAMES; i++)
            for (size_t j = 0; j < wanted.n; j++)
                taken[i] |= wanted.at[j] == names[i];
        for (unsigned i = 0; i < NAMES; i++)
            if (taken[i] && atomic_fetch_add(&c->inside[i], 1) != 0)
                atomic_fetch_add(&c->clashes, 1);
        for (unsigned i = 0; i < NAMES; i++)
            if (taken[i])
                atomic_fetch_sub(&c->inside[i], 1);
        target_locks_drop(c->locks, &wanted);
    }
    return NULL;
}

static void test_overlapping_sets_exclude_each_other(void **state)
{
    (void)state;
    struct contest contest = {.locks = target_locks_new()};
    struct contender contenders[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        contenders[i] = (struct contender){&contest, i};
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &contenders[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&contest.clashes), 0);
    target_locks_free(contest.locks);
}

static void test_proofs_grow_old(void **state)
{
    (void)state;
    struct push_proofs *p = push_proofs_new();
    assert_false(push_proofs_has(p, "r/a", 1000));
    push_proofs_add(p, "r/a", 1000);
    assert_true(push_proofs_has(p, "r/a", 1000));
    assert_true(push_proofs_has(p, "r/a", 1000 + 9 * 60 * 1000));
    assert_false(push_proofs_has(p, "r/a", 1000 + 10 * 60 * 1000));
    assert_false(push_proofs_has(p, "r/ab", 1000));
    push_proofs_add(p, "r/a", 5000000);
    assert_true(push_proofs_has(p, "r/a", 5000001));
    push_proofs_free(p);
}

static void test_the_table_of_proofs_is_bounded(void **state)
{
    (void)state;
    struct push_proofs *p = push_proofs_new();
    char name[32];
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "r/%d", i);
        push_proofs_add(p, name, i);
    }
    assert_false(push_proofs_has(p, "r/0", 5000));
    assert_true(push_proofs_has(p, "r/4999", 5000));
    push_proofs_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlapping_sets_exclude_each_other),
        cmocka_unit_test(test_proofs_grow_old),
        cmocka_unit_test(test_the_table_of_proofs_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
