#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build_layout.h"
#include "core/build/build_source.h"
#include "core/lib/crypt.h"
#include "tests/unit/build_help.h"

#include <sys/stat.h>

static void close_yard(struct yard *y)
{
    yard_release(y);
}

#define YARD(name)                                                                                 \
    struct yard name CLEANUP(close_yard);                                                          \
    yard_init(&name)

static void fill(struct yard *y)
{
    yard_file(y, "source/Dockerfile", "FROM scratch\n", 0644);
    yard_file(y, "source/both/Containerfile", "FROM scratch\n", 0644);
    yard_file(y, "source/both/Dockerfile", "FROM scratch\n", 0644);
    yard_file(y, "source/both/deep/File", "FROM scratch\n", 0644);
    yard_file(y, "source/both/deep/own", "FROM scratch\n", 0644);
    yard_file(y, "source/both/own", "FROM scratch\n", 0644);
    yard_file(y, "source/odd/-x", "FROM scratch\n", 0644);
    yard_folder(y, "source/empty");
    yard_folder(y, "source/folder/Containerfile");
    yard_file(y, "outside/Dockerfile", "FROM scratch\n", 0644);
    yard_link(y, "source/inside", "both");
    yard_link(y, "source/both/up", "../both/deep");
    yard_link(y, "source/leads-out", "../outside");
    yard_link(y, "source/absolute", yard_path(y, "source/both"));
    yard_link(y, "source/root", "/");
    yard_link(y, "source/circle", "circle");
    yard_link(y, "source/dangling", "nowhere");
    yard_link(y, "source/linked/Dockerfile", "../../outside/Dockerfile");
    yard_link(y, "source/near/Dockerfile", "../both/own");
    yard_link(y, "source/first/Containerfile", "/etc/passwd");
    yard_file(y, "source/first/Dockerfile", "FROM scratch\n", 0644);
    yard_folder(y, "source/pipes");
    if (mkfifo(yard_path(y, "source/pipes/Dockerfile"), 0644) < 0)
        abort();
}

