/*
 * zuul.h - asks Zuul which build staged images for an event's change (domain/zuul_builds.h). Only
 * the operator's addresses are ever called.
 */
#ifndef SLIPWAY_ENGINE_ZUUL_H
#define SLIPWAY_ENGINE_ZUUL_H

#include "core/domain/imagefile.h"
#include "core/domain/zuul_builds.h"
#include "core/engine/engine.h"

/* The build that promote_container_image_* of vars mean for this event. ERR_TEMP with code EAGAIN:
 * Zuul has no such build yet (the merge's webhook may beat Zuul's own report). ERR_PERM: an
 * artifact lies at a host that the operator's entry does not name. */
int zuul_ask(const struct engine *e, const struct event *event, const struct imagefile_vars *vars,
             struct arena *a, struct zuul_build *out, struct err *err);

#endif
