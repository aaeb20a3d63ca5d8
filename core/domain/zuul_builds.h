/*
 * zuul_builds.h - Zuul's build list (GET <api>/builds) as promote-container-image reads it: which
 * build staged images for a change in an intermediate registry, and where. Pure. Reference: the
 * variables promote_container_image_api, _pipeline, _job and _query of the seed's role, and the
 * artifacts of push-to-intermediate-registry.
 */
#ifndef SLIPWAY_ZUUL_BUILDS_H
#define SLIPWAY_ZUUL_BUILDS_H

#include "core/base/diag.h"
#include "core/base/err.h"
#include "core/base/mem.h"

/* One entry of the operator's `zuul`. */
struct zuul_conf {
    struct place at; /* of `intermediate`, or of the entry */
    const char *name;
    const char *api;          /* tenant API base, no trailing slash */
    const char *intermediate; /* host[:port] at which its artifacts may lie; NULL: at any that the
                                 operator configured under `registries` */
    const char *ca_file;
};

struct zuul_confs {
    struct zuul_conf *at;
    size_t n;
    size_t cap;
};

struct zuul_query {
    const char *project; /* full name in the forge */
    const char *change;
    const char *patchset; /* NULL: not known */
    const char *pipeline; /* promote_container_image_pipeline */
    const char *job;      /* promote_container_image_job */
    const char *custom;   /* promote_container_image_query, {{ zuul.change }} and the like already
                             expanded; NULL: made from the above */
};

struct zuul_artifact {
    const char *repository; /* as metadata says: host/name */
    const char *tag;
    const char *host; /* of its url */
    const char *name;
    const char *ref; /* "<build uuid>_<tag>", or a digest */
};

struct zuul_build {
    const char *uuid; /* NULL: there is none yet */
    struct zuul_artifact *at;
    size_t n;
    size_t cap;
};

/*
 * promote_container_image_query as a repository writes it: visible ASCII without '#', and the forms
 * {{ zuul.change }}, {{ zuul.patchset }}, {{ zuul.project.name }},
 * {{ promote_container_image_pipeline }} and {{ promote_container_image_job }}. The first only
 * looks; the second puts the values of q in, percent-encoded. ERR_CONFIG: anything else stands
 * there, or a value is not known for the event.
 */
int zuul_query_check(const char *text, struct err *err);
const char *zuul_query_expand(const char *text, const struct zuul_query *q, struct arena *a,
                              struct err *err);

/* The operator's entry that the repository's promote_container_image_api selects: same URL but for
 * trailing slashes, where {{ zuul.tenant }} stands for any one part; NULL selects the only entry.
 * NULL: none, or several; *err (ERR_CONFIG) says which there are. */
const struct zuul_conf *zuul_select(const struct zuul_confs *confs, const char *api,
                                    struct err *err);

/* The whole URL: builds of this project that succeeded, and the query. ERR_CONFIG when a part is
 * missing (it is named), or when a custom query asks for another project or holds anything but
 * visible ASCII, or '#'. */
const char *zuul_builds_url(const struct zuul_conf *conf, const struct zuul_query *q,
                            struct arena *a, struct err *err);

/*
 * The newest build of this project (by Zuul's own count, else by the time it ended) whose result is
 * SUCCESS and that is final and has artifacts of type container_image; out->uuid NULL when there is
 * none yet. Without a custom query its change, patchset, pipeline and job are those asked for; with
 * one its change still is. Takes the form since Zuul 10 (`ref` is an object) and the older one.
 *
 * A reply that is no list of builds is ERR_TEMP. ERR_PERM: an artifact without repository, tag or
 * url, with a url that is neither docker:// nor host/name:tag, or one that does not lie at
 * <what the registry puts before><repository, with its host or without>:<build uuid>_<tag>, where
 * push-to-intermediate-registry leaves a build's own images (a digest may stand in for the tag):
 * what lies elsewhere may be another project's.
 */
int zuul_builds_pick(const char *text, size_t len, const struct zuul_query *q, struct arena *a,
                     struct zuul_build *out, struct err *err);

/* The artifact of host/name:tag, NULL when that build made none. One whose metadata names no host
 * counts for every host. */
const struct zuul_artifact *zuul_artifact_find(const struct zuul_build *b, const char *repository,
                                               const char *tag);

#endif
