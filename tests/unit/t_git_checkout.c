/* Checkouts: what ends in the folder, what never runs, and who is asked. */
#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git.h"
#include "core/git/git_argv.h"
#include "core/git/git_modules.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char password[] = "s3cr3t: \"p%/\\w\xc3\xb6rd";
static const char absent[] = "0123456789012345678901234567890123456789";

struct server {
    pid_t pid;
    int in;
    unsigned port;
};

static struct world {
    char dir[64];
    struct arena a;
    const char *dest; /* absolute; a fresh one a test */
    const char *first, *head;
    struct server server, old;
    struct git *git;
    unsigned dests;
} w;

static const char *sh(const char *script)
{
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, MIB(1));
    const char *argv[] = {"sh", "-euc", script, NULL};
    const char *home = arena_printf(&w.a, "HOME=%s", w.dir);
    const char *path = arena_printf(&w.a, "PATH=%s", getenv("PATH"));
    const char *const env[] = {home,
                               path,
                               "GIT_AUTHOR_NAME=a",
                               "GIT_AUTHOR_EMAIL=a@example.org",
                               "GIT_COMMITTER_NAME=a",
                               "GIT_COMMITTER_EMAIL=a@example.org",
                               "GIT_ALLOW_PROTOCOL=file",
                               NULL};
    struct proc_opts opts = {.argv = argv, .env = env, .cwd = w.dir};
    struct err err = ERR_INIT;
    if (proc_run(&opts, &r, &err) < 0 || r.status != 0)
        fail_msg("%s: %s%s", script, err.text, r.err.buf);
    while (r.out.len && r.out.buf[r.out.len - 1] == '\n')
        r.out.buf[--r.out.len] = '\0';
    return arena_strdup(&w.a, r.out.buf);
}

static void start_server(struct server *s, const char *credentials, const char *option)
{
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *path = arena_printf(&w.a, "%s/%s", w.dir, credentials);
    const char *log = arena_printf(&w.a, "%s/log", w.dir);
    s->pid = fork();
    if (s->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)execl("/usr/bin/python3", "python3", "tests/fakes/git_http.py", w.dir, path, log,
                    option, NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    s->in = in[1];
    char line[16] = "";
    FILE *from CLEANUP(cleanup_file) = fdopen(out[0], "r");
    assert_non_null(from);
    assert_non_null(fgets(line, sizeof line, from));
    s->port = (unsigned)strtoul(line, NULL, 10);
    assert_int_not_equal(s->port, 0);
}

static void stop_server(struct server *s)
{
    (void)close(s->in);
    (void)waitpid(s->pid, NULL, 0);
}

/* Two commits; the second holds everything that a checkout could be tempted by. */
static const char make_repository[] =
    ": >nobody; git config --global init.defaultBranch main; git init -q src; cd src; "
    "echo one >file; git add .; git commit -q -m one; "
    "echo two >file; echo dash >-x; ln -s /etc/passwd link; ln -s nowhere dangling; "
    "mkdir -p d/e; echo '#!/bin/sh' >d/e/run; chmod 755 d/e/run; "
    "printf '%s\\n' '*.evil filter=evil' '*.bin filter=lfs diff=lfs merge=lfs -text' "
    ">.gitattributes; "
    "echo tame >x.evil; "
    "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%064d\\nsize 5\\n' 7 "
    ">big.bin; "
    "printf '[lfs]\\n\\turl = http://127.0.0.1:1/elsewhere\\n' >.lfsconfig; "
    "mkdir .githooks; printf '#!/bin/sh\\n: >ran\\n' >.githooks/post-checkout; "
    "chmod 755 .githooks/post-checkout; git add .; git commit -q -m two; git tag v1; cd ..; "
    "git clone -q --bare src repo.git";

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/t_git_checkout.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    struct err err = ERR_INIT;
    const char *pair = arena_printf(&w.a, "ci:%s", password);
    assert_int_equal(
        fs_replace_file(arena_printf(&w.a, "%s/pair", w.dir), pair, strlen(pair), 0600, &err), 0);
    (void)sh(make_repository);
    w.first = sh("git -C src rev-parse HEAD~1");
    w.head = sh("git -C src rev-parse HEAD");
    start_server(&w.server, "pair", "--new");
    start_server(&w.old, "nobody", "--old");
    struct git_opts opts = {.cache_dir = arena_printf(&w.a, "%s/cache", w.dir)};
    w.git = git_new(&opts, &err);
    assert_non_null(w.git);
    return 0;
}

