/* core/git over HTTP with credentials, an old server, and how many processes an answer costs. */
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

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char password[] = "s3cr3t: \"p%/\\w\xc3\xb6rd";

struct server {
    pid_t pid;
    int in;
    unsigned port;
};

static struct world {
    char dir[64];
    struct arena a;
    const char *log;
    const char *c1, *c2, *c3;
    struct server server, old;
    struct git *git;
} w;

static const char *sh(const char *script)
{
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, MIB(1));
    const char *argv[] = {"sh", "-euc", script, NULL};
    struct proc_opts opts = {.argv = argv, .cwd = w.dir};
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
    s->pid = fork();
    if (s->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)execl("/usr/bin/python3", "python3", "tests/fakes/git_http.py", w.dir, path, w.log,
                    option, NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    s->in = in[1];
    char line[16] = "";
    FILE *from CLEANUP(cleanup_file) = fdopen(out[0], "r");
    assert_non_null(from);
    assert_non_null(fgets(line, sizeof line, from)); /* a whole line, in however many pieces */
    s->port = (unsigned)strtoul(line, NULL, 10);
    assert_int_not_equal(s->port, 0);
}

static void stop_server(struct server *s)
{
    (void)close(s->in);
    (void)waitpid(s->pid, NULL, 0);
}

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/t_git_remote.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    w.log = arena_printf(&w.a, "%s/log", w.dir);
    struct err err = ERR_INIT;
    const char *pair = arena_printf(&w.a, "ci:%s", password);
    const char *pair_file = arena_printf(&w.a, "%s/pair", w.dir);
    assert_int_equal(fs_replace_file(pair_file, pair, strlen(pair), 0600, &err), 0);
    (void)sh("export HOME=$PWD; : >nobody; git config --global user.name a; "
             "git config --global user.email a@example.org; git init -q -b main src; cd src; "
             "echo one >.slipway.yaml; mkdir d; for i in 1 2 3; do echo $i >d/$i; done; "
             "git add .; git commit -q -m one; echo two >.slipway.yaml; git commit -q -a -m two; "
             "echo 9 >d/1; git commit -q -a -m three; git tag -a -m t v1; cd ..; "
             "git clone -q --bare src repo.git; git clone -q --bare src counted.git");
    w.c1 = sh("git -C src rev-parse HEAD~2");
    w.c2 = sh("git -C src rev-parse HEAD~1");
    w.c3 = sh("git -C src rev-parse HEAD");
    start_server(&w.server, "pair", "--new");
    start_server(&w.old, "nobody", "--old");
    /* Counts the processes that core/git starts, not those that git starts itself. */
    const char *git = sh("command -v git");
    (void)sh(arena_printf(&w.a,
                          "mkdir bin; printf '#!/bin/sh\\necho >>%s/count\\nexec %s \"$@\"\\n' "
                          ">bin/git; chmod +x bin/git; : >count",
                          w.dir, git));
    (void)setenv("PATH", arena_printf(&w.a, "%s/bin:%s", w.dir, getenv("PATH")), 1);
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

static int64_t count(const char *file, const char *word)
{
    const char *text = sh(arena_printf(&w.a, "grep -c -e '%s' %s || true", word, file));
    int64_t n = -1;
    assert_true(str_to_i64(text, &n));
    return n;
}

static const char *url(const struct server *s, const char *path)
{
    return arena_printf(&w.a, "http://127.0.0.1:%u/%s", s->port, path);
}

static const char *read_yaml(const struct git_remote *r, const char *commit, struct err *err)
{
    const char *content = NULL;
    size_t len;
    bool missing;
    *err = (struct err)ERR_INIT;
    if (git_read_file(w.git, r, commit, ".slipway.yaml", &w.a, &content, &len, &missing, err) < 0)
        return NULL;
    return missing ? "missing" : content;
}

static void authenticates_without_showing_the_password(void **state)
{
    (void)state;
    struct git_remote r = {
        .url = url(&w.server, "repo.git"), .username = "ci", .password = password};
    struct err err = ERR_INIT;
    (void)sh(": >log");
    /* The first read fetches trees and then one file: two conversations, both with the header. */
    const char *content = read_yaml(&r, w.c1, &err);
    if (!content)
        fail_msg("%s", err.text);
    assert_string_equal(content, "one\n");
    assert_string_equal(read_yaml(&r, w.c2, &err), "two\n");
    enum ancestry out;
    assert_int_equal(git_ancestry(w.git, &r, w.c2, w.c1, &out, &err), 0);
    assert_int_equal(out, ANCESTRY_DESCENDANT);
    const char *text;
    assert_int_equal(git_resolve_tag(w.git, &r, "v1", &w.a, &text, &err), 0);
    assert_string_equal(text, w.c3);
    assert_true(count("log", "^200 POST .*git-upload-pack") >= 3);
    assert_int_equal(count("log", "^401"), 0);
    assert_int_equal(count("log", "LEAK"), 0);
    /* Nothing of it stays on disk. */
    assert_string_equal(sh("grep -r -l -F -e s3cr3t -e Authorization cache || true"), "");
}

/* The witness itself works: a process with the password in its arguments is seen. */
static void witness_sees_a_leak(void **state)
{
    (void)state;
    (void)sh(": >log");
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl("/bin/sleep", password, "30", NULL);
        _exit(127);
    }
    struct git_remote r = {.url = url(&w.server, "repo.git")};
    const char *branch;
    struct err err = ERR_INIT;
    (void)git_default_branch(w.git, &r, &w.a, &branch, &err);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_true(count("log", "LEAK") > 0);
}

