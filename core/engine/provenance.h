/*
 * provenance.h - is what lies at a staged tag what the gate built for this change? The gate's own
 * record where there is one, the image's labels where there is none.
 */
#ifndef SLIPWAY_PROVENANCE_H
#define SLIPWAY_PROVENANCE_H

#include "core/engine/publishing.h"

/* Fills `recorded` of every flip from the change's staged row. Refuses a staged tag that another
 * project's open row owns, and a record of another tree than the merged commit's (policy
 * on_stale). A record of another patchset is ERR_TEMP with code ENOENT: the right one may come. */
int provenance_recorded(struct publishing *p, struct err *err);

/* The record of the event's change where the gate left one of this patchset and tree; *row NULL:
 * there is none. Errors as above. */
int provenance_row(const struct engine *e, const struct event *event,
                   const struct policy_project *policy, struct arena *a, const struct staged **row,
                   struct err *err);

/* Once the bytes are at hand: labels of unrecorded images must not name another change, and
 * immutable tags must not move. For stale tags it fills `ours`. */
int provenance_check(struct publishing *p, struct err *err);

#endif
