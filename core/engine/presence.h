/*
 * presence.h - is an image still whole in its registry? Its manifest, those below it, every blob:
 * asked, not fetched.
 */
#ifndef SLIPWAY_ENGINE_PRESENCE_H
#define SLIPWAY_ENGINE_PRESENCE_H

#include "core/engine/engine.h"

struct presence {
    const char *digest;  /* what ref shows; NULL: nothing */
    const char *missing; /* NULL: all of it is there; else "manifest sha256:..." or "blob ..." */
};

/* ref: a tag or a digest. -1: could not ask. */
int presence_look(const struct engine *e, const char *host, const char *name, const char *ref,
                  struct arena *a, struct presence *out, struct err *err);

#endif
