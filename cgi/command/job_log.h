/*
 * job_log.h - a build's log as it comes, made safe for a terminal: whoever wrote the container file
 * decides what is in it.
 */
#ifndef SLIPWAY_JOB_LOG_H
#define SLIPWAY_JOB_LOG_H

#include "core/base/base.h"

struct job_log {
    FILE *out;
    bool quiet; /* show nothing */
    bool shown; /* something was shown */
    bool open;  /* the last line has no end yet */
};

/* A struct build_watch's log; user is a struct job_log. */
void job_log_show(void *user, const char *text, size_t len);
/* Ends the last line. */
void job_log_end(struct job_log *log);

#endif