static int remove_world(void **state)
{
    (void)state;
    stop_server(&w.server);
    stop_server(&w.old);
    git_free(w.git);
    struct err err = ERR_INIT;
    assert_int_equal(fs_remove_tree(w.dir, &err), 0);
    arena_release(&w.a);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    w.dest = arena_printf(&w.a, "%s/dest%u", w.dir, w.dests++);
    return 0;
}

static struct git_remote local(const char *name)
{
    return (struct git_remote){.url = arena_printf(&w.a, "file://%s/%s", w.dir, name)};
}

static struct git_remote served(const char *name)
{
    return (struct git_remote){
        .url = arena_printf(&w.a, "http://127.0.0.1:%u/%s", w.server.port, name),
        .username = "ci",
        .password = password,
    };
}

static void expect_checkout(const struct git_remote *r, const struct git_checkout *what)
{
    struct err err = ERR_INIT;
    if (git_checkout(w.git, r, what, &err) < 0)
        fail_msg("%s: %s", err_kind_name(err.kind), err.text);
}

static struct err expect_refused(const struct git_remote *r, const struct git_checkout *what,
                                 enum err_kind kind)
{
    struct err err = ERR_INIT;
    bool existed = fs_exists(what->dir);
    if (git_checkout(w.git, r, what, &err) == 0)
        fail_msg("was checked out");
    if (err.kind != kind)
        fail_msg("%s: %s", err_kind_name(err.kind), err.text);
    assert_null(strstr(err.text, password));
    assert_int_equal(fs_exists(what->dir), existed);
    if (existed)
        assert_string_equal(sh(arena_printf(&w.a, "ls -A %s", what->dir)), "");
    return err;
}

static const char *in_dest(const char *script)
{
    return sh(arena_printf(&w.a, "cd %s; %s", w.dest, script));
}

/* What `git clone` gives, from a file and over http, and nothing that the repository wants run. */
static void writes_what_a_clone_has(void **state)
{
    (void)state;
    const struct git_remote remotes[] = {local("repo.git"), served("repo.git")};
    (void)sh("git clone -q repo.git clone; rm -rf clone/.git; : >log; "
             "git config --global filter.evil.smudge 'touch evil-ran; cat'; "
             "git config --global core.hooksPath .githooks; "
             "git config --global core.fsmonitor 'touch fsmonitor-ran'");
    for (size_t i = 0; i < ARRAY_LEN(remotes); i++) {
        (void)fresh(NULL);
        mode_t before = umask(077);
        struct git_checkout what = {.commit = w.head, .dir = w.dest};
        expect_checkout(&remotes[i], &what);
        (void)umask(before);
        assert_string_equal(sh(arena_printf(&w.a, "diff -r --no-dereference clone %s", w.dest)),
                            "");
        assert_string_equal(in_dest("cat ./-x; readlink link dangling; cat big.bin | head -c 7"),
                            "dash\n/etc/passwd\nnowhere\nversion");
        assert_string_equal(in_dest("stat -c %a . d/e d/e/run file"), "755\n755\n755\n644");
        assert_string_equal(in_dest("find . -name .git -o -name '*ran'"), "");
    }
    (void)sh("git config --global --unset core.hooksPath; git config --global --unset "
             "core.fsmonitor; git config --global --remove-section filter.evil");
    assert_string_equal(sh("grep -c LEAK log || true; grep -c '^401' log || true"), "0\n0");
    assert_string_equal(sh("grep -r -l -F -e s3cr3t -e Authorization cache || true"), "");
    assert_string_equal(sh("find cache -name '*.trees' -prune -exec cat {}/shallow ';' | "
                           "sort -u | wc -l"),
                        "1");
}

