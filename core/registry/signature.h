/*
 * signature.h - cosign key signatures (ECDSA P-256, SHA-256) of an image: is one of them made by
 * one of these keys, for this digest?
 *
 * Looked at: cosign's tag sha256-<hex>.sig, and what refers to the digest by `subject`: a sigstore
 * bundle (what cosign 3 makes: DSSE over an in-toto statement of the predicate that says "signed",
 * no other attestation) or a manifest of simple signing layers. Only the given keys count: no
 * certificates (keyless), no transparency log, no timestamps; what else a signature carries is not
 * looked at. A good signature of another image that was attached to this one does not count. For an
 * index it is the signature of the index itself.
 */
#ifndef SLIPWAY_REGISTRY_SIGNATURE_H
#define SLIPWAY_REGISTRY_SIGNATURE_H

#include "core/lib/crypt.h"
#include "core/registry/registry.h"

/* 0: a signature by one of the keys over the digest is in the repository. -1: ERR_PERM says why
 * none counts (none there: code ENOENT; by other keys; of another digest), ERR_TEMP: could not
 * ask. At most LIMIT_SIGNATURE_LAYERS are looked at. No keys: ERR_BUG. */
int signature_verify(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *digest,
                     const struct crypt_key *const *keys, size_t n_keys, struct err *err);

#endif
