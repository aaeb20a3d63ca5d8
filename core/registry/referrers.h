/*
 * referrers.h - what refers to a manifest: the referrers API of distribution 1.1, or its fallback
 * tag `sha256-<hex>` (which holds an index), and cosign's own tags.
 */
#ifndef SLIPWAY_REGISTRY_REFERRERS_H
#define SLIPWAY_REGISTRY_REFERRERS_H

#include "core/domain/manifest.h"
#include "core/registry/registry.h"

/* All that refer to the digest, at most LIMIT_REFERRERS, all pages. A registry without the API
 * (404, or a redirect to a foreign host) is asked for the fallback tag; neither: an empty list.
 * artifact_type NULL: all; else only these, filtered here when the registry did not. */
int referrers_list(struct registry *r, struct arena *a, const char *host, const char *name,
                   const struct registry_access *access, const char *digest,
                   const char *artifact_type, struct descriptors *out, struct err *err);

/* What is known of a registry: has it the API? */
enum referrers_api { REFERRERS_NOT_ASKED, REFERRERS_API, REFERRERS_NO_API };

/* One digest of several, and what refers to it. */
struct referrers_ask {
    const char *digest;
    struct descriptors out;
};

/* By the API alone, all digests at once: but while *api is REFERRERS_NOT_ASKED the first goes ahead
 * and tells. When it comes out as REFERRERS_NO_API nothing was found out, nor when it comes out as
 * REFERRERS_NOT_ASKED: that the repository is not there says nothing about the registry. */
int referrers_by_api(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *artifact_type,
                     enum referrers_api *api, struct referrers_ask *asks, size_t n,
                     struct err *err);

/* By their fallback tags alone, all at once; a tag that is not there lists nothing. */
int referrers_by_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *artifact_type,
                     struct referrers_ask *asks, size_t n, struct err *err);

/* Pushes a manifest that has a subject, by digest. Where the answer has no OCI-Subject the fallback
 * index is read, completed and written again, and looked at once more (it is a race by nature). */
int referrers_push(struct registry *r, struct arena *a, const char *host, const char *name,
                   const struct registry_access *access, const struct manifest *m,
                   const void *bytes, size_t len, const char *digest, struct err *err);

#endif
