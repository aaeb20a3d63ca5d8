/*
 * imagefile.h - the repository's `.slipway.yaml` (DESIGN section 7): bytes in, values out. All
 * errors of a file are reported at once, each with its place.
 */
#ifndef SLIPWAY_IMAGEFILE_H
#define SLIPWAY_IMAGEFILE_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/domain/image.h"

struct imagefile_job {
    enum job_kind kind;
    struct place at;
    struct image_list images;   /* the file's list unless the job names its own */
    enum promote_method method; /* promote and upload */
    bool direct;                /* upload: upload_container_image_promote is false */
};

struct imagefile_row {
    bool given; /* written in the file; else the default row (DESIGN section 7) */
    struct place at;
    struct {
        struct imagefile_job *at;
        size_t n;
        size_t cap;
    } jobs;
};

struct imagefile {
    const char *file;
    struct image_list images;   /* top-level container_images */
    struct image_texts branches; /* patterns; empty: the default branch */
    struct imagefile_row pipelines[PIPELINE__MAX]; /* defaults filled in */
    const char *container_command;
};

/* The name that is looked for at the top of a repository. */
#define IMAGEFILE_NAME ".slipway.yaml"

/* Returns the file in diags->arena, or NULL when diags has errors. */
const struct imagefile *imagefile_parse(const char *file, const void *text, size_t len,
                                        struct diags *diags);

#endif
