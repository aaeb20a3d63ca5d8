#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/domain/imageref.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        bool host, name, tag;
    } table[] = {
        {"", false, false, false},
        {"app", true, true, true},
        {"team/app", false, true, false},
        {"registry.example.org", true, true, true},
        {"registry.example.org:5000", true, false, false},
        {"registry.example.org:0", false, false, false},
        {"registry.example.org:65536", false, false, false},
        {"registry.example.org:", false, false, false},
        {"registry.example.org:5x", false, false, false},
        {"registry..example.org", false, false, true},
        {"-a.example.org", false, false, false},
        {"a-.example.org", false, false, true},
        {"a.example.org.", false, false, true},
        {"10.0.0.1:5000", true, false, false},
        {"[::1]:5000", true, false, false},
        {"[::1]", true, false, false},
        {"[::1", false, false, false},
        {"[::g]", false, false, false},
        {"[::1]5000", false, false, false},
        {"user@host", false, false, false},
        {"host?x", false, false, false},
        {"a/b/c-d.e_f__g---h", false, true, false},
        {"a//b", false, false, false},
        {"/a", false, false, false},
        {"a/", false, false, false},
        {"a..b", false, false, true},
        {"a___b", false, false, true},
        {"a._b", false, false, true},
        {"a-", false, false, true},
        {"../a", false, false, false},
        {"a/../b", false, false, false},
        {"App", false, false, true},
        {"_x", false, false, true},
        {".x", false, false, false},
        {"-x", false, false, false},
        {"v1.2.3-rc.1_x", false, true, true},
        {"v1+build", false, false, false},
        {"a b", false, false, false},
        {"a\n", false, false, false},
        {"\xc3\xa4", false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        print_message("%s\n", table[i].part);
        assert_int_equal(imageref_host_ok(table[i].part), table[i].host);
        assert_int_equal(imageref_name_ok(table[i].part), table[i].name);
        assert_int_equal(imageref_tag_ok(table[i].part), table[i].tag);
    }
    assert_false(imageref_host_ok(NULL) || imageref_name_ok(NULL) || imageref_tag_ok(NULL));
}

static void test_lengths(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'a', sizeof text);
    text[128] = '\0';
    assert_true(imageref_tag_ok(text));
    text[128] = 'a';
    text[129] = '\0';
    assert_false(imageref_tag_ok(text));
    text[129] = 'a';
    text[255] = '\0';
    assert_true(imageref_name_ok(text));
    assert_false(imageref_host_ok(text)); /* one label of 255 */
    text[255] = 'a';
    text[256] = '\0';
    assert_false(imageref_name_ok(text));
}

static void test_digests(void **state)
{
    (void)state;
    assert_true(imageref_digest_ok("sha256:" HEX64));
    assert_true(imageref_digest_ok("sha512:" HEX64 HEX64));
    assert_false(imageref_digest_ok(NULL));
    assert_false(imageref_digest_ok(""));
    assert_false(imageref_digest_ok(HEX64));
    assert_false(imageref_digest_ok("sha256:" HEX64 "0"));
    assert_false(imageref_digest_ok("sha256:"));
    assert_false(imageref_digest_ok("sha512:" HEX64));
    assert_false(imageref_digest_ok("md5:" HEX64));
    assert_false(imageref_digest_ok("SHA256:" HEX64));
    assert_false(imageref_digest_ok("sha256:A123456789abcdef0123456789abcdef0123456789abcdef"
                                    "0123456789abcdef"));
}

