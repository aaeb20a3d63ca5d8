/*
 * build_layout.h - what a builder has written becomes an OCI layout with exactly one root, there
 * whole or not at all.
 */
#ifndef SLIPWAY_BUILD_LAYOUT_H
#define SLIPWAY_BUILD_LAYOUT_H

#include "core/base/err.h"
#include "core/base/mem.h"

/* Makes both folders, `raw` within `part`, for one to write to. They have the group's rights from
 * the start, so that who shares it can remove what is left of a build that was killed. */
int build_layout_begin(const char *raw, const char *part, struct err *err);

/* `raw` (containers' "dir" form: manifest.json, and blobs named by their hex digest; within `part`)
 * becomes an OCI layout in `part`. ERR_PERM when it is not of that form. */
int build_layout_make(const char *raw, const char *part, struct err *err);

/* 0 when this is an OCI layout with one root, whose manifest, config and layers are all there with
 * the sizes that are said. ERR_PERM tells what is missing. */
int build_layout_check(const char *path, struct err *err);

/* Makes it durable and gives it its name, at which nothing whole is: what is there goes. */
int build_layout_finish(const char *part, const char *path, struct err *err);

#endif
