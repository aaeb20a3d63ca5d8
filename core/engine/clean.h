/*
 * clean.h - removal of staged tags that are promoted and verified, or superseded by one that is
 * (promise P5). Never fails a publication: what cannot be removed is left, listed and tried again.
 */
#ifndef SLIPWAY_CLEAN_H
#define SLIPWAY_CLEAN_H

#include "core/engine/engine.h"

/* Removes what it can of the items (all of one store) and settles them in one commit. The caller
 * holds the locks of the final tags, and saw each staged tag show its digest; until fresh_until
 * (milliseconds, monotonic) that is taken for true without another look. */
int clean_run(const struct engine *e, struct cleanup *items, size_t n, int64_t fresh_until,
              struct arena *a, struct err *err);

/* The same for what is due by now; takes the locks itself, one at a time. */
int clean_due(const struct engine *e, struct arena *a, struct err *err);

#endif
