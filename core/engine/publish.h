/*
 * publish.h - one plan's final tags, all or nothing (promises P2 to P5): resolve the sources to
 * bytes and digest, compare order, check signatures where the policy wants them, lock, journal,
 * flip, read back, clean.
 *
 * Nothing visible changes before the journal is on disk. After it, temporary trouble leaves the
 * journal open (the task fails and is resumed), permanent trouble restores what was there.
 */
#ifndef SLIPWAY_PUBLISH_H
#define SLIPWAY_PUBLISH_H

#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* Runs a plan with verdict PLAN_GO. The store has the outcome when this returns settled; else the
 * caller settles the task with it. *settled is also set when the event turned out a repeat. */
struct outcome publish_run(const struct engine *e, struct task *t, const struct event *event,
                           const struct plan *plan, const struct policy_project *policy,
                           struct arena *a, bool *settled);

/* Finishes or undoes the open journal of a stored task, as publish_run. */
struct outcome publish_resume(const struct engine *e, struct task *t, struct arena *a,
                              bool *settled);

#endif
