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

bool imageref_host_ok(const char *s);
bool imageref_name_ok(const char *s);
bool imageref_tag_ok(const char *s);
bool imageref_digest_ok(const char *s); /* sha256 with 64, sha512 with 128 lower-case hex */

/* Has the shape of a staged tag of a change: change_<digits>_<anything>. */
bool imageref_is_change_tag(const char *tag);

#endif
