/*
 * receive.h - POST /hooks/<source>[/<rest>] (DESIGN 6.1): content -> budget -> body -> proof over
 * the raw bytes -> store -> answer. The size and the route were checked before. What a delivery
 * means is `work`'s business: the body is not parsed.
 *
 *     202 kept: it is on disk        200 ping, repeat, or of no interest (kept as ignored)
 *     401 no valid proof             404 no such source
 *     400 411 413 415                what the sender can mend
 *     503 not kept: try again        (Retry-After)
 */
#ifndef SLIPWAY_RECEIVE_H
#define SLIPWAY_RECEIVE_H

#include "cgi/web/route.h"

route_fn receive_answer;

#endif