/* Where the context and the file are, below the source; or why not. */
static void finds_what_is_inside(void **state)
{
    (void)state;
    static const struct {
        const char *context, *path, *filename;
        const char *folder, *file; /* "": the source itself; folder NULL: refused, file is why */
        enum build_tool tool;
    } cases[] = {
        {".", NULL, NULL, "", "/Dockerfile", BUILD_PODMAN},
        {"both", NULL, NULL, "/both", "/both/Containerfile", BUILD_PODMAN},
        {"both/", NULL, NULL, "/both", "/both/Containerfile", BUILD_BUILDAH},
        {"both", NULL, NULL, "/both", "/both/Dockerfile", BUILD_DOCKER},
        {"inside", NULL, NULL, "/both", "/both/Containerfile", BUILD_PODMAN},
        {"both", "up", "File", "/both/deep", "/both/deep/File", BUILD_PODMAN},
        {"both", "deep", "deep/File", "/both/deep", "/both/deep/File", BUILD_PODMAN},
        {"both", "deep", "own", "/both/deep", "/both/own", BUILD_PODMAN},
        {"both", ".", "own", "/both", "/both/own", BUILD_PODMAN},
        {"near", NULL, NULL, "/near", "/both/own", BUILD_PODMAN},
        {"odd", NULL, "./-x", "/odd", "/odd/-x", BUILD_PODMAN},
        {"absent", NULL, NULL, NULL, "context absent is not in the source", BUILD_PODMAN},
        {"both", "absent", NULL, NULL, "path both/absent is not in the source", BUILD_PODMAN},
        {"Dockerfile", NULL, NULL, NULL, "not a folder", BUILD_PODMAN},
        {"leads-out", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"absolute", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"root/etc", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"..", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"both/../../outside", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"both", "../../outside", NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"/etc", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"circle", NULL, NULL, NULL, "circle", BUILD_PODMAN},
        {"dangling", NULL, NULL, NULL, "not in the source", BUILD_PODMAN},
        {"linked", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"first", NULL, NULL, NULL, "leads out of the source", BUILD_PODMAN},
        {"both", NULL, "../../outside/Dockerfile", NULL, "leads out", BUILD_PODMAN},
        {"folder", NULL, NULL, NULL, "not a regular file", BUILD_PODMAN},
        {"pipes", NULL, NULL, NULL, "not a regular file", BUILD_PODMAN},
        {"both", NULL, "absent", NULL, "both/absent is not in the source", BUILD_PODMAN},
        {"empty", NULL, NULL, NULL, "empty/Containerfile or empty/Dockerfile", BUILD_PODMAN},
        {"folder", NULL, NULL, NULL, "folder/Dockerfile is not in the source", BUILD_DOCKER},
    };
    YARD(y);
    fill(&y);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct build_spec spec = {.tool = cases[i].tool, .source = y.source};
        struct build_image image = {.name = "app",
                                    .context = cases[i].context,
                                    .path = cases[i].path,
                                    .filename = cases[i].filename};
        struct build_source found;
        struct err err = ERR_INIT;
        int rc = build_source_find(&spec, &image, &y.a, &found, &err);
        if (!cases[i].folder) {
            if (rc == 0 || err.kind != ERR_PERM || !strstr(err.text, cases[i].file))
                fail_msg("%zu: %s: %s", i, cases[i].context, rc ? err.text : "found");
            continue;
        }
        if (rc < 0)
            fail_msg("%s: %s", cases[i].context, err.text);
        assert_string_equal(found.context, arena_printf(&y.a, "%s%s", y.source, cases[i].folder));
        assert_string_equal(found.filename, arena_printf(&y.a, "%s%s", y.source, cases[i].file));
    }
    struct build_spec spec = {.source = yard_path(&y, "absent")};
    struct build_image image = {.name = "app", .context = "."};
    struct build_source found;
    struct err err = ERR_INIT;
    assert_int_equal(build_source_find(&spec, &image, &y.a, &found, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
}

static const char *text_of(struct yard *y, const char *file)
{
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    struct err err = ERR_INIT;
    if (fs_read_file(yard_path(y, file), &b, &err) < 0)
        fail_msg("%s", err.text);
    return strbuf_to_arena(&b, &y->a);
}

#define PUT "scratch/sent/.zuul-siblings/"

/* The source is as it was, to the last folder. */
static void joins_siblings(void **state)
{
    (void)state;
    YARD(y);
    struct err err = ERR_INIT;
    yard_file(&y, "source/c/d/own", "own", 0604);
    assert_int_equal(chmod(yard_path(&y, "source/c/d"), 02710), 0);
    const struct timespec old[] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    assert_int_equal(utimensat(AT_FDCWD, yard_path(&y, "source/c/d/own"), old, 0), 0);
    yard_link(&y, "source/c/out", "../../outside");
    yard_file(&y, "siblings/host/a/b/run", "#!", 0755);
    yard_file(&y, "siblings/host/a/b/d/e/text", "deep", 0640);
    yard_file(&y, "siblings/host/a/b/.git/HEAD", "ref", 0644);
    yard_link(&y, "siblings/host/a/b/link", "/etc/passwd");
    yard_file(&y, "siblings/host/a/c/file", "c", 0644);
    assert_int_equal(mkfifo(yard_path(&y, "siblings/host/a/c/pipe"), 0644), 0);
    struct build_spec spec = {.source = y.source, .siblings = y.siblings};
    struct build_image image = {.name = "app", .siblings = TEXTS(&y.a, "host/a/b", "host/a/c")};
    const char *context = yard_path(&y, "source/c"), *sent = yard_path(&y, "scratch/sent");
    if (build_siblings_join(&spec, &image, context, sent, 1000, &err) < 0)
        fail_msg("%s", err.text);
    struct stat st;
    assert_int_equal(stat(yard_path(&y, PUT "host/a/b/run"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_string_equal(text_of(&y, PUT "host/a/b/d/e/text"), "deep");
    assert_string_equal(text_of(&y, PUT "host/a/b/.git/HEAD"), "ref");
    assert_string_equal(text_of(&y, PUT "host/a/c/file"), "c");
    assert_false(yard_has(&y, PUT "host/a/c/pipe"));
    assert_int_equal(lstat(yard_path(&y, PUT "host/a/b/link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(yard_path(&y, "scratch/sent/d/own"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0604);
    assert_int_equal(st.st_mtim.tv_sec, 2000);
    assert_int_equal(stat(yard_path(&y, "scratch/sent/d"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0710);
    assert_int_equal(lstat(yard_path(&y, "scratch/sent/out"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(yard_count(&y, "source/c"), 2);

    /* What is there already is the repository's. */
    yard_folder(&y, "source/c/.zuul-siblings");
    sent = yard_path(&y, "scratch/again");
    assert_int_equal(build_siblings_join(&spec, &image, context, sent, 1000, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "there already"));
    assert_true(yard_has(&y, "source/c/.zuul-siblings"));
}

static void refuses_siblings(void **state)
{
    (void)state;
    YARD(y);
    yard_file(&y, "source/c/own", "01234", 0644);
    yard_file(&y, "siblings/host/a/file", "0123456789", 0644);
    yard_file(&y, "outside/file", "x", 0644);
    yard_link(&y, "siblings/host/out", "../../outside");
    yard_link(&y, "siblings/host/root", "/etc");
    yard_file(&y, "siblings/host/plain", "x", 0644);
    const char *deep = "siblings/host/deep";
    for (int d = 0; d < 220; d++)
        deep = arena_printf(&y.a, "%s/d", deep);
    yard_folder(&y, deep);
    static const struct {
        const char *name;
        int64_t max;
        const char *why;
    } cases[] = {
        {"host/absent", 1000, "not checked out"},
        {"host/out", 1000, "not checked out"},
        {"host/root", 1000, "not checked out"},
        {"host/plain", 1000, "not checked out"},
        {"host/a", 14, "larger"},
        {"host/a", 4, "larger"},
        {"host/deep", 1000, "folders deep"},
    };
    struct build_spec spec = {.source = y.source, .siblings = y.siblings};
    const char *context = yard_path(&y, "source/c");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        struct build_image image = {.name = "app", .siblings = TEXTS(&y.a, cases[i].name)};
        const char *sent = yard_path(&y, arena_printf(&y.a, "scratch/%zu", i));
        if (build_siblings_join(&spec, &image, context, sent, cases[i].max, &err) == 0 ||
            !strstr(err.text, cases[i].why) || err.kind != ERR_PERM)
            fail_msg("%s: %s", cases[i].name, err.text);
        assert_int_equal(yard_count(&y, "source/c"), 1);
    }
}

/* A folder as a builder writes it; returns the manifest's digest. */
static const char *put_raw(struct yard *y, const char *layer)
{
    char config_hex[CRYPT_SHA256_HEX], layer_hex[CRYPT_SHA256_HEX], digest[CRYPT_DIGEST_TEXT];
    crypt_sha256_hex("{}", 2, config_hex);
    crypt_sha256_hex(layer, strlen(layer), layer_hex);
    const char *manifest =
        arena_printf(&y->a,
                     "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:%s\",\"size\":2},"
                     "\"layers\":[{\"digest\":\"sha256:%s\",\"size\":5}]}",
                     config_hex, layer_hex);
    crypt_digest(manifest, strlen(manifest), digest);
    yard_file(y, "out/part/raw/manifest.json", manifest, 0600);
    yard_file(y, "out/part/raw/version", "Directory Transport Version: 1.1\n", 0600);
    yard_file(y, arena_printf(&y->a, "out/part/raw/%s", config_hex), "{}", 0600);
    yard_file(y, arena_printf(&y->a, "out/part/raw/%s", layer_hex), layer, 0600);
    return arena_strdup(&y->a, strchr(digest, ':') + 1);
}

static void makes_layouts(void **state)
{
    (void)state;
    YARD(y);
    struct err err = ERR_INIT;
    const char *part = yard_path(&y, "out/part"), *app = yard_path(&y, "out/app");
    const char *hex = put_raw(&y, "layer");
    mode_t before = umask(077);
    if (build_layout_make(yard_path(&y, "out/part/raw"), part, &err) < 0 ||
        build_layout_check(part, &err) < 0 || build_layout_finish(part, app, &err) < 0)
        fail_msg("%s", err.text);
    (void)umask(before);
    assert_int_equal(yard_count(&y, "out"), 1);
    assert_int_equal(yard_count(&y, "out/app"), 3);
    assert_int_equal(yard_count(&y, "out/app/blobs/sha256"), 3);
    struct stat st;
    assert_int_equal(stat(yard_path(&y, "out/app/blobs"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0775);
    assert_non_null(strstr(text_of(&y, "out/app/index.json"), hex));
    assert_int_equal(build_layout_check(app, &err), 0);

    /* Whatever is not whole is found. */
    const char *blob = arena_printf(&y.a, "out/app/blobs/sha256/%s", hex);
    const char *text = text_of(&y, blob);
    yard_file(&y, blob, "{}", 0644);
    assert_int_equal(build_layout_check(app, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    yard_file(&y, blob, text, 0644);
    assert_int_equal(build_layout_check(app, &err), 0);
    assert_int_equal(unlink(yard_path(&y, "out/app/oci-layout")), 0);
    assert_int_equal(build_layout_check(app, &err), -1);
    assert_int_equal(build_layout_check(yard_path(&y, "out/absent"), &err), -1);
    static const char *const wrong[] = {
        "",
        "{}",
        "[]",
        "{\"manifests\":[]}",
        "{\"manifests\":[{},{}]}",
        "{\"manifests\":[{\"digest\":\"sha256:../../x\",\"size\":1}]}"};
    yard_file(&y, "out/app/oci-layout", "{}", 0644);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        yard_file(&y, "out/app/index.json", wrong[i], 0644);
        assert_int_equal(build_layout_check(app, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
    }
}

/* Whoever shares the group can remove what a killed build left, from the first moment on. */
static void shares_what_it_begins(void **state)
{
    (void)state;
    YARD(y);
    struct err err = ERR_INIT;
    struct stat st;
    const char *part = yard_path(&y, "out/part"), *raw = yard_path(&y, "out/part/raw");
    assert_int_equal(chmod(y.out, 02770), 0);
    mode_t before = umask(077);
    if (build_layout_begin(raw, part, &err) < 0)
        fail_msg("%s", err.text);
    (void)put_raw(&y, "layer");
    if (build_layout_make(raw, part, &err) < 0)
        fail_msg("%s", err.text);
    (void)umask(before);
    static const char *const folders[] = {"out/part", "out/part/blobs", "out/part/blobs/sha256"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        assert_int_equal(stat(yard_path(&y, folders[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 02775);
    }
}

static void makes_no_half_layouts(void **state)
{
    (void)state;
    YARD(y);
    struct err err = ERR_INIT;
    const char *part = yard_path(&y, "out/part"), *raw = yard_path(&y, "out/part/raw");
    yard_folder(&y, "out/part/raw");
    assert_int_equal(build_layout_make(raw, part, &err), -1);
    yard_file(&y, "out/part/raw/manifest.json", "no JSON", 0644);
    assert_int_equal(build_layout_make(raw, part, &err), -1);
    (void)put_raw(&y, "too long a layer");
    assert_int_equal(build_layout_make(raw, part, &err), 0);
    assert_int_equal(build_layout_finish(part, yard_path(&y, "out/app"), &err), -1);
    assert_false(yard_has(&y, "out/app"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_inside),  cmocka_unit_test(joins_siblings),
        cmocka_unit_test(refuses_siblings),      cmocka_unit_test(makes_layouts),
        cmocka_unit_test(shares_what_it_begins), cmocka_unit_test(makes_no_half_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
