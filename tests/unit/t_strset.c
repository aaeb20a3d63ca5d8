#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/base/strset.h"

enum { MANY = 5000 };

static void test_empty(void **state)
{
    (void)state;
    const struct strset s = {0};
    assert_null(strset_find(&s, ""));
    assert_null(strset_find(&s, "a"));
}

static void test_once(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strset s = {0};
    static const char *const texts[] = {"", "a", "b", "ab", "ba", "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char mine[8];
        (void)snprintf(mine, sizeof mine, "%s", texts[i]);
        const char *kept = strset_add(&s, &a, mine);
        mine[0] = 'x';
        assert_string_equal(kept, texts[i]);
        assert_null(strset_add(&s, &a, texts[i]));
        assert_non_null(strset_find(&s, texts[i]));
        assert_int_equal(s.n, i + 1);
    }
    assert_null(strset_find(&s, "x"));
}

/* Over many growths pointers stay, and so do the places that they are in. */
static void test_many(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strset s = {0};
    static int values[MANY];
    void **first = strset_at(&s, &a, "0");
    assert_null(*first);
    for (int i = 0; i < MANY; i++) {
        const char *text = arena_printf(&a, "%d", i);
        assert_true((strset_find(&s, text) != NULL) == (i == 0));
        *strset_at(&s, &a, text) = &values[i];
    }
    assert_int_equal(s.n, MANY);
    assert_ptr_equal(strset_find(&s, "0"), first);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(*strset_find(&s, arena_printf(&a, "%d", i)), &values[i]);
    assert_null(strset_find(&s, arena_printf(&a, "%d", MANY)));
}

static void test_hash(void **state)
{
    (void)state;
    assert_true(strset_hash("ab") == strset_hash("ab"));
    assert_true(strset_hash("ab") != strset_hash("ba"));
    assert_true(strset_hash("") != strset_hash("a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
