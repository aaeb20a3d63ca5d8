/*
 * run.h - one task from its event to its end: confirm, read, plan, publish, settle.
 */
#ifndef SLIPWAY_RUN_H
#define SLIPWAY_RUN_H

#include "core/engine/engine.h"

/* Runs a queued, waiting or failed task, or one that is not stored yet (id 0). The store knows the
 * outcome when this returns true; false: it could not be told, the task or its delivery is found
 * again. Everything lives in the arena. */
bool run_task(const struct engine *e, struct task *t, struct arena *a);

/* Finishes or undoes what a crash or temporary trouble left half done. */
bool run_resume(const struct engine *e, struct task *t, struct arena *a);

#endif
