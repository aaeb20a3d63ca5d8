#include "core/lib/crypt.h"

#include "core/base/str.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <pthread.h>

#define CRYPT_PEM_BYTES 16384
#define CRYPT_SIGNATURE_BYTES 72 /* the longest DER of two numbers below P-256's order */

/* What OpenSSL 3 makes slow to look up (a fetch costs as much as hashing a small body), fetched
 * once for the life of the process and only read afterwards. */
static struct {
    pthread_once_t once;
    EVP_MD *sha256;
    EVP_MD *sha512;
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
    crypt.sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    crypt_require(crypt.sha256 && crypt.sha512, "SHA256 or SHA512 is not available");
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

struct crypt_hash {
    EVP_MD_CTX *ctx;
    const EVP_MD *md;
    const char *prefix;
};

static struct crypt_hash *hash_new(const EVP_MD *md, const char *prefix)
{
    struct crypt_hash *h = xcalloc(1, sizeof *h);
    h->ctx = EVP_MD_CTX_new();
    h->md = md;
    h->prefix = prefix;
    crypt_require(h->ctx && EVP_DigestInit_ex2(h->ctx, md, NULL), "a digest's context");
    return h;
}

struct crypt_hash *crypt_hash_new(void)
{
    crypt_ready();
    return hash_new(crypt.sha256, "sha256:");
}

struct crypt_hash *crypt_hash_new_for(const char *digest)
{
    crypt_ready();
    if (str_starts(digest, "sha512:"))
        return hash_new(crypt.sha512, "sha512:");
    return str_starts(digest, "sha256:") ? hash_new(crypt.sha256, "sha256:") : NULL;
}

void crypt_hash_free(struct crypt_hash *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void crypt_hash_update(struct crypt_hash *h, const void *data, size_t len)
{
    if (len)
        crypt_require(EVP_DigestUpdate(h->ctx, data, len), "a digest");
}

void crypt_hash_digest(struct crypt_hash *h, char out[CRYPT_HASH_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    crypt_require(EVP_DigestFinal_ex(h->ctx, digest, &len) && len <= 64 &&
                      EVP_DigestInit_ex2(h->ctx, h->md, NULL),
                  "a digest");
    size_t prefix = strlen(h->prefix);
    memcpy(out, h->prefix, prefix);
    str_hex(digest, len, out + prefix);
}

struct crypt_key {
    EVP_PKEY *key;
};

static int key_refused(struct err *err, const char *why)
{
    /* What OpenSSL left in its queue must not surface in somebody else's call. */
    ERR_clear_error();
    return err_set(err, ERR_CONFIG, 0,
                   "%s; what is wanted is a PEM \"PUBLIC KEY\" of an ECDSA key on P-256, as cosign "
                   "writes into cosign.pub",
                   why);
}

/* The only block of the text, when it is a public key. */
static int read_pem(BIO *in, EVP_PKEY **out, struct err *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    if (PEM_read_bio(in, &name, &header, &der, &len) != 1)
        return key_refused(err, "this is no PEM text");
    bool public = str_eq(name, PEM_STRING_PUBLIC), private = name && strstr(name, "PRIVATE KEY");
    const unsigned char *at = der;
    *out = public ? d2i_PUBKEY(NULL, &at, len) : NULL;
    bool whole = at == der + len;
    if (private)
        OPENSSL_cleanse(der, (size_t)len);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    if (private)
        return key_refused(err, "this is a private key, which does not belong here");
    if (!public)
        return key_refused(err, "this is a PEM block of another kind");
    if (!*out || !whole) {
        EVP_PKEY_free(*out);
        *out = NULL;
        return key_refused(err, "this public key is malformed");
    }
    return 0;
}

static bool another_block(BIO *in)
{
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    bool found = PEM_read_bio(in, &name, &header, &der, &len) == 1;
    if (found) {
        OPENSSL_cleanse(der, (size_t)len);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    return found;
}

static int key_fits(EVP_PKEY *key, struct err *err)
{
    char group[64] = "";
    size_t len = 0;
    if (!EVP_PKEY_is_a(key, "EC"))
        return key_refused(err, "this is a public key of another algorithm than ECDSA");
    if (!EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                        &len) ||
        !str_eq(group, "prime256v1"))
        return key_refused(err, "this ECDSA key is on another curve than P-256");
    return 0;
}

struct crypt_key *crypt_public_key(const char *pem, size_t len, struct err *err)
{
    if (!pem || len == 0 || len > CRYPT_PEM_BYTES) {
        (void)key_refused(err, len ? "this is too long for a key" : "the key is empty");
        return NULL;
    }
    BIO *in = BIO_new_mem_buf(pem, (int)len);
    crypt_require(in != NULL, "a buffer");
    EVP_PKEY *key = NULL;
    int rc = read_pem(in, &key, err);
    if (rc == 0 && another_block(in))
        rc = key_refused(err, "there is more than one PEM block");
    if (rc == 0)
        rc = key_fits(key, err);
    BIO_free(in);
    ERR_clear_error();
    if (rc < 0) {
        EVP_PKEY_free(key);
        return NULL;
    }
    struct crypt_key *k = xcalloc(1, sizeof *k);
    k->key = key;
    return k;
}

void crypt_key_free(struct crypt_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->key);
    free(k);
}

bool crypt_verify_sha256(const struct crypt_key *k, const unsigned char sha256[CRYPT_SHA256_BYTES],
                         const unsigned char *sig_der, size_t sig_len)
{
    crypt_ready();
    if (!k || !sig_der || sig_len == 0 || sig_len > CRYPT_SIGNATURE_BYTES)
        return false;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);
    crypt_require(ctx != NULL, "a key's context");
    /* OpenSSL itself refuses a DER text that it would have written in another way. */
    bool good = EVP_PKEY_verify_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, crypt.sha256) == 1 &&
                EVP_PKEY_verify(ctx, sig_der, sig_len, sha256, CRYPT_SHA256_BYTES) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

bool crypt_verify(const struct crypt_key *k, const void *data, size_t len,
                  const unsigned char *sig_der, size_t sig_len)
{
    unsigned char sha256[CRYPT_SHA256_BYTES];
    crypt_sha256(data, len, sha256);
    return crypt_verify_sha256(k, sha256, sig_der, sig_len);
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

void crypt_wipe_buffer(struct strbuf *b)
{
    if (b->cap)
        crypt_wipe(b->buf, b->cap);
    strbuf_release(b);
}
