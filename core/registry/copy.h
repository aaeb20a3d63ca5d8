/*
 * copy.h - brings whole images from one endpoint to another, byte for byte: manifests verbatim,
 * indexes with all their children, digests never change, signatures and referrers go along. Blobs
 * before manifests, children by digest before their index, the tags last and only when everything
 * they need is there: no partial tag is ever visible, and a copy that was cut short goes on where
 * it stopped, since what the target has is not copied again.
 */
#ifndef SLIPWAY_REGISTRY_COPY_H
#define SLIPWAY_REGISTRY_COPY_H

#include "core/registry/blob.h"

#include <stdatomic.h>

/* One image on its way. */
struct copy {
    struct endpoint from;
    const char *from_ref; /* tag or digest; a layout: ref name, digest, or NULL for the only root */
    const char *expected; /* the digest that from_ref must show, NULL: whatever it shows */
    struct endpoint to;
    struct str_list to_tags;   /* tags (a layout: ref names); none: by digest only */
    struct str_list platforms; /* "linux/amd64": of an index copy only these children ("linux/arm64"
                                  takes every variant). The index itself travels verbatim, so its
                                  digest stays. Empty: all */
    bool no_companions;        /* leave signatures, attestations and referrers */
    bool companions_of_same;   /* look at them also when every tag is as it should be: costs some
                                  requests (a mirror that finds nothing to do wants none) */
    bool check_below_same;     /* ask also for the children of an index that every tag shows: some
                                  registries take one of which children are missing. A layout is
                                  always looked into, which costs nothing */
    bool dry_run;              /* look and count, write nothing */

    /* out */
    bool failed;
    bool absent; /* failed, since the source has no such tag or digest */
    bool same;   /* every tag showed the digest already: nothing was done beyond that look
                    (companions are looked at unless no_companions) */
    struct err err;
    const char *digest; /* of the root, in the arena */
    const char *media_type;
    int64_t bytes_total; /* of all blobs of the image */
    int64_t bytes_moved; /* streamed */
    size_t blobs, blobs_moved, blobs_mounted;
    size_t manifests_put;  /* tags included */
    size_t companions;     /* signatures, attestations and referrers that are at the target now */
    struct str_list notes; /* for people: what was left out and why (non-distributable layers) */
};

/* What moves, for progress bars; called from several threads under a lock of the engine. Of *c only
 * what the caller wrote may be read before it has ended. */
struct copy_watch {
    /* As far as is known, so much of it is moved or to be moved: called again whenever more becomes
     * known, and with less when a blob turns out to be there or is mounted. */
    void (*planned)(void *user, const struct copy *c, int64_t bytes, size_t blobs);
    /* So much more has been moved (negative: an attempt is begun anew). */
    void (*moved)(void *user, const struct copy *c, int64_t bytes);
    void (*ended)(void *user, const struct copy *c);
    void *user;
};

struct copy_opts {
    size_t images;                  /* at once; 0: LIMIT_COPY_IMAGES */
    const struct copy_watch *watch; /* NULL: nobody watches */
    const atomic_bool *stop;        /* NULL, or becomes true: begin nothing new */
    int64_t until; /* clock_monotonic_ms: all of them together end then: what is under way is cut
                      off, uploads are cancelled, and what is not done fails with ERR_TEMP and
                      ETIMEDOUT. 0: LIMIT_COPY_S from now on */
};

/*
 * Performs n copies, several images and several blobs at once: at most conf.transfers blobs of a
 * host, each blob of a target repository once however many images share it. The tags of one copy
 * are written at once after everything below them; each is read back (lag is tolerated). Results
 * in each item; strings in the arena. Returns how many failed; one failure stops no other.
 *
 * Same digest at every tag already: one HEAD of each tag, then one HEAD of the source.
 * Companions: cosign's tags sha256-<hex>.sig, .att and .sbom of the root and of each child that is
 * copied, and everything that refers to them by `subject`, by the referrers API or the fallback
 * tag, and the companions of these; pushed before the tags. Where the target has no API the
 * fallback index is maintained. A layout holds the former as roots of that name, the latter as
 * nameless roots.
 * Layers that may not be copied freely (nondistributable media types, `urls`) stay where they are.
 * Entries of an index that are neither images nor indexes (build caches) are copied as blobs.
 */
size_t copy_all(struct arena *a, struct copy *copies, size_t n, const struct copy_opts *opts);

#endif
