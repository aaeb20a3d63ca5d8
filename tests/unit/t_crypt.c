#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/lib/crypt.h"

#include <pthread.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void hex_of(const unsigned char *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void test_sha256(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } table[] = {
        {"", EMPTY_SHA256},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char hex[CRYPT_SHA256_HEX], digest[CRYPT_DIGEST_TEXT];
        crypt_sha256_hex(table[i].text, strlen(table[i].text), hex);
        assert_string_equal(hex, table[i].hex);
        crypt_digest(table[i].text, strlen(table[i].text), digest);
        assert_memory_equal(digest, "sha256:", 7);
        assert_string_equal(digest + 7, table[i].hex);
        assert_int_equal(strlen(digest) + 1, CRYPT_DIGEST_TEXT);
    }
    char hex[CRYPT_SHA256_HEX];
    crypt_sha256_hex(NULL, 0, hex);
    assert_string_equal(hex, EMPTY_SHA256);
}

static void test_hmac(void **state)
{
    (void)state;
    unsigned char long_key[131];
    memset(long_key, 0xaa, sizeof long_key);
    const struct {
        const void *key;
        size_t key_len;
        const char *text, *hex;
    } table[] = {
        /* RFC 4231, cases 2 and 6, and an empty key with an empty text */
        {"Jefe", 4, "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {long_key, sizeof long_key, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"", 0, "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    /* Twice: the second round must not see the key of the one before. */
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        size_t row = i % ARRAY_LEN(table);
        unsigned char mac[CRYPT_SHA256_BYTES];
        char hex[CRYPT_SHA256_HEX];
        crypt_hmac_sha256(table[row].key, table[row].key_len, table[row].text,
                          strlen(table[row].text), mac);
        hex_of(mac, sizeof mac, hex);
        assert_string_equal(hex, table[row].hex);
    }
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(crypt_equal("abc", 3, "abc", 3));
    assert_false(crypt_equal("abc", 3, "abd", 3));
    assert_false(crypt_equal("abc", 3, "abc", 2));
    assert_true(crypt_equal(NULL, 0, NULL, 0));
    assert_true(crypt_equal_text("secret", "secret"));
    assert_true(crypt_equal_text("", ""));
    assert_false(crypt_equal_text("secret", "secre"));
    assert_false(crypt_equal_text("secret", "secretx"));
    assert_false(crypt_equal_text("secret", ""));
    assert_false(crypt_equal_text(NULL, NULL));
    assert_false(crypt_equal_text("", NULL));
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *coded;
    } table[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe", "//4="},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        size_t len = 99;
        assert_string_equal(crypt_base64(&a, table[i].plain, strlen(table[i].plain)),
                            table[i].coded);
        const unsigned char *back = crypt_unbase64(&a, table[i].coded, &len);
        assert_non_null(back);
        assert_int_equal(len, strlen(table[i].plain));
        assert_string_equal((const char *)back, table[i].plain);
    }
    size_t len;
    const unsigned char *zeros = crypt_unbase64(&a, "AAAA\r\n \t", &len);
    assert_non_null(zeros);
    assert_int_equal(len, 3);
    assert_memory_equal(zeros, "\0\0\0", 4);
    arena_release(&a);
}

static void test_unbase64_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "A",    "AB",       "ABC",      "ABCDE", "A===",     "====",  "=",
        "AB=C", "AB=A=",    " QUJD",    "QU JD", "QUJ\n\nD", "QUJD=", "QUJD====",
        "-_-_", "QUJD\x01", "Zg==Zg==", "Zh==",  "Zm9=",     "Zg==x", "QUJD\xc3\xa4",
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t len;
        if (crypt_unbase64(&a, bad[i], &len))
            fail_msg("'%s' was decoded", bad[i]);
    }
    size_t len;
    assert_null(crypt_unbase64(&a, NULL, &len));
    arena_release(&a);
}

static void test_wipe(void **state)
{
    (void)state;
    char secret[] = "hunter2";
    crypt_wipe(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++)
        assert_int_equal(secret[i], 0);
    crypt_wipe(NULL, 0);
}

static void *hash_much(void *failed)
{
    for (int i = 0; i < 500; i++) {
        unsigned char mac[CRYPT_SHA256_BYTES];
        char hex[CRYPT_SHA256_HEX];
        crypt_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
        hex_of(mac, sizeof mac, hex);
        if (strncmp(hex, "5bdcc146", 8) != 0 || !crypt_equal_text("a", "a"))
            __atomic_store_n((int *)failed, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_much, &failed), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), /* first, so that threads race to the set-up */
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_unbase64_refuses),
        cmocka_unit_test(test_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
