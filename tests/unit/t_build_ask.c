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
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT(s) (s), sizeof(s) - 1
#define BAD "\xEF\xBF\xBD"

/* ---- the lines ---- */

/* What a reader gets from all lines together, with the text given in pieces of `size` bytes. */
static char *through_wire(struct arena *a, const char *text, size_t len, size_t size)
{
    struct wire_log w = {.n = 0};
    struct strbuf line CLEANUP_STRBUF = STRBUF_INIT(WIRE_LOG_PIECE * 6 + KIB(1)),
                       all CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct err err = ERR_INIT;
    for (size_t at = 0; at <= len; at += size) {
        size_t left = len - at;
        strbuf_reset(&line);
        if (left)
            wire_log(&w, text + at, left < size ? left : size, &line);
        if (left <= size)
            wire_log_end(&w, &line);
        assert_false(line.full);
        for (char *p = line.buf, *end; *p; p = end + 1) {
            struct wire_line got;
            end = strchr(p, '\n');
            assert_non_null(end);
            assert_int_equal(wire_read(p, (size_t)(end - p), a, &got, &err), 0);
            assert_int_equal(got.kind, WIRE_LOG);
            (void)strbuf_add(&all, got.log, got.log_len);
        }
        if (left <= size)
            break;
    }
    return strbuf_to_arena(&all, a);
}

static void log_text_arrives_as_json(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } rows[] = {
        {TEXT("plain\n"), "plain\n"},
        {TEXT("quote\" back\\ tab\t bell\a esc\033[0m del\x7f\r\n"),
         "quote\" back\\ tab\t bell\a esc\033[0m del\x7f\r\n"},
        {TEXT("a\0b"), "a" BAD "b"},
        {TEXT("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x9A\xA2"), "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x9A\xA2"},
        {TEXT("\xC2\x85"), "\xC2\x85"},
        {TEXT("latin \xE4 one"), "latin " BAD " one"},
        {TEXT("\xC3"), BAD},
        {TEXT("\xF0\x9F\x9A"), BAD},
        {TEXT("\xF0\x9F\x9Ax"), BAD BAD BAD "x"},
        {TEXT("\xC0\xAF"), BAD BAD},
        {TEXT("\xE0\x80\xAF"), BAD BAD BAD},
        {TEXT("\xED\xA0\x80"), BAD BAD BAD},
        {TEXT("\xF4\x90\x80\x80"), BAD BAD BAD BAD},
        {TEXT("\xF5\x80\xFE\xFF"), BAD BAD BAD BAD},
        {TEXT("\xE2\x82\xE2\x82\xAC"), BAD BAD "\xE2\x82\xAC"},
        {TEXT("\xC3\xC3\xA4"), BAD "\xC3\xA4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t size = 1; size <= rows[i].len; size++) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            const char *got = through_wire(&a, rows[i].text, rows[i].len, size);
            /* The end alone tells that a character is not coming: then one sign stands for it. */
            if (!str_eq(got, rows[i].want))
                fail_msg("row %zu in pieces of %zu: %s", i, size, got);
        }
}

static void results_arrive(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct build_layouts layouts = {0};
    struct err err = ERR_INIT, failure = ERR_INIT;
    struct wire_line got;
    *list_push(&a, &layouts) = (struct build_layout){.name = "app", .path = "/o/app"};
    *list_push(&a, &layouts) =
        (struct build_layout){.name = "b", .platform = "linux/arm64", .path = "/o/b-linux-arm64"};
    const char *line = wire_result(&layouts, &a);
    assert_true(str_ends(line, "}\n") && strchr(line, '\n') == line + strlen(line) - 1);
    assert_int_equal(wire_read(line, strlen(line) - 1, &a, &got, &err), 0);
    assert_int_equal(got.kind, WIRE_RESULT);
    assert_int_equal(got.layouts.n, 2);
    assert_null(got.layouts.at[0].platform);
    assert_string_equal(got.layouts.at[1].platform, "linux/arm64");
    assert_string_equal(got.layouts.at[1].path, "/o/b-linux-arm64");
    (void)err_set(&failure, ERR_TEMP, EBUSY, "not \"now\" \xFF \033[1m");
    line = wire_failure(&failure, &a);
    assert_int_equal(wire_read(line, strlen(line) - 1, &a, &got, &err), 0);
    assert_int_equal(got.kind, WIRE_FAILURE);
    assert_int_equal(got.failure.kind, ERR_TEMP);
    assert_int_equal(got.failure.code, EBUSY);
    assert_string_equal(got.failure.text, "not \"now\" ? ?[1m");
}

