/*
 * simplesigning.h - what a cosign signature signs (cosign's SIGNATURE_SPEC, "simple signing"): a
 * small document that names the digest. Whether the signature over it is good is crypt_verify's
 * business, and comes first. Pure.
 */
#ifndef SLIPWAY_SIMPLESIGNING_H
#define SLIPWAY_SIMPLESIGNING_H

#include "core/base/err.h"

/* Type of the layer that holds the document; the signature, base64 of DER, is its annotation
 * dev.cosignproject.cosign/signature: struct descriptor has it as cosign_signature. */
#define SIMPLESIGNING_LAYER "application/vnd.dev.cosign.simplesigning.v1+json"

/* Does this document speak of this manifest? 0, or -1 with ERR_PERM and the reason: it is longer
 * than LIMIT_SIGNED, no JSON, of another type than cosign's, or names another digest. */
int simplesigning_check(const void *bytes, size_t len, const char *digest, struct err *err);

#endif
