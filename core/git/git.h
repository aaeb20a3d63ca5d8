/*
 * git.h - plain git through its command line, in bare caches that may be removed at any time.
 *
 * One repository is used by one caller at a time (a lock per repository inside). Children get a
 * clean environment, no hooks, no prompts, only the protocols https, ssh, http and file; secrets
 * never ride in argv or the environment. All names are checked and passed behind
 * --end-of-options. "Could not ask" is ERR_TEMP; "is not there" is a value.
 */
#ifndef SLIPWAY_GIT_H
#define SLIPWAY_GIT_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/domain/order.h"

#include <stdatomic.h>

struct git;

struct git_opts {
    const char *cache_dir; /* made when missing; one bare repository a URL below it */
};

struct git_remote {
    const char *url; /* https://, http://, ssh:// or file://, without a password in it */
    const char
        *username; /* NULL: anonymous. https and http only: ssh takes its user from the URL */
    const char *password; /* and its key from the service user's own ~/.ssh */
    const char *ca_file;
};

struct git *git_new(const struct git_opts *opts, struct err *err);
void git_free(struct git *g);
/* Once *stop is true git's processes are ended, and what waits for them fails: ERR_TEMP, code
 * ECANCELED. Before other threads use it; stop outlives it. */
void git_stop_by(struct git *g, const atomic_bool *stop);

/* One file at a commit (40 or 64 hex): content in the arena, or *missing when the commit is
 * readable and the file is not in it. Two processes at the most when the commit is not cached
 * (more only where the server hands out nothing but what its refs name). A symbolic link, a
 * directory or a submodule of that name is ERR_CONFIG; a commit that the remote does not have is
 * ERR_TEMP: a replica may be late. */
int git_read_file(struct git *g, const struct git_remote *r, const char *commit, const char *path,
                  struct arena *a, const char **content, size_t *len, bool *missing,
                  struct err *err);

/* The object that a tag means now, annotated tags peeled; *commit NULL when there is none. */
int git_resolve_tag(struct git *g, const struct git_remote *r, const char *tag, struct arena *a,
                    const char **commit, struct err *err);

/* The head of a branch now; *commit NULL when there is no such branch. */
int git_resolve_branch(struct git *g, const struct git_remote *r, const char *branch,
                       struct arena *a, const char **commit, struct err *err);

/* The branch that HEAD names; NULL when detached or unborn. Up to five minutes old. */
int git_default_branch(struct git *g, const struct git_remote *r, struct arena *a,
                       const char **branch, struct err *err);

/* Peels an object name (a tag object or a commit) to its commit. */
int git_peel(struct git *g, const struct git_remote *r, const char *object, struct arena *a,
             const char **commit, struct err *err);

int git_tree(struct git *g, const struct git_remote *r, const char *commit, struct arena *a,
             const char **tree, struct err *err);

/* How `mine` is related to `applied`. Fetches commits only (--filter=tree:0, never --depth: a
 * shallow history answers wrongly) into a cache of its own. A commit that the remote no longer
 * has (a rewritten branch) is ANCESTRY_DIVERGED. No process is started where the commits that
 * git_read_file has read say it already. */
int git_ancestry(struct git *g, const struct git_remote *r, const char *mine, const char *applied,
                 enum ancestry *out, struct err *err);

struct git_checkout {
    const char *commit; /* 40 or 64 hex */
    const char *ref;    /* full name of a ref that holds it (refs/tags/v1, refs/changes/34/1234/5):
                           saves fetching everything from servers that hand out by ref only; NULL */
    const char *dir;    /* absolute; absent or empty; its parent exists. Ends as a plain working
                           tree without .git */
    bool submodules;    /* also those below, shallow; only from the same host as the remote, as
                           configured (no other protocol or host is followed: ERR_PERM names it) */
    /* May this submodule be fetched, with the remote's credentials? NULL: every one. */
    bool (*may_fetch)(void *user, const char *url);
    void *user;
    bool lfs;         /* files of Git LFS are fetched (git-lfs installed, else ERR_CONFIG); else
                         their pointers stay as they are */
    int64_t size_max; /* bytes of the tree; more: ERR_PERM. 0: LIMIT_CHECKOUT */
};

/* Writes the commit's tree to dir: shallow, no hooks, no filters from the repository but LFS where
 * asked for, symbolic links as they are. Folders and files end as 0755 and 0644 or 0755, whatever
 * the umask: they may become part of an image. Nothing is left in dir on failure. A commit that the
 * remote does not have (a tag or branch that was deleted, a rewritten history) is ERR_PERM with
 * code ENOENT. */
int git_checkout(struct git *g, const struct git_remote *r, const struct git_checkout *what,
                 struct err *err);

/* Is the commit contained in the branch's head? */
int git_on_branch(struct git *g, const struct git_remote *r, const char *commit, const char *branch,
                  bool *out, struct err *err);

#endif
