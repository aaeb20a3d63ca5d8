/*
 * build.h - what is to be built, as values: a spec in, OCI layouts and a log out. The builder (the
 * role `slipway builder`, build_run.h) gets the spec as JSON and sees nothing else: no secrets but
 * pull credentials, no store, no forge. Whoever asks for a build uses build_ask (build_ask.h).
 * Reference: the variables of zuul-jobs' build-container-image.
 */
#ifndef SLIPWAY_BUILD_H
#define SLIPWAY_BUILD_H

#include "core/base/err.h"
#include "core/base/mem.h"

enum build_tool { BUILD_PODMAN, BUILD_BUILDAH, BUILD_DOCKER, BUILD_TOOL__MAX };
enum build_format { BUILD_OCI, BUILD_DOCKER_FORMAT };

const char *build_tool_name(enum build_tool tool); /* "podman", "buildah", "docker" */
bool build_tool_from_name(const char *name, enum build_tool *out);

/* One image of the list. Paths are relative and have been checked by grammar only: the builder
 * checks them against what is really in the source. */
struct build_image {
    const char *name;           /* [a-z0-9-]+, unique: its layout is <out>/<name>, or for an image
                                   with platforms <out>/<name>-<os>-<arch>[-<variant>] */
    const char *label;          /* for people: repository or context */
    const char *context;        /* below the source; "." is the source itself */
    const char *path;           /* the build argument, below the context; NULL: "." */
    const char *filename;       /* of the container file, below the context's path (as the tools
                                   take it); NULL: the tool's default */
    const char *target;         /* stage; NULL: the last */
    struct str_list build_args; /* "K=V" */
    struct str_list labels;     /* "k=v", org.zuul-ci.* among them */
    struct str_list siblings;   /* canonical project names */
    struct str_list platforms;  /* "linux/amd64"; none: the builder's own */
    struct str_list refs;       /* "host/name:tag": later images of the list may be FROM these */
};

struct build_images {
    struct build_image *at;
    size_t n;
    size_t cap;
};

struct build_env {
    const char *name;
    const char *value;
};

struct build_envs {
    struct build_env *at;
    size_t n;
    size_t cap;
};

struct build_spec {
    enum build_tool tool;
    enum build_format format;
    const char *source;       /* absolute: the checkout. Only ever read */
    const char *out;          /* absolute, exists, empty but for what a former run of the same spec
                                 left: the layouts, each there whole or not at all */
    const char *siblings;     /* absolute: <siblings>/<canonical name>; NULL: there are none */
    const char *pull;         /* text of an auth.json with pull-only credentials; NULL: anonymous. A
                                 secret: never in argv, environment or log */
    struct str_list insecure; /* hosts that are spoken to by plain http */
    const char *isolation;    /* "chroot", "rootless", "oci"; NULL: chroot, within process and mount
                                 namespaces of its own where the kernel grants them */
    struct build_envs env;    /* container_build_extra_env: of the tool, not of the image */
    int64_t timeout_s;        /* of the whole job; 0: LIMIT_BUILD_S */
    int64_t disk_max;         /* bytes below the throw-away store; 0: LIMIT_BUILD_DISK */
    int64_t log_max; /* bytes of log; what is beyond is dropped and said; 0: LIMIT_BUILD_LOG
                      */
    struct build_images images; /* in the order in which they are built */
};

/* What is there afterwards for one image and platform. */
struct build_layout {
    const char *name;     /* of the image */
    const char *platform; /* NULL: the builder's own */
    const char *path;     /* absolute: an OCI layout with exactly one root */
    const char *digest;   /* of that root, as it was when the build ended; NULL: not looked at */
};

struct build_layouts {
    struct build_layout *at;
    size_t n;
    size_t cap;
};

/* The spec as one line of JSON, and back (ERR_INPUT: version, types, names, relative or absolute
 * where it must be the other; limits). Strings live in the arena. */
const char *build_spec_to_json(const struct build_spec *spec, struct arena *a);
int build_spec_from_json(const char *text, size_t len, struct arena *a, struct build_spec *out,
                         struct err *err);

/* What build_spec_from_json checks, for a spec that was made otherwise. ERR_INPUT names the image
 * and the value. */
int build_spec_check(const struct build_spec *spec, struct arena *a, struct err *err);

/* Folder of a platform's layout: "app-linux-arm64-v8". platform NULL: the name itself. */
const char *build_layout_name(const char *image, const char *platform, struct arena *a);

#endif
