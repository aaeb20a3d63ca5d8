#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/fs.h"
#include "core/registry/copy.h"
#include "tests/unit/copy_help.h"

/* The order of a copy, what it asks and what it leaves alone, between two fakes that want every
 * blob and child of a manifest to be there. */

static void test_between_registries(void **state)
{
    struct scene *s = *state;
    for (int docker = 0; docker < 2; docker++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        (void)copy_fresh(state);
        struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, "mirror/app");
        struct made children[2];
        struct made index = make_two(&from, &a, "one", docker, "latest", children);
        (void)asked(&a, &s->a);
        struct copy c = copy_of(from, "latest", to, &a, "latest");
        *list_push(&a, &c.to_tags) = "v1";
        copy_well(&c, &a);
        assert_string_equal(c.digest, index.digest);
        assert_string_equal(c.media_type, index.type);
        assert_string_equal(shown(&to, &a, "latest"), index.digest);
        assert_string_equal(shown(&to, &a, "v1"), index.digest);
        assert_string_equal(shown(&to, &a, children[1].digest), children[1].digest);
        /* Two configs, the base layer, and two layers each. */
        assert_int_equal(c.blobs, 7);
        assert_int_equal(c.blobs_moved, 7);
        assert_int_equal(c.blobs_mounted, 0);
        assert_int_equal(c.bytes_moved, c.bytes_total);
        assert_int_equal(c.manifests_put, 4);
        assert_false(c.same || c.absent);
        const char *log = asked(&a, &s->b);
        assert_int_equal(times(log, "HEAD", "/blobs/"), 7);
        assert_int_equal(times(log, "PUT", "/manifests/"), 4);
        assert_int_equal(times(log, "PUT", "/manifests/sha256:"), 2);
        assert_int_equal(times(asked(&a, &s->a), "GET", "/blobs/"), 7);
    }
}

static void test_same(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    struct made index = make_two(&from, &a, "one", false, "latest", children);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    *list_push(&a, &c.to_tags) = "v1";
    copy_well(&c, &a);
    (void)asked(&a, &s->a);
    (void)asked(&a, &s->b);
    copy_well(&c, &a);
    assert_true(c.same);
    assert_string_equal(c.digest, index.digest);
    assert_int_equal(c.manifests_put + c.blobs + c.companions, 0);
    assert_string_equal(asked(&a, &s->a), "HEAD /v2/" NAME "/manifests/latest\n");
    const char *log = asked(&a, &s->b);
    assert_int_equal(times(log, "HEAD", "/manifests/"), 2);
    assert_int_equal(times(log, "", ""), 2);
    /* A digest that every tag shows: the source is not asked at all. */
    c.from_ref = index.digest;
    copy_well(&c, &a);
    assert_true(c.same);
    assert_string_equal(asked(&a, &s->a), "");
    /* One tag more: the children are there, only that tag is written. */
    (void)asked(&a, &s->b);
    *list_push(&a, &c.to_tags) = "v2";
    c.no_companions = true;
    copy_well(&c, &a);
    assert_false(c.same);
    assert_int_equal(c.manifests_put, 1);
    assert_int_equal(c.blobs, 0);
    log = asked(&a, &s->b);
    assert_int_equal(times(log, "PUT", "/manifests/v2"), 1);
    assert_int_equal(times(log, "PUT", ""), 1);
    assert_string_equal(asked(&a, &s->a),
                        arena_printf(&a, "GET /v2/" NAME "/manifests/%s\n", index.digest));
}

