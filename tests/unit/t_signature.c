#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/fs.h"
#include "core/registry/signature.h"
#include "tests/unit/signature_help.h"

#include <errno.h>

static int verify(struct arena *a, const char *digest, struct err *err)
{
    const struct registry_access access = {0};
    const struct crypt_key *const keys[] = {t.keys[OURS]};
    *err = (struct err)ERR_INIT;
    int rc = signature_verify(t.client.registry, a, t.client.conf.host, NAME, &access, digest, keys,
                              1, err);
    print_message("%d %s\n", rc, err->text);
    return rc;
}

static void expect(struct arena *a, const char *digest, enum err_kind kind, const char *says)
{
    struct err err;
    int rc = verify(a, digest, &err);
    assert_int_equal(rc, kind == ERR_NONE ? 0 : -1);
    assert_int_equal(err.kind, kind);
    if (kind == ERR_NONE)
        return;
    if (!strstr(err.text, says) || !strstr(err.text, digest) || !strstr(err.text, NAME))
        fail_msg("'%s' is not in: %s", says, err.text);
}

static void test_simple(void **state)
{
    (void)state;
    enum mangle { AS_IT_IS, NO_NOTE, NO_BASE64, NO_BYTES, CUT_DER, LONG_DER, MONSTER, ALTERED };
    static const struct {
        int who;
        bool other_image;
        const char *type;
        enum mangle mangle;
        const char *says; /* NULL: it counts */
    } table[] = {
        {OURS, false, COSIGN_TYPE, AS_IT_IS, NULL},
        {THEIRS, false, COSIGN_TYPE, AS_IT_IS, "not by a key that counts"},
        {OURS, true, COSIGN_TYPE, AS_IT_IS, "signed by a key that counts, but what was signed is"},
        {THEIRS, true, COSIGN_TYPE, AS_IT_IS, "not by a key that counts"},
        {OURS, false, "atomic container signature", AS_IT_IS, "but the signed document is not of"},
        {OURS, false, COSIGN_TYPE, NO_NOTE, "has no signature"},
        {OURS, false, COSIGN_TYPE, NO_BASE64, "not base64"},
        {OURS, false, COSIGN_TYPE, NO_BYTES, "not by a key that counts"},
        {OURS, false, COSIGN_TYPE, CUT_DER, "not by a key that counts"},
        {OURS, false, COSIGN_TYPE, LONG_DER, "not by a key that counts"},
        {OURS, false, COSIGN_TYPE, MONSTER, "monstrous"},
        {OURS, false, COSIGN_TYPE, ALTERED, "not by a key that counts"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        size_t len;
        const char *digest = new_image(&a), *other = new_image(&a);
        const char *text = payload(&a, table[i].other_image ? other : digest, table[i].type);
        const char *der = sign_der(&a, table[i].who, text, &len);
        char *longer = arena_alloc(&a, len + 1); /* with a zero at its end */
        memcpy(longer, der, len);
        char *monster = arena_alloc(&a, LIMIT_SIGNATURE + 5);
        memset(monster, 'A', LIMIT_SIGNATURE + 4);
        const char *signatures[] = {
            [AS_IT_IS] = crypt_base64(&a, der, len),
            [NO_NOTE] = NULL,
            [NO_BASE64] = "hello, world",
            [NO_BYTES] = "",
            [CUT_DER] = crypt_base64(&a, der, len - 1),
            [LONG_DER] = crypt_base64(&a, longer, len + 1),
            [MONSTER] = monster,
            [ALTERED] = crypt_base64(&a, der, len),
        };
        if (table[i].mangle == ALTERED)
            text = arena_printf(&a, "%s ", text);
        put_tag(&a, digest, layer(&a, SIMPLESIGNING_LAYER, text, signatures[table[i].mangle]));
        print_message("row %zu: ", i);
        expect(&a, digest, table[i].says ? ERR_PERM : ERR_NONE, table[i].says);
    }
}

static void test_bundles(void **state)
{
    (void)state;
    static const struct {
        int who;
        bool other_image;
        const char *pae_type, *payload_type, *statement, *predicate;
        const char *says; /* NULL: it counts */
    } table[] = {
        {OURS, false, IN_TOTO, IN_TOTO, STATEMENT, BUNDLE_COSIGN_SIGN, NULL},
        {THEIRS, false, IN_TOTO, IN_TOTO, STATEMENT, BUNDLE_COSIGN_SIGN, "not by a key"},
        {OURS, true, IN_TOTO, IN_TOTO, STATEMENT, BUNDLE_COSIGN_SIGN,
         "signed by a key that counts, but the signed statement has no subject"},
        {OURS, false, IN_TOTO, IN_TOTO, STATEMENT, "https://slsa.dev/provenance/v1",
         "predicateType"},
        {OURS, false, IN_TOTO, IN_TOTO, "https://example.org/x", BUNDLE_COSIGN_SIGN,
         "no in-toto statement"},
        {OURS, false, "text/plain", "text/plain", STATEMENT, BUNDLE_COSIGN_SIGN,
         "no in-toto statement"},
        {OURS, false, "text/plain", IN_TOTO, STATEMENT, BUNDLE_COSIGN_SIGN, "not by a key"},
        {OURS, false, IN_TOTO, "text/plain", STATEMENT, BUNDLE_COSIGN_SIGN, "not by a key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        const char *digest = new_image(&a), *other = new_image(&a);
        const char *text = statement(&a, table[i].statement, table[i].other_image ? other : digest,
                                     table[i].predicate);
        const char *body = bundle(&a, table[i].who, table[i].pae_type, table[i].payload_type, text);
        put_referrer(&a, digest, BUNDLE_TYPE, BUNDLE_TYPE, layer(&a, BUNDLE_TYPE, body, NULL));
        print_message("row %zu: ", i);
        expect(&a, digest, table[i].says ? ERR_PERM : ERR_NONE, table[i].says);
    }
}

static void test_odd_bundles(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *digest = new_image(&a), *image = arena_printf(&a, "image %d", t.images);
    unsigned char hash[CRYPT_SHA256_BYTES];
    crypt_sha256(image, strlen(image), hash);
    const struct {
        const char *body, *says;
    } table[] = {
        {"{\"mediaType\":", "no valid JSON"},
        {"{}", "mediaType"},
        {arena_printf(&a,
                      "{\"mediaType\":\"" BUNDLE_TYPE "\",\"messageSignature\":{\"messageDigest\":{"
                      "\"algorithm\":\"SHA2_256\",\"digest\":\"%s\"},\"signature\":\"%s\"}}",
                      crypt_base64(&a, hash, sizeof hash), sign(&a, OURS, image)),
         "does not say that an image was signed"},
        {"{\"mediaType\":\"" BUNDLE_TYPE "\",\"dsseEnvelope\":{\"payload\":\"!\",\"payloadType\":"
         "\"" IN_TOTO "\",\"signatures\":[{\"sig\":\"AAAA\"}]}}",
         "no base64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        put_referrer(&a, digest, BUNDLE_TYPE, BUNDLE_TYPE,
                     layer(&a, BUNDLE_TYPE, table[i].body, NULL));
        expect(&a, digest, ERR_PERM, table[i].says);
    }
}

/* However the list of referrers calls it. */
static void test_listed_types(void **state)
{
    (void)state;
    static const struct {
        const char *listed;
        bool counts;
    } table[] = {
        {BUNDLE_TYPE, true},
        {ARTIFACT_SIGNATURE, true},
        {"application/vnd.oci.empty.v1+json", true}, /* cosign before 2.6 */
        {NULL, true},
        {"application/spdx+json", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        const char *digest = new_image(&a);
        const char *text = statement(&a, STATEMENT, digest, BUNDLE_COSIGN_SIGN);
        put_referrer(&a, digest, ARTIFACT_SIGNATURE, table[i].listed,
                     i == 1
                         ? simple_layer(&a, OURS, digest)
                         : layer(&a, BUNDLE_TYPE, bundle(&a, OURS, IN_TOTO, IN_TOTO, text), NULL));
        expect(&a, digest, table[i].counts ? ERR_NONE : ERR_PERM, "is not signed");
    }
}

/* By the referrers API, which the fake can do as well. */
static void test_referrers_api(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *digest = new_image(&a);
    const char *text = statement(&a, STATEMENT, digest, BUNDLE_COSIGN_SIGN);
    control(&t.f->fake, "config", "{\"referrers\":\"yes\"}");
    expect(&a, digest, ERR_PERM, "is not signed");
    const char *more = arena_printf(&a,
                                    ",\"artifactType\":\"" BUNDLE_TYPE
                                    "\",\"subject\":{\"mediaType\":\"%s\",\"digest\":\"%s\","
                                    "\"size\":7}",
                                    MANIFEST_OCI, digest);
    (void)put_item(
        &a, "store", "x", MANIFEST_OCI,
        manifest(&a, layer(&a, BUNDLE_TYPE, bundle(&a, OURS, IN_TOTO, IN_TOTO, text), NULL), more));
    expect(&a, digest, ERR_NONE, NULL);
    control(&t.f->fake, "config", "{\"referrers\":\"404\"}");
    expect(&a, digest, ERR_PERM, "is not signed");
}

static void test_several(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *digest = new_image(&a), *other = new_image(&a);
    const char *bad = layer(&a, SIMPLESIGNING_LAYER, "{}", "AAAA");
    const char *replayed = simple_layer(&a, OURS, other);
    const char *foreign = simple_layer(&a, THEIRS, digest);
    const char *good = simple_layer(&a, OURS, digest);
    put_tag(&a, digest, arena_printf(&a, "%s,%s,%s,%s", bad, foreign, replayed, good));
    expect(&a, digest, ERR_NONE, NULL);
    /* The most telling reason is told, wherever it stands. */
    put_tag(&a, digest, arena_printf(&a, "%s,%s,%s", bad, replayed, foreign));
    expect(&a, digest, ERR_PERM, other);
    /* What one way has not, the other may have. */
    put_referrer(&a, digest, ARTIFACT_SIGNATURE, ARTIFACT_SIGNATURE, good);
    expect(&a, digest, ERR_NONE, NULL);
    /* Any of several keys. */
    const struct registry_access access = {0};
    const struct crypt_key *const keys[] = {t.keys[THEIRS], t.keys[OURS]};
    struct err err = ERR_INIT;
    assert_int_equal(signature_verify(t.client.registry, &a, t.client.conf.host, NAME, &access,
                                      digest, keys, 2, &err),
                     0);
    assert_int_equal(signature_verify(t.client.registry, &a, t.client.conf.host, NAME, &access,
                                      digest, keys, 0, &err),
                     -1);
    assert_int_equal(err.kind, ERR_BUG);
}

static void test_too_many(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *digest = new_image(&a);
    const char *foreign = layer(&a, SIMPLESIGNING_LAYER, "{}", "AAAA"), *layers = foreign;
    for (int i = 1; i < LIMIT_SIGNATURE_LAYERS - 1; i++)
        layers = arena_printf(&a, "%s,%s", layers, foreign);
    const char *good = simple_layer(&a, OURS, digest);
    put_tag(&a, digest, arena_printf(&a, "%s,%s", layers, good));
    expect(&a, digest, ERR_NONE, NULL);
    put_tag(&a, digest, arena_printf(&a, "%s,%s,%s", layers, foreign, good));
    expect(&a, digest, ERR_PERM, "there may be more");
}

static void test_odd_tags(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err;
    const char *digest = new_image(&a), *tag = tag_of(&a, digest, ".sig");
    assert_int_equal(verify(&a, digest, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(err.code, ENOENT);
    assert_non_null(strstr(err.text, tag));
    (void)put_item(&a, "store", tag, MANIFEST_OCI, "nonsense");
    expect(&a, digest, ERR_PERM, tag);
    (void)put_item(&a, "store", tag, MANIFEST_OCI_INDEX,
                   arena_printf(&a, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[]}",
                                MANIFEST_OCI_INDEX));
    expect(&a, digest, ERR_PERM, "this is an index");
    put_tag(&a, digest, layer(&a, "application/vnd.oci.image.layer.v1.tar", "x", "AAAA"));
    expect(&a, digest, ERR_PERM, "there is no signature in it");
    /* A document larger than any that cosign writes is not even fetched whole. */
    char *big = arena_alloc(&a, LIMIT_SIGNED_SIMPLE + 2);
    memset(big, ' ', LIMIT_SIGNED_SIMPLE + 1);
    put_tag(&a, digest, layer(&a, SIMPLESIGNING_LAYER, big, sign(&a, OURS, big)));
    expect(&a, digest, ERR_PERM, tag);
    /* The payload that the layer names is not there. */
    const char *text = payload(&a, digest, COSIGN_TYPE);
    put_tag(&a, digest,
            arena_printf(&a,
                         "{\"mediaType\":\"" SIMPLESIGNING_LAYER "\",\"digest\":\"sha256:%064d\","
                         "\"size\":%zu,\"annotations\":{\"dev.cosignproject.cosign/signature\":"
                         "\"%s\"}}",
                         3, strlen(text), sign(&a, OURS, text)));
    expect(&a, digest, ERR_PERM, tag);
}

/* "Could not ask" is never "not signed", and a good signature needs no second opinion. */
static void test_trouble(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *digest = new_image(&a);
    control(&t.f->fake, "rule", "{\"path\":\"\\\\.sig\",\"status\":503}");
    expect(&a, digest, ERR_TEMP, "looking for signatures");
    control(&t.f->fake, "rule", "{\"path\":\"/referrers/\",\"status\":503}");
    expect(&a, digest, ERR_TEMP, "looking for signatures");
    put_tag(&a, digest, simple_layer(&a, OURS, digest));
    control(&t.f->fake, "rule", "{\"path\":\"/blobs/\",\"status\":503}");
    expect(&a, digest, ERR_TEMP, "looking for signatures");
    /* Other bytes than the layer names. */
    const char *forged = payload(&a, digest, COSIGN_TYPE);
    struct js *rule CLEANUP_JS = js_object();
    js_put_str(rule, "path", "/blobs/");
    js_put_int(rule, "status", 200);
    js_put_str(rule, "body", arena_printf(&a, "%.*s]", (int)strlen(forged) - 1, forged));
    control(&t.f->fake, "rule", js_dump(rule, &a));
    expect(&a, digest, ERR_PERM, tag_of(&a, digest, ".sig"));
    (void)requests(&a, &t.f->fake);
    expect(&a, digest, ERR_NONE, NULL);
    assert_string_equal(requests(&a, &t.f->fake), "GET GET");
}

static int open_all(void **state)
{
    char dir[] = "/tmp/slipway-t-signature-XXXXXX";
    if (!mkdtemp(dir) || set_up(state) != 0)
        return -1;
    (void)snprintf(t.dir, sizeof t.dir, "%s", dir);
    t.f = *state;
    make_key(OURS);
    make_key(THEIRS);
    control(&t.f->fake, "config", USUAL);
    control(&t.f->fake, "config", "{\"referrers\":\"404\"}");
    client_open(&t.client, t.f->fake.host, NULL, NULL);
    return 0;
}

static int close_all(void **state)
{
    struct err err = ERR_INIT;
    client_close(&t.client);
    crypt_key_free(t.keys[OURS]);
    crypt_key_free(t.keys[THEIRS]);
    return fs_remove_tree(t.dir, &err) | tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),        cmocka_unit_test(test_bundles),
        cmocka_unit_test(test_odd_bundles),   cmocka_unit_test(test_listed_types),
        cmocka_unit_test(test_referrers_api), cmocka_unit_test(test_several),
        cmocka_unit_test(test_too_many),      cmocka_unit_test(test_odd_tags),
        cmocka_unit_test(test_trouble),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
