/*
 * job_source.h - the working tree that a command is run in: what git says of it, and the files in
 * it. Nothing in it is written.
 */
#ifndef SLIPWAY_JOB_SOURCE_H
#define SLIPWAY_JOB_SOURCE_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct job_source {
    const char *dir;     /* absolute, as named by the user */
    const char *top;     /* top of the git repository; NULL: there is none */
    const char *prefix;  /* of dir below it: "" or "sub/folder/" */
    const char *head;    /* commit that is checked out, NULL: none */
    const char *branch;  /* short name, NULL: detached */
    const char *project; /* path of the remote `origin`, NULL: none that could be one */
    bool is_dirty;       /* tracked files differ from the commit */
};

/* A folder that is no git working tree is no error; one that is not there is. */
int job_source_look(const char *dir, struct arena *a, struct job_source *out, struct err *err);

/* The commit that a name of it means. */
int job_source_commit(const struct job_source *s, const char *name, struct arena *a,
                      const char **commit, struct err *err);

/* The commit of a git tag; *commit stays as it is where the repository has no such tag. */
int job_source_tag_commit(const struct job_source *s, const char *tag, struct arena *a,
                          const char **commit, struct err *err);

/* The git tree of dir's repository at a commit. */
int job_source_tree(const struct job_source *s, const char *commit, struct arena *a,
                    const char **tree, struct err *err);

/* A file below dir, as it lies there or (commit not NULL) at a commit. ERR_CONFIG with code ENOENT
 * when it is not there. */
int job_source_read(const struct job_source *s, const char *commit, const char *path,
                    struct arena *a, const char **text, size_t *len, struct err *err);

#endif
