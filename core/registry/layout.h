/*
 * layout.h - OCI image layout (image-spec 1.1, image-layout.md): a directory with oci-layout,
 * index.json and blobs/<algorithm>/<hex>. What a builder leaves, and an offline way in and out.
 * What is read is checked digest by digest; what is written appears whole or not at all (temporary
 * file in the same folder, fsync, rename), index.json last and under a lock, so that several may
 * write at once.
 *
 * Only regular files below the directory are read: a symbolic link in it is refused. Thread-safe.
 */
#ifndef SLIPWAY_REGISTRY_LAYOUT_H
#define SLIPWAY_REGISTRY_LAYOUT_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/domain/manifest.h"

struct layout;

/* Opens a layout; with `create`, for writing: makes it where the path is absent or an empty
 * directory, and removes the temporary files of writers that are gone. ERR_CONFIG says what is
 * wrong with it: no layout, unknown version, not a directory. */
struct layout *layout_open(const char *path, bool create, struct err *err);
/* For a dry run: opens what is there, and takes what `create` would make as there and empty. */
struct layout *layout_suppose(const char *path, struct err *err);
void layout_close(struct layout *l);
const char *layout_path(const struct layout *l);

/* The root that ref_name names (layout_index_root says how); NULL: the only one. A digest names
 * any manifest that is there, also a child of a root. ERR_PERM lists the names that are there;
 * *absent: ref_name is given and not there. */
int layout_root(struct layout *l, const char *ref_name, struct arena *a, struct descriptor *out,
                bool *absent, struct err *err);

/* A manifest or other small blob by digest, digest checked. *absent: no such file. */
int layout_read(struct layout *l, const char *digest, size_t max, struct arena *a,
                const void **bytes, size_t *len, bool *absent, struct err *err);

/* Is a blob of that digest and size there? (its bytes are checked when they are read) */
bool layout_has(struct layout *l, const char *digest, int64_t size);

/* A blob for reading: a descriptor the caller closes; -1 with ERR_PERM, ENOENT when absent. */
int layout_open_blob(struct layout *l, const char *digest, int64_t size, struct err *err);

/* A blob for writing. The caller writes to fd and ends it with keep (fsync, rename) or drop; a keep
 * that fails leaves nothing behind either. */
struct layout_file {
    int fd;
    int folder; /* where both names are */
    char *temporary;
    char *final;
    char *shown; /* the final path, for messages */
};
int layout_create_blob(struct layout *l, const char *digest, struct layout_file *out,
                       struct err *err);
int layout_keep_blob(struct layout_file *f, struct err *err);
void layout_drop_blob(struct layout_file *f);

/* A whole small blob; nothing is done when it is there already, unharmed. */
int layout_write(struct layout *l, const char *digest, const void *bytes, size_t len,
                 struct err *err);

/* Makes the descriptor a root under ref_name (NULL: unnamed), in the place of the one that had that
 * name; the others stay. */
int layout_set_root(struct layout *l, const struct descriptor *root, const char *ref_name,
                    struct err *err);

/* All roots, in the order of index.json. */
int layout_roots(struct layout *l, struct arena *a, struct descriptors *out, struct err *err);

/* Names of all roots ("" for an unnamed one), for lists and messages. */
int layout_names(struct layout *l, struct arena *a, struct str_list *out, struct err *err);

#endif
