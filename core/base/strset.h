/*
 * strset.h - texts, each once, each with a pointer of the caller's. Everything lives in the arena
 * that is handed in, which has to be the same one for as long as the set is used; an empty set is
 * all zeros, and nothing needs to be freed. Not to be shared by threads without a lock.
 */
#ifndef SLIPWAY_STRSET_H
#define SLIPWAY_STRSET_H

#include "core/base/mem.h"

struct strset_entry;

struct strset {
    struct strset_entry **at;
    size_t cap;
    size_t n;
};

/* The place of this text's pointer; made in the arena, holding NULL, when it is not there. It stays
 * where it is for as long as the arena does. */
void **strset_at(struct strset *s, struct arena *a, const char *text);
/* The same; NULL when the text is not there. */
void **strset_find(const struct strset *s, const char *text);
/* The set's own copy of the text; NULL when it was there before. */
const char *strset_add(struct strset *s, struct arena *a, const char *text);

/* FNV-1a of a text: no defence against texts that were made to collide, which cost time alone. */
uint64_t strset_hash(const char *text);

#endif
