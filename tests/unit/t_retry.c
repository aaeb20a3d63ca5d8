#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/domain/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct {
    enum err_kind kind;
    int64_t retry_after;
    int attempt;
    int64_t dice;
    enum retry_verdict want;
    int64_t delay;
} rows[] = {
    {ERR_TEMP, 0, 1, 0, RETRY_LATER, 1000},
    {ERR_TEMP, 0, 2, 0, RETRY_LATER, 2000},
    {ERR_TEMP, 0, 3, 0, RETRY_LATER, 4000},
    {ERR_TEMP, 0, 9, 0, RETRY_LATER, 256000},
    {ERR_TEMP, 0, 10, 0, RETRY_LATER, 300000},
    {ERR_TEMP, 0, 11, 0, RETRY_LATER, 300000},
    {ERR_TEMP, 0, 11, 999, RETRY_LATER, 374925},
    {ERR_TEMP, 0, 1, 500, RETRY_LATER, 1125},
    {ERR_TEMP, 0, 1, 5000, RETRY_LATER, 1249},
    {ERR_TEMP, 0, 1, -7, RETRY_LATER, 1000},
    {ERR_TEMP, 0, 0, 0, RETRY_LATER, 1000},
    {ERR_TEMP, 0, -3, 0, RETRY_LATER, 1000},
    {ERR_TEMP, 30, 1, 0, RETRY_LATER, 30000},
    {ERR_TEMP, 1, 5, 0, RETRY_LATER, 16000},
    {ERR_TEMP, 86400, 1, 0, RETRY_LATER, LIMIT_RETRY_AFTER_S *INT64_C(1000)},
    {ERR_TEMP, INT64_MAX, 1, 0, RETRY_LATER, LIMIT_RETRY_AFTER_S *INT64_C(1000)},
    {ERR_TEMP, -5, 1, 0, RETRY_LATER, 1000},
    {ERR_TEMP, 0, LIMIT_ATTEMPTS - 1, 0, RETRY_LATER, 300000},
    {ERR_TEMP, 0, LIMIT_ATTEMPTS, 0, RETRY_NEVER, 0},
    {ERR_TEMP, 5, INT32_MAX, 0, RETRY_NEVER, 0},
    {ERR_PERM, 30, 1, 0, RETRY_NEVER, 0},
    {ERR_INPUT, 0, 1, 0, RETRY_NEVER, 0},
    {ERR_CONFIG, 0, 1, 0, RETRY_NEVER, 0},
    {ERR_BUG, 0, 1, 0, RETRY_NEVER, 0},
    {ERR_NONE, 0, 1, 0, RETRY_NEVER, 0},
};

static void test_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {.kind = rows[i].kind, .retry_after = rows[i].retry_after};
        int64_t delay = -1;
        enum retry_verdict got = retry_next(&e, rows[i].attempt, rows[i].dice, &delay);
        if (got != rows[i].want || delay != rows[i].delay)
            fail_msg("row %zu: verdict %d, delay %lld", i, (int)got, (long long)delay);
    }
}

static void test_poll(void **state)
{
    (void)state;
    assert_int_equal(retry_poll_ms(-1), 1000);
    assert_int_equal(retry_poll_ms(0), 1000);
    assert_int_equal(retry_poll_ms(10000), 1000);
    assert_int_equal(retry_poll_ms(60000), 6000);
    assert_int_equal(retry_poll_ms(300000), 30000);
    assert_int_equal(retry_poll_ms(INT64_MAX), 30000);
    for (int64_t age = 0, last = 0; age < 700000; age += 997) {
        assert_true(retry_poll_ms(age) >= last);
        last = retry_poll_ms(age);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
