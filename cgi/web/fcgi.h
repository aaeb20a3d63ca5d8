/*
 * fcgi.h - the FastCGI server: threads that accept, answer and finish one request at a time. The
 * only user of libfcgi.
 *
 * Signals, from fcgi_signals() on: SIGTERM and SIGINT stop it: no connection is taken from the
 * socket any more, but those that have come over a socket of our own (which must be withdrawn
 * first, see `withdraw`), requests in hand are finished, for at most LIMIT_STOP_MS. SIGHUP and
 * SIGUSR1 are ignored.
 */
#ifndef SLIPWAY_FCGI_H
#define SLIPWAY_FCGI_H

#include "cgi/web/request.h"
#include "core/base/err.h"

struct fcgi_opts {
    int fd;         /* listening socket */
    int signals;    /* from fcgi_signals() */
    size_t threads; /* LIMIT_SERVE_THREADS */

    /* Answers a request with a whole CGI response. False: stop, after the requests in hand. */
    bool (*answer)(void *ctx, const char *const *params, struct body_source source,
                   struct strbuf *out);
    /* Called once when stopping begins. True: nobody else accepts from this socket and nobody can
     * connect any more, so what waits in it is served before the end. */
    bool (*withdraw)(void *ctx);
    void *ctx;
};

enum fcgi_end {
    FCGI_END_SIGNAL, /* asked to stop; every thread has ended */
    FCGI_END_FATAL,  /* an answer asked for the end; every thread has ended */
    FCGI_END_CUT     /* some threads still hang on silent clients: end the process, free nothing */
};

/* Takes over the signals of this process and returns a descriptor that fcgi_run reads them from, -1
 * on error. Must come before the first thread, and before somebody can know that we listen. */
int fcgi_signals(struct err *err);

/* Blocks until the end. -1 when it could not start. */
int fcgi_run(const struct fcgi_opts *opts, enum fcgi_end *end, struct err *err);

#endif