static void test_change_tags(void **state)
{
    (void)state;
    assert_true(imageref_is_change_tag("change_1_latest"));
    assert_true(imageref_is_change_tag("change_123456_v1_x"));
    assert_false(imageref_is_change_tag("change_1_"));
    assert_false(imageref_is_change_tag("change__latest"));
    assert_false(imageref_is_change_tag("change_1x_latest"));
    assert_false(imageref_is_change_tag("change_1"));
    assert_false(imageref_is_change_tag("xchange_1_latest"));
    assert_false(imageref_is_change_tag("Change_1_latest"));
    assert_false(imageref_is_change_tag(""));
    assert_false(imageref_is_change_tag(NULL));
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *default_host, *host, *name, *tag, *digest;
    } good[] = {
        {"registry.example.org/team/app", NULL, "registry.example.org", "team/app", NULL, NULL},
        {"Registry.Example.ORG:5000/app:v1", NULL, "registry.example.org:5000", "app", "v1", NULL},
        {"localhost/app:v1", NULL, "localhost", "app", "v1", NULL},
        {"localhost:5000/app", NULL, "localhost:5000", "app", NULL, NULL},
        {"[::1]:5000/app:v1", NULL, "[::1]:5000", "app", "v1", NULL},
        {"r.io/a/b@sha256:" HEX64, NULL, "r.io", "a/b", NULL, "sha256:" HEX64},
        {"r.io/a/b:t@sha256:" HEX64, NULL, "r.io", "a/b", "t", "sha256:" HEX64},
        {"team/app:v1", "r.io", "r.io", "team/app", "v1", NULL},
        {"app:5000", "r.io", "r.io", "app", "5000", NULL},
        {"r.io/team/app", "r.io", "r.io", "team/app", NULL, NULL},
        {"other.io/team/app", "r.io", "other.io", "team/app", NULL, NULL},
        {"cache/team/app", "cache", "cache", "team/app", NULL, NULL},
        {"docker.io/debian", NULL, "docker.io", "library/debian", NULL, NULL},
        {"docker.io/debian:12", NULL, "docker.io", "library/debian", "12", NULL},
        {"index.docker.io/team/app", NULL, "docker.io", "team/app", NULL, NULL},
        {"debian", "docker.io", "docker.io", "library/debian", NULL, NULL},
    };
    static const struct {
        const char *text, *default_host, *says;
    } bad[] = {
        {"", NULL, "empty"},
        {"team/app", NULL, "begin with the registry's host"},
        {"app", NULL, "begin with the registry's host"},
        {"r.io/", NULL, "repository"},
        {"r.io", NULL, "begin with"},
        {"docker.io/", NULL, "repository"},
        {"r.io/Team/app", NULL, "repository"},
        {"r.io/app:", NULL, "tag"},
        {"r.io/app:a:b", NULL, "tag"},
        {"r.io/app@", NULL, "digest"},
        {"r.io/app@sha256:12", NULL, "digest"},
        {"r.io/app@sha256:" HEX64 "@x", NULL, "digest"},
        {"user:pw@r.io/app", NULL, "host"},
        {"http://r.io/app", NULL, "host"},
        {"r.io//app", NULL, "repository"},
        {"r.io/../v2/x", NULL, "repository"},
        {"r.io/app?x=1", NULL, "repository"},
        {"r.io/a\nb", NULL, "repository"},
        {"bad_host/app", "bad_host", "host name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct imageref ref;
        print_message("%s\n", good[i].text);
        assert_int_equal(imageref_parse(good[i].text, good[i].default_host, &a, &ref, &err), 0);
        assert_string_equal(ref.host, good[i].host);
        assert_string_equal(ref.name, good[i].name);
        assert_true(str_eq(ref.tag, good[i].tag));
        assert_true(str_eq(ref.digest, good[i].digest));
        assert_string_equal(imageref_repository(&ref, &a),
                            arena_printf(&a, "%s/%s", good[i].host, good[i].name));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct imageref ref = {.host = "untouched"};
        print_message("%s\n", bad[i].text);
        assert_int_equal(imageref_parse(bad[i].text, bad[i].default_host, &a, &ref, &err), -1);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_null(strpbrk(err.text, "\r\n"));
        assert_string_equal(ref.host, "untouched");
    }
}

static void test_long(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct imageref ref;
    char name[300];
    memset(name, 'a', sizeof name);
    name[250] = '\0';
    assert_int_equal(imageref_parse(name, "r.io", &a, &ref, &err), 0); /* 4 + 1 + 250 */
    name[250] = 'a';
    name[251] = '\0';
    assert_int_equal(imageref_parse(name, "r.io", &a, &ref, &err), -1);
    assert_non_null(strstr(err.text, "255"));
    char *huge = arena_alloc(&a, 100001);
    memset(huge, 'a', 100000);
    assert_int_equal(imageref_parse(huge, "r.io", &a, &ref, &err), -1);
    assert_true(strlen(err.text) < 300);
}

