/* A commit's tree as plain files: the last part of git.h. */
#include "core/git/git.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git_cache.h"
#include "core/git/git_modules.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

/* One checkout with all its submodules. */
struct tree {
    struct git *git;
    const struct git_checkout *what;
    int64_t size_max;
    int64_t size; /* of the files listed so far */
    size_t modules;
};

static void cleanup_repo(struct git_repo *repo)
{
    git_repo_close(repo);
}

static int too_large(const struct tree *t, struct err *err)
{
    return err_set(err, ERR_PERM, EFBIG, "the files are larger than %lld bytes together",
                   (long long)t->size_max);
}

/* Before anything is written: a small pack may hold huge files. *damaged: the cache lost objects.
 */
static int add_sizes(struct tree *t, struct git_repo *repo, const char *commit, bool *damaged,
                     struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHECKOUT_LIST);
    struct git_call call = git_repo_call(repo, GIT_FILTER_NONE);
    struct str_list argv = git_argv_sizes(&a, &call, commit);
    if (git_repo_run(repo, &argv, NULL, &r, err) < 0)
        return err_wrap(err, "list the files of %s", commit);
    *damaged = r.status != 0;
    if (*damaged)
        return git_repo_failed(repo, "ls-tree", &r, err);
    for (char *line = r.out.buf, *end; *line; line = end + 1) {
        end = strchrnul(line, '\n');
        bool last = !*end;
        *end = '\0';
        int64_t size;
        if (str_to_i64(line, &size) && size > 0)
            t->size += size > t->size_max ? t->size_max + 1 : size;
        if (t->size > t->size_max)
            return too_large(t, err);
        if (last)
            break;
    }
    return 0;
}

static int write_tree(const struct tree *t, struct git_repo *repo, const char *commit,
                      const char *dir, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    struct git_call call = git_repo_call(repo, GIT_FILTER_NONE);
    const char *lfs_url = t->what->lfs ? git_lfs_url(&a, repo->remote->url) : NULL;
    struct str_list argv = git_argv_write_tree(&a, &call, dir, lfs_url, commit);
    /* The index of an earlier checkout would say that the files are there already. */
    const char *index = arena_printf(&a, "%s/index", repo->dir);
    (void)unlink(index);
    (void)unlink(arena_printf(&a, "%s.lock", index));
    int rc = git_repo_run(repo, &argv, NULL, &r, err);
    (void)unlink(index);
    if (rc < 0)
        return err_wrap(err, "check out %s", commit);
    if (r.status == 0)
        return 0;
    if (strstr(r.err.buf, "invalid path")) {
        char reason[300];
        git_brief(strstr(r.err.buf, "invalid path"), reason, sizeof reason);
        return err_set(err, ERR_PERM, 0, "commit %s of %s can't be checked out: %s", commit,
                       repo->remote->url, reason);
    }
    return git_repo_failed(repo, "checkout", &r, err);
}

static int run_text(struct git_repo *repo, struct str_list *argv, const char *what,
                    struct proc_result *r, struct err *err)
{
    proc_result_init(r, LIMIT_CHILD_OUTPUT);
    if (git_repo_run(repo, argv, NULL, r, err) < 0)
        return err_wrap(err, "read %s", what);
    return r->status == 0
               ? 0
               : err_set(err, ERR_PERM, 0, "%s of %s can't be read", what, repo->remote->url);
}

/* The submodules that the commit wants, none where it has no .gitmodules. */
static int read_modules(struct git_repo *repo, const char *commit, struct arena *a,
                        struct git_modules *out, struct err *err)
{
    static const char *names = ".gitmodules";
    struct str_list paths = {&names, 1, 1};
    struct git_call call = git_repo_call(repo, GIT_FILTER_NONE);
    struct str_list argv = git_argv_entries(a, &call, commit, &paths);
    struct proc_result entry CLEANUP(proc_result_release);
    if (run_text(repo, &argv, "the list of files", &entry, err) < 0)
        return -1;
    *out = (struct git_modules){0};
    if (!entry.out.len)
        return 0;
    if (!str_starts(entry.out.buf, "100"))
        return err_set(err, ERR_PERM, 0, ".gitmodules of %s is not a regular file",
                       repo->remote->url);
    struct proc_result text CLEANUP(proc_result_release);
    argv = git_argv_modules(a, &call, commit);
    if (run_text(repo, &argv, ".gitmodules", &text, err) < 0 ||
        git_modules_read(a, text.out.buf, text.out.len, out, err) < 0)
        return -1;
    if (!out->n)
        return 0;
    paths = (struct str_list){0};
    list_each (struct git_module, m, out)
        *list_push(a, &paths) = m->path;
    struct proc_result links CLEANUP(proc_result_release);
    argv = git_argv_entries(a, &call, commit, &paths);
    if (run_text(repo, &argv, "the list of submodules", &links, err) < 0)
        return -1;
    git_modules_set_commits(a, out, links.out.buf, links.out.len);
    return 0;
}

