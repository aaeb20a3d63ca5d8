/*
 * intake.h - from an event to a plan: asks the forge (or plain git) what the event leaves open,
 * reads the image list at the event's commit, and plans. Writes nothing.
 */
#ifndef SLIPWAY_INTAKE_H
#define SLIPWAY_INTAKE_H

#include "core/domain/event.h"
#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* Completes an event that came unsigned or partial; tags are peeled to commits. ERR_TEMP with code
 * EAGAIN: the event says merged, the forge does not yet. */
int intake_confirm(const struct engine *e, struct event *event, struct arena *a, struct err *err);

/* The image list at event->list_commit; *file is NULL when the repository has none there. A broken
 * one is ERR_CONFIG, whose text lists the findings with their places. */
int intake_list(const struct engine *e, const struct event *event, struct arena *a,
                const struct imagefile **file, struct err *err);

/* Confirms, reads and plans in one go. */
int intake_plan(const struct engine *e, struct event *event, struct arena *a, struct plan *plan,
                struct err *err);

/* The git tree of event->list_commit. */
int intake_tree(const struct engine *e, const struct event *event, struct arena *a,
                const char **tree, struct err *err);

/* How the commits of two keys of the event's project are related. ANCESTRY_NOT_ASKED where the
 * forge's own merge times tell already. */
int intake_ancestry(const struct engine *e, const struct event *event, const struct order_key *mine,
                    const struct order_key *applied, enum ancestry *out, struct err *err);

#endif
