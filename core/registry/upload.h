/*
 * upload.h - one upload session of a registry: opened by POST (or left by a mount that was not
 * granted), filled by one PUT or PATCH by PATCH from a flow, closed, or cancelled.
 */
#ifndef SLIPWAY_REGISTRY_UPLOAD_H
#define SLIPWAY_REGISTRY_UPLOAD_H

#include "core/registry/flow.h"
#include "core/registry/registry_internal.h"

struct upload {
    struct registry *r;
    struct registry_host *host;
    const char *name;
    struct registry_access access;
    const char *digest;
    struct arena *arena;

    const char *url;  /* of the session; NULL: none is open */
    size_t min_chunk; /* as the registry says; 0: it does not */
    size_t max_chunk;
    struct exchange x; /* the last request */
    struct http_source source;
    struct http_call call;
    struct http_flight *flight; /* NULL: none is on its way */
    struct flow *flow;
};

/* Opens a session. With mount_from: asks for the blob of that repository of the same registry
 * first; *mounted: it is there now, and nothing is left to be done. */
int upload_open(struct upload *u, const char *mount_from, bool *mounted, struct err *err);

/* The short way for a blob in memory: one POST with all of it. *done: it is there now; else a
 * session may have been opened instead, or u->url is NULL and the registry does not do this. */
int upload_open_with(struct upload *u, const void *bytes, size_t len, bool *done, struct err *err);

/* Starts the PUT of all `len` bytes that the flow hands on. */
int upload_fly_whole(struct upload *u, struct flow *flow, int64_t len, struct err *err);
/* Starts the PATCH of the `len` bytes from `at`. */
int upload_fly_chunk(struct upload *u, struct flow *flow, int64_t at, int64_t len, struct err *err);
/* The flight has ended (or shall): lands it. *status: of the answer, and its Location counts from
 * now on. -1: there was no answer. */
int upload_landed(struct upload *u, int *status, struct err *err);

/* The PUT that ends a session that was filled: with these bytes, or after PATCHes without any. */
int upload_close(struct upload *u, const void *bytes, size_t len, int *status, struct err *err);

/* How many bytes the registry has. -1: it does not say. */
int upload_where(struct upload *u, int64_t *next, struct err *err);

/* What the last answer means when it was no success. Returns -1. */
int upload_refused(struct upload *u, struct err *err);

/* Ends the session, and the flight, if there are any. Whether the registry heard it is no matter:
 * sessions expire. */
void upload_cancel(struct upload *u);

#endif
