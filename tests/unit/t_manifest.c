#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define CONFIG                                                                                     \
    "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" D1 "\",\"size\":"  \
    "7}"
#define LAYER                                                                                      \
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"" D2              \
    "\",\"size\":9}"
#define IMAGE                                                                                      \
    "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI "\",\"config\":" CONFIG                   \
    ",\"layers\":[" LAYER "]}"
#define CHILD(digest, platform)                                                                    \
    "{\"mediaType\":\"" MANIFEST_OCI "\",\"digest\":\"" digest "\",\"size\":3" platform "}"
#define INDEX                                                                                      \
    "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX "\",\"manifests\":[" CHILD(         \
        D1,                                                                                        \
        ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\","                                \
        "\"variant\":\"v7\"}") "," CHILD(D2, ",\"platform\":{\"os\":\"linux\",\"architecture\":"   \
                                             "\"amd64\"}") "," CHILD(D3, "") "]}"

static int parse(struct arena *a, const char *text, const char *type, struct manifest *m,
                 struct err *err)
{
    return manifest_parse(text, strlen(text), type, a, m, err);
}

static void test_image(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    assert_int_equal(parse(&a, IMAGE, MANIFEST_OCI "; charset=utf-8", &m, &err), 0);
    assert_string_equal(m.media_type, MANIFEST_OCI);
    assert_false(m.is_index);
    assert_string_equal(m.config.digest, D1);
    assert_int_equal(m.config.size, 7);
    assert_int_equal(m.layers.n, 1);
    assert_string_equal(m.layers.at[0].digest, D2);
    assert_int_equal(m.layers.at[0].size, 9);
    assert_int_equal(m.children.n, 0);
    assert_null(m.subject);
    /* The type may stand in either place; upper case in a header means the same. */
    assert_int_equal(parse(&a, IMAGE, NULL, &m, &err), 0);
    assert_int_equal(parse(&a, "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}",
                           "Application/vnd.oci.image.manifest.v1+JSON", &m, &err),
                     0);
    assert_int_equal(parse(&a,
                           "{\"schemaVersion\":2,\"config\":" CONFIG
                           ",\"layers\":[],\"subject\":" CHILD(D3, "") "}",
                           MANIFEST_DOCKER, &m, &err),
                     0);
    assert_string_equal(m.media_type, MANIFEST_DOCKER);
    assert_string_equal(m.subject, D3);
}

