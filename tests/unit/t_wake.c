#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/wake.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char path[96];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/t_wake.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/wake", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    return fs_remove_tree(dir, &err);
}

static int listen_here(void)
{
    struct err err = ERR_INIT;
    int fd = wake_listen(path, &err);
    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

static void wakes_once_for_many(void **state)
{
    (void)state;
    int fd CLEANUP(cleanup_fd) = listen_here();
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_false(wake_wait(fd, 0));
    for (int i = 0; i < 5; i++)
        wake_send(path);
    assert_true(wake_wait(fd, 1000));
    assert_false(wake_wait(fd, 0));
    int64_t before = clock_monotonic_ms();
    assert_false(wake_wait(fd, 40));
    assert_true(clock_monotonic_ms() - before >= 39);
}

/* More than the socket holds: the sender must not wait, the hint must arrive. */
static void never_blocks_the_sender(void **state)
{
    (void)state;
    int fd CLEANUP(cleanup_fd) = listen_here();
    int64_t before = clock_monotonic_ms();
    for (int i = 0; i < 3000; i++)
        wake_send(path);
    assert_true(clock_monotonic_ms() - before < 5000);
    assert_true(wake_wait(fd, 1000));
    while (wake_wait(fd, 0))
        continue;
    wake_send(path);
    assert_true(wake_wait(fd, 1000));
}

static void nobody_listening_is_fine(void **state)
{
    (void)state;
    wake_send("/nonexistent/socket");
    wake_send("");
    wake_send(dir);
    char long_path[300];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    wake_send(long_path);
    int fd = listen_here();
    (void)close(fd);
    wake_send(path); /* the file is there, the listener is not */
    fd = listen_here();
    wake_send(path);
    assert_true(wake_wait(fd, 1000));
    (void)close(fd);
}

static void replaces_only_sockets(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char *file CLEANUP(cleanup_free) = xasprintf("%s/file", dir);
    assert_int_equal(fs_replace_file(file, "x", 1, 0600, &err), 0);
    assert_int_equal(wake_listen(file, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_true(fs_exists(file));
    char *deep CLEANUP(cleanup_free) = xasprintf("%s/%0200d", dir, 0);
    assert_int_equal(wake_listen(deep, &err), -1);
    assert_int_equal(err.code, ENAMETOOLONG);
    assert_int_equal(wake_listen("/nonexistent/x", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

static void *send_later(void *arg)
{
    (void)arg;
    clock_sleep_ms(30);
    wake_send(path);
    return NULL;
}

static void wakes_a_waiter(void **state)
{
    (void)state;
    int fd CLEANUP(cleanup_fd) = listen_here();
    pthread_t sender;
    (void)pthread_create(&sender, NULL, send_later, NULL);
    int64_t before = clock_monotonic_ms();
    assert_true(wake_wait(fd, INT64_MAX));
    assert_in_range(clock_monotonic_ms() - before, 20, 5000);
    (void)pthread_join(sender, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_once_for_many),      cmocka_unit_test(never_blocks_the_sender),
        cmocka_unit_test(nobody_listening_is_fine), cmocka_unit_test(replaces_only_sockets),
        cmocka_unit_test(wakes_a_waiter),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
