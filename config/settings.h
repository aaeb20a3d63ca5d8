/*
 * settings.h - /etc/slipway/slipway.yaml and its conf.d/ (DESIGN section 8) as values. Read whole:
 * all errors are reported with their places. Each role resolves only its own secrets.
 */
#ifndef SLIPWAY_SETTINGS_H
#define SLIPWAY_SETTINGS_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"
#include "core/domain/policy.h"
#include "core/engine/building.h"
#include "core/domain/zuul_builds.h"
#include "core/engine/mirror.h"
#include "core/forge/forge.h"
#include "core/registry/registry.h"

enum settings_role {
    SETTINGS_SERVE = 1,   /* hook secrets */
    SETTINGS_WORK = 2,    /* forge and registry credentials */
    SETTINGS_BUILDER = 4, /* none at all */
    SETTINGS_NONE = 0     /* no secret is read: plan, queue, version */
};

struct settings_forges {
    struct forge_conf *at;
    size_t n;
    size_t cap;
};

/* Where a secret comes from; the value is nowhere but in the entry that needs it. */
struct settings_secret {
    const char *of;  /* "forges.review.password" */
    const char *ref; /* "file:/etc/slipway/secrets/review" */
};

struct settings_secrets {
    struct settings_secret *at;
    size_t n;
    size_t cap;
};

struct settings {
    const char *store;      /* default "sqlite:/var/lib/slipway/slipway.db" */
    const char *listen;     /* unix socket path; NULL: fd 0 or systemd's fd 3 */
    const char *public_url; /* NULL when not said */
    const char *base_path;  /* path of public_url: "/slipway", "" for none */
    const char *cache;      /* directory of git caches: default /var/cache/slipway */
    const char *auth_file;  /* credentials of registries for those without: a path, "user" for the
                               user's own files, NULL for none. Role work only */
    struct str_list certs_dirs; /* default CERTS_DIRS: where certs.d folders of registries are */
    size_t body_max;            /* bytes: default LIMIT_BODY_DEFAULT, at most LIMIT_BODY_MAX */
    int64_t keep_ignored_s;     /* how long ignored deliveries are kept: default 14 days */
    const char *log_level;
    struct settings_forges forges;
    struct registry_confs registries;
    struct zuul_confs zuuls;
    struct mirror_confs mirrors;
    struct build_conf build; /* limits are filled in */
    struct policy policy;
    struct settings_secrets secrets; /* all that are named, also those of other roles */
};

#define SETTINGS_PATH "/etc/slipway/slipway.yaml"

/* Reads path and path's sibling conf.d/ *.yaml in order of name: `forges`, `registries` and `zuul`
 * are merged by name, `projects` are appended, and everything may be given once only. Relative
 * paths are relative to the folder of the file that names them. NULL when diags has errors. Every
 * secret that was read is registered with log_secret. `roles` is a set of enum settings_role. */
const struct settings *settings_load(const char *path, unsigned roles, struct diags *diags);

/* NULL when there is none. */
const struct forge_conf *settings_forge(const struct settings *s, const char *name);

/* Effective values as YAML text; secrets as ***, with where they come from. */
void settings_print(const struct settings *s, struct strbuf *out);

void settings_free(const struct settings *s); /* compiled patterns; the rest is the arena's */

#endif
