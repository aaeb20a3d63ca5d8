/*
 * stream.h - one blob between a registry and a registry, or a registry and a layout: download,
 * flow and upload put together, with what is tried again and what is not (blob.h has the rules).
 */
#ifndef SLIPWAY_REGISTRY_STREAM_H
#define SLIPWAY_REGISTRY_STREAM_H

#include "core/registry/blob.h"

/* From a registry or a layout into a registry. *mounted: no byte had to be moved. */
int stream_to_registry(const struct endpoint *from, const struct endpoint *to,
                       const struct descriptor *blob, const char *mount_from,
                       const struct blob_progress *progress, bool *mounted, struct err *err);

/* From a registry into a layout. */
int stream_to_layout(const struct endpoint *from, struct layout *to, const struct descriptor *blob,
                     const struct blob_progress *progress, struct err *err);

#endif
