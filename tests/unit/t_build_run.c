#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build_layout.h"
#include "core/build/build_run.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/os/proc.h"
#include "tests/unit/build_help.h"
#include "tests/unit/peer.h"

#include <errno.h>

/* The real buildah and podman build from scratch with a static busybox; docker-registry holds what
 * they are FROM. Each test runs with both. */

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

static bool installed(const char *program)
{
    const char *const argv[] = {program, "--version", NULL};
    const struct proc_opts opts = {.argv = argv};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, KIB(64));
    return proc_run(&opts, &r, NULL) == 0 && r.status == 0;
}

static void need(const char *tool)
{
    if (installed(tool) && access(BUSYBOX, X_OK) == 0)
        return;
    print_message("%s or busybox-static is not installed: deploy/bootstrap test does that\n", tool);
    skip();
}

static void take_log(void *user, const char *text, size_t len)
{
    struct shop *s = user;
    (void)strbuf_add(&s->log, text, len);
}

static bool told_to_stop(void *user)
{
    const struct shop *s = user;
    return s->stop_at && clock_monotonic_ms() >= s->stop_at;
}

static void copy_busybox(struct shop *s, const char *to)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    struct err err = ERR_INIT;
    if (fs_read_file(BUSYBOX, &b, &err) < 0 ||
        fs_replace_file(yard_path(&s->y, to), b.buf, b.len, 0755, &err) < 0)
        fail_msg("%s", err.text);
}

static struct shop *open_shop(enum build_tool tool)
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

static void close_shop(struct shop **s)
{
    strbuf_release(&(*s)->log);
    yard_release(&(*s)->y);
    free(*s);
}

#define SHOP(tool) struct shop *s CLEANUP(close_shop) = open_shop(tool)

static struct build_image *add_image(struct shop *s, const char *name, const char *containerfile)
{
    const char *file = arena_printf(&s->y.a, "%s.containerfile", name);
    yard_file(&s->y, arena_printf(&s->y.a, "source/%s", file), containerfile, 0644);
    struct build_image *image = list_push(&s->y.a, &s->spec.images);
    image->name = name;
    image->context = ".";
    image->filename = file;
    return image;
}

static void run(struct shop *s)
{
    s->err = (struct err)ERR_INIT;
    s->rc = build_run(&s->spec, &s->watch, &s->y.a, &s->layouts, &s->err);
    /* Whatever happened, nothing is left. */
    assert_int_equal(yard_count(&s->y, "scratch"), 0);
    assert_false(yard_has(&s->y, "source/.zuul-siblings"));
}

static void run_well(struct shop *s)
{
    run(s);
    if (s->rc < 0)
        fail_msg("%s\n%s", s->err.text, s->log.buf);
    for (size_t i = 0; i < s->layouts.n; i++)
        if (build_layout_check(s->layouts.at[i].path, &s->err) < 0)
            fail_msg("%s", s->err.text);
}

static void run_badly(struct shop *s, enum err_kind kind, const char *const *wanted)
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

static void logged(struct shop *s, const char *text, bool wanted)
{
    if ((strstr(s->log.buf, text) != NULL) != wanted)
        fail_msg("\"%s\" is %sin the log:\n%s", text, wanted ? "not " : "", s->log.buf);
}

static struct js *blob(struct shop *s, const char *layout, const char *digest)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct err err = ERR_INIT;
    const char *file = arena_printf(&s->y.a, "%s/blobs/sha256/%s", layout, strchr(digest, ':') + 1);
    if (fs_read_file(file, &b, &err) < 0)
        fail_msg("%s", err.text);
    return js_parse(b.buf, b.len, &err);
}

static struct js *manifest(struct shop *s, const char *layout)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct err err = ERR_INIT;
    if (fs_read_file(arena_printf(&s->y.a, "%s/index.json", layout), &b, &err) < 0)
        fail_msg("%s", err.text);
    struct js *index CLEANUP_JS = js_parse(b.buf, b.len, &err);
    return blob(s, layout, js_str(js_at(js_get(index, "manifests"), 0), "digest"));
}

static struct js *config(struct shop *s, const char *layout)
{
    struct js *m CLEANUP_JS = manifest(s, layout);
    return blob(s, layout, js_str(m, "config.digest"));
}

static size_t layers(struct shop *s, const char *layout)
{
    struct js *m CLEANUP_JS = manifest(s, layout);
    return js_len(js_get(m, "layers"));
}

