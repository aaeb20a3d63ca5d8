/* Questions about refs and history: the second part of git.h. */
#include "core/git/git.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git_cache.h"
#include "core/git/git_memory.h"
#include "core/os/clock.h"

static void cleanup_repo(struct git_repo *repo)
{
    git_repo_close(repo);
}

#define GIT_REPO_INIT                                                                              \
    {                                                                                              \
        .lock = -1, .auth = -1, .have = STRBUF_INIT(0)                                             \
    }

/* ls-remote with options and exact refs; the answer is in the arena. */
static int ls_remote(const struct git *g, const struct git_remote *r, const struct str_list *args,
                     struct arena *a, const char **text, struct err *err)
{
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    if (git_repo_open(&repo, g, r, GIT_CACHE_FILES, false, err) < 0)
        return -1;
    struct proc_result result CLEANUP(proc_result_release);
    proc_result_init(&result, LIMIT_CHILD_OUTPUT);
    struct str_list argv = git_repo_argv(&repo, GIT_FILTER_NONE, a);
    *list_push(a, &argv) = "ls-remote";
    for (size_t i = 0; i < args->n; i++)
        *list_push(a, &argv) = args->at[i];
    if (git_repo_run(&repo, &argv, NULL, &result, err) < 0)
        return err_wrap(err, "git ls-remote, %s", r->url);
    if (result.status != 0)
        return git_repo_failed(&repo, "ls-remote", &result, err);
    *text = strbuf_to_arena(&result.out, a);
    return 0;
}

int git_resolve_tag(struct git *g, const struct git_remote *r, const char *tag, struct arena *a,
                    const char **commit, struct err *err)
{
    if (git_check_ref("tag", tag, err) < 0)
        return -1;
    const char *ref = arena_printf(a, "refs/tags/%s", tag);
    const char *peeled = arena_printf(a, "refs/tags/%s^{}", tag);
    const char *list[] = {"--quiet", "--end-of-options", "origin", ref, peeled};
    struct str_list args = {list, ARRAY_LEN(list), ARRAY_LEN(list)};
    const char *text;
    if (ls_remote(g, r, &args, a, &text, err) < 0)
        return -1;
    const char *found = git_lsremote_find(a, text, peeled);
    *commit = found ? found : git_lsremote_find(a, text, ref);
    return 0;
}

int git_resolve_branch(struct git *g, const struct git_remote *r, const char *branch,
                       struct arena *a, const char **commit, struct err *err)
{
    if (git_check_ref("branch", branch, err) < 0)
        return -1;
    const char *ref = arena_printf(a, "refs/heads/%s", branch);
    const char *list[] = {"--quiet", "--end-of-options", "origin", ref};
    struct str_list args = {list, ARRAY_LEN(list), ARRAY_LEN(list)};
    const char *text;
    if (ls_remote(g, r, &args, a, &text, err) < 0)
        return -1;
    *commit = git_lsremote_find(a, text, ref);
    return 0;
}

int git_default_branch(struct git *g, const struct git_remote *r, struct arena *a,
                       const char **branch, struct err *err)
{
    const char *list[] = {"--quiet", "--symref", "--end-of-options", "origin", "HEAD"};
    struct str_list args = {list, ARRAY_LEN(list), ARRAY_LEN(list)};
    const char *text;
    *branch = git_memory_branch(g->memory, r->url, clock_monotonic_ms(), a);
    if (*branch)
        return 0;
    if (ls_remote(g, r, &args, a, &text, err) < 0)
        return -1;
    *branch = git_lsremote_head(a, text);
    if (*branch)
        git_memory_set_branch(g->memory, r->url, *branch, clock_monotonic_ms());
    return 0;
}

/* Asks the cache alone. *known false: a commit of the two is not in it. */
static int merge_base(struct git_repo *repo, const char *option, const char *left,
                      const char *right, struct proc_result *r, bool *known, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list argv = git_repo_argv(repo, GIT_FILTER_NONE, &a);
    *list_push(&a, &argv) = "merge-base";
    if (option)
        *list_push(&a, &argv) = option;
    *list_push(&a, &argv) = "--end-of-options";
    *list_push(&a, &argv) = left;
    *list_push(&a, &argv) = right;
    strbuf_reset(&r->out);
    strbuf_reset(&r->err);
    if (git_repo_run(repo, &argv, NULL, r, err) < 0)
        return err_wrap(err, "git merge-base, %s", repo->remote->url);
    *known = r->status == 0 || r->status == 1;
    if (*known || strstr(r->err.buf, "Not a valid"))
        return 0;
    return git_repo_failed(repo, "merge-base", r, err);
}

static int judge(struct git_repo *repo, const char *mine, const char *applied, bool *known,
                 enum ancestry *out, struct err *err)
{
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    if (merge_base(repo, NULL, mine, applied, &r, known, err) < 0)
        return -1;
    if (!*known)
        return 0;
    /* Where one commit contains the other there is one best base, and it is the older one. */
    char base[65] = "";
    size_t len = strcspn(r.out.buf, "\n");
    if (len < sizeof base)
        memcpy(base, r.out.buf, len);
    *out = r.status == 1           ? ANCESTRY_DIVERGED
           : str_eq(base, applied) ? ANCESTRY_DESCENDANT
           : str_eq(base, mine)    ? ANCESTRY_ANCESTOR
                                   : ANCESTRY_DIVERGED;
    return 0;
}

