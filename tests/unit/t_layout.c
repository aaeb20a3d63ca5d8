#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/layout_index.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/registry/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#define MANIFEST                                                                                   \
    "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI "\",\"config\":{\"mediaType\":\"x/y\","   \
    "\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\","      \
    "\"size\":2},\"layers\":[]}"

/* A folder that is removed afterwards. */
static int set_up(void **state)
{
    char *dir = xstrdup("/tmp/slipway-layout-XXXXXX");
    *state = dir;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct err err = ERR_INIT;
    int rc = fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

static const char *in(struct arena *a, void **state, const char *name)
{
    return arena_printf(a, "%s/%s", (const char *)*state, name);
}

static struct layout *make(const char *path)
{
    struct err err = ERR_INIT;
    struct layout *l = layout_open(path, true, &err);
    if (!l)
        fail_msg("%s", err.text);
    return l;
}

static void write_file(const char *path, const char *text)
{
    struct err err = ERR_INIT;
    (void)unlink(path);
    if (fs_replace_file(path, text, strlen(text), 0644, &err) < 0)
        fail_msg("%s", err.text);
}

static const char *digest_of(struct arena *a, const char *text)
{
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(text, strlen(text), digest);
    return arena_strdup(a, digest);
}

static const char *blob_path(struct arena *a, const struct layout *l, const char *digest)
{
    return arena_printf(a, "%s/blobs/sha256/%s", layout_path(l), strchr(digest, ':') + 1);
}

static const char *add_manifest(struct layout *l, struct arena *a, const char *text,
                                const char *ref_name)
{
    struct err err = ERR_INIT;
    const char *digest = digest_of(a, text);
    struct descriptor d = {
        .media_type = MANIFEST_OCI, .digest = digest, .size = (int64_t)strlen(text)};
    if (layout_write(l, digest, text, strlen(text), &err) < 0 ||
        layout_set_root(l, &d, ref_name, &err) < 0)
        fail_msg("%s", err.text);
    return digest;
}

/* Files in a folder of the layout; temporary ones must not stay. */
static size_t count_files(struct arena *a, const char *dir)
{
    struct str_list names = {0};
    struct err err = ERR_INIT;
    assert_int_equal(fs_list(dir, NULL, a, &names, &err), 0);
    return names.n;
}

static void test_round_trip(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct descriptor d;
    bool absent;
    const char *path = in(&a, state, "deep/er/layout");
    struct layout *l = make(path);
    /* New: nothing is in it yet. */
    assert_int_equal(layout_root(l, NULL, &a, &d, &absent, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(layout_root(l, "v1", &a, &d, &absent, &err), -1);
    assert_true(absent);
    const char *first = add_manifest(l, &a, MANIFEST, "v1");
    layout_close(l);
    l = layout_open(path, false, &err);
    assert_non_null(l);
    assert_int_equal(layout_root(l, NULL, &a, &d, &absent, &err), 0);
    assert_string_equal(d.digest, first);
    assert_string_equal(d.media_type, MANIFEST_OCI);
    assert_int_equal(d.size, strlen(MANIFEST));
    layout_close(l);
    l = make(path); /* an existing one is fine too */
    const char *second = add_manifest(l, &a, MANIFEST " ", "v2");
    assert_int_equal(layout_root(l, NULL, &a, &d, &absent, &err), -1);
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "v1"));
    assert_non_null(strstr(err.text, "v2"));
    assert_int_equal(layout_root(l, "v2", &a, &d, &absent, &err), 0);
    assert_string_equal(d.digest, second);
    assert_int_equal(layout_root(l, "v3", &a, &d, &absent, &err), -1);
    assert_true(absent);
    assert_int_equal(layout_root(l, first, &a, &d, &absent, &err), 0);
    assert_string_equal(d.digest, first);
    /* The name moves. */
    const char *third = add_manifest(l, &a, MANIFEST "  ", "v2");
    assert_int_equal(layout_root(l, "v2", &a, &d, &absent, &err), 0);
    assert_string_equal(d.digest, third);
    /* A manifest that no root is. */
    assert_int_equal(layout_root(l, second, &a, &d, &absent, &err), 0);
    assert_string_equal(d.media_type, MANIFEST_OCI);
    assert_int_equal(d.size, strlen(MANIFEST) + 1);
    assert_int_equal(layout_root(l, digest_of(&a, "other"), &a, &d, &absent, &err), -1);
    assert_true(absent);
    struct str_list names = {0};
    assert_int_equal(layout_names(l, &a, &names, &err), 0);
    assert_int_equal(names.n, 2);
    assert_int_equal(count_files(&a, path), 3);
    assert_int_equal(count_files(&a, arena_printf(&a, "%s/blobs/sha256", path)), 3);
    layout_close(l);
}

static void test_what_is_no_layout(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    static const struct {
        const char *file, *text, *says;
    } table[] = {
        {"other", "x", "no OCI layout"},
        {"oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}", "version"},
        {"oci-layout", "{}", ""},
        {"oci-layout", "[", ""},
        {"oci-layout", "", ""},
    };
    assert_null(layout_open(in(&a, state, "absent"), false, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *dir = in(&a, state, arena_printf(&a, "%zu", i));
        assert_int_equal(mkdir(dir, 0755), 0);
        write_file(arena_printf(&a, "%s/%s", dir, table[i].file), table[i].text);
        for (int create = 0; create < 2; create++) {
            err = (struct err)ERR_INIT;
            assert_null(layout_open(dir, create, &err));
            print_message("%s\n", err.text);
            assert_int_equal(err.kind, ERR_CONFIG);
            assert_non_null(strstr(err.text, table[i].says));
            assert_non_null(strstr(err.text, dir));
        }
        assert_int_equal(count_files(&a, dir), 1);
    }
    const char *file = in(&a, state, "file");
    write_file(file, "x");
    assert_null(layout_open(file, false, &err));
    assert_null(layout_open(file, true, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    const char *fifo = in(&a, state, "fifo");
    assert_int_equal(mkdir(fifo, 0755), 0);
    assert_int_equal(mkfifo(arena_printf(&a, "%s/oci-layout", fifo), 0644), 0);
    assert_null(layout_open(fifo, false, &err));
    print_message("%s\n", err.text);
}

static void test_attacks(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const void *bytes;
    size_t len;
    bool absent;
    struct layout *l = make(in(&a, state, "l"));
    const char *secret = in(&a, state, "secret"), *digest = digest_of(&a, "secret");
    write_file(secret, "secret");
    assert_int_equal(layout_write(l, digest, "secret", 6, &err), 0);
    /* A blob that is a link, to the right bytes even. */
    assert_int_equal(unlink(blob_path(&a, l, digest)), 0);
    assert_int_equal(symlink(secret, blob_path(&a, l, digest)), 0);
    assert_int_equal(layout_read(l, digest, 100, &a, &bytes, &len, &absent, &err), -1);
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, "symbolic link"));
    assert_int_equal(layout_open_blob(l, digest, 6, &err), -1);
    assert_false(layout_has(l, digest, 6));
    /* Writing puts a file in its place, and leaves the link's end alone. */
    assert_int_equal(layout_write(l, digest, "secret", 6, &err), 0);
    assert_true(layout_has(l, digest, 6));
    /* Wrong bytes. */
    write_file(blob_path(&a, l, digest), "Secret");
    assert_true(layout_has(l, digest, 6));
    assert_int_equal(layout_read(l, digest, 100, &a, &bytes, &len, &absent, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    assert_int_equal(layout_write(l, digest, "secret", 6, &err), 0);
    assert_int_equal(layout_read(l, digest, 6, &a, &bytes, &len, &absent, &err), 0);
    assert_memory_equal(bytes, "secret", 6);
    assert_int_equal(layout_read(l, digest, 5, &a, &bytes, &len, &absent, &err), -1);
    assert_int_equal(layout_open_blob(l, digest, 7, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    /* A directory, a FIFO. */
    assert_int_equal(unlink(blob_path(&a, l, digest)), 0);
    assert_int_equal(mkdir(blob_path(&a, l, digest), 0755), 0);
    assert_int_equal(layout_read(l, digest, 100, &a, &bytes, &len, &absent, &err), -1);
    assert_int_equal(rmdir(blob_path(&a, l, digest)), 0);
    assert_int_equal(mkfifo(blob_path(&a, l, digest), 0644), 0);
    assert_int_equal(layout_read(l, digest, 100, &a, &bytes, &len, &absent, &err), -1);
    assert_false(absent);
    assert_int_equal(layout_read(l, digest_of(&a, "?"), 100, &a, &bytes, &len, &absent, &err), 0);
    assert_true(absent);
    assert_int_equal(layout_open_blob(l, digest_of(&a, "?"), 1, &err), -1);
    assert_int_equal(err.code, ENOENT);
    assert_int_equal(err.kind, ERR_PERM);
    /* Digests that would be paths. */
    static const char *const bad[] = {"sha256:../../secret",
                                      "../secret",
                                      "sha256:",
                                      "",
                                      "sha256",
                                      "sha256:AB",
                                      "md5:d41d8cd98f00b204e9800998ecf8427e"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct layout_file f;
        assert_int_equal(layout_read(l, bad[i], 100, &a, &bytes, &len, &absent, &err), -1);
        assert_int_equal(layout_write(l, bad[i], "secret", 6, &err), -1);
        assert_int_equal(layout_create_blob(l, bad[i], &f, &err), -1);
        assert_int_equal(layout_open_blob(l, bad[i], 6, &err), -1);
        assert_false(layout_has(l, bad[i], 6));
    }
    /* Never bytes under a name that is not theirs. */
    assert_int_equal(layout_write(l, digest, "other", 5, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    layout_close(l);
}

/* Folders that are links lead nowhere. */
static void test_linked_folders(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const folders[] = {"blobs", "blobs/sha256"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        struct err err = ERR_INIT;
        const void *bytes;
        size_t len;
        bool absent;
        const char *dir = in(&a, state, arena_printf(&a, "l%zu", i));
        struct layout *l = make(dir);
        const char *digest = digest_of(&a, "secret");
        assert_int_equal(layout_write(l, digest, "secret", 6, &err), 0);
        const char *old = arena_printf(&a, "%s/%s", dir, folders[i]);
        const char *other = in(&a, state, arena_printf(&a, "else%zu", i));
        assert_int_equal(rename(old, other), 0);
        assert_int_equal(symlink(other, old), 0);
        assert_int_equal(layout_read(l, digest, 100, &a, &bytes, &len, &absent, &err), -1);
        print_message("%s\n", err.text);
        assert_false(absent);
        assert_false(layout_has(l, digest, 6));
        assert_int_equal(layout_write(l, digest_of(&a, "more"), "more", 4, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
        layout_close(l);
    }
}

static void test_bad_index(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct descriptor d;
    struct str_list names = {0};
    bool absent;
    struct layout *l = make(in(&a, state, "l"));
    const char *index = in(&a, state, "l/index.json"), *digest = digest_of(&a, MANIFEST);
    d = (struct descriptor){.media_type = MANIFEST_OCI, .digest = digest, .size = 5};
    char *huge CLEANUP(cleanup_free) = xmalloc(LIMIT_MANIFEST + 2);
    memset(huge, ' ', LIMIT_MANIFEST + 1);
    huge[LIMIT_MANIFEST + 1] = '\0';
    const char *const bad[] = {"",
                               "{",
                               "[]",
                               "{\"manifests\":5}",
                               "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" MANIFEST_OCI
                               "\",\"digest\":\"sha256:../../../etc/passwd\",\"size\":1}]}",
                               huge};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct descriptor out;
        write_file(index, bad[i]);
        assert_int_equal(layout_root(l, NULL, &a, &out, &absent, &err), -1);
        print_message("%s\n", err.text);
        assert_non_null(strstr(err.text, layout_path(l)));
        assert_int_equal(layout_names(l, &a, &names, &err), -1);
        assert_int_equal(layout_set_root(l, &d, "v1", &err), -1);
    }
    assert_int_equal(unlink(index), 0);
    assert_int_equal(symlink("/etc/passwd", index), 0);
    assert_int_equal(layout_root(l, NULL, &a, &d, &absent, &err), -1);
    assert_non_null(strstr(err.text, "symbolic link"));
    struct descriptors roots;
    err = (struct err)ERR_INIT;
    assert_int_equal(layout_roots(l, &a, &roots, &err), -1);
    assert_non_null(strstr(err.text, "symbolic link"));
    layout_close(l);
}

/* A disk that fills: nothing partial is seen, and the reason is plain. */
static void test_full_disk(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct layout *l = make(in(&a, state, "l"));
    const char *kept = add_manifest(l, &a, MANIFEST, "v1");
    char *big CLEANUP(cleanup_free) = xmalloc(KIB(64) + 1);
    memset(big, 'x', KIB(64));
    big[KIB(64)] = '\0';
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = KIB(32);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = layout_write(l, digest_of(&a, big), big, KIB(64), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -1);
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, layout_path(l)));
    assert_int_equal(count_files(&a, in(&a, state, "l/blobs/sha256")), 1);
    assert_true(layout_has(l, kept, (int64_t)strlen(MANIFEST)));
    struct layout_file f;
    assert_int_equal(layout_create_blob(l, digest_of(&a, big), &f, &err), 0);
    assert_int_equal(write(f.fd, big, 100), 100);
    assert_false(layout_has(l, digest_of(&a, big), 100));
    layout_drop_blob(&f);
    assert_int_equal(count_files(&a, in(&a, state, "l/blobs/sha256")), 1);
    layout_close(l);
}

struct writer {
    const char *path;
    int number;
};

static void *write_roots(void *user)
{
    const struct writer *w = user;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct layout *l = make(w->path);
    for (int i = 0; i < 10; i++) {
        const char *text = arena_printf(&a, MANIFEST "%*s", w->number * 10 + i + 1, "");
        (void)add_manifest(l, &a, text, arena_printf(&a, "t%d-%d", w->number, i));
    }
    layout_close(l);
    return NULL;
}

/* Several writers at once, from the making on: nobody's root is lost. */
static void test_writers(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    pthread_t threads[4];
    struct writer writers[4];
    const char *path = in(&a, state, "shared");
    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer){path, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_roots, &writers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    struct layout *l = layout_open(path, false, &err);
    struct str_list names = {0};
    assert_int_equal(layout_names(l, &a, &names, &err), 0);
    assert_int_equal(names.n, 40);
    assert_int_equal(count_files(&a, path), 3);
    layout_close(l);
}

/* What writers that are gone have left is removed, what one is writing stays. */
static void test_leftovers(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct layout_file f;
    struct stat st;
    const char *path = in(&a, state, "l"), *text = "a blob";
    const char *digest = digest_of(&a, text);
    struct layout *l = make(path);
    (void)add_manifest(l, &a, MANIFEST, "v1");
    const char *sha256 = arena_printf(&a, "%s/blobs/sha256", path);
    write_file(arena_printf(&a, "%s/.abc.0123.slipway-tmp", sha256), "half");
    write_file(arena_printf(&a, "%s/.index.json.0123.slipway-tmp", path), "half");
    write_file(arena_printf(&a, "%s/mine.slipway-tmp", path), "no temporary one");
    assert_int_equal(mkdir(arena_printf(&a, "%s/.dir.slipway-tmp", path), 0755), 0);
    assert_int_equal(layout_create_blob(l, digest, &f, &err), 0);
    assert_int_equal(write(f.fd, text, strlen(text)), (ssize_t)strlen(text));
    /* Who only reads leaves everything. */
    layout_close(layout_open(path, false, &err));
    assert_int_equal(stat(arena_printf(&a, "%s/.abc.0123.slipway-tmp", sha256), &st), 0);
    layout_close(make(path));
    assert_int_equal(stat(arena_printf(&a, "%s/.abc.0123.slipway-tmp", sha256), &st), -1);
    assert_int_equal(stat(arena_printf(&a, "%s/.index.json.0123.slipway-tmp", path), &st), -1);
    assert_int_equal(stat(arena_printf(&a, "%s/mine.slipway-tmp", path), &st), 0);
    assert_int_equal(layout_keep_blob(&f, &err), 0);
    assert_true(layout_has(l, digest, (int64_t)strlen(text)));
    layout_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_layout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_linked_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leftovers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
