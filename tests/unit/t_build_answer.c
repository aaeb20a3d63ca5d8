#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build_ask.h"
#include "core/build/build_wire.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/proc.h"
#include "core/os/reap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The builder's side with builds that are made up: build_run is the one below, and does what the
 * image's label says. The test is the peer.
 */
#define STRANGER 65534

static void litter(const char *scratch)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *deep = arena_printf(&a, "%s/store/a/b", scratch);
    assert_int_equal(fs_mkdirs(deep, 0700, &err), 0);
    assert_int_equal(fs_replace_file(arena_printf(&a, "%s/file", deep), "x", 1, 0400, &err), 0);
    assert_int_equal(chmod(deep, 0500), 0);
}

static int heed(void *user, struct err *err)
{
    const struct build_watch *watch = user;
    return watch->stop(watch->user) ? err_set(err, ERR_TEMP, ECANCELED, "stopped") : 0;
}

static void pass_on(void *user, const char *text, size_t len)
{
    const struct build_watch *watch = user;
    watch->log(watch->user, text, len);
}

/* A tool that works for ever, with a child that has left its group. It says both pids in a file. */
static int hang(const struct build_spec *spec, const struct build_watch *watch, bool is_deaf,
                struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *argv[] = {"sh", "-c",
                          arena_printf(&a,
                                       "setsid sleep 1000 & echo $$ $! >%s/pids.new; "
                                       "mv %s/pids.new %s/pids; sleep 1000; true",
                                       spec->source, spec->source, spec->source),
                          NULL};
    struct proc_opts opts = {.argv = argv,
                             .timeout_ms = 1000000,
                             .check = is_deaf ? NULL : heed,
                             .user = (void *)(uintptr_t)watch};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, 1000);
    (void)proc_run(&opts, &r, err);
    return err_set(err, ERR_PERM, 0, "the tool ended with %d", r.status);
}

static void flood(const struct build_watch *watch, size_t len)
{
    static char chunk[65536];
    memset(chunk, '\xFF', sizeof chunk);
    for (size_t done = 0; done < len; done += sizeof chunk)
        watch->log(watch->user, chunk, sizeof chunk);
}

static int write_for_ever(const struct build_watch *watch, struct err *err)
{
    static const char *const argv[] = {"yes", NULL};
    struct proc_opts opts = {.argv = argv,
                             .timeout_ms = 1000000,
                             .on_output = pass_on,
                             .check = heed,
                             .user = (void *)(uintptr_t)watch};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, 1000);
    (void)proc_run(&opts, &r, err);
    return err_set(err, ERR_PERM, 0, "the tool ended with %d", r.status);
}

static int finish(const struct build_spec *spec, struct arena *a, struct build_layouts *out)
{
    const char *path = arena_printf(a, "%s/app", spec->out);
    assert_int_equal(mkdir(path, 0700), 0);
    struct err err = ERR_INIT;
    assert_int_equal(fs_replace_file(arena_printf(a, "%s/index.json", path), "{}", 2, 0600, &err),
                     0);
    *list_push(a, out) = (struct build_layout){.name = "app", .path = path};
    return 0;
}

int build_run(const struct build_spec *spec, const struct build_watch *watch, struct arena *a,
              struct build_layouts *out, struct err *err)
{
    const char *what = spec->images.at[0].label;
    litter(watch->scratch);
    watch->log(watch->user, "STEP \xC3", 6);
    watch->log(watch->user, "\xA4 \033[1m\xFF\n", 8);
    if (str_eq(what, "fail"))
        return err_set(err, ERR_PERM, 7, "app: it \"failed\"");
    if (str_eq(what, "hang") || str_eq(what, "deaf"))
        return hang(spec, watch, str_eq(what, "deaf"), err);
    if (str_eq(what, "crash"))
        (void)kill(getpid(), SIGKILL);
    if (str_eq(what, "flood"))
        flood(watch, MIB(100));
    if (str_eq(what, "endless"))
        return write_for_ever(watch, err);
    return finish(spec, a, out);
}

