#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/engine/rolling.h"

#define A "sha256:aaaa"
#define B "sha256:bbbb"
#define C "sha256:cccc"

/* Task 2 moved a tag from A to B; what of it goes back? */
static const struct {
    const char *name;
    enum step_state was;
    const char *new, *former; /* of the task's step */
    const char *applied, *shows, *held;
    int64_t moved_by;
    bool back;
    enum rollback_state want;
    const char *says;
} rows[] = {
    {"plain", STEP_DONE, B, A, B, B, NULL, 2, false, ROLLBACK_WOULD, NULL},
    {"nobody knows who moved it", STEP_DONE, B, A, B, B, NULL, 0, false, ROLLBACK_WOULD, NULL},
    {"back already", STEP_DONE, B, A, A, A, NULL, 9, false, ROLLBACK_SAME, NULL},
    {"back by hand", STEP_DONE, B, A, B, A, NULL, 2, false, ROLLBACK_SAME, NULL},
    {"back and pinned", STEP_DONE, B, A, A, A, "why", 9, false, ROLLBACK_SAME, "why"},
    {"a newer task", STEP_DONE, B, A, C, C, NULL, 3, false, ROLLBACK_MOVED, "task 3"},
    {"there and back by newer tasks", STEP_DONE, B, A, B, B, NULL, 4, false, ROLLBACK_MOVED,
     "task 4"},
    {"published since, by whom nobody knows", STEP_DONE, B, A, C, B, NULL, 0, false, ROLLBACK_MOVED,
     C},
    {"a stranger", STEP_DONE, B, A, B, C, NULL, 2, false, ROLLBACK_MOVED, C},
    {"a stranger took it away", STEP_DONE, B, A, B, NULL, NULL, 2, false, ROLLBACK_MOVED,
     "nothing"},
    {"absent before", STEP_DONE, B, NULL, B, B, NULL, 2, false, ROLLBACK_ABSENT, "no such tag"},
    {"absent before, and again", STEP_DONE, B, NULL, B, NULL, NULL, 2, false, ROLLBACK_SAME, NULL},
    {"absent before, a stranger", STEP_DONE, B, NULL, B, C, NULL, 2, false, ROLLBACK_MOVED, C},
    {"pinned", STEP_DONE, B, A, B, B, "login", 2, false, ROLLBACK_FAILED, "--release r/n:t"},
    {"it moved nothing", STEP_SAME, B, B, B, B, NULL, 1, false, ROLLBACK_SAME, NULL},
    {"it restored it itself", STEP_RESTORED, B, A, A, A, NULL, 1, false, ROLLBACK_SAME, NULL},
    {"it was stuck", STEP_STUCK, B, A, A, B, NULL, 1, false, ROLLBACK_WOULD, NULL},
    {"it was stuck, and then moved", STEP_STUCK, B, A, C, C, NULL, 3, false, ROLLBACK_MOVED, C},
    {"it was stuck, a stranger", STEP_STUCK, B, A, A, C, NULL, 1, false, ROLLBACK_MOVED, C},
    {"stuck and new", STEP_STUCK, B, NULL, NULL, B, NULL, 0, false, ROLLBACK_ABSENT, NULL},
    {"left to a stranger", STEP_FOREIGN, B, A, A, C, NULL, 1, false, ROLLBACK_MOVED, NULL},
    {"by name, back already", STEP_DONE, NULL, A, A, A, NULL, 2, true, ROLLBACK_SAME,
     "slipway rollback 2"},
    {"by name, back, a stranger", STEP_DONE, NULL, A, A, C, NULL, 2, true, ROLLBACK_MOVED,
     "somebody else"},
};

static void judges(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *reason = "unset";
        const struct spot s = {
            .was = {.state = rows[i].was,
                    .new_digest = rows[i].new,
                    .former_digest = rows[i].former},
            .task = 2,
            .back = rows[i].back,
            .full = "r/n:t",
            .target = {.applied = rows[i].applied,
                       .moved_by = rows[i].moved_by,
                       .held = rows[i].held},
            .shows = rows[i].shows,
        };
        enum rollback_state got = rolling_judge(&s, &a, &reason);
        if (got != rows[i].want)
            fail_msg("%s: %s, wanted %s (%s)", rows[i].name, rollback_state_name(got),
                     rollback_state_name(rows[i].want), reason ? reason : "-");
        if (rows[i].says && (!reason || !strstr(reason, rows[i].says)))
            fail_msg("%s: '%s' does not say '%s'", rows[i].name, reason ? reason : "-",
                     rows[i].says);
        if (got == ROLLBACK_WOULD && reason)
            fail_msg("%s: a reason for nothing: %s", rows[i].name, reason);
    }
}

static struct spot spot_of(enum rollback_state state, const char *shows, const char *held)
{
    return (struct spot){
        .full = "r/n:t", .state = state, .shows = shows, .reason = "so", .target.held = held};
}

static void decides_for_all(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct spot spots[3] = {spot_of(ROLLBACK_SAME, A, NULL), spot_of(ROLLBACK_MOVED, C, NULL),
                            spot_of(ROLLBACK_ABSENT, B, NULL)};
    struct rolling r = {.arena = &a, .at = spots, .n = 3};
    (void)state;
    assert_false(rolling_wanted(&r));
    assert_false(rolling_blocked(&r));
    r.hold = "why";
    assert_true(rolling_wanted(&r));
    assert_true(rolling_pins(&r, &spots[0]));
    assert_false(rolling_pins(&r, &spots[1]));
    spots[0] = spot_of(ROLLBACK_SAME, A, "pinned already");
    assert_false(rolling_wanted(&r));
    spots[0] = spot_of(ROLLBACK_SAME, NULL, NULL); /* nothing that could be pinned */
    assert_false(rolling_wanted(&r));
    r.hold = NULL;
    spots[0] = spot_of(ROLLBACK_WOULD, B, NULL);
    assert_true(rolling_wanted(&r));
    spots[1] = spot_of(ROLLBACK_MISSING, B, NULL);
    assert_true(rolling_blocked(&r));
    spots[1] = spot_of(ROLLBACK_FAILED, B, NULL);
    assert_true(rolling_blocked(&r));
    assert_string_equal(rolling_list(&r, ROLLBACK_FAILED, ROLLBACK_ABSENT), "r/n:t: so; r/n:t: so");
    assert_string_equal(rolling_list(&r, ROLLBACK_MISSING, ROLLBACK_MISSING), "");
}

static void names(void **state)
{
    (void)state;
    for (int s = 0; s < ROLLBACK__MAX; s++)
        for (int other = 0; other < s; other++)
            assert_string_not_equal(rollback_state_name((enum rollback_state)s),
                                    rollback_state_name((enum rollback_state)other));
    assert_string_equal(rollback_state_name(ROLLBACK__MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(decides_for_all),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