/* Opens a cache with the commit and adds up its files, once more where the cache was damaged. */
static int open_listed(struct tree *t, struct git_repo *repo, const struct git_remote *r,
                       const char *commit, const char *ref, struct err *err)
{
    int64_t before = t->size;
    for (int attempt = 0;; attempt++) {
        bool damaged = false;
        t->size = before;
        if (git_repo_open_with(repo, t->git, r, commit, GIT_CACHE_TREES, ref, err) < 0) {
            bool gone = err && err->kind == ERR_TEMP && err->code == ENOENT;
            return gone ? err_set(err, ERR_PERM, ENOENT, "%s does not have commit %s (any more)",
                                  r->url, commit)
                        : -1;
        }
        if (add_sizes(t, repo, commit, &damaged, err) == 0)
            return 0;
        if (!damaged || attempt)
            return -1;
        (void)git_repo_discard(repo, NULL);
        git_repo_close(repo);
    }
}

static int check_out(struct tree *t, const struct git_remote *r, const char *commit,
                     const char *ref, const char *dir, int depth, struct err *err);

/* No folder on the way may be a link: git wrote the tree, and would not, but it is not git who
 * enters here. */
static int check_permit(const struct tree *t, const struct git_module *m, const char *url,
                        struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    if (!t->what->may_fetch || t->what->may_fetch(t->what->user, url))
        return 0;
    return err_set(err, ERR_PERM, EACCES,
                   "submodule '%.100s' comes from %.200s, which the operator's policy does not let "
                   "these builds take in (`sources`)",
                   str_printable(&a, m->name), str_printable(&a, url));
}

static int check_way(const char *dir, const char *path, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (const char *end = path; *end;) {
        end += strcspn(end, "/");
        struct stat st;
        const char *part = arena_printf(&a, "%s/%.*s", dir, (int)(end - path), path);
        if (lstat(part, &st) < 0 || !S_ISDIR(st.st_mode))
            return err_set(err, ERR_PERM, 0, "submodule at %.200s: its folder is not one",
                           str_printable(&a, path));
        end += *end == '/';
    }
    return 0;
}

static int check_out_modules(struct tree *t, const struct git_remote *r,
                             const struct git_modules *modules, const char *dir, int depth,
                             struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    list_each (const struct git_module, m, modules) {
        struct git_remote remote = *r;
        if (!m->commit)
            continue;
        if (depth >= LIMIT_SUBMODULES_DEPTH || ++t->modules > LIMIT_SUBMODULES)
            return err_set(err, ERR_PERM, 0, "more than %d submodules, or %d of them nested",
                           LIMIT_SUBMODULES, LIMIT_SUBMODULES_DEPTH);
        if (git_module_url(&a, r->url, m, &remote.url, err) < 0 ||
            check_permit(t, m, remote.url, err) < 0 || check_way(dir, m->path, err) < 0 ||
            check_out(t, &remote, m->commit, NULL, arena_printf(&a, "%s/%s", dir, m->path),
                      depth + 1, err) < 0)
            return err_wrap(err, "submodule '%.100s'", str_printable(&a, m->name));
    }
    return 0;
}

static int check_out(struct tree *t, const struct git_remote *r, const char *commit,
                     const char *ref, const char *dir, int depth, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct git_modules modules = {0};
    struct git_repo repo CLEANUP(cleanup_repo) = {.lock = -1, .auth = -1, .have = STRBUF_INIT(0)};
    if (open_listed(t, &repo, r, commit, ref, err) < 0 ||
        write_tree(t, &repo, commit, dir, err) < 0 ||
        (t->what->submodules && read_modules(&repo, commit, &a, &modules, err) < 0))
        return -1;
    /* Two checkouts whose submodules are each other must not wait for each other. */
    git_repo_close(&repo);
    return check_out_modules(t, r, &modules, dir, depth, err);
}

