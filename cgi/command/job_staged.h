/*
 * job_staged.h - what a gate left for a change, looked at before it is promoted from here.
 */
#ifndef SLIPWAY_JOB_STAGED_H
#define SLIPWAY_JOB_STAGED_H

#include "cgi/command/job.h"

/*
 * Is all that the plan takes from a gate there, manifests and blobs? A staged tag that is gone and
 * whose final tag shows an image of this very change (by its labels) was promoted already: it is
 * taken out of the plan, which may leave nothing to do. What --run-id left in an intermediate
 * registry is put into j->staged. False: what is missing has been said; *code.
 */
bool job_staged_look(struct job *j, int *code);

#endif
