/*
 * commit.h - group commit: callers on many threads share one transaction and so one sync of the
 * disk. The first becomes the leader: it passes the turnstile and runs what waits. When one of
 * them fails, all run once more, each under a savepoint of its own, so that it leaves the others
 * alone. Whoever comes meanwhile forms the next group.
 */
#ifndef SLIPWAY_STORE_COMMIT_H
#define SLIPWAY_STORE_COMMIT_H

#include "core/base/err.h"
#include "core/lib/sql.h"
#include "core/os/lock.h"

#include <pthread.h>
#include <stdatomic.h>

/* What runs inside a transaction. It may run on another thread than its caller's, which waits, and
 * it may run twice, the first time in vain. Its results count only once the commit succeeded: it
 * keeps them in ctx, and sets them whatever they were. */
typedef int commit_fn(struct sql *db, void *ctx, struct err *err);

struct commit_op;

struct commit {
    struct sql *db;
    struct turnstile gate;
    pthread_mutex_t use;   /* who uses db and gate */
    pthread_mutex_t queue; /* guards the members below */
    struct commit_op *head;
    struct commit_op **tail;
    size_t waiting;
    bool leading;
    atomic_llong proved_at; /* monotonic ms of the newest commit that changed something */
    atomic_llong groups;    /* commits so far */
};

void commit_init(struct commit *c, struct sql *db, struct turnstile gate);
void commit_release(struct commit *c); /* closes neither db nor gate */

/* Runs fn in a write transaction: 0 means that what it changed is on disk. Fails at once with
 * ERR_TEMP and code EIO once the store is broken. */
int commit_write(struct commit *c, commit_fn *fn, void *ctx, struct err *err);

/* Runs fn in a read transaction of its own. */
int commit_read(struct commit *c, commit_fn *fn, void *ctx, struct err *err);

/* Was something committed within the last so many milliseconds? */
bool commit_is_proved(const struct commit *c, int64_t within_ms);

#endif