static void cleanup_fts(FTS **walk)
{
    if (*walk)
        (void)fts_close(*walk);
}

static FTS *open_walk(const char *dir)
{
    char *path CLEANUP(cleanup_free) = xstrdup(dir);
    char *paths[] = {path, NULL};
    return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
}

/* The modes that everybody's checkout has, and the size of what filters have made of the files. */
static int finish(const struct tree *t, struct err *err)
{
    FTS *walk CLEANUP(cleanup_fts) = open_walk(t->what->dir);
    int64_t size = 0;
    if (!walk)
        return err_errno(err, ERR_PERM, errno, "%s", t->what->dir);
    for (FTSENT *entry; (errno = 0, entry = fts_read(walk));) {
        if (entry->fts_info == FTS_DP || entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE)
            continue;
        if (entry->fts_info != FTS_D && entry->fts_info != FTS_F)
            return err_errno(err, ERR_PERM, entry->fts_errno, "read the checkout");
        if (entry->fts_level > LIMIT_CHECKOUT_DEPTH)
            return err_set(err, ERR_PERM, 0, "more than %d folders in one another",
                           LIMIT_CHECKOUT_DEPTH);
        const struct stat *st = entry->fts_statp;
        bool runs = entry->fts_info == FTS_D || (st->st_mode & 0100);
        if (chmod(entry->fts_accpath, runs ? 0755 : 0644) < 0)
            return err_errno(err, ERR_PERM, errno, "mode of a checked out file");
        size += entry->fts_info == FTS_F ? st->st_size : 0;
        if (size > t->size_max)
            return too_large(t, err);
    }
    return errno ? err_errno(err, ERR_PERM, errno, "read the checkout") : 0;
}

/* Any depth: fs_remove_tree keeps a folder open for each level. */
static void remove_all(const char *dir, bool itself)
{
    FTS *walk CLEANUP(cleanup_fts) = open_walk(dir);
    for (FTSENT *entry; walk && (entry = fts_read(walk));) {
        if (entry->fts_info == FTS_D || (entry->fts_level == 0 && !itself))
            continue;
        if (entry->fts_info == FTS_DP)
            (void)rmdir(entry->fts_accpath);
        else
            (void)unlink(entry->fts_accpath);
    }
}

static int need_lfs(const struct git *g, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const argv[] = {"git-lfs", "version", NULL};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    struct proc_opts opts = {.argv = argv, .env = git_env(&a, getenv("PATH"), g->cache_dir)};
    if (proc_run(&opts, &r, err) == 0 && r.status == 0)
        return 0;
    return err_set(err, ERR_CONFIG, ENOENT,
                   "this repository asks for files of Git LFS, and git-lfs is not installed");
}

static int make_empty(const char *dir, bool *made, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    if (*dir != '/')
        return err_set(err, ERR_BUG, 0, "a checkout needs an absolute path");
    *made = mkdir(dir, 0755) == 0;
    if (!*made && errno != EEXIST)
        return err_errno(err, ERR_PERM, errno, "make %s", dir);
    if (fs_list(dir, NULL, &a, &names, err) < 0)
        return -1;
    return names.n ? err_set(err, ERR_BUG, ENOTEMPTY, "%s is not empty", dir) : 0;
}

int git_checkout(struct git *g, const struct git_remote *r, const struct git_checkout *what,
                 struct err *err)
{
    struct tree t = {
        .git = g, .what = what, .size_max = what->size_max ? what->size_max : LIMIT_CHECKOUT};
    struct err own = ERR_INIT;
    bool made = false;
    if (!err)
        err = &own;
    if (git_check_object(what->commit, err) < 0 ||
        (what->ref && git_check_ref("ref", what->ref, err) < 0) ||
        (what->lfs && need_lfs(g, err) < 0) || make_empty(what->dir, &made, err) < 0)
        return -1;
    if (check_out(&t, r, what->commit, what->ref, what->dir, 0, err) == 0 && finish(&t, err) == 0)
        return 0;
    remove_all(what->dir, made);
    return -1;
}
