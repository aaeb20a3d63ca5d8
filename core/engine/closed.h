/*
 * closed.h - a change was closed without merging: what its gate staged goes at once (promise P5).
 */
#ifndef SLIPWAY_ENGINE_CLOSED_H
#define SLIPWAY_ENGINE_CLOSED_H

#include "core/domain/event.h"
#include "core/engine/engine.h"

/* The name of the pipeline of such a task. */
#define CLOSED_PIPELINE "clean-up"

/* Sweeps the change's staged tags out of every repository in which the project may have any: those
 * that the store knows, what a run left in an intermediate registry, and those that the change's
 * own image list names (where that cannot be read, the outcome says so). Whether it is closed the
 * forge is asked where it can be; else the event, which was signed, says so. */
struct outcome closed_run(const struct engine *e, const struct task *t, const struct event *event,
                          struct arena *a);

/* Was the task's change closed after what the task was made for? Then its staged tags would stay:
 * the clean-up has been. */
bool closed_since(const struct engine *e, const struct task *t);

#endif
