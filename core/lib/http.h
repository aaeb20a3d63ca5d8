/*
 * http.h - HTTP client (libcurl). One multi loop runs in a thread of its own, so that warm
 * connections and per-host limits are shared by all callers; callers block. One call is one
 * attempt: no redirect is followed, nothing is retried, no cookie or netrc is used, and no proxy
 * but the one that a call names. TLS peers and hosts are always verified.
 *
 * Answers are gathered in memory, but a body of any length may also pass through: a call may read
 * its request's body from an http_source and hand its answer's to an http_sink, which are asked in
 * the loop thread and may say "not now". Such calls are started, waited for and landed one by one.
 */
#ifndef SLIPWAY_HTTP_H
#define SLIPWAY_HTTP_H

#include "core/base/err.h"
#include "core/base/httpmsg.h"
#include "core/base/mem.h"

struct http_client;

struct http_client_opts {
    const char *user_agent; /* "slipway/<version>" when NULL */
    const char *ca_file;    /* NULL: the system's */
};

/* Starts the loop thread. http_client_free waits for it; no call may be under way. */
struct http_client *http_client_new(const struct http_client_opts *opts, struct err *err);
void http_client_free(struct http_client *c);

/* How a server is reached and trusted. Every string is borrowed; zero is the default. */
struct http_via {
    const char *ca_file;     /* PEM, in the place of the system's authorities; NULL: the client's */
    const char *ca_dir;      /* folder of single PEM files (certs.d): each *.crt counts, besides
                                ca_file or the system's; read when the call starts */
    const char *client_cert; /* PEM chain that we show; NULL: none */
    const char *client_key;  /* PEM; NULL: in client_cert */
    const char *proxy;       /* "http://proxy.example.org:3128", also socks5h; NULL: none. The
                                address that is checked by public_only is then the proxy's
                                business: a call with both is refused as ERR_CONFIG */
    bool public_only;        /* the name was given by a stranger: connect to no address that is not
                                public (http_host_is_private), whatever the name resolves to.
                                ERR_PERM otherwise. Checked on the socket address itself. */
    bool http1;              /* HTTP/1.1 only: a paused HTTP/2 stream would pile up in memory */
};

/* What a source or a sink answers instead of a number of bytes. */
#define HTTP_WAIT (-1) /* nothing now: the flight sleeps until http_flight_resume */
#define HTTP_STOP (-2) /* give up: the call fails with ERR_PERM, code ECANCELED */

/* Where a request's body comes from, when it is not in memory: exactly req.body_len bytes, with
 * req.body NULL. Called in the loop thread: does not block, calls nothing of http.h but
 * http_flight_resume. While it sleeps an answer is noticed, but not that the server has gone. An
 * answer that comes before all is taken ends the call, if it refuses (>= 300); it counts then, and
 * the source is asked no more. What a source gave is never sent a second time. */
struct http_source {
    /* Puts up to `max` (> 0) bytes into buf. Returns how many (> 0), HTTP_WAIT or HTTP_STOP. */
    ptrdiff_t (*read)(void *user, char *buf, size_t max);
    void *user;
};

/* Where the body of an answer 200 or 206 goes; others are gathered as usual. Called in the loop
 * thread, with the same rules. */
struct http_sink {
    /* The head of such an answer has come. 0, or HTTP_STOP. May be NULL. */
    int (*begin)(void *user, int status, const struct http_headers *headers);
    /* All `len` bytes are taken: 0; none of them, to be offered again: HTTP_WAIT; HTTP_STOP. */
    int (*write)(void *user, const char *data, size_t len);
    void *user;
};

