/* core/git against real repositories made here with git itself. */
#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* One repository: c1 - c2 - c3 (merge of c2 and side), c1 - side, c1 - lone (its own branch), an
 * orphan history, and a commit on no branch. */
static struct world {
    char dir[64];
    struct arena a;
    const char *src; /* the repository's directory */
    const char *url;
    const char *c1, *c2, *c3, *side, *lone, *orphan, *lost;
    const char *tag_object;
    struct git *git;
} w;

static const char absent[] = "0123456789012345678901234567890123456789";

/* Runs a shell script in the repository with $1 as its argument; returns its last output line. */
static const char *sh(const char *dir, const char *script)
{
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, MIB(1));
    const char *argv[] = {"sh", "-euc", script, "sh", w.dir, NULL};
    char *home = arena_printf(&w.a, "HOME=%s", w.dir);
    char *path = arena_printf(&w.a, "PATH=%s", getenv("PATH"));
    const char *env[] = {home,
                         path,
                         "GIT_CONFIG_NOSYSTEM=1",
                         "GIT_AUTHOR_NAME=a",
                         "GIT_AUTHOR_EMAIL=a@example.org",
                         "GIT_COMMITTER_NAME=a",
                         "GIT_COMMITTER_EMAIL=a@example.org",
                         "LC_ALL=C",
                         NULL};
    struct proc_opts opts = {.argv = argv, .env = env, .cwd = dir};
    struct err err = ERR_INIT;
    if (proc_run(&opts, &r, &err) < 0 || r.status != 0)
        fail_msg("%s: %s%s", script, err.text, r.err.buf);
    while (r.out.len && r.out.buf[r.out.len - 1] == '\n')
        r.out.buf[--r.out.len] = '\0';
    const char *line = strrchr(r.out.buf, '\n');
    return arena_strdup(&w.a, line ? line + 1 : r.out.buf);
}

static const char *commit(const char *message)
{
    return sh(w.src, arena_printf(&w.a,
                                  "git add -A; git commit -q --allow-empty -m '%s'; "
                                  "git rev-parse HEAD",
                                  message));
}

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/t_git.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    w.src = arena_printf(&w.a, "%s/src", w.dir);
    w.url = arena_printf(&w.a, "file://%s", w.src);
    (void)sh(w.dir, "git init -q -b main src; cd src; git config uploadpack.allowFilter true");
    (void)sh(w.src,
             "printf 'first\\n' >.slipway.yaml; mkdir -p sub/deep; printf x >sub/deep/f; "
             "ln -s .slipway.yaml link; : >empty; printf 'a\\0b' >binary; "
             "head -c 200000 /dev/zero | tr '\\0' z >large; printf odd >'odd name: \xc3\xa4'");
    w.c1 = commit("one");
    (void)sh(w.src, "printf 'second\\n' >.slipway.yaml");
    w.c2 = commit("two");
    (void)sh(w.src, "git checkout -q -b side HEAD~1; printf s >side");
    w.side = commit("side");
    (void)sh(w.src, "git checkout -q main; git merge -q --no-edit side");
    w.c3 = sh(w.src, "git rev-parse HEAD");
    (void)sh(w.src, "git checkout -q -b lone HEAD~2");
    w.lone = commit("lone");
    (void)sh(w.src, "git checkout -q --orphan other");
    w.orphan = commit("orphan");
    (void)sh(w.src, "git checkout -q --detach main");
    w.lost = commit("reachable from nothing");
    (void)sh(w.src, "git checkout -q main; git tag -a -m annotated v1.0 HEAD~1; git tag light; "
                    "git tag -a -m nested v2 v1.0");
    w.tag_object = sh(w.src, "git rev-parse refs/tags/v2");
    struct git_opts opts = {.cache_dir = arena_printf(&w.a, "%s/cache", w.dir)};
    struct err err = ERR_INIT;
    w.git = git_new(&opts, &err);
    assert_non_null(w.git);
    return 0;
}

static int remove_world(void **state)
{
    (void)state;
    git_free(w.git);
    struct err err = ERR_INIT;
    assert_int_equal(fs_remove_tree(w.dir, &err), 0);
    arena_release(&w.a);
    return 0;
}

