#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/mem.h"
#include "core/base/strbuf.h"

#include <stdalign.h>

static void starts_empty(void **state)
{
    (void)state;
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(8);
    assert_string_equal(b.buf, "");
    assert_int_equal(strbuf_add(&b, NULL, 0), 0);
    size_t len = 9;
    char *out CLEANUP(cleanup_free) = strbuf_detach(&b, &len);
    assert_string_equal(out, "");
    assert_int_equal(len, 0);
    out[0] = '\0'; /* ours, not the shared empty string */
    assert_ptr_not_equal(out, strbuf_empty);
}

static void stops_at_its_limit(void **state)
{
    (void)state;
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(8);
    assert_int_equal(strbuf_add(&b, "12345678", 8), 0);
    assert_int_equal(strbuf_addch(&b, '9'), -1);
    assert_string_equal(b.buf, "12345678");
    assert_true(b.full);
    assert_int_equal(strbuf_addstr(&b, ""), -1);
    strbuf_reset(&b);
    assert_false(b.full);
    assert_string_equal(b.buf, "");
    assert_int_equal(strbuf_addf(&b, "%s-%d", "abc", 1234), 0);
    assert_int_equal(strbuf_addf(&b, "%d", 1), -1);
    assert_string_equal(b.buf, "abc-1234");
    /* All or nothing, and for good: a later short one does not slip in. */
    strbuf_reset(&b);
    assert_int_equal(strbuf_add(&b, "123456789", 9), -1);
    assert_int_equal(b.len, 0);
    assert_int_equal(strbuf_addch(&b, 'x'), -1);
    struct strbuf none CLEANUP_STRBUF = STRBUF_INIT(0);
    assert_int_equal(strbuf_addch(&none, 'x'), -1);
}

static void refuses_absurd_lengths(void **state)
{
    (void)state;
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(100);
    assert_int_equal(strbuf_add(&b, "ab", 2), 0);
    assert_int_equal(strbuf_add(&b, "x", SIZE_MAX), -1);
    assert_string_equal(b.buf, "ab");
}

static void holds_nul_bytes(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(1000);
    for (int i = 0; i < 250; i++)
        assert_int_equal(strbuf_add(&b, "a\0b", 3), 0);
    assert_int_equal(b.len, 750);
    char *copy = strbuf_to_arena(&b, &a);
    assert_memory_equal(copy, b.buf, 751);
    size_t len;
    char *out CLEANUP(cleanup_free) = strbuf_detach(&b, &len);
    assert_int_equal(len, 750);
    assert_int_equal(out[750], 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(strbuf_addstr(&b, "again"), 0);
    strbuf_release(&b);
    assert_int_equal(strbuf_addstr(&b, "and again"), 0);
    assert_int_equal(b.max, 1000);
}

static void arena_is_aligned_and_zeroed(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char *previous = NULL;
    for (size_t size = 1; size < 9000; size = size * 2 + 1) {
        char *p = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xa5, size);
        if (previous)
            assert_ptr_not_equal(p, previous);
        previous = p;
    }
    /* A large one in between does not spoil the small ones. */
    char *small = arena_strdup(&a, "small");
    char *large = arena_alloc(&a, 1 << 20);
    memset(large, 'x', 1 << 20);
    char *next = arena_printf(&a, "%s-%d", "next", 7);
    assert_string_equal(small, "small");
    assert_string_equal(next, "next-7");
    assert_true(a.used > 1 << 20);
    arena_release(&a);
    assert_int_equal(a.used, 0);
    assert_string_equal(arena_strndup(&a, "after", 3), "aft");
    assert_null(arena_strdup(&a, NULL));
    assert_memory_equal(arena_memdup(&a, "x\0y", 3), "x\0y", 3);
    assert_non_null(arena_memdup(&a, NULL, 0));
}

static void lists_grow(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct pair {
        int x;
        char name[20];
    };
    LIST(struct pair) list = {0};
    for (int i = 0; i < 1000; i++) {
        struct pair *p = list_push(&a, &list);
        assert_int_equal(p->x, 0);
        assert_int_equal(p->name[19], 0);
        p->x = i;
        memset(p->name, 'x', sizeof p->name);
    }
    assert_int_equal(list.n, 1000);
    int expected = 0;
    list_each (struct pair, p, &list)
        assert_int_equal(p->x, expected++);
    assert_int_equal(expected, 1000);
    LIST(int) empty = {0};
    list_each (int, p, &empty)
        fail_msg("an empty list has no element %d", *p);
}

static void steals(void **state)
{
    (void)state;
    char *p = xstrdup("mine");
    char *q CLEANUP(cleanup_free) = STEAL(p);
    assert_null(p);
    assert_string_equal(q, "mine");
    char *f CLEANUP(cleanup_free) = xasprintf("%05d", 42);
    assert_string_equal(f, "00042");
    char *n CLEANUP(cleanup_free) = xstrndup("abcdef", 2);
    assert_string_equal(n, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),    cmocka_unit_test(stops_at_its_limit),
        cmocka_unit_test(holds_nul_bytes), cmocka_unit_test(refuses_absurd_lengths),
        cmocka_unit_test(lists_grow),      cmocka_unit_test(arena_is_aligned_and_zeroed),
        cmocka_unit_test(steals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
