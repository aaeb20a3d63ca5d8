#include "cgi/command/job_source.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/event.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <sys/stat.h>

enum { ARGS_MAX = 16, SAID_MAX = 300 };

/* Runs git in a folder; its output, without the line end, lies in the arena. *failed: git ended
 * with an error, *out is then what it said. */
static int git(const char *dir, const char *const *words, struct arena *a, const char **out,
               size_t *len, bool *failed, struct err *err)
{
    const char *argv[ARGS_MAX] = {"git", "-c", "core.fsmonitor=false", "-C", dir};
    const char *path = getenv("PATH"), *home = getenv("HOME");
    const char *const env[] = {
        arena_printf(a, "PATH=%s", path ? path : "/usr/local/bin:/usr/bin:/bin"),
        arena_printf(a, "HOME=%s", home ? home : "/nonexistent"),
        "LANG=C.UTF-8",
        "GIT_OPTIONAL_LOCKS=0",
        "GIT_TERMINAL_PROMPT=0",
        NULL,
    };
    size_t n = 5;
    for (; *words && n + 1 < ARGS_MAX; words++)
        argv[n++] = *words;
    const struct proc_opts opts = {.argv = argv, .env = env};
    struct proc_result result;
    proc_result_init(&result, LIMIT_YAML_BYTES + 1);
    int rc = proc_run(&opts, &result, err);
    if (rc == 0) {
        *failed = result.status != 0;
        struct strbuf *text = *failed ? &result.err : &result.out;
        *len = text->len;
        *out = strbuf_to_arena(text, a);
    }
    proc_result_release(&result);
    return rc;
}

static const char *first_line(const char *text, struct arena *a)
{
    size_t len = strcspn(text, "\r\n");
    return arena_strndup(a, text, len < SAID_MAX ? len : SAID_MAX);
}

/* One line of output; NULL when git has none to give. */
static int ask(const struct job_source *s, const char *const *words, struct arena *a,
               const char **line, struct err *err)
{
    const char *out = NULL;
    size_t len;
    bool failed = false;
    *line = NULL;
    if (git(s->dir, words, a, &out, &len, &failed, err) < 0)
        return -1;
    if (!failed && *out)
        *line = first_line(out, a);
    return 0;
}

/* https://host/team/app.git, git@host:team/app, ssh://host:29418/team/app: "team/app". */
static const char *project_of_url(const char *url, struct arena *a)
{
    const char *path = strstr(url, "://");
    if (path)
        path = strchr(path + 3, '/');
    else if ((path = strchr(url, ':')) == NULL)
        return NULL;
    if (!path)
        return NULL;
    path += strspn(path, ":/");
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        len--;
    char *name = arena_strndup(a, path, len);
    if (str_ends(name, ".git"))
        name[len - 4] = '\0';
    return event_project_ok(name) ? name : NULL;
}

static int look_at_git(struct job_source *s, struct arena *a, struct err *err)
{
    static const char *const top[] = {"rev-parse", "--show-toplevel", NULL};
    static const char *const prefix[] = {"rev-parse", "--show-prefix", NULL};
    static const char *const head[] = {"rev-parse", "--verify", "-q", "HEAD^{commit}", NULL};
    static const char *const branch[] = {"symbolic-ref", "-q", "--short", "HEAD", NULL};
    static const char *const remote[] = {"config", "--get", "remote.origin.url", NULL};
    static const char *const dirty[] = {"status", "--porcelain", "--untracked-files=no",
                                        "--ignore-submodules=untracked", NULL};
    const char *url, *changed;
    if (ask(s, top, a, &s->top, err) < 0)
        return err->kind == ERR_CONFIG && err->code == ENOENT ? 0 : -1;
    if (!s->top)
        return 0;
    if (ask(s, prefix, a, &s->prefix, err) < 0 || ask(s, head, a, &s->head, err) < 0 ||
        ask(s, branch, a, &s->branch, err) < 0 || ask(s, remote, a, &url, err) < 0 ||
        ask(s, dirty, a, &changed, err) < 0)
        return -1;
    s->project = url ? project_of_url(url, a) : NULL;
    s->is_dirty = changed != NULL;
    if (!s->prefix)
        s->prefix = "";
    return 0;
}

int job_source_look(const char *dir, struct arena *a, struct job_source *out, struct err *err)
{
    struct stat st;
    char *real CLEANUP(cleanup_free) = realpath(dir, NULL);
    *out = (struct job_source){0};
    if (!real || stat(real, &st) < 0)
        return err_errno(err, ERR_CONFIG, errno, "--source %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_CONFIG, ENOTDIR, "--source %s is no directory", dir);
    out->dir = arena_strdup(a, real);
    return look_at_git(out, a, err);
}

int job_source_commit(const struct job_source *s, const char *name, struct arena *a,
                      const char **commit, struct err *err)
{
    const char *const words[] = {
        "rev-parse", "--verify", "-q", "--end-of-options", arena_printf(a, "%s^{commit}", name),
        NULL};
    *commit = NULL;
    if (s->top && ask(s, words, a, commit, err) < 0)
        return -1;
    if (*commit && event_commit_ok(*commit))
        return 0;
    return err_set(err, ERR_CONFIG, ENOENT, "--commit %.200s: %s%s", name,
                   s->top ? "there is no such commit in " : "there is no git working tree at ",
                   s->dir);
}

int job_source_tag_commit(const struct job_source *s, const char *tag, struct arena *a,
                          const char **commit, struct err *err)
{
    const char *const words[] = {"rev-parse",
                                 "--verify",
                                 "-q",
                                 "--end-of-options",
                                 arena_printf(a, "refs/tags/%s^{commit}", tag),
                                 NULL};
    const char *found = NULL;
    if (s->top && ask(s, words, a, &found, err) < 0)
        return -1;
    if (found && event_commit_ok(found))
        *commit = found;
    return 0;
}

int job_source_tree(const struct job_source *s, const char *commit, struct arena *a,
                    const char **tree, struct err *err)
{
    const char *const words[] = {
        "rev-parse", "--verify", "-q", "--end-of-options", arena_printf(a, "%s^{tree}", commit),
        NULL};
    if (ask(s, words, a, tree, err) < 0)
        return -1;
    return *tree ? 0
                 : err_set(err, ERR_PERM, ENOENT, "%s has no tree for commit %s", s->dir, commit);
}

static int read_at_commit(const struct job_source *s, const char *commit, const char *path,
                          struct arena *a, const char **text, size_t *len, struct err *err)
{
    const char *const words[] = {"show", "--no-textconv", "--end-of-options",
                                 arena_printf(a, "%s:./%s", commit, path), NULL};
    bool failed = false;
    if (git(s->dir, words, a, text, len, &failed, err) < 0)
        return -1;
    return failed ? err_set(err, ERR_CONFIG, ENOENT, "%s at %.12s: %s", path, commit,
                            first_line(*text, a))
                  : 0;
}

int job_source_read(const struct job_source *s, const char *commit, const char *path,
                    struct arena *a, const char **text, size_t *len, struct err *err)
{
    struct strbuf content CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_BYTES);
    if (commit)
        return read_at_commit(s, commit, path, a, text, len, err);
    const char *full = *path == '/' ? path : arena_printf(a, "%s/%s", s->dir, path);
    if (fs_read_file(full, &content, err) < 0) {
        err->kind = ERR_CONFIG;
        return -1;
    }
    *text = strbuf_to_arena(&content, a);
    *len = content.len;
    return 0;
}
