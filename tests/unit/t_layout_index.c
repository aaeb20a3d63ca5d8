#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/layout_index.h"

#include <errno.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define ENTRY(type, digest, rest)                                                                  \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":3" rest "}"
#define NAMED(digest, name)                                                                        \
    ENTRY(MANIFEST_OCI, digest,                                                                    \
          ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}")
#define CONTAINERD(digest, name)                                                                   \
    ENTRY(MANIFEST_OCI, digest, ",\"annotations\":{\"io.containerd.image.name\":\"" name "\"}")
#define INDEX(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"

static void test_version(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "JSON"},
        {"1.0.0", "JSON"},
        {"{}", "no imageLayoutVersion"},
        {"[]", "no imageLayoutVersion"},
        {"{\"imageLayoutVersion\":1}", "no imageLayoutVersion"},
        {"{\"imageLayoutVersion\":\"1.0.1\"}", "not known"},
        {"{\"imageLayoutVersion\":\"2.0.0\"}", "not known"},
    };
    assert_int_equal(layout_index_version(LAYOUT_VERSION_TEXT, strlen(LAYOUT_VERSION_TEXT), NULL),
                     0);
    const char *odd = " {\"x\":1,\n\"imageLayoutVersion\" : \"1.0.0\" }\n";
    assert_int_equal(layout_index_version(odd, strlen(odd), NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(layout_index_version(bad[i].text, strlen(bad[i].text), &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, bad[i].says));
    }
    static char big[1 << 20];
    memset(big, ' ', sizeof big);
    assert_int_equal(layout_index_version(big, sizeof big, NULL), -1);
}

static void test_root(void **state)
{
    (void)state;
    static const struct {
        const char *index, *name, *digest; /* NULL: refused ... */
        int code;
        const char *says; /* ... saying this */
    } table[] = {
        {INDEX(NAMED(D1, "v1")), NULL, D1, 0, NULL},
        {INDEX(ENTRY(MANIFEST_OCI, D1, "")), NULL, D1, 0, NULL},
        {INDEX(ENTRY(MANIFEST_DOCKER_LIST, D1, "")), NULL, D1, 0, NULL},
        {INDEX(NAMED(D1, "v1") "," NAMED(D1, "v2")), NULL, D1, 0, NULL},
        {INDEX(NAMED(D1, "v1") "," NAMED(D2, "v2")), "v2", D2, 0, NULL},
        {INDEX(NAMED(D1, "v1") "," NAMED(D1, "v1")), "v1", D1, 0, NULL},
        {INDEX(NAMED(D1, "r.io/app:v1")), "r.io/app:v1", D1, 0, NULL},
        {INDEX(ENTRY("application/xml", D1, "") "," NAMED(D2, "v2")), NULL, D2, 0, NULL},
        {INDEX(CONTAINERD(D1, "docker.io/library/app:v1")), "v1", D1, 0, NULL},
        {INDEX(CONTAINERD(D1, "r.io:5000/app:v1") "," CONTAINERD(D2, "r.io:5000/app:v2")), "v2", D2,
         0, NULL},
        {INDEX(CONTAINERD(D1, "r.io/app:v1")), "r.io/app:v1", D1, 0, NULL},
        {INDEX(CONTAINERD(D1, "r.io/app:v1") "," NAMED(D2, "v1")), "v1", D2, 0, NULL},
        {INDEX(""), NULL, NULL, 0, "no image at all"},
        {INDEX(""), "v1", NULL, ENOENT, "no image at all"},
        {INDEX(ENTRY("application/xml", D1, "")), NULL, NULL, 0, "no image at all"},
        {INDEX(NAMED(D1, "v1") "," NAMED(D2, "v2")), NULL, NULL, 0, "v1, v2"},
        {INDEX(NAMED(D1, "v1") "," ENTRY(MANIFEST_OCI, D2, "")), NULL, NULL, 0, "v1, " D2},
        {INDEX(NAMED(D1, "v1")), "v", NULL, ENOENT, "no image called \"v\": it has v1"},
        {INDEX(NAMED(D1, "v1")), "", NULL, ENOENT, "v1"},
        {INDEX(NAMED(D1, "v1") "," NAMED(D2, "v1")), "v1", NULL, 0, "more than one"},
        {INDEX(CONTAINERD(D1, "r.io:5000/app")), "5000/app", NULL, ENOENT, "r.io:5000/app"},
        {INDEX(NAMED(D1, "a\\nb\\u001b[2J")), "x", NULL, ENOENT, "a?b?[2J"},
        {INDEX(NAMED(D1, "a") "," NAMED(D2, "b") "," NAMED(D3, "c") "," NAMED(D1, "d") "," NAMED(
             D2, "e") "," NAMED(D3,
                                "f") "," NAMED(D1,
                                               "g") "," NAMED(D2,
                                                              "h") "," NAMED(D3,
                                                                             "i") "," NAMED(D1,
                                                                                            "j")),
         "x", NULL, ENOENT, "g, h and 2 more"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct manifest index;
        const struct descriptor *root = NULL;
        const char *text = table[i].index;
        assert_int_equal(layout_index_parse(text, strlen(text), &a, &index, &err), 0);
        int rc = layout_index_root(&index, table[i].name, &root, &err);
        print_message("%s: %s\n", table[i].name, err.text);
        assert_int_equal(rc, table[i].digest ? 0 : -1);
        if (rc == 0) {
            assert_string_equal(root->digest, table[i].digest);
            continue;
        }
        assert_null(root);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_int_equal(err.code, table[i].code);
        assert_non_null(strstr(err.text, table[i].says));
    }
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"schemaVersion\":2}",
                                      "{\"schemaVersion\":1,\"manifests\":[]}",
                                      "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI
                                      "\",\"manifests\":[]}",
                                      "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
                                      INDEX(ENTRY(MANIFEST_OCI, "sha256:../../etc/passwd", "")),
                                      INDEX(ENTRY(MANIFEST_OCI, "sha256:1", ""))};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct manifest index;
        assert_int_equal(layout_index_parse(bad[i], strlen(bad[i]), &a, &index, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, "index.json"));
    }
}

