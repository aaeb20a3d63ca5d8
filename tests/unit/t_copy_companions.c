#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/fs.h"
#include "core/registry/copy.h"
#include "core/registry/referrers.h"
#include "tests/unit/copy_help.h"

/* Signatures, attestations and referrers, and OCI layouts, between two fakes. */

/* An index with a signature of the index and of its first child, an attestation by cosign's tag,
 * referrers of both, and one of a referrer. */
struct signed_image {
    struct made index, children[2];
    struct made sig, att, ref, child_ref, deep_ref;
};

static const char *tag_of(struct arena *a, const struct made *m, const char *suffix)
{
    return imageref_cosign_tag(m->digest, suffix, a);
}

/* A referrer in the source, listed where a registry without the API would list it. */
static struct made refer(const struct endpoint *e, struct arena *a, const char *seed,
                         const struct made *to, bool by_tag)
{
    struct made m = make_one(e, a, MANIFEST_OCI, seed, 2, subject_of(a, to));
    if (by_tag) {
        struct made index = make_list(a, MANIFEST_OCI_INDEX, &m, 1);
        make_put(e, a, &index, imageref_fallback_tag(to->digest, a));
    }
    return m;
}

static struct signed_image make_signed(const struct endpoint *e, struct arena *a, bool by_tag)
{
    struct signed_image s;
    s.index = make_two(e, a, "app", false, "latest", s.children);
    s.sig = make_one(e, a, MANIFEST_OCI, "sig", 2, "");
    make_put(e, a, &s.sig, tag_of(a, &s.index, "sig"));
    s.att = make_one(e, a, MANIFEST_OCI, "att", 2, "");
    make_put(e, a, &s.att, tag_of(a, &s.children[0], "att"));
    s.ref = refer(e, a, "ref", &s.index, by_tag);
    s.child_ref = refer(e, a, "child-ref", &s.children[1], by_tag);
    s.deep_ref = refer(e, a, "deep-ref", &s.ref, by_tag);
    return s;
}

