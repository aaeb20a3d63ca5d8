/*
 * build_source.h - an image's context and container file as they really are in the source: symbolic
 * links may lead around within it and nowhere else. And a copy of the context with the siblings in
 * it, since the source is only ever read.
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

/* Copies the folder that is sent to `to`, which is not there yet, and the image's siblings to
 * <to>/.zuul-siblings/<canonical name>: modes, times and links as they are, at most max bytes
 * together. ERR_PERM when the context has a folder of that name itself, or a project is not there;
 * what was copied by then is the caller's to remove. */
int build_siblings_join(const struct build_spec *spec, const struct build_image *image,
                        const char *context, const char *to, int64_t max, struct err *err);

#endif
