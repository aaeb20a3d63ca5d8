/*
 * clean.h - removal of staged tags that are promoted and verified, or superseded by one that is
 * (promise P5). Never fails a publication: what cannot be removed is left, listed and tried again.
 */
#ifndef SLIPWAY_CLEAN_H
#define SLIPWAY_CLEAN_H

#include "core/engine/engine.h"

/* Removes what it can of the items (all of one store) and settles them in one commit. The caller
 * holds the locks of the final tags. A staged tag that was just seen to show its digest (seen_ms)
 * is not looked at again. */
int clean_run(const struct engine *e, struct cleanup *items, size_t n, struct arena *a,
              struct err *err);

/* The same for what is due by now; takes the locks itself, one at a time. */
int clean_due(const struct engine *e, struct arena *a, struct err *err);

#endif