/* *lacking: the remote has said, or may have, that it does not have one of the two. */
static int fetch_commits(struct git_repo *repo, const char *mine, const char *applied,
                         bool *lacking, struct err *err)
{
    enum git_trouble trouble;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *const wanted[] = {mine, applied};
    struct str_list refspecs = {0};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!git_repo_has(repo, wanted[i]))
            *list_push(&a, &refspecs) =
                arena_printf(&a, "+%s:refs/slipway/%c%c", wanted[i], i ? 'b' : 'a', wanted[i][0]);
    if (git_repo_fetch(repo, &refspecs, &trouble, err) < 0)
        return -1;
    *lacking = trouble != GIT_TROUBLE_NONE;
    if (trouble == GIT_TROUBLE_REFUSED) {
        static const char *heads = "+refs/heads/*:refs/slipway/heads/*";
        refspecs = (struct str_list){&heads, 1, 1};
        if (git_repo_fetch(repo, &refspecs, &trouble, err) < 0)
            return -1;
        return git_repo_note(repo, "-", err);
    }
    for (size_t i = 0; trouble == GIT_TROUBLE_NONE && i < ARRAY_LEN(wanted); i++)
        if (!git_repo_has(repo, wanted[i]) && git_repo_note(repo, wanted[i], err) < 0)
            return -1;
    return 0;
}

int git_ancestry(struct git *g, const struct git_remote *r, const char *mine, const char *applied,
                 enum ancestry *out, struct err *err)
{
    if (git_check_object(mine, err) < 0 || git_check_object(applied, err) < 0)
        return -1;
    if (strlen(mine) != strlen(applied))
        return err_set(err, ERR_INPUT, 0, "two commit ids of different kinds (SHA-1 and SHA-256)");
    if (str_eq(mine, applied)) {
        *out = ANCESTRY_SAME;
        return 0;
    }
    if (git_memory_descends(g->memory, mine, applied)) {
        *out = ANCESTRY_DESCENDANT;
        return 0;
    }
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    if (git_repo_open(&repo, g, r, GIT_CACHE_COMMITS, strlen(mine) == 64, err) < 0)
        return -1;
    struct err fetching = ERR_INIT, judging = ERR_INIT;
    bool cached = git_repo_has(&repo, mine) && git_repo_has(&repo, applied);
    bool lacking = false;
    int asked = cached ? 0 : fetch_commits(&repo, mine, applied, &lacking, &fetching);
    /* History does not change: what the cache knows is true even when the remote is away. */
    bool known = false;
    int judged = judge(&repo, mine, applied, &known, out, &judging);
    if (judged == 0 && known)
        return 0;
    if (asked < 0 || judged < 0) {
        if (err)
            *err = asked < 0 ? fetching : judging;
        return -1;
    }
    if (lacking) {
        *out = ANCESTRY_DIVERGED;
        return 0;
    }
    (void)git_repo_discard(&repo, NULL);
    return err_set(err, ERR_TEMP, 0, "the git cache of %s was damaged and is made anew", r->url);
}

int git_on_branch(struct git *g, const struct git_remote *r, const char *commit, const char *branch,
                  bool *out, struct err *err)
{
    if (git_check_object(commit, err) < 0 || git_check_ref("branch", branch, err) < 0)
        return -1;
    struct git_repo repo CLEANUP(cleanup_repo) = GIT_REPO_INIT;
    if (git_repo_open(&repo, g, r, GIT_CACHE_COMMITS, strlen(commit) == 64, err) < 0)
        return -1;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    unsigned slot = 0;
    for (const char *p = branch; *p; p++)
        slot = (slot * 31 + (unsigned char)*p) % 16;
    const char *head = arena_printf(&a, "refs/slipway/branch-%x", slot);
    const char *spec = arena_printf(&a, "+refs/heads/%s:%s", branch, head);
    struct str_list refspecs = {&spec, 1, 1};
    enum git_trouble trouble;
    if (git_repo_fetch(&repo, &refspecs, &trouble, err) < 0)
        return -1;
    if (trouble == GIT_TROUBLE_NO_REF) {
        *out = false;
        return 0;
    }
    if (trouble != GIT_TROUBLE_NONE)
        return err_set(err, ERR_TEMP, 0, "%s does not hand out branch %s", r->url, branch);
    struct proc_result result CLEANUP(proc_result_release);
    proc_result_init(&result, LIMIT_CHILD_OUTPUT);
    bool known = false;
    if (git_repo_note(&repo, "-", err) < 0 ||
        merge_base(&repo, "--is-ancestor", commit, head, &result, &known, err) < 0)
        return -1;
    /* The branch's whole history is here: what is not in the cache is not on the branch. */
    *out = known && result.status == 0;
    return 0;
}
