/*
 * rolling.h - what a rollback looks at and decides before anything moves. Shared by rollback.c
 * (makes the task, and runs it) and rolling.c (looks). Private to those.
 */
#ifndef SLIPWAY_ENGINE_ROLLING_H
#define SLIPWAY_ENGINE_ROLLING_H

#include "core/engine/rollback.h"

/* One final tag that is to go back. */
struct spot {
    struct step was; /* of the task that moved it */
    int64_t task;    /* that task */
    bool back;       /* an earlier rollback has put it there: only that it shows it is asked */
    const char *full;
    const char *repository;
    struct target target;
    const char *shows; /* digest now, NULL: absent */
    const char *shows_type;
    const char *to_type; /* of the former digest; NULL: not asked for */
    enum rollback_state state;
    const char *reason;
};

struct rolling {
    const struct engine *engine;
    struct arena *arena;
    struct registry_access access;
    const char *hold;
    const char *forge; /* whose task it was */
    const char *project;
    int64_t task;
    struct spot *at;
    size_t n;
    size_t cap;
    struct str_list names;
    struct kept_manifest_list kept; /* bytes of what shows and of where it goes back to */
    bool temporary;                 /* somebody could not be asked: err_text says who */
    const char *trouble;
};

/* Which tags it is about: all of a task (ref NULL), one of them, or (task 0) the one of the task
 * that moved it last. ERR_PERM with code ENOENT: there is no such task or target, or nothing of
 * it was ever moved; ERR_TEMP with code EBUSY: that task is still at work. */
int rolling_find(struct rolling *r, int64_t task, const char *ref, struct err *err);

/* Reads the targets and the registries and decides each spot's state: ROLLBACK_WOULD where
 * everything is there to go back to. What could not be asked is ROLLBACK_FAILED. -1: the store. */
int rolling_look(struct rolling *r, struct err *err);

/* What a spot's values alone decide: ROLLBACK_WOULD still has to be looked for in the registry.
 * Pure. */
enum rollback_state rolling_judge(const struct spot *s, struct arena *a, const char **reason);

/* Something is not there to go back to, or could not be asked: then nothing moves. */
bool rolling_blocked(const struct rolling *r);
/* Is there anything to move or to pin? */
bool rolling_wanted(const struct rolling *r);
/* Does it show already what it is to show, and is to be pinned there? */
bool rolling_pins(const struct rolling *r, const struct spot *s);

/* "host/name:tag: reason" of all spots in one of two states, joined by "; ". */
const char *rolling_list(const struct rolling *r, enum rollback_state one,
                         enum rollback_state other);

const struct kept_manifest *rolling_bytes(const struct rolling *r, const char *digest);

#endif
