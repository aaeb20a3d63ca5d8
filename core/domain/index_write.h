/*
 * index_write.h - writing OCI indexes, for the modules of this folder that change one
 * (manifest.h: the fallback tag of referrers; layout_index.h: a layout's index.json).
 */
#ifndef SLIPWAY_INDEX_WRITE_H
#define SLIPWAY_INDEX_WRITE_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/lib/json.h"

/* The members of an index's entry but its platform and annotations, which the caller puts. */
struct js *index_entry(const char *media_type, const char *digest, int64_t size,
                       const char *artifact_type);

/*
 * The text of an index with `entry`, which is taken over, behind the entries of `present` (NULL:
 * none) for which keep says yes (NULL: all of them). Its other members stay. NULL with ERR_PERM:
 * more than LIMIT_DESCRIPTORS entries or LIMIT_MANIFEST bytes.
 */
const char *index_write(const struct js *present, bool (*keep)(const struct js *, const void *),
                        const void *user, struct js *entry, struct arena *a, struct err *err);

#endif
