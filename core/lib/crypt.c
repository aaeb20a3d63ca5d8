#include "core/lib/crypt.h"

#include "core/base/str.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

/* What OpenSSL 3 makes slow to look up (a fetch costs as much as hashing a small body), fetched
 * once for the life of the process and only read afterwards. */
static struct {
    pthread_once_t once;
    EVP_MD *sha256;
    EVP_MAC_CTX *hmac; /* a template that is duplicated for each use */
    unsigned char compare_key[CRYPT_SHA256_BYTES];
} crypt = {.once = PTHREAD_ONCE_INIT};

/* These calls fail only without memory or with a broken OpenSSL installation. A digest that could
 * not be computed must never pass for one, so there is nothing to return. */
static void crypt_require(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "slipway: OpenSSL failed: %s\n", what);
    abort();
}

static void crypt_fetch(void)
{
    crypt.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    crypt_require(crypt.sha256 != NULL, "SHA256 is not available");
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    crypt_require(mac != NULL, "HMAC is not available");
    crypt.hmac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    crypt_require(crypt.hmac && EVP_MAC_CTX_set_params(crypt.hmac, params), "HMAC parameters");
    crypt_require(RAND_bytes(crypt.compare_key, sizeof crypt.compare_key) == 1, "RAND_bytes");
}

static void crypt_ready(void)
{
    crypt_require(pthread_once(&crypt.once, crypt_fetch) == 0, "pthread_once");
}

void crypt_sha256(const void *data, size_t len, unsigned char out[CRYPT_SHA256_BYTES])
{
    crypt_ready();
    crypt_require(EVP_Digest(len ? data : "", len, out, NULL, crypt.sha256, NULL), "SHA256");
}

void crypt_sha256_hex(const void *data, size_t len, char out[CRYPT_SHA256_HEX])
{
    unsigned char digest[CRYPT_SHA256_BYTES];
    crypt_sha256(data, len, digest);
    str_hex(digest, sizeof digest, out);
}

void crypt_digest(const void *data, size_t len, char out[CRYPT_DIGEST_TEXT])
{
    static const char prefix[] = "sha256:";
    memcpy(out, prefix, sizeof prefix - 1);
    crypt_sha256_hex(data, len, out + sizeof prefix - 1);
}

void crypt_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                       unsigned char out[CRYPT_SHA256_BYTES])
{
    crypt_ready();
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(crypt.hmac);
    crypt_require(ctx != NULL, "HMAC context");
    size_t written = 0;
    /* A NULL key means "keep the old one" to OpenSSL; an empty key is a key. */
    bool ok = EVP_MAC_init(ctx, key_len ? key : (const void *)"", key_len, NULL) &&
              EVP_MAC_update(ctx, len ? data : (const void *)"", len) &&
              EVP_MAC_final(ctx, out, &written, CRYPT_SHA256_BYTES);
    EVP_MAC_CTX_free(ctx);
    crypt_require(ok && written == CRYPT_SHA256_BYTES, "HMAC");
}

bool crypt_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || CRYPTO_memcmp(a, b, a_len) == 0);
}

bool crypt_equal_text(const char *a, const char *b)
{
    if (!a || !b)
        return false;
    crypt_ready();
    unsigned char mine[CRYPT_SHA256_BYTES], other[CRYPT_SHA256_BYTES];
    crypt_hmac_sha256(crypt.compare_key, sizeof crypt.compare_key, a, strlen(a), mine);
    crypt_hmac_sha256(crypt.compare_key, sizeof crypt.compare_key, b, strlen(b), other);
    return crypt_equal(mine, sizeof mine, other, sizeof other);
}

char *crypt_base64(struct arena *a, const void *data, size_t len)
{
    crypt_require(len <= INT_MAX / 4 * 3 - 3, "base64 of more than a gigabyte");
    char *out = arena_alloc(a, (len + 2) / 3 * 4 + 1);
    if (len)
        (void)EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

unsigned char *crypt_unbase64(struct arena *a, const char *text, size_t *len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!text)
        return NULL;
    size_t letters = strspn(text, alphabet);
    size_t padding = strspn(text + letters, "=");
    size_t chars = letters + padding;
    if (text[chars + strspn(text + chars, " \t\r\n")] != '\0' || chars % 4 != 0 || padding > 2 ||
        chars > INT_MAX)
        return NULL;
    unsigned char *out = arena_alloc(a, chars / 4 * 3 + 1);
    if (chars == 0) {
        *len = 0;
        return out;
    }
    if (EVP_DecodeBlock(out, (const unsigned char *)text, (int)chars) < 0)
        return NULL;
    size_t bytes = chars / 4 * 3 - padding;
    /* Bits behind the last byte must be zero: one value has one spelling. */
    unsigned char last[5];
    size_t tail = 3 - padding;
    (void)EVP_EncodeBlock(last, out + bytes - tail, (int)tail);
    if (memcmp(last, text + chars - 4, 4) != 0)
        return NULL;
    out[bytes] = '\0';
    *len = bytes;
    return out;
}

void crypt_wipe(void *p, size_t len)
{
    if (p && len)
        OPENSSL_cleanse(p, len);
}
