#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
    int rc;
    struct proc_result r;
    struct err err;
};

static void release_run(struct run *run)
{
    proc_result_release(&run->r);
}

static struct run run_shell(const char *script, struct proc_opts opts, size_t max_out)
{
    struct run run = {.err = ERR_INIT};
    const char *argv[] = {"sh", "-c", script, NULL};
    opts.argv = argv;
    proc_result_init(&run.r, max_out);
    run.rc = proc_run(&opts, &run.r, &run.err);
    return run;
}

static void returns_output_and_status(void **state)
{
    (void)state;
    struct run run CLEANUP(release_run) =
        run_shell("printf 'out\\0put'; printf oops >&2; exit 3", (struct proc_opts){0}, 100);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.r.status, 3);
    assert_int_equal(run.r.out.len, 7);
    assert_memory_equal(run.r.out.buf, "out\0put", 7);
    assert_string_equal(run.r.err.buf, "oops");
    struct run killed CLEANUP(release_run) = run_shell("kill -TERM $$", (struct proc_opts){0}, 100);
    assert_int_equal(killed.rc, 0);
    assert_int_equal(killed.r.status, 128 + SIGTERM);
}

static void tells_what_is_not_installed(void **state)
{
    (void)state;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, 100);
    struct err err = ERR_INIT;
    const char *argv[] = {"no-such-program-here", "secret-argument", NULL};
    struct proc_opts opts = {.argv = argv};
    assert_int_equal(proc_run(&opts, &r, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(err.code, ENOENT);
    assert_non_null(strstr(err.text, "no-such-program-here"));
    assert_null(strstr(err.text, "secret-argument"));
    argv[0] = "/etc/passwd";
    assert_int_equal(proc_run(&opts, &r, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    argv[0] = "sh";
    opts.cwd = "/nonexistent";
    assert_int_equal(proc_run(&opts, &r, &err), -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void passes_exactly_the_environment(void **state)
{
    (void)state;
    (void)setenv("SECRET_TOKEN", "x", 1);
    const char *env[] = {"A=1", "B=two words", NULL};
    struct run run CLEANUP(release_run) =
        run_shell("exec /usr/bin/env", (struct proc_opts){.env = env}, 1000);
    /* The shell adds PWD by itself. */
    assert_non_null(strstr(run.r.out.buf, "A=1\n"));
    assert_non_null(strstr(run.r.out.buf, "B=two words\n"));
    assert_null(strstr(run.r.out.buf, "SECRET"));
    assert_null(strstr(run.r.out.buf, "PATH="));
    struct run plain CLEANUP(release_run) =
        run_shell("exec /usr/bin/env", (struct proc_opts){.cwd = "/"}, 1000);
    assert_non_null(strstr(plain.r.out.buf, "PATH="));
    assert_non_null(strstr(plain.r.out.buf, "LANG=C.UTF-8\n"));
    assert_non_null(strstr(plain.r.out.buf, "PWD=/\n"));
    assert_null(strstr(plain.r.out.buf, "SECRET"));
}

static void feeds_large_input_both_ways(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    char *data CLEANUP(cleanup_free) = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 251);
    struct run run CLEANUP(release_run) =
        run_shell("tee /dev/stderr", (struct proc_opts){.input = data, .input_len = SIZE}, SIZE);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.r.out.len, SIZE);
    assert_memory_equal(run.r.out.buf, data, SIZE);
    assert_int_equal(run.r.err.len, LIMIT_CHILD_ERRORS);
    assert_memory_equal(run.r.err.buf, data, LIMIT_CHILD_ERRORS);
    struct run none CLEANUP(release_run) = run_shell("cat", (struct proc_opts){0}, 10);
    assert_int_equal(none.rc, 0);
    assert_int_equal(none.r.out.len, 0);
}

/* A child that closes its input early; SIGPIPE would end this program. */
static void survives_a_child_that_does_not_read(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_DFL);
    char *data CLEANUP(cleanup_free) = xcalloc(1, 1 << 20);
    for (int i = 0; i < 20; i++) {
        struct run run CLEANUP(release_run) = run_shell(
            "exec <&-; echo done", (struct proc_opts){.input = data, .input_len = 1 << 20}, 100);
        assert_int_equal(run.rc, 0);
        assert_string_equal(run.r.out.buf, "done\n");
    }
    sigset_t pending, blocked;
    (void)sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    assert_int_equal(sigismember(&blocked, SIGPIPE), 0);
}

static void bounds_output(void **state)
{
    (void)state;
    int64_t before = clock_monotonic_ms();
    struct run run CLEANUP(release_run) = run_shell("yes", (struct proc_opts){0}, 100000);
    assert_int_equal(run.rc, -1);
    assert_int_equal(run.err.kind, ERR_PERM);
    assert_int_equal(run.err.code, EMSGSIZE);
    struct run exact CLEANUP(release_run) = run_shell("printf 12345", (struct proc_opts){0}, 5);
    assert_int_equal(exact.rc, 0);
    struct run over CLEANUP(release_run) = run_shell("printf 123456", (struct proc_opts){0}, 5);
    assert_int_equal(over.rc, -1);
    assert_true(clock_monotonic_ms() - before < 20000);
}

/* Zombies do not count: whoever inherited them may be slow to reap. */
static bool group_lives(int64_t group)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list pids = {0};
    struct err err = ERR_INIT;
    assert_int_equal(fs_list("/proc", "", &a, &pids, &err), 0);
    for (size_t i = 0; i < pids.n; i++) {
        struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(4096);
        if (fs_read_file(arena_printf(&a, "/proc/%s/stat", pids.at[i]), &b, &err) < 0)
            continue;
        const char *behind = strrchr(b.buf, ')');
        struct str_list fields = str_split(&a, behind ? behind : "", ' ');
        int64_t found;
        if (fields.n > 3 && str_to_i64(fields.at[3], &found) && found == group &&
            !str_eq(fields.at[1], "Z"))
            return true;
    }
    return false;
}

/* Everything of the group ends, also what ignores signals or runs behind the leader. */
static void kills_the_group_when_time_is_up(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "sleep 60",
        "trap '' TERM INT HUP; sleep 60 & sleep 60",
        "exec >&- 2>&-; sleep 60",
        "yes >&2",
        "while :; do :; done",
    };
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        int64_t before = clock_monotonic_ms();
        char *script CLEANUP(cleanup_free) = xasprintf("echo $$; %s", scripts[i]);
        struct run run CLEANUP(release_run) =
            run_shell(script, (struct proc_opts){.timeout_ms = 150}, 100);
        int64_t took = clock_monotonic_ms() - before;
        assert_int_equal(run.rc, -1);
        assert_int_equal(run.err.kind, ERR_TEMP);
        assert_int_equal(run.err.code, ETIMEDOUT);
        assert_true(run.r.timed_out);
        assert_in_range(took, 149, 10000);
        int64_t group = 0;
        run.r.out.buf[strcspn(run.r.out.buf, "\n")] = '\0';
        assert_true(str_to_i64(run.r.out.buf, &group));
        for (int try = 0; try < 100 && group_lives(group); try++)
            clock_sleep_ms(10);
        assert_false(group_lives(group));
    }
}

