/*
 * job_list.h - the image list of the working tree, cut down to what one job by hand is about.
 */
#ifndef SLIPWAY_JOB_LIST_H
#define SLIPWAY_JOB_LIST_H

#include "cgi/command/job.h"

/* Reads and checks it. What is wrong has been said; the exit code. */
int job_list_read(struct job *j);

/* Keeps the jobs of j's kind under the pipelines of an event. Where the list has none there, the
 * whole list is taken, since that is what was asked for. */
void job_list_choose(struct job *j, enum event_kind kind);

#endif
