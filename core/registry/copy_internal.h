/*
 * copy_internal.h - what the files of the copy engine share. copy.c: the order of one copy and the
 * threads over many; copy_walk.c: everything below a manifest; copy_pool.c: blobs, each once, some
 * at a time; copy_companions.c: signatures and referrers, which copy_find.c finds; copy_place.c:
 * manifests of either kind of endpoint.
 */
#ifndef SLIPWAY_REGISTRY_COPY_INTERNAL_H
#define SLIPWAY_REGISTRY_COPY_INTERNAL_H

#include "core/base/limits.h"
#include "core/base/strset.h"
#include "core/registry/copy.h"
#include "core/registry/referrers.h"

#include <pthread.h>

/* --- state --------------------------------------------------------------------------------------
 */

/* How many blobs of a host (or a layout) are moved now. */
struct slot {
    size_t busy;
    size_t limit;
    bool no_mounts; /* it was asked to mount and did not: ask whether a blob is there instead */
};

/* What is known of a source repository. */
struct source {
    pthread_mutex_t lock; /* held while it is listed */
    struct arena arena;
    bool asked;
    bool listed;        /* else every tag is tried */
    struct strset tags; /* those that stand for a digest */
    struct source *next;
};

enum { SUBJECT_LOCKS = 16 };

struct job;

struct engine {
    const struct copy_opts *opts;
    int64_t until; /* clock_monotonic_ms */
    size_t n;
    struct image *images;

    pthread_mutex_t lock; /* guards all below, but what has a lock of its own */
    pthread_cond_t work;  /* the pool: a blob is to be moved, or the end has come */
    pthread_cond_t done;  /* the images: a blob has been moved, or a place has become free */
    struct arena arena;
    size_t next;    /* the first image that nobody has taken */
    size_t working; /* images that are more than looked at */
    struct strset jobs;
    struct job *first;
    struct job **last;
    size_t queued;
    size_t idle;
    size_t threads_n;
    pthread_t threads[LIMIT_COPY_THREADS];
    bool closing;
    struct strset slots;
    struct strset sources;
    struct source *source_list;
    struct strset hosts; /* enum referrers_api of each, kept in the pointer */

    pthread_mutex_t watch_lock; /* taken last */
    struct arena *out;          /* the caller's; guarded by watch_lock */
    /* A fallback index is completed by one of us at a time. */
    pthread_mutex_t subjects[SUBJECT_LOCKS];
};

/* One copy on its way. */
struct image {
    struct engine *e;
    struct copy *c;
    struct endpoint from, to; /* entered the way a copy wants it */
    bool same_host;           /* two repositories of one registry */
    bool same_repo;
    bool ask_first;      /* ask the target for manifests before they are fetched */
    bool holds_place;    /* counted in engine.working */
    struct arena arena;  /* for as long as the copy runs */
    struct strset blobs; /* those that are counted */
    size_t manifests;    /* looked at, bounded by LIMIT_DESCRIPTORS */
    int64_t plan_bytes;  /* what the watch was told, or is to be told */
    size_t plan_blobs;
    struct registry_op root; /* GET: bytes, digest, media type */
    bool root_there;         /* the target has it by digest */
    struct strset whole;     /* indexes that were gone through to the end */
    bool look_below;         /* the root is an index that the target may hold in part */
    size_t left_out;         /* children of other platforms */
    size_t stays;            /* layers that may not be copied */
    struct str_list notes;   /* in the arena above */
};

/* Keeps a remark for people, each once. */
void image_note(struct image *im, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Has the caller asked to begin nothing new, or is the time over? -1: yes, with ERR_TEMP and
 * ECANCELED or ETIMEDOUT. */
int image_stopped(const struct image *im, struct err *err);
/* What it means that the target did not take one of these manifests; 0 when it took all. */
int image_refused(const struct image *im, const struct registry_op *ops, size_t n, struct err *err);
/* Puts the root by digest unless it is there. */
int image_put_root(struct image *im, struct err *err);

/* --- copy_place.c -------------------------------------------------------------------------------
 */

/* registry_all for either kind of endpoint: host, name and access are filled in. In a layout `ref`
 * is a ref name, a digest or NULL for the only root (PUT: a nameless one); where a GET or HEAD by
 * digest names the media type it is taken for that. Returns how many failed. */
size_t place_all(const struct endpoint *at, struct arena *a, struct registry_op *ops, size_t n);
/* "host/name:tag", "host/name@digest" or "layout PATH: ref". */
const char *place_what(const struct endpoint *at, const char *ref, struct arena *a);
/* The endpoint's host or layout, or its repository, as a key. */
const char *place_host(const struct endpoint *at, struct arena *a);
const char *place_key(const struct endpoint *at, struct arena *a);
/* The first failure among ops. */
int place_failed(const struct registry_op *ops, size_t n, struct err *err);

/* --- copy_pool.c --------------------------------------------------------------------------------
 */

/* A blob that an image waits for. */
struct ticket {
    struct job *job;
    bool first; /* the image's first for this blob: counts */
    bool retried;
    bool settled;
    bool mine; /* moved for this image */
};

struct tickets {
    struct ticket *at;
    size_t n;
    size_t cap;
};

/* Asks for a blob at the image's target. The descriptor may go afterwards. */
void pool_want(struct image *im, const struct descriptor *blob, struct arena *a,
               struct tickets *tickets);
/* Waits until all are there. After a failure nothing more is begun for this image alone. */
int pool_wait(struct image *im, struct tickets *tickets, struct err *err);
/* The image has failed otherwise: begins nothing more for it alone, waits for what is under way. */
void pool_leave(struct image *im, struct tickets *tickets);
/* Ends the threads; no image waits any more. */
void pool_end(struct engine *e);

/* --- copy_walk.c --------------------------------------------------------------------------------
 */

/* How to go through what is below a manifest. */
struct walk {
    struct image *im;
    const struct str_list *platforms; /* NULL: all */
    struct str_list *digests; /* where the digests of children go, in the image's arena; NULL */
    bool ask_first;
};

/* Brings everything below the manifest to the target: blobs, children and what is below them, and
 * the children themselves by digest. `what` names it in messages. */
int walk_below(struct walk *w, const struct manifest *m, const char *what, struct err *err);
/* Is this the type of a manifest that can be copied? */
bool walk_knows(const char *type);
bool walk_is_index(const char *type);
/* Is an image (no index) for one of the platforms that are wanted? Its config says so. */
int walk_check_platform(struct image *im, const struct manifest *m, const char *what,
                        struct err *err);
/* Digests of the children alone, nothing asked. */
void walk_digests(struct walk *w, const struct manifest *m);
/* manifest_parse with the place in its messages, and the descriptor's size checked (< 0: not
 * known). */
int walk_parse(const struct endpoint *at, const struct registry_op *op, int64_t size,
               struct arena *a, struct manifest *out, struct err *err);

/* --- copy_find.c --------------------------------------------------------------------------------
 */

/* The tags at which cosign's images of these digests may be, in the arena. */
struct str_list find_tags(struct image *im, const struct str_list *digests, struct arena *a);
/* What refers to these digests, in an endpoint of the image. */
int find_referrers(struct image *im, const struct endpoint *at, struct arena *a,
                   struct referrers_ask *asks, size_t n, struct err *err);

/* --- copy_companions.c --------------------------------------------------------------------------
 */

/* Brings the companions of these digests, and theirs. */
int companions_copy(struct image *im, const struct str_list *digests, struct err *err);

#endif
