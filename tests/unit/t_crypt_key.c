#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/lib/crypt.h"

#include <pthread.h>

#define PEM(body) "-----BEGIN PUBLIC KEY-----\n" body "-----END PUBLIC KEY-----\n"
#define MINE                                                                                       \
    PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhrpMb+4dcTCks5nvdB4qmEMO48/4\n"                       \
        "+v6xk293wQTxbqU9S71TJpfPW/ieSWdmHJiNt+T7Jk+8W6jUP5lKcqXheg==\n")
#define OTHER                                                                                      \
    PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZA+bBz/9t7XTl02Cb9638D4ZqAeK\n"                       \
        "cunCOHBGEGdIq16nAlgxanRft0Z86rTfQ7tOOZFOw+fz89FI8J60/4aFpQ==\n")
#define P384                                                                                       \
    PEM("MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnIfWnrwRuNsJ+ymJEKjV57aLaQsBBdy/\n"                       \
        "NojP9/Og9+w3vI0uW3v+D8c0NhRQzwgkoGeLrxzqo9CnD6GlhssN7dVLawx7zXm2\n"                       \
        "kh/2+0Hbfn9gx1lJIn/AP/DtKKO8JEz0\n")
#define K256                                                                                       \
    PEM("MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE4O8E/Hcu+JcmCgeiKIpiIY/LMDVs2kAj\n"                       \
        "Kkx2IMihooTCmIoJU9KoBSIv0gJ+AwHUd2Aw6UujFRg6P9YXGKEhUw==\n")
#define RSA                                                                                        \
    PEM("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC9+eKa2Gq30a+hVarmCE4ie9YF\n"                       \
        "7bOrJ8kH7ifaUQ7kL2FI2wFk+llmLw7NJg3iHf+psccKKaT63ObnzEmbsFUx58UT\n"                       \
        "GuUOGfsYeg/Ityd15yTywkzuHmx+V+ClSn6gPBghfjbIzONAvuwwPS/U65p22Plf\n"                       \
        "bX9Mptq4QfQWMBuJhQIDAQAB\n")
#define ED25519 PEM("MCowBQYDK2VwAyEA9MwuwV4hlVmejkhDbmMPPxm4OK8M7PEOQsgL+mRnXcw=\n")
/* The last byte of the point is another one: it is not on the curve. */
#define OFF_CURVE                                                                                  \
    PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhrpMb+4dcTCks5nvdB4qmEMO48/4\n"                       \
        "+v6xk293wQTxbqU9S71TJpfPW/ieSWdmHJiNt+T7Jk+8W6jUP5lKcqXheQ==\n")

#define TEXT "what is signed"
#define R "d594069a3c848c1602d96d45e76a8af6d12c49e2766915d676e71b23ca9ed35f"
#define S "c47b6d154e16d4f1f3e80a467bd27d11be9b8b27c868448468dd264d2304b3b1"
#define SIGNATURE "3046022100" R "022100" S

static struct crypt_key *key_of(const char *pem)
{
    struct err err = ERR_INIT;
    struct crypt_key *k = crypt_public_key(pem, strlen(pem), &err);
    if (!k)
        fail_msg("%s", err.text);
    return k;
}

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        const char *pem, *says; /* NULL: it is a key */
    } table[] = {
        {MINE, NULL},
        {"A comment.\n" MINE "and another\n", NULL},
        {"", "empty"},
        {"hello", "no PEM"},
        {"-----BEGIN PUBLIC KEY-----\n", "no PEM"},
        {PEM(""), "no PEM"},
        {PEM("AAAA\n"), "malformed"},
        {OFF_CURVE, "malformed"},
        {P384, "curve"},
        {K256, "curve"},
        {RSA, "algorithm"},
        {ED25519, "algorithm"},
        {MINE OTHER, "more than one"},
        {MINE MINE, "more than one"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private"},
        {"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n"
         "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
         "private"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "another kind"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        struct crypt_key *k CLEANUP_CRYPT_KEY =
            crypt_public_key(table[i].pem, strlen(table[i].pem), &err);
        print_message("%zu: %s\n", i, err.text);
        assert_int_equal(k == NULL, table[i].says != NULL);
        if (k)
            continue;
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, table[i].says));
        assert_null(strpbrk(err.text, "\r\n"));
    }
    struct err err = ERR_INIT;
    static char big[1 << 20];
    memset(big, 'a', sizeof big);
    assert_null(crypt_public_key(big, sizeof big, &err));
    assert_non_null(strstr(err.text, "too long"));
    assert_null(crypt_public_key(NULL, 0, NULL));
    crypt_key_free(NULL);
}