static void refused_credentials_are_for_the_operator(void **state)
{
    (void)state;
    const struct git_remote wrong[] = {
        {.url = url(&w.server, "repo.git"), .username = "ci", .password = "wrong-pa55"},
        {.url = url(&w.server, "repo.git")},
        {.url = url(&w.server, "none.git"), .username = "ci", .password = password},
        {.url = url(&w.server, "moved/repo.git"), .username = "ci", .password = password},
        {.url = url(&w.server, "repo.git"), .username = "c:i", .password = password},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err err = ERR_INIT;
        (void)sh("rm -rf cache");
        assert_null(read_yaml(&wrong[i], w.c3, &err));
        if (err.kind != ERR_CONFIG)
            fail_msg("%zu: %s: %s", i, err_kind_name(err.kind), err.text);
        assert_null(strstr(err.text, "wrong-pa55"));
        assert_null(strstr(err.text, password));
        enum ancestry out;
        assert_int_equal(git_ancestry(w.git, &wrong[i], w.c1, w.c2, &out, &err), -1);
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

/* Protocol version 0, ids that no ref names are refused. */
static void falls_back_to_refs_on_an_old_server(void **state)
{
    (void)state;
    struct git_remote r = {.url = url(&w.old, "repo.git")};
    struct err err = ERR_INIT;
    static const char absent[] = "0123456789012345678901234567890123456789";
    for (int i = 0; i < 2; i++) {
        const char *content = read_yaml(&r, w.c1, &err);
        if (!content)
            fail_msg("%s", err.text);
        assert_string_equal(content, "one\n");
        assert_string_equal(read_yaml(&r, w.c3, &err), "two\n");
        enum ancestry out;
        if (git_ancestry(w.git, &r, w.c1, w.c2, &out, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(out, ANCESTRY_ANCESTOR);
        assert_int_equal(git_ancestry(w.git, &r, w.c1, absent, &out, &err), 0);
        assert_int_equal(out, ANCESTRY_DIVERGED);
        assert_null(read_yaml(&r, absent, &err));
        assert_int_equal(err.kind, ERR_TEMP);
    }
    assert_true(fs_exists(arena_printf(&w.a, "%s/cache", w.dir)));
    assert_string_equal(sh("ls -d cache/*.all | wc -l"), "1");
}

static int64_t started(void)
{
    int64_t n = count("count", "");
    (void)sh(": >count");
    return n;
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

static void answers_cost_few_processes(void **state)
{
    (void)state;
    const struct git_remote remotes[] = {
        {.url = arena_printf(&w.a, "file://%s/counted.git", w.dir)},
        {.url = url(&w.server, "counted.git"), .username = "ci", .password = password},
    };
    for (size_t i = 0; i < ARRAY_LEN(remotes); i++) {
        const struct git_remote *r = &remotes[i];
        struct err err = ERR_INIT;
        (void)sh("rm -rf cache");
        (void)started();
        assert_string_equal(read_yaml(r, w.c1, &err), "one\n");
        assert_int_equal(started(), 2);
        assert_string_equal(read_yaml(r, w.c1, &err), "one\n");
        assert_int_equal(started(), 1);
        assert_string_equal(read_yaml(r, w.c2, &err), "two\n");
        assert_int_equal(started(), 2);
        enum ancestry out;
        assert_int_equal(git_ancestry(w.git, r, w.c2, w.c1, &out, &err), 0);
        assert_int_equal(out, ANCESTRY_DESCENDANT);
        assert_int_equal(started(), 0); /* the commit that was read names its parent */
        restart();
        assert_int_equal(git_ancestry(w.git, r, w.c2, w.c1, &out, &err), 0);
        assert_int_equal(started(), 2);
        assert_int_equal(git_ancestry(w.git, r, w.c1, w.c2, &out, &err), 0);
        assert_int_equal(started(), 1);
        const char *text;
        assert_int_equal(git_resolve_tag(w.git, r, "v1", &w.a, &text, &err), 0);
        assert_int_equal(started(), 1);
    }
}

/* The small file rides along with a later commit: no second conversation. */
static void later_commits_bring_their_small_files(void **state)
{
    (void)state;
    struct git_remote r = {
        .url = url(&w.server, "repo.git"), .username = "ci", .password = password};
    struct err err = ERR_INIT;
    (void)sh("rm -rf cache; : >log");
    assert_string_equal(read_yaml(&r, w.c1, &err), "one\n");
    assert_true(count("log", "^200 GET") >= 2);
    (void)sh(": >log");
    assert_string_equal(read_yaml(&r, w.c2, &err), "two\n");
    assert_int_equal(count("log", "^200 GET"), 1);
    (void)sh(": >log");
    assert_string_equal(read_yaml(&r, w.c2, &err), "two\n");
    assert_int_equal(count("log", "200"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authenticates_without_showing_the_password),
        cmocka_unit_test(witness_sees_a_leak),
        cmocka_unit_test(refused_credentials_are_for_the_operator),
        cmocka_unit_test(falls_back_to_refs_on_an_old_server),
        cmocka_unit_test(answers_cost_few_processes),
        cmocka_unit_test(later_commits_bring_their_small_files),
    };
    return cmocka_run_group_tests(tests, make_world, remove_world);
}
