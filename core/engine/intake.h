/*
 * intake.h - from an event to a plan: completes the event, reads the image list at its commit, and
 * plans. Writes nothing.
 */
#ifndef SLIPWAY_INTAKE_H
#define SLIPWAY_INTAKE_H

#include "core/domain/event.h"
#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* The event is completed in place (ask_confirm). A broken image list is ERR_CONFIG, whose text
 * lists the findings with their places; what policy refuses is no error but in the plan. */
int intake_plan(const struct engine *e, struct event *event, struct arena *a, struct plan *plan,
                struct err *err);

#endif
