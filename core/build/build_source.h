/*
 * build_source.h - an image's context and container file as they really are in the source: symbolic
 * links may lead around within it and nowhere else. And the siblings, copied beside them for the
 * time of a build.
 */
#ifndef SLIPWAY_BUILD_SOURCE_H
#define SLIPWAY_BUILD_SOURCE_H

#include "core/build/build.h"

#define BUILD_SIBLINGS ".zuul-siblings"

struct build_source {
    const char *context;  /* absolute, without symbolic links: the folder that is sent */
    const char *filename; /* absolute: the container file, a regular file within the source */
};

/* ERR_PERM when context, path or container file is missing, is of another kind or leads out of the
 * source. A file that is named is looked for below the context, then below its path; an unnamed
 * one is Containerfile or Dockerfile in the folder that is sent (docker: Dockerfile only). */
int build_source_find(const struct build_spec *spec, const struct build_image *image,
                      struct arena *a, struct build_source *out, struct err *err);

/* Copies the image's siblings to <context>/.zuul-siblings/<canonical name>, links as they are;
 * nothing when there are none. At most max bytes together. ERR_PERM when that folder is there
 * already or a project is not; then nothing of ours is left. */
int build_siblings_put(const struct build_spec *spec, const struct build_image *image,
                       const char *context, int64_t max, struct err *err);

/* Takes them away; nothing when the image has none. */
int build_siblings_take(const struct build_image *image, const char *context, struct err *err);

#endif
