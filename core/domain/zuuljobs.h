/*
 * zuuljobs.h - what a repository's Zuul files mean for one event: which of its jobs run, and with
 * which variables, as far as container images are concerned. Pure. Reference: Zuul's documentation
 * on jobs (variants, inheritance, matchers) and projects.
 *
 * A job counts by its ancestry. When a known name is reached (build-, upload-, promote-
 * container-image and the older -docker-image, or one of the operator's), that decides. When the
 * ancestry leaves the repository before that, the last name reached decides by its form
 * (opendev-promote-container-image, otcinfra-upload-image); when that says nothing either, the
 * job's own name does, if its variables have a list of images. Else it is none of ours.
 *
 * Inheritance: from the furthest ancestor down to the job, all variants of each name in the order
 * of their files whose `branches` match (or, without such, whose file is of the event's branch),
 * then the project's variables, then what the pipeline's entry says. Variables: maps are merged
 * deeply, lists and scalars replace. Of matchers the last that is given holds. A job runs when its
 * files matchers match what the change touched; without knowledge of that, they do.
 */
#ifndef SLIPWAY_ZUULJOBS_H
#define SLIPWAY_ZUULJOBS_H

#include "core/domain/image.h"
#include "core/domain/zuulfile.h"

/* A job of another repository that the operator names: "acme-publish" is an upload. */
struct zuul_known_job {
    const char *name;
    enum job_kind kind;
};

struct zuul_question {
    const char *project;          /* full name in the forge */
    const char *canonical_host;   /* of the project in Zuul, for stanzas that say it; NULL */
    const char *branch;           /* of the event; NULL: a git tag, on the branches below */
    struct str_list branches;     /* a git tag: those that contain its commit */
    struct str_list pipelines;    /* names of the pipelines that this event means */
    const struct str_list *files; /* that the change touched; NULL: not known, or none is asked */
    const struct zuul_known_job *known;
    size_t n_known;
};

struct zuul_job {
    const char *name;
    const char *pipeline;        /* as the project calls it */
    enum job_kind kind;          /* JOB_BUILD, JOB_UPLOAD, JOB_PROMOTE, JOB_MIRROR */
    bool docker;                 /* of the older family: `docker_images` */
    struct place at;             /* of the entry in the pipeline */
    const struct yml_node *vars; /* merged: a map, never NULL */
};

struct zuul_job_list {
    struct zuul_job *at;
    size_t n;
    size_t cap;
};

struct zuul_skip {
    const char *name;
    const char *pipeline;
    struct place at;
    const char *why; /* "no file that its `files` match was touched", "abstract", ... */
};

struct zuul_skips {
    struct zuul_skip *at;
    size_t n;
    size_t cap;
};

/* Jobs in the order of the pipelines and their entries; of one name in one pipeline there is one.
 * What is left out, and why, goes to skips (NULL: not wanted). A regular expression that is none,
 * a parent that is its own, a template that is not there (others may define it: a warning) are
 * reported in diags; a job with an error is left out, the others stay. */
void zuuljobs_for(const struct zuulfile *file, const struct zuul_question *q, struct diags *diags,
                  struct zuul_job_list *out, struct zuul_skips *skips);

#endif
