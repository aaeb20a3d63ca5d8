/*
 * vendor.h - what registries offer beyond the OCI protocol, each by its own API: removal of a tag,
 * when a tag was pushed, creation of a repository. One row a vendor (reference: each vendor's API
 * documentation, cited in its file).
 */
#ifndef SLIPWAY_REGISTRY_VENDOR_H
#define SLIPWAY_REGISTRY_VENDOR_H

#include "core/registry/registry.h"

struct vendor;

/* By the conf's type; "auto": by the host's name (docker.io, quay.io, ghcr.io, *.azurecr.io,
 * registry.gitlab.com, ...). NULL: none, the OCI protocol is all there is. A private Harbor or
 * Quay under another name is found by a probe when it refuses to remove a tag, not here. */
const struct vendor *vendor_of(const struct registry_conf *conf);
const char *vendor_name(const struct vendor *v); /* "quay" */
/* The names that `type` may have, "auto" first, "oci" for no vendor at all; NULL-ended. */
const char *const *vendor_types(void);

/* Public data of a repository that is to be made (the image list's keys of the same names). */
struct vendor_repository {
    const char *namespace_; /* NULL: from the name */
    const char *shortname;  /* NULL: from the name */
    const char *description;
    bool is_public;
};

/* Makes a repository where the vendor needs that before the first push (Quay). *made false: it was
 * there. ERR_PERM when the vendor has no such call, or refused; ERR_CONFIG without api_password,
 * and where `as` names another repository than `name`. */
int vendor_create(struct registry *r, struct arena *a, const char *host, const char *name,
                  const struct vendor_repository *as, bool *made, struct err *err);

struct vendor_tag {
    const char *tag;
    int64_t pushed_ms; /* 0: not told */
};
struct vendor_tags {
    struct vendor_tag *at;
    size_t n;
    size_t cap;
};

/* When tags were pushed, as the vendor's API tells; *told false: no vendor API, or none that tells.
 * All pages, at most LIMIT_TAG_LIST (more: ERR_PERM). `wanted` (NULL: all) names the tags that
 * matter: others may be told too; GitLab, which tells of one tag at a time, is asked for these
 * only, and for the first LIMIT_TAG_DETAILS of them. */
int vendor_tag_times(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct str_list *wanted, struct vendor_tags *out, bool *told,
                     struct err *err);

#endif
