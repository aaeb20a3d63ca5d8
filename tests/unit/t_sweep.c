#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/domain/sweep.h"
#include "core/engine/sweep_queue.h"

static void tags(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *tag, *change, *final; /* NULL: no staged tag */
    } cases[] = {
        {"change_7_latest", "7", "latest"},
        {"change_859940_1.2_x", "859940", "1.2_x"},
        {"change_7__x", "7", "_x"},
        {"change_7_change_8_x", "7", "change_8_x"},
        {"change_859940", NULL, NULL},
        {"change_7_", NULL, NULL},
        {"change_7_.x", NULL, NULL},
        {"change_7_-x", NULL, NULL},
        {"change_007_latest", NULL, NULL},
        {"change_0_latest", NULL, NULL},
        {"change_1234567890123456789_latest", NULL, NULL},
        {"change__latest", NULL, NULL},
        {"change_x7_latest", NULL, NULL},
        {"change-7-latest", NULL, NULL},
        {"Change_7_latest", NULL, NULL},
        {"xchange_7_latest", NULL, NULL},
        {"gate_latest", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sweep_tag got = {0};
        assert_int_equal(sweep_tag_parse(cases[i].tag, &a, &got), cases[i].change != NULL);
        if (!cases[i].change)
            continue;
        assert_string_equal(got.change, cases[i].change);
        assert_string_equal(got.final, cases[i].final);
    }
}

