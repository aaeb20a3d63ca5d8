#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/simplesigning.h"
#include "core/lib/crypt.h"

#define PEM                                                                                        \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhrpMb+4dcTCks5nvdB4qmEMO48/4\n"                           \
    "+v6xk293wQTxbqU9S71TJpfPW/ieSWdmHJiNt+T7Jk+8W6jUP5lKcqXheg==\n"                               \
    "-----END PUBLIC KEY-----\n"
#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D512                                                                                       \
    "sha512:11111111111111111111111111111111111111111111111111111111111111111111111111111111"      \
    "111111111111111111111111111111111111111111111111"
#define TYPE "\"type\":\"cosign container image signature\""
#define PAYLOAD(digest)                                                                            \
    "{\"critical\":{\"identity\":{\"docker-reference\":\"r.io/app\"},\"image\":{"                  \
    "\"docker-manifest-digest\":\"" digest "\"}," TYPE "},\"optional\":null}"
#define SIGNATURE                                                                                  \
    "MEUCIFRyHavhk4R69zPDZwsy7rAd/qaJcNcekO3AJlpYqnTwAiEA8DDQ5af80Ed+oaIEhXqzjuArae9T6zY+fmq1"     \
    "AfQ4O9E="

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says; /* NULL: good */
    } table[] = {
        {PAYLOAD(D1), NULL},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D1 "\"}," TYPE "}}", NULL},
        {"{\"optional\":{\"creator\":\"x\",\"timestamp\":7},\"critical\":{" TYPE
         ",\"identity\":{},\"image\":{\"docker-manifest-digest\":\"" D1 "\"}}}\n",
         NULL},
        {PAYLOAD(D2), "another digest than " D1 ": " D2},
        {PAYLOAD(D1 "1"), "another digest"},
        {PAYLOAD("\\u001b[2J"), "another digest"},
        {PAYLOAD(""), "another digest"},
        {"", "JSON"},
        {"{", "JSON"},
        {PAYLOAD(D1) " {}", "JSON"},
        {PAYLOAD(D1) "\n" PAYLOAD(D2), "JSON"},
        {"[]", "no critical"},
        {"null", "no critical"},
        {"{}", "no critical"},
        {"{\"critical\":{" TYPE "}}", "no critical"},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D1 "\"}}}", "no critical"},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":[\"" D1 "\"]}," TYPE "}}",
         "no critical"},
        {"{\"Critical\":{\"image\":{\"docker-manifest-digest\":\"" D1 "\"}," TYPE "}}",
         "no critical"},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D1
         "\"},\"type\":\"atomic container signature\"}}",
         "not of type"},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D1
         "\"},\"type\":\"Cosign container image signature\"}}",
         "not of type"},
        /* Two readers of a document with a key twice may see two digests. */
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D2
         "\",\"docker-manifest-digest\":\"" D1 "\"}," TYPE "}}",
         "JSON"},
        {"{\"critical\":{},\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D1 "\"}," TYPE
         "}}",
         "JSON"},
        {"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" D2
         "\",\"docker-manifest-\\u0064igest\":\"" D1 "\"}," TYPE "}}",
         "JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        int rc = simplesigning_check(table[i].text, strlen(table[i].text), D1, &err);
        print_message("%s\n", err.text);
        assert_int_equal(rc, table[i].says ? -1 : 0);
        if (rc == 0)
            continue;
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, table[i].says));
        assert_null(strpbrk(err.text, "\r\n\x1b"));
    }
    assert_int_equal(simplesigning_check(PAYLOAD(D512), strlen(PAYLOAD(D512)), D512, NULL), 0);
    assert_int_equal(simplesigning_check(PAYLOAD(""), strlen(PAYLOAD("")), "", NULL), -1);
    assert_int_equal(simplesigning_check(PAYLOAD(""), strlen(PAYLOAD("")), NULL, NULL), -1);
    static char big[LIMIT_SIGNED + 2];
    memset(big, ' ', sizeof big);
    memcpy(big, PAYLOAD(D1), strlen(PAYLOAD(D1)));
    assert_int_equal(simplesigning_check(big, LIMIT_SIGNED, D1, NULL), 0);
    assert_int_equal(simplesigning_check(big, LIMIT_SIGNED + 1, D1, NULL), -1);
}

/* The whole way, with a signature that the openssl command line made. */
static void test_signed(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct crypt_key *key CLEANUP_CRYPT_KEY = crypt_public_key(PEM, strlen(PEM), NULL);
    size_t len;
    const unsigned char *der = crypt_unbase64(&a, SIGNATURE, &len);
    assert_true(crypt_verify(key, PAYLOAD(D1), strlen(PAYLOAD(D1)), der, len));
    assert_false(crypt_verify(key, PAYLOAD(D2), strlen(PAYLOAD(D2)), der, len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