/* A step runs; arguments, labels, target, extra environment and the log arrive. */
static void builds(enum build_tool tool)
{
    SHOP(tool);
    struct build_image *i = add_image(
        s, "app",
        FROM_SCRATCH "ARG WORDS\nARG DASH\n"
                     "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo said: $WORDS $DASH\"]\n"
                     "FROM scratch AS wanted\nCOPY busybox /bin/busybox\n"
                     "ARG WORDS\nARG DASH\n" RUN_SH("echo said: $WORDS $DASH; /bin/busybox env; "
                                                    "/bin/busybox ls /proc | /bin/busybox grep -c "
                                                    "'^[0-9]'") "FROM nowhere.invalid/never:1\n");
    i->target = "wanted";
    i->build_args = TEXTS(&s->y.a, "WORDS=two words; $(exit 9) 'x'", "DASH=--network=none");
    i->labels = TEXTS(&s->y.a, "org.zuul-ci.change=12", "note=--a b, c=d");
    *list_push(&s->y.a, &s->spec.env) = (struct build_env){"NOT_FOR_THE_IMAGE", "1"};
    run_well(s);
    logged(s, "said: two words; $(exit 9) 'x' --network=none", true);
    logged(s, "slipway: image app: ", true);
    logged(s, "NOT_FOR_THE_IMAGE", false);
    assert_int_equal(s->layouts.n, 1);
    assert_string_equal(s->layouts.at[0].path, yard_path(&s->y, "out/app"));
    assert_null(s->layouts.at[0].platform);
    struct js *c CLEANUP_JS = config(s, s->layouts.at[0].path);
    const struct js *labels = js_get(c, "config.Labels");
    assert_string_equal(js_member_str(labels, "org.zuul-ci.change"), "12");
    assert_string_equal(js_member_str(labels, "note"), "--a b, c=d");
    assert_null(js_member_str(labels, "io.buildah.version"));
    assert_int_equal(yard_count(&s->y, "out"), 1);
}

/* The second image is FROM the first, and so is one of a later run that keeps the first. */
static void builds_on_an_earlier_image(enum build_tool tool)
{
    SHOP(tool);
    struct peer registry = {0};
    struct arena *a = &s->y.a;
    peer_docker_registry(&registry, false, false);
    const char *ref = arena_printf(a, "%s/team/base:1", registry.host);
    s->spec.insecure = TEXTS(a, registry.host);
    struct build_image *base = add_image(s, "base", FROM_SCRATCH RUN_SH("echo published > /who"));
    base->refs = TEXTS(a, ref);
    run_well(s);
    const char *const push[] = {"skopeo",
                                "--insecure-policy",
                                "copy",
                                "--quiet",
                                "--dest-tls-verify=false",
                                arena_printf(a, "oci:%s/base", s->y.out),
                                arena_printf(a, "docker://%s", ref),
                                NULL};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, KIB(64));
    const struct proc_opts opts = {.argv = push};
    if (proc_run(&opts, &r, &s->err) < 0 || r.status)
        fail_msg("%s %s", s->err.text, r.err.buf);

    /* What is published under that name is taken where the list has no such image, */
    const char *file = arena_printf(a, "FROM %s\n" RUN_SH("echo it is; cat /who"), ref);
    s->spec.images = (struct build_images){0};
    (void)add_image(s, "alone", file);
    run_well(s);
    logged(s, "published", true);

    /* and what the list builds otherwise. */
    strbuf_reset(&s->log);
    s->spec.images = (struct build_images){0};
    base = add_image(s, "base", FROM_SCRATCH RUN_SH("echo of-the-list > /who"));
    base->refs = TEXTS(a, ref, arena_printf(a, "%s/team/base:latest", registry.host));
    (void)add_image(s, "app", file);
    s->layouts = (struct build_layouts){0};
    run_well(s);
    logged(s, "of-the-list", true);
    logged(s, "published", false);
    assert_int_equal(s->layouts.n, 2);
    assert_int_equal(layers(s, yard_path(&s->y, "out/base")) + 1,
                     layers(s, yard_path(&s->y, "out/app")));

    /* A layout that is left in `out` is not built again, and others are FROM it all the same. */
    strbuf_reset(&s->log);
    s->spec.images.n = 0;
    base = add_image(s, "base", FROM_SCRATCH RUN_SH("echo not again; exit 1"));
    base->refs = TEXTS(a, ref);
    (void)add_image(s, "app2", file);
    s->layouts.n = 1;
    run_well(s);
    logged(s, "already built", true);
    logged(s, "of-the-list", true);

    /* For a platform that the earlier image is not built for, the published one is none. */
    s->spec.images.at[0].platforms = TEXTS(a, "linux/s390x");
    s->layouts.n = 0;
    yard_file(&s->y, "source/base.containerfile", "FROM scratch\nCOPY busybox /\n", 0644);
    BADLY(s, ERR_PERM, "image app2", "this list builds");
    peer_stop(&registry);
}

