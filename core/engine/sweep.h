/*
 * sweep.h - looks through repositories for staged tags that were left behind, and removes those
 * that may go (promise P5; domain/sweep.h decides). What was done is a list. Safe beside
 * publications of this process (target_locks) and of another: a tag is removed only while it shows
 * the digest that was judged, no other digest is ever deleted, and what may go is needed by nobody
 * any more: promoted already, or of a change that can't be promoted. A gate that stages the tag
 * again meanwhile keeps it.
 */
#ifndef SLIPWAY_ENGINE_SWEEP_H
#define SLIPWAY_ENGINE_SWEEP_H

#include "core/engine/engine.h"

struct sweep_opts {
    int64_t older_than_s; /* instead of every sweep_after; 0: never by age, -1: sweep_after */
    const char *forge;    /* only tags that may be this forge's; NULL: all */
    const char *project;  /* likewise */
    const char *change;   /* only tags of this change; NULL: of all */
    bool is_closed;   /* and of that we know that it was closed without merging: nobody is asked */
    size_t max_asked; /* changes that forges are asked about; 0: no bound */
    bool dry_run;
};

enum sweep_state {
    SWEEP_REMOVED,
    SWEEP_WOULD_REMOVE, /* dry run */
    SWEEP_KEPT,
    SWEEP_LEFT,   /* it may go, but its registry has no safe way to remove it */
    SWEEP_FAILED, /* it may go, but the removal failed; or a repository could not be read */
    SWEEP__MAX
};

const char *sweep_state_name(enum sweep_state s); /* "removed", "would-remove", ... */

struct sweep_row {
    enum sweep_state state;
    const char *repository; /* "host/name" */
    const char *tag;        /* NULL: the repository as a whole */
    const char *digest;     /* NULL: not known */
    const char *change;     /* NULL: not known */
    const char *project;    /* "<forge>/<project>" when it is the only one that may own it */
    int64_t age_s;          /* -1: not looked for, or not known */
    const char *age_of;     /* "recorded", "pushed", "built" */
    const char *reason;
    bool unsure;    /* kept because somebody could not be asked */
    bool temporary; /* failed or unsure: it may pass */
};

struct sweep_result {
    struct sweep_row *at;
    size_t n;
    size_t cap;
    size_t count[SWEEP__MAX];
    bool temporary; /* some failures and doubts may pass, */
    bool permanent; /* and some not */
};

/* Is there an entry of the policy by which this repository is published to, and by the filters of
 * opts? */
bool sweep_concerns(const struct engine *e, const struct sweep_opts *opts, const char *repository);

/* Everything in the result lives in the arena. Never fails as a whole; ends early when the engine
 * is to stop. */
void sweep_run(const struct engine *e, const struct sweep_opts *opts,
               const struct str_list *repositories, struct arena *a, struct sweep_result *out);

/* What `work` does once a repository is due: sweeps it, and logs what was done. */
void sweep_after_promotion(const struct engine *e, const char *repository);

#endif
