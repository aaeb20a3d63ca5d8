/*
 * registry.h - client of OCI registries (distribution 1.1.1): authentication, manifests by tag or
 * digest, removal of one tag. Names come checked (domain/imageref.h). Only registries that the
 * operator configured are ever called; the confs must outlive the client.
 */
#ifndef SLIPWAY_REGISTRY_H
#define SLIPWAY_REGISTRY_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/lib/http.h"

/* One entry of the operator's `registries`. Credentials are bound to exactly this host, port and
 * scheme; a token realm elsewhere gets them only over https and only when listed in realms. */
struct registry_conf {
    const char *host;     /* "registry.example.org:5000" */
    const char *username; /* NULL: anonymous */
    const char *password;
    const char *type; /* "auto" or a vendor's name */
    const char *ca_file;
    bool plain_http;
    struct str_list realms; /* origins ("https://auth.example.org") that may see credentials */
};

struct registry_confs {
    struct registry_conf *at;
    size_t n;
    size_t cap;
};

struct registry;

struct registry *registry_new(struct http_client *http, const struct registry_confs *confs);
void registry_free(struct registry *r);
bool registry_knows(const struct registry *r, const char *host);

enum registry_verb {
    REGISTRY_GET,  /* manifest with its bytes, digest checked */
    REGISTRY_HEAD, /* digest and type only */
    REGISTRY_PUT   /* bytes verbatim, digest of the answer checked */
};

/* One request for a manifest; many are sent at once. */
struct registry_op {
    enum registry_verb verb;
    const char *host;
    const char *name;
    const char *ref;        /* tag, or digest */
    const char *media_type; /* PUT: in; GET, HEAD: out, parameters stripped */
    const void *bytes;      /* PUT: in; GET: out, in the arena */
    size_t len;
    const char *digest; /* PUT: in, must be the digest of bytes; GET, HEAD: out */
    bool absent;        /* out: GET, HEAD: the registry says 404 MANIFEST_UNKNOWN or
                           NAME_UNKNOWN, or what Harbor and Quay say for it (a bare 404 counts);
                           never set when it could not ask */
    bool failed;        /* out: err is set */
    struct err err;     /* out: code is the HTTP status, or 0 */
};

/* Performs all, in parallel, signing in where asked (one token for pull, push and delete of a
 * repository, cached until 80 % of its life; one re-authentication a request). Returns how many
 * failed. A HEAD without Docker-Content-Digest is repeated as a GET. Thread-safe. */
size_t registry_all(struct registry *r, struct arena *a, struct registry_op *ops, size_t n);

/* A blob of bounded size (an image's config), digest checked, in the arena. */
int registry_small_blob(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *digest, size_t max, const void **bytes, size_t *len,
                        struct err *err);

enum registry_removal {
    REMOVAL_DONE,    /* the tag is gone, that tag alone */
    REMOVAL_GONE,    /* it was not there any more */
    REMOVAL_CHANGED, /* it shows another digest than expected: left alone */
    REMOVAL_NO_WAY   /* this registry has no safe way: left; err says why */
};

/*
 * Removes one tag and nothing else. `expected` is the digest that it must show; unless `fresh`
 * says that the caller has just seen it, it is read first. `kept` is a final tag of the same
 * repository that is read again afterwards and must still show `kept_digest`.
 *
 * A placeholder that an earlier removal left at the tag is taken up again (unless `fresh`).
 *
 * Tries OCI tag deletion; where that is refused, overwrites the tag with an empty index under a
 * random annotation, and deletes that digest, which by construction nothing else can show. Before
 * the first overwrite in a repository the right to delete is proven by DELETE of a random absent
 * digest (404 with MANIFEST_UNKNOWN: yes; a bare 404, 405 and others: no). What works is
 * remembered per host, the right per repository (a refusal for LIMIT_NO_DELETE_S). When the
 * placeholder turns out not to be deletable, the tag is put back to `expected`: REMOVAL_NO_WAY.
 * Never deletes any other digest than one of its own making. -1 with ERR_TEMP when the registry
 * could not be asked, ERR_BUG when `kept` changed.
 */
int registry_remove_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *tag, const char *expected, bool fresh, const char *kept,
                        const char *kept_digest, enum registry_removal *out, struct err *err);

/* Removes a final tag that did not exist before: by OCI tag deletion only, never by the isolating
 * way. REMOVAL_NO_WAY: this registry cannot, err says why. -1: ERR_TEMP, could not ask. */
int registry_untag(struct registry *r, struct arena *a, const char *host, const char *name,
                   const char *tag, enum registry_removal *out, struct err *err);

#endif
