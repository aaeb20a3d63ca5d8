#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/random.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct arena a;

static const char *at(const char *name)
{
    return arena_printf(&a, "%s/%s", dir, name);
}

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/t_fs.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    int rc = fs_remove_tree(dir, &err);
    arena_release(&a);
    return rc;
}

static void put(const char *name, const void *data, size_t len)
{
    struct err err = ERR_INIT;
    if (fs_replace_file(at(name), data, len, 0640, &err) < 0)
        fail_msg("%s", err.text);
}

static void replaces_and_reads(void **state)
{
    (void)state;
    mode_t before = umask(0777);
    put("file", "one\0two", 7);
    (void)umask(before);
    struct stat st;
    assert_int_equal(stat(at("file"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    put("file", "three", 5);
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(strbuf_addstr(&b, "before "), 0);
    assert_int_equal(fs_read_file(at("file"), &b, &err), 0);
    assert_string_equal(b.buf, "before three");
    put("empty", "", 0);
    assert_int_equal(fs_read_file(at("empty"), &b, &err), 0);
    struct str_list left = {0};
    assert_int_equal(fs_list(dir, ".tmp", &a, &left, &err), 0);
    assert_int_equal(left.n, 0);
}

/* The former content stays when the new one cannot be put in place, and nothing is left over. */
static void keeps_the_old_file_on_failure(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_mkdirs(at("inplace/full"), 0700, &err), 0);
    assert_int_equal(fs_replace_file(at("inplace"), "x", 1, 0600, &err), -1);
    assert_int_equal(fs_replace_file(at("nowhere/x"), "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ENOENT);
    assert_true(fs_exists(at("inplace/full")));
    struct str_list left = {0};
    assert_int_equal(fs_list(dir, ".tmp", &a, &left, &err), 0);
    assert_int_equal(left.n, 0);
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(10);
    assert_int_equal(fs_read_file(at("file"), &b, &err), 0);
    assert_string_equal(b.buf, "three");
}

static void bounds_what_it_reads(void **state)
{
    (void)state;
    put("hundred", arena_alloc(&a, 100), 100);
    struct err err = ERR_INIT;
    struct strbuf exact CLEANUP_STRBUF = STRBUF_INIT(100);
    assert_int_equal(fs_read_file(at("hundred"), &exact, &err), 0);
    assert_int_equal(exact.len, 100);
    struct strbuf less CLEANUP_STRBUF = STRBUF_INIT(99);
    assert_int_equal(fs_read_file(at("hundred"), &less, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    struct strbuf endless CLEANUP_STRBUF = STRBUF_INIT(1 << 20);
    int fd CLEANUP(cleanup_fd) = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fs_read_fd(fd, &endless, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(err.code, EMSGSIZE);
}

static void reads_regular_files_only(void **state)
{
    (void)state;
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(fs_read_file(at("none"), &b, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(err.code, ENOENT);
    assert_non_null(strstr(err.text, at("none")));
    assert_int_equal(fs_read_file(dir, &b, &err), -1);
    assert_int_equal(err.code, EISDIR);
    /* Nobody writes to it: opening must not wait. */
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(fs_read_file(at("fifo"), &b, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(fs_read_file("/dev/zero", &b, &err), -1);
    assert_int_equal(b.len, 0);
}

static void reports_a_full_disk(void **state)
{
    (void)state;
    int fd CLEANUP(cleanup_fd) = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct err err = ERR_INIT;
    assert_int_equal(fs_write_all(fd, "x", 1, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.code, ENOSPC);
    assert_int_equal(fs_write_all(-1, "", 0, &err), 0);
}

static void makes_directories(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_mkdirs(at("a//b/c/"), 0700, &err), 0);
    assert_int_equal(fs_mkdirs(at("a/b/c"), 0700, &err), 0);
    assert_true(fs_exists(at("a/b/c")));
    assert_int_equal(fs_mkdirs(at("file/below"), 0700, &err), -1);
    assert_int_equal(err.code, ENOTDIR);
    assert_int_equal(fs_mkdirs(at("file"), 0700, &err), -1);
    assert_int_equal(fs_mkdirs("", 0700, &err), -1);
    assert_int_equal(fs_mkdirs("/", 0700, &err), 0);
}

static void removes_trees_and_follows_no_links(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_mkdirs(at("tree/x/y"), 0700, &err), 0);
    assert_int_equal(fs_mkdirs(at("outside"), 0700, &err), 0);
    put("outside/precious", "1", 1);
    put("tree/x/y/f", "1", 1);
    assert_int_equal(symlink("../outside", at("tree/link")), 0);
    assert_int_equal(symlink("/nonexistent", at("tree/dangling")), 0);
    assert_int_equal(fs_remove_tree(at("tree"), &err), 0);
    assert_false(fs_exists(at("tree")));
    assert_true(fs_exists(at("outside/precious")));
    assert_int_equal(symlink("outside", at("direct")), 0);
    assert_int_equal(fs_remove_tree(at("direct"), &err), 0);
    assert_true(fs_exists(at("outside/precious")));
    assert_int_equal(fs_remove_tree(at("outside/precious"), &err), 0);
    assert_int_equal(fs_remove_tree(at("never there"), &err), 0);
}

static void lists_sorted_names(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_mkdirs(at("conf"), 0700, &err), 0);
    static const char *const names[] = {"20.yaml", "10.yaml", "b.yml", ".hidden.yaml", "x.yaml~"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        put(arena_printf(&a, "conf/%s", names[i]), "", 0);
    struct str_list found = {0};
    assert_int_equal(fs_list(at("conf"), ".yaml", &a, &found, &err), 0);
    assert_int_equal(found.n, 3);
    assert_string_equal(found.at[0], ".hidden.yaml");
    assert_string_equal(found.at[1], "10.yaml");
    assert_string_equal(found.at[2], "20.yaml");
    assert_int_equal(fs_list(at("conf"), "", &a, &found, &err), 0);
    assert_int_equal(found.n, 5);
    assert_int_equal(fs_list(at("none"), "", &a, &found, &err), -1);
    assert_int_equal(err.code, ENOENT);
}

static void names_directories(void **state)
{
    (void)state;
    static const struct {
        const char *path, *want;
    } cases[] = {{"a/b", "a"}, {"/a", "/"},        {"a", "."},    {"", "."},   {"/", "/"},
                 {"a/", "."},  {"/a/b/c", "/a/b"}, {"a//b", "a"}, {"//a", "/"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(fs_dirname(&a, cases[i].path), cases[i].want);
}

static void draws_random_numbers(void **state)
{
    (void)state;
    char one[65], two[65];
    random_hex(one, 32);
    random_hex(two, 32);
    assert_true(str_is_hex(one, 64));
    assert_string_not_equal(one, two);
    random_hex(one, 0);
    assert_string_equal(one, "");
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        int64_t n = random_below(7);
        assert_in_range(n, 0, 6);
        seen[n]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 700, 1300);
    assert_int_equal(random_below(1), 0);
    assert_true(random_below(INT64_MAX) >= 0);
}

static void ignore_signal(int number)
{
    (void)number;
}

static void *send_signals(void *thread)
{
    for (int i = 0; i < 5; i++) {
        (void)usleep(5000);
        (void)pthread_kill(*(pthread_t *)thread, SIGUSR1);
    }
    return NULL;
}

static void sleeps_its_time(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_signal};
    (void)sigaction(SIGUSR1, &action, NULL);
    pthread_t self = pthread_self(), sender;
    (void)pthread_create(&sender, NULL, send_signals, &self);
    int64_t before = clock_monotonic_ms();
    clock_sleep_ms(60);
    int64_t slept = clock_monotonic_ms() - before;
    (void)pthread_join(sender, NULL);
    assert_true(slept >= 59);
    clock_sleep_ms(0);
    clock_sleep_ms(-5);
    assert_true(clock_now_ms() > 1700000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_and_reads),
        cmocka_unit_test(keeps_the_old_file_on_failure),
        cmocka_unit_test(bounds_what_it_reads),
        cmocka_unit_test(reads_regular_files_only),
        cmocka_unit_test(reports_a_full_disk),
        cmocka_unit_test(makes_directories),
        cmocka_unit_test(removes_trees_and_follows_no_links),
        cmocka_unit_test(lists_sorted_names),
        cmocka_unit_test(names_directories),
        cmocka_unit_test(draws_random_numbers),
        cmocka_unit_test(sleeps_its_time),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
