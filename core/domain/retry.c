#include "core/domain/retry.h"

#include "core/base/limits.h"

enum { FIRST_MS = 1000, LONGEST_MS = 300000, POLL_FIRST_MS = 1000, POLL_LONGEST_MS = 30000 };

/* Also keeps attempt far from where the shift would overflow. */
static int64_t backoff_ms(int attempt)
{
    if (attempt < 1)
        attempt = 1;
    if (attempt > 16)
        return LONGEST_MS;
    int64_t ms = (int64_t)FIRST_MS << (attempt - 1);
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

enum retry_verdict retry_next(const struct err *e, int attempt, int64_t dice, int64_t *delay_ms)
{
    *delay_ms = 0;
    if (e->kind != ERR_TEMP || attempt >= LIMIT_ATTEMPTS)
        return RETRY_NEVER;
    dice = dice < 0 ? 0 : dice > 999 ? 999 : dice;
    int64_t ms = backoff_ms(attempt);
    ms += ms / 4 * dice / 1000;
    int64_t asked_s = e->retry_after;
    if (asked_s > LIMIT_RETRY_AFTER_S)
        asked_s = LIMIT_RETRY_AFTER_S;
    *delay_ms = asked_s * 1000 > ms ? asked_s * 1000 : ms;
    return RETRY_LATER;
}

int64_t retry_poll_ms(int64_t age_ms)
{
    int64_t ms = age_ms / 10;
    return ms < POLL_FIRST_MS ? POLL_FIRST_MS : ms > POLL_LONGEST_MS ? POLL_LONGEST_MS : ms;
}
