#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/bundle.h"
#include "core/lib/crypt.h"

#define PEM                                                                                        \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhrpMb+4dcTCks5nvdB4qmEMO48/4\n"                           \
    "+v6xk293wQTxbqU9S71TJpfPW/ieSWdmHJiNt+T7Jk+8W6jUP5lKcqXheg==\n"                               \
    "-----END PUBLIC KEY-----\n"
#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define PAYLOAD                                                                                    \
    "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbeyJkaWdlc3QiOnsi"     \
    "c2hhMjU2IjoiMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx"     \
    "MTExMTExMSJ9fV0sInByZWRpY2F0ZVR5cGUiOiJodHRwczovL3NpZ3N0b3JlLmRldi9jb3NpZ24vc2lnbi92MSIs"     \
    "InByZWRpY2F0ZSI6e319"
#define SIGNATURE                                                                                  \
    "MEUCIHNgp67f0NA8/ft3u5f792w2Bj3DQqOSTb3bIGPCy2bMAiEAk4cee9GzhyyP0o5HhIWiBZ1vfRL9RqrkJiE/"     \
    "nu5vx6c="
#define TYPE "application/vnd.in-toto+json"
#define MEDIA "\"mediaType\":\"" BUNDLE_TYPE "\","
#define MATERIAL "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"x\"},\"tlogEntries\":[]},"
#define DSSE(payload, type, signatures)                                                            \
    "\"dsseEnvelope\":{\"payload\":\"" payload "\",\"payloadType\":\"" type                        \
    "\",\"signatures\":[" signatures "]}"
#define SIG "{\"sig\":\"" SIGNATURE "\",\"keyid\":\"\"}"
#define HASH "ERERERERERERERERERERERERERERERERERERERERERE="
#define MESSAGE(algorithm, digest, signature)                                                      \
    "\"messageSignature\":{\"messageDigest\":{\"algorithm\":\"" algorithm                          \
    "\",\"digest\":\"" digest "\"},\"signature\":\"" signature "\"}"
#define GOOD "{" MEDIA MATERIAL DSSE(PAYLOAD, TYPE, SIG) "}"

static int read_text(const char *text, struct arena *a, struct bundle *b, struct err *err)
{
    return bundle_read(text, strlen(text), a, b, err);
}

static void test_dsse(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct bundle b;
    struct crypt_key *key CLEANUP_CRYPT_KEY = crypt_public_key(PEM, strlen(PEM), NULL);
    if (read_text(GOOD, &a, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(b.kind, BUNDLE_DSSE);
    assert_string_equal(b.payload_type, TYPE);
    size_t len;
    const void *pae = bundle_pae(&b, &a, &len);
    const char *head = arena_printf(&a, "DSSEv1 28 " TYPE " %zu {\"_type\"", b.payload_len);
    assert_memory_equal(pae, head, strlen(head));
    assert_true(crypt_verify(key, pae, len, b.signature, b.signature_len));
    /* The signature is over both together, not over the payload. */
    assert_false(crypt_verify(key, b.payload, b.payload_len, b.signature, b.signature_len));
    assert_int_equal(bundle_check(&b, D1, BUNDLE_COSIGN_SIGN, &err), 0);
    assert_int_equal(bundle_check(&b, D1, NULL, &err), 0);
    assert_int_equal(bundle_check(&b, D1, "https://slsa.dev/provenance/v1", &err), -1);
    assert_non_null(strstr(err.text, "predicateType"));
    assert_int_equal(bundle_check(&b, D2, NULL, &err), -1);
    assert_non_null(strstr(err.text, D2));
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(bundle_check(&b, "sha512:11", NULL, &err), -1);
    assert_int_equal(bundle_check(&b, "", NULL, &err), -1);
    assert_int_equal(bundle_check(&b, NULL, NULL, &err), -1);
    /* The scheme's own example of the encoding. */
    struct bundle hello = {.payload_type = "http://example.com/HelloWorld",
                           .payload = "hello world",
                           .payload_len = 11};
    pae = bundle_pae(&hello, &a, &len);
    const char *wanted = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_int_equal(len, strlen(wanted));
    assert_memory_equal(pae, wanted, len);
}

static void test_message(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct bundle b;
    if (read_text("{" MEDIA MESSAGE("SHA2_256", HASH, SIGNATURE) "}", &a, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(b.kind, BUNDLE_MESSAGE);
    assert_int_equal(b.signature_len, 71);
    assert_int_equal(b.digest[0], 0x11);
    assert_int_equal(b.digest[31], 0x11);
    assert_int_equal(bundle_check(&b, D1, BUNDLE_COSIGN_SIGN, &err), 0);
    assert_int_equal(bundle_check(&b, D2, NULL, &err), -1);
    assert_non_null(strstr(err.text, "another digest"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "JSON"},
        {"[]", "mediaType"},
        {"{}", "mediaType"},
        {"{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.9+json\"}", "mediaType"},
        {"{" MEDIA "\"x\":1}", "one of dsseEnvelope"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, SIG) "," MESSAGE("SHA2_256", HASH, SIGNATURE) "}",
         "one of dsseEnvelope"},
        {"{" MEDIA "\"dsseEnvelope\":[]}", "one of dsseEnvelope"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, SIG) "," DSSE(PAYLOAD, TYPE, SIG) "}", "JSON"},
        {"{" MEDIA DSSE("", TYPE, SIG) "}", "payload"},
        {"{" MEDIA DSSE("!", TYPE, SIG) "}", "payload"},
        {"{" MEDIA DSSE(PAYLOAD, "", SIG) "}", "payloadType"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, "") "}", "one signature"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, SIG "," SIG) "}", "one signature"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, "{}") "}", "signature is no base64"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, "{\"sig\":\"\"}") "}", "signature is no base64"},
        {"{" MEDIA DSSE(PAYLOAD, TYPE, "7") "}", "signature is no base64"},
        {"{" MEDIA MESSAGE("SHA2_512", HASH, SIGNATURE) "}", "SHA2_256"},
        {"{" MEDIA MESSAGE("SHA2_256", "ERER", SIGNATURE) "}", "wrong length"},
        {"{" MEDIA MESSAGE("SHA2_256", "?", SIGNATURE) "}", "digest is no base64"},
        {"{" MEDIA MESSAGE("SHA2_256", HASH, "") "}", "signature is no base64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct bundle b = {.payload_len = 77};
        assert_int_equal(read_text(table[i].text, &a, &b, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, table[i].says));
        assert_int_equal(b.payload_len, 77);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct bundle b;
    static char big[LIMIT_SIGNED + 2];
    memset(big, ' ', sizeof big);
    memcpy(big, GOOD, strlen(GOOD));
    assert_int_equal(bundle_read(big, LIMIT_SIGNED, &a, &b, NULL), 0);
    assert_int_equal(bundle_read(big, LIMIT_SIGNED + 1, &a, &b, NULL), -1);
    assert_true(bundle_type_ok("application/vnd.dev.sigstore.bundle+json;version=0.2"));
    assert_false(bundle_type_ok("application/json") || bundle_type_ok(NULL));
}

