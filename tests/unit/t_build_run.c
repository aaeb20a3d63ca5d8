#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/lib/json.h"
#include "tests/unit/build_shop.h"
#include "tests/unit/peer.h"

/* What builds make; docker-registry holds what they are FROM. Each test runs with both tools. */

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

/* podman takes no long paths for its run folder, so that this one is elsewhere. */
static void removes_run_folders_of_killed_builds(void **state)
{
    (void)state;
    SHOP(BUILD_PODMAN);
    char left[] = "/tmp/slipway-run-XXXXXX", used[] = "/tmp/slipway-run-XXXXXX";
    assert_true(mkdtemp(left) && mkdtemp(used));
    const char *gone = yard_path(&s->y, "scratch/slipway-build-gone");
    assert_int_equal(symlink(gone, arena_printf(&s->y.a, "%s/room", left)), 0);
    assert_int_equal(symlink(s->y.source, arena_printf(&s->y.a, "%s/room", used)), 0);
    (void)add_image(s, "app", FROM_SCRATCH);
    run_well(s);
    bool has_left = fs_exists(left), has_used = fs_exists(used);
    (void)fs_remove_tree(left, NULL);
    (void)fs_remove_tree(used, NULL);
    assert_false(has_left);
    assert_true(has_used);
}

BOTH(builds)
BOTH(builds_on_an_earlier_image)
BOTH(builds_platforms)
BOTH(builds_both_formats)
BOTH(copies_siblings)
BOTH(pulls_with_its_credentials)
BOTH(leaves_no_odd_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TWO(builds),
        TWO(builds_on_an_earlier_image),
        TWO(builds_platforms),
        TWO(builds_both_formats),
        TWO(copies_siblings),
        TWO(pulls_with_its_credentials),
        TWO(leaves_no_odd_files),
        cmocka_unit_test(removes_run_folders_of_killed_builds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