static bool lists(const struct endpoint *e, struct arena *a, const struct made *subject,
                  const struct made *m)
{
    struct err err = ERR_INIT;
    struct descriptors out;
    if (referrers_list(e->registry, a, e->host, e->name, &e->access, subject->digest, NULL, &out,
                       &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < out.n; i++)
        if (str_eq(out.at[i].digest, m->digest))
            return true;
    return false;
}

static void check_signed(const struct endpoint *e, struct arena *a, const struct signed_image *s)
{
    assert_string_equal(shown(e, a, "latest"), s->index.digest);
    assert_string_equal(shown(e, a, tag_of(a, &s->index, "sig")), s->sig.digest);
    assert_string_equal(shown(e, a, tag_of(a, &s->children[0], "att")), s->att.digest);
    assert_true(lists(e, a, &s->index, &s->ref));
    assert_true(lists(e, a, &s->children[1], &s->child_ref));
    assert_true(lists(e, a, &s->ref, &s->deep_ref));
    assert_true(has_blob(e, a, "layer 1 of deep-ref"));
}

/* With the API and by fallback tags, on either side. */
static void test_both_ways(void **state)
{
    struct scene *s = *state;
    for (int way = 0; way < 4; way++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        (void)scene_fresh(state);
        bool by_tag = way & 1;
        control(&s->a, "config",
                arena_printf(&a, "{\"check_blobs\":true,\"referrers\":\"%s\"}",
                             by_tag ? "404" : "yes"));
        control(&s->b, "config",
                arena_printf(&a, "{\"check_blobs\":true,\"referrers\":\"%s\"}",
                             way & 2 ? "404" : "yes"));
        struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
        struct signed_image image = make_signed(&from, &a, by_tag);
        (void)asked(&a, &s->a);
        struct copy c = copy_of(from, "latest", to, &a, "latest");
        copy_well(&c, &a);
        assert_int_equal(c.companions, 5);
        assert_int_equal(c.notes.n, 0);
        check_signed(&to, &a, &image);
        const char *log = asked(&a, &s->b);
        /* The tag comes last. */
        const char *tag = strstr(log, "PUT /v2/" NAME "/manifests/latest");
        assert_non_null(tag);
        assert_null(strstr(tag, "PUT /v2/" NAME "/manifests/sha256"));
        log = asked(&a, &s->a);
        assert_int_equal(times(log, "GET", "/tags/list"), 1);
        if (by_tag)
            assert_int_equal(times(log, "GET", "/referrers/"), 1);
        /* Nothing to do: no look at companions, unless it is wanted. */
        copy_well(&c, &a);
        assert_true(c.same);
        assert_int_equal(c.companions, 0);
        c.companions_of_same = true;
        (void)asked(&a, &s->b);
        copy_well(&c, &a);
        assert_true(c.same);
        assert_int_equal(c.companions, 5);
        assert_int_equal(times(asked(&a, &s->b), "P", ""), 0);
    }
}

/* A signature that came later is brought to a tag that is right already. */
static void test_signed_later(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    make_put(&from, &a, &one, "latest");
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    struct made sig = make_one(&from, &a, MANIFEST_OCI, "sig", 1, "");
    make_put(&from, &a, &sig, tag_of(&a, &one, "sig"));
    c.companions_of_same = true;
    c.dry_run = true;
    copy_well(&c, &a);
    assert_int_equal(c.companions, 1);
    assert_null(shown(&to, &a, tag_of(&a, &one, "sig")));
    c.dry_run = false;
    copy_well(&c, &a);
    assert_string_equal(shown(&to, &a, tag_of(&a, &one, "sig")), sig.digest);
    /* And is left where it is when they are not wanted. */
    struct endpoint plain = at(s, &s->b, "plain/app");
    c = copy_of(from, "latest", plain, &a, "latest");
    c.no_companions = true;
    (void)asked(&a, &s->a);
    copy_well(&c, &a);
    assert_null(shown(&plain, &a, tag_of(&a, &one, "sig")));
    const char *log = asked(&a, &s->a);
    assert_int_equal(times(log, "GET", "/tags/list") + times(log, "GET", "/referrers/"), 0);
}

/* Lists may be wrong, and where they cannot be had every tag is tried. */
static void test_poor_lists(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    control(&s->a, "config", "{\"referrers\":\"404\"}");
    control(&s->a, "rule", "{\"path\":\"/tags/list\",\"status\":403,\"times\":9}");
    struct signed_image image = make_signed(&from, &a, true);
    struct made gone = {.type = MANIFEST_OCI, .platform = "x", .bytes = "{}"};
    gone.digest = digest_of(&a, gone.bytes);
    const struct made listed[] = {gone, image.att, image.ref};
    struct made index = make_list(&a, MANIFEST_OCI_INDEX, listed, 3);
    make_put(&from, &a, &index, imageref_fallback_tag(image.index.digest, &a));
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    check_signed(&to, &a, &image);
    assert_int_equal(c.notes.n, 2);
    print_message("%s\n%s\n", c.notes.at[0], c.notes.at[1]);
    assert_non_null(strstr(c.notes.at[0], "is not there"));
    assert_non_null(strstr(c.notes.at[1], "but does not"));
    /* Could not ask is not nothing. */
    struct endpoint other = at(s, &s->b, "other/app");
    c = copy_of(from, "latest", other, &a, "latest");
    control(&s->a, "rules", "[]");
    control(&s->a, "rule", "{\"path\":\"/referrers/\",\"status\":403}");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_null(shown(&other, &a, "latest"));
}

static void test_one_registry(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->a, "final/app");
    control(&s->a, "config", "{\"check_blobs\":true,\"referrers\":\"404\"}");
    struct signed_image image = make_signed(&from, &a, true);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    assert_int_equal(c.bytes_moved, 0);
    check_signed(&to, &a, &image);
    /* In the same repository there is nothing to bring. */
    (void)asked(&a, &s->a);
    c = copy_of(from, "latest", from, &a, "v1");
    copy_well(&c, &a);
    assert_int_equal(times(asked(&a, &s->a), "", ""), 4);
}

/* Several copies of one image at once complete the same fallback index. */
static void test_at_once(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    enum { REFS = 4, COPIES = 6 };
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    struct made refs[REFS];
    struct copy copies[COPIES];
    make_put(&from, &a, &one, "latest");
    for (int i = 0; i < REFS; i++)
        refs[i] = refer(&from, &a, arena_printf(&a, "ref%d", i), &one, false);
    control(&s->b, "config", "{\"referrers\":\"404\"}");
    for (int i = 0; i < COPIES; i++)
        copies[i] = copy_of(from, "latest", to, &a, arena_printf(&a, "t%d", i));
    size_t failed = copy_all(&a, copies, COPIES, NULL);
    for (int i = 0; i < COPIES; i++)
        if (copies[i].failed)
            print_message("%s\n", copies[i].err.text);
    assert_int_equal(failed, 0);
    for (int i = 0; i < REFS; i++)
        assert_true(lists(&to, &a, &one, &refs[i]));
}

/* --- layouts ------------------------------------------------------------------------------------
 */