static void does_not_wait_for_grandchildren(void **state)
{
    (void)state;
    int64_t before = clock_monotonic_ms();
    struct run run CLEANUP(release_run) =
        run_shell("sleep 3 & echo started", (struct proc_opts){0}, 100);
    assert_int_equal(run.rc, 0);
    assert_string_equal(run.r.out.buf, "started\n");
    assert_true(clock_monotonic_ms() - before < 2500);
}

static void closes_all_but_the_named_descriptor(void **state)
{
    (void)state;
    /* Low and high numbers without close-on-exec, as a careless library leaves them. */
    int leaks[] = {dup(STDERR_FILENO), fcntl(STDERR_FILENO, F_DUPFD, 20),
                   fcntl(STDERR_FILENO, F_DUPFD, 200)};
    int memory = memfd_create("t", MFD_CLOEXEC);
    int fd = fcntl(memory, F_DUPFD_CLOEXEC, 57);
    assert_int_equal(write(fd, "inside", 6), 6);
    static const char script[] =
        "n=3; while [ $n -lt 300 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n+1)); done; "
        "[ $1 ] && cat /proc/self/fd/57; [ $1 ] && cat /proc/self/fd/57";
    char *with CLEANUP(cleanup_free) = xasprintf("set -- x; %s", script);
    struct run run CLEANUP(release_run) = run_shell(with, (struct proc_opts){.pass_fd = fd}, 1000);
    assert_string_equal(run.r.out.buf, "57\ninsideinside");
    struct run none CLEANUP(release_run) = run_shell(script, (struct proc_opts){0}, 1000);
    assert_string_equal(none.r.out.buf, "");
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(leaks); i++)
        (void)close(leaks[i]);
    (void)close(memory);
    (void)close(fd);
}

