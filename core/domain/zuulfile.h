/*
 * zuulfile.h - the job, project and project-template stanzas of a repository's own Zuul files:
 * bytes in, values out; what they mean together is zuuljobs.h's business. Everything else in the
 * files is passed over, other people's keys and broken stanzas of no concern here included.
 * Reference: Zuul's documentation, "Project Configuration"; configloader for what it leaves open.
 */
#ifndef SLIPWAY_ZUULFILE_H
#define SLIPWAY_ZUULFILE_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/lib/yaml.h"

/* Which of a tree's paths Zuul reads: the first of zuul.yaml, zuul.d/, .zuul.yaml and .zuul.d/ that
 * is there; of a folder all *.yaml below it, sorted, but those in or below a folder with a file
 * .zuul.ignore. Empty: none. paths: any order; the result borrows them. */
struct str_list zuulfile_choose(const struct str_list *paths, struct arena *a);

/* One matcher of `branches`, `files` or `irrelevant-files`: a regular expression that has to match
 * from the beginning of the text, not to its end. */
struct zuul_matcher {
    const char *regex;
    bool negate;
    struct place at;
};

struct zuul_matchers {
    struct zuul_matcher *at;
    size_t n;
    size_t cap;
    bool given; /* also when it is an empty list */
};

/* A job of its own, or one in a pipeline: then a name alone is a stanza with nothing else. Of one
 * name there may be several: variants. */
struct zuul_job_stanza {
    struct place at;
    const char *name;
    const char *parent; /* NULL: not said, the tenant's base job */
    bool has_parent;    /* `parent: null` is said, too */
    bool abstract;
    struct zuul_matchers branches, files, irrelevant_files;
    const struct yml_node *vars; /* a map; NULL: none */
    const char *branch;          /* of the file that it is in; NULL: not known */
};

struct zuul_job_stanzas {
    struct zuul_job_stanza *at;
    size_t n;
    size_t cap;
};

/* What a project or a template says of one pipeline. */
struct zuul_pipeline {
    const char *name;
    struct place at;
    struct zuul_job_stanzas jobs;
};

struct zuul_pipelines {
    struct zuul_pipeline *at;
    size_t n;
    size_t cap;
};

struct zuul_project_stanza {
    struct place at;
    const char *name; /* "team/app", "host/team/app", "^regex"; NULL: the project it is in; of a
                         template its name */
    struct str_list templates;
    const struct yml_node *vars; /* a map; NULL: none */
    struct zuul_pipelines pipelines;
    const char *branch; /* of the file; NULL: not known */
};

struct zuul_project_stanzas {
    struct zuul_project_stanza *at;
    size_t n;
    size_t cap;
};

/* All files together, of one or several branches. */
struct zuulfile {
    struct zuul_job_stanzas jobs;
    struct zuul_project_stanzas projects;
    struct zuul_project_stanzas templates;
};

/* Adds one file's stanzas; values live in diags->arena. A file that is no list of stanzas, or no
 * YAML, is an error with its place (false); a stanza of ours that is malformed is an error, too,
 * and the others of the file are taken. branch: where the file is from, NULL: not known. */
bool zuulfile_read(const char *path, const char *branch, const void *text, size_t len,
                   struct zuulfile *out, struct diags *diags);

/* What Zuul's Python makes of a scalar where a text is wanted, by YAML 1.1's types: 1.10 is "1.1",
 * 010 is "8", 1:30 is "90", yes is "True", ~ is NULL; quoted ones are as written. */
const char *zuulfile_text(const struct yml_node *scalar, struct arena *a);

#endif