static struct layout *open_layout(const char *dir, bool create)
{
    struct err err = ERR_INIT;
    struct layout *l = layout_open(dir, create, &err);
    if (!l)
        fail_msg("%s", err.text);
    return l;
}

static void test_layout(void **state)
{
    struct scene *s = *state;
    for (int way = 0; way < 2; way++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        (void)scene_fresh(state);
        char dir[] = "/tmp/slipway-copy-XXXXXX";
        struct err err = ERR_INIT;
        assert_non_null(mkdtemp(dir));
        struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
        control(
            &s->b, "config",
            arena_printf(&a, "{\"check_blobs\":true,\"referrers\":\"%s\"}", way ? "404" : "yes"));
        struct signed_image image = make_signed(&from, &a, false);
        struct layout *l = open_layout(dir, true);
        struct copy out = copy_of(from, "latest", in_layout(l), &a, "latest");
        copy_well(&out, &a);
        assert_int_equal(out.companions, 5);
        assert_int_equal(out.blobs_moved, out.blobs);
        assert_string_equal(out.digest, image.index.digest);
        copy_well(&out, &a);
        assert_true(out.same);
        out.companions_of_same = true;
        copy_well(&out, &a);
        assert_true(out.same);
        assert_int_equal(out.companions, 5);
        layout_close(l);
        l = open_layout(dir, false);
        struct copy back = copy_of(in_layout(l), "latest", to, &a, "latest");
        copy_well(&back, &a);
        assert_int_equal(back.companions, 5);
        assert_string_equal(back.digest, image.index.digest);
        check_signed(&to, &a, &image);
        (void)asked(&a, &s->b);
        copy_well(&back, &a);
        assert_true(back.same);
        assert_string_equal(asked(&a, &s->b), "HEAD /v2/" NAME "/manifests/latest\n");
        struct copy none = copy_of(in_layout(l), "nothing", to, &a, "v1");
        copy_now(&none, &a);
        assert_true(none.failed && none.absent);
        layout_close(l);
        assert_int_equal(fs_remove_tree(dir, &err), 0);
    }
}

/* Bytes that changed on the disk never become anything at the target. */
static void test_layout_spoilt(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char dir[] = "/tmp/slipway-copy-XXXXXX";
    struct err err = ERR_INIT;
    assert_non_null(mkdtemp(dir));
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    struct made index = make_two(&from, &a, "app", false, "latest", children);
    struct layout *l = open_layout(dir, true), *twin;
    struct copy out = copy_of(from, "latest", in_layout(l), &a, NULL);
    copy_well(&out, &a);
    /* Without a name: the only root. */
    const char *blob = digest_of(&a, "layer 1 of app-arm64");
    const char *const victims[] = {blob, children[0].digest, index.digest};
    for (size_t i = 0; i < ARRAY_LEN(victims); i++) {
        const char *path = arena_printf(&a, "%s/blobs/sha256/%s", dir, victims[i] + 7);
        struct strbuf kept CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
        assert_int_equal(fs_read_file(path, &kept, &err), 0);
        kept.buf[3] ^= 1;
        assert_int_equal(fs_replace_file(path, kept.buf, kept.len, 0644, &err), 0);
        struct copy back = copy_of(in_layout(l), NULL, to, &a, "latest");
        copy_now(&back, &a);
        assert_true(back.failed);
        assert_null(shown(&to, &a, "latest"));
        kept.buf[3] ^= 1;
        assert_int_equal(fs_replace_file(path, kept.buf, kept.len, 0644, &err), 0);
    }
    struct copy back = copy_of(in_layout(l), NULL, to, &a, "latest");
    copy_well(&back, &a);
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
    /* From layout to layout. */
    const char *second = arena_printf(&a, "%s/second", dir);
    twin = open_layout(second, true);
    struct copy across = copy_of(in_layout(l), index.digest, in_layout(twin), &a, "again");
    copy_well(&across, &a);
    assert_string_equal(across.digest, index.digest);
    assert_int_equal(across.blobs_moved, 7);
    layout_close(twin);
    layout_close(l);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_both_ways, scene_fresh),
        cmocka_unit_test_setup(test_signed_later, scene_fresh),
        cmocka_unit_test_setup(test_poor_lists, scene_fresh),
        cmocka_unit_test_setup(test_one_registry, scene_fresh),
        cmocka_unit_test_setup(test_at_once, scene_fresh),
        cmocka_unit_test_setup(test_layout, scene_fresh),
        cmocka_unit_test_setup(test_layout_spoilt, scene_fresh),
    };
    return cmocka_run_group_tests(tests, scene_set_up, scene_tear_down);
}
