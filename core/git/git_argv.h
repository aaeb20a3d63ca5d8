/*
 * git_argv.h - the pure half of core/git: what may be passed to git, with which arguments and
 * environment, and what its answers mean. No I/O.
 *
 * Names are checked by grammar before they come near an argument list, and ride behind
 * --end-of-options all the same. Nothing here ever holds a password.
 */
#ifndef SLIPWAY_GIT_ARGV_H
#define SLIPWAY_GIT_ARGV_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

/* https://, http://, ssh:// or file:// with no password in it, no option-like host, no odd
 * characters. ERR_CONFIG otherwise. */
int git_check_url(const char *url, struct err *err);

/* A full object name, 40 or 64 digits of lower-case hex; ERR_INPUT otherwise. */
int git_check_object(const char *object, struct err *err);

/* The name of a branch or tag without refs/heads/ or refs/tags/ (git check-ref-format), at most
 * LIMIT_REF bytes, never starting with '-'; ERR_INPUT otherwise. `what` is for the text. */
int git_check_ref(const char *what, const char *name, struct err *err);

/* A path inside a repository: relative, no empty, "." or ".." part, no control byte; ERR_INPUT
 * otherwise. */
int git_check_path(const char *path, struct err *err);

/* Scheme and authority, "https://host:port/"; NULL for other schemes than http and https. */
const char *git_url_origin(struct arena *a, const char *url);

/* The configuration of a bare cache of that URL. */
const char *git_repo_config(struct arena *a, const char *url, bool sha256);

/* The configuration that adds an Authorization header for that origin only. Holds a secret: for
 * a memory file, never an argument. `basic` is base64 of "user:password". */
void git_auth_config(struct strbuf *out, const char *origin, const char *basic);

/* The filters of the three kinds of cache. */
enum git_filter { GIT_FILTER_NONE, GIT_FILTER_BLOBS, GIT_FILTER_LARGE_BLOBS, GIT_FILTER_TREES };

struct git_call {
    const char *git_dir;
    const char *ca_file;    /* NULL: the system's */
    int auth_fd;            /* memory file of git_auth_config; 0: none */
    enum git_filter filter; /* not NONE: git may fetch what the filter left out */
};

/* "git --git-dir=... -c ..." up to the subcommand, which the caller appends. */
void git_argv_start(struct arena *a, struct str_list *argv, const struct git_call *call);

/* A whole fetch from origin; depth_one cuts history. */
struct str_list git_argv_fetch(struct arena *a, const struct git_call *call, bool depth_one,
                               bool prune, const struct str_list *refspecs);

/* Writes a commit's tree into a folder, through the cache's own index. lfs_url: files of Git LFS
 * come from there, whatever the repository's .lfsconfig says; NULL: their pointers stay. */
struct str_list git_argv_write_tree(struct arena *a, const struct git_call *call, const char *dir,
                                    const char *lfs_url, const char *commit);

/* The sizes of all files of a commit, one a line; "-" for a submodule. */
struct str_list git_argv_sizes(struct arena *a, const struct git_call *call, const char *commit);

/* The entries of a commit at exactly these paths, "<mode> <object>\t<path>" each, NUL-ended. */
struct str_list git_argv_entries(struct arena *a, const struct git_call *call, const char *commit,
                                 const struct str_list *paths);

/* The settings in a commit's .gitmodules; what it includes is not followed. */
struct str_list git_argv_modules(struct arena *a, const struct git_call *call, const char *commit);

/* Where a server keeps the LFS files of a repository. */
const char *git_lfs_url(struct arena *a, const char *url);

/* Ends a list with NULL for proc_run. */
const char *const *git_argv_end(struct arena *a, struct str_list *argv);

/* The whole environment of a child, NULL-terminated. */
const char *const *git_env(struct arena *a, const char *path, const char *cache_dir);

/* What git's standard error (in the C locale) says of a failed conversation with a remote. */
enum git_trouble {
    GIT_TROUBLE_NONE,
    GIT_TROUBLE_NETWORK, /* also: anything unknown; worth another try */
    GIT_TROUBLE_GONE,    /* the remote does not have that object */
    GIT_TROUBLE_REFUSED, /* the remote hands out objects by ref only */
    GIT_TROUBLE_NO_REF,  /* the remote has no such ref */
    GIT_TROUBLE_ACCESS,  /* no such repository, or not for us */
    GIT_TROUBLE_TRUST,   /* certificate or host key */
    GIT_TROUBLE_DAMAGE   /* our own cache is broken */
};

enum git_trouble git_classify(const char *text);

/* The first telling line, control bytes replaced, at most size - 1 bytes; for error texts. */
void git_brief(const char *text, char *out, size_t size);

/* Answers of `cat-file --batch`, one after another. */
struct git_object {
    const char *type; /* "commit", "tree", "blob", "tag"; NULL: missing */
    const char *name; /* full object name */
    const char *data;
    size_t len;
};

/* Takes the next answer from *at (with `left` bytes); false at the end or when it is cut off. */
bool git_batch_next(struct arena *a, const char **at, size_t *left, struct git_object *out);

/* The mode of a name in a raw tree object, 0 when it is not there. hash_len is 20 or 32. */
unsigned git_tree_mode(const struct git_object *tree, const char *name, size_t hash_len);

/* "tree <hex>" in a raw commit object, in the arena; NULL when malformed. */
const char *git_commit_tree(struct arena *a, const struct git_object *commit);

/* In the output of ls-remote: the object of exactly this ref, NULL when it is not listed. */
const char *git_lsremote_find(struct arena *a, const char *text, const char *ref);

/* In the output of `ls-remote --symref HEAD`: the branch, NULL when HEAD names none. */
const char *git_lsremote_head(struct arena *a, const char *text);

#endif
