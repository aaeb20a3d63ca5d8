/*
 * report.h - what is said to the forge about a commit: a status it can gate on, and where the forge
 * has no statuses a review. At least once: kept in the store until the forge took it. A newer
 * report of the same commit and context replaces one that was not sent yet.
 */
#ifndef SLIPWAY_ENGINE_REPORT_H
#define SLIPWAY_ENGINE_REPORT_H

#include "core/domain/event.h"
#include "core/engine/engine.h"

enum report_state { REPORT_PENDING, REPORT_SUCCESS, REPORT_FAILURE };

struct report {
    enum report_state state;
    const char *pipeline; /* "check": the context is "slipway/check" */
    const char *summary;  /* one line */
    const char *body;     /* more (the end of a build's log), NULL */
};

/* Keeps a report about the event's change or commit; sent by report_send_due. Where the event's
 * forge takes no reports (plain git, no credentials, `report: false`) nothing is kept. */
void report_queue(const struct engine *e, const struct event *event, int64_t task,
                  const struct report *r);

/* Sends what is due; what fails is tried again with back-off for a day, then dropped with a log
 * line. Called by the worker's loop in a thread of its own. Returns when the next one is due (ms
 * since 1970, INT64_MAX: none). */
int64_t report_send_due(const struct engine *e);

#endif