static struct git_remote remote(void)
{
    return (struct git_remote){.url = w.url};
}

struct file {
    int rc;
    const char *content;
    size_t len;
    bool missing;
    struct err err;
};

static struct file read_at(const struct git_remote *r, const char *commit_id, const char *path)
{
    struct file f = {.len = 99, .content = "untouched"};
    f.rc = git_read_file(w.git, r, commit_id, path, &w.a, &f.content, &f.len, &f.missing, &f.err);
    return f;
}

static void expect_file(const char *commit_id, const char *path, const void *content, size_t len)
{
    struct git_remote r = remote();
    struct file f = read_at(&r, commit_id, path);
    if (f.rc)
        fail_msg("%s", f.err.text);
    assert_false(f.missing);
    assert_int_equal(f.len, len);
    assert_memory_equal(f.content, content, len);
    assert_int_equal(f.content[f.len], 0);
}

static void reads_files(void **state)
{
    (void)state;
    /* Twice: cold, then warm. */
    for (int i = 0; i < 2; i++) {
        expect_file(w.c1, ".slipway.yaml", "first\n", 6);
        expect_file(w.c2, ".slipway.yaml", "second\n", 7);
        expect_file(w.c3, ".slipway.yaml", "second\n", 7);
        expect_file(w.c3, "sub/deep/f", "x", 1);
        expect_file(w.c3, "empty", "", 0);
        expect_file(w.c3, "binary", "a\0b", 3);
        expect_file(w.c3, "odd name: \xc3\xa4", "odd", 3);
    }
    struct git_remote r = remote();
    struct file f = read_at(&r, w.c3, "large");
    assert_int_equal(f.rc, 0);
    assert_int_equal(f.len, 200000);
    expect_file(w.lost, ".slipway.yaml", "second\n", 7);
}

/* What is refused for its size does not fill the disk either. */
static void keeps_no_file_that_is_too_large(void **state)
{
    (void)state;
    (void)sh(w.dir, "git init -q -b main heavy; cd heavy; git config uploadpack.allowFilter true; "
                    "git config uploadpack.allowAnySHA1InWant true; "
                    "head -c 20000000 /dev/urandom >.slipway.yaml; git add -A; git commit -qm x");
    struct git_remote r = {.url = arena_printf(&w.a, "file://%s/heavy", w.dir)};
    struct file f = read_at(&r, sh(w.dir, "git -C heavy rev-parse HEAD"), ".slipway.yaml");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_PERM);
    assert_non_null(strstr(f.err.text, "wrote more than"));
    uint64_t kib;
    assert_true(str_to_u64(sh(w.dir, "du -sk cache | cut -f1"), &kib));
    assert_true(kib < 10000);
}

static void tells_missing_from_unreadable(void **state)
{
    (void)state;
    struct git_remote r = remote();
    static const char *const paths[] = {"nothing",    "sub/nothing", "no/dir", "empty/below",
                                        "link/below", "-x",          "Sub"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct file f = read_at(&r, w.c3, paths[i]);
        if (f.rc)
            fail_msg("%s: %s", paths[i], f.err.text);
        assert_true(f.missing);
        assert_null(f.content);
        assert_int_equal(f.len, 0);
    }
    struct file f = read_at(&r, absent, ".slipway.yaml");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_TEMP);
    assert_non_null(strstr(f.err.text, absent));
    assert_string_equal(f.content, "untouched");

    struct git_remote nowhere = {.url = "file:///nonexistent/repo"};
    f = read_at(&nowhere, w.c3, "x");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_CONFIG);
    struct git_remote closed = {.url = "http://127.0.0.1:1/repo.git"};
    f = read_at(&closed, w.c3, "x");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_TEMP);

    const char *blob = sh(w.src, "git rev-parse HEAD:.slipway.yaml");
    f = read_at(&r, blob, "x");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_PERM);
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    struct git_remote r = remote();
    static const struct {
        const char *path, *word;
    } cases[] = {{"link", "symbolic link"}, {"sub", "directory"}, {"sub/deep", "directory"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct file f = read_at(&r, w.c3, cases[i].path);
        assert_int_equal(f.rc, -1);
        assert_int_equal(f.err.kind, ERR_CONFIG);
        assert_non_null(strstr(f.err.text, cases[i].word));
    }
    const char *c = sh(w.src, "git checkout -q --detach main; git update-index --add --cacheinfo "
                              "160000,0123456789012345678901234567890123456789,module; "
                              "git commit -q -m module; git rev-parse HEAD; "
                              "git checkout -q main >&2");
    struct file f = read_at(&r, c, "module");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_CONFIG);
    assert_non_null(strstr(f.err.text, "submodule"));
}