static void builds_platforms(enum build_tool tool)
{
    SHOP(tool);
    struct arena *a = &s->y.a;
    struct build_image *base = add_image(s, "base", FROM_SCRATCH "LABEL arch=$TARGETARCH\n");
    base->platforms = TEXTS(a, "linux/amd64", "linux/arm64");
    base->refs = TEXTS(a, "registry.invalid/team/base:1");
    struct build_image *app = add_image(s, "app",
                                        "FROM registry.invalid/team/base:1\n"
                                        "COPY busybox /second\n");
    app->platforms = TEXTS(a, "linux/amd64", "linux/arm64/v8");
    run_well(s);
    static const char *const folders[][2] = {{"out/base-linux-amd64", "amd64"},
                                             {"out/base-linux-arm64", "arm64"},
                                             {"out/app-linux-amd64", "amd64"},
                                             {"out/app-linux-arm64-v8", "arm64"}};
    assert_int_equal(s->layouts.n, 4);
    for (size_t i = 0; i < 4; i++) {
        const char *layout = yard_path(&s->y, folders[i][0]);
        struct js *c CLEANUP_JS = config(s, layout);
        assert_string_equal(s->layouts.at[i].path, layout);
        assert_string_equal(js_str(c, "architecture"), folders[i][1]);
        assert_int_equal(layers(s, layout), i < 2 ? 1 : 2);
    }

    /* A step needs the other processor, or emulation. */
    static const char elf[] = "\x7f"
                              "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\xb7\0\1\0\0\0";
    char program[4096] = {0};
    memcpy(program, elf, sizeof elf);
    assert_int_equal(
        fs_replace_file(yard_path(&s->y, "source/foreign"), program, sizeof program, 0755, &s->err),
        0);
    s->spec.images.n = 0;
    struct build_image *image = add_image(s, "run",
                                          "FROM scratch\nCOPY foreign /foreign\n"
                                          "RUN [\"/foreign\"]\n");
    image->platforms = TEXTS(a, "linux/arm64");
    s->layouts.n = 0;
    if (access("/proc/sys/fs/binfmt_misc/qemu-aarch64", F_OK) < 0)
        BADLY(s, ERR_CONFIG, "run (linux/arm64)", "qemu-user-static");
}

/* The docker format keeps what OCI drops, and the log says so. */
static void builds_both_formats(enum build_tool tool)
{
    static const char file[] = FROM_SCRATCH "HEALTHCHECK CMD [\"/bin/busybox\", \"true\"]\n";
    SHOP(tool);
    (void)add_image(s, "app", file);
    run_well(s);
    logged(s, "HEALTHCHECK, it is dropped", true);
    struct js *m CLEANUP_JS = manifest(s, yard_path(&s->y, "out/app"));
    assert_string_equal(js_str(m, "config.mediaType"), "application/vnd.oci.image.config.v1+json");
    strbuf_reset(&s->log);
    s->spec.format = BUILD_DOCKER_FORMAT;
    s->layouts.n = 0;
    run_well(s);
    logged(s, "it is dropped", false);
    struct js *d CLEANUP_JS = manifest(s, yard_path(&s->y, "out/app"));
    assert_string_equal(js_str(d, "mediaType"),
                        "application/vnd.docker.distribution.manifest.v2+json");
    struct js *c CLEANUP_JS = config(s, yard_path(&s->y, "out/app"));
    assert_non_null(js_get(c, "config.Healthcheck"));

    /* An image of that format, kept from a former run, is a base too. */
    s->spec.images.at[0].refs = TEXTS(&s->y.a, "registry.invalid/team/app:1");
    (void)add_image(s, "more", "FROM registry.invalid/team/app:1\nCOPY busybox /second\n");
    run_well(s);
    logged(s, "already built", true);
    assert_int_equal(layers(s, yard_path(&s->y, "out/more")), 2);
}

static void copies_siblings(enum build_tool tool)
{
    SHOP(tool);
    yard_file(&s->y, "siblings/opendev.org/team/lib/tools/say", "hello from lib", 0644);
    yard_file(&s->y, "siblings/example.org/other/x", "and other", 0644);
    s->spec.siblings = s->y.siblings;
    struct build_image *i =
        add_image(s, "app",
                  FROM_SCRATCH "ARG ZUUL_SIBLINGS\nCOPY .zuul-siblings /s/.zuul-siblings\n" RUN_SH(
                      "cd /s; for d in $ZUUL_SIBLINGS; do echo have $d; done; "
                      "cat .zuul-siblings/opendev.org/team/lib/tools/say"));
    i->siblings = TEXTS(&s->y.a, "opendev.org/team/lib", "example.org/other");
    run_well(s);
    logged(s, "have .zuul-siblings/opendev.org/team/lib\nhave .zuul-siblings/example.org/other\n",
           true);
    logged(s, "hello from lib", true);
    i->siblings = TEXTS(&s->y.a, "opendev.org/team/lib", "example.org/absent");
    s->layouts.n = 0;
    BADLY(s, ERR_PERM, "example.org/absent", "not checked out");
}

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

