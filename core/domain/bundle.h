/*
 * bundle.h - a sigstore bundle (protobuf-specs' sigstore_bundle.proto in protobuf's JSON), which
 * cosign 3 attaches to an image as a referrer. Reading only: whoever verifies takes the signature
 * and what it is over, asks crypt, and then asks what was signed. Pure.
 */
#ifndef SLIPWAY_BUNDLE_H
#define SLIPWAY_BUNDLE_H

#include "core/base/err.h"
#include "core/base/mem.h"

#define BUNDLE_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"

/* What `cosign sign` says of an image; other predicates are attestations: no approval. */
#define BUNDLE_COSIGN_SIGN "https://sigstore.dev/cosign/sign/v1"

enum bundle_kind {
    BUNDLE_MESSAGE, /* the signature is over what has this digest */
    BUNDLE_DSSE     /* the signature is over bundle_pae(payload type, payload) */
};

struct bundle {
    enum bundle_kind kind;
    const unsigned char *signature; /* DER for ECDSA; the first of a DSSE envelope's */
    size_t signature_len;
    unsigned char digest[32]; /* BUNDLE_MESSAGE: SHA-256 */
    const char *payload_type; /* BUNDLE_DSSE: "application/vnd.in-toto+json" */
    const void *payload;      /* BUNDLE_DSSE, NUL-terminated behind payload_len */
    size_t payload_len;
};

/* Is this the media type of a bundle, any version that is read (0.1, 0.2, 0.3)? */
bool bundle_type_ok(const char *media_type);

/* Reads a bundle of at most LIMIT_SIGNED. ERR_PERM: no JSON, another version, neither or both of
 * the two kinds, another digest than SHA-256, bad base64, not exactly one signature. */
int bundle_read(const void *bytes, size_t len, struct arena *a, struct bundle *out,
                struct err *err);

/* The bytes that a DSSE signature is over (secure-systems-lab/dsse, "PAE"). */
const void *bundle_pae(const struct bundle *b, struct arena *a, size_t *len);

/*
 * Does what was signed speak of this manifest ("sha256:<hex>")? BUNDLE_MESSAGE: the digest is this
 * one. BUNDLE_DSSE: an in-toto statement with a subject of this SHA-256, and with this predicate
 * type unless that is NULL. ERR_PERM says why not.
 */
int bundle_check(const struct bundle *b, const char *digest, const char *predicate_type,
                 struct err *err);

#endif
