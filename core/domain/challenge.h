/*
 * challenge.h - WWW-Authenticate (RFC 9110 section 11.6.1): several challenges in one header, any
 * case, quoted commas. Pure.
 */
#ifndef SLIPWAY_CHALLENGE_H
#define SLIPWAY_CHALLENGE_H

#include "core/base/httpmsg.h"
#include "core/base/mem.h"

enum challenge_scheme { CHALLENGE_BASIC, CHALLENGE_BEARER, CHALLENGE_OTHER };

struct challenge {
    enum challenge_scheme scheme;
    const char *realm; /* NULL when absent */
    const char *service;
    const char *scope;
    const char *error; /* "insufficient_scope" ... */
};

struct challenges {
    struct challenge *at;
    size_t n;
    size_t cap;
};

/* All challenges of all WWW-Authenticate headers of an answer, in order. Malformed parts are
 * passed over. */
struct challenges challenge_parse(const struct http_headers *headers, struct arena *a);

#endif
