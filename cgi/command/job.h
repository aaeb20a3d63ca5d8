/*
 * job.h - what `build`, `upload` and `promote` share: the four jobs run by hand, inside any CI. The
 * image list comes from a working tree, the plan from the same function as the service's, and it is
 * carried out by the same engine. Without a configuration there is no policy: then the user's own
 * credentials decide what may be done.
 */
#ifndef SLIPWAY_JOB_H
#define SLIPWAY_JOB_H

#include "cgi/command/job_flags.h"
#include "cgi/command/job_source.h"
#include "cgi/command/stopping.h"
#include "core/build/build_room.h"
#include "core/domain/plan.h"
#include "core/engine/building.h"
#include "core/engine/engine.h"

struct job {
    const struct command *cmd;
    const struct job_flags *flags;
    enum job_kind kind;
    struct arena *arena;
    struct stopping stopping;
    struct job_source source;
    const char *at_commit; /* the list's and the sources' commit where it is not what lies in the
                              working tree; NULL: as it lies there */
    const char *tree;      /* git tree of what is built, NULL: no git */
    struct imagefile file; /* with the jobs of this kind only */
    struct str_list hosts; /* registries that the list names */
    bool is_between;       /* it goes through an intermediate registry */
    struct by_hand hand;
    bool has_policy; /* the operator's, else our own that denies nothing */
    struct policy_project entry;
    struct policy policy;
    struct build_conf build;
    struct engine engine;
    struct event event;
    struct plan plan;
    struct event staged; /* what --run-id left in an intermediate registry; images.n 0: none */
    struct build_room scratch; /* for all that goes at the end */
    struct build_room beside;  /* where builds go, next to the folder that keeps them; not open:
                                  below scratch */
};

/* Reads the working tree, plans, and puts the engine together (without a store). keep: the folder
 * that is to hold what is built, NULL for none. On failure what is wrong has been said and
 * everything is released; returns the exit code. */
int job_open(struct job *j, const struct command *cmd, const struct job_flags *f,
             enum job_kind kind, const char *keep, struct arena *a);
void job_close(struct job *j);

/* A failure as the by-hand commands say it, behind the end of a log that has not been shown (or
 * NULL); the exit code. */
int job_failed(const struct job *j, const struct err *err, const char *tail);

/* "host/name:tag" */
const char *job_target(const struct plan_tag *t, struct arena *a);

#endif
