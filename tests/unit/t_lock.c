#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/lock.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static char base[96];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/t_lock.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(base, sizeof base, "%s/store", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    return fs_remove_tree(dir, &err);
}

static void makes_shared_files(void **state)
{
    (void)state;
    mode_t before = umask(0777);
    struct turnstile t = TURNSTILE_INIT;
    struct err err = ERR_INIT;
    if (turnstile_open(&t, base, &err) < 0)
        fail_msg("%s", err.text);
    (void)umask(before);
    static const char *const names[] = {"store.next", "store.data"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", dir, names[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0660);
        /* What somebody else set up stays as it is. */
        assert_int_equal(chmod(path, 0666), 0);
    }
    turnstile_close(&t);
    assert_int_equal(t.next, -1);
    assert_int_equal(turnstile_open(&t, base, &err), 0);
    char *path CLEANUP(cleanup_free) = xasprintf("%s.data", base);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
    turnstile_close(&t);
    turnstile_close(&t);
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list left = {0};
    assert_int_equal(fs_list(dir, ".tmp", &a, &left, &err), 0);
    assert_int_equal(left.n, 0);
    assert_int_equal(turnstile_open(&t, "/nonexistent/store", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(t.next, -1);
}

static void refuses_links(void **state)
{
    (void)state;
    char *link CLEANUP(cleanup_free) = xasprintf("%s/link.next", dir);
    char *linked CLEANUP(cleanup_free) = xasprintf("%s/link", dir);
    assert_int_equal(symlink("/tmp/elsewhere", link), 0);
    struct turnstile t = TURNSTILE_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(turnstile_open(&t, linked, &err), -1);
}

/* Children add to a counter without any other protection. */
static void excludes_other_processes(void **state)
{
    (void)state;
    enum { CHILDREN = 4, ROUNDS = 300 };
    volatile int *counter =
        mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(counter, MAP_FAILED);
    pid_t pids[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        struct turnstile t = TURNSTILE_INIT;
        struct err err = ERR_INIT;
        int rc = turnstile_open(&t, base, &err);
        for (int k = 0; !rc && k < ROUNDS; k++) {
            rc = turnstile_enter(&t, true, &err);
            int seen = *counter;
            if (k % 16 == 0)
                (void)usleep(100);
            *counter = seen + 1;
            turnstile_leave(&t);
        }
        _exit(rc ? 1 : 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(*counter, CHILDREN * ROUNDS);
    (void)munmap((void *)counter, sizeof *counter);
}

static bool enters_within(bool exclusive, int64_t ms)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct turnstile t = TURNSTILE_INIT;
        struct err err = ERR_INIT;
        _exit(turnstile_open(&t, base, &err) || turnstile_enter(&t, exclusive, &err));
    }
    int status = -1;
    for (int64_t end = clock_monotonic_ms() + ms; clock_monotonic_ms() < end;) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status == 0;
        clock_sleep_ms(2);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return false;
}

static void readers_share_and_writers_do_not(void **state)
{
    (void)state;
    struct turnstile t = TURNSTILE_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(turnstile_open(&t, base, &err), 0);
    assert_int_equal(turnstile_enter(&t, false, &err), 0);
    assert_true(enters_within(false, 5000));
    assert_false(enters_within(true, 100));
    turnstile_leave(&t);
    assert_int_equal(turnstile_enter(&t, true, &err), 0);
    assert_false(enters_within(false, 100));
    turnstile_leave(&t);
    assert_true(enters_within(true, 5000));
    turnstile_close(&t);
}

/* Greedy processes enter again at once; a newcomer waits for a few of them, not for all. */
static void newcomers_are_not_starved(void **state)
{
    (void)state;
    enum { GREEDY = 6 };
    pid_t pids[GREEDY];
    for (int i = 0; i < GREEDY; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        struct turnstile t = TURNSTILE_INIT;
        struct err err = ERR_INIT;
        (void)turnstile_open(&t, base, &err);
        while (getppid() != 1) {
            (void)turnstile_enter(&t, true, &err);
            (void)usleep(1000);
            turnstile_leave(&t);
        }
        _exit(0);
    }
    struct turnstile t = TURNSTILE_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(turnstile_open(&t, base, &err), 0);
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        int64_t before = clock_monotonic_ms();
        assert_int_equal(turnstile_enter(&t, true, &err), 0);
        int64_t waited = clock_monotonic_ms() - before;
        worst = waited > worst ? waited : worst;
        turnstile_leave(&t);
        clock_sleep_ms(5);
    }
    for (int i = 0; i < GREEDY; i++) {
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    turnstile_close(&t);
    assert_in_range(worst, 0, 1000);
}

static void one_holder_a_file(void **state)
{
    (void)state;
    char *path CLEANUP(cleanup_free) = xasprintf("%s/work.lock", dir);
    struct err err = ERR_INIT;
    int fd = lock_file_try(path, &err);
    assert_true(fd >= 0);
    assert_int_equal(lock_file_try(path, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(err.code, EWOULDBLOCK);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fd);
        _exit(lock_file_try(path, &err) < 0 ? 0 : 1);
    }
    int status;
    (void)waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    (void)close(fd);
    fd = lock_file_wait(path, &err);
    assert_true(fd >= 0);
    (void)close(fd);
    /* A holder that is killed lets go. */
    pid = fork();
    if (pid == 0) {
        (void)lock_file_try(path, &err);
        (void)pause();
        _exit(0);
    }
    clock_sleep_ms(100);
    assert_int_equal(lock_file_try(path, &err), -1);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    fd = lock_file_wait(path, &err);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(lock_file_try("/nonexistent/x", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_shared_files),
        cmocka_unit_test(refuses_links),
        cmocka_unit_test(excludes_other_processes),
        cmocka_unit_test(readers_share_and_writers_do_not),
        cmocka_unit_test(newcomers_are_not_starved),
        cmocka_unit_test(one_holder_a_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
