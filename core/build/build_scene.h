/*
 * build_scene.h - where one job's builders run: the throw-away room with a home, configuration and
 * credentials of its own in it, a store for each platform, and what the commands are started
 * through so that nothing of theirs outlives them.
 */
#ifndef SLIPWAY_BUILD_SCENE_H
#define SLIPWAY_BUILD_SCENE_H

#include "core/build/build_argv.h"
#include "core/build/build_room.h"

struct build_scene {
    const struct build_spec *spec;
    struct arena *a;
    struct build_room room;
    struct build_place place; /* store and run are set for each platform */
    const char *const *env;
    const char *run;        /* base of the places' run */
    const char *run_apart;  /* it, where it is not in the room; NULL */
    struct str_list stores; /* names, in the order of their first use */
};

/* ERR_CONFIG when the tool is not installed; its Debian package is named. What was opened is to be
 * closed also when this fails. */
int build_scene_open(struct build_scene *s, const struct build_spec *spec, const char *scratch,
                     struct arena *a, struct err *err);
int build_scene_close(struct build_scene *s, struct err *err);

/* The place to build an image for a platform in. Images are FROM each other only within one store,
 * and those that are none for this platform can't be had from a registry instead: registries.conf
 * says so from here on. */
int build_scene_turn(struct build_scene *s, const struct build_image *image, const char *platform,
                     struct err *err);

/* "linux-amd64" for NULL on such a machine, and for all ways to write that. */
const char *build_store_name(const char *platform, struct arena *a);

/* Bytes in the room; -1: could not be asked. Also what only subordinate ids may read. */
int64_t build_scene_size(const struct build_scene *s);

#endif
