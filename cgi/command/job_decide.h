/*
 * job_decide.h - what a plan means for a job by hand, before anything is done.
 */
#ifndef SLIPWAY_JOB_DECIDE_H
#define SLIPWAY_JOB_DECIDE_H

#include "cgi/command/job.h"

/* Is it over with the plan: a dry run, a refusal, nothing to do? Then all has been said. */
bool job_is_decided(struct job *j, int *code);

/* Prints a plan, as text or JSON; the exit code of a dry run. */
int job_show_plan(const struct plan *plan, const struct event *event, const struct job_flags *f,
                  struct arena *a);

#endif
