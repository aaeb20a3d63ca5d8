/*
 * clock.h - time. Logic takes `now` as a parameter; only shells call these.
 */
#ifndef SLIPWAY_CLOCK_H
#define SLIPWAY_CLOCK_H

#include "core/base/base.h"

int64_t clock_now_ms(void);       /* milliseconds since 1970, UTC: what is stored and shown */
int64_t clock_monotonic_ms(void); /* counts through suspend: what deadlines are made of */
void clock_sleep_ms(int64_t ms);  /* not cut short by signals */

#endif