struct http_call {
    struct http_req req; /* url absolute, http or https; body may be NULL */
    struct http_via via;
    const struct http_source *source; /* NULL: the body is in req */
    const struct http_sink *sink;     /* NULL: the answer is gathered */
    int64_t stall_ms;   /* with a source or a sink: fail with ERR_TEMP when less than LIMIT_CRAWL
                           bytes a second move for so long, not counting time asleep by HTTP_WAIT;
                           0: LIMIT_STALL_MS */
    size_t max_body;    /* bytes of answer allowed; more fails the call (ERR_PERM, EFBIG), but the
                           text of an answer >= 400 is cut at LIMIT_ERROR_BODY instead */
    int64_t timeout_ms; /* whole call; 0: LIMIT_REQUEST_MS, or none with a source or sink */
    struct http_resp resp; /* out; status 0 when there was no answer; lives in the arena */
    struct err err;        /* out; set when there was no whole answer */
    bool failed;           /* out: err is set. An HTTP status is never a failure here. */
};

/* Performs n calls at once and waits for all. At most LIMIT_HTTP_ACTIVE are under way, to one host
 * LIMIT_HOST_CONNECTIONS; the others queue inside. Calls with a source or a sink are not subject to
 * that: they start at once, as one that sleeps must never keep out the one that it waits for, and
 * it is for their caller to bound how many there are (some 256 KiB of buffers each).
 * Answers are copied into the arena by the calling thread. Returns how many failed. */
size_t http_all(struct http_client *c, struct arena *a, struct http_call *calls, size_t n);

/* The same for one: 0, or -1 with *err set (a copy of call->err). */
int http_do(struct http_client *c, struct arena *a, struct http_call *call, struct err *err);

/* One call on its way. The call and what it points to stay alive until http_land. */
struct http_flight;

struct http_flight *http_start(struct http_client *c, struct http_call *call);

/* Waits until at least one has ended and returns its index; n when timeout_ms (< 0: none) is over
 * first. NULL entries are passed over; n at once when there is nothing else. A flight is waited for
 * by one thread at a time. */
size_t http_wait(struct http_client *c, struct http_flight *const *flights, size_t n,
                 int64_t timeout_ms);

/* Ends it if it is still under way (then the call fails with ERR_PERM, ECANCELED), copies the
 * answer into the arena, fills resp, failed and err of its call, and frees the flight. After it
 * neither source nor sink is called again. Returns 0, or -1 when the call failed. */
int http_land(struct http_client *c, struct http_flight *f, struct arena *a);

/* Wakes a flight that sleeps by HTTP_WAIT; harmless when it does not, or has ended. From any
 * thread, also from a source's or sink's callback of another flight; never blocks. Not once it is
 * landed: two flights that wake each other keep a lock around that, which their caller takes to
 * make one forget the other. A callback may also run before http_start has returned the flight: a
 * wake-up that had nobody to go to is made up for by one after http_start. */
void http_flight_resume(struct http_client *c, struct http_flight *f);

/* "scheme://host[:port]" of a URL in lower case, without a default port: equal origins are equal
 * texts. NULL when it is malformed, neither http nor https, or names a user. Pure. */
const char *http_origin(struct arena *a, const char *url);

/* The absolute URL that a Location header means; NULL when malformed. Pure. */
const char *http_join(struct arena *a, const char *base, const char *location);

/* What a message may say of a URL: no user, no query, no control bytes; cut when long. Pure. */
#define HTTP_SHOWN_URL 300
void http_shown_url(const char *url, char out[HTTP_SHOWN_URL]);

/* Is the URL's host a literal address that is no public one (loopback, private, link-local,
 * shared, multicast, unspecified), or localhost? True also when malformed. No look-up. Pure. */
bool http_host_is_private(struct arena *a, const char *url);

/* Retry-After of an answer as seconds from now (seconds, HTTP-date, or a unix time stamp), capped
 * at LIMIT_RETRY_AFTER_S; 0 when absent or malformed. Pure. */
int64_t http_retry_after(const struct http_resp *resp, int64_t now_s);

/* Which error kind an HTTP status >= 400 is: 408, 425, 429 and 5xx but 501 are ERR_TEMP, the rest
 * ERR_PERM. Pure. */
enum err_kind http_status_kind(int status);

/* What is wrong with a request that no server should see, our own mistake and never a stranger's:
 * method, URL or a header is malformed. NULL: nothing. Pure. */
const char *http_call_fault(const struct http_call *call);

#endif