/* An empty folder that is there stays; a second checkout asks nobody. */
static void serves_again_from_the_cache(void **state)
{
    (void)state;
    struct git_remote r = served("repo.git");
    assert_int_equal(mkdir(w.dest, 0700), 0);
    struct git_checkout what = {.commit = w.head, .dir = w.dest};
    expect_checkout(&r, &what);
    (void)sh(": >log");
    (void)fresh(NULL);
    what.dir = w.dest;
    expect_checkout(&r, &what);
    assert_string_equal(sh("cat log"), "");
    (void)fresh(NULL);
    what = (struct git_checkout){.commit = w.first, .dir = w.dest};
    expect_checkout(&r, &what);
    assert_string_equal(in_dest("ls -A; cat file"), "file\none");
}

static void heals_a_damaged_cache(void **state)
{
    (void)state;
    struct git_remote r = served("repo.git");
    struct git_checkout what = {.commit = w.head, .dir = w.dest};
    expect_checkout(&r, &what);
    (void)sh("rm -f cache/*.trees/objects/pack/*; find cache/*.trees/objects -type f -delete");
    (void)fresh(NULL);
    what.dir = w.dest;
    expect_checkout(&r, &what);
    assert_string_equal(in_dest("cat file"), "two");
}

/* Protocol version 0, ids that no ref names are refused. */
static void old_servers_are_asked_by_ref(void **state)
{
    (void)state;
    struct git_remote r = {.url = arena_printf(&w.a, "http://127.0.0.1:%u/repo.git", w.old.port)};
    (void)sh("rm -rf cache; git -C repo.git update-ref refs/changes/34/1234/5 HEAD~1");
    struct git_checkout what = {.commit = w.first, .dir = w.dest, .ref = "refs/changes/34/1234/5"};
    expect_checkout(&r, &what);
    assert_string_equal(in_dest("cat file"), "one");
    assert_string_equal(sh("ls -d cache/*.all 2>/dev/null || true"), "");
    /* The ref has gone on: the whole repository still has it. */
    (void)sh("git -C repo.git update-ref refs/changes/34/1234/5 HEAD; rm -rf cache");
    for (int i = 0; i < 2; i++) {
        (void)fresh(NULL);
        what.dir = w.dest;
        expect_checkout(&r, &what);
        assert_string_equal(in_dest("cat file"), "one");
        (void)sh("ls -d cache/*.all");
    }
    (void)fresh(NULL);
    what = (struct git_checkout){.commit = absent, .dir = w.dest, .ref = "refs/tags/none"};
    assert_int_equal(expect_refused(&r, &what, ERR_PERM).code, ENOENT);
}

static void a_deleted_tag_is_gone(void **state)
{
    (void)state;
    const struct git_remote remotes[] = {local("gone.git"), served("gone.git")};
    const char *commit =
        sh("git clone -q src gone; cd gone; git checkout -q -b other; echo 9 >nine; git add .; "
           "git commit -q -m nine; git tag v9; cd ..; git clone -q --bare gone gone.git; "
           "git -C gone.git rev-parse v9");
    (void)sh("cd gone.git; git update-ref -d refs/tags/v9; git update-ref -d refs/heads/other; "
             "git symbolic-ref HEAD refs/heads/main; git reflog expire --all --expire=all; "
             "git gc -q --prune=now");
    for (size_t i = 0; i < ARRAY_LEN(remotes); i++) {
        (void)fresh(NULL);
        struct git_checkout what = {.commit = commit, .dir = w.dest, .ref = "refs/tags/v9"};
        struct err err = expect_refused(&remotes[i], &what, ERR_PERM);
        assert_int_equal(err.code, ENOENT);
        assert_non_null(strstr(err.text, commit));
        assert_int_equal(mkdir(w.dest, 0700), 0);
        assert_int_equal(expect_refused(&remotes[i], &what, ERR_PERM).code, ENOENT);
    }
}