static const char *put(struct arena *a, const char *present, const char *digest, const char *name)
{
    struct err err = ERR_INIT;
    struct descriptor d = {
        .media_type = MANIFEST_OCI, .digest = digest, .size = 5, .ref_name = name};
    const char *text = layout_index_put(present, present ? strlen(present) : 0, &d, a, &err);
    if (!text)
        fail_msg("%s", err.text);
    return text;
}

/* The digests and names in order, as one text. */
static const char *listed(struct arena *a, const char *text)
{
    struct manifest index;
    struct err err = ERR_INIT;
    const char *out = "";
    if (layout_index_parse(text, strlen(text), a, &index, &err) < 0)
        fail_msg("%s", err.text);
    list_each (struct descriptor, d, &index.children)
        out = arena_printf(a, "%s %c=%s", out, d->digest[7], d->ref_name ? d->ref_name : "");
    return out;
}

static void test_put(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *text = put(&a, NULL, D1, "v1");
    assert_string_equal(text, "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_OCI_INDEX
                              "\",\"manifests\":[{\"mediaType\":\"" MANIFEST_OCI
                              "\",\"digest\":\"" D1 "\",\"size\":5,\"annotations\":{"
                              "\"org.opencontainers.image.ref.name\":\"v1\"}}]}");
    text = put(&a, text, D1, "v2"); /* one digest, two names */
    assert_string_equal(listed(&a, text), " 1=v1 1=v2");
    text = put(&a, text, D2, "v1");
    assert_string_equal(listed(&a, text), " 1=v2 2=v1");
    text = put(&a, text, D3, NULL);
    text = put(&a, text, D1, NULL); /* named entries of the same digest stay */
    assert_string_equal(listed(&a, text), " 1=v2 2=v1 3= 1=");
    text = put(&a, text, D3, NULL);
    assert_string_equal(listed(&a, text), " 1=v2 2=v1 1= 3=");
    /* What we do not know stays as it is. */
    const char *others = "{\"annotations\":{\"a.b\":\"c\"},\"schemaVersion\":2,\"manifests\":["
                         "{\"data\":\"e30=\",\"mediaType\":\"application/xml\",\"size\":3,"
                         "\"digest\":\"" D2 "\"}]}";
    text = put(&a, others, D1, "v1");
    assert_non_null(strstr(text, "{\"data\":\"e30=\",\"mediaType\":\"application/xml\",\"size\":3,"
                                 "\"digest\":\"" D2 "\"}"));
    assert_non_null(strstr(text, "\"annotations\":{\"a.b\":\"c\"}}"));
    struct descriptor d = {.media_type = MANIFEST_OCI,
                           .digest = D1,
                           .size = 5,
                           .platform = "linux/arm/v7",
                           .artifact_type = "a/b"};
    text = layout_index_put(NULL, 0, &d, &a, &err);
    assert_non_null(strstr(text, "\"artifactType\":\"a/b\",\"platform\":{\"os\":\"linux\","
                                 "\"architecture\":\"arm\",\"variant\":\"v7\"}"));
    static const char *const foreign[] = {"", "{}", "{\"schemaVersion\":2}", "x"};
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        assert_null(layout_index_put(foreign[i], strlen(foreign[i]), &d, &a, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
    const struct descriptor wrong[] = {
        {.digest = D1},
        {.media_type = MANIFEST_OCI},
        {.media_type = MANIFEST_OCI, .digest = "sha256:1"},
        {.media_type = MANIFEST_OCI, .digest = D1, .size = -1},
        {.media_type = MANIFEST_OCI, .digest = D1, .ref_name = "a b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_null(layout_index_put(NULL, 0, &wrong[i], &a, &err));
        assert_int_equal(err.kind, wrong[i].ref_name ? ERR_CONFIG : ERR_BUG);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "v1",         "v1.2.3-rc.1", "a--b", "r.io:5000/team/app:v1@x+y",
        "change_1_x", "a__b",        "_a-",  "a..b"};
    static const char *const bad[] = {"",   "-a", "a@",  "a+---b", "a@:b",     "a//b",
                                      "/a", "a/", "a b", "a\n",    "\xc3\xa4", ".a"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(layout_index_ref_ok(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(layout_index_ref_ok(bad[i]));
    assert_false(layout_index_ref_ok(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version), cmocka_unit_test(test_root),  cmocka_unit_test(test_parse),
        cmocka_unit_test(test_put),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
