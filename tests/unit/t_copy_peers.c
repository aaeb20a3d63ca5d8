#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/proc.h"
#include "core/registry/copy.h"
#include "core/registry/referrers.h"
#include "tests/unit/copy_help.h"

/* Between two of Debian's docker-registry 2.8.2, which have no referrers API, want every child of
 * an index and take no layers that stay elsewhere; and beside skopeo, which does the same. */

static int set_up_peers(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    peer_docker_registry(&s->a, true, false);
    peer_docker_registry(&s->b, true, true);
    scene_client(s, "ci");
    s->conf[0].username = s->conf[0].password = NULL;
    *state = s;
    return 0;
}

/* How many lines of the registry's access log, from *seen on, hold both texts. */
static int logged(const struct peer *p, size_t *seen, const char *one, const char *two)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    peer_pause(100);
    const char *log = peer_read(&a, p, "out");
    int n = 0;
    for (const char *line = log + *seen; *line;) {
        const char *end = strchr(line, '\n');
        const char *text = arena_strndup(&a, line, end ? (size_t)(end - line) : strlen(line));
        n += strchr(text, '"') && strstr(text, one) && strstr(text, two);
        line = end ? end + 1 : line + strlen(line);
    }
    return n;
}

static size_t log_end(const struct peer *p)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    peer_pause(100);
    return strlen(peer_read(&a, p, "out"));
}

static void test_kinds(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, "team/kinds"), to = at(s, &s->b, "mirror/kinds");
    struct made children[2];
    struct made index = make_two(&from, &a, "oci", false, "oci", children);
    struct made list = make_two(&from, &a, "docker", true, "docker", children);
    struct made bare =
        make_one(&from, &a, MANIFEST_OCI, "bare", 1, "\"artifactType\":\"application/x.test\",");
    make_put(&from, &a, &bare, "bare");
    const struct made *const all[] = {&index, &list, &bare};
    static const char *const tags[] = {"oci", "docker", "bare"};
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
            size_t seen = log_end(&s->b);
            struct copy c = copy_of(from, tags[i], to, &a, tags[i]);
            copy_well(&c, &a);
            assert_int_equal(c.same, again);
            assert_string_equal(shown(&to, &a, tags[i]), all[i]->digest);
            if (again)
                assert_int_equal(logged(&s->b, &seen, "HTTP/1", "mirror/kinds") -
                                     logged(&s->b, &seen, "\"GET ", ""),
                                 1);
        }
}

static void test_subset(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, "team/subset"), to = at(s, &s->b, "mirror/subset");
    struct made children[2];
    (void)make_two(&from, &a, "one", false, "latest", children);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    *list_push(&a, &c.platforms) = "linux/arm64";
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "takes no index with missing children"));
    assert_null(shown(&to, &a, "latest"));
    c.platforms.n = 0;
    copy_well(&c, &a);
    assert_int_equal(c.manifests_put, 2);
}

static void test_one_registry(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, "team/near"), to = at(s, &s->a, "final/near");
    struct made children[2];
    struct made index = make_two(&from, &a, "near", false, "latest", children);
    size_t seen = log_end(&s->a);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    c.no_companions = true;
    copy_well(&c, &a);
    assert_int_equal(c.blobs_mounted, 7);
    assert_int_equal(logged(&s->a, &seen, "HTTP/1", "/v2/"), 15);
    assert_int_equal(logged(&s->a, &seen, "\"POST ", "mount="), 7);
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
}

static void test_companions(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, "team/signed"), to = at(s, &s->b, "mirror/signed");
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 3, "");
    struct made sig = make_one(&from, &a, MANIFEST_OCI, "sig", 1, "");
    struct made ref = make_one(&from, &a, MANIFEST_OCI, "ref", 1, subject_of(&a, &one));
    struct made index = make_list(&a, MANIFEST_OCI_INDEX, &ref, 1);
    make_put(&from, &a, &one, "latest");
    make_put(&from, &a, &sig, imageref_cosign_tag(one.digest, "sig", &a));
    make_put(&from, &a, &index, imageref_fallback_tag(one.digest, &a));
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    assert_int_equal(c.companions, 2);
    assert_string_equal(shown(&to, &a, imageref_cosign_tag(one.digest, "sig", &a)), sig.digest);
    struct descriptors out;
    struct err err = ERR_INIT;
    assert_int_equal(
        referrers_list(to.registry, &a, to.host, to.name, &to.access, one.digest, NULL, &out, &err),
        0);
    assert_int_equal(out.n, 1);
    assert_string_equal(out.at[0].digest, ref.digest);
}

static void run_skopeo(const struct scene *s, struct arena *a, const char *tag)
{
    struct proc_result r;
    struct err err = ERR_INIT;
    const char *const argv[] = {"skopeo",
                                "--insecure-policy",
                                "copy",
                                "--all",
                                "--preserve-digests",
                                "--quiet",
                                "--src-tls-verify=false",
                                "--dest-tls-verify=false",
                                "--dest-creds=ci:" PASSWORD,
                                arena_printf(a, "docker://%s/team/twin:%s", s->a.host, tag),
                                arena_printf(a, "docker://%s/by-skopeo/twin:%s", s->b.host, tag),
                                NULL};
    const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent",
                               "XDG_RUNTIME_DIR=/nonexistent", NULL};
    const struct proc_opts opts = {.argv = argv, .env = env};
    proc_result_init(&r, MIB(1));
    if (proc_run(&opts, &r, &err) < 0 || r.status != 0)
        fail_msg("skopeo: %d %s %s", r.status, err.text, r.err.buf);
    proc_result_release(&r);
}

/* The same tags come to the same digests. */
static void test_like_skopeo(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, "team/twin");
    struct endpoint ours = at(s, &s->b, "by-slipway/twin"), theirs = at(s, &s->b, "by-skopeo/twin");
    static const char *const tags[] = {"oci", "docker", "single", "single-docker"};
    struct made children[2];
    struct copy copies[ARRAY_LEN(tags)];
    (void)make_two(&from, &a, "oci", false, "oci", children);
    (void)make_two(&from, &a, "docker", true, "docker", children);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "single", 2, "");
    make_put(&from, &a, &one, "single");
    one = make_one(&from, &a, MANIFEST_DOCKER, "single", 2, "");
    make_put(&from, &a, &one, "single-docker");
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        run_skopeo(s, &a, tags[i]);
        copies[i] = copy_of(from, tags[i], ours, &a, tags[i]);
    }
    assert_int_equal(copy_all(&a, copies, ARRAY_LEN(copies), NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        assert_string_equal(shown(&ours, &a, tags[i]), shown(&theirs, &a, tags[i]));
        assert_string_equal(shown(&ours, &a, tags[i]), shown(&from, &a, tags[i]));
    }
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(shown(&ours, &a, children[i].digest),
                            shown(&theirs, &a, children[i].digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_subset),
        cmocka_unit_test(test_one_registry), cmocka_unit_test(test_companions),
        cmocka_unit_test(test_like_skopeo),
    };
    return cmocka_run_group_tests(tests, set_up_peers, scene_tear_down);
}
