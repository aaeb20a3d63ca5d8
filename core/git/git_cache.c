#include "core/git/git_cache.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/os/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static const char have_file[] = "slipway-have";

/* A memory file with a number above the standard streams, as proc_run wants it. */
static int memory_file(const struct strbuf *content, struct err *err)
{
    int raw CLEANUP(cleanup_fd) = memfd_create("slipway-git", MFD_CLOEXEC);
    int fd = raw < 0 ? -1 : fcntl(raw, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0)
        return err_errno(err, ERR_PERM, errno, "memory file for git");
    if (fs_write_all(fd, content->buf, content->len, err) < 0) {
        cleanup_fd(&fd);
        return err_wrap(err, "memory file for git");
    }
    return fd;
}

static int open_auth(struct git_repo *repo, struct err *err)
{
    const struct git_remote *remote = repo->remote;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *origin = git_url_origin(&a, remote->url);
    if (!origin || str_empty(remote->username) || !remote->password)
        return 0;
    if (strchr(remote->username, ':'))
        return err_set(err, ERR_CONFIG, 0, "a user name for %s must not hold a colon", origin);
    char *pair = arena_printf(&a, "%s:%s", remote->username, remote->password);
    char *basic = crypt_base64(&a, pair, strlen(pair));
    struct strbuf config CLEANUP_STRBUF = STRBUF_INIT(LIMIT_TOKEN * 2);
    git_auth_config(&config, origin, basic);
    repo->auth = config.full
                     ? err_set(err, ERR_CONFIG, 0, "the password for %s is too long", origin)
                     : memory_file(&config, err);
    crypt_wipe(pair, strlen(pair));
    crypt_wipe(basic, strlen(basic));
    crypt_wipe(config.buf, config.len);
    return repo->auth < 0 ? -1 : 0;
}

static int write_file(const char *path, const char *text, struct err *err)
{
    return fs_replace_file(path, text, strlen(text), 0600, err);
}

/* What `git init --bare` makes, without the process. HEAD comes last: with it the cache is whole.
 */
static int make_cache(const struct git_repo *repo, bool sha256, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    if (fs_exists(arena_printf(&a, "%s/HEAD", repo->dir)))
        return 0;
    if (fs_remove_tree(repo->dir, err) < 0 ||
        fs_mkdirs(arena_printf(&a, "%s/objects/pack", repo->dir), 0700, err) < 0 ||
        fs_mkdirs(arena_printf(&a, "%s/refs/slipway", repo->dir), 0700, err) < 0 ||
        write_file(arena_printf(&a, "%s/config", repo->dir),
                   git_repo_config(&a, repo->remote->url, sha256), err) < 0)
        return -1;
    return write_file(arena_printf(&a, "%s/HEAD", repo->dir), "ref: refs/heads/none\n", err);
}

static int make_base(const struct git *git, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *global = arena_printf(&a, "%s/gitconfig", git->cache_dir);
    if (fs_exists(global))
        return 0;
    if (fs_mkdirs(git->cache_dir, 0700, err) < 0)
        return -1;
    return write_file(global, "[safe]\n\tdirectory = *\n", err);
}

static int read_have(struct git_repo *repo, struct err *err)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", repo->dir, have_file);
    strbuf_reset(&repo->have);
    struct err reading = ERR_INIT;
    if (fs_read_file(path, &repo->have, &reading) == 0 || reading.code == ENOENT)
        return 0;
    if (err)
        *err = reading;
    return -1;
}

static size_t count_lines(const struct strbuf *b)
{
    size_t n = 0;
    for (const char *p = b->buf; (p = strchr(p, '\n')); p++)
        n++;
    return n;
}

/* Each fetch leaves a pack (and a shallow boundary), which slows the next one down. History is
 * dear to fetch and gets packed; the others are cheaper made anew. */
