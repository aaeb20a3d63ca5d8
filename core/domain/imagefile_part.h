/*
 * imagefile_part.h - the parts that imagefile.c is made of; of no use to others. Each reader
 * reports what is wrong in diags and goes on, so that a file's errors are all shown at once.
 */
#ifndef SLIPWAY_IMAGEFILE_PART_H
#define SLIPWAY_IMAGEFILE_PART_H

#include "core/domain/imagefile.h"
#include "core/lib/yaml.h"

/* What a text may be, besides a string without control characters. */
enum imagefile_rule {
    RULE_LINE = 0,
    RULE_TEMPLATE = 1, /* may hold the forms of template.h */
    RULE_PATH = 2,     /* relative, never above where it starts */
    RULE_LINES = 4,    /* may hold line ends */
    RULE_HOST = 8      /* has no '/' */
};

/* False, and reported unless n is NULL, when the text breaks a rule (a mask). */
bool imagefile_text(const struct yml_node *n, const char *what, unsigned rules, const char **out,
                    struct diags *diags);

/* A list of texts, or one text as a list of one; at most max. */
bool imagefile_texts(const struct yml_node *n, const char *what, unsigned rules, size_t max,
                     struct image_texts *out, struct diags *diags);

/* A map's list of images, by its name: `container_images`, or that of the older family of jobs,
 * `docker_images`. NULL: it has none. */
const struct yml_node *imagefile_images(const struct yml_node *map, const char **key);

/* An item of the list of that name gets filename when it names no container file. Items of
 * `docker_images` say `dockerfile`, and a repository without a host is Docker Hub's. */
void imagefile_read_images(const struct yml_node *list, const char *key, const char *filename,
                           struct image_list *out, struct diags *diags);

/* Sets in *vars what the map says. In a job's own vars container_images and
 * mirror_container_images_images may stand too, and are left to the caller. */
void imagefile_read_vars(const struct yml_node *map, bool in_job, struct imagefile_vars *vars,
                         struct diags *diags);

#endif
