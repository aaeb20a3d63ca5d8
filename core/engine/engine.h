/*
 * engine.h - what the flows need, put together once by `work` or a command and then only read.
 * Everything in it is thread-safe and outlives every task.
 */
#ifndef SLIPWAY_ENGINE_H
#define SLIPWAY_ENGINE_H

#include "core/domain/policy.h"
#include "core/forge/forge.h"
#include "core/git/git.h"
#include "core/lib/http.h"
#include "core/registry/registry.h"
#include "core/store/store.h"

#include <stdatomic.h>

struct build_conf;
struct mirror_confs;
struct zuul_confs;
struct target_locks;
struct push_proofs;

struct engine {
    struct store *store; /* NULL for commands that only plan */
    struct http_client *http;
    struct registry *registry;
    struct credentials *credentials; /* of registries, beside the configuration's; NULL: none */
    struct git *git;
    const struct forge_conf *forges;
    size_t n_forges;
    const struct policy *policy;
    const struct mirror_confs *mirrors; /* run by the clock; NULL for commands */
    const struct build_conf *build;     /* NULL: nothing is built */
    const struct zuul_confs *zuuls;     /* NULL: none */
    struct target_locks *locks;         /* NULL for commands that only plan */
    const char *public_url;             /* base of our own pages, NULL: not said */
    char *scratch;                      /* a directory that ends with the engine, NULL: none */
    const atomic_bool *stop;            /* becomes true: begin nothing long; NULL for commands */
    struct push_proofs *proofs;         /* repositories that took a push of ours lately; as locks */
};

/* The configured forge of that name, NULL when there is none (any more). */
const struct forge_conf *engine_forge(const struct engine *e, const char *name);

/* knows_registry of plans and mirrors; ctx is the engine's registry. */
bool engine_knows_registry(const void *ctx, const char *host);

/* What became of a task, in one value. */
struct outcome {
    enum task_state state;
    int64_t run_at;     /* ms; for queued, waiting and failed */
    const char *reason; /* for people, in the task's arena */
    bool patient;       /* it only waits: this was no failed attempt */
    bool repeat;        /* another task says the same: what became of this one is no news */
    bool promised;      /* the forge was told that it is under way, and waits for its end */
    const char *detail; /* more for such a report, NULL: the end of a build's log */
};

/* What is to be promoted is not there (yet): waiting until limit_s after the event, then skipped,
 * or where a part of it is there (err->code is not ENOENT) failed. */
struct outcome outcome_of_wait(const struct task *t, int64_t limit_s, const struct err *err,
                               struct arena *a);

/* Its turn has not come: soon again. */
struct outcome outcome_of_busy(const char *why, struct arena *a);

/* Turns a failure into an outcome: failed with a time to try again, or dead. */
struct outcome outcome_of_error(const struct err *err, int attempt, struct arena *a);

#endif
