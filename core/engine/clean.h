/*
 * clean.h - removal of staged tags that are promoted and verified, or superseded by one that is
 * (promise P5). Never fails a publication: what cannot be removed is left, listed and tried again.
 */
#ifndef SLIPWAY_CLEAN_H
#define SLIPWAY_CLEAN_H

#include "core/engine/engine.h"

/* Removes what it can of the items (all of one store) and settles them in one commit. fresh: the
 * caller has just seen each tag show its digest. */
int clean_run(const struct engine *e, struct cleanup *items, size_t n, bool fresh, struct arena *a,
              struct err *err);

#endif
