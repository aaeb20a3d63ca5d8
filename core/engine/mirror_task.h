/*
 * mirror_task.h - mirroring as work of the queue: what a plan asks for after a merge or a tag, and
 * what the operator's `mirrors` ask for by the clock.
 */
#ifndef SLIPWAY_ENGINE_MIRROR_TASK_H
#define SLIPWAY_ENGINE_MIRROR_TASK_H

#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* The name of the pipeline of a task that only mirrors: what a plan wants besides its tags runs as
 * a task of its own, so that a slow or broken source holds up no publication. */
#define MIRROR_PIPELINE "mirror"

/* Mirrors what the plan asks for: temporary failures are tried again, others end as dead. */
struct outcome mirror_task_run(const struct engine *e, const struct task *t,
                               const struct plan *plan, const struct policy_project *policy,
                               struct arena *a);
/* Queues the same for later, as a task of its own. */
int mirror_task_queue(const struct engine *e, const struct task *t, struct arena *a,
                      struct err *err);

/* An entry of `mirrors` that is due (EVENT_TIMER). */
struct outcome mirror_timer_run(const struct engine *e, const struct task *t, const char *name,
                                struct arena *a);
/* Queues every entry that is due at that time: each span of its `every` gets one task, also over
 * restarts, and none while the last one is not at its end. spans: one number an entry, kept by the
 * caller and zero at first. */
void mirror_timer_queue(const struct engine *e, int64_t *spans, int64_t now_ms);

#endif
