/*
 * pace.h - how often a host may be asked: its wish to be left alone is kept by everyone, whoever it
 * was told to; troubles in a row make all slower; its rate limits and warnings are noted.
 */
#ifndef SLIPWAY_REGISTRY_PACE_H
#define SLIPWAY_REGISTRY_PACE_H

#include "core/registry/registry_internal.h"

/* Milliseconds until the host may be asked again; 0: now. */
int64_t pace_quiet_ms(struct registry *r, struct registry_host *h);

/* ERR_TEMP with retry_after: the host asked to be left alone for `ms` more. Returns -1. */
int pace_refused(const struct registry_host *h, int64_t ms, struct err *err);

/* Sleeps; false when registry_stop came. */
bool pace_sleep(struct registry *r, int64_t ms);

/* Is this outcome a trouble that may pass: no answer, 408, 429, 500, 502, 503, 504? */
bool pace_is_trouble(const struct http_call *call);

/* Could nothing be connected to, at a host that has never answered? */
bool pace_is_stranger(struct registry *r, struct registry_host *h, const struct err *err);

/* What an answer of the host, or its absence, means for the next requests: only a Retry-After and
 * 429 keep it quiet for long, other troubles from the third in a row on for at most a second. */
void pace_note(struct registry *r, struct registry_host *h, const struct http_call *call);

/* How long to wait before try number `tries` + 1: 200 ms doubled each time up to 30 s, between
 * half and all of it by chance, so that those who failed together do not come back together. */
int64_t pace_delay_ms(int tries);

/* "100;w=21600" or "100": the number, and the window where it is named. Pure. */
bool pace_parse_rate(const char *text, int64_t *number, int64_t *window_s);

#endif