#define ANSWER(state_, ...)                                                                        \
    {                                                                                              \
        .forge = "hub", .project = "team/app", .change = "7",                                      \
        .status = {.state = CHANGE_##state_}, __VA_ARGS__                                          \
    }

enum { DAY = 86400 };

static void decisions(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct sweep_answer answers[3];
        size_t n;
        struct sweep_case c;
        enum sweep_verdict verdict;
        bool unsure, temporary;
        const char *says;
    } cases[] = {
        {"closed",
         {ANSWER(CLOSED)},
         1,
         {.limit_s = 0},
         SWEEP_GOES,
         false,
         false,
         "closed without merging"},
        {"open", {ANSWER(OPEN)}, 1, {.limit_s = 0}, SWEEP_STAYS, false, false, "is open"},
        {"merged",
         {ANSWER(MERGED)},
         1,
         {.limit_s = 0},
         SWEEP_STAYS,
         false,
         false,
         "not promoted yet"},
        {"merged, promoted",
         {ANSWER(MERGED, .promoted = true)},
         1,
         {.limit_s = 0},
         SWEEP_GOES,
         false,
         false,
         "is promoted"},
        {"merged, live",
         {ANSWER(MERGED)},
         1,
         {.final_shows = true},
         SWEEP_GOES,
         false,
         false,
         "is promoted"},
        {"merged, superseded",
         {ANSWER(MERGED, .superseded = true)},
         1,
         {.limit_s = 0},
         SWEEP_GOES,
         false,
         false,
         "is superseded"},
        {"merged, in doubt",
         {ANSWER(MERGED, .doubt = "git is away", .temporary = true)},
         1,
         {.limit_s = 0},
         SWEEP_STAYS,
         true,
         true,
         "git is away"},
        {"live and open",
         {ANSWER(OPEN)},
         1,
         {.final_shows = true},
         SWEEP_STAYS,
         false,
         false,
         "is open"},
        {"a final tag",
         {ANSWER(CLOSED)},
         1,
         {.published = true},
         SWEEP_STAYS,
         false,
         false,
         "final tag"},
        {"down",
         {ANSWER(UNASKED, .trouble = "HTTP 502", .temporary = true)},
         1,
         {.age = SWEEP_AGE_KNOWN, .age_s = 99 * DAY, .limit_s = DAY},
         SWEEP_STAYS,
         true,
         true,
         "HTTP 502"},
        {"signed out",
         {ANSWER(UNASKED, .trouble = "HTTP 401")},
         1,
         {.limit_s = DAY},
         SWEEP_STAYS,
         true,
         false,
         "HTTP 401"},
        {"closed there, down here",
         {ANSWER(CLOSED), ANSWER(UNASKED, .trouble = "HTTP 502", .temporary = true)},
         2,
         {.limit_s = 0},
         SWEEP_STAYS,
         true,
         true,
         "HTTP 502"},
        {"closed there, open here",
         {ANSWER(CLOSED), ANSWER(OPEN)},
         2,
         {.limit_s = 0},
         SWEEP_STAYS,
         false,
         false,
         "is open"},
        {"closed there, unknown here",
         {ANSWER(UNKNOWN), ANSWER(CLOSED), ANSWER(UNKNOWN)},
         3,
         {.limit_s = 0},
         SWEEP_GOES,
         false,
         false,
         "closed"},
        {"closed there, nobody to ask here",
         {ANSWER(CLOSED), ANSWER(UNASKED)},
         2,
         {.limit_s = DAY},
         SWEEP_WANTS_AGE,
         false,
         false,
         NULL},
        {"closed there, not promoted here",
         {ANSWER(CLOSED), ANSWER(MERGED)},
         2,
         {.limit_s = 0},
         SWEEP_STAYS,
         false,
         false,
         "not promoted"},
        {"unknown", {ANSWER(UNKNOWN)}, 1, {.limit_s = DAY}, SWEEP_WANTS_AGE, false, false, NULL},
        {"nobody's", {ANSWER(OPEN)}, 0, {.limit_s = DAY}, SWEEP_WANTS_AGE, false, false, NULL},
        {"never by age", {ANSWER(UNASKED)}, 1, {.limit_s = 0}, SWEEP_STAYS, false, false, "never"},
        {"old",
         {ANSWER(UNASKED)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_KNOWN, .age_s = DAY + 1, .age_of = "pushed"},
         SWEEP_GOES,
         false,
         false,
         "pushed 1 day ago"},
        {"just not old",
         {ANSWER(UNASKED)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_KNOWN, .age_s = DAY, .age_of = "built"},
         SWEEP_STAYS,
         false,
         false,
         "built 1 day ago only"},
        {"three days and five minutes",
         {ANSWER(UNASKED)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_KNOWN, .age_s = 3 * DAY + 300, .age_of = "built"},
         SWEEP_GOES,
         false,
         false,
         "3 days"},
        {"no age",
         {ANSWER(UNKNOWN)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_UNKNOWN, .age_trouble = "1970"},
         SWEEP_STAYS,
         false,
         false,
         "1970"},
        {"age trouble",
         {ANSWER(UNKNOWN)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_TROUBLE, .age_trouble = "HTTP 503"},
         SWEEP_STAYS,
         true,
         true,
         "HTTP 503"},
        {"old, but a task waits",
         {ANSWER(UNASKED, .pending = 12)},
         1,
         {.limit_s = DAY, .age = SWEEP_AGE_KNOWN, .age_s = 9 * DAY, .age_of = "built"},
         SWEEP_STAYS,
         false,
         false,
         "task 12"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct sweep_case c = cases[i].c;
        c.tag = (struct sweep_tag){"7", "latest"};
        for (size_t k = 0; k < cases[i].n; k++)
            *list_push(&a, &c.answers) = cases[i].answers[k];
        struct sweep_decision d = sweep_decide(&c, &a);
        if (d.verdict != cases[i].verdict || d.unsure != cases[i].unsure ||
            d.temporary != cases[i].temporary ||
            (cases[i].says && (!d.reason || !strstr(d.reason, cases[i].says))))
            fail_msg("%s: %d %d %d %s", cases[i].name, d.verdict, d.unsure, d.temporary,
                     d.reason ? d.reason : "-");
    }
}

static void superseded(void **state)
{
    (void)state;
    static const struct {
        struct order_key mine, applied;
        enum ancestry related;
        bool superseded;
    } cases[] = {
        {{"h/a", "c1", 5, 0, NULL}, {NULL, NULL, 0, 0, NULL}, ANCESTRY_NOT_ASKED, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 9, 3, NULL}, ANCESTRY_ANCESTOR, true},
        {{"h/a", "c1", 9, 0, NULL}, {"h/a", "c2", 5, 3, NULL}, ANCESTRY_ANCESTOR, true},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 9, 3, NULL}, ANCESTRY_DESCENDANT, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c1", 5, 3, NULL}, ANCESTRY_NOT_ASKED, true},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 9, 3, NULL}, ANCESTRY_NOT_ASKED, true},
        {{"h/a", "c1", 9, 0, NULL}, {"h/a", "c2", 5, 3, NULL}, ANCESTRY_NOT_ASKED, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 9, 3, NULL}, ANCESTRY_DIVERGED, true},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 5, 3, NULL}, ANCESTRY_DIVERGED, false},
        /* Nobody tells: the sequence number of a delivery must not. */
        {{"h/a", "c1", 0, 0, NULL}, {"h/a", "c2", 9, 3, NULL}, ANCESTRY_NOT_ASKED, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/a", "c2", 0, 3, NULL}, ANCESTRY_NOT_ASKED, false},
        {{"h/a", NULL, 0, 0, NULL}, {"h/a", NULL, 0, 3, NULL}, ANCESTRY_NOT_ASKED, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/b", "c1", 0, 3, NULL}, ANCESTRY_SAME, false},
        {{"h/a", "c1", 5, 0, NULL}, {"h/b", "c2", 9, 3, NULL}, ANCESTRY_DESCENDANT, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (sweep_superseded(&cases[i].mine, &cases[i].applied, cases[i].related) !=
            cases[i].superseded)
            fail_msg("case %zu", i);
}

static void ages(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *text;
        int64_t seconds; /* -1: malformed */
    } cases[] = {
        {"14d", 14 * DAY},
        {"36h", 36 * 3600},
        {"10m", 600},
        {"90s", 90},
        {"90", -1},
        {"14", -1},
        {"0", 0},
        {"0d", 0},
        {"never", 0},
        {"", -1},
        {"d", -1},
        {"-1d", -1},
        {"1.5d", -1},
        {"14 d", -1},
        {"14dd", -1},
        {"soon", -1},
        {"3650d", (int64_t)3650 * DAY},
        {"3651d", -1},
        {"99999999999999999999d", -1},
        {"9223372036854775807d", -1},
        {"+3", -1},
        {" 3", -1},
        {"0x10", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = -1;
        bool good = sweep_parse_age(cases[i].text, &got);
        if (good != (cases[i].seconds >= 0) || (good && got != cases[i].seconds))
            fail_msg("%s: %lld", cases[i].text, (long long)got);
    }
    assert_string_equal(sweep_show_age(-5, &a), "0 seconds");
    assert_string_equal(sweep_show_age(59, &a), "59 seconds");
    assert_string_equal(sweep_show_age(60, &a), "1 minute");
    assert_string_equal(sweep_show_age(7199, &a), "1 hour");
    assert_string_equal(sweep_show_age(2 * DAY + 1, &a), "2 days");
}

static void takes(struct sweep_queue *q, int64_t quiet_ms, int64_t now_ms, const char *want)
{
    char *got CLEANUP(cleanup_free) = sweep_queue_take(q, quiet_ms, now_ms);
    if (!str_eq(got, want))
        fail_msg("at %lld: %s, not %s", (long long)now_ms, got ? got : "-", want ? want : "-");
}

static void once_an_hour_and_when_it_is_quiet(void **state)
{
    (void)state;
    enum { HOUR = 3600 * 1000, QUIET = 5000 };
    struct sweep_queue *q = sweep_queue_new();
    takes(q, HOUR, 1000, NULL);
    sweep_queue_add(q, "r/a", 1000);
    sweep_queue_add(q, "r/b", 1001);
    sweep_queue_add(q, "r/a", 1002);
    takes(q, 0, 2000, NULL);
    takes(q, QUIET - 1, 2000, NULL);
    takes(q, QUIET, 2000, "r/a");
    takes(q, QUIET, 2000, "r/b");
    takes(q, QUIET, 2000, NULL);
    sweep_queue_add(q, "r/a", 3000);
    takes(q, HOUR, 2000 + HOUR - 1, NULL);
    takes(q, QUIET, 2000 + HOUR, "r/a");
    takes(q, HOUR, 2000 + 3 * HOUR, NULL); /* nothing was published since */
    sweep_queue_add(q, "r/c", 4 * HOUR);
    takes(q, 0, 4 * HOUR + 299 * 1000, NULL);
    takes(q, 0, 4 * HOUR + 300 * 1000, "r/c"); /* never quiet */
    sweep_queue_free(q);
    sweep_queue_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags),
        cmocka_unit_test(decisions),
        cmocka_unit_test(superseded),
        cmocka_unit_test(ages),
        cmocka_unit_test(once_an_hour_and_when_it_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
