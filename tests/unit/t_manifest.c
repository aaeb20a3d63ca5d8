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
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" D1 "\",\"size\":9007199254740993}]}",
         MANIFEST_OCI, "size"},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" D1 "\",\"size\":99999999999999999999}]}",
         MANIFEST_OCI, "JSON"},
        /* Only an artifact may leave its layers out. */
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", MANIFEST_OCI, "layers"},
        {"{\"schemaVersion\":2,\"artifactType\":\"\",\"config\":" CONFIG "}", MANIFEST_OCI,
         "layers"},
        {"{\"schemaVersion\":2,\"artifactType\":\"a/b\",\"config\":" CONFIG "}", MANIFEST_DOCKER,
         "layers"},
        {"{\"schemaVersion\":2,\"artifactType\":\"a/b\"}", MANIFEST_OCI, "config"},
        {"{\"schemaVersion\":2,\"manifests\":\"\"}", MANIFEST_OCI_INDEX, "manifests"},
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

static void test_descriptors(void **state)
{
    (void)state;
    static const struct {
        const char *members; /* of a layer, behind mediaType, digest and size */
        const char *type;
        struct descriptor is;
    } table[] = {
        {"", "application/vnd.oci.image.layer.v1.tar", {0}},
        {",\"urls\":[]", "x", {0}},
        {",\"urls\":[\"https://example.org/x\"]", "x", {.has_urls = true}},
        {"",
         "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
         {.nondistributable = true}},
        {",\"urls\":[\"https://example.org/x\"]",
         "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
         {.has_urls = true, .nondistributable = true}},
        {",\"artifactType\":\"a/b\"", "x", {.artifact_type = "a/b"}},
        {",\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\","
         "\"io.containerd.image.name\":\"docker.io/library/app:v1\"}",
         "x",
         {.ref_name = "v1", .image_name = "docker.io/library/app:v1"}},
        {",\"annotations\":{\"dev.cosignproject.cosign/signature\":\"MEUC\"}",
         "application/vnd.dev.cosign.simplesigning.v1+json",
         {.cosign_signature = "MEUC"}},
        {",\"annotations\":{\"dev.cosignproject.cosign/signature\":7},\"urls\":\"x\"", "x", {0}},
        {",\"annotations\":[],\"artifactType\":7,\"platform\":[]", "x", {0}},
        {",\"annotations\":null,\"urls\":null,\"platform\":null", "x", {0}},
        {",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}",
         "x",
         {.platform = "linux/arm64/v8"}},
        {",\"platform\":{\"os\":\"linux\"}", "x", {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct manifest m;
        const char *text =
            arena_printf(&a,
                         "{\"schemaVersion\":2,\"config\":" CONFIG
                         ",\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"" D2 "\",\"size\":9%s}]}",
                         table[i].type, table[i].members);
        print_message("%s\n", text);
        assert_int_equal(parse(&a, text, MANIFEST_OCI, &m, &err), 0);
        const struct descriptor *is = &table[i].is, *got = &m.layers.at[0];
        assert_true(str_eq(got->platform, is->platform));
        assert_true(str_eq(got->artifact_type, is->artifact_type));
        assert_true(str_eq(got->ref_name, is->ref_name));
        assert_true(str_eq(got->image_name, is->image_name));
        assert_true(str_eq(got->cosign_signature, is->cosign_signature));
        assert_int_equal(got->has_urls, is->has_urls);
        assert_int_equal(got->nondistributable, is->nondistributable);
        assert_int_equal(m.bytes, 16);
    }
    assert_false(manifest_type_nondistributable(NULL));
}

#define EMPTY_CONFIG                                                                               \
    "{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"" D1 "\",\"size\":2}"

static void test_artifacts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *artifact_type, *referrer_type, *annotations;
    } table[] = {
        {"{\"schemaVersion\":2,\"artifactType\":\"a/b\",\"config\":" EMPTY_CONFIG
         ",\"layers\":[],\"subject\":" CHILD(D3,
                                             "") ",\"annotations\":{\"b.c\":\"x\",\"a\":\"y\"}}",
         "a/b", "a/b", "{\"b.c\":\"x\",\"a\":\"y\"}"},
        {"{\"schemaVersion\":2,\"artifactType\":\"a/b\",\"config\":" CONFIG
         ",\"subject\":" CHILD(D3, "") "}",
         "a/b", "a/b", NULL},
        {"{\"schemaVersion\":2,\"config\":" EMPTY_CONFIG ",\"subject\":" CHILD(D3, "") "}", NULL,
         "application/vnd.oci.empty.v1+json", NULL},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":null,\"annotations\":[],"
         "\"subject\":" CHILD(D3, "") "}",
         NULL, "application/vnd.oci.image.config.v1+json", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct manifest m;
        assert_int_equal(parse(&a, table[i].text, MANIFEST_OCI, &m, &err), 0);
        assert_int_equal(m.layers.n, 0);
        assert_true(str_eq(m.artifact_type, table[i].artifact_type));
        assert_true(str_eq(m.annotations, table[i].annotations));
        assert_string_equal(m.subject, D3);
        assert_string_equal(m.subject_ref.digest, D3);
        assert_string_equal(m.subject_ref.media_type, MANIFEST_OCI);
        assert_int_equal(m.subject_ref.size, 3);
        struct referrer r = manifest_referrer(&m, D2, 77);
        assert_string_equal(r.media_type, MANIFEST_OCI);
        assert_string_equal(r.digest, D2);
        assert_int_equal(r.size, 77);
        assert_string_equal(r.artifact_type, table[i].referrer_type);
        assert_true(str_eq(r.annotations, table[i].annotations));
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct manifest m;
    assert_int_equal(parse(&a, INDEX, MANIFEST_OCI_INDEX, &m, NULL), 0);
    assert_null(manifest_referrer(&m, D1, 1).artifact_type);
    assert_int_equal(m.bytes, 9);
}

static void test_many(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    (void)strbuf_addstr(&text, "{\"schemaVersion\":2,\"manifests\":[");
    for (int i = 0; i < LIMIT_DESCRIPTORS; i++)
        (void)strbuf_addstr(&text, i ? "," CHILD(D1, "") : CHILD(D1, ""));
    const char *fits = arena_printf(&a, "%s]}", text.buf);
    const char *more = arena_printf(&a, "%s," CHILD(D2, "") "]}", text.buf);
    assert_int_equal(parse(&a, fits, MANIFEST_OCI_INDEX, &m, &err), 0);
    assert_int_equal(m.children.n, LIMIT_DESCRIPTORS);
    assert_int_equal(parse(&a, more, MANIFEST_OCI_INDEX, &m, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    struct referrer add = {.media_type = MANIFEST_OCI, .digest = D2, .size = 1};
    assert_null(manifest_referrers_index(fits, strlen(fits), &add, &a, &err));
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "full"));
}

static void test_platforms(void **state)
{
    (void)state;
    static const struct {
        const char *platform, *wanted;
        bool matches;
    } table[] = {
        {"linux/amd64", "linux/amd64", true},
        {"linux/amd64/v3", "linux/amd64", true},
        {"linux/amd64", "linux/amd64/v1", true},
        {"linux/amd64/v1", "linux/amd64/v1", true},
        {"linux/amd64", "linux/amd64/v2", false},
        {"linux/amd64/v3", "linux/amd64/v2", false},
        {"linux/arm64", "linux/arm64/v8", true},
        {"linux/arm64/v8", "linux/arm64", true},
        {"linux/arm64/v9", "linux/arm64/v8", false},
        {"linux/arm/v6", "linux/arm", true},
        {"linux/arm/v6", "linux/arm/v7", false},
        {"linux/arm", "linux/arm/v7", true},
        {"linux/arm", "linux/arm64", false},
        {"linux/arm64", "linux/arm", false},
        {"linux/riscv64", "linux/riscv64", true},
        {"linux/riscv64", "linux/riscv64/v1", false},
        {"windows/amd64", "linux/amd64", false},
        {"unknown/unknown", "linux/amd64", false},
        {"linux", "linux", false},
        {NULL, "linux/amd64", false},
        {"linux/amd64", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        print_message("%s %s\n", table[i].platform, table[i].wanted);
        assert_int_equal(platform_matches(table[i].platform, table[i].wanted), table[i].matches);
    }
    static const char *const good[] = {"linux/amd64", "linux/arm/v7", "windows/amd64"};
    static const char *const bad[] = {"",
                                      "linux",
                                      "linux/",
                                      "/amd64",
                                      "linux//v7",
                                      "linux/arm/v7/x",
                                      "Linux/amd64",
                                      "linux/amd 64",
                                      "linux/amd64\n",
                                      "linux/*"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(platform_ok(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(platform_ok(bad[i]));
    assert_false(platform_ok(NULL));
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct manifest m;
    assert_int_equal(parse(&a, INDEX, MANIFEST_OCI_INDEX, &m, NULL), 0);
    assert_true(manifest_has_platform(&m, "linux/arm"));
    assert_true(manifest_has_platform(&m, "linux/amd64"));
    assert_false(manifest_has_platform(&m, "linux/arm64"));
    assert_int_equal(parse(&a, IMAGE, MANIFEST_OCI, &m, NULL), 0);
    assert_false(manifest_has_platform(&m, "linux/amd64"));
}

static void test_referrers(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    struct referrer one = {.media_type = MANIFEST_OCI,
                           .digest = D1,
                           .size = 7,
                           .artifact_type = "a/b",
                           .annotations = "{\"x.y\":\"z\\u00e9\"}"};
    const char *first = manifest_referrers_index(NULL, 0, &one, &a, &err);
    assert_string_equal(first, "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX
                               "\",\"manifests\":[{\"mediaType\":\"" MANIFEST_OCI
                               "\",\"digest\":\"" D1 "\",\"size\":7,\"artifactType\":\"a/b\","
                               "\"annotations\":{\"x.y\":\"z\xc3\xa9\"}}]}");
    assert_int_equal(parse(&a, first, MANIFEST_OCI_INDEX, &m, &err), 0);
    assert_string_equal(m.children.at[0].artifact_type, "a/b");
    /* Listed already: the very bytes, however they are written. */
    const char *odd = arena_printf(&a, " %s\n", first);
    assert_string_equal(manifest_referrers_index(odd, strlen(odd), &one, &a, &err), odd);
    /* What others wrote stays, and comes first. */
    const char *others =
        "{ \"annotations\":{\"k.l\":\"m\"}, \"x.unknown\":[1.5,{}], \"manifests\":["
        "{\"size\":3,\"data\":\"e30=\",\"mediaType\":\"" MANIFEST_OCI "\",\"digest\":\"" D2
        "\"}], \"schemaVersion\":2}";
    struct referrer bare = {.media_type = MANIFEST_OCI_INDEX, .digest = D3, .size = 0};
    assert_string_equal(
        manifest_referrers_index(others, strlen(others), &bare, &a, &err),
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX
        "\",\"manifests\":[{\"size\":3,\"data\":\"e30=\",\"mediaType\":\"" MANIFEST_OCI
        "\",\"digest\":\"" D2 "\"},{\"mediaType\":\"" MANIFEST_OCI_INDEX "\",\"digest\":\"" D3
        "\",\"size\":0}],\"annotations\":{\"k.l\":\"m\"},\"x.unknown\":[1.5,{}]}");
    static const char *const foreign[] = {"", "{}", "[]", IMAGE, "{\"schemaVersion\":2}"};
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        assert_null(manifest_referrers_index(foreign[i], strlen(foreign[i]), &one, &a, &err));
        assert_int_equal(err.kind, ERR_PERM);
    }
    const struct referrer wrong[] = {
        {.digest = D1},
        {.media_type = MANIFEST_OCI},
        {.media_type = MANIFEST_OCI, .digest = "sha256:1"},
        {.media_type = MANIFEST_OCI, .digest = D1, .size = -1},
        {.media_type = MANIFEST_OCI, .digest = D1, .annotations = "[]"},
        {.media_type = MANIFEST_OCI, .digest = D1, .annotations = "{"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_null(manifest_referrers_index(NULL, 0, &wrong[i], &a, &err));
        assert_int_equal(err.kind, ERR_BUG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),       cmocka_unit_test(test_index),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_placeholder), cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_artifacts),   cmocka_unit_test(test_many),
        cmocka_unit_test(test_platforms),   cmocka_unit_test(test_referrers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