/* Within one registry: mounts, and no more requests than have to be. */
static void test_one_registry(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->a, "final/app");
    struct made children[2];
    children[0] = make_one(&from, &a, MANIFEST_OCI, "amd64", 3, "");
    children[1] = make_one(&from, &a, MANIFEST_OCI, "arm64", 3, "");
    struct made index = make_list(&a, MANIFEST_OCI_INDEX, children, 2);
    make_put(&from, &a, &index, "latest");
    (void)asked(&a, &s->a);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    c.no_companions = true;
    copy_well(&c, &a);
    const char *log = asked(&a, &s->a);
    print_message("%s", log);
    assert_int_equal(c.blobs, 7);
    assert_int_equal(c.blobs_mounted, 7);
    assert_int_equal(c.bytes_moved, 0);
    assert_int_equal(times(log, "POST", "mount=sha256"), 7);
    assert_int_equal(times(log, "GET", "/manifests/"), 3);
    assert_int_equal(times(log, "PUT", "/manifests/"), 3);
    assert_int_equal(times(log, "HEAD", "/manifests/latest"), 2);
    assert_int_equal(times(log, "", ""), 15);
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
    /* In the same repository: nothing but the tag. */
    (void)asked(&a, &s->a);
    c = copy_of(from, "latest", from, &a, "v1");
    copy_well(&c, &a);
    assert_string_equal(asked(&a, &s->a), "HEAD /v2/" NAME "/manifests/v1\n"
                                          "GET /v2/" NAME "/manifests/latest\n"
                                          "PUT /v2/" NAME "/manifests/v1\n"
                                          "HEAD /v2/" NAME "/manifests/v1\n");
}

/* A registry that mounts nothing: bytes go through us, and what is there is asked for. */
static void test_no_mounts(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->a, "final/app");
    static const int statuses[] = {202, 404};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        (void)copy_fresh(state);
        struct made children[2];
        struct made index = make_two(&from, &a, "one", false, "latest", children);
        control(&s->a, "config", arena_printf(&a, "{\"mount\":%d}", statuses[i]));
        struct copy c = copy_of(from, "latest", to, &a, "latest");
        copy_well(&c, &a);
        assert_int_equal(c.blobs_moved, 7);
        assert_int_equal(c.blobs_mounted, 0);
        assert_string_equal(shown(&to, &a, "latest"), index.digest);
    }
}

static void test_shared_blobs(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    enum { IMAGES = 12 };
    struct copy copies[IMAGES];
    size_t moved = 0;
    for (int i = 0; i < IMAGES; i++) {
        const char *tag = arena_printf(&a, "t%d", i);
        struct made m = make_one(&from, &a, MANIFEST_OCI, tag, 3, "");
        make_put(&from, &a, &m, tag);
        copies[i] = copy_of(from, tag, to, &a, tag);
    }
    (void)asked(&a, &s->a);
    assert_int_equal(copy_all(&a, copies, IMAGES, NULL), 0);
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(copies[i].blobs, 4);
        moved += copies[i].blobs_moved;
        assert_string_equal(shown(&to, &a, copies[i].to_tags.at[0]), copies[i].digest);
    }
    assert_int_equal(moved, 3 * IMAGES + 1);
    const char *log = asked(&a, &s->a);
    assert_int_equal(times(log, "GET", "/blobs/"), 3 * IMAGES + 1);
    assert_int_equal(times(log, "GET", digest_of(&a, "the base layer")), 1);
    /* One look at the source's tags, one question for the API. */
    assert_int_equal(times(log, "GET", "/tags/list"), 1);
}

/* What fails fails alone, nothing of it is visible, and the next run goes on. */
static void test_cut_short(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made bad[2], good[2];
    struct made index = make_two(&from, &a, "bad", false, "bad", bad);
    (void)make_two(&from, &a, "good", false, "good", good);
    const char *layer = digest_of(&a, "layer 2 of bad-arm64");
    struct copy copies[] = {copy_of(from, "bad", to, &a, "bad"),
                            copy_of(from, "good", to, &a, "good")};
    control(&s->a, "rule",
            arena_printf(&a, "{\"method\":\"GET\",\"path\":\"/blobs/%s\",\"status\":403}", layer));
    assert_int_equal(copy_all(&a, copies, 2, NULL), 1);
    assert_true(copies[0].failed && !copies[1].failed);
    print_message("%s\n", copies[0].err.text);
    assert_int_equal(copies[0].err.kind, ERR_PERM);
    assert_non_null(strstr(copies[0].err.text, layer));
    assert_null(shown(&to, &a, "bad"));
    assert_null(shown(&to, &a, index.digest));
    assert_non_null(shown(&to, &a, "good"));
    (void)asked(&a, &s->a);
    copy_well(&copies[0], &a);
    assert_string_equal(shown(&to, &a, "bad"), index.digest);
    assert_non_null(strstr(asked(&a, &s->a), layer));
    assert_true(copies[0].blobs_moved < copies[0].blobs);
}

