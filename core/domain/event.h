/*
 * event.h - what a delivery means, in words that are the same for every forge. A pure value: all
 * strings belong to the arena they were made in; NULL means "not known" or "does not apply".
 */
#ifndef SLIPWAY_EVENT_H
#define SLIPWAY_EVENT_H

#include "core/base/err.h"
#include "core/base/mem.h"

enum event_kind {
    EVENT_OPENED, /* a change was proposed or has a new patchset */
    EVENT_GATED,  /* a change was approved for merging (merge queue, label) */
    EVENT_MERGED, /* a change has merged */
    EVENT_CLOSED, /* a change was closed or abandoned without merging */
    EVENT_BRANCH, /* a branch moved */
    EVENT_BRANCH_DELETED,
    EVENT_TAG, /* a git tag was made or moved */
    EVENT_TAG_DELETED,
    EVENT_STAGED,   /* a gate tells what one complete upload run staged (image.staged) */
    EVENT_TIMER,    /* an entry of the operator's `mirrors` is due: `project` is its name. Made by
                       the worker, never by a delivery */
    EVENT_ROLLBACK, /* an operator wants what a task moved to go back: `of_task`. Made
                       by `slipway rollback`, never by a delivery */
    EVENT__MAX
};

/* One staged image of an image.staged event. */
struct event_image {
    const char *repository; /* full name, registry first */
    const char *tag;        /* the staged tag */
    const char *digest;     /* "sha256:<64 hex>" */
};

struct event_images {
    struct event_image *at;
    size_t n;
    size_t cap;
};

struct event {
    enum event_kind kind;
    const char *forge;          /* name of the configured source */
    const char *project;        /* full name in the forge: "team/app" */
    const char *branch;         /* short: "main" */
    const char *tag;            /* short: "v1.2.3" */
    const char *change;         /* number of the change, pull or merge request */
    const char *patchset;       /* Gerrit: number; elsewhere the head's commit */
    const char *change_url;     /* for people and labels only: never called */
    const char *order_commit;   /* what ancestry is asked about: the change's own merged revision */
    const char *list_commit;    /* whose image list is read */
    const char *staged_commit;  /* what the gate built */
    const char *tree;           /* EVENT_STAGED: the git tree that was built */
    const char *run_id;         /* EVENT_STAGED: identifies the upload run */
    const char *default_branch; /* when the payload says it */
    const char *title;          /* for people */
    const char *actor;          /* for people */
    int64_t happened_at;        /* forge's own time of the merge or push, seconds; 0: not said */
    bool confirm;               /* unsigned or partial: ask the forge before doing anything */
    struct event_images images; /* EVENT_STAGED */
    int64_t of_task;            /* EVENT_ROLLBACK: what this task moved */
    const char *target; /* EVENT_ROLLBACK: only "host/name:tag" of it; NULL: all its final tags */
    const char *hold;   /* EVENT_ROLLBACK: why the tags are pinned then; NULL: they are not */
};

struct event_list {
    struct event *at;
    size_t n;
    size_t cap;
};

const char *event_kind_name(enum event_kind kind); /* "merged", "tag", "tag-deleted", ... */
bool event_kind_from_name(const char *name, enum event_kind *out);

/* Text form with a version, for the store; lossless. Reading refuses another version, a missing or
 * unknown kind and fields of a wrong type (ERR_PERM); it does not validate. */
const char *event_to_json(const struct event *e, struct arena *a);
int event_from_json(const char *text, struct arena *a, struct event *out, struct err *err);

/*
 * Names from strangers. A project path: no empty, "." or ".." part, no "..", no leading '-', no
 * blank, control byte or any of `\ ? # % * : < > | " $`, at most LIMIT_PROJECT. A ref part: as
 * check-ref-format wants it, no leading '-', at most LIMIT_REF. A commit: 40 or 64 lower-case hex
 * digits. A change: 1 to 18 digits, no leading zero. A URL for people: http or https, visible
 * ASCII without quotes and angle brackets, at most LIMIT_EVENT_URL. A run id: visible ASCII
 * without quotes, angle brackets and backslash, at most LIMIT_RUN_ID.
 */
bool event_project_ok(const char *s);
bool event_ref_ok(const char *s);
bool event_commit_ok(const char *s);
bool event_commit_is_zero(const char *s);
bool event_change_ok(const char *s);
bool event_url_ok(const char *s);
bool event_run_id_ok(const char *s);

/* A text for people (a title, a name): control bytes become blanks, cut at LIMIT_EVENT_TEXT bytes
 * between characters. NULL stays NULL. */
const char *event_text(struct arena *a, const char *s);

/* Checks every field that is set against the rules above (title and actor: what event_text makes;
 * a commit of zeros is none); ERR_INPUT names the field. */
int event_validate(const struct event *e, struct err *err);

/* Fills branch, or tag, from a full ref name; false when it is neither a branch nor a tag. */
bool event_set_ref(struct event *e, struct arena *a, const char *ref);

#endif
