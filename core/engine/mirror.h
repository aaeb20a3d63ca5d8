/*
 * mirror.h - runs a mirror list: finds the tags, copies what differs, several images at once, takes
 * away what the source no longer has where that is asked for, and goes on after a failure. What was
 * done is a list. Idempotent: running it again does what is left.
 */
#ifndef SLIPWAY_ENGINE_MIRROR_H
#define SLIPWAY_ENGINE_MIRROR_H

#include "core/domain/mirror.h"
#include "core/engine/engine.h"
#include "core/registry/copy.h"

/* One entry of the operator's `mirrors`: a list that is run by the clock. */
struct mirror_conf {
    const char *name;
    int64_t every_s;
    int64_t timeout_s; /* of one run; 0: LIMIT_COPY_S */
    struct imagefile_mirrors items;
    bool prune;       /* of every item that has src_tags */
    int64_t rate_min; /* leave a source alone that says it has fewer requests left; 0: never */
};

struct mirror_confs {
    struct mirror_conf *at;
    size_t n;
    size_t cap;
};

struct mirror_opts {
    struct registry *registry;
    struct mirror_rules rules;
    struct store *store;        /* NULL: unfenced, nobody else's tags are known */
    struct target_locks *locks; /* NULL: unfenced */
    bool prune;                 /* besides the items that say so themselves */
    bool may_prune;             /* else items that say so only list what would go */
    bool dry_run;
    int64_t rate_min;
    const struct copy_watch *watch; /* NULL: nobody watches */
    const atomic_bool *stop;        /* NULL */
    int64_t timeout_s;              /* of the whole run; 0: LIMIT_COPY_S */
};

enum mirror_state {
    MIRROR_SAME,
    MIRROR_COPIED,
    MIRROR_WOULD_COPY, /* dry run */
    MIRROR_PRUNED,
    MIRROR_WOULD_PRUNE, /* dry run, or pruning was not allowed */
    MIRROR_LEFT,        /* could not be pruned by a safe way: the registry has none */
    MIRROR_FAILED,
    MIRROR__MAX
};

const char *mirror_state_name(enum mirror_state s); /* "same", "copied", "would-copy", ... */

struct mirror_row {
    enum mirror_state state;
    const char *source; /* full reference; NULL for a pruned tag */
    const char *target; /* full reference */
    const char *digest; /* NULL when not known */
    int64_t bytes_moved;
    bool temporary;     /* failed, and may go well later */
    const char *reason; /* failed or left: why */
    bool watched;       /* a copy was tried: whoever watches has been told of its end */
};

struct mirror_result {
    struct mirror_row *at;
    size_t n;
    size_t cap;
    size_t count[MIRROR__MAX];
    bool temporary; /* some of the failures may pass */
};

/* Everything lives in the arena. Never fails as a whole: what went wrong is in the rows. */
void mirror_run(const struct mirror_opts *opts, const struct mirror_entries *entries,
                struct arena *a, struct mirror_result *out);

/* "3 copied, 197 same", and the first failures. */
const char *mirror_summary(const struct mirror_result *r, struct arena *a);

#endif
