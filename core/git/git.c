#include "core/git/git.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git_cache.h"
#include "core/git/git_memory.h"

#include <errno.h>

static const char by_ref_only[] = "slipway-by-ref-only";

struct git *git_new(const struct git_opts *opts, struct err *err)
{
    if (!opts || str_empty(opts->cache_dir) || *opts->cache_dir != '/') {
        (void)err_set(err, ERR_CONFIG, 0, "git: the cache directory must be an absolute path");
        return NULL;
    }
    struct git *g = xcalloc(1, sizeof *g);
    g->cache_dir = xstrdup(opts->cache_dir);
    g->memory = git_memory_new();
    return g;
}

void git_stop_by(struct git *g, const atomic_bool *stop)
{
    g->stop = stop;
}

void git_free(struct git *g)
{
    if (!g)
        return;
    git_memory_free(g->memory);
    free(g->cache_dir);
    free(g);
}

static bool is_sha256(const char *object)
{
    return strlen(object) == 64;
}

/* A few refs hold the newest objects, so that the next fetch can say what we have; `group` keeps
 * two objects of one fetch apart. */
static const char *keep_refspec(struct arena *a, const char *object, const char *group)
{
    return arena_printf(a, "+%s:refs/slipway/%s%c", object, group, object[0]);
}

static int gone(const struct git_remote *r, const char *object, struct err *err)
{
    return err_set(err, ERR_TEMP, ENOENT, "%s does not have %s (yet, or any more)", r->url, object);
}

static int run_batch(struct git_repo *repo, const char *input, struct proc_result *out,
                     struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    enum git_filter filter = repo->kind == GIT_CACHE_FILES ? GIT_FILTER_BLOBS : GIT_FILTER_NONE;
    struct str_list argv = git_repo_argv(repo, filter, &a);
    *list_push(&a, &argv) = "cat-file";
    *list_push(&a, &argv) = "--batch";
    if (git_repo_run(repo, &argv, input, out, err) == 0)
        return 0;
    /* Too large for us is too large for the disk as well, once for each commit. */
    if (err && err->code == EMSGSIZE)
        (void)git_repo_discard(repo, NULL);
    return err_wrap(err, "git cat-file, %s", repo->remote->url);
}

/* Is the object in the cache? */
static int holds(struct git_repo *repo, const char *object, bool *there, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    if (run_batch(repo, arena_printf(&a, "%s\n", object), &r, err) < 0)
        return -1;
    struct git_object found;
    const char *at = r.out.buf;
    size_t left = r.out.len;
    if (!git_batch_next(&a, &at, &left, &found))
        return git_repo_failed(repo, "cat-file", &r, err);
    *there = found.type != NULL;
    return 0;
}

/* The whole repository, where the server hands out nothing but what its refs name. */
static int fetch_all(struct git_repo *repo, const char *object, struct err *err)
{
    static const char *specs[] = {"+refs/heads/*:refs/slipway/heads/*",
                                  "+refs/tags/*:refs/slipway/tags/*"};
    struct str_list refspecs = {specs, ARRAY_LEN(specs), ARRAY_LEN(specs)};
    enum git_trouble trouble;
    bool there = false;
    if (git_repo_fetch(repo, &refspecs, &trouble, err) < 0 || holds(repo, object, &there, err) < 0)
        return -1;
    return there ? git_repo_note(repo, object, err) : gone(repo->remote, object, err);
}

/* Asks for the object by its name, then by a ref that may hold it. *trouble REFUSED: neither way.
 */
static int fetch_one(struct git_repo *repo, const char *object, const char *ref,
                     enum git_trouble *trouble, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    *trouble = GIT_TROUBLE_REFUSED;
    if (!git_repo_marked(repo, by_ref_only)) {
        const char *spec = keep_refspec(&a, object, "");
        struct str_list refspecs = {&spec, 1, 1};
        if (git_repo_fetch(repo, &refspecs, trouble, err) < 0)
            return -1;
        if (*trouble != GIT_TROUBLE_REFUSED)
            return 0;
        if (git_repo_mark(repo, by_ref_only, err) < 0)
            return -1;
    }
    if (!ref)
        return 0;
    const char *spec = arena_printf(&a, "+%s:refs/slipway/by-ref-%c", ref, object[0]);
    struct str_list refspecs = {&spec, 1, 1};
    enum git_trouble by_ref;
    bool there = false;
    if (git_repo_fetch(repo, &refspecs, &by_ref, err) < 0 ||
        (by_ref == GIT_TROUBLE_NONE && holds(repo, object, &there, err) < 0))
        return -1;
    if (there)
        *trouble = GIT_TROUBLE_NONE;
    return 0;
}

int git_repo_open_with(struct git_repo *repo, const struct git *g, const struct git_remote *r,
                       const char *object, enum git_kind kind, const char *ref, struct err *err)
{
    bool sha256 = is_sha256(object);
    enum git_trouble trouble;
    if (git_repo_open(repo, g, r, kind, sha256, err) < 0)
        return -1;
    if (git_repo_has(repo, object))
        return 0;
    if (fetch_one(repo, object, ref, &trouble, err) < 0)
        return -1;
    if (trouble == GIT_TROUBLE_NONE)
        return git_repo_note(repo, object, err);
    if (trouble != GIT_TROUBLE_REFUSED)
        return gone(r, object, err);
    git_repo_close(repo);
    if (git_repo_open(repo, g, r, GIT_CACHE_ALL, sha256, err) < 0)
        return -1;
    return git_repo_has(repo, object) ? 0 : fetch_all(repo, object, err);
}

