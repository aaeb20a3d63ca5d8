/*
 * route.h - which handler answers which path: one const table.
 */
#ifndef SLIPWAY_ROUTE_H
#define SLIPWAY_ROUTE_H

#include "cgi/web/service.h"

enum route_method { ROUTE_GET = 1, ROUTE_HEAD = 2, ROUTE_POST = 4 };

/* `rest` is what follows the pattern's "*", "" without one. Always fills `out`. */
typedef void route_fn(struct service *s, struct request *q, const char *rest, struct reply *out);

struct route {
    unsigned methods;    /* set of enum route_method */
    const char *pattern; /* an exact path, or a prefix that ends with "*": something must follow */
    route_fn *answer;
};

/* The row for a path, NULL when there is none. */
const struct route *route_find(const char *path, const char **rest);

/* Value of the Allow header for a set of methods. */
const char *route_allow(unsigned methods);

/* Finds the handler and lets it answer; 404, and 405 with Allow. */
void route_answer(struct service *s, struct request *q, struct reply *out);

#endif
