/*
 * stage.h - the end of a gate's upload: the staged tags are written and what they show is recorded,
 * so that a promotion takes these digests and no others (promise P4).
 */
#ifndef SLIPWAY_ENGINE_STAGE_H
#define SLIPWAY_ENGINE_STAGE_H

#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* The event that says what a complete run staged (image.staged): images from the plan's tags, each
 * with its prepared digest. run_id: of the run. */
struct event stage_event(const struct event *of, const struct plan *plan, const char *run_id,
                         const char *tree, int64_t now_s, struct arena *a);

/*
 * Writes every tag of a staging plan (all are prepared), reads them back, and records them where
 * the engine has a store. A tag that another project's open record owns is refused before the first
 * is written. What was written by a run that then fails is taken away again where the registry has
 * a safe way.
 */
int stage_run(const struct engine *e, const struct task *t, const struct event *event,
              const struct plan *plan, struct arena *a, struct err *err);

#endif
