/*
 * imageref.h - names of images: host[:port]/name[:tag][@digest] (OCI distribution 1.1.1 grammar).
 */
#ifndef SLIPWAY_IMAGEREF_H
#define SLIPWAY_IMAGEREF_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct imageref {
    const char *host;   /* "registry.example.org:5000"; "docker.io" for the Hub */
    const char *name;   /* "team/app"; Hub names of one part get "library/" */
    const char *tag;    /* NULL when absent */
    const char *digest; /* NULL when absent */
};

/* Parses a full reference; the first part must be a host (a dot, a colon or "localhost") unless
 * default_host is given, which is then put before it. ERR_CONFIG says what is wrong. */
int imageref_parse(const char *text, const char *default_host, struct arena *a,
                   struct imageref *out, struct err *err);

const char *imageref_repository(const struct imageref *r, struct arena *a); /* "host/name" */

/* What people name on a command line: an image of a registry, or one in an OCI layout. */
enum imageref_kind { IMAGEREF_REGISTRY, IMAGEREF_LAYOUT };

struct imageref_place {
    enum imageref_kind kind;
    struct imageref ref;  /* IMAGEREF_REGISTRY */
    const char *path;     /* IMAGEREF_LAYOUT: the directory, as written */
    const char *ref_name; /* IMAGEREF_LAYOUT: NULL when absent */
};

/*
 * "docker://host/name:tag", the same without "docker://", or "oci:PATH" and "oci:PATH:NAME". What
 * stands behind a path's last colon is a name when it is a tag, or made of letters and digits
 * joined by one of - . _ +; else it is part of the path. A layout's image has no "@digest" here.
 * ERR_CONFIG, also for every other scheme, with those that are known. default_host as in
 * imageref_parse.
 */
int imageref_parse_transport(const char *text, const char *default_host, struct arena *a,
                             struct imageref_place *out, struct err *err);

/* Tags that stand for a digest. NULL when the digest is malformed, or when there is no such tag:
 * the one of a sha512 digest would be too long for cosign's form. */
const char *imageref_cosign_tag(const char *digest, const char *suffix, /* "sig", "att", "sbom" */
                                struct arena *a);                       /* "sha256-<hex>.sig" */
/* Where referrers are listed by registries without the API (distribution-spec 1.1, "Referrers Tag
 * Schema"): "sha256-<hex>", the hex cut to 64 characters. */
const char *imageref_fallback_tag(const char *digest, struct arena *a);

bool imageref_host_ok(const char *s);
bool imageref_name_ok(const char *s);
bool imageref_tag_ok(const char *s);
bool imageref_digest_ok(const char *s); /* sha256 with 64, sha512 with 128 lower-case hex */

/* Has the shape of a staged tag of a change: change_<digits>_<anything>. */
bool imageref_is_change_tag(const char *tag);

#endif
