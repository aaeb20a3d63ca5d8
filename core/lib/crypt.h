/*
 * crypt.h - digests, MACs, signatures, constant-time comparison and base64 (OpenSSL). All in
 * memory.
 */
#ifndef SLIPWAY_CRYPT_H
#define SLIPWAY_CRYPT_H

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

#define CRYPT_SHA256_BYTES 32
#define CRYPT_SHA256_HEX 65  /* with the NUL */
#define CRYPT_DIGEST_TEXT 72 /* "sha256:" and the hex and the NUL */

void crypt_sha256(const void *data, size_t len, unsigned char out[CRYPT_SHA256_BYTES]);
void crypt_sha256_hex(const void *data, size_t len, char out[CRYPT_SHA256_HEX]);
void crypt_digest(const void *data, size_t len, char out[CRYPT_DIGEST_TEXT]); /* "sha256:<hex>" */

/*
 * A digest of bytes that come piece by piece. Not to be shared by threads without a lock. Reading
 * it ends it: the next update begins a new one, so that one hash serves many blobs.
 */
struct crypt_hash;

#define CRYPT_HASH_TEXT 136 /* "sha512:", the hex and the NUL */

struct crypt_hash *crypt_hash_new(void); /* SHA-256 */
/* For content that has this digest ("sha256:..." or "sha512:..."); NULL for other algorithms. */
struct crypt_hash *crypt_hash_new_for(const char *digest);
void crypt_hash_free(struct crypt_hash *h); /* NULL is fine */
void crypt_hash_update(struct crypt_hash *h, const void *data, size_t len);
void crypt_hash_digest(struct crypt_hash *h, char out[CRYPT_HASH_TEXT]); /* "sha256:<hex>" */

static inline void cleanup_crypt_hash(struct crypt_hash **h)
{
    crypt_hash_free(*h);
}
#define CLEANUP_CRYPT_HASH CLEANUP(cleanup_crypt_hash)

/* A public key to verify with. Read-only once made: threads may share it. */
struct crypt_key;

/* Reads a PEM "PUBLIC KEY" (SubjectPublicKeyInfo) of an ECDSA key on P-256, what `cosign
 * generate-key-pair` leaves in cosign.pub; comments around it are fine, a second block is not.
 * ERR_CONFIG says what it is instead; the caller adds where it came from. Freed by
 * crypt_key_free. */
struct crypt_key *crypt_public_key(const char *pem, size_t len, struct err *err);
void crypt_key_free(struct crypt_key *k); /* NULL is fine */

static inline void cleanup_crypt_key(struct crypt_key **k)
{
    crypt_key_free(*k);
}
#define CLEANUP_CRYPT_KEY CLEANUP(cleanup_crypt_key)

/* Is this the key's ECDSA signature over the data's SHA-256? The signature is DER, and one value
 * has one spelling: padded numbers and bytes behind the end are refused. False whatever is
 * wrong. */
bool crypt_verify(const struct crypt_key *k, const void *data, size_t len,
                  const unsigned char *sig_der, size_t sig_len);
/* The same for data of which only the SHA-256 is at hand. */
bool crypt_verify_sha256(const struct crypt_key *k, const unsigned char sha256[CRYPT_SHA256_BYTES],
                         const unsigned char *sig_der, size_t sig_len);

void crypt_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                       unsigned char out[CRYPT_SHA256_BYTES]);

/* Equal lengths and bytes; the time does not depend on where they differ. */
bool crypt_equal(const void *a, size_t a_len, const void *b, size_t b_len);
/* The same for texts of any length: compares HMACs under a random key, so length is hidden too. */
bool crypt_equal_text(const char *a, const char *b);

/* Standard base64 with padding, one line. Decoding refuses anything else (NULL); white space at
 * the end is fine; the result is NUL-terminated behind *len. */
char *crypt_base64(struct arena *a, const void *data, size_t len);
unsigned char *crypt_unbase64(struct arena *a, const char *text, size_t *len);

void crypt_wipe(void *p, size_t len); /* never optimised away */
/* Wipes what the buffer holds, and releases it: for CLEANUP where it holds a secret. */
void crypt_wipe_buffer(struct strbuf *b);

#endif
