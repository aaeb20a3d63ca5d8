/*
 * blob.h - blobs: is it there, mount it, stream it. A blob travels GET -> hash -> PUT through a
 * small ring, over HTTP/1.1, without temporary files; its last byte is not handed on before its
 * size and digest are known to be right, so wrong bytes never become a blob anywhere.
 */
#ifndef SLIPWAY_REGISTRY_BLOB_H
#define SLIPWAY_REGISTRY_BLOB_H

#include "core/domain/manifest.h"
#include "core/registry/layout.h"
#include "core/registry/registry.h"

/* Where images live: a repository of a registry, or an OCI layout. */
struct endpoint {
    struct registry *registry; /* with host, name and access; NULL: a layout */
    const char *host;
    const char *name;
    struct registry_access access;
    struct layout *layout;
};

/* What came of a blob. */
enum blob_way {
    BLOB_THERE,   /* the target had it */
    BLOB_MOUNTED, /* taken over from another repository of the registry: no byte moved */
    BLOB_MOVED    /* streamed */
};

/* Called as bytes move, from any thread, often: `bytes` more of this blob have reached the target
 * (negative: a failed attempt is begun anew). */
struct blob_progress {
    void (*moved)(void *user, int64_t bytes);
    void *user;
};

enum blob_sight {
    BLOB_ABSENT,
    BLOB_SEEN,
    BLOB_UNSURE /* the registry named an address for it, which answers GET alone */
};

/* Are they there (HEAD, size checked; a layout: file of that size)? All are asked at once. out: n
 * of them. -1: one could not be asked, and nothing is known of any. */
int blobs_look(const struct endpoint *at, const struct descriptor *const *blobs, size_t n,
               struct arena *a, enum blob_sight *out, struct err *err);
/* One of them; what is unsure is not there: pushing it again loses nothing. */
int blob_exists(const struct endpoint *at, const struct descriptor *blob, struct arena *a,
                bool *there, struct err *err);

/*
 * Brings a blob from one endpoint to another. Tries, in this order: is it there (not asked when
 * known_absent), a mount from `from` when both are repositories of one registry, a stream. A
 * stream is one POST and one PUT of known length; where the registry refuses that for its size
 * (413, 416), or its conf names a chunk size, or it says OCI-Chunk-Min-Length, PATCH by PATCH,
 * going on after 416 where its upload status says. A download that breaks is continued by Range
 * while the upload stays open. Redirects of the download are followed without credentials (at most
 * LIMIT_REDIRECTS). Patient (struct registry_access) whatever the endpoints say. An upload that
 * cannot be finished is cancelled.
 * Errors: ERR_PERM for wrong bytes ("wrong bytes": digest and size named), refusals and absent
 * blobs (code ENOENT); ERR_TEMP when out of patience. Thread-safe.
 */
int blob_copy(const struct endpoint *from, const struct endpoint *to, const struct descriptor *blob,
              bool known_absent, const struct blob_progress *progress, enum blob_way *way,
              struct err *err);

/* A blob of our own from memory (an empty config, a fallback index's parts). */
int blob_put(const struct endpoint *to, const void *bytes, size_t len, const char *digest,
             struct err *err);

/* A blob of bounded size in the arena, digest checked. */
int blob_read(const struct endpoint *from, const char *digest, size_t max, struct arena *a,
              const void **bytes, size_t *len, struct err *err);

#endif
