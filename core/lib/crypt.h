/*
 * crypt.h - digests, MACs, constant-time comparison and base64 (OpenSSL). All in memory.
 */
#ifndef SLIPWAY_CRYPT_H
#define SLIPWAY_CRYPT_H

#include "core/base/base.h"
#include "core/base/mem.h"

#define CRYPT_SHA256_BYTES 32
#define CRYPT_SHA256_HEX 65  /* with the NUL */
#define CRYPT_DIGEST_TEXT 72 /* "sha256:" and the hex and the NUL */

void crypt_sha256(const void *data, size_t len, unsigned char out[CRYPT_SHA256_BYTES]);
void crypt_sha256_hex(const void *data, size_t len, char out[CRYPT_SHA256_HEX]);
void crypt_digest(const void *data, size_t len, char out[CRYPT_DIGEST_TEXT]); /* "sha256:<hex>" */

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

#endif
