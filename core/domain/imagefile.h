/*
 * imagefile.h - the repository's `.slipway.yaml` (DESIGN section 7): bytes in, values out. All
 * errors of a file are reported at once, each with its place.
 */
#ifndef SLIPWAY_IMAGEFILE_H
#define SLIPWAY_IMAGEFILE_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/domain/image.h"
#include "core/domain/template.h"

struct imagefile_env {
    const char *name;
    const char *value;
};

/* The variables of the seed's roles, as far as a file sets them; NULL: not set. The names of a
 * Zuul API and its builds can only select what the operator configured. */
struct imagefile_vars {
    enum promote_method method; /* promote_container_image_method, by tag when not set */
    bool upload_promote_given;  /* upload_container_image_promote is written ... */
    bool upload_promote;        /* ... and says this */
    const char *promote_api;
    const char *promote_pipeline;
    const char *promote_job;
    const char *promote_query;
    const char *container_command;  /* "podman", "docker", "buildah" */
    const char *container_filename; /* for images that name none; filled into them */
    const char *work_dir;           /* zuul_work_dir: contexts are below it */
    bool submodules;                /* of a checkout: `submodules`, with their content */
    bool lfs;                       /* likewise: `lfs`, with files instead of Git LFS pointers */
    const char *format; /* container_image_format: "oci" or "docker"; NULL: the builder's */
    struct {
        struct imagefile_env *at;
        size_t n;
        size_t cap;
    } build_env;              /* container_build_extra_env */
    struct template_owns own; /* all others: what templates may name */
};

/* An item of mirror_container_images_images: the seed's keys, and more. One of src_tag and src_tags
 * is set. */
struct imagefile_mirror {
    struct place at;
    const char *src_repository;        /* host/name */
    const char *src_tag;               /* a tag, or a digest */
    struct str_list src_tags;          /* texts of domain/tagselect.h */
    struct str_list skip_tags;         /* likewise: not these */
    struct str_list dest_repositories; /* `dest_repository`, one or several: host/name, or name */
    const char *dest_tag;              /* NULL: as at the source */
    const char *dest_registry;         /* of those without a host; NULL: all have one */
    struct str_list platforms;         /* of an index only these children; empty: all */
    bool prune;                        /* take away what src_tags mean and the source has not */
    const char *visibility;            /* "public" or "private": a target that is not there yet is
                                          made like that first (Quay); NULL: as pushes make it */
    const char *repo_description;      /* likewise */
    bool no_companions;                /* `companions: false`: leave signatures and referrers */
};

struct imagefile_mirrors {
    struct imagefile_mirror *at;
    size_t n;
    size_t cap;
};

struct imagefile_job {
    enum job_kind kind;
    struct place at;
    struct image_list images;   /* the file's list unless the job names its own */
    enum promote_method method; /* promote and upload */
    bool direct;                /* upload: upload_container_image_promote is false, or not written
                                 * in a pipeline whose events have no change */
    struct imagefile_vars vars; /* the file's, with the job's own on top */
    struct imagefile_mirrors mirrors; /* mirror: the file's list unless the job has its own */
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
    struct image_list images;                      /* top-level container_images */
    struct image_texts branches;                   /* patterns; empty: the default branch */
    struct imagefile_row pipelines[PIPELINE__MAX]; /* defaults filled in */
    const char *container_command;                 /* vars.container_command */
    struct imagefile_vars vars;
    struct imagefile_mirrors mirrors;
};

/* The name that is looked for at the top of a repository. */
#define IMAGEFILE_NAME ".slipway.yaml"

/* Returns the file in diags->arena, or NULL when it has errors, which are in diags. Top-level keys
 * that begin with "x-" are ignored: a place to keep anchors. */
const struct imagefile *imagefile_parse(const char *file, const void *text, size_t len,
                                        struct diags *diags);

#endif
