/*
 * mirror_owner.h - whose is a tag that a mirror is about to write or take away? What a promotion
 * publishes, and what an operator pinned, is not a mirror's.
 */
#ifndef SLIPWAY_ENGINE_MIRROR_OWNER_H
#define SLIPWAY_ENGINE_MIRROR_OWNER_H

#include "core/store/store.h"

/* 0: nobody's, as far as the store knows. -1: ERR_PERM says whose it is; ERR_TEMP: it is just being
 * published, or the store could not be asked. Whoever writes the tag asks while it is locked. */
int mirror_check_owner(struct store *s, const char *host, const char *name, const char *tag,
                       struct arena *a, struct err *err);

#endif