static bool verify(const struct crypt_key *k, const char *text, const char *hex)
{
    unsigned char sig[200];
    size_t len = strlen(hex) / 2;
    assert_true(len <= sizeof sig && str_unhex(hex, sig, len));
    return crypt_verify(k, text, strlen(text), sig, len);
}

static void test_verify(void **state)
{
    (void)state;
    struct crypt_key *mine CLEANUP_CRYPT_KEY = key_of(MINE);
    struct crypt_key *other CLEANUP_CRYPT_KEY = key_of(OTHER);
    /* Twice: nothing of the first may be left behind. */
    for (int i = 0; i < 2; i++) {
        assert_true(verify(mine, TEXT, SIGNATURE));
        assert_false(verify(other, TEXT, SIGNATURE));
        assert_false(verify(mine, TEXT ".", SIGNATURE));
        assert_false(verify(mine, "", SIGNATURE));
    }
    unsigned char sha256[CRYPT_SHA256_BYTES], sig[72];
    assert_true(str_unhex(SIGNATURE, sig, sizeof sig));
    crypt_sha256(TEXT, strlen(TEXT), sha256);
    assert_true(crypt_verify_sha256(mine, sha256, sig, sizeof sig));
    sha256[31] ^= 1;
    assert_false(crypt_verify_sha256(mine, sha256, sig, sizeof sig));
    for (size_t i = 0; i < sizeof sig; i++)
        assert_false(crypt_verify(mine, TEXT, strlen(TEXT), sig, i));
    for (size_t i = 0; i < sizeof sig * 8; i++) {
        sig[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_false(crypt_verify(mine, TEXT, strlen(TEXT), sig, sizeof sig));
        sig[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    assert_true(crypt_verify(mine, TEXT, strlen(TEXT), sig, sizeof sig));
    assert_false(crypt_verify(mine, TEXT, strlen(TEXT), NULL, 0));
    assert_false(crypt_verify(NULL, TEXT, strlen(TEXT), sig, sizeof sig));
}

static void test_spelling(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "30",
        "3000",
        "30060201000201"
        "00", /* both zero */
        "3006020101020101",
        SIGNATURE "00",              /* a byte behind the end */
        "308146022100" R "022100" S, /* a long form of a short length */
        "30470222"
        "0000" R "022100" S, /* a padded number */
        "3044"
        "0220" R "0220" S,                /* negative numbers */
        "3080022100" R "022100" S "0000", /* indefinite length */
        R S,                              /* the two numbers alone */
        "3045022100" R "022100" S,        /* a length too short */
        "3047022100" R "022100" S,        /* and too long */
    };
    struct crypt_key *mine CLEANUP_CRYPT_KEY = key_of(MINE);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_false(verify(mine, TEXT, bad[i]));
    }
}

#define ABC256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                                     \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                      \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void test_hash(void **state)
{
    (void)state;
    char text[CRYPT_HASH_TEXT];
    struct crypt_hash *h CLEANUP_CRYPT_HASH = crypt_hash_new();
    crypt_hash_digest(h, text);
    assert_string_equal(text, "sha256:"
                              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (int i = 0; i < 2; i++) { /* reading it begins a new one */
        crypt_hash_update(h, "a", 1);
        crypt_hash_update(h, NULL, 0);
        crypt_hash_update(h, "bc", 2);
        crypt_hash_digest(h, text);
        assert_string_equal(text, ABC256);
    }
    struct crypt_hash *h512 CLEANUP_CRYPT_HASH = crypt_hash_new_for(ABC512);
    crypt_hash_update(h512, "abc", 3);
    crypt_hash_digest(h512, text);
    assert_string_equal(text, ABC512);
    assert_int_equal(strlen(text) + 1, CRYPT_HASH_TEXT);
    struct crypt_hash *h256 CLEANUP_CRYPT_HASH = crypt_hash_new_for(ABC256);
    crypt_hash_update(h256, "abc", 3);
    crypt_hash_digest(h256, text);
    assert_string_equal(text, ABC256);
    assert_null(crypt_hash_new_for("md5:900150983cd24fb0d6963f7d28e17f72"));
    assert_null(crypt_hash_new_for(""));
    assert_null(crypt_hash_new_for(NULL));
    crypt_hash_free(NULL);
}

/* One key serves many threads. */
static void *verify_much(void *key)
{
    for (int i = 0; i < 50; i++)
        if (!verify(key, TEXT, SIGNATURE) || verify(key, TEXT "x", SIGNATURE))
            return key;
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct crypt_key *mine CLEANUP_CRYPT_KEY = key_of(MINE);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_much, mine), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),     cmocka_unit_test(test_verify),
        cmocka_unit_test(test_spelling), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
