/*
 * httpmsg.h - an HTTP request and a response as plain data, for both directions: what a web
 * server handed to us and what we send to a forge or a registry. No behaviour but header look-up.
 * All pointers belong to whoever filled the message, usually an arena.
 */
#ifndef SLIPWAY_HTTPMSG_H
#define SLIPWAY_HTTPMSG_H

#include "core/base/base.h"
#include "core/base/mem.h"

struct http_header {
    const char *name; /* any case */
    const char *value;
};

struct http_headers {
    struct http_header *at;
    size_t n;
    size_t cap;
};

struct http_req {
    const char *method; /* "GET", "POST", ... */
    const char *url;    /* outgoing: absolute URL; incoming: the path below our base, decoded */
    const char *query;  /* incoming: raw query string, "" when there is none; outgoing: unused */
    struct http_headers headers;
    const void *body; /* NULL when there is none */
    size_t body_len;  /* bytes */
};

struct http_resp {
    int status; /* 100..599; 0: no answer yet */
    struct http_headers headers;
    const char *body; /* NUL-terminated behind body_len; "" when there is none */
    size_t body_len;
};

/* The first header of that name (case folded), NULL when absent. */
const char *http_header(const struct http_headers *h, const char *name);

/* Appends a header; both strings are copied into the arena. */
void http_header_add(struct arena *a, struct http_headers *h, const char *name, const char *value);

/* The value of a query parameter, %XX and '+' decoded, in the arena; NULL when absent. */
const char *http_query_param(struct arena *a, const char *query, const char *name);

#endif
