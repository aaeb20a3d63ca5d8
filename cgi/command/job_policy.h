/*
 * job_policy.h - which policy a job by hand is under: the operator's where a configuration and a
 * project are named, else the user's own credentials decide.
 */
#ifndef SLIPWAY_JOB_POLICY_H
#define SLIPWAY_JOB_POLICY_H

#include "cgi/command/job.h"

#define JOB_NO_INTERMEDIATE "intermediate.invalid" /* while nobody has said which one it is */

/* What the user's own credentials allow is allowed. */
int job_policy_allow_all(struct job *j, struct err *err);

/* The operator's entry in its place, or what the flags say. What is built is the caller's to say:
 * may_build is about what `work` does on its own. What is wrong has been said; the exit code. */
int job_policy_take(struct job *j);

void job_policy_free(struct job *j);

#endif
