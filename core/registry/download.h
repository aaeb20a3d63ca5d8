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

bool download_is_redirect(int status);

/* The request that a redirect from `url` asks for; *own: it stays on the registry's origin. `what`
 * is for the message. ERR_PERM: not followed. */
int download_hop(const struct registry_host *h, const char *url, const struct http_resp *resp,
                 int hops, const char *what, struct arena *a, struct http_call *call, bool *own,
                 struct err *err);

/* Follows x->resp, the answer to a GET or HEAD, while it is a redirect (storage, or a registry that
 * serves from elsewhere): without credentials, but where its own origin asks for them. *moved:
 * the address that answered in the end; NULL: it was none. -1: it is not followed, or no answer. */
int download_follow(struct registry *r, struct arena *a, struct exchange *x, const char *what,
                    const char **moved, struct err *err);

#endif
