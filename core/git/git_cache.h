/*
 * git_cache.h - bare caches on disk, one a remote and kind, and git run in them. Internal to
 * core/git. Layout below the cache directory: <sha256 of the URL>.<kind>, a .lock file beside each,
 * and one global git configuration. In a cache, the file `slipway-have` lists what was fetched.
 */
#ifndef SLIPWAY_GIT_CACHE_H
#define SLIPWAY_GIT_CACHE_H

#include "core/git/git.h"
#include "core/git/git_argv.h"
#include "core/os/proc.h"

struct git_memory;

struct git {
    char *cache_dir;
    struct git_memory *memory;
    const atomic_bool *stop; /* NULL: nobody asks it to end */
};

enum git_kind {
    GIT_CACHE_FILES,   /* shallow, blobs on demand */
    GIT_CACHE_COMMITS, /* whole history, commits only */
    GIT_CACHE_TREES,   /* shallow, with all files: for checkouts */
    GIT_CACHE_ALL      /* whole: for servers that hand out by ref only */
};

struct git_repo {
    const struct git *git;
    const struct git_remote *remote;
    enum git_kind kind;
    char *dir;
    int lock;           /* held from open to close: one caller at a time */
    int auth;           /* memory file with the Authorization header, or -1 */
    struct strbuf have; /* lines: object names, or "-" for a fetch by ref */
};

/* Checks the remote, waits for the cache's lock, makes or tidies the cache. Close it even when
 * opening failed. */
int git_repo_open(struct git_repo *repo, const struct git *git, const struct git_remote *remote,
                  enum git_kind kind, bool sha256, struct err *err);
void git_repo_close(struct git_repo *repo);

/* Removes the cache's content; the next open starts afresh. */
int git_repo_discard(struct git_repo *repo, struct err *err);

bool git_repo_has(const struct git_repo *repo, const char *object);
int git_repo_note(struct git_repo *repo, const char *object, struct err *err);

/* A marker file in the cache. */
bool git_repo_marked(const struct git_repo *repo, const char *mark);
int git_repo_mark(struct git_repo *repo, const char *mark, struct err *err);

/* What an argument list for this cache starts from, and that start. */
struct git_call git_repo_call(const struct git_repo *repo, enum git_filter filter);
struct str_list git_repo_argv(const struct git_repo *repo, enum git_filter filter, struct arena *a);

/* Runs it; input may be NULL. The result must be initialised. */
int git_repo_run(const struct git_repo *repo, struct str_list *argv, const char *input,
                 struct proc_result *r, struct err *err);

/* Fetches the refspecs. 0 with *trouble NONE, GONE, REFUSED or NO_REF, which are answers; -1
 * with ERR_TEMP when the remote could not be asked, ERR_CONFIG when it does not let us in. */
int git_repo_fetch(struct git_repo *repo, const struct str_list *refspecs,
                   enum git_trouble *trouble, struct err *err);

/* Opens a cache of kind FILES or TREES that holds the object (a commit or a tag), fetching it where
 * needed; where the server hands out by ref only, first by `ref` (a full name; NULL: none, and only
 * for TREES), then one of kind ALL. ERR_TEMP with code ENOENT: the remote does not have it. */
int git_repo_open_with(struct git_repo *repo, const struct git *g, const struct git_remote *r,
                       const char *object, enum git_kind kind, const char *ref, struct err *err);

/* The error of a child that ended badly: ERR_CONFIG when the remote does not let us in, else
 * ERR_TEMP. A cache that turns out broken is discarded. Returns -1. */
int git_repo_failed(struct git_repo *repo, const char *what, const struct proc_result *r,
                    struct err *err);

#endif
