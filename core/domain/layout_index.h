/*
 * layout_index.h - an OCI image layout's two small files (image-spec, image-layout.md):
 * `oci-layout` and `index.json`. Bytes in, values out; who reads and writes the directory is
 * elsewhere.
 */
#ifndef SLIPWAY_LAYOUT_INDEX_H
#define SLIPWAY_LAYOUT_INDEX_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/domain/manifest.h"

#define LAYOUT_VERSION_FILE "oci-layout"
#define LAYOUT_VERSION_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define LAYOUT_INDEX_FILE "index.json"

/* Is this `oci-layout` of version 1.0.0? ERR_CONFIG says why not. */
int layout_index_version(const void *bytes, size_t len, struct err *err);

/* Reads `index.json`: an OCI index whose mediaType may be missing. ERR_CONFIG. */
int layout_index_parse(const void *bytes, size_t len, struct arena *a, struct manifest *out,
                       struct err *err);

/*
 * The image that is meant. Without ref_name: the only one there is. With it: the one whose
 * annotation org.opencontainers.image.ref.name equals it; else whose io.containerd.image.name is
 * it or has it as its tag. Several entries with one digest are one image; entries that are no
 * manifests are passed over. ERR_CONFIG: none (of that name: code ENOENT) or several, with the
 * names that are there. *out
 * points into index.
 */
int layout_index_root(const struct manifest *index, const char *ref_name,
                      const struct descriptor **out, struct err *err);

/*
 * The bytes of `index.json` with this image in it: present (NULL: none yet) with every entry kept
 * as it is, but those with the same name, and the new entry at the end: media type, digest, size,
 * platform, artifact type and ref_name are taken from it. Without a ref_name the entry stands
 * nameless, and replaces nameless ones of the same digest alone. NULL: ERR_CONFIG, what is there
 * is no index or ref_name no name, or ERR_BUG, the entry is malformed.
 */
const char *layout_index_put(const void *present, size_t len, const struct descriptor *add,
                             struct arena *a, struct err *err);

/* A legal tag, or OCI's grammar for ref.name: alphanumeric runs joined by one of - . _ : @ + or by
 * "--", and parts of that joined by '/'. At most LIMIT_NAME. */
bool layout_index_ref_ok(const char *s);

#endif