static void test_statements(void **state)
{
    (void)state;
#define HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define V1 "\"_type\":\"https://in-toto.io/Statement/v1\""
#define SIGN ",\"predicateType\":\"" BUNDLE_COSIGN_SIGN "\""
    static const struct {
        const char *type, *payload, *says;
    } table[] = {
        {TYPE, "{" V1 SIGN ",\"subject\":[{\"name\":\"a\",\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         NULL},
        {TYPE,
         "{" V1 SIGN
         ",\"subject\":[{\"digest\":{\"sha512\":\"x\"}},7,{\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         NULL},
        {TYPE,
         "{\"_type\":\"https://in-toto.io/Statement/v0.1\"" SIGN
         ",\"subject\":[{\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         NULL},
        {"text/plain", "{" V1 SIGN ",\"subject\":[{\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         "no in-toto"},
        {TYPE, "{\"_type\":\"x\"" SIGN ",\"subject\":[{\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         "version 1"},
        {TYPE, "{" V1 ",\"subject\":[{\"digest\":{\"sha256\":\"" HEX "\"}}]}", "predicateType"},
        {TYPE, "{" V1 SIGN ",\"subject\":[]}", "no subject"},
        {TYPE, "{" V1 SIGN "}", "no subject"},
        {TYPE, "{" V1 SIGN ",\"subject\":{\"digest\":{\"sha256\":\"" HEX "\"}}}", "no subject"},
        {TYPE, "{" V1 SIGN ",\"subject\":[{\"digest\":{\"sha256\":\"" D1 "\"}}]}", "no subject"},
        {TYPE, "{" V1 SIGN ",\"subject\":[{\"digest\":{\"sha1\":\"" HEX "\"}}]}", "no subject"},
        {TYPE, "{" V1 SIGN ",\"subject\":[],\"subject\":[{\"digest\":{\"sha256\":\"" HEX "\"}}]}",
         "JSON"},
        {TYPE, "x", "JSON"},
        {TYPE, "[]", "version 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        struct bundle b = {.kind = BUNDLE_DSSE,
                           .payload_type = table[i].type,
                           .payload = table[i].payload,
                           .payload_len = strlen(table[i].payload)};
        int rc = bundle_check(&b, D1, BUNDLE_COSIGN_SIGN, &err);
        print_message("%s\n", err.text);
        assert_int_equal(rc, table[i].says ? -1 : 0);
        if (rc == 0)
            continue;
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, table[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dsse),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
