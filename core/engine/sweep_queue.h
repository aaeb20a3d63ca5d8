/*
 * sweep_queue.h - which repositories are due for a sweep: those that were just published to, each
 * at most once an hour, and not before the worker has been quiet for some seconds (or busy for
 * minutes). In memory only: what a restart forgets comes back with the next publication, and
 * `slipway gc` needs none of it. Not thread-safe: the worker holds its mutex.
 */
#ifndef SLIPWAY_ENGINE_SWEEP_QUEUE_H
#define SLIPWAY_ENGINE_SWEEP_QUEUE_H

#include "core/base/base.h"

struct sweep_queue;

struct sweep_queue *sweep_queue_new(void);
void sweep_queue_free(struct sweep_queue *q);

/* Times are milliseconds, monotonic. */
void sweep_queue_add(struct sweep_queue *q, const char *repository, int64_t now_ms);
/* The one that waits longest, if it is due: it counts as swept now, and the caller frees the name.
 * `quiet_ms`: for how long the worker has had no task in hand; 0: it has one. */
char *sweep_queue_take(struct sweep_queue *q, int64_t quiet_ms, int64_t now_ms);

#endif