/* Reads the peeled commit and what else the input asks for behind it. *lost: the cache does not
 * hold the commit although it should. */
static int read_peeled(struct git_repo *repo, const char *object, const char *more,
                       struct proc_result *r, struct arena *a, struct git_object *commit,
                       bool *lost, struct err *err)
{
    const char *input = arena_printf(a, "%s^{commit}\n%s", object, more);
    if (run_batch(repo, input, r, err) < 0)
        return -1;
    const char *at = r->out.buf;
    size_t left = r->out.len;
    *lost = !git_batch_next(a, &at, &left, commit) || !commit->type;
    return 0;
}

/* Opens and reads; a cache that lost the object (somebody tidied it) is made anew once.
 */
static int open_and_read(struct git_repo *repo, const struct git *g, const struct git_remote *r,
                         const char *object, const char *more, struct proc_result *result,
                         struct arena *a, struct git_object *commit, struct err *err)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        bool cached, lost;
        strbuf_reset(&result->out);
        strbuf_reset(&result->err);
        if (git_repo_open_with(repo, g, r, object, GIT_CACHE_FILES, NULL, err) < 0 ||
            read_peeled(repo, object, more, result, a, commit, &lost, err) < 0)
            return -1;
        if (!lost)
            return 0;
        cached = git_repo_discard(repo, err) == 0;
        git_repo_close(repo);
        if (!cached)
            return -1;
    }
    return err_set(err, ERR_PERM, 0, "%s in %s is not a commit", object, r->url);
}

/* The three answers of a file's read: commit, directory, file. */
static int judge_file(struct git_repo *repo, const struct proc_result *r, const char *path,
                      const char *commit, struct arena *a, struct git_object *file, bool *missing,
                      struct err *err)
{
    const char *at = r->out.buf;
    size_t left = r->out.len;
    struct git_object head, dir;
    if (!git_batch_next(a, &at, &left, &head) || !git_batch_next(a, &at, &left, &dir))
        return git_repo_failed(repo, "cat-file", r, err);
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    unsigned mode = str_eq(dir.type, "tree") ? git_tree_mode(&dir, name, strlen(commit) / 2) : 0;
    *missing = mode == 0;
    if (*missing)
        return 0;
    const char *what = mode == 0120000   ? "a symbolic link"
                       : mode == 040000  ? "a directory"
                       : mode == 0160000 ? "a submodule"
                                         : NULL;
    if (what)
        return err_set(err, ERR_CONFIG, 0, "%s at %s is %s; it must be a regular file", path,
                       commit, what);
    if (!git_batch_next(a, &at, &left, file) || !file->type)
        return git_repo_failed(repo, "cat-file", r, err);
    return 0;
}

static void cleanup_repo(struct git_repo *repo)
{
    git_repo_close(repo);
}

#define GIT_REPO_INIT                                                                              \
    {                                                                                              \
        .lock = -1, .auth = -1, .have = STRBUF_INIT(0)                                             \
    }

int git_read_file(struct git *g, const struct git_remote *r, const char *commit, const char *path,
                  struct arena *a, const char **content, size_t *len, bool *missing,
                  struct err *err)
{
    if (git_check_object(commit, err) < 0 || git_check_path(path, err) < 0)
        return -1;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    const char *slash = strrchr(path, '/');
    const char *more = arena_printf(&scratch, "%s:%.*s\n%s:%s\n", commit,
                                    slash ? (int)(slash - path) : 0, path, commit, path);
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    struct proc_result result CLEANUP(proc_result_release);
    proc_result_init(&result, LIMIT_CHILD_OUTPUT * 2);
    struct git_object head, file = {0};
    bool absent = false;
    if (open_and_read(&repo, g, r, commit, more, &result, &scratch, &head, err) < 0 ||
        judge_file(&repo, &result, path, commit, &scratch, &file, &absent, err) < 0)
        return err_wrap(err, "read %s", path);
    git_memory_commit(g->memory, commit, head.data, head.len);
    *missing = absent;
    *content = absent ? NULL : arena_strndup(a, file.data, file.len);
    *len = absent ? 0 : file.len;
    return 0;
}

int git_peel(struct git *g, const struct git_remote *r, const char *object, struct arena *a,
             const char **commit, struct err *err)
{
    if (git_check_object(object, err) < 0)
        return -1;
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    struct proc_result result CLEANUP(proc_result_release);
    proc_result_init(&result, LIMIT_CHILD_OUTPUT);
    struct git_object peeled;
    if (open_and_read(&repo, g, r, object, "", &result, a, &peeled, err) < 0)
        return -1;
    if (!git_repo_has(&repo, peeled.name) && git_repo_note(&repo, peeled.name, err) < 0)
        return -1;
    *commit = peeled.name;
    return 0;
}

int git_tree(struct git *g, const struct git_remote *r, const char *commit, struct arena *a,
             const char **tree, struct err *err)
{
    if (git_check_object(commit, err) < 0)
        return -1;
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    struct proc_result result CLEANUP(proc_result_release);
    proc_result_init(&result, LIMIT_CHILD_OUTPUT);
    struct git_object object;
    if (open_and_read(&repo, g, r, commit, "", &result, a, &object, err) < 0)
        return -1;
    const char *found = git_commit_tree(a, &object);
    if (!found)
        return err_set(err, ERR_PERM, 0, "commit %s in %s is malformed", commit, r->url);
    *tree = found;
    return 0;
}
