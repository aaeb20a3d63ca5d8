/*
 * mirror_make.h - makes the target of a mirror where its registry wants that before the first push
 * and the list says how (`visibility`): at Quay a push alone makes a private repository.
 */
#ifndef SLIPWAY_ENGINE_MIRROR_MAKE_H
#define SLIPWAY_ENGINE_MIRROR_MAKE_H

#include "core/domain/mirror.h"
#include "core/registry/registry.h"

/* Nothing is done to a repository that is there. -1: could not ask, or the registry refused.
 * until: as in struct registry_access. */
int mirror_make(struct registry *r, struct arena *a, const struct imagefile_mirror *item,
                const struct mirror_target *t, int64_t until, struct err *err);

#endif
