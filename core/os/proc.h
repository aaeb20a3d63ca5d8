/*
 * proc.h - child processes. No shell; the environment is exactly what the caller lists; every
 * descriptor but those named is closed; time and output are bounded; the child leads a process
 * group of its own that is killed as a whole when the time is up.
 */
#ifndef SLIPWAY_PROC_H
#define SLIPWAY_PROC_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

struct proc_opts {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;  /* NULL-terminated "NAME=value"; NULL: PATH and LANG=C.UTF-8 only */
    const char *cwd;         /* NULL: ours */
    const void *input;       /* written to standard input, which is then closed */
    size_t input_len;
    int64_t timeout_ms; /* 0: LIMIT_GIT_MS */
    int pass_fd;        /* > 2: kept open in the child under the same number; 0: none */
    /* Gets standard output and standard error as they come, from the calling thread, in the order
     * in which the child wrote them; nothing is kept, so the amount is the receiver's to bound.
     * NULL: both are kept in the result. */
    void (*on_output)(void *user, const char *data, size_t len);
    /* Asked at the start and then every PROC_CHECK_MS or so, however much the child writes: -1 with
     * *err set ends the child and its group, and is proc_run's result. NULL: never asked. */
    int (*check)(void *user, struct err *err);
    void *user; /* of both */
};

#define PROC_CHECK_MS 200

struct proc_result {
    int status; /* exit status, or 128 + signal */
    bool timed_out;
    struct strbuf out; /* standard output, up to its max: more is ERR_PERM */
    struct strbuf err; /* standard error: the first LIMIT_CHILD_ERRORS bytes */
};

void proc_result_init(struct proc_result *r, size_t max_out);
void proc_result_release(struct proc_result *r);

/* Runs a child to its end. 0 whenever it ran and ended, whatever its status; -1 when it could not
 * be started (ERR_CONFIG, code ENOENT: not installed), ran out of time (ERR_TEMP) or of output. */
int proc_run(const struct proc_opts *opts, struct proc_result *r, struct err *err);

#endif
