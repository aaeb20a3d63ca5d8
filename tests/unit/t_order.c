#include "core/base/base.h"

#include "core/base/str.h"
#include "core/domain/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define P "review/team/app"
#define Q "review/team/other"

struct row {
    const char *name;
    struct order_key mine;
    struct order_key applied;
    enum ancestry ancestry;
    enum order want;
    bool wants_ancestry;
};

static const struct row rows[] = {
    {"nothing applied", {P, A, 10, 1, NULL}, {0}, ANCESTRY_NOT_ASKED, ORDER_NEWER, false},
    {"nothing applied, nothing known", {0}, {0}, ANCESTRY_NOT_ASKED, ORDER_NEWER, false},
    {"descendant with an older time and number",
     {P, B, 10, 1, NULL},
     {P, A, 20, 2, NULL},
     ANCESTRY_DESCENDANT,
     ORDER_NEWER,
     true},
    {"ancestor with a newer time and number",
     {P, A, 30, 9, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_ANCESTOR,
     ORDER_STALE,
     true},
    {"same by ancestry", {P, A, 30, 9, NULL}, {P, B, 20, 2, NULL}, ANCESTRY_SAME, ORDER_SAME, true},
    {"same commit again, later",
     {P, A, 30, 9, NULL},
     {P, A, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_SAME,
     false},
    {"same commit again, earlier",
     {P, A, 10, 1, NULL},
     {P, A, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_SAME,
     false},
    {"same commit whatever ancestry claims",
     {P, A, 10, 1, NULL},
     {P, A, 20, 2, NULL},
     ANCESTRY_ANCESTOR,
     ORDER_SAME,
     false},
    {"diverged, newer time",
     {P, A, 30, 1, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_DIVERGED,
     ORDER_NEWER,
     true},
    {"diverged, older time",
     {P, A, 10, 3, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_DIVERGED,
     ORDER_STALE,
     true},
    {"diverged, same time, received later",
     {P, A, 20, 3, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_DIVERGED,
     ORDER_NEWER,
     true},
    {"diverged, same time, received earlier",
     {P, A, 20, 1, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_DIVERGED,
     ORDER_STALE,
     true},
    {"not asked, only my time known",
     {P, A, 99, 1, NULL},
     {P, B, 0, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_STALE,
     true},
    {"not asked, only the other time known",
     {P, A, 0, 3, NULL},
     {P, B, 99, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     true},
    {"other project: time",
     {Q, A, 30, 1, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     false},
    {"other project: older time",
     {Q, A, 10, 3, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_STALE,
     false},
    {"other project with the same commit is no repeat",
     {Q, A, 30, 3, NULL},
     {P, A, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     false},
    {"other project: an answer about ancestry is no answer",
     {Q, A, 30, 3, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_ANCESTOR,
     ORDER_NEWER,
     false},
    {"commit unknown",
     {P, NULL, 0, 3, NULL},
     {P, B, 0, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     false},
    {"commits unknown on both sides are not the same",
     {P, NULL, 0, 1, NULL},
     {P, NULL, 0, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_STALE,
     false},
    {"empty commits are unknown",
     {P, "", 0, 1, NULL},
     {P, "", 0, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_STALE,
     false},
    {"a higher version, made earlier on an older commit",
     {P, A, 10, 1, "v1.10.0"},
     {P, B, 20, 2, "v1.9.3"},
     ANCESTRY_ANCESTOR,
     ORDER_NEWER,
     false},
    {"a lower version, made later on a newer commit",
     {P, B, 30, 3, "1.2.4"},
     {P, A, 20, 2, "v1.3.0"},
     ANCESTRY_DESCENDANT,
     ORDER_STALE,
     false},
    {"two versions of one commit",
     {P, A, 10, 3, "1.2.3"},
     {P, A, 10, 2, "1.2.4"},
     ANCESTRY_NOT_ASKED,
     ORDER_STALE,
     false},
    {"a release after its candidate",
     {P, A, 10, 1, "1.2.0"},
     {P, A, 10, 2, "1.2.0-rc.1"},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     false},
    {"the same version moved to another commit",
     {P, B, 10, 1, "1.2"},
     {P, A, 20, 2, "v1.2.0"},
     ANCESTRY_DESCENDANT,
     ORDER_NEWER,
     true},
    {"a version and a branch",
     {P, B, 10, 1, NULL},
     {P, A, 20, 2, "v1.2.0"},
     ANCESTRY_DESCENDANT,
     ORDER_NEWER,
     true},
    {"tags that are no versions",
     {P, B, 10, 1, "blue"},
     {P, A, 20, 2, "v1.2.0"},
     ANCESTRY_DESCENDANT,
     ORDER_NEWER,
     true},
    {"versions of two projects",
     {Q, B, 30, 3, "0.1.0"},
     {P, A, 20, 2, "9.0.0"},
     ANCESTRY_NOT_ASKED,
     ORDER_NEWER,
     false},
    {"the very same event",
     {Q, A, 20, 2, NULL},
     {P, B, 20, 2, NULL},
     ANCESTRY_NOT_ASKED,
     ORDER_SAME,
     false},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        enum order got = order_compare(&r->mine, &r->applied, r->ancestry);
        if (got != r->want)
            fail_msg("%s: got %d, want %d", r->name, (int)got, (int)r->want);
        if (order_wants_ancestry(&r->mine, &r->applied) != r->wants_ancestry)
            fail_msg("%s: ancestry is%s asked", r->name, r->wants_ancestry ? " not" : "");
    }
}

/* Every combination of project, commit, time, number and answer, both ways round: two keys never
 * both win against each other, and a repeat is one both ways. */
static const struct order_key keys[] = {
    {P, A, 0, 1, NULL},  {P, A, 10, 2, NULL},   {P, B, 0, 2, NULL},     {P, B, 10, 1, NULL},
    {P, B, 20, 3, NULL}, {P, NULL, 0, 1, NULL}, {P, NULL, 10, 4, NULL}, {Q, A, 0, 3, NULL},
    {Q, A, 10, 1, NULL}, {Q, B, 20, 2, NULL},
};

static enum ancestry mirrored(enum ancestry a)
{
    return a == ANCESTRY_ANCESTOR     ? ANCESTRY_DESCENDANT
           : a == ANCESTRY_DESCENDANT ? ANCESTRY_ANCESTOR
                                      : a;
}

static void test_all_combinations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        for (size_t j = 0; j < ARRAY_LEN(keys); j++)
            for (int a = ANCESTRY_NOT_ASKED; a <= ANCESTRY_DIVERGED; a++) {
                const struct order_key *x = &keys[i], *y = &keys[j];
                enum order one = order_compare(x, y, (enum ancestry)a);
                enum order two = order_compare(y, x, mirrored((enum ancestry)a));
                assert_int_equal(one == ORDER_NEWER, two == ORDER_STALE);
                assert_int_equal(one == ORDER_SAME, two == ORDER_SAME);
                if (order_wants_ancestry(x, y) && a == ANCESTRY_DESCENDANT)
                    assert_int_equal(one, ORDER_NEWER);
                if (order_wants_ancestry(x, y) && a == ANCESTRY_ANCESTOR)
                    assert_int_equal(one, ORDER_STALE);
            }
}

static void test_explain(void **state)
{
    (void)state;
    char text[256];
    struct order_key old = {P, A, 1000000000, 1, NULL}, new = {P, B, 1000000060, 2, NULL};
    order_explain(&old, &new, ANCESTRY_ANCESTOR, text, sizeof text);
    assert_string_equal(text, "team/app aaaaaaa merged at 2001-09-09T01:46:40Z is contained in "
                              "team/app bbbbbbb merged at 2001-09-09T01:47:40Z");
    order_explain(&old, &new, ANCESTRY_DIVERGED, text, sizeof text);
    assert_non_null(strstr(text, " is older than "));
    order_explain(&new, &old, ANCESTRY_DESCENDANT, text, sizeof text);
    assert_non_null(strstr(text, " comes after "));
    struct order_key early = {Q, NULL, 0, 1, NULL};
    order_explain(&early, &new, ANCESTRY_NOT_ASKED, text, sizeof text);
    assert_string_equal(text, "team/other unknown was received before "
                              "team/app bbbbbbb merged at 2001-09-09T01:47:40Z");
    struct order_key none = {0};
    order_explain(&new, &none, ANCESTRY_NOT_ASKED, text, sizeof text);
    assert_non_null(strstr(text, "is the first"));
    char tiny[8];
    order_explain(&new, &old, ANCESTRY_DESCENDANT, tiny, sizeof tiny);
    assert_int_equal(strlen(tiny), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_all_combinations),
        cmocka_unit_test(test_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