/* What is remembered in memory goes with the process; the caches on disk stay. */
static void restart(void)
{
    struct git_opts opts = {.cache_dir = arena_printf(&w.a, "%s/cache", w.dir)};
    struct err err = ERR_INIT;
    git_free(w.git);
    w.git = git_new(&opts, &err);
    assert_non_null(w.git);
}

static void resolves_tags(void **state)
{
    (void)state;
    struct git_remote r = remote();
    struct err err = ERR_INIT;
    static const struct {
        const char *tag, **commit;
    } cases[] = {{"v1.0", &w.c2}, {"v2", &w.c2}, {"light", &w.c3}, {"none", NULL}, {"v1", NULL}};
    /* c3's first parent is c2. */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *commit_id = "untouched";
        assert_int_equal(git_resolve_tag(w.git, &r, cases[i].tag, &w.a, &commit_id, &err), 0);
        if (cases[i].commit)
            assert_string_equal(commit_id, *cases[i].commit);
        else
            assert_null(commit_id);
    }
    const char *commit_id;
    assert_int_equal(git_peel(w.git, &r, w.tag_object, &w.a, &commit_id, &err), 0);
    assert_string_equal(commit_id, w.c2);
    assert_int_equal(git_peel(w.git, &r, w.c1, &w.a, &commit_id, &err), 0);
    assert_string_equal(commit_id, w.c1);
    assert_int_equal(git_peel(w.git, &r, absent, &w.a, &commit_id, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    const char *tree;
    assert_int_equal(git_tree(w.git, &r, w.c1, &w.a, &tree, &err), 0);
    assert_string_equal(tree, sh(w.src, arena_printf(&w.a, "git rev-parse %s^{tree}", w.c1)));
    const char *branch;
    assert_int_equal(git_default_branch(w.git, &r, &w.a, &branch, &err), 0);
    assert_string_equal(branch, "main");
    (void)sh(w.src, "git checkout -q --detach");
    assert_int_equal(git_default_branch(w.git, &r, &w.a, &branch, &err), 0);
    assert_string_equal(branch, "main"); /* remembered for a while */
    restart();
    assert_int_equal(git_default_branch(w.git, &r, &w.a, &branch, &err), 0);
    assert_null(branch);
    (void)sh(w.src, "git checkout -q main");
    struct git_remote nowhere = {.url = "http://127.0.0.1:1/x"};
    assert_int_equal(git_resolve_tag(w.git, &nowhere, "v1", &w.a, &branch, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
}

static void expect_ancestry(const struct git_remote *r, const char *mine, const char *applied,
                            enum ancestry want)
{
    enum ancestry out = ANCESTRY_NOT_ASKED;
    struct err err = ERR_INIT;
    if (git_ancestry(w.git, r, mine, applied, &out, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out, want);
}

static void knows_ancestry(void **state)
{
    (void)state;
    struct git_remote r = remote();
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            restart();
        expect_ancestry(&r, w.c2, w.c1, ANCESTRY_DESCENDANT);
        expect_ancestry(&r, w.c1, w.c2, ANCESTRY_ANCESTOR);
        expect_ancestry(&r, w.c3, w.side, ANCESTRY_DESCENDANT);
        expect_ancestry(&r, w.c3, w.c1, ANCESTRY_DESCENDANT);
        expect_ancestry(&r, w.side, w.c3, ANCESTRY_ANCESTOR);
        expect_ancestry(&r, w.c2, w.side, ANCESTRY_DIVERGED);
        expect_ancestry(&r, w.c3, w.lone, ANCESTRY_DIVERGED);
        expect_ancestry(&r, w.c3, w.orphan, ANCESTRY_DIVERGED);
        expect_ancestry(&r, w.c1, w.c1, ANCESTRY_SAME);
        expect_ancestry(&r, w.c3, absent, ANCESTRY_DIVERGED);
        expect_ancestry(&r, absent, w.c3, ANCESTRY_DIVERGED);
    }
    struct git_remote closed = {.url = "http://127.0.0.1:1/repo.git"};
    enum ancestry out = ANCESTRY_NOT_ASKED;
    struct err err = ERR_INIT;
    assert_int_equal(git_ancestry(w.git, &closed, w.c1, w.c2, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(out, ANCESTRY_NOT_ASKED);
}

static void answers_from_cache_while_remote_is_away(void **state)
{
    (void)state;
    (void)sh(w.dir, "cp -r src away");
    struct git_remote r = {.url = arena_printf(&w.a, "file://%s/away", w.dir)};
    restart();
    expect_ancestry(&r, w.c3, w.c2, ANCESTRY_DESCENDANT);
    (void)sh(w.dir, "mv away gone");
    expect_ancestry(&r, w.c3, w.c2, ANCESTRY_DESCENDANT);
    expect_ancestry(&r, w.c1, w.c3, ANCESTRY_ANCESTOR); /* never fetched by name */
    enum ancestry out;
    struct err err = ERR_INIT;
    assert_int_equal(git_ancestry(w.git, &r, w.lone, w.c3, &out, &err), -1);
    (void)sh(w.dir, "mv gone away");
}

static void asks_branches(void **state)
{
    (void)state;
    struct git_remote r = remote();
    struct err err = ERR_INIT;
    const struct {
        const char *commit, *branch;
        bool on;
    } cases[] = {
        {w.c1, "main", true},    {w.side, "main", true}, {w.lone, "main", false},
        {w.lone, "lone", true},  {w.c3, "side", false},  {w.orphan, "main", false},
        {absent, "main", false}, {w.c1, "none", false},  {w.orphan, "other", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool on = !cases[i].on;
        if (git_on_branch(w.git, &r, cases[i].commit, cases[i].branch, &on, &err) < 0)
            fail_msg("%s: %s", cases[i].branch, err.text);
        assert_int_equal(on, cases[i].on);
    }
    /* A branch that moves back: the answer is of now. */
    bool on;
    (void)sh(w.src, "git branch -q moving main");
    assert_int_equal(git_on_branch(w.git, &r, w.c3, "moving", &on, &err), 0);
    assert_true(on);
    (void)sh(w.src, arena_printf(&w.a, "git branch -q -f moving %s", w.c1));
    assert_int_equal(git_on_branch(w.git, &r, w.c3, "moving", &on, &err), 0);
    assert_false(on);
    struct git_remote closed = {.url = "http://127.0.0.1:1/repo.git"};
    assert_int_equal(git_on_branch(w.git, &closed, w.c3, "main", &on, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
}

/* A rewritten branch whose former commit the server has thrown away. */
static void takes_a_removed_commit_as_diverged(void **state)
{
    (void)state;
    const char *old =
        sh(w.dir, "git clone -q --no-hardlinks src rewritten; cd rewritten; "
                  "git config uploadpack.allowFilter true; git commit -q --allow-empty -m old; "
                  "git rev-parse HEAD");
    struct git_remote r = {.url = arena_printf(&w.a, "file://%s/rewritten", w.dir)};
    const char *new_one =
        sh(w.dir, "cd rewritten; git reset -q --hard HEAD~1; git commit -q --allow-empty -m new; "
                  "git reflog expire --expire=now --all; git gc -q --prune=now >&2; "
                  "git rev-parse HEAD");
    expect_ancestry(&r, new_one, old, ANCESTRY_DIVERGED);
    struct file f = read_at(&r, old, ".slipway.yaml");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_TEMP);
}

static void survives_a_removed_or_broken_cache(void **state)
{
    (void)state;
    expect_file(w.c1, ".slipway.yaml", "first\n", 6);
    (void)sh(w.dir, "rm -rf cache");
    expect_file(w.c1, ".slipway.yaml", "first\n", 6);
    /* Objects gone, the list of what was fetched still there. */
    (void)sh(w.dir, "rm -rf cache/*.files/objects; mkdir -p cache/*.files; "
                    "for d in cache/*.files; do mkdir -p $d/objects/pack; done");
    expect_file(w.c1, ".slipway.yaml", "first\n", 6);
    /* A lock file of a killed git costs one attempt, not all. */
    struct git_remote r = remote();
    (void)sh(w.dir, "for d in cache/*.files; do : >$d/shallow.lock; done");
    struct file f = read_at(&r, w.c2, ".slipway.yaml");
    assert_int_equal(f.rc, -1);
    assert_int_equal(f.err.kind, ERR_TEMP);
    expect_file(w.c2, ".slipway.yaml", "second\n", 7);
}

/* What a power cut leaves of files that nobody synced: a task's next attempts get through. */
static void recovers_from_damage(void **state)
{
    (void)state;
    static const char *const damage[] = {
        "for f in cache/*/objects/pack/*.pack; do chmod u+w $f; : >$f; done",
        "for f in cache/*/objects/pack/*.idx; do chmod u+w $f; : >$f; done",
        "for f in cache/*/objects/pack/*.pack; do chmod u+w $f; head -c 30 $f >t; cat t >$f; done",
        "for f in cache/*/refs/slipway/*; do : >$f; done",
        "for f in cache/*/shallow; do : >$f; done",
        "for f in cache/*/shallow; do echo garbage >$f; done",
        "rm -rf cache/*/objects cache/*/refs",
        "rm -f cache/gitconfig",
    };
    struct git_remote r = remote();
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        (void)sh(w.dir, "rm -rf cache");
        assert_int_equal(read_at(&r, w.c1, ".slipway.yaml").rc, 0);
        assert_int_equal(read_at(&r, w.c2, ".slipway.yaml").rc, 0);
        expect_ancestry(&r, w.c2, w.c1, ANCESTRY_DESCENDANT);
        (void)sh(w.dir, damage[i]);
        static const char *const *const commits[] = {&w.c2, &w.c3};
        for (size_t k = 0; k < ARRAY_LEN(commits); k++) {
            struct file f = {.rc = -1};
            for (int try = 0; f.rc && try < 3; try++) {
                f = read_at(&r, *commits[k], ".slipway.yaml");
                if (f.rc && f.err.kind != ERR_TEMP)
                    fail_msg("%s: %s", damage[i], f.err.text);
            }
            if (f.rc)
                fail_msg("%s: %s", damage[i], f.err.text);
            assert_string_equal(f.content, "second\n");
            int rc = -1;
            struct err err = ERR_INIT;
            enum ancestry out = ANCESTRY_NOT_ASKED;
            for (int try = 0; rc && try < 3; try++)
                rc = git_ancestry(w.git, &r, *commits[k], w.c1, &out, &err);
            if (rc || out != ANCESTRY_DESCENDANT)
                fail_msg("%s: %s: ancestry %d", damage[i], err.text, out);
        }
    }
}

/* A cache that claims more than it holds: "could not ask", never "unrelated". */
static void does_not_take_a_loss_for_divergence(void **state)
{
    (void)state;
    struct git_remote r = remote();
    (void)sh(w.dir, "rm -rf cache");
    expect_ancestry(&r, w.c1, w.side, ANCESTRY_ANCESTOR);
    (void)sh(w.dir, arena_printf(&w.a, "echo %s >>$(ls -d cache/*.commits)/slipway-have", w.c2));
    enum ancestry out = ANCESTRY_NOT_ASKED;
    struct err err = ERR_INIT;
    assert_int_equal(git_ancestry(w.git, &r, w.lone, w.c2, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(out, ANCESTRY_NOT_ASKED);
    expect_ancestry(&r, w.c1, w.c2, ANCESTRY_ANCESTOR);
}

/* Full lists of fetches make the next open tidy up; answers stay the same. */
static void tidies_a_used_cache(void **state)
{
    (void)state;
    struct git_remote r = remote();
    expect_file(w.c1, ".slipway.yaml", "first\n", 6);
    expect_ancestry(&r, w.c2, w.c1, ANCESTRY_DESCENDANT);
    expect_ancestry(&r, w.c3, w.lone, ANCESTRY_DIVERGED);
    (void)sh(w.dir, "for d in cache/*.files cache/*.commits; do for i in $(seq 200); do "
                    "echo - >>$d/slipway-have; done; done");
    expect_file(w.c3, ".slipway.yaml", "second\n", 7);
    expect_ancestry(&r, w.c3, w.c1, ANCESTRY_DESCENDANT);
    expect_ancestry(&r, w.c3, w.lone, ANCESTRY_DIVERGED);
    assert_string_equal(sh(w.dir, "cat cache/*.files/slipway-have cache/*.commits/slipway-have | "
                                  "grep -c '^-$' || true"),
                        "0");
    (void)sh(w.dir, "test $(ls cache/*.commits/objects/pack/*.pack | wc -l) -le 4");
}

/* Needs root to give the repository away. */
static void reads_repositories_of_other_users(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    (void)sh(w.dir, "cp -r src foreign; chown -R 65534 foreign");
    struct git_remote r = {.url = arena_printf(&w.a, "file://%s/foreign", w.dir)};
    struct file f = read_at(&r, w.c1, ".slipway.yaml");
    if (f.rc)
        fail_msg("%s", f.err.text);
    assert_string_equal(f.content, "first\n");
}

static void *read_in_thread(void *arg)
{
    const char *commit_id = arg;
    struct git_remote r = remote();
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (int i = 0; i < 5; i++) {
        const char *content;
        size_t len;
        bool missing;
        struct err err = ERR_INIT;
        if (git_read_file(w.git, &r, commit_id, ".slipway.yaml", &a, &content, &len, &missing,
                          &err) < 0 ||
            missing || len < 6)
            return arg;
    }
    return NULL;
}

static void serves_threads(void **state)
{
    (void)state;
    (void)sh(w.dir, "rm -rf cache");
    const char *const commits[] = {w.c1, w.c2, w.c3, w.side, w.lone, w.c1};
    pthread_t threads[ARRAY_LEN(commits)];
    for (size_t i = 0; i < ARRAY_LEN(commits); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_in_thread, (void *)commits[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(commits); i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

static void reads_sha256_repositories(void **state)
{
    (void)state;
    const char *id = sh(w.dir, "git init -q -b main --object-format=sha256 new; cd new; "
                               "git config uploadpack.allowFilter true; echo hi >f; git add f; "
                               "git commit -q -m m; git tag -a -m t v1; git rev-parse HEAD");
    const char *next = sh(w.dir, "cd new; git commit -q --allow-empty -m n; git rev-parse HEAD");
    struct git_remote r = {.url = arena_printf(&w.a, "file://%s/new", w.dir)};
    struct file f = read_at(&r, id, "f");
    if (f.rc)
        fail_msg("%s", f.err.text);
    assert_string_equal(f.content, "hi\n");
    expect_ancestry(&r, next, id, ANCESTRY_DESCENDANT);
    const char *tagged;
    struct err err = ERR_INIT;
    if (git_resolve_tag(w.git, &r, "v1", &w.a, &tagged, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(tagged, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_files),
        cmocka_unit_test(tells_missing_from_unreadable),
        cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(resolves_tags),
        cmocka_unit_test(knows_ancestry),
        cmocka_unit_test(answers_from_cache_while_remote_is_away),
        cmocka_unit_test(asks_branches),
        cmocka_unit_test(takes_a_removed_commit_as_diverged),
        cmocka_unit_test(survives_a_removed_or_broken_cache),
        cmocka_unit_test(recovers_from_damage),
        cmocka_unit_test(does_not_take_a_loss_for_divergence),
        cmocka_unit_test(tidies_a_used_cache),
        cmocka_unit_test(reads_repositories_of_other_users),
        cmocka_unit_test(serves_threads),
        cmocka_unit_test(reads_sha256_repositories),
        cmocka_unit_test(keeps_no_file_that_is_too_large),
    };
    return cmocka_run_group_tests(tests, make_world, remove_world);
}
