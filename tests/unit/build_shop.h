/*
 * build_shop.h - for tests of build_run: the real buildah and podman build FROM scratch with a
 * static busybox; whatever happened, nothing is left.
 */
#ifndef SLIPWAY_TESTS_BUILD_SHOP_H
#define SLIPWAY_TESTS_BUILD_SHOP_H

#include "core/base/limits.h"
#include "core/build/build_layout.h"
#include "core/build/build_run.h"
#include "core/os/clock.h"
#include "core/os/proc.h"
#include "tests/unit/build_help.h"

#define BUSYBOX "/bin/busybox"
#define FROM_SCRATCH "FROM scratch\nCOPY busybox /bin/busybox\n"
#define RUN_SH(script) "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"" script "\"]\n"

struct shop {
    struct yard y;
    struct build_spec spec;
    struct build_watch watch;
    struct build_layouts layouts;
    struct strbuf log;
    int64_t stop_at; /* monotonic ms; 0: never */
    int rc;
    struct err err;
};

static UNUSED bool installed(const char *program)
{
    const char *const argv[] = {program, "--version", NULL};
    const struct proc_opts opts = {.argv = argv};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, KIB(64));
    return proc_run(&opts, &r, NULL) == 0 && r.status == 0;
}

static UNUSED void need(const char *tool)
{
    if (installed(tool) && access(BUSYBOX, X_OK) == 0)
        return;
    print_message("%s or busybox-static is not installed: deploy/bootstrap test does that\n", tool);
    skip();
}

static UNUSED void take_log(void *user, const char *text, size_t len)
{
    struct shop *s = user;
    (void)strbuf_add(&s->log, text, len);
}

static UNUSED bool told_to_stop(void *user)
{
    const struct shop *s = user;
    return s->stop_at && clock_monotonic_ms() >= s->stop_at;
}

static UNUSED void copy_busybox(struct shop *s, const char *to)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    struct err err = ERR_INIT;
    if (fs_read_file(BUSYBOX, &b, &err) < 0 ||
        fs_replace_file(yard_path(&s->y, to), b.buf, b.len, 0755, &err) < 0)
        fail_msg("%s", err.text);
}

static UNUSED struct shop *open_shop(enum build_tool tool)
{
    struct shop *s = xcalloc(1, sizeof *s);
    need(build_tool_name(tool));
    yard_init(&s->y);
    s->log = (struct strbuf)STRBUF_INIT(MIB(4));
    s->spec = (struct build_spec){.tool = tool, .source = s->y.source, .out = s->y.out};
    s->watch = (struct build_watch){
        .log = take_log, .stop = told_to_stop, .user = s, .scratch = s->y.scratch};
    copy_busybox(s, "source/busybox");
    return s;
}

static UNUSED void close_shop(struct shop **s)
{
    strbuf_release(&(*s)->log);
    yard_release(&(*s)->y);
    free(*s);
}

#define SHOP(tool) struct shop *s CLEANUP(close_shop) = open_shop(tool)

static UNUSED struct build_image *add_image(struct shop *s, const char *name,
                                            const char *containerfile)
{
    const char *file = arena_printf(&s->y.a, "%s.containerfile", name);
    yard_file(&s->y, arena_printf(&s->y.a, "source/%s", file), containerfile, 0644);
    struct build_image *image = list_push(&s->y.a, &s->spec.images);
    image->name = name;
    image->context = ".";
    image->filename = file;
    return image;
}

static UNUSED void run(struct shop *s)
{
    struct build_layouts kept = s->layouts;
    /* As `work` does with what passes; of that kind is nothing that is tested here. */
    for (int tries = 0; !tries || (tries < 5 && strstr(s->err.text, "copy of itself")); tries++) {
        s->err = (struct err)ERR_INIT;
        s->layouts = kept;
        s->rc = build_run(&s->spec, &s->watch, &s->y.a, &s->layouts, &s->err);
    }
    /* Whatever happened, nothing is left. */
    assert_int_equal(yard_count(&s->y, "scratch"), 0);
    assert_false(yard_has(&s->y, "source/.zuul-siblings"));
}

static UNUSED void run_well(struct shop *s)
{
    run(s);
    if (s->rc < 0)
        fail_msg("%s\n%s", s->err.text, s->log.buf);
    for (size_t i = 0; i < s->layouts.n; i++)
        if (build_layout_check(s->layouts.at[i].path, &s->err) < 0)
            fail_msg("%s", s->err.text);
}

static UNUSED void run_badly(struct shop *s, enum err_kind kind, const char *const *wanted)
{
    run(s);
    if (s->rc == 0)
        fail_msg("built, though it should have failed:\n%s", s->log.buf);
    for (; *wanted; wanted++)
        if (!strstr(s->err.text, *wanted))
            fail_msg("\"%s\" is not in \"%s\"\n%s", *wanted, s->err.text, s->log.buf);
    if (s->err.kind != kind)
        fail_msg("%s: kind %s", s->err.text, err_kind_name(s->err.kind));
    assert_int_equal(s->layouts.n, 0);
}
#define BADLY(s, kind, ...) run_badly((s), (kind), (const char *const[]){__VA_ARGS__, NULL})

static UNUSED void logged(struct shop *s, const char *text, bool wanted)
{
    if ((strstr(s->log.buf, text) != NULL) != wanted)
        fail_msg("\"%s\" is %sin the log:\n%s", text, wanted ? "not " : "", s->log.buf);
}

/* Each of these runs with both tools. */
#define BOTH(name)                                                                                 \
    static void buildah_##name(void **state)                                                       \
    {                                                                                              \
        (void)state;                                                                               \
        name(BUILD_BUILDAH);                                                                       \
    }                                                                                              \
    static void podman_##name(void **state)                                                        \
    {                                                                                              \
        (void)state;                                                                               \
        name(BUILD_PODMAN);                                                                        \
    }
#define TWO(name) cmocka_unit_test(buildah_##name), cmocka_unit_test(podman_##name)

#endif