static void test_wrong_bytes(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    struct made index = make_two(&from, &a, "one", false, "latest", children);
    const char *layer = digest_of(&a, "layer 1 of one-arm64");
    const char *const rules[] = {
        arena_printf(&a,
                     "{\"method\":\"GET\",\"path\":\"/blobs/%s\",\"times\":9,\"mangle\":"
                     "{\"flip\":3}}",
                     layer),
        arena_printf(&a,
                     "{\"method\":\"GET\",\"path\":\"/blobs/%s\",\"times\":9,\"mangle\":"
                     "{\"long\":3}}",
                     layer),
        arena_printf(&a, "{\"method\":\"GET\",\"path\":\"/manifests/%s\",\"mangle\":{\"flip\":3}}",
                     children[0].digest),
        arena_printf(&a, "{\"method\":\"GET\",\"path\":\"/manifests/%s\",\"status\":404}",
                     children[0].digest),
        "{\"method\":\"GET\",\"path\":\"/manifests/latest\",\"mangle\":{\"flip\":3}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct copy c = copy_of(from, "latest", to, &a, "latest");
        control(&s->a, "rules", "[]");
        control(&s->a, "rule", rules[i]);
        copy_now(&c, &a);
        assert_true(c.failed);
        assert_false(c.absent);
        assert_null(shown(&to, &a, "latest"));
        assert_false(has_blob(&to, &a, "layer 1 of one-arm64") && i == 0);
    }
    control(&s->a, "rules", "[]");
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
}

static void test_wrong_sizes(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    struct made index = {.type = MANIFEST_OCI_INDEX};
    index.bytes = arena_printf(&a,
                               "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{"
                               "\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu}]}",
                               index.type, one.type, one.digest, strlen(one.bytes) + 1);
    index.digest = digest_of(&a, index.bytes);
    make_put(&from, &a, &index, "latest");
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_int_equal(c.err.kind, ERR_PERM);
    assert_non_null(strstr(c.err.text, one.digest));
    assert_null(shown(&to, &a, "latest"));
}

static void test_source(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    struct made two = make_one(&from, &a, MANIFEST_OCI, "two", 2, "");
    make_put(&from, &a, &one, "latest");
    struct copy c = copy_of(from, "no-such-tag", to, &a, "latest");
    copy_now(&c, &a);
    assert_true(c.failed && c.absent);
    assert_int_equal(c.err.kind, ERR_PERM);
    assert_non_null(strstr(c.err.text, "no-such-tag"));
    c = copy_of(from, "latest", to, &a, "latest");
    c.expected = two.digest;
    copy_now(&c, &a);
    assert_true(c.failed && !c.absent);
    assert_int_equal(c.err.kind, ERR_TEMP);
    assert_null(shown(&to, &a, "latest"));
    c.expected = one.digest;
    copy_well(&c, &a);
    /* By digest, to no tag: there by digest, and then the same. */
    c = copy_of(from, two.digest, to, &a, NULL);
    copy_well(&c, &a);
    assert_false(c.same);
    assert_non_null(shown(&to, &a, two.digest));
    copy_well(&c, &a);
    assert_true(c.same);
    /* Could not ask is not absent. */
    control(&s->a, "rule", "{\"path\":\"/manifests/\",\"status\":403,\"times\":9}");
    c = copy_of(from, "latest", to, &a, "v1");
    copy_now(&c, &a);
    assert_true(c.failed && !c.absent);
    control(&s->a, "rules", "[]");
    /* Nor at the target. */
    control(&s->b, "rule", "{\"method\":\"HEAD\",\"path\":\"/manifests/v1\",\"status\":403}");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_null(shown(&to, &a, "v1"));
    c.from.registry = NULL;
    copy_now(&c, &a);
    assert_int_equal(c.err.kind, ERR_BUG);
}

