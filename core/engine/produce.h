/*
 * produce.h - the flows that have to make or fetch something before they can publish: builds
 * (check), staged uploads (gate), direct uploads (post, tag, release), promotion through an
 * intermediate registry. In this order: what can be refused without work, builds, pushes by digest,
 * tags.
 */
#ifndef SLIPWAY_ENGINE_PRODUCE_H
#define SLIPWAY_ENGINE_PRODUCE_H

#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* Does the plan need any of that? */
bool produce_wants(const struct plan *plan);

/* Where the policy says `on_stale: rebuild` and what the gate recorded is of another tree than what
 * merged: turns the plan into one that builds. True: it did. */
bool produce_rebuilds(const struct engine *e, const struct event *event, struct plan *plan,
                      const struct policy_project *policy, struct arena *a);

/* As publish_run. */
struct outcome produce_run(const struct engine *e, struct task *t, const struct event *event,
                           struct plan *plan, const struct policy_project *policy, struct arena *a,
                           bool *settled);

#endif
