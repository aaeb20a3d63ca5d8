/*
 * build_argv.h - the pure half of core/build: the argument lists and the environment of each
 * builder, and what its complaints mean. A table of tools; no I/O. Nothing here holds a secret.
 */
#ifndef SLIPWAY_BUILD_ARGV_H
#define SLIPWAY_BUILD_ARGV_H

#include "core/build/build.h"

/* Where one job's things are; all absolute. */
struct build_place {
    const char *store;           /* throw-away: images and layers */
    const char *run;             /* throw-away: locks and mounts */
    const char *home;            /* throw-away: HOME, XDG_RUNTIME_DIR, TMPDIR are below it */
    const char *auth_file;       /* in home; NULL: anonymous */
    const char *registries_conf; /* in home: insecure hosts, no short names but docker.io */
    const char *policy; /* in home: accepts all images (what a FROM line names is checked by
                           nobody here) */
    const char *isolation;
    const char *driver; /* of the store: "overlay" or "vfs" */
    const char *path;   /* PATH of the children; NULL: the usual folders */
    struct str_list
        wrap; /* what the commands are started through: unshare and its flags; or none */
};

/* Beside them in home, for the tools' own variables. */
#define BUILD_STORAGE_CONF "storage.conf"
#define BUILD_CONTAINERS_CONF "containers.conf"

/* The command that builds one image for one platform (NULL: own). `context` is absolute: the
 * directory that is sent; `filename` absolute or NULL. Names that begin with '-' can't come here;
 * everything from a repository rides as `--flag=value` or behind `--`. */
struct str_list build_argv(const struct build_spec *spec, const struct build_place *place,
                           const struct build_image *image, const char *platform,
                           const char *context, const char *filename, const char *layout,
                           struct arena *a);

/* The command that writes what was built to a folder `raw` in containers' "dir" form (which takes
 * Docker's manifests too, other than their OCI layouts; build_layout.h makes the layout of it); n
 * is 0 where build_argv has written a layout already (docker buildx: --output type=oci,tar=false,
 * no provenance). */
struct str_list build_export_argv(const struct build_spec *spec, const struct build_place *place,
                                  const struct build_image *image, const char *platform,
                                  const char *raw, struct arena *a);

/* For a layout that a former run left: the command that reads it into the store and prints its id,
 * (layout: relative to the command's folder, lower-case letters) and the one that gives that id the
 * names which build_argv would have. n is 0 where no store of ours is used. */
struct str_list build_import_argv(const struct build_spec *spec, const struct build_place *place,
                                  const char *layout, struct arena *a);
struct str_list build_tag_argv(const struct build_spec *spec, const struct build_place *place,
                               const struct build_image *image, const char *platform,
                               const char *id, struct arena *a);

/* The whole environment of these commands: PATH, HOME, LANG, the XDG folders, the containers tools'
 * own variables for registries and policy, and container_build_extra_env where its name is harmless
 * (ERR_INPUT names one that is not: LD_*, PATH, HOME, *_AUTH_FILE, CONTAINERS_*, DOCKER_CONFIG,
 * ...). NULL-terminated. */
int build_environment(const struct build_spec *spec, const struct build_place *place,
                      struct arena *a, const char *const **out, struct err *err);

/* The name under which an image for a platform is kept in the store until it is exported. */
const char *build_local_name(const struct build_image *image, const char *platform,
                             struct arena *a);

/* What a tool's last words mean where they are known to puzzle people: no subordinate ids, no
 * emulation for a platform, no space, base image absent or not for us, FROM scratch with a shell.
 * NULL: nothing to add. *kind (may be NULL) becomes what the caller does about it; ERR_PERM where
 * nothing is known. */
const char *build_advice(const char *log_tail, const char *platform, enum err_kind *kind);

/* The line, or two, of the log's end that say most about a failure; one line without control
 * characters, at most some hundred bytes. "" when there is nothing. */
const char *build_last_words(const char *log_tail, struct arena *a);

/* "# syntax", HEALTHCHECK: does the container file use HEALTHCHECK, which the OCI format drops? */
bool build_has_healthcheck(const char *containerfile, size_t len);

#endif
