#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "tests/unit/build_shop.h"

#include <errno.h>

/* Builds that fail, hang, or take more than they may. */

static void tells_why_a_build_failed(enum build_tool tool)
{
    SHOP(tool);
    (void)add_image(s, "good", FROM_SCRATCH);
    struct build_image *i = add_image(
        s, "app", FROM_SCRATCH RUN_SH("echo before; echo cannot find the needle >&2; exit 7"));
    i->label = "registry.example.org/team/app";
    BADLY(s, ERR_PERM, "image registry.example.org/team/app: ", "cannot find the needle", "RUN");
    logged(s, "before", true);
    assert_false(yard_has(&s->y, "out/app"));
    /* What was whole before is kept for another try, if the caller says so. */
    assert_true(yard_has(&s->y, "out/good"));
    assert_int_equal(yard_count(&s->y, "out"), 1);

    static const struct {
        const char *file;
        enum err_kind kind;
        const char *why;
    } cases[] = {
        {FROM_SCRATCH "RUN echo needs a shell\n", ERR_PERM, "has no shell"},
        {"FROM scratch\nCOPY absent /\n", ERR_PERM, "absent"},
        {"FROM scratch\nWHAT is this\n", ERR_PERM, "WHAT"},
        {"", ERR_PERM, "image app"},
        {"FROM 127.0.0.1:1/team/base:1\n", ERR_TEMP, "could not be asked"},
        {FROM_SCRATCH "RUN [\"/bin/busybox\", \"kill\", \"-9\", \"-1\"]\n", ERR_PERM, "RUN"},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        s->spec.images.n = 0;
        strbuf_reset(&s->log);
        (void)add_image(s, "app", cases[c].file);
        BADLY(s, cases[c].kind, "image app", cases[c].why);
    }
}

static size_t sleepers(struct shop *s, const char *seconds)
{
    size_t n = 0;
    struct str_list pids = {0};
    assert_int_equal(fs_list("/proc", "", &s->y.a, &pids, &s->err), 0);
    for (size_t i = 0; i < pids.n; i++) {
        struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
        if (fs_read_file(arena_printf(&s->y.a, "/proc/%s/cmdline", pids.at[i]), &b, NULL) == 0 &&
            b.len > strlen(seconds) + 1 && str_eq(b.buf + b.len - 1 - strlen(seconds), seconds))
            n++;
    }
    return n;
}

/* Also what a step started behind it ends. */
static void ends_what_hangs(enum build_tool tool)
{
    SHOP(tool);
    const char *seconds = arena_printf(&s->y.a, "8%05d", (int)getpid() % 100000);
    const char *file = arena_printf(
        &s->y.a,
        FROM_SCRATCH "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo begun; (/bin/busybox "
                     "setsid /bin/busybox sleep %s &) ; trap '' TERM; /bin/busybox sleep "
                     "%s\"]\n",
        seconds, seconds);
    (void)add_image(s, "app", file);
    s->spec.timeout_s = 2;
    int64_t before = clock_monotonic_ms();
    BADLY(s, ERR_PERM, "image app", "timed out", "2 seconds");
    assert_int_equal(s->err.code, ETIMEDOUT);
    assert_in_range(clock_monotonic_ms() - before, 1900, 20000);
    logged(s, "begun", true);
    for (int i = 0; i < 200 && sleepers(s, seconds); i++)
        clock_sleep_ms(10);
    assert_int_equal(sleepers(s, seconds), 0);

    s->spec.timeout_s = 0;
    s->stop_at = clock_monotonic_ms() + 1000;
    BADLY(s, ERR_TEMP, "stopped");
    assert_int_equal(s->err.code, ECANCELED);
    for (int i = 0; i < 200 && sleepers(s, seconds); i++)
        clock_sleep_ms(10);
    assert_int_equal(sleepers(s, seconds), 0);
}

static void bounds_disk_and_log(enum build_tool tool)
{
    SHOP(tool);
    (void)add_image(
        s, "app",
        FROM_SCRATCH RUN_SH(
            "i=0; while [ $i -lt 300 ]; do /bin/busybox dd if=/dev/zero of=/f$i bs=1M count=4 "
            "2>/dev/null; /bin/busybox sleep 0.05; i=$((i+1)); done"));
    s->spec.disk_max = (int64_t)MIB(64);
    BADLY(s, ERR_PERM, "image app", "67108864 bytes of disk");

    s->spec.disk_max = 0;
    s->spec.images.n = 0;
    strbuf_reset(&s->log);
    (void)add_image(
        s, "app",
        FROM_SCRATCH RUN_SH(
            "/bin/busybox yes 'a line that is nothing but long' | /bin/busybox head -c 50000000; "
            "echo at the $((40+2))nd; exit 5"));
    s->spec.log_max = 100000;
    BADLY(s, ERR_PERM, "at the 42nd", "status");
    logged(s, "the rest is dropped", true);
    logged(s, "bytes of log were dropped", true);
    logged(s, "at the 42nd", false);
    assert_in_range(s->log.len, 100000, 101000);
}

BOTH(tells_why_a_build_failed)
BOTH(ends_what_hangs)
BOTH(bounds_disk_and_log)

/* Found before anything is built. */
static void refuses_what_cannot_be_built(void **state)
{
    (void)state;
    SHOP(BUILD_BUILDAH);
    (void)add_image(s, "app", FROM_SCRATCH);
    struct build_image *i = add_image(s, "late", FROM_SCRATCH);
    i->filename = "absent";
    BADLY(s, ERR_PERM, "image late", "absent");
    i->filename = NULL;
    i->context = "elsewhere";
    yard_link(&s->y, "source/elsewhere", "../out");
    BADLY(s, ERR_PERM, "image late", "leads out");
    i->context = "../out";
    BADLY(s, ERR_INPUT, "image late", "context");
    i->context = ".";
    *list_push(&s->y.a, &s->spec.env) = (struct build_env){"LD_PRELOAD", "/x.so"};
    BADLY(s, ERR_INPUT, "LD_PRELOAD");
    assert_int_equal(s->log.len, 0);
    assert_int_equal(yard_count(&s->y, "out"), 0);
}

static void tells_what_is_not_installed(void **state)
{
    (void)state;
    SHOP(BUILD_BUILDAH);
    (void)add_image(s, "app", FROM_SCRATCH);
    const char *path = arena_strdup(&s->y.a, getenv("PATH"));
    assert_int_equal(setenv("PATH", s->y.out, 1), 0);
    BADLY(s, ERR_CONFIG, "buildah is not installed", "package: buildah");
    s->spec.tool = BUILD_DOCKER;
    BADLY(s, ERR_CONFIG, "docker is not installed", "docker.io");
    assert_int_equal(setenv("PATH", path, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TWO(tells_why_a_build_failed),
        TWO(ends_what_hangs),
        TWO(bounds_disk_and_log),
        cmocka_unit_test(refuses_what_cannot_be_built),
        cmocka_unit_test(tells_what_is_not_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