static void other_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "log",
        "[]",
        "null",
        "{}",
        "{\"log\": 1}",
        "{\"log\": \"a\\u0000b\"}",
        "{\"log\": \"\xFF\"}",
        "{\"log\": \"a\"",
        "{\"result\": null}",
        "{\"result\": {\"layouts\": {}}}",
        "{\"result\": {\"layouts\": [1]}}",
        "{\"result\": {\"layouts\": [{\"name\": \"a\"}]}}",
        "{\"result\": {\"error\": {\"kind\": \"none\", \"code\": 0, \"text\": \"x\"}}}",
        "{\"result\": {\"error\": {\"kind\": \"temporary\", \"code\": 0}}}",
        "{\"result\": {\"error\": {\"kind\": \"bug\", \"code\": 99999999999, \"text\": \"x\"}}}",
        "{\"result\": {\"error\": \"x\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct wire_line got;
        struct err err = ERR_INIT;
        if (wire_read(lines[i], strlen(lines[i]), &a, &got, &err) == 0)
            fail_msg("%s is accepted", lines[i]);
        assert_int_equal(err.kind, ERR_INPUT);
    }
}

/* ---- the conversation ---- */

struct scene {
    struct arena a;
    char dir[64];
    const char *out;
    struct build_spec spec;
    struct build_peer peer;
    struct strbuf log;
    size_t log_len;
    size_t most; /* bytes allocated */
    struct build_layouts layouts;
    struct err err;
};

static struct scene *scene;

static int set_up(void **state)
{
    (void)state;
    scene = xcalloc(1, sizeof *scene);
    struct arena *a = &scene->a;
    (void)snprintf(scene->dir, sizeof scene->dir, "/tmp/t-build-ask-XXXXXX");
    if (!mkdtemp(scene->dir))
        return -1;
    scene->out = arena_printf(a, "%s/out", scene->dir);
    scene->log = (struct strbuf)STRBUF_INIT(MIB(1));
    if (mkdir(scene->out, 0700) < 0)
        return -1;
    scene->spec = (struct build_spec){
        .tool = BUILD_BUILDAH, .source = scene->dir, .out = scene->out, .pull = "the-pull-secret"};
    struct build_image *image = list_push(a, &scene->spec.images);
    *image = (struct build_image){.name = "app", .label = "app", .context = "."};
    image = list_push(a, &scene->spec.images);
    *image = (struct build_image){.name = "two", .label = "two", .context = "."};
    *list_push(a, &image->platforms) = "linux/amd64";
    *list_push(a, &image->platforms) = "linux/arm64/v8";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)fs_remove_tree(scene->dir, NULL);
    strbuf_release(&scene->log);
    arena_release(&scene->a);
    free(scene);
    return 0;
}

/* Bytes that are allocated now; a sanitizer keeps what was freed, so its own count is asked. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated_now(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : mallinfo2().uordblks;
}

static void take_log(void *user, const char *text, size_t len)
{
    struct scene *s = user;
    size_t now = allocated_now();
    s->most = now > s->most ? now : s->most;
    s->log_len += len;
    (void)strbuf_add(&s->log, text, len);
}

static int ask(void)
{
    const struct build_watch watch = {.log = take_log, .user = scene};
    scene->err = (struct err)ERR_INIT;
    return build_ask(&scene->peer, &scene->spec, &watch, &scene->a, &scene->layouts, &scene->err);
}

/* A builder that is this shell script; $1 and so on are its arguments, $OUT where results go. */
static void builder_does(const char *script)
{
    const char *path = arena_printf(&scene->a, "%s/builder", scene->dir);
    const char *text = arena_printf(&scene->a,
                                    "#!/bin/sh\nOUT=%s\ndone_() { printf '%%s\\n' "
                                    "'{\"result\": {\"layouts\": ["
                                    "{\"name\": \"app\", \"path\": \"%s/app\"},"
                                    "{\"name\": \"two\", \"platform\": \"linux/amd64\","
                                    " \"path\": \"%s/two-linux-amd64\"},"
                                    "{\"name\": \"two\", \"platform\": \"linux/arm64/v8\","
                                    " \"path\": \"%s/two-linux-arm64-v8\"}]}}'; }\n%s\n",
                                    scene->out, scene->out, scene->out, scene->out, script);
    struct err err = ERR_INIT;
    assert_int_equal(fs_replace_file(path, text, strlen(text), 0755, &err), 0);
    scene->peer.program = path;
}