/* ---- the scene ---- */

struct scene {
    struct arena a;
    char dir[64];
    const char *source;
    const char *out;
    const char *scratch;
    pid_t builder;
    int fd; /* our end */
    struct strbuf in;
    size_t log_len;
};

static struct scene *s;

static int set_up(void **state)
{
    (void)state;
    s = xcalloc(1, sizeof *s);
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/t-build-answer-XXXXXX");
    if (!mkdtemp(s->dir) || chmod(s->dir, 0755) < 0)
        return -1;
    s->source = arena_printf(&s->a, "%s/source", s->dir);
    s->out = arena_printf(&s->a, "%s/out", s->dir);
    s->scratch = arena_printf(&s->a, "%s/scratch", s->dir);
    s->in = (struct strbuf)STRBUF_INIT(MIB(1));
    s->fd = -1;
    return mkdir(s->source, 0755) < 0 || mkdir(s->out, 0755) < 0 || mkdir(s->scratch, 0755) < 0;
}

static void end_builder(void)
{
    cleanup_fd(&s->fd);
    if (s->builder)
        (void)waitpid(s->builder, NULL, 0);
    s->builder = 0;
}

static int tear_down(void **state)
{
    (void)state;
    end_builder();
    (void)fs_remove_tree(s->dir, NULL);
    strbuf_release(&s->in);
    arena_release(&s->a);
    free(s);
    return 0;
}

