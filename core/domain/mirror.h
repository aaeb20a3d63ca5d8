/*
 * mirror.h - a mirror list as it may be run: names completed, checked against what the operator
 * allows. Pure.
 */
#ifndef SLIPWAY_MIRROR_H
#define SLIPWAY_MIRROR_H

#include "core/base/diag.h"
#include "core/domain/imagefile.h"
#include "core/domain/policy.h"
#include "core/lib/yaml.h"

struct mirror_target {
    const char *host;
    const char *name;
};

/* One source and where it goes. */
struct mirror_entry {
    struct place at;
    const char *host;
    const char *name;
    bool anonymous;  /* policy does not let the project read it with our credentials: it sees what
                        is public, and no more */
    const char *tag; /* a tag or a digest; NULL: those that src_tags mean */
    const struct imagefile_mirror *item;
    struct {
        struct mirror_target *at;
        size_t n;
        size_t cap;
    } targets;
};

struct mirror_entries {
    struct mirror_entry *at;
    size_t n;
    size_t cap;
};

struct mirror_rules {
    const struct policy_project *policy; /* NULL: the operator's own list, which may do all */
    /* Is this registry one that the operator configured? */
    bool (*knows_registry)(const void *ctx, const char *host);
    const void *ctx;
};

/* What the items mean. What is refused is an error in `refused` (arena set by the caller), with its
 * place; nothing of such an item is in *out. */
void mirror_resolve(const struct imagefile_mirrors *items, const struct mirror_rules *rules,
                    struct mirror_entries *out, struct diags *refused);

/* "quay.io/team/app:v1", "quay.io/team/app: v1.*, semver:>=1.2". */
const char *mirror_source(const struct mirror_entry *e, struct arena *a);

/* Why a tag may not be written, NULL: it may. */
const char *mirror_tag_refused(const struct mirror_rules *rules, const char *tag);

/* A tag that is another one's companion (cosign's, or the fallback of referrers), or a staged one:
 * never pruned. */
bool mirror_tag_is_kept(const char *tag);

/* The items of a list, each checked by itself. */
void mirror_read(const struct yml_node *list, struct imagefile_mirrors *out, struct diags *diags);

/* `mirror_container_images_images` of a file that may be a `.slipway.yaml` or hold nothing else.
 * False: errors are in diags. */
bool mirror_parse(const char *file, const void *text, size_t len, struct imagefile_mirrors *out,
                  struct diags *diags);

#endif
