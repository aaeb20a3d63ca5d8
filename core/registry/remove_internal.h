/*
 * remove_internal.h - the steps of one removal (remove.c) and the isolating way (isolate.c).
 */
#ifndef SLIPWAY_REGISTRY_REMOVE_INTERNAL_H
#define SLIPWAY_REGISTRY_REMOVE_INTERNAL_H

#include "core/registry/vendor_internal.h"

struct removal {
    struct registry *r;
    struct arena *a;
    struct registry_host *host;
    const char *name;
    const char *tag;
    const char *expected;        /* NULL: whatever the tag shows */
    const struct vendor *vendor; /* NULL: none, or not known */
    bool vendor_tried;           /* its API had its turn */
};

/* What became of one step. */
enum step {
    STEP_FAILED, /* could not ask: err is set */
    STEP_DONE,
    STEP_GONE,
    STEP_CHANGED, /* the tag shows another digest by now: left alone */
    STEP_REFUSED, /* not this way, but maybe another; where a step says so, err is set */
    STEP_NO_WAY   /* refused for good: err is set */
};

/* "name:tag" for messages. */
const char *removal_what(const struct removal *rm);
/* GET or HEAD of one manifest: 0, or -1 when it could not be asked. */
int removal_ask(struct removal *rm, enum registry_verb verb, const char *ref,
                struct registry_op *op, struct err *err);
/* One request for manifests/<ref>; any status is an answer. */
int removal_request(struct removal *rm, const char *method, const char *ref, struct exchange *x,
                    struct err *err);
bool removal_is_success(int status);

/* Overwrites the tag with a placeholder of our own making and deletes that. */
enum step isolate(struct removal *rm, struct err *err);
/* Deletes a placeholder that the tag shows. */
enum step isolate_delete(struct removal *rm, const char *digest, struct err *err);

#endif