/* As `slipway builder` does; its status is 0 when a result was sent. */
static void start_builder_as(uid_t peer)
{
    int ends[2];
    end_builder();
    strbuf_reset(&s->in);
    /* The kernel notes who makes the pair. */
    assert_int_equal(peer ? seteuid(peer) : 0, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(peer ? seteuid(0) : 0, 0);
    s->builder = fork();
    assert_true(s->builder >= 0);
    if (s->builder == 0) {
        struct err err = ERR_INIT;
        (void)close(ends[0]);
        int rc = build_answer(ends[1], ends[1], s->scratch, &err);
        _exit(rc < 0 ? 1 : 0);
    }
    (void)close(ends[1]);
    s->fd = ends[0];
}

static void start_builder(void)
{
    start_builder_as(0);
}

static void tell(const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(s->fd, text, len, MSG_NOSIGNAL);
        if (n < 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static const char *spec_line(const char *what)
{
    struct build_spec spec = {
        .tool = BUILD_BUILDAH, .source = s->source, .out = s->out, .timeout_s = 600};
    *list_push(&s->a, &spec.images) =
        (struct build_image){.name = "app", .label = what, .context = "."};
    return arena_printf(&s->a, "%s\n", build_spec_to_json(&spec, &s->a));
}

static void ask_for(const char *what)
{
    const char *line = spec_line(what);
    tell(line, strlen(line));
}

/* The next line; false at the end. */
static bool next_line(struct arena *a, struct wire_line *line)
{
    struct err err = ERR_INIT;
    for (;;) {
        char *end = memchr(s->in.buf, '\n', s->in.len);
        if (end) {
            size_t len = (size_t)(end - s->in.buf);
            if (wire_read(s->in.buf, len, a, line, &err) < 0)
                fail_msg("%s: %s", err.text, s->in.buf);
            memmove(s->in.buf, end + 1, s->in.len - len);
            s->in.len -= len + 1;
            return true;
        }
        char chunk[65536];
        ssize_t n = recv(s->fd, chunk, sizeof chunk, 0);
        if (n <= 0)
            return false;
        assert_int_equal(strbuf_add(&s->in, chunk, (size_t)n), 0);
    }
}

/* Reads up to the result, which stays in the scene's arena. */
static struct wire_line result(void)
{
    s->log_len = 0;
    for (;;) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct wire_line line;
        if (!next_line(&a, &line))
            fail_msg("no result");
        s->log_len += line.log_len;
        if (line.kind == WIRE_LOG)
            continue;
        list_each (struct build_layout, l, &line.layouts)
            l->path = arena_strdup(&s->a, l->path);
        return line;
    }
}

static int builder_status(void)
{
    int status;
    assert_int_equal(waitpid(s->builder, &status, 0), s->builder);
    s->builder = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static size_t left_in_scratch(void)
{
    struct str_list names = {0};
    struct err err = ERR_INIT;
    assert_int_equal(fs_list(s->scratch, "", &s->a, &names, &err), 0);
    return names.n;
}

static void wait_for_pids(pid_t pids[2])
{
    const char *path = arena_printf(&s->a, "%s/pids", s->source);
    for (int i = 0; i < 1000 && !fs_exists(path); i++)
        clock_sleep_ms(10);
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    char *end;
    pids[0] = (pid_t)strtol(text.buf, &end, 10);
    pids[1] = (pid_t)strtol(end, NULL, 10);
    assert_true(pids[0] > 1 && pids[1] > 1);
    assert_true(kill(pids[0], 0) == 0 && kill(pids[1], 0) == 0);
    assert_int_equal(unlink(path), 0);
}

/* Ended, and by a builder that waited for it; ours is the time of one that could not wait. */
static bool is_gone(pid_t pid, int patience_ms)
{
    for (int i = 0; i <= patience_ms / 10; i++) {
        if (kill(pid, 0) < 0)
            return true;
        (void)waitpid(-1, NULL, WNOHANG);
        clock_sleep_ms(10);
    }
    return false;
}

/* ---- tests ---- */

static void it_answers(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct wire_line line;
    assert_int_equal(chmod(s->out, 02750), 0);
    start_builder();
    ask_for("ok");
    struct strbuf log CLEANUP_STRBUF = STRBUF_INIT(1000);
    while (next_line(&a, &line) && line.kind == WIRE_LOG)
        (void)strbuf_add(&log, line.log, line.log_len);
    assert_string_equal(log.buf, "STEP \xC3\xA4 \033[1m\xEF\xBF\xBD\n");
    assert_int_equal(line.kind, WIRE_RESULT);
    assert_int_equal(line.layouts.n, 1);
    assert_string_equal(line.layouts.at[0].path, arena_printf(&a, "%s/app", s->out));
    assert_int_equal(left_in_scratch(), 0);
    assert_int_equal(builder_status(), 0);
    /* For the group, because the folder says so. */
    struct stat st;
    assert_int_equal(stat(line.layouts.at[0].path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0770);
    assert_int_equal(stat(arena_printf(&a, "%s/app/index.json", s->out), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

static void failures_are_results(void **state)
{
    (void)state;
    start_builder();
    ask_for("fail");
    struct wire_line line = result();
    assert_int_equal(line.kind, WIRE_FAILURE);
    assert_int_equal(line.failure.kind, ERR_PERM);
    assert_int_equal(line.failure.code, 7);
    assert_string_equal(line.failure.text, "app: it \"failed\"");
    assert_int_equal(builder_status(), 0);
    start_builder();
    ask_for("crash");
    line = result();
    assert_int_equal(line.failure.kind, ERR_TEMP);
    assert_non_null(strstr(line.failure.text, "status 137"));
    assert_int_equal(left_in_scratch(), 0);
    assert_int_equal(builder_status(), 0);
}

static void a_flood_costs_no_memory(void **state)
{
    (void)state;
    static const char *const builds[] = {"ok", "flood"};
    struct rusage used[2];
    for (size_t i = 0; i < ARRAY_LEN(builds); i++) {
        int status;
        start_builder();
        ask_for(builds[i]);
        assert_int_equal(result().kind, WIRE_RESULT);
        assert_true(i == 0 || s->log_len >= 3 * MIB(100));
        assert_int_equal(wait4(s->builder, &status, 0, &used[i]), s->builder);
        assert_int_equal(status, 0);
        s->builder = 0;
        (void)fs_remove_tree(arena_printf(&s->a, "%s/app", s->out), NULL);
    }
    assert_true(used[1].ru_maxrss - used[0].ru_maxrss < 8192); /* KiB */
}

static void hostile_input_is_answered(void **state)
{
    (void)state;
    const char *good = spec_line("ok");
    const struct {
        const char *text;
        const char *says;
        const char *path;
    } rows[] = {
        {"\n", "the spec", NULL},
        {"hello\n", "the spec", NULL},
        {"{}\n", "the spec", NULL},
        {"{\"version\": \"\xFF\"}\n", "the spec", NULL},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "the spec",
         NULL},
        {arena_printf(&s->a, "%s%s", good, good), "more than one line", NULL},
        {good, "cannot open the folder", s->source},
        {good, "cannot open the folder", s->out},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *moved = arena_printf(&s->a, "%s.moved", rows[i].path ? rows[i].path : s->out);
        assert_int_equal(rows[i].path ? rename(rows[i].path, moved) : 0, 0);
        start_builder();
        tell(rows[i].text, strlen(rows[i].text));
        struct wire_line line = result();
        assert_int_equal(rows[i].path ? rename(moved, rows[i].path) : 0, 0);
        assert_int_equal(line.kind, WIRE_FAILURE);
        assert_true(line.failure.kind == ERR_INPUT || line.failure.kind == ERR_CONFIG);
        if (!strstr(line.failure.text, rows[i].says))
            fail_msg("row %zu: %s", i, line.failure.text);
        assert_int_equal(builder_status(), 0);
    }
    assert_int_equal(left_in_scratch(), 0);
}

static void an_endless_line_is_cut(void **state)
{
    (void)state;
    static char chunk[65536];
    memset(chunk, 'x', sizeof chunk);
    start_builder();
    for (int i = 0; i < 200; i++)
        tell(chunk, sizeof chunk);
    struct wire_line line = result();
    assert_int_equal(line.failure.kind, ERR_INPUT);
    assert_non_null(strstr(line.failure.text, "longer than"));
    assert_int_equal(builder_status(), 0);
}

static void peers_leave(void **state)
{
    (void)state;
    start_builder();
    cleanup_fd(&s->fd);
    assert_int_equal(builder_status(), 1);
    start_builder();
    tell("{\"half", 6);
    cleanup_fd(&s->fd);
    assert_int_equal(builder_status(), 1);
    /* In the middle of a build, one that is quiet and one that writes. */
    static const char *const builds[] = {"hang", "deaf", "endless"};
    for (size_t i = 0; i < ARRAY_LEN(builds); i++) {
        pid_t pids[2] = {0};
        start_builder();
        ask_for(builds[i]);
        if (i < 2)
            wait_for_pids(pids);
        else
            clock_sleep_ms(300);
        int64_t begun = clock_monotonic_ms();
        cleanup_fd(&s->fd);
        assert_int_equal(builder_status(), 1);
        /* One that does not heed it loses its tools a little later. */
        assert_true(clock_monotonic_ms() - begun < (i == 1 ? 8000 : 3000));
        assert_true(i == 2 || (is_gone(pids[0], 0) && is_gone(pids[1], 0)));
        assert_int_equal(left_in_scratch(), 0);
    }
}

static void more_input_or_half_a_hang_up_stop_it(void **state)
{
    (void)state;
    pid_t pids[2];
    start_builder();
    ask_for("hang");
    wait_for_pids(pids);
    tell("x", 1);
    struct wire_line line = result();
    assert_int_equal(line.failure.kind, ERR_INPUT);
    assert_int_equal(builder_status(), 0);
    assert_true(is_gone(pids[0], 0) && is_gone(pids[1], 0));
    start_builder();
    ask_for("hang");
    wait_for_pids(pids);
    assert_int_equal(shutdown(s->fd, SHUT_WR), 0);
    assert_int_equal(builder_status(), 1);
    assert_true(is_gone(pids[0], 0) && is_gone(pids[1], 0));
    assert_int_equal(left_in_scratch(), 0);
}

static void it_is_told_to_stop(void **state)
{
    (void)state;
    pid_t pids[2];
    start_builder();
    ask_for("hang");
    wait_for_pids(pids);
    assert_int_equal(kill(s->builder, SIGTERM), 0);
    struct wire_line line = result();
    assert_int_equal(line.failure.kind, ERR_TEMP);
    assert_int_equal(line.failure.code, ECANCELED);
    assert_int_equal(builder_status(), 0);
    assert_true(is_gone(pids[0], 0) && is_gone(pids[1], 0));
    assert_int_equal(left_in_scratch(), 0);
}

/* Nobody can do anything in its place but its own child, which sees it go. */
static void a_killed_builder_leaves_nothing(void **state)
{
    (void)state;
    pid_t pids[2];
    start_builder();
    ask_for("hang");
    wait_for_pids(pids);
    assert_int_equal(kill(s->builder, SIGKILL), 0);
    assert_int_equal(builder_status(), 128 + SIGKILL);
    assert_true(is_gone(pids[0], 9000) && is_gone(pids[1], 9000));
    for (int i = 0; i < 500 && left_in_scratch(); i++)
        clock_sleep_ms(10);
    assert_int_equal(left_in_scratch(), 0);
}

/* What a power cut leaves, the next job removes; what is in use and what is not ours stays. */
static void rooms_are_swept(void **state)
{
    (void)state;
    pid_t pids[2];
    struct err err = ERR_INIT;
    litter(arena_printf(&s->a, "%s/slipway-build-dead00", s->scratch));
    assert_int_equal(mkdir(arena_printf(&s->a, "%s/other", s->scratch), 0700), 0);
    start_builder();
    ask_for("hang");
    wait_for_pids(pids);
    assert_int_equal(left_in_scratch(), 2);
    struct scene first = *s;
    s->builder = 0;
    s->fd = -1;
    start_builder();
    ask_for("ok");
    assert_int_equal(result().kind, WIRE_RESULT);
    assert_int_equal(builder_status(), 0);
    assert_int_equal(left_in_scratch(), 2);
    assert_true(kill(pids[0], 0) == 0);
    cleanup_fd(&s->fd);
    s->fd = first.fd;
    s->builder = first.builder;
    cleanup_fd(&s->fd);
    assert_int_equal(builder_status(), 1);
    assert_int_equal(left_in_scratch(), 1);
    assert_int_equal(fs_remove_tree(arena_printf(&s->a, "%s/other", s->scratch), &err), 0);
}

static void strangers_name_their_own_folders_only(void **state)
{
    (void)state;
    if (geteuid() != 0)
        fail_msg("run as root: other users can't be played otherwise");
    static const struct {
        uid_t owner;
        mode_t mode;
        bool is_ok;
    } rows[] = {
        {0, 0755, false},       {0, 0775, false},
        {0, 02775, true}, /* kept for the group that the builder is in */
        {STRANGER, 0755, true}, {1, 0777, false},
    };
    assert_int_equal(chown(s->source, STRANGER, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)fs_remove_tree(arena_printf(&s->a, "%s/app", s->out), NULL);
        assert_int_equal(chown(s->out, rows[i].owner, 0), 0);
        assert_int_equal(chmod(s->out, rows[i].mode), 0);
        start_builder_as(STRANGER);
        ask_for("ok");
        struct wire_line line = result();
        if ((line.kind == WIRE_RESULT) != rows[i].is_ok)
            fail_msg("row %zu: %s", i, line.failure.text);
        assert_true(rows[i].is_ok || strstr(line.failure.text, "belongs neither"));
    }
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    /* For the test of a killed builder. */
    reap_adopt();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_are_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_costs_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_input_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_endless_line_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(peers_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_input_or_half_a_hang_up_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_told_to_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_builder_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rooms_are_swept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_name_their_own_folders_only, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
