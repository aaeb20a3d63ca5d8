/*
 * retry.h - when to try again. Pure.
 */
#ifndef SLIPWAY_RETRY_H
#define SLIPWAY_RETRY_H

#include "core/base/err.h"

enum retry_verdict { RETRY_LATER, RETRY_NEVER };

/* After the attempt-th failure (from 1): 1 s doubling to 5 min with up to a quarter of jitter
 * (`dice` is uniform in [0, 1000)), never before Retry-After. RETRY_NEVER for every kind but
 * ERR_TEMP, and after LIMIT_ATTEMPTS. */
enum retry_verdict retry_next(const struct err *e, int attempt, int64_t dice, int64_t *delay_ms);

/* How long to wait before looking again for a staged image: 1 s growing to 30 s with its age. */
int64_t retry_poll_ms(int64_t age_ms);

#endif
