/*
 * registry.h - client of OCI registries (distribution 1.1.1): authentication, manifests by tag or
 * digest, lists of tags, removal of one tag. Names come checked (domain/imageref.h). Only
 * registries that the operator configured are ever called; the confs must outlive the client.
 * Blobs: registry/blob.h; whole images: registry/copy.h. Thread-safe.
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
    const char *username; /* NULL: those of the credential files and helpers, else anonymous */
    const char *password;
    const char *credential_helper; /* X of docker-credential-X, asked for this host; NULL */
    const char *type;              /* "auto" or a vendor's name (registry/vendor.h) */
    const char *api;               /* base URL of the vendor's own API; NULL: the vendor's */
    const char *api_username;      /* for that API where it wants others; NULL: the above */
    const char *api_password;      /* a password or token; NULL: the above */
    struct http_via via;           /* ca_file, ca_dir, client_cert, client_key, proxy */
    bool plain_http;
    struct str_list realms;  /* origins ("https://auth.example.org") that may see credentials */
    struct str_list storage; /* origins that blobs may be redirected to or uploaded at though they
                                are private addresses or plain http; they see no credentials */
    size_t chunk;            /* bytes of each PATCH; 0: whole blobs where the registry takes them */
    size_t transfers;        /* blobs at once; 0: LIMIT_HOST_TRANSFERS */
};

struct registry_confs {
    struct registry_conf *at;
    size_t n;
    size_t cap;
};

struct registry;
struct credentials;

/* `credentials` (registry/credentials.h) may be NULL; both outlive the client. */
struct registry *registry_new(struct http_client *http, const struct registry_confs *confs,
                              struct credentials *credentials);
void registry_free(struct registry *r);
bool registry_knows(const struct registry *r, const char *host);
/* The hosts that are configured with plain_http. */
struct str_list registry_plain_hosts(const struct registry *r, struct arena *a);
/* Nobody waits for a host's back-off any more: such requests fail with ERR_TEMP. From any thread.
 */
void registry_stop(struct registry *r);

/* As whom and how a repository is entered: part of every request. Zero is what a promotion wants:
 * our credentials, the right to push and delete, and no patience. */
struct registry_access {
    const char *with; /* another repository of the host, read in the same token (mounts); NULL */
    bool read_only;   /* ask for the right to pull and no more */
    bool anonymous;   /* without credentials, whatever is configured: sees what is public */
    bool patient;     /* wait for the host's back-off, and repeat what is safe to repeat after 408,
                         429, 500, 502, 503, 504 and lost connections, up to LIMIT_TRIES times and
                         LIMIT_PATIENCE_MS in all; else one attempt, which fails with ERR_TEMP while
                         the host has asked to be left alone */
    int64_t until;    /* clock_monotonic_ms: everything ends then, with ERR_TEMP and ETIMEDOUT at
                         the latest; 0: no such limit */
};

/* What a host says of its own limits (RateLimit-Limit, RateLimit-Remaining and their X- forms). */
struct registry_rate {
    int64_t limit;     /* -1: it never said */
    int64_t remaining; /* -1: it never said */
    int64_t window_s;  /* 0: it did not say */
    int64_t seen_ms;   /* clock_now_ms of that answer */
};

/* The last word of a host, as one that is entered with or without credentials. */
struct registry_rate registry_rate(struct registry *r, const char *host, bool anonymous);

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
    size_t max; /* GET: bytes allowed, where less than LIMIT_MANIFEST is expected; 0: that */
    const char *digest; /* PUT: in, must be the digest of bytes; GET, HEAD: out */
    struct registry_access access;
    bool subject_seen; /* out: PUT: the answer had OCI-Subject, so the registry lists referrers */
    bool absent;       /* out: GET, HEAD: the registry says 404 MANIFEST_UNKNOWN or
                          NAME_UNKNOWN, or what Harbor and Quay say for it (a bare 404 counts);
                          never set when it could not ask */
    bool failed;       /* out: err is set */
    struct err err;    /* out: code is the HTTP status, or 0 */
};

/* All tags of a repository, every page, in the registry's order and without repetitions, at most
 * LIMIT_TAG_LIST (more: ERR_PERM). *absent: there is no such repository. */
int registry_tags(struct registry *r, struct arena *a, const char *host, const char *name,
                  const struct registry_access *access, struct str_list *tags, bool *absent,
                  struct err *err);

/* Performs all, in parallel, signing in where asked (one token for pull, push and delete of a
 * repository, cached until 80 % of its life; one re-authentication a request). Returns how many
 * failed. A HEAD without Docker-Content-Digest is repeated as a GET. Thread-safe. */
size_t registry_all(struct registry *r, struct arena *a, struct registry_op *ops, size_t n);

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
 * Tries, in this order and until one way does not refuse: the vendor's own API (vendor.h), where
 * that is the way and a login for it is configured; OCI tag deletion; that API where it comes
 * second, or where a probe only now shows whose registry it is; isolation, which overwrites the
 * tag with an empty index under a random annotation, or where the registry takes none with a dummy
 * image, and deletes that digest, which by construction nothing else can show (on GitHub: the
 * package version of that digest, once it has this one tag). Before the first overwrite in a
 * repository the right to delete is proven: by DELETE of a random absent digest (404 with
 * MANIFEST_UNKNOWN: yes; a bare 404, 405 and others: no), on GitHub by reading the package's
 * versions. What works is remembered per host, the right per repository (a refusal for
 * LIMIT_NO_DELETE_S). When the placeholder turns out not to be deletable, the tag is put back to
 * `expected`: REMOVAL_NO_WAY. A vendor that refuses its login, or keeps the tag immutable, ends
 * the removal: REMOVAL_NO_WAY too.
 * Never deletes any other digest than one of its own making. -1 with ERR_TEMP when the registry
 * could not be asked, ERR_BUG when `kept` changed.
 */
int registry_remove_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *tag, const char *expected, bool fresh, const char *kept,
                        const char *kept_digest, enum registry_removal *out, struct err *err);

/* Removes a final tag that did not exist before: by OCI tag deletion or a vendor's API that removes
 * single tags, never by the isolating way. REMOVAL_NO_WAY: this registry cannot, err says why. -1:
 * ERR_TEMP, could not ask. */
int registry_untag(struct registry *r, struct arena *a, const char *host, const char *name,
                   const char *tag, enum registry_removal *out, struct err *err);

#endif