static int tidy(struct git_repo *repo, bool sha256, struct err *err)
{
    if (count_lines(&repo->have) < LIMIT_GIT_FETCHES)
        return 0;
    strbuf_reset(&repo->have);
    if (repo->kind != GIT_CACHE_COMMITS) {
        if (git_repo_discard(repo, err) < 0)
            return -1;
        return make_cache(repo, sha256, err);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    struct str_list argv = git_repo_argv(repo, GIT_FILTER_TREES, &a);
    *list_push(&a, &argv) = "gc";
    *list_push(&a, &argv) = "--quiet";
    *list_push(&a, &argv) = "--prune=never";
    struct err ignored = ERR_INIT;
    if (git_repo_run(repo, &argv, NULL, &r, &ignored) < 0 || r.status != 0)
        log_warn("a git cache could not be packed", "url", repo->remote->url, NULL);
    return write_file(arena_printf(&a, "%s/%s", repo->dir, have_file), "", err);
}

int git_repo_open(struct git_repo *repo, const struct git *git, const struct git_remote *remote,
                  enum git_kind kind, bool sha256, struct err *err)
{
    static const char *const names[] = {
        [GIT_CACHE_FILES] = "files",
        [GIT_CACHE_COMMITS] = "commits",
        [GIT_CACHE_TREES] = "trees",
        [GIT_CACHE_ALL] = "all",
    };
    *repo = (struct git_repo){
        .git = git,
        .remote = remote,
        .kind = kind,
        .lock = -1,
        .auth = -1,
        .have = STRBUF_INIT(LIMIT_GIT_FETCHES * KIB(1)),
    };
    if (git_check_url(remote->url, err) < 0 || make_base(git, err) < 0)
        return -1;
    char hash[CRYPT_SHA256_HEX];
    crypt_sha256_hex(remote->url, strlen(remote->url), hash);
    repo->dir = xasprintf("%s/%s.%s%s", git->cache_dir, hash, names[kind], sha256 ? "-sha256" : "");
    char *lock CLEANUP(cleanup_free) = xasprintf("%s.lock", repo->dir);
    repo->lock = lock_file_wait(lock, err);
    if (repo->lock < 0 || open_auth(repo, err) < 0 || make_cache(repo, sha256, err) < 0 ||
        read_have(repo, err) < 0)
        return -1;
    return tidy(repo, sha256, err);
}

void git_repo_close(struct git_repo *repo)
{
    cleanup_fd(&repo->lock);
    cleanup_fd(&repo->auth);
    strbuf_release(&repo->have);
    free(repo->dir);
    repo->dir = NULL;
}

int git_repo_discard(struct git_repo *repo, struct err *err)
{
    strbuf_reset(&repo->have);
    return fs_remove_tree(repo->dir, err);
}

bool git_repo_has(const struct git_repo *repo, const char *object)
{
    const char *p = strstr(repo->have.buf, object);
    return p && p[strlen(object)] == '\n' && (p == repo->have.buf || p[-1] == '\n');
}

int git_repo_note(struct git_repo *repo, const char *object, struct err *err)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", repo->dir, have_file);
    (void)strbuf_addf(&repo->have, "%s\n", object);
    int fd CLEANUP(cleanup_fd) = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_PERM, errno, "%s", path);
    char *line CLEANUP(cleanup_free) = xasprintf("%s\n", object);
    return fs_write_all(fd, line, strlen(line), err);
}

bool git_repo_marked(const struct git_repo *repo, const char *mark)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", repo->dir, mark);
    return fs_exists(path);
}

int git_repo_mark(struct git_repo *repo, const char *mark, struct err *err)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", repo->dir, mark);
    return write_file(path, "", err);
}

struct git_call git_repo_call(const struct git_repo *repo, enum git_filter filter)
{
    return (struct git_call){
        .git_dir = repo->dir,
        .ca_file = repo->remote->ca_file,
        .auth_fd = repo->auth > 0 ? repo->auth : 0,
        .filter = filter,
    };
}

struct str_list git_repo_argv(const struct git_repo *repo, enum git_filter filter, struct arena *a)
{
    struct git_call call = git_repo_call(repo, filter);
    struct str_list argv = {0};
    git_argv_start(a, &argv, &call);
    return argv;
}

static int stop_asked(void *user, struct err *err)
{
    const struct git *g = user;
    return g->stop && atomic_load(g->stop)
               ? err_set(err, ERR_TEMP, ECANCELED, "git was stopped: the program is to end")
               : 0;
}

