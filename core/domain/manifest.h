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

/* Strings are NULL when not said. */
struct descriptor {
    const char *media_type;
    const char *digest;
    int64_t size;                 /* bytes, 0 to LIMIT_BLOB_BYTES */
    const char *platform;         /* "linux/arm64/v8" */
    const char *artifact_type;    /* artifactType */
    const char *ref_name;         /* annotation org.opencontainers.image.ref.name (layouts) */
    const char *image_name;       /* annotation io.containerd.image.name (layouts) */
    const char *cosign_signature; /* annotation dev.cosignproject.cosign/signature, base64 */
    bool has_urls;                /* `urls` names other places to fetch it from */
    bool nondistributable;        /* by its media type: stays where its vendor has it */
};

struct descriptors {
    struct descriptor *at;
    size_t n;
    size_t cap;
};

struct manifest {
    const char *media_type;
    bool is_index;
    const char *artifact_type;     /* the document's own artifactType, NULL when not said */
    const char *annotations;       /* the document's own, a JSON object as text; NULL when none */
    struct descriptor config;      /* images; digest NULL for an index */
    struct descriptors layers;     /* images; none: an artifact that is all manifest */
    struct descriptors children;   /* indexes */
    const char *subject;           /* digest, NULL when none */
    struct descriptor subject_ref; /* all that is said of the subject; digest NULL when none */
    int64_t bytes; /* sizes of the config and the layers, or of the children, added */
};

/* Strips parameters from the content type and checks it against the document's own mediaType, which
 * counts alone where the former is a general one (application/json). Refuses schema 1, unknown
 * types, documents with both `manifests` and `layers`/`config` (CVE-2021-41190), malformed digests,
 * sizes below 0 or above LIMIT_BLOB_BYTES, and more than LIMIT_DESCRIPTORS descriptors. An OCI
 * image manifest may leave its layers out when it says an artifactType or has the empty config; a
 * list that is null is an empty one. ERR_PERM. */
int manifest_parse(const void *bytes, size_t len, const char *content_type, struct arena *a,
                   struct manifest *out, struct err *err);

/* An OCI index without entries and with one annotation that makes its digest unique: what isolates
 * a tag before it is removed (reference: OCI image-spec, `manifests` may be empty). */
const char *manifest_empty_index(const char *nonce, struct arena *a);

/* The same as an image manifest, for registries that take no empty index: its config and its only
 * layer are OCI's empty blob (image-spec, "Guidance for an Empty Descriptor"), pushed before. */
#define MANIFEST_EMPTY_TYPE "application/vnd.oci.empty.v1+json"
#define MANIFEST_EMPTY_CONFIG "{}"
#define MANIFEST_EMPTY_CONFIG_DIGEST                                                               \
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
const char *manifest_dummy_image(const char *nonce, struct arena *a);

/* Media types of layers that may not be copied freely: OCI's nondistributable and Docker's foreign
 * ones. */
bool manifest_type_nondistributable(const char *media_type);

/*
 * Platforms, "os/architecture[/variant]". A wanted one without a variant takes any; with one it
 * takes that, and the variant that goes without saying is filled in on both sides (arm is v7,
 * arm64 is v8, amd64 is v1). NULL matches nothing.
 */
bool platform_ok(const char *s); /* well-formed, as somebody may want it */
bool platform_matches(const char *platform, const char *wanted);

/* Has an index a child of this platform? False for an image: its platform is in its config. */
bool manifest_has_platform(const struct manifest *m, const char *wanted);

/* A manifest that refers to another by its subject, as an index of referrers lists it
 * (distribution-spec 1.1, "Pushing Manifests with Subject"). */
struct referrer {
    const char *media_type;
    const char *digest;
    int64_t size;
    const char *artifact_type; /* the manifest's own, else its config's media type; may be NULL */
    const char *annotations;   /* the manifest's own, a JSON object as text; may be NULL */
};

/* The referrer that a manifest of these bytes is, with the rule for artifact_type applied. */
struct referrer manifest_referrer(const struct manifest *m, const char *digest, int64_t size);

/*
 * The index that stands at the fallback tag (imageref_fallback_tag) once `add` is listed: present
 * is what stands there (NULL: nothing), its entries stay as they are. When the digest is listed
 * already the result is a copy of present, byte for byte: nothing is to be pushed. NULL: ERR_PERM,
 * what is there is no OCI index, or the result would pass LIMIT_MANIFEST or LIMIT_DESCRIPTORS.
 */
const char *manifest_referrers_index(const void *present, size_t len, const struct referrer *add,
                                     struct arena *a, struct err *err);

/* An index of images that were built one by one (OCI image-spec, image-index.md); platforms are
 * "os/architecture[/variant]". NULL: ERR_PERM, too many. */
struct manifest_child {
    const char *media_type;
    const char *digest;
    int64_t size;
    const char *platform;
};
const char *manifest_platform_index(const struct manifest_child *children, size_t n,
                                    struct arena *a, struct err *err);

/* Are these bytes such an index or dummy image, left behind by a removal that was cut short? */
bool manifest_is_placeholder(const void *bytes, size_t len);

#endif
