/*
 * download.h - the GET of a blob, flown into a flow: redirects to a registry's storage are followed
 * without credentials, a 401 is answered by signing in, and it goes on where it broke.
 */
#ifndef SLIPWAY_REGISTRY_DOWNLOAD_H
#define SLIPWAY_REGISTRY_DOWNLOAD_H

#include "core/registry/flow.h"
#include "core/registry/registry_internal.h"

struct download {
    struct registry *r;
    struct registry_host *host;
    const char *name;
    struct registry_access access;
    const char *digest;
    struct flow *flow;
    struct arena *arena;

    struct exchange x; /* the rest is its own */
    struct http_sink sink;
    struct http_call call;
    bool by_exchange; /* the present call is the registry's own */
    bool own;         /* of its origin, at least */
    bool signed_in;
    bool whole; /* a Range was refused: the known part is fetched again, and passed over */
    int hops;
    struct http_flight *flight; /* NULL: none is on its way */
};

/* "team/app@sha256:..." for messages. */
const char *download_what(struct arena *a, const char *name, const char *digest);

/* Asks the registry for what the flow still lacks. */
int download_start(struct download *d, struct err *err);

enum download_result { DOWNLOAD_FAILED, DOWNLOAD_ENDED, DOWNLOAD_GOES_ON };

/* The flight has ended: lands it. DOWNLOAD_GOES_ON: another one took its place. DOWNLOAD_ENDED: the
 * answer was read to its end. DOWNLOAD_FAILED: *err; ERR_TEMP is worth another download_start.
 * ERR_PERM with code ENOENT: there is no such blob. */
enum download_result download_ended(struct download *d, struct err *err);

/* Ends a flight, if there is one. */
void download_cancel(struct download *d);

#endif
