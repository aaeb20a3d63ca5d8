/*
 * build_run.h - runs a spec on this machine: `slipway builder`. One store a job, thrown away at its
 * end whatever happens; images in the listed order, so that one may be FROM an earlier one.
 */
#ifndef SLIPWAY_BUILD_RUN_H
#define SLIPWAY_BUILD_RUN_H

#include "core/build/build.h"

struct build_watch {
    /* Log text as it comes, from one thread; control characters are as the tools wrote them. */
    void (*log)(void *user, const char *text, size_t len);
    void *user;
    const char *scratch; /* where throw-away things go; NULL: $TMPDIR, /var/tmp */
    /* Asked several times a second with `user`; true: the build is ended at once (ERR_TEMP,
     * ECANCELED). NULL: never. */
    bool (*stop)(void *user);
};

/*
 * Builds all images for all their platforms; each layout is there whole (renamed into place) or not
 * at all. A layout that a former run of the same spec left whole is kept and not built again only
 * when the caller says so by leaving it in `out`. On failure *err names the image, the platform and
 * the reason, with advice where there is some: ERR_PERM when the build itself failed or its files
 * are wrong (context outside of the source, symbolic link out of it, no container file), ran out of
 * its time, log or disk; ERR_CONFIG when the tool is missing or cannot work here; ERR_TEMP when the
 * disk is full or a base image could not be asked for. The log says more.
 */
int build_run(const struct build_spec *spec, const struct build_watch *watch, struct arena *a,
              struct build_layouts *out, struct err *err);

#endif
