/*
 * rollback.h - puts final tags back to what they showed before a task (promise P2: a new generation
 * that leaves the order where it is, so only what is strictly newer moves on).
 */
#ifndef SLIPWAY_ENGINE_ROLLBACK_H
#define SLIPWAY_ENGINE_ROLLBACK_H

#include "core/engine/engine.h"

enum rollback_state {
    ROLLBACK_WOULD, /* dry run: would go back */
    ROLLBACK_DONE,
    ROLLBACK_SAME,    /* shows the former digest already */
    ROLLBACK_MOVED,   /* something newer was published since: left, named */
    ROLLBACK_ABSENT,  /* there was no such tag before: it would have to be deleted; left, said */
    ROLLBACK_MISSING, /* the former manifest or some of its blobs are not in the registry any more
                       */
    ROLLBACK_FAILED,
    ROLLBACK__MAX
};

/* "would-revert", "reverted", "same", "moved", "absent", "missing", "failed" */
const char *rollback_state_name(enum rollback_state s);

struct rollback_row {
    enum rollback_state state;
    const char *target; /* host/name:tag */
    const char *from;   /* digest now, NULL: absent */
    const char *to;     /* digest before, NULL: absent */
    const char *reason;
};

struct rollback_result {
    struct rollback_row *at;
    size_t n;
    size_t cap;
    size_t count[ROLLBACK__MAX];
    int64_t task; /* the rollback's own, 0: none was made (dry run, nothing to do, or something is
                     missing) */
    enum task_state state; /* of that task; when it is not at its end yet, `work` goes on with it */
    bool temporary;        /* somebody could not be asked, or it goes on: later it may go well */
};

struct rollback_opts {
    int64_t task;     /* all final tags of this task, or only ref; 0: ref alone */
    const char *ref;  /* "host/name:tag": to what it showed before the task that moved it last; what
                         was put back already stays. NULL: task */
    const char *hold; /* reason: pins every tag that went back; NULL: no pin */
    bool dry_run;
};

/*
 * Looks first at everything (the manifest by digest, children of an index too, blobs by HEAD), and
 * moves all or nothing, through a journal of its own like any publication: what was moved since and
 * what did not exist before is left and named; when something is missing nothing moves. The move is
 * a task of the store, which the running `work` takes up; where there is none it runs here, under
 * the lock that says so. Returns at its end, or after some minutes. -1: err; ERR_PERM with code
 * ENOENT: there is no such task or target, or it moved nothing.
 */
int rollback_run(const struct engine *e, const struct rollback_opts *opts, struct arena *a,
                 struct rollback_result *out, struct err *err);

/* Runs the task that rollback_run made (EVENT_ROLLBACK); as publish_run. */
struct outcome rollback_task_run(const struct engine *e, struct task *t, const struct event *event,
                                 struct arena *a, bool *settled);

/* Lets the pins of `rollback --hold` go: of all final tags of a task, or (task 0) of one. *out
 * lists those that were pinned, as "host/name:tag: why". -1: as rollback_run. */
int rollback_release(const struct engine *e, int64_t task, const char *ref, struct arena *a,
                     struct str_list *out, struct err *err);

#endif