#define MAKE "mkdir $OUT/app $OUT/two-linux-amd64 $OUT/two-linux-arm64-v8\n"

static void a_child_builds(void **state)
{
    (void)state;
    assert_int_equal(setenv("BOX_SECRET", "hidden", 1), 0);
    builder_does("read -r spec; printf '%s' \"$spec\" >$OUT/../spec; env >$OUT/../env\n"
                 "echo \"$*\" >$OUT/../args\n" MAKE
                 "printf '%s\\n' '{\"log\": \"STEP 1\\n\"}' '{\"log\": \"STEP 2\\n\"}'; done_");
    scene->peer.scratch = "/var/tmp";
    if (ask() < 0)
        fail_msg("%s", scene->err.text);
    assert_string_equal(scene->log.buf, "STEP 1\nSTEP 2\n");
    assert_int_equal(scene->layouts.n, 3);
    assert_string_equal(scene->layouts.at[2].path,
                        arena_printf(&scene->a, "%s/two-linux-arm64-v8", scene->out));
    assert_string_equal(scene->layouts.at[2].platform, "linux/arm64/v8");
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct err err = ERR_INIT;
    assert_int_equal(fs_read_file(arena_printf(&scene->a, "%s/spec", scene->dir), &text, &err), 0);
    assert_non_null(strstr(text.buf, "the-pull-secret"));
    strbuf_reset(&text);
    assert_int_equal(fs_read_file(arena_printf(&scene->a, "%s/args", scene->dir), &text, &err), 0);
    assert_string_equal(text.buf, "builder --scratch /var/tmp\n");
    strbuf_reset(&text);
    assert_int_equal(fs_read_file(arena_printf(&scene->a, "%s/env", scene->dir), &text, &err), 0);
    assert_null(strstr(text.buf, "BOX_SECRET"));
    assert_null(strstr(text.buf, "the-pull-secret"));
    assert_non_null(strstr(text.buf, "PATH="));
}

static void bad_builders_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        enum err_kind kind;
        int code;
        const char *says;
    } rows[] = {
        {"read -r spec; exit 3", ERR_TEMP, ECONNRESET, "status 3"},
        {"exit 0", ERR_TEMP, ECONNRESET, "without a result"},
        {"read -r spec; kill -9 $$", ERR_TEMP, ECONNRESET, "status 137"},
        {"read -r spec; echo hello; sleep 1", ERR_TEMP, EPROTO, "not understood"},
        {"read -r spec; printf '{\"log\": \"\\377\"}\\n'; sleep 1", ERR_TEMP, EPROTO, NULL},
        {"read -r spec; echo '{\"result\": {}}'; sleep 1", ERR_TEMP, EPROTO, NULL},
        {"read -r spec; exec cat /dev/zero", ERR_TEMP, EPROTO, "without end"},
        {"read -r spec; done_", ERR_TEMP, EPROTO, "app is not there"},
        {"read -r spec; " MAKE "rmdir $OUT/app; ln -s /etc $OUT/app; done_", ERR_TEMP, EPROTO,
         "app is not there"},
        {"read -r spec; " MAKE "done_ | sed s:/app:/../app:", ERR_TEMP, EPROTO, "app is not"},
        {"read -r spec; " MAKE "done_ | sed s/amd64/s390x/", ERR_TEMP, EPROTO, "amd64 is not"},
        {"echo '{\"result\": {\"error\": {\"kind\": \"temporary\", \"code\": 16, \"text\": "
         "\"it is busy\"}}}'",
         ERR_TEMP, EBUSY, "it is busy"},
        {"read -r spec; echo '{\"result\": {\"error\": {\"kind\": \"permanent\", \"code\": 0, "
         "\"text\": \"app: the \\u001bbuild failed\"}}}'",
         ERR_PERM, 0, "app: the ?build failed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)fs_remove_tree(scene->out, NULL);
        assert_int_equal(mkdir(scene->out, 0700), 0);
        builder_does(rows[i].script);
        int64_t begun = clock_monotonic_ms();
        if (ask() == 0)
            fail_msg("row %zu: done", i);
        if (scene->err.kind != rows[i].kind || scene->err.code != rows[i].code ||
            (rows[i].says && !strstr(scene->err.text, rows[i].says)))
            fail_msg("row %zu: %s %d %s", i, err_kind_name(scene->err.kind), scene->err.code,
                     scene->err.text);
        /* A child that sleeps on is waited for, but not for ever; these end by then. */
        assert_true(clock_monotonic_ms() - begun < 15000);
    }
}