/* docker-registry with accounts: with the pull credentials the base image is there, without not. */
static void pulls_with_its_credentials(enum build_tool tool)
{
    SHOP(tool);
    struct arena *a = &s->y.a;
    struct peer registry = {0};
    peer_docker_registry(&registry, false, true);
    s->spec.insecure = TEXTS(a, registry.host);
    (void)add_image(s, "base", FROM_SCRATCH);
    run_well(s);
    const char *const push[] = {"skopeo",
                                "--insecure-policy",
                                "copy",
                                "--quiet",
                                "--dest-tls-verify=false",
                                "--dest-creds=ci:geheim-wort",
                                arena_printf(a, "oci:%s/base", s->y.out),
                                arena_printf(a, "docker://%s/team/base:1", registry.host),
                                NULL};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, KIB(64));
    const struct proc_opts opts = {.argv = push};
    assert_int_equal(proc_run(&opts, &r, &s->err), 0);
    assert_int_equal(r.status, 0);
    s->spec.images.n = 0;
    (void)add_image(s, "app",
                    arena_printf(a, "FROM %s/team/base:1\n" RUN_SH("/bin/busybox env; echo done"),
                                 registry.host));
    s->layouts.n = 0;
    BADLY(s, ERR_PERM, "build_pull");
    s->spec.pull =
        arena_printf(a, "{\"auths\":{\"%s\":{\"auth\":\"Y2k6Z2VoZWltLXdvcnQ=\"}}}", registry.host);
    run_well(s);
    logged(s, "geheim", false);
    logged(s, "Y2k6", false);
    s->spec.images.n = 0;
    (void)add_image(s, "app", arena_printf(a, "FROM %s/team/gone:1\n", registry.host));
    s->layouts.n = 0;
    BADLY(s, ERR_PERM, "base image is not there");
    peer_stop(&registry);
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
    s->spec.timeout_s = 3;
    int64_t before = clock_monotonic_ms();
    BADLY(s, ERR_PERM, "image app", "timed out", "3 seconds");
    assert_int_equal(s->err.code, ETIMEDOUT);
    assert_in_range(clock_monotonic_ms() - before, 2900, 20000);
    logged(s, "begun", true);
    for (int i = 0; i < 200 && sleepers(s, seconds); i++)
        clock_sleep_ms(10);
    assert_int_equal(sleepers(s, seconds), 0);

    s->spec.timeout_s = 0;
    s->stop_at = clock_monotonic_ms() + 1500;
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
            "/bin/busybox yes 'a line that is nothing but long' | /bin/busybox head -c 1000000000; "
            "echo at the $((40+2))nd; exit 5"));
    s->spec.log_max = 100000;
    BADLY(s, ERR_PERM, "at the 42nd", "status");
    logged(s, "the rest is dropped", true);
    logged(s, "bytes of log were dropped", true);
    logged(s, "at the 42nd", false);
    assert_in_range(s->log.len, 100000, 101000);
}

static void leaves_no_odd_files(enum build_tool tool)
{
    SHOP(tool);
    (void)add_image(
        s, "app",
        FROM_SCRATCH RUN_SH("mkdir -p /d/e; echo x > /d/e/f; /bin/busybox chown 1234:99 /d/e/f; "
                            "/bin/busybox mkfifo /d/p; /bin/busybox chmod 0 /d/e /d; "
                            "/bin/busybox chmod 04755 /bin/busybox"));
    run_well(s);
    (void)add_image(s, "bad",
                    FROM_SCRATCH RUN_SH(
                        "mkdir -p /d/e; echo x > /d/e/f; /bin/busybox chmod 0 /d/e /d; exit 1"));
    s->layouts.n = 0;
    BADLY(s, ERR_PERM, "bad");
}

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
BOTH(builds)
BOTH(builds_on_an_earlier_image)
BOTH(builds_platforms)
BOTH(builds_both_formats)
BOTH(copies_siblings)
BOTH(tells_why_a_build_failed)
BOTH(pulls_with_its_credentials)
BOTH(ends_what_hangs)
BOTH(bounds_disk_and_log)
BOTH(leaves_no_odd_files)

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

#define TWO(name) cmocka_unit_test(buildah_##name), cmocka_unit_test(podman_##name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TWO(builds),
        TWO(builds_on_an_earlier_image),
        TWO(builds_platforms),
        TWO(builds_both_formats),
        TWO(copies_siblings),
        TWO(tells_why_a_build_failed),
        TWO(pulls_with_its_credentials),
        TWO(ends_what_hangs),
        TWO(bounds_disk_and_log),
        TWO(leaves_no_odd_files),
        cmocka_unit_test(refuses_what_cannot_be_built),
        cmocka_unit_test(tells_what_is_not_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
