/*
 * stopping.h - SIGINT, SIGTERM and SIGHUP of a command that cleans up behind itself: the first one
 * asks it to end, the second one ends it.
 */
#ifndef SLIPWAY_STOPPING_H
#define SLIPWAY_STOPPING_H

#include "core/base/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct stopping {
    atomic_bool stop; /* for struct engine */
    sigset_t signals;
    pthread_t thread;
    bool has_thread;
};

/* Before any other thread starts, since all inherit what is blocked. */
void stopping_begin(struct stopping *s);
void stopping_end(struct stopping *s);

#endif
