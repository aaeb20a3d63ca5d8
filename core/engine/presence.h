/*
 * presence.h - is an image still whole in its registry? Its manifest, those below it, every blob:
 * asked, not fetched.
 */
#ifndef SLIPWAY_ENGINE_PRESENCE_H
#define SLIPWAY_ENGINE_PRESENCE_H

#include "core/base/strset.h"
#include "core/engine/engine.h"

/* Several looks that have much in common: what is known to be there is not asked for again. */
struct presence_search {
    struct registry *registry;
    struct registry_access access;
    struct arena *arena;
    struct strset seen; /* starts empty */
};

struct presence {
    const char *digest;     /* what ref shows; NULL: nothing */
    const char *media_type; /* of it, with its bytes */
    const void *bytes;
    size_t len;
    const char *missing; /* NULL: all of it is there; else "manifest sha256:..." or "blob ..." */
};

/* ref: a tag or a digest. -1: could not ask. */
int presence_find(struct presence_search *s, const char *host, const char *name, const char *ref,
                  struct presence *out, struct err *err);

/* The same for one image, with patience. */
int presence_look(const struct engine *e, const char *host, const char *name, const char *ref,
                  struct arena *a, struct presence *out, struct err *err);

#endif
