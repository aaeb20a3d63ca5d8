/*
 * building.h - from a plan to OCI layouts: checks the commit out, asks a builder, keeps what it
 * made for as long as a retry may need it. Nothing is pushed here.
 */
#ifndef SLIPWAY_ENGINE_BUILDING_H
#define SLIPWAY_ENGINE_BUILDING_H

#include "core/build/build_ask.h"
#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* The operator's `builder`. */
struct build_conf {
    const char *dir; /* checkouts and layouts, a folder a task: default /var/lib/slipway/builds */
    const char *socket;    /* of `slipway builder --listen`; NULL: as a child of ours, our user */
    const char *program;   /* of that child; NULL: /proc/self/exe */
    const char *scratch;   /* of that child */
    const char *isolation; /* as struct build_spec */
    int64_t timeout_s, disk_max, log_max; /* 0: the limits of limits.h */
};

/* One image of the plan, built. */
struct built {
    const struct image *image;
    struct build_layouts layouts; /* one, or one a platform */
};

struct built_list {
    struct built *at;
    size_t n;
    size_t cap;
};

struct building_opts {
    const char *source;              /* a working tree that is there already; NULL: checkout */
    const char *siblings;            /* folder of other projects' sources; NULL: checkouts */
    const struct build_watch *watch; /* NULL: the log is only kept */
    const char *key;                 /* of the folder below conf->dir: the same for each retry */
};

/*
 * Builds every image that the plan wants built. ERR_TEMP with code EBUSY: the builder is at work
 * for somebody else. What a former attempt of the same key and spec left whole is not built again.
 * On a failed build *err->text is one line and *tail the end of the log (arena).
 */
int building_run(const struct engine *e, const struct event *event, const struct plan *plan,
                 const struct policy_project *policy, const struct building_opts *opts,
                 struct arena *a, struct built_list *out, const char **tail, struct err *err);

/* What a task is told that has to wait its turn. */
#define BUILDING_BUSY "another build is running"

/* Is the builder at work just now? A look that costs next to nothing. */
bool building_is_busy(const struct engine *e);

/* Where the log of a key's last build is, while it runs and for a week; it may not be there. */
const char *building_log(const struct build_conf *conf, const char *key, struct arena *a);

/* Forgets what is kept for a key but its log: the task is at its end. */
void building_forget(const struct engine *e, const char *key);

/* Now and then, while nothing is built: removes folders that nobody has touched for a day. */
void building_sweep(const struct engine *e);

#endif
