/*
 * job_report.h - tells the service what an upload staged: a signed image.staged event to the hook
 * of its source, in the generic form that every source takes.
 */
#ifndef SLIPWAY_JOB_REPORT_H
#define SLIPWAY_JOB_REPORT_H

#include "cgi/command/job.h"

/* Checks both before anything is built: the address (http or https, .../hooks/<name>, nothing
 * behind it) and the secret, which is read (file:PATH, env:NAME or credential:NAME). The event is
 * of the source in the address. */
struct job_hook {
    const char *url;
    const char *name;
    const char *secret;
};
int job_hook_read(const char *url, const char *secret_ref, struct arena *a, struct job_hook *out,
                  struct err *err);

/* Before anything is built: would the service take a report? ERR_PERM: it says no. One that cannot
 * be reached now may be there again by then. */
int job_hook_try(const struct job *j, const struct job_hook *hook, struct err *err);

/* Sends it, again and again for a minute where the trouble may pass. ERR_PERM with code 401 or 403:
 * the secret is not the one of that source. */
int job_hook_send(const struct job *j, const struct job_hook *hook, const struct event *staged,
                  struct err *err);

#endif