static void who_can_not_be_asked_is_temporary(void **state)
{
    (void)state;
    struct git_checkout what = {.commit = absent, .dir = w.dest};
    struct git_remote away = {.url = "http://127.0.0.1:1/repo.git"};
    (void)expect_refused(&away, &what, ERR_TEMP);
    struct git_remote locked = served("repo.git");
    locked.password = "wrong";
    (void)expect_refused(&locked, &what, ERR_CONFIG);
    struct git_remote r = local("repo.git");
    const struct git_checkout bad[] = {
        {.commit = "--help", .dir = w.dest},
        {.commit = "HEAD", .dir = w.dest},
        {.commit = w.head, .dir = w.dest, .ref = "-x"},
        {.commit = w.head, .dir = w.dest, .ref = "refs/heads/*"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        (void)expect_refused(&r, &bad[i], ERR_INPUT);
    (void)sh(arena_printf(&w.a, "mkdir %s; echo mine >%s/mine", w.dest, w.dest));
    struct err err = ERR_INIT;
    what.commit = w.head;
    assert_int_equal(git_checkout(w.git, &r, &what, &err), -1);
    assert_int_equal(err.code, ENOTEMPTY);
    assert_string_equal(in_dest("ls -A"), "mine");
}

static void a_tree_may_be_too_large(void **state)
{
    (void)state;
    const char *commit =
        sh("git init -q large; cd large; git config uploadpack.allowAnySHA1InWant true; "
           "head -c 3000000 /dev/zero >zeros; git add .; git commit -q -m zeros; "
           "git rev-parse HEAD");
    struct git_remote r = local("large");
    struct git_checkout what = {.commit = commit, .dir = w.dest, .size_max = 2999999};
    assert_int_equal(expect_refused(&r, &what, ERR_PERM).code, EFBIG);
    what.size_max = 3000000;
    expect_checkout(&r, &what);
    assert_string_equal(in_dest("stat -c %s zeros"), "3000000");
}

/* Trees that no `git add` makes. */
static void hostile_trees_are_refused(void **state)
{
    (void)state;
    static const char *const trees[] = {
        /* .git/config */
        "b=$(echo '[core]' | git hash-object -w --stdin); "
        "t=$(printf '100644 blob %s\\tconfig\\n' $b | git mktree); "
        "printf '040000 tree %s\\t.git\\n' $t | git mktree",
        /* "..", in a folder */
        "b=$(echo x | git hash-object -w --stdin); "
        "t=$(printf '100644 blob %s\\tup\\n' $b | git mktree); "
        "printf '040000 tree %s\\t..\\n' $t | git mktree",
        /* deeper than anybody needs */
        "b=$(echo x | git hash-object -w --stdin); "
        "t=$(printf '100644 blob %s\\tx\\n' $b | git mktree); i=0; "
        "while [ $i -lt 230 ]; do t=$(printf '040000 tree %s\\ta\\n' $t | git mktree); "
        "i=$((i+1)); done; echo $t",
    };
    (void)sh("git init -q --bare hostile.git");
    struct git_remote r = local("hostile.git");
    for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
        (void)fresh(NULL);
        const char *commit =
            sh(arena_printf(&w.a,
                            "cd hostile.git; t=$(%s); c=$(git commit-tree -m x $t); "
                            "git update-ref refs/heads/main $c; echo $c",
                            trees[i]));
        struct git_checkout what = {.commit = commit, .dir = w.dest};
        struct err err = expect_refused(&r, &what, ERR_PERM);
        assert_string_equal(sh("ls up 2>/dev/null || true"), "");
        assert_non_null(strstr(err.text, i < 2 ? "invalid path" : "folders"));
    }
}

/* A link and a folder of one name in one tree: the file must not land behind the link. */
static void a_link_is_no_way_out(void **state)
{
    (void)state;
    const char *commit =
        sh("mkdir outside; git init -q --bare link.git; cd link.git; "
           "b=$(echo x | git hash-object -w --stdin); "
           "l=$(printf '../outside' | git hash-object -w --stdin); "
           "t=$(printf '100644 blob %s\\tx\\n' $b | git mktree); "
           "c=$(printf '120000 blob %s\\ta\\n040000 tree %s\\ta\\n' $l $t | git mktree); "
           "c=$(git commit-tree -m x $c); git update-ref refs/heads/main $c; echo $c");
    struct git_remote r = local("link.git");
    struct git_checkout what = {.commit = commit, .dir = w.dest};
    struct err err = ERR_INIT;
    (void)git_checkout(w.git, &r, &what, &err);
    assert_string_equal(sh("ls -A outside"), "");
}

static const char *with_submodule(const char *name, const char *module_url)
{
    return sh(arena_printf(
        &w.a,
        "git init -q %s; cd %s; echo top >top; s=$(git -C ../sub.git rev-parse main); "
        "git update-index --add --cacheinfo 160000,$s,libs/sub; "
        "printf '[submodule \"a.b\"]\\n\\tpath = libs/sub\\n\\turl = %%s\\n' '%s' >.gitmodules; "
        "git add top .gitmodules; git commit -q -m top; git rev-parse HEAD",
        name, name, module_url));
}

static void make_submodule(void)
{
    if (fs_exists(arena_printf(&w.a, "%s/sub.git", w.dir)))
        return;
    (void)sh("git init -q sub; cd sub; echo below >below; git add .; git commit -q -m sub; cd ..; "
             "git clone -q --bare sub sub.git");
}

static void submodules_come_when_asked_for(void **state)
{
    (void)state;
    make_submodule();
    const char *commit = with_submodule("top", "../sub.git");
    const struct git_remote remotes[] = {local("top"), served("top")};
    for (size_t i = 0; i < ARRAY_LEN(remotes); i++) {
        (void)fresh(NULL);
        struct git_checkout what = {.commit = commit, .dir = w.dest};
        expect_checkout(&remotes[i], &what);
        assert_string_equal(in_dest("cat top; ls -A libs/sub"), "top");
        (void)fresh(NULL);
        what = (struct git_checkout){.commit = commit, .dir = w.dest, .submodules = true};
        expect_checkout(&remotes[i], &what);
        assert_string_equal(in_dest("cat top libs/sub/below; find . -name .git"), "top\nbelow");
        /* Their files count, too. */
        (void)fresh(NULL);
        what.dir = w.dest;
        what.size_max = (int64_t)strlen("top\n") + 80;
        struct err err =
            expect_refused(&remotes[i],
                           &(struct git_checkout){
                               .commit = commit, .dir = w.dest, .submodules = true, .size_max = 5},
                           ERR_PERM);
        assert_int_equal(err.code, EFBIG);
    }
}

static void submodules_of_other_hosts_are_refused(void **state)
{
    (void)state;
    make_submodule();
    (void)sh("mkdir -p deep; git clone -q --bare sub deep/sub.git");
    const struct {
        const char *url;
        const char *named;
    } cases[] = {
        {"https://elsewhere.example.org/sub.git", "elsewhere.example.org"},
        {"http://ci:hunter2@127.0.0.1:1/sub.git", "...@127.0.0.1:1/sub.git"},
        {"git@127.0.0.1:sub.git", "...@127.0.0.1:sub.git"},
        {"ext::sh -c touch% ran", "ext::"},
        {"-u./x", "-u./x"},
        {arena_printf(&w.a, "file://%s/sub.git", w.dir), "file://"},
        {arena_printf(&w.a, "%s/sub.git", w.dir), w.dir},
        {"../../../../sub.git", "../../../../sub.git"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)fresh(NULL);
        const char *name = arena_printf(&w.a, "bad%zu", i);
        const char *commit = with_submodule(name, cases[i].url);
        struct git_remote r = served(name);
        struct git_checkout what = {.commit = commit, .dir = w.dest, .submodules = true};
        struct err err = expect_refused(&r, &what, ERR_PERM);
        if (!strstr(err.text, cases[i].named) || !strstr(err.text, "'a.b'"))
            fail_msg("%s", err.text);
        assert_null(strstr(err.text, "hunter2"));
    }
}

/* One that is its own submodule ends. */
static void submodules_end(void **state)
{
    (void)state;
    const char *first = sh("git init -q loop; cd loop; echo x >x; git add .; git commit -q -m x; "
                           "git rev-parse HEAD");
    const char *commit = first;
    for (int i = 0; i < 7; i++)
        commit = sh(arena_printf(
            &w.a,
            "cd loop; git update-index --add --cacheinfo 160000,%s,m; "
            "printf '[submodule \"m\"]\\n\\tpath = m\\n\\turl = ../loop\\n' >.gitmodules; "
            "git add .gitmodules; git commit -q -m m; git rev-parse HEAD",
            commit));
    struct git_remote r = local("loop");
    struct git_checkout what = {.commit = commit, .dir = w.dest, .submodules = true};
    struct err err = expect_refused(&r, &what, ERR_PERM);
    assert_non_null(strstr(err.text, "nested"));
}

static void resolves_addresses(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *remote;
        const char *url;
        const char *result; /* NULL: refused */
    } cases[] = {
        {"https://h/team/app", "../lib", "https://h/team/lib"},
        {"https://h/team/app.git/", "../../other/lib", "https://h/other/lib"},
        {"https://h/team/app", "./sub", "https://h/team/app/sub"},
        {"https://h/team/app", "../../../lib", NULL},
        {"https://h/team/app", "https://h/x/y", "https://h/x/y"},
        {"https://h/team/app", "https://H/x/y", "https://H/x/y"},
        {"https://h/team/app", "https://h:444/x", NULL},
        {"https://h/team/app", "http://h/x", NULL},
        {"https://h/team/app", "https://h.evil.org/x", NULL},
        {"https://h/team/app", "https://u@h/x", NULL},
        {"https://h/team/app", "//h/x", NULL},
        {"https://h/team/app", "", NULL},
        {"https://h/team/app", "lib", NULL},
        {"https://h/team/app", "https://h/x/../y", NULL},
        {"ssh://git@h:29418/team/app", "../lib", "ssh://git@h:29418/team/lib"},
        {"ssh://git@h:29418/team/app", "ssh://root@h:29418/team/lib", NULL},
        {"file:///srv/git/app.git", "../lib.git", "file:///srv/git/lib.git"},
        {"file:///srv/git/app.git", "file:///srv/git/lib.git", "file:///srv/git/lib.git"},
        {"file:///srv/git/app.git", "../../secret", NULL},
        {"file:///srv/git/app.git", "file:///home/x", NULL},
        {"file:///srv/git/app.git", "file:///srv/git/../x", NULL},
        {"file:///srv/git/app.git", "file:///srv/git/%2e%2e/x", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct git_module m = {.name = "m", .path = "m", .url = cases[i].url};
        struct err err = ERR_INIT;
        const char *url = NULL;
        if (git_module_url(&a, cases[i].remote, &m, &url, &err) == 0) {
            if (!str_eq(url, cases[i].result))
                fail_msg("%s in %s gives %s", cases[i].url, cases[i].remote, url);
        } else {
            if (cases[i].result)
                fail_msg("%s in %s: %s", cases[i].url, cases[i].remote, err.text);
            assert_int_equal(err.kind, ERR_PERM);
        }
    }
}

static void reads_modules(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char good[] = "submodule.a.b.path\nlibs/a\0submodule.a.b.url\n../a\0"
                               "submodule.c.url\n../c\0submodule.d.path\nd\0core.x\0"
                               "submodule.e.update\n!touch ran\0submodule\0submodule.\n\0";
    struct git_modules list;
    struct err err = ERR_INIT;
    assert_int_equal(git_modules_read(&a, good, sizeof good - 1, &list, &err), 0);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.at[0].name, "a.b");
    assert_string_equal(list.at[0].path, "libs/a");
    static const char entries[] = "100644 1111\tlibs/a\000160000 2222\tlibs/b\000"
                                  "160000 0123456789012345678901234567890123456789\tlibs/a\0";
    git_modules_set_commits(&a, &list, entries, sizeof entries - 1);
    assert_string_equal(list.at[0].commit, absent);
    static const char *const bad[] = {"../x", "/x", ".", "a//b", "a/../../x", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(1000);
        (void)strbuf_addf(&b, "submodule.x.path\n%s", bad[i]);
        (void)strbuf_addch(&b, '\0');
        (void)strbuf_addstr(&b, "submodule.x.url\n../y");
        assert_int_equal(git_modules_read(&a, b.buf, b.len, &list, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
    }
    struct strbuf many CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (int i = 0; i <= LIMIT_SUBMODULES; i++) {
        (void)strbuf_addf(&many, "submodule.%d.path\nx", i);
        (void)strbuf_addch(&many, '\0');
    }
    assert_int_equal(git_modules_read(&a, many.buf, many.len, &list, &err), -1);
}

/* A program in the place of git-lfs: notes how it was called, and answers as a filter process. */
static void lfs_files_come_when_asked_for(void **state)
{
    (void)state;
    struct git_remote r = served("repo.git");
    struct git_checkout what = {.commit = w.head, .dir = w.dest, .lfs = true};
    const char *path = arena_strdup(&w.a, getenv("PATH"));
    (void)sh("mkdir empty onlygit; ln -s $(command -v git) onlygit/git");
    (void)setenv("PATH", arena_printf(&w.a, "%s/onlygit", w.dir), 1);
    struct err err = ERR_INIT;
    assert_int_equal(git_checkout(w.git, &r, &what, &err), -1);
    (void)setenv("PATH", path, 1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "git-lfs"));
    assert_false(fs_exists(w.dest));

    char here[512];
    assert_non_null(getcwd(here, sizeof here));
    (void)sh(arena_printf(&w.a,
                          "mkdir lfsbin; printf '#!/bin/sh\\nexport LFS_NOTES=%s/notes\\n"
                          "exec /usr/bin/python3 %s/tests/fakes/git_lfs.py \"$@\"\\n' "
                          ">lfsbin/git-lfs; chmod 755 lfsbin/git-lfs; : >log",
                          w.dir, here));
    (void)setenv("PATH", arena_printf(&w.a, "%s/lfsbin:%s", w.dir, path), 1);
    expect_checkout(&r, &what);
    assert_string_equal(in_dest("cat big.bin x.evil"), "lfs: big.bin\ntame");
    assert_string_equal(sh("grep '^lfs.url' notes"),
                        arena_printf(&w.a, "lfs.url=%s/info/lfs", r.url));
    assert_string_equal(sh("grep -c -i '^http.*extraheader=Authorization' notes"), "1");
    assert_string_equal(sh("grep -c LEAK log || true"), "0");
    /* What the filter makes counts. */
    (void)fresh(NULL);
    what.dir = w.dest;
    what.size_max = 1000;
    (void)sh(": >lfs-large");
    assert_int_equal(expect_refused(&r, &what, ERR_PERM).code, EFBIG);
    (void)sh(": >lfs-fails");
    (void)fresh(NULL);
    what.dir = w.dest;
    (void)expect_refused(&r, &what, ERR_TEMP);
    (void)setenv("PATH", path, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(writes_what_a_clone_has, fresh),
        cmocka_unit_test_setup(serves_again_from_the_cache, fresh),
        cmocka_unit_test_setup(heals_a_damaged_cache, fresh),
        cmocka_unit_test_setup(a_deleted_tag_is_gone, fresh),
        cmocka_unit_test_setup(who_can_not_be_asked_is_temporary, fresh),
        cmocka_unit_test_setup(a_tree_may_be_too_large, fresh),
        cmocka_unit_test_setup(hostile_trees_are_refused, fresh),
        cmocka_unit_test_setup(a_link_is_no_way_out, fresh),
        cmocka_unit_test_setup(submodules_come_when_asked_for, fresh),
        cmocka_unit_test_setup(submodules_of_other_hosts_are_refused, fresh),
        cmocka_unit_test_setup(submodules_end, fresh),
        cmocka_unit_test_setup(lfs_files_come_when_asked_for, fresh),
        cmocka_unit_test_setup(old_servers_are_asked_by_ref, fresh),
        cmocka_unit_test(resolves_addresses),
        cmocka_unit_test(reads_modules),
    };
    return cmocka_run_group_tests(tests, make_world, remove_world);
}
