/*
 * err.h - the one error type. The caller owns it, usually on its stack; it allocates nothing.
 *
 * A function that can fail takes `struct err *` last and returns 0 or -1 (or a pointer or NULL).
 * It fills the error only when it fails. The kind says what the caller does; nothing else may
 * decide on it. Callers add context on the way up with err_wrap.
 */
#ifndef SLIPWAY_ERR_H
#define SLIPWAY_ERR_H

#include "core/base/base.h"

enum err_kind {
    ERR_NONE,
    ERR_TEMP,   /* try again later: the network, a busy registry, a full disk */
    ERR_PERM,   /* give up: refused, gone, impossible */
    ERR_INPUT,  /* tell the sender: what it sent is malformed */
    ERR_CONFIG, /* tell the operator or the repository's owner: what they wrote is wrong */
    ERR_BUG,    /* an invariant of ours is broken */
    ERR__MAX
};

struct err {
    enum err_kind kind;
    int code;            /* the module's own: an errno, an HTTP status, or 0 */
    int64_t retry_after; /* seconds that the other side asked us to wait; 0: it did not say */
    char text[1024];     /* one line for people, no newline, never a secret */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

/* Sets the error and returns -1, so that a failure is one line. e may be NULL. */
int err_set(struct err *e, enum err_kind kind, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Sets the error from an errno value: "<text>: <strerror>". ENOSPC, EAGAIN, EINTR, ENOMEM, EMFILE,
 * EIO, ETIMEDOUT, ECONNREFUSED and the like are ERR_TEMP, the others `kind`. Returns -1. */
int err_errno(struct err *e, enum err_kind kind, int errnum, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Puts "<text>: " before the present text, keeps kind and code. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "temporary", "permanent", "input", "configuration", "bug", "none". */
const char *err_kind_name(enum err_kind kind);

#endif