int git_repo_run(const struct git_repo *repo, struct str_list *argv, const char *input,
                 struct proc_result *r, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_opts opts = {
        .argv = git_argv_end(&a, argv),
        .env = git_env(&a, getenv("PATH"), repo->git->cache_dir),
        .input = input,
        .input_len = input ? strlen(input) : 0,
        .timeout_ms = repo->kind == GIT_CACHE_TREES ? LIMIT_CHECKOUT_MS : LIMIT_GIT_MS,
        .pass_fd = repo->auth > 0 ? repo->auth : 0,
        .check = stop_asked,
        .user = (void *)(uintptr_t)repo->git,
    };
    return proc_run(&opts, r, err);
}

int git_repo_failed(struct git_repo *repo, const char *what, const struct proc_result *r,
                    struct err *err)
{
    enum git_trouble trouble = git_classify(r->err.buf);
    bool operators = trouble == GIT_TROUBLE_ACCESS || trouble == GIT_TROUBLE_TRUST;
    char reason[300];
    git_brief(r->err.buf, reason, sizeof reason);
    (void)log_redact(reason);
    if (trouble == GIT_TROUBLE_DAMAGE)
        (void)git_repo_discard(repo, NULL);
    return err_set(err, operators ? ERR_CONFIG : ERR_TEMP, r->status, "git %s, %s: %s%s", what,
                   repo->remote->url, reason,
                   trouble == GIT_TROUBLE_DAMAGE ? " (the cache is made anew)" : "");
}

/* What a killed fetch leaves behind: lock files that would stop every later one, and half packs. */
static void sweep(const struct git_repo *repo)
{
    static const struct {
        const char *dir;
        const char *prefix;
        const char *suffix;
    } litter[] = {
        {"", "", ".lock"},
        {"/refs/slipway", "", ".lock"},
        {"/objects/pack", "tmp_", ""},
        {"/objects/pack", ".tmp-", ""},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(litter); i++) {
        const char *dir = arena_printf(&a, "%s%s", repo->dir, litter[i].dir);
        struct str_list names = {0};
        if (fs_list(dir, litter[i].suffix, &a, &names, NULL) < 0)
            continue;
        for (size_t k = 0; k < names.n; k++)
            if (str_starts(names.at[k], litter[i].prefix))
                (void)unlink(arena_printf(&a, "%s/%s", dir, names.at[k]));
    }
}

/* The first fetch of a large repository must not bring all its files; later ones bring only what
 * changed, and then small files had better come along. */
static enum git_filter fetch_filter(const struct git_repo *repo)
{
    if (repo->kind == GIT_CACHE_ALL || repo->kind == GIT_CACHE_TREES)
        return GIT_FILTER_NONE;
    if (repo->kind == GIT_CACHE_COMMITS)
        return GIT_FILTER_TREES;
    return repo->have.len ? GIT_FILTER_LARGE_BLOBS : GIT_FILTER_BLOBS;
}

int git_repo_fetch(struct git_repo *repo, const struct str_list *refspecs,
                   enum git_trouble *trouble, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct git_call call = git_repo_call(repo, fetch_filter(repo));
    /* A branch `a` that went would stand in the way of a new branch `a/b`. */
    bool prune = strchr(refspecs->at[0], '*') != NULL;
    bool shallow = repo->kind == GIT_CACHE_FILES || repo->kind == GIT_CACHE_TREES;
    struct str_list argv = git_argv_fetch(&a, &call, shallow, prune, refspecs);
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    *trouble = GIT_TROUBLE_NONE;
    int rc = git_repo_run(repo, &argv, NULL, &r, err);
    if (rc == 0 && r.status == 0)
        return 0;
    sweep(repo);
    *trouble = GIT_TROUBLE_NETWORK;
    if (rc < 0)
        return err_wrap(err, "git fetch, %s", repo->remote->url);
    *trouble = git_classify(r.err.buf);
    bool answer = *trouble == GIT_TROUBLE_GONE || *trouble == GIT_TROUBLE_REFUSED ||
                  *trouble == GIT_TROUBLE_NO_REF;
    return answer ? 0 : git_repo_failed(repo, "fetch", &r, err);
}
