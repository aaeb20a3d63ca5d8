/*
 * job_print.h - what the jobs say at their end: "digest target" lines, or one JSON object.
 */
#ifndef SLIPWAY_JOB_PRINT_H
#define SLIPWAY_JOB_PRINT_H

#include "cgi/command/job.h"
#include "core/store/store.h"

/* One line of the result. */
struct job_row {
    const char *target; /* image or "host/name:tag" */
    const char *digest;
    const char *former; /* what a final tag showed before; NULL: nothing, or not asked */
    const char *state;  /* "built", "staged", or a step's */
    const char *note;   /* NULL */
    const char *path;   /* of a layout that stays, NULL */
    const char *platform;
};

struct job_result {
    const char *state; /* of the whole */
    const char *reason;
    const char *run_id;   /* of a staged upload, NULL */
    const char *recorded; /* "store", "reported", "unrecorded"; NULL: does not apply */
    int64_t task;         /* 0: none in the service's store */
    bool unfenced;
    struct job_row *at;
    size_t n;
    size_t cap;
};

/* Rows of a task's journal. */
void job_rows_of_steps(struct job_result *r, const struct step_list *steps, struct arena *a);

/* Data on stdout; the reason of what did not end well, or of a task, on stderr. */
void job_print(const struct job_result *r, const struct command *cmd, const struct job_flags *f,
               struct arena *a);

/* What the state of a task means for the caller. */
int job_exit_code(enum task_state state);

#endif