static void test_transport(void **state)
{
    (void)state;
    static const struct {
        const char *text, *default_host;
        const char *host, *name, *tag; /* a registry's */
        const char *path, *ref_name;   /* a layout's */
    } good[] = {
        {"docker://r.io/team/app:v1", NULL, "r.io", "team/app", "v1", NULL, NULL},
        {"docker://docker.io/debian", NULL, "docker.io", "library/debian", NULL, NULL, NULL},
        {"r.io:5000/app:v1", NULL, "r.io:5000", "app", "v1", NULL, NULL},
        {"docker:5000/app", NULL, "docker:5000", "app", NULL, NULL, NULL},
        {"app:v1", "r.io", "r.io", "app", "v1", NULL, NULL},
        {"dir:v1", "r.io", "r.io", "dir", "v1", NULL, NULL},
        {"oci:/var/lib/x", NULL, NULL, NULL, NULL, "/var/lib/x", NULL},
        {"oci:out", NULL, NULL, NULL, NULL, "out", NULL},
        {"oci:./out/", NULL, NULL, NULL, NULL, "./out/", NULL},
        {"oci:out:v1.2_3-x+y", NULL, NULL, NULL, NULL, "out", "v1.2_3-x+y"},
        {"oci:a:b:c", NULL, NULL, NULL, NULL, "a:b", "c"},
        {"oci:a:b/c", NULL, NULL, NULL, NULL, "a:b/c", NULL},
        {"oci:a:b__c.", NULL, NULL, NULL, NULL, "a", "b__c."},
        {"oci:a:-b", NULL, NULL, NULL, NULL, "a:-b", NULL},
        {"oci:a b:c", NULL, NULL, NULL, NULL, "a b", "c"},
        {"oci:/x@y:v1", NULL, NULL, NULL, NULL, "/x@y", "v1"},
    };
    static const struct {
        const char *text, *default_host, *says;
    } bad[] = {
        {"", NULL, "empty"},
        {"oci:", NULL, "path"},
        {"oci::v1", NULL, "path"},
        {"oci:x:", NULL, "missing"},
        {"oci:x@sha256:" HEX64, NULL, "digest"},
        {"oci:x:v1@sha256:" HEX64, NULL, "digest"},
        {"oci:x\ny", NULL, "control"},
        {"docker://", NULL, "empty"},
        {"docker://app", NULL, "host"},
        {"docker:r.io/app", NULL, "what is known"},
        {"docker-daemon:app:v1", NULL, "what is known"},
        {"docker-daemon:app:v1", "r.io", "what is known"},
        {"containers-storage:r.io/app", NULL, "what is known"},
        {"dir:/x", NULL, "what is known"},
        {"oci-archive:x.tar", NULL, "what is known"},
        {"https://r.io/app", NULL, "what is known"},
        {"http://r.io/app", "r.io", "what is known"},
        {"oras://r.io/app", NULL, "what is known"},
        {"docker://docker://r.io/app", NULL, "host name"},
        {"OCI:x", NULL, "host"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct imageref_place p;
        print_message("%s\n", good[i].text);
        assert_int_equal(imageref_parse_transport(good[i].text, good[i].default_host, &a, &p, &err),
                         0);
        assert_int_equal(p.kind, good[i].path ? IMAGEREF_LAYOUT : IMAGEREF_REGISTRY);
        assert_true(str_eq(p.ref.host, good[i].host) && str_eq(p.ref.name, good[i].name));
        assert_true(str_eq(p.ref.tag, good[i].tag));
        assert_true(str_eq(p.path, good[i].path) && str_eq(p.ref_name, good[i].ref_name));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct imageref_place p = {.path = "untouched"};
        assert_int_equal(imageref_parse_transport(bad[i].text, bad[i].default_host, &a, &p, &err),
                         -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_null(strpbrk(err.text, "\r\n"));
        assert_string_equal(p.path, "untouched");
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct imageref_place p;
    char *huge = arena_alloc(&a, 100001);
    memset(huge, 'a', 100000);
    memcpy(huge, "oci:", 4);
    assert_int_equal(imageref_parse_transport(huge, NULL, &a, &p, NULL), -1);
}

static void test_digest_tags(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    assert_string_equal(imageref_fallback_tag("sha256:" HEX64, &a), "sha256-" HEX64);
    assert_string_equal(imageref_fallback_tag("sha512:" HEX64 HEX64, &a), "sha512-" HEX64);
    assert_string_equal(imageref_cosign_tag("sha256:" HEX64, "sig", &a), "sha256-" HEX64 ".sig");
    assert_string_equal(imageref_cosign_tag("sha256:" HEX64, "sbom", &a), "sha256-" HEX64 ".sbom");
    assert_null(imageref_cosign_tag("sha512:" HEX64 HEX64, "sig", &a));
    assert_null(imageref_cosign_tag("sha256:12", "sig", &a));
    assert_null(imageref_cosign_tag(NULL, "sig", &a));
    assert_null(imageref_fallback_tag("latest", &a));
    assert_null(imageref_fallback_tag(NULL, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_digests),   cmocka_unit_test(test_change_tags),
        cmocka_unit_test(test_parse),     cmocka_unit_test(test_long),
        cmocka_unit_test(test_transport), cmocka_unit_test(test_digest_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
