/*
 * manifest.h - OCI and Docker manifests and indexes. The bytes are never rewritten; this only
 * reads them. Limits: LIMIT_MANIFEST.
 */
#ifndef SLIPWAY_MANIFEST_H
#define SLIPWAY_MANIFEST_H

#include "core/base/err.h"
#include "core/base/mem.h"

/* The Accept value: the four media types below, always all of them. */
#define MANIFEST_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MANIFEST_OCI "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MANIFEST_DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define MANIFEST_ACCEPT                                                                            \
    MANIFEST_OCI_INDEX ", " MANIFEST_OCI ", " MANIFEST_DOCKER_LIST ", " MANIFEST_DOCKER

struct descriptor {
    const char *media_type;
    const char *digest;
    int64_t size;         /* bytes */
    const char *platform; /* "linux/amd64/v8", NULL when not said */
};

struct descriptors {
    struct descriptor *at;
    size_t n;
    size_t cap;
};

struct manifest {
    const char *media_type;
    bool is_index;
    struct descriptor config;    /* images; digest NULL for an index */
    struct descriptors layers;   /* images */
    struct descriptors children; /* indexes */
    const char *subject;         /* digest, NULL when none */
};

/* Strips parameters from the content type, checks it against the document's own mediaType, refuses
 * schema 1, unknown types, documents with both `manifests` and `layers`/`config`
 * (CVE-2021-41190) and malformed digests. ERR_PERM. */
int manifest_parse(const void *bytes, size_t len, const char *content_type, struct arena *a,
                   struct manifest *out, struct err *err);

/* An OCI index without entries and with one annotation that makes its digest unique: what isolates
 * a tag before it is removed (reference: OCI image-spec, `manifests` may be empty). */
const char *manifest_empty_index(const char *nonce, struct arena *a);

/* Are these bytes such an index, left behind by a removal that was cut short? */
bool manifest_is_placeholder(const void *bytes, size_t len);

#endif