static void nobody_is_there(void **state)
{
    (void)state;
    scene->peer.program = "/nonexistent/slipway";
    assert_int_equal(ask(), -1);
    assert_int_equal(scene->err.kind, ERR_CONFIG);
    scene->peer.socket = arena_printf(&scene->a, "%s/none.sock", scene->dir);
    assert_int_equal(ask(), -1);
    assert_int_equal(scene->err.kind, ERR_TEMP);
    assert_int_equal(scene->err.code, EBUSY);
    assert_non_null(strstr(scene->err.text, "none.sock; start slipway-builder.socket"));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, scene->peer.socket, strlen(scene->peer.socket));
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(ask(), -1);
    assert_int_equal(scene->err.kind, ERR_TEMP);
    assert_int_equal(scene->err.code, EBUSY);
}

static void *hang_up(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    (void)close(fd);
    return NULL;
}

/* systemd's way to say that MaxConnections are there. */
static void somebody_hangs_up(void **state)
{
    (void)state;
    pthread_t thread;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    scene->peer.socket = arena_printf(&scene->a, "%s/builder.sock", scene->dir);
    memcpy(address.sun_path, scene->peer.socket, strlen(scene->peer.socket));
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, hang_up, &fd), 0);
    assert_int_equal(ask(), -1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(scene->err.kind, ERR_TEMP);
    assert_int_equal(scene->err.code, EBUSY);
    assert_non_null(strstr(scene->err.text, "busy, or cannot start"));
}

/* Answers before it has read the spec, and closes. */
static void *refuse_at_once(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    struct err why = ERR_INIT;
    (void)err_set(&why, ERR_TEMP, EBUSY, "at work for somebody else");
    (void)build_refuse(fd, &why);
    (void)close(fd);
    return NULL;
}

static void busy_is_heard_over_a_long_spec(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    scene->peer.socket = arena_printf(&scene->a, "%s/b.sock", scene->dir);
    memcpy(address.sun_path, scene->peer.socket, strlen(scene->peer.socket));
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    char *pull = arena_alloc(&scene->a, MIB(1) - KIB(16));
    memset(pull, 'x', MIB(1) - KIB(16) - 1);
    scene->spec.pull = pull;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, refuse_at_once, &fd), 0);
    assert_int_equal(ask(), -1);
    (void)pthread_join(thread, NULL);
    assert_int_equal(scene->err.kind, ERR_TEMP);
    assert_int_equal(scene->err.code, EBUSY);
}

static void *stop_soon(void *arg)
{
    clock_sleep_ms(300);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void it_can_be_stopped(void **state)
{
    (void)state;
    atomic_bool stop = false;
    scene->peer.stop = &stop;
    /* As a builder does: it ends when its input ends. */
    builder_does("read -r spec; echo '{\"log\": \"begun\"}'; read -r more; echo gone >$OUT/../end");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, &stop), 0);
    assert_int_equal(ask(), -1);
    (void)pthread_join(thread, NULL);
    assert_int_equal(scene->err.kind, ERR_TEMP);
    assert_int_equal(scene->err.code, ECANCELED);
    assert_string_equal(scene->log.buf, "begun");
    assert_true(fs_exists(arena_printf(&scene->a, "%s/end", scene->dir)));
}

static void long_logs_cost_no_memory(void **state)
{
    (void)state;
    size_t before = allocated_now();
    scene->spec.log_max = 200 << 20;
    builder_does("read -r spec; " MAKE "line=$(head -c 16000 /dev/zero | tr '\\0' x)\n"
                 "yes \"{\\\"log\\\": \\\"$line\\\"}\" | head -c 104974672; done_");
    if (ask() < 0)
        fail_msg("%s", scene->err.text);
    assert_true(scene->log_len > 100000000);
    assert_true(scene->most - before < MIB(4));
    /* And what is beyond the limit is not passed on. */
    (void)fs_remove_tree(scene->out, NULL);
    assert_int_equal(mkdir(scene->out, 0700), 0);
    scene->spec.log_max = 1 << 20;
    scene->log_len = 0;
    if (ask() < 0)
        fail_msg("%s", scene->err.text);
    assert_true(scene->log_len > 3 << 20 && scene->log_len <= 4 << 20);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_text_arrives_as_json),
        cmocka_unit_test(results_arrive),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test_setup_teardown(a_child_builds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_builders_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(somebody_hangs_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(busy_is_heard_over_a_long_spec, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_can_be_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_logs_cost_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