static void test_platforms(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    struct made index = make_two(&from, &a, "one", false, "latest", children);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    *list_push(&a, &c.platforms) = "linux/s390x";
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "linux/s390x"));
    assert_non_null(strstr(c.err.text, "linux/amd64, linux/arm64"));
    /* A registry that wants every child. */
    c.platforms.at[0] = "linux/arm64";
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "takes no index with missing children"));
    assert_null(shown(&to, &a, "latest"));
    control(&s->b, "config", "{\"check_blobs\":false}");
    *list_push(&a, &c.platforms) = "linux/riscv64";
    copy_well(&c, &a);
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
    assert_non_null(shown(&to, &a, children[1].digest));
    assert_null(shown(&to, &a, children[0].digest));
    assert_false(has_blob(&to, &a, "layer 1 of one-amd64"));
    assert_int_equal(c.notes.n, 1);
    assert_non_null(strstr(c.notes.at[0], "linux/riscv64"));
    copy_well(&c, &a);
    assert_true(c.same);
    /* One platform more: the tag shows the digest already, and yet there is work. */
    c.platforms.at[1] = "linux/amd64";
    copy_well(&c, &a);
    assert_false(c.same);
    assert_non_null(shown(&to, &a, children[0].digest));
}

/* What a copy of some platforms left out is brought by a copy of all, though the tag shows the
 * digest already. */
static void test_completed(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    char dir[] = "/tmp/slipway-copy-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct layout *l = layout_open(dir, true, &err);
    assert_non_null(l);
    struct endpoint from = at(s, &s->a, NAME);
    struct endpoint to[] = {at(s, &s->b, NAME), in_layout(l)};
    struct made children[2];
    (void)make_two(&from, &a, "one", false, "latest", children);
    control(&s->b, "config", "{\"check_blobs\":false}");
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        struct copy c = copy_of(from, "latest", to[i], &a, "latest");
        c.check_below_same = to[i].registry;
        *list_push(&a, &c.platforms) = "linux/arm64";
        copy_well(&c, &a);
        assert_false(has_blob(&to[i], &a, "layer 1 of one-amd64"));
        c.platforms.n = 0;
        copy_well(&c, &a);
        assert_false(c.same);
        assert_int_equal(c.blobs_moved, 3);
        assert_int_equal(c.manifests_put, 1);
        assert_true(has_blob(&to[i], &a, "layer 1 of one-amd64"));
        assert_true(has_blob(&to[i], &a, children[0].bytes) || to[i].registry);
        (void)asked(&a, &s->a);
        copy_well(&c, &a);
        assert_true(c.same);
        assert_int_equal(c.manifests_put + c.blobs, 0);
        /* What a layout's root says is read there. */
        if (!to[i].registry)
            assert_int_equal(times(asked(&a, &s->a), "", ""), 1);
    }
    layout_close(l);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

/* An image that is no index says in its config what it is for. */
static void test_platform_of_image(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *config, *wanted, *says, *note;
    } rows[] = {
        {"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "linux/amd64", NULL, NULL},
        {"{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}", "linux/arm", NULL, NULL},
        {"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "linux/arm64",
         "has nothing for linux/arm64; it is linux/amd64", NULL},
        {"{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}", "linux/arm/v6",
         "has nothing for linux/arm/v6; it is linux/arm/v7", NULL},
        {"{}", "linux/arm64", NULL, "does not say its platform"},
        {"{\"os\":3,\"architecture\":\"amd64\"}", "linux/arm64", NULL, "does not say"},
        {"no json", "linux/arm64", NULL, "does not say"},
    };
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        (void)make_blob(&from, &a, rows[i].config);
        struct made m = {.type = MANIFEST_OCI};
        m.bytes = arena_printf(
            &a, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[]}", m.type,
            make_entry(&a, "application/vnd.oci.image.config.v1+json", rows[i].config, ""));
        m.digest = digest_of(&a, m.bytes);
        make_put(&from, &a, &m, "one");
        struct copy c = copy_of(from, "one", to, &a, arena_printf(&a, "row%zu", i));
        *list_push(&a, &c.platforms) = rows[i].wanted;
        copy_now(&c, &a);
        assert_int_equal(c.failed, rows[i].says != NULL);
        if (rows[i].says)
            assert_non_null(strstr(c.err.text, rows[i].says));
        assert_int_equal(c.notes.n, rows[i].note != NULL);
        if (rows[i].note)
            assert_non_null(strstr(c.notes.at[0], rows[i].note));
        assert_int_equal(shown(&to, &a, c.to_tags.at[0]) == NULL, c.failed);
    }
}

