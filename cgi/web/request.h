/*
 * request.h - one request as a web server hands it to a program: CGI-style variables and a body to
 * be read, turned into a struct http_req with strict bounds. Shared by FastCGI and plain CGI; knows
 * neither. Also the reply, and its text form.
 */
#ifndef SLIPWAY_REQUEST_H
#define SLIPWAY_REQUEST_H

#include "core/base/base.h"
#include "core/base/httpmsg.h"
#include "core/base/limits.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

#include <stdatomic.h>

/* Where the body comes from. Reads up to len bytes; fewer only at the end of the stream. */
struct body_source {
    size_t (*read)(void *ctx, void *buf, size_t len);
    void *ctx;
};

/* Memory that all bodies in hand share. */
struct body_budget {
    atomic_size_t used;
    size_t max; /* LIMIT_BODIES_IN_FLIGHT, or less in tests */
};

struct reply {
    int status;         /* 0: none yet */
    const char *text;   /* plain text that ends with a newline; a literal, or in the arena */
    const char *allow;  /* value of Allow, NULL: none */
    int retry_after;    /* seconds, 0: none */
    const char *reason; /* for the log: why, never a secret; NULL: nothing to say */
    bool fatal;         /* the process must end once the requests in hand are answered */
};

struct request {
    struct arena arena;
    struct http_req http; /* url: the path below base_path, decoded; body once it was read */
    bool has_length;      /* CONTENT_LENGTH was given */
    size_t length;        /* bytes; SIZE_MAX for more than can be said */
    struct body_source source;
    struct body_budget *budget; /* set while `reserved` is taken from it */
    size_t reserved;
    char *body;
};

/* Frees everything and gives the budget back. */
void request_release(struct request *q);

/*
 * Copies what we need of `params` ("NAME=value", NULL-ended). Headers are HTTP_* (but HTTP_PROXY
 * and doubles of the content's own), CONTENT_TYPE and CONTENT_LENGTH; at most 100 of them and
 * LIMIT_HTTP_HEADERS bytes. The path is PATH_INFO, else DOCUMENT_URI, else SCRIPT_NAME, else
 * REQUEST_URI; `base_path` is cut off where it is a prefix of whole segments.
 * False: `out` is the answer (400, 431).
 */
bool request_init(struct request *q, const char *const *params, const char *base_path,
                  struct body_source source, struct reply *out);

/* Is the announced size acceptable? False: 413. Reads nothing. */
bool request_check_size(const struct request *q, size_t max, struct reply *out);

/* Is the content something that a forge sends? False: 411 without a length, 415. */
bool request_check_content(const struct request *q, struct reply *out);

/* Reads the whole body into http.body (never NULL afterwards). False: 503 when the budget is
 * spent, 400 when fewer bytes came than were announced. */
bool request_read_body(struct request *q, struct body_budget *budget, struct reply *out);

/* Fills a reply; returns false, so that a refusal is one line. */
bool reply_set(struct reply *r, int status, const char *text);

/* As a CGI response: Status line, headers, empty line, text (left out for HEAD). */
void reply_format(const struct reply *r, bool head, struct strbuf *out);

#define REPLY_MAX KIB(4)

#endif