static void test_index(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    assert_int_equal(parse(&a, INDEX, MANIFEST_OCI_INDEX, &m, &err), 0);
    assert_true(m.is_index);
    assert_null(m.config.digest);
    assert_int_equal(m.children.n, 3);
    assert_string_equal(m.children.at[0].platform, "linux/arm/v7");
    assert_string_equal(m.children.at[1].platform, "linux/amd64");
    assert_null(m.children.at[2].platform);
    assert_int_equal(m.layers.n, 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *type, *says;
    } table[] = {
        {"", MANIFEST_OCI, "JSON"},
        {"null", MANIFEST_OCI, "no JSON object"},
        {"[]", MANIFEST_OCI, "no JSON object"},
        {"{}", NULL, "no media type"},
        {"{}", "", "no media type"},
        {"{\"schemaVersion\":2}", "application/json", "no type of an image"},
        {"{\"schemaVersion\":2}", "text/html; charset=utf-8", "no type of an image"},
        {"{\"schemaVersion\":2,\"mediaType\":7}", MANIFEST_OCI, "mediaType is no text"},
        {IMAGE, MANIFEST_OCI_INDEX, "another type"},
        {IMAGE, MANIFEST_DOCKER, "another type"},
        {INDEX, MANIFEST_OCI, "another type"},
        {IMAGE " x", MANIFEST_OCI, "JSON"},
        {"{\"schemaVersion\":2,\"schemaVersion\":2}", MANIFEST_OCI, "JSON"},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", "application/json", "schema 1"},
        {"{\"schemaVersion\":1}", "application/vnd.docker.distribution.manifest.v1+prettyjws",
         "schema 1"},
        {"{\"schemaVersion\":2}", "application/vnd.docker.distribution.manifest.v1+json",
         "schema 1"},
        {"{\"schemaVersion\":3,\"manifests\":[]}", MANIFEST_OCI_INDEX, "schemaVersion"},
        {"{\"schemaVersion\":\"2\",\"manifests\":[]}", MANIFEST_OCI_INDEX, "schemaVersion"},
        {"{\"manifests\":[]}", MANIFEST_OCI_INDEX, "schemaVersion"},
        /* CVE-2021-41190: one document that is two things. */
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", MANIFEST_OCI_INDEX, "different"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"config\":" CONFIG "}", MANIFEST_OCI_INDEX,
         "different"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":null}", MANIFEST_DOCKER_LIST,
         "different"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}", MANIFEST_OCI,
         "different"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"fsLayers\":[]}",
         MANIFEST_DOCKER, "different"},
        {"{\"schemaVersion\":2}", MANIFEST_OCI_INDEX, "manifests"},
        {"{\"schemaVersion\":2,\"manifests\":{}}", MANIFEST_OCI_INDEX, "manifests"},
        {"{\"schemaVersion\":2,\"manifests\":[7]}", MANIFEST_OCI_INDEX, "entry 0"},
        {"{\"schemaVersion\":2,\"manifests\":[" CHILD(D1, "") "," CHILD("sha256:12", "") "]}",
         MANIFEST_OCI_INDEX, "entry 1 has no valid digest"},
        {"{\"schemaVersion\":2,\"layers\":[]}", MANIFEST_OCI, "config"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG "}", MANIFEST_OCI, "layers"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" D1
         "\",\"size\":1}]}",
         MANIFEST_OCI, "no mediaType"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" D1 "\",\"size\":-1}]}",
         MANIFEST_OCI, "size"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" D1 "\",\"size\":1.5}]}",
         MANIFEST_OCI, "size"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"subject\":{\"digest\":\"x\"}}",
         MANIFEST_OCI_INDEX, "subject"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct manifest m = {.media_type = "untouched"};
        print_message("%s: %s\n", table[i].type ? table[i].type : "-", table[i].text);
        assert_int_equal(parse(&a, table[i].text, table[i].type, &m, &err), -1);
        print_message("  %s\n", err.text);
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, table[i].says));
        assert_string_equal(m.media_type, "untouched");
    }
}

static void test_size(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    char *text = arena_alloc(&a, LIMIT_MANIFEST + 2);
    memset(text, ' ', LIMIT_MANIFEST + 1);
    memcpy(text, IMAGE, strlen(IMAGE));
    assert_int_equal(manifest_parse(text, LIMIT_MANIFEST, MANIFEST_OCI, &a, &m, &err), 0);
    assert_int_equal(manifest_parse(text, LIMIT_MANIFEST + 1, MANIFEST_OCI, &a, &m, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
}

static void test_placeholder(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    const char *one = manifest_empty_index("aa", &a), *other = manifest_empty_index("bb", &a);
    assert_string_not_equal(one, other);
    assert_int_equal(parse(&a, one, MANIFEST_OCI_INDEX, &m, &err), 0);
    assert_true(m.is_index);
    assert_int_equal(m.children.n, 0);
    assert_true(manifest_is_placeholder(one, strlen(one)));
    static const char *const others[] = {
        "",
        "{}",
        IMAGE,
        INDEX,
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX "\",\"manifests\":[]}",
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX
        "\",\"manifests\":[" CHILD(D1, "") "],\"annotations\":{\"org.slipway.removing\":\"x\"}}",
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX "\",\"manifests\":[],"
        "\"annotations\":{\"org.slipway.removing\":\"x\",\"other\":\"y\"}}",
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX "\",\"manifests\":[],"
        "\"subject\":" CHILD(D1, "") ",\"annotations\":{\"org.slipway.removing\":\"x\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(manifest_is_placeholder(others[i], strlen(others[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),       cmocka_unit_test(test_index),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_placeholder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
