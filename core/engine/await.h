/*
 * await.h - a command waits for a task that it has put into the store: `work` runs it, or where
 * none is at work this process does, under the lock of `work`.
 */
#ifndef SLIPWAY_ENGINE_AWAIT_H
#define SLIPWAY_ENGINE_AWAIT_H

#include "core/engine/engine.h"

/* Is it at its end, so that nothing moves it on but an operator or a newer event? */
bool await_has_ended(const struct task *t);

/*
 * Waits until the task is at its end, waits for something to be staged, or timeout_ms is over (it
 * goes on then, with `work`); *t is how it was seen last. Where no `work` runs, journals that a
 * crash left open are finished first, since they may lock the task's targets.
 */
int await_task(const struct engine *e, int64_t id, int64_t timeout_ms, struct arena *a,
               struct task *t, struct err *err);

#endif
