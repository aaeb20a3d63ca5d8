/*
 * job_publish.h - how final tags are written by hand: through the service's store, where this
 * machine has one that the user may write, else beside it, "unfenced", with a store of its own.
 */
#ifndef SLIPWAY_JOB_PUBLISH_H
#define SLIPWAY_JOB_PUBLISH_H

#include "cgi/command/job.h"

/* Publishes an open job's plan, whose built images are prepared, and prints what became of it;
 * returns the exit code. */
int job_publish_unfenced(struct job *j);

/* Is there a store that this user may write, and a project whose policy applies? */
bool job_has_store(const struct settings *s, const struct job_flags *f);

struct job_order {
    const struct command *cmd;
    const struct settings *settings;
    const struct job_flags *flags;
    const struct event *event;
    const atomic_bool *stop; /* of who has its signals already; NULL: nobody has */
    bool looks_first;        /* at what was staged and published: is it still there? */
};

/* Puts an event into the store as its webhook would, waits for `work` or runs it, and prints what
 * became of it. What the store has had already is run again. Returns the exit code. */
int job_through_store(const struct job_order *order, struct arena *a);

#endif
