/*
 * git_memory.h - what earlier answers taught, kept in memory so that the usual case needs no
 * process: the parents of commits that were read (a commit never changes, so they stay true) and
 * which branch is a remote's default one. Bounded; thread-safe. Internal to core/git.
 */
#ifndef SLIPWAY_GIT_MEMORY_H
#define SLIPWAY_GIT_MEMORY_H

#include "core/base/base.h"
#include "core/base/mem.h"

struct git_memory;

struct git_memory *git_memory_new(void);
void git_memory_free(struct git_memory *m);

/* Remembers the "parent" lines of a commit object's text. */
void git_memory_commit(struct git_memory *m, const char *commit, const char *text, size_t len);

/* Is `older` known to be reached from `newer` through remembered commits? False: not known. */
bool git_memory_descends(struct git_memory *m, const char *newer, const char *older);

/* The default branch of a URL, NULL when it was not asked in the last GIT_MEMORY_BRANCH_MS. */
#define GIT_MEMORY_BRANCH_MS (5 * 60 * 1000)
const char *git_memory_branch(struct git_memory *m, const char *url, int64_t now_ms,
                              struct arena *a);
void git_memory_set_branch(struct git_memory *m, const char *url, const char *branch,
                           int64_t now_ms);

#endif
