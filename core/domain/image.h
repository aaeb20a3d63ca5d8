/*
 * image.h - an item of `container_images` (reference: zuul-jobs' common variables) as written,
 * templates not yet expanded, and the words for jobs and pipelines.
 */
#ifndef SLIPWAY_IMAGE_H
#define SLIPWAY_IMAGE_H

#include "core/base/diag.h"
#include "core/base/mem.h"

enum pipeline {
    PIPELINE_CHECK,
    PIPELINE_GATE,
    PIPELINE_PROMOTE,
    PIPELINE_POST,
    PIPELINE_TAG,
    PIPELINE_RELEASE,
    PIPELINE_PERIODIC,
    PIPELINE__MAX
};

enum job_kind { JOB_BUILD, JOB_UPLOAD, JOB_PROMOTE, JOB_MIRROR, JOB__MAX };

enum promote_method { PROMOTE_BY_TAG, PROMOTE_INTERMEDIATE };

const char *pipeline_name(enum pipeline p); /* "check", "gate", ... */
bool pipeline_from_name(const char *name, enum pipeline *out);
const char *job_name(enum job_kind j);                    /* "build-container-image", ... */
bool job_from_name(const char *name, enum job_kind *out); /* also "promote-docker-image" */

struct image_text {
    const char *text;
    struct place at;
};

struct image_texts {
    struct image_text *at;
    size_t n;
    size_t cap;
};

struct image {
    struct place at;
    struct image_text context;
    struct image_text registry;
    struct image_text repository; /* with or without the registry in front */
    struct image_texts tags;      /* default: one, "latest" */
    bool no_tags;                 /* `tags: []`: built only */
    const char *container_filename;
    const char *path;
    const char *target;
    struct str_list build_args;
    struct str_list siblings;
    struct str_list labels;
    struct str_list arch;
    const char *namespace_;
    const char *repo_shortname;
    const char *repo_description;
    const char *visibility;
};

struct image_list {
    struct image *at;
    size_t n;
    size_t cap;
};

#endif
