/*
 * reporter.h - the thread of `work` that sends reports, so that a slow forge holds up no task.
 */
#ifndef SLIPWAY_REPORTER_H
#define SLIPWAY_REPORTER_H

#include "core/engine/engine.h"

struct reporter;

/* NULL when no thread could be started. */
struct reporter *reporter_start(const struct engine *e);
/* There may be something to send: looks soon. */
void reporter_poke(struct reporter *r);
/* Ends the thread and frees all. With `last` what is due is sent first; else, or when the engine is
 * to stop, what is under way is given up and stays in the store. NULL is fine. */
void reporter_end(struct reporter *r, bool last);

#endif
