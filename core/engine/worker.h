/*
 * worker.h - the loop of `work`: takes deliveries and due tasks from the store, keeps each lane to
 * one task at a time, runs them in threads, finishes what a crash left, and cleans up.
 */
#ifndef SLIPWAY_WORKER_H
#define SLIPWAY_WORKER_H

#include "core/engine/engine.h"

struct worker_opts {
    const struct engine *engine;
    size_t threads;         /* tasks at once: 1 to LIMIT_WORK_THREADS */
    int64_t keep_ignored_s; /* how long ignored deliveries are kept */
    bool until_idle;        /* return once nothing is left to do now */
};

/* Runs until the engine's `stop` is set and a wake-up sent; tasks under way are finished first. -1:
 * the store failed for good, or the wake-up socket could not be made. */
int worker_run(const struct worker_opts *opts, struct err *err);

#endif