static void gives_the_child_default_signals(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    sigset_t some;
    (void)sigemptyset(&some);
    (void)sigaddset(&some, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &some, NULL);
    struct run run CLEANUP(release_run) =
        run_shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status", (struct proc_opts){0}, 1000);
    (void)pthread_sigmask(SIG_UNBLOCK, &some, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    /* Signals 32 and 33 are the C library's own. */
    assert_true(str_starts(run.r.out.buf, "SigBlk:\t0000000000000000\nSigIgn:\t"));
    assert_true(str_ends(run.r.out.buf, "80000000\n") || str_ends(run.r.out.buf, "00000000\n"));
    struct run group CLEANUP(release_run) =
        run_shell("test $(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat) -eq $$",
                  (struct proc_opts){0}, 100);
    assert_int_equal(group.r.status, 0);
}

static void works_without_standard_streams(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(0);
        (void)close(1);
        (void)close(2);
        struct run run =
            run_shell("cat; echo err >&2", (struct proc_opts){.input = "in", .input_len = 2}, 100);
        _exit(run.rc == 0 && str_eq(run.r.out.buf, "in") && str_eq(run.r.err.buf, "err\n") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void *run_many(void *arg)
{
    for (int i = 0; i < 20; i++) {
        struct run run CLEANUP(release_run) =
            run_shell("cat; echo", (struct proc_opts){.input = arg, .input_len = strlen(arg)}, 100);
        if (run.rc || !str_starts(run.r.out.buf, arg))
            return arg;
    }
    return NULL;
}

static size_t count_fds(void)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    struct err err = ERR_INIT;
    assert_int_equal(fs_list("/proc/self/fd", "", &a, &names, &err), 0);
    return names.n;
}

static void serves_threads_and_leaks_nothing(void **state)
{
    (void)state;
    size_t before = count_fds();
    static char inputs[][8] = {"first", "second", "third", "fourth"};
    pthread_t threads[ARRAY_LEN(inputs)];
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, inputs[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        void *failed;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

struct listener {
    struct strbuf heard;
    int64_t bytes;
    int asked;
    int stop_when_asked; /* so often; 0: never */
};

static void hear(void *user, const char *data, size_t len)
{
    struct listener *l = user;
    l->bytes += (int64_t)len;
    size_t room = l->heard.max - l->heard.len;
    (void)strbuf_add(&l->heard, data, len < room ? len : room);
}

static int ask(void *user, struct err *err)
{
    struct listener *l = user;
    l->asked++;
    return l->asked == l->stop_when_asked ? err_set(err, ERR_TEMP, ECANCELED, "stopped") : 0;
}

/* Both outputs in the order of writing, as they come, none of it kept and no amount too much. */
static void hands_output_on(void **state)
{
    (void)state;
    struct listener l = {.heard = STRBUF_INIT(100)};
    struct proc_opts opts = {.on_output = hear, .check = ask, .user = &l};
    struct run run CLEANUP(release_run) =
        run_shell("echo one; echo two >&2; printf three; exit 4", opts, 1);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.r.status, 4);
    assert_string_equal(l.heard.buf, "one\ntwo\nthree");
    assert_int_equal(run.r.out.len + run.r.err.len, 0);
    assert_true(l.asked >= 1);
    l.bytes = 0;
    struct run much CLEANUP(release_run) =
        run_shell("yes | head -c 50000000; yes | head -c 777 >&2", opts, 1);
    assert_int_equal(much.rc, 0);
    assert_int_equal(l.bytes, 50000777);
    strbuf_release(&l.heard);
}

static void ends_when_told(void **state)
{
    (void)state;
    static const char *const scripts[] = {"sleep 60", "yes", "trap '' TERM; sleep 60 & sleep 60"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        for (int with_output = 0; with_output < 2; with_output++) {
            struct listener l = {.heard = STRBUF_INIT(10), .stop_when_asked = 3};
            struct proc_opts opts = {
                .on_output = with_output ? hear : NULL, .check = ask, .user = &l};
            int64_t before = clock_monotonic_ms();
            struct run run CLEANUP(release_run) = run_shell(scripts[i], opts, SIZE_MAX / 2);
            assert_int_equal(run.rc, -1);
            assert_int_equal(run.err.code, ECANCELED);
            assert_false(run.r.timed_out);
            assert_int_equal(l.asked, 3);
            assert_in_range(clock_monotonic_ms() - before, PROC_CHECK_MS, 20000);
            strbuf_release(&l.heard);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_output_and_status),
        cmocka_unit_test(tells_what_is_not_installed),
        cmocka_unit_test(passes_exactly_the_environment),
        cmocka_unit_test(feeds_large_input_both_ways),
        cmocka_unit_test(survives_a_child_that_does_not_read),
        cmocka_unit_test(bounds_output),
        cmocka_unit_test(kills_the_group_when_time_is_up),
        cmocka_unit_test(does_not_wait_for_grandchildren),
        cmocka_unit_test(closes_all_but_the_named_descriptor),
        cmocka_unit_test(gives_the_child_default_signals),
        cmocka_unit_test(works_without_standard_streams),
        cmocka_unit_test(serves_threads_and_leaks_nothing),
        cmocka_unit_test(hands_output_on),
        cmocka_unit_test(ends_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
