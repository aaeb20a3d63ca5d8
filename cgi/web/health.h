/*
 * health.h - is the process alive, can it keep a delivery? Open to all, so terse: what exactly is
 * wrong goes to the log. The store is asked at most once a second.
 */
#ifndef SLIPWAY_HEALTH_H
#define SLIPWAY_HEALTH_H

#include "cgi/web/route.h"

route_fn health_live;  /* 200 "live" */
route_fn health_ready; /* 200 "ready", or 503 with the reason */

#endif
