/*
 * http.h - HTTP client (libcurl). One multi loop runs in a thread of its own, so that warm
 * connections and per-host limits are shared by all callers; callers block. One call is one
 * attempt: no redirect is followed, nothing is retried, no cookie, netrc or environment proxy is
 * used. TLS peers and hosts are always verified.
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

struct http_call {
    struct http_req req;   /* url absolute, http or https; body may be NULL */
    size_t max_body;       /* bytes of answer allowed; more fails the call with ERR_PERM, but the
                              text of an answer >= 400 is cut at LIMIT_ERROR_BODY instead */
    int64_t timeout_ms;    /* whole call; 0: LIMIT_REQUEST_MS */
    const char *ca_file;   /* NULL: the client's */
    struct http_resp resp; /* out; status 0 when there was no answer; lives in the arena */
    struct err err;        /* out; set when there was no whole answer */
    bool failed;           /* out: err is set. An HTTP status is never a failure here. */
};

/* Performs n calls at once and waits for all. Per host at most LIMIT_HOST_CONNECTIONS connections
 * are open; the others queue inside. Answers are copied into the arena by the calling thread.
 * Returns how many failed. */
size_t http_all(struct http_client *c, struct arena *a, struct http_call *calls, size_t n);

/* The same for one: 0, or -1 with *err set (a copy of call->err). */
int http_do(struct http_client *c, struct arena *a, struct http_call *call, struct err *err);

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
