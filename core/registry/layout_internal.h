/*
 * layout_internal.h - what the two halves of a layout share: layout.c opens and reads, and
 * layout_write.c writes. Files are reached through descriptors of their folders, never through a
 * symbolic link; `shown` is a file's path below the layout, for messages.
 */
#ifndef SLIPWAY_REGISTRY_LAYOUT_INTERNAL_H
#define SLIPWAY_REGISTRY_LAYOUT_INTERNAL_H

#include "core/lib/crypt.h"
#include "core/registry/layout.h"

#define LAYOUT_BLOBS "blobs"
#define LAYOUT_TEMPORARY_END ".slipway-tmp"

struct layout {
    int fd;
    char *path;
};

/* Where a blob is: its folder opened, its file's name. -1 also for what is no digest, so that no
 * stranger's text ever becomes a path. */
struct layout_place {
    int folder;
    const char *name;
    char shown[sizeof LAYOUT_BLOBS + CRYPT_HASH_TEXT];
};

/* The place of this digest; with `create` its folders are made. The caller closes the folder. */
int layout_find(const struct layout *l, const char *digest, bool create, struct layout_place *out,
                struct err *err);

/* A whole file of bounded size; *absent when there is none (and then no error). */
int layout_read_small(const struct layout *l, int at, const char *name, const char *shown,
                      size_t max, struct arena *a, const void **bytes, size_t *len, bool *absent,
                      struct err *err);

/* --- layout_write.c ------------------------------------------------------------------------------
 */

/* The whole file in the place of the one that is there. Takes over the folder's descriptor. */
int layout_write_whole(const struct layout *l, int folder, const char *name, const char *shown,
                       const void *bytes, size_t len, struct err *err);

/* Removes the temporary files of writers that are gone. */
void layout_drop_leftovers(const struct layout *l);

/* A descriptor of the directory of its own. -1: errno. */
int layout_again(const struct layout *l);

/* One writer of the small files at a time, threads of this process included: a lock belongs to an
 * open file. Released by closing it. */
int layout_lock(const struct layout *l, struct err *err);

#endif
