/*
 * http_internal.h - what the files of the HTTP client share: a call on its way (http_flight) and
 * the client whose loop thread flies it. curl's handles are untyped here: its header stays in the
 * .c files. Who may touch what is said at each field; "loop" is the loop thread alone.
 */
#ifndef SLIPWAY_HTTP_INTERNAL_H
#define SLIPWAY_HTTP_INTERNAL_H

#include "core/base/limits.h"
#include "core/base/strbuf.h"
#include "core/lib/http.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

struct sockaddr;
struct curl_slist;

/* Hosts are told apart by a hash of this many values; two that share one queue together. */
#define HTTP_LANES 64

/* Why we ended a call ourselves; curl's result says the rest. */
enum flight_end {
    END_NONE,
    END_STALLED,
    END_STOPPED,   /* by its source or its sink */
    END_ABANDONED, /* landed while under way */
    END_TOO_LARGE,
    END_HEADERS,
    END_PRIVATE, /* an address that is not public was refused; counts if nothing else connected */
    END_RESENT,  /* curl would send it again, but the source can't begin anew */
    END_SOURCE,  /* the source broke its contract */
};

/* A caller waits here until `left` flights have ended; guarded by the client's lock. */
struct http_waiter {
    pthread_cond_t done;
    size_t left;
};

/* One call on its way. The loop owns it from the queue until `done`. */
struct http_flight {
    struct http_client *client;
    struct http_call *call;
    struct http_waiter *waiter; /* lock */
    bool done;                  /* lock; then it is the caller's again */
    bool refused;               /* never started; call->err says why */
    bool streaming;             /* has a source or a sink */
    bool trust_blob;            /* authorities holds what ca_dir named */
    atomic_bool resume;         /* somebody wants it awake */
    atomic_bool abandon;        /* somebody wants it ended */
    unsigned lane;

    /* loop, from here on */
    struct http_flight *next, *prev; /* in the queue (next only), then among those that fly */
    void *easy;
    struct curl_slist *lines;
    struct strbuf headers; /* "name NUL value NUL" for each */
    struct strbuf body;
    struct strbuf authorities; /* PEM; written before the queue */
    size_t drained;
    size_t trailed;      /* bytes of trailers */
    size_t given;        /* bytes that the source gave */
    bool cut;            /* a refusal whose rest nobody needs */
    bool head_done;      /* the head of the latest answer is whole */
    bool starved;        /* its source said HTTP_WAIT */
    bool clogged;        /* its sink said so */
    int64_t moved;       /* bytes in both directions at still_since */
    int64_t still_since; /* ms, monotonic: since when hardly more have moved */
    long status;
    long proxy_status; /* of a refused CONNECT */
    int result;        /* CURLcode */
    enum flight_end end;
    char peer[INET6_ADDRSTRLEN]; /* the address that END_PRIVATE is about */
    char detail[256];            /* curl's own words */
};

struct http_client {
    pthread_mutex_t lock;             /* guards first, last, stop and what is marked so above */
    struct http_flight *first, *last; /* on their way to the loop */
    bool stop;
    atomic_bool attention; /* some flight has resume or abandon set */
    char *user_agent;      /* constant, as ca_file, multi and thread */
    char *ca_file;
    void *multi;
    pthread_t thread;

    /* loop, from here on */
    struct http_flight *waiting, **waiting_end;
    struct http_flight *flying;
    bool rescan;              /* a flight that waits may have room now */
    size_t active;            /* flights that are not streaming, */
    size_t streams;           /* and those that are */
    uint8_t busy[HTTP_LANES]; /* as active, for each lane */
    int64_t look_at;          /* ms, monotonic: when to look for stalled streams */
    /* Handles of flights that were not streaming: libcurl 7.88 may keep a handle's buffer over a
     * reset, and writes past it once the handle is told of a larger one. */
    void *idle[LIMIT_HTTP_IDLE];
    size_t idle_n;
};

/* --- http.c: the queue and the loop ---------------------------------------------------------- */

/* Adds flights to the queue; the caller holds the lock and wakes the loop. */
void http_enqueue(struct http_client *c, struct http_flight *f);
void http_wake(const struct http_client *c);

/* --- http_transfer.c: one transfer, in the loop ---------------------------------------------- */

/* Fills a fresh handle for the call; the caller adds it to the multi. */
void http_transfer_begin(const struct http_client *c, struct http_flight *f, void *easy);

/* Takes from the handle what is worth keeping and leaves it as new. */
void http_transfer_end(struct http_flight *f, int result);

/* Bytes of heads and bodies that have moved so far. */
int64_t http_transfer_moved(const struct http_flight *f);

/* --- http_reach.c: trust, proxy and addresses ------------------------------------------------ */

/* In the caller's thread, before the queue: 0, or -1 with call->err (ERR_CONFIG) when `via` can't
 * be followed. Reads ca_dir. */
int http_reach_check(const struct http_client *c, struct http_flight *f);

/* Sets trust, proxy and the checks of addresses. */
void http_reach_set(const struct http_client *c, struct http_flight *f);

/* Is this address of a connection public? Remembers it as END_PRIVATE when not. */
bool http_reach_is_public(struct http_flight *f, const char *address);

/* The authorities' file that counts for this call; NULL: the system's. */
const char *http_reach_ca_file(const struct http_client *c, const struct http_call *call);

/* Has the proxy's user or password found its way into this text? */
bool http_reach_leaks(const struct http_call *call, const char *text);

/* --- http_url.c ------------------------------------------------------------------------------ */

/* Is it no public address, as in http_host_is_private? True for other families too. Pure. */
bool http_address_is_private(const struct sockaddr *address);

#endif