static void test_nested(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made m = make_one(&from, &a, MANIFEST_OCI, "amd64", 2, "");
    for (int depth = 1; depth <= LIMIT_DEPTH_INDEX + 1; depth++) {
        struct made wrapped = make_list(&a, MANIFEST_OCI_INDEX, &m, 1);
        wrapped.platform = "amd64";
        m = wrapped;
        make_put(&from, &a, &m, "latest");
        struct copy c = copy_of(from, "latest", to, &a, arena_printf(&a, "d%d", depth));
        copy_now(&c, &a);
        /* The last one is deeper than is read, but its child is there. */
        assert_false(c.failed);
        assert_string_equal(shown(&to, &a, c.to_tags.at[0]), m.digest);
    }
    struct endpoint fresh_to = at(s, &s->b, "other/app");
    struct copy c = copy_of(from, "latest", fresh_to, &a, "latest");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "indexes in indexes"));
}

static void test_odd_images(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    control(&s->a, "config", "{\"check_blobs\":false}");
    /* An artifact that is all manifest, and one with layers twice the same. */
    struct made bare =
        make_one(&from, &a, MANIFEST_OCI, "bare", 0, "\"artifactType\":\"application/x.test\",");
    make_put(&from, &a, &bare, "bare");
    struct copy c = copy_of(from, "bare", to, &a, "bare");
    copy_well(&c, &a);
    assert_int_equal(c.blobs, 1);
    /* A layer that stays where it is: verbatim, not copied, said so. */
    struct made foreign = {.type = MANIFEST_DOCKER};
    foreign.bytes = arena_printf(
        &a,
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[{\"mediaType\":"
        "\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"digest\":\"sha256:%064d\","
        "\"size\":5,\"urls\":[\"https://example.org/x\"]}]}",
        foreign.type,
        make_entry(&a, "application/vnd.docker.container.image.v1+json",
                   "{\"os\":\"linux\",\"seed\":\"bare\"}", ""),
        7);
    foreign.digest = digest_of(&a, foreign.bytes);
    make_put(&from, &a, &foreign, "foreign");
    (void)asked(&a, &s->a);
    c = copy_of(from, "foreign", to, &a, "foreign");
    copy_well(&c, &a);
    assert_string_equal(shown(&to, &a, "foreign"), foreign.digest);
    assert_int_equal(c.notes.n, 1);
    assert_non_null(strstr(c.notes.at[0], "stays where it is"));
    assert_int_equal(times(asked(&a, &s->a), "GET", "/blobs/sha256:000"), 0);
    control(&s->b, "rule", "{\"method\":\"PUT\",\"path\":\"/manifests/v1\",\"status\":400}");
    c = copy_of(from, "foreign", at(s, &s->b, "other/app"), &a, "v1");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "layers stay elsewhere"));
    /* A build cache: an index that lists blobs. */
    struct made cache = {.type = MANIFEST_OCI_INDEX};
    (void)make_blob(&from, &a, "cached bytes");
    cache.bytes = arena_printf(
        &a, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[%s]}", cache.type,
        make_entry(&a, "application/vnd.oci.image.layer.v1.tar+gzip", "cached bytes", ""));
    cache.digest = digest_of(&a, cache.bytes);
    make_put(&from, &a, &cache, "cache");
    control(&s->b, "config", "{\"check_blobs\":false}");
    c = copy_of(from, "cache", to, &a, "cache");
    copy_well(&c, &a);
    assert_true(has_blob(&to, &a, "cached bytes"));
    assert_int_equal(c.blobs_moved, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_between_registries, copy_fresh),
        cmocka_unit_test_setup(test_same, copy_fresh),
        cmocka_unit_test_setup(test_one_registry, copy_fresh),
        cmocka_unit_test_setup(test_no_mounts, copy_fresh),
        cmocka_unit_test_setup(test_shared_blobs, copy_fresh),
        cmocka_unit_test_setup(test_cut_short, copy_fresh),
        cmocka_unit_test_setup(test_wrong_bytes, copy_fresh),
        cmocka_unit_test_setup(test_wrong_sizes, copy_fresh),
        cmocka_unit_test_setup(test_source, copy_fresh),
        cmocka_unit_test_setup(test_platforms, copy_fresh),
        cmocka_unit_test_setup(test_completed, copy_fresh),
        cmocka_unit_test_setup(test_platform_of_image, copy_fresh),
        cmocka_unit_test_setup(test_nested, copy_fresh),
        cmocka_unit_test_setup(test_odd_images, copy_fresh),
    };
    return cmocka_run_group_tests(tests, scene_set_up, scene_tear_down);
}
