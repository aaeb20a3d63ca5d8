/*
 * deliver.h - what a stored delivery means for the store: tasks, a record of what a gate staged, a
 * deleted ref, or nothing and why. Asks nobody, so a parser's bug loses nothing: the delivery is
 * kept and can be taken up again.
 */
#ifndef SLIPWAY_DELIVER_H
#define SLIPWAY_DELIVER_H

#include "core/domain/event.h"
#include "core/engine/engine.h"

struct delivered {
    enum delivery_verdict verdict; /* DELIVERY_TAKEN: see tasks; else final, see reason */
    const char *reason;
    struct task_list tasks;    /* not stored yet; one for each event that starts a pipeline */
    struct event_list events;  /* the event of each task, in the same order */
    struct event_list staged;  /* what gates recorded */
    struct event_list deleted; /* refs that are gone */
};

void deliver_sort(const struct engine *e, const struct delivery *d, struct arena *a,
                  struct delivered *out);

/* Fills a task from an event: pipeline, lane, key, ref, order. */
void deliver_task(const struct event *event, int64_t delivery, int64_t received_at, struct arena *a,
                  struct task *out);

#endif
