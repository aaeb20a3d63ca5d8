/*
 * job_build.h - a job's builds, with the log on standard error.
 */
#ifndef SLIPWAY_JOB_BUILD_H
#define SLIPWAY_JOB_BUILD_H

#include "cgi/command/job.h"

/* Builds what the plan wants built, from the working tree or, at another commit, from a checkout.
 * On failure *tail is the end of a log that has not been shown, or NULL. */
int job_build(struct job *j, struct built_list *out, const char **tail, struct err *err);

#endif
