/*
 * authfile.h - docker's config.json and podman's auth.json: which credentials a file holds for an
 * image, and what a credential helper answered. Pure: who reads files and runs helpers is
 * elsewhere. No message ever holds a secret.
 */
#ifndef SLIPWAY_AUTHFILE_H
#define SLIPWAY_AUTHFILE_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct authfile; /* lives in the arena */

enum authfile_kind {
    AUTHFILE_NONE,           /* the file says nothing about this image */
    AUTHFILE_BASIC,          /* username, password */
    AUTHFILE_IDENTITY_TOKEN, /* token: a refresh token for the registry's token service */
    AUTHFILE_REGISTRY_TOKEN, /* token: sent to the registry as bearer, as it is */
    AUTHFILE_HELPER          /* helper, server: run it, hand its answer to authfile_helper_answer */
};

struct authfile_hit {
    enum authfile_kind kind;
    const char *key; /* the entry that was taken, as written ("credsStore" for the store) */
    const char *username;
    const char *password;
    const char *token;
    const char *helper; /* "ecr-login": the program is docker-credential-ecr-login */
    const char *server; /* what the helper is asked about, on its standard input */
};

/*
 * Reads a file of at most LIMIT_AUTH_FILE. Only a text that is no JSON object, or whose auths or
 * credHelpers are none, fails (ERR_CONFIG): an entry that is malformed fails those who need it,
 * when they need it, and nobody else.
 */
int authfile_parse(const void *bytes, size_t len, struct arena *a, const struct authfile **out,
                   struct err *err);

/*
 * What the file has for the repository `name` ("team/app"; NULL: the registry as a whole) at
 * `host` (as in struct imageref: "docker.io" for the Hub). The first of these that is there:
 *
 *  1. credHelpers[host]: helpers know no namespaces, and come first (containers/image and docker);
 *  2. auths["host/team/app"], auths["host/team"], auths["host"]: most specific path, split at '/';
 *  3. auths whose key means the host in other words: "https://host", "http://host:5000/v2/",
 *     "host/v1/"; for docker.io also index.docker.io and registry-1.docker.io. Docker's own key
 *     "https://index.docker.io/v1/" goes before the others;
 *  4. credsStore.
 *
 * An entry without any credential (docker leaves "host": {} where a helper has them) counts as
 * absent; a helper "" means that there is none for this host, not even credsStore. When a helper
 * answers that it has none, the file has none. Returns 0, also for AUTHFILE_NONE; -1 with
 * ERR_CONFIG when the entry that counts is malformed: which, and how. The strings of *out live as
 * long as the arena of the file and the caller's host. Thread-safe.
 */
int authfile_find(const struct authfile *f, const char *host, const char *name,
                  struct authfile_hit *out, struct err *err);

/*
 * What `docker-credential-X get` printed: JSON {ServerURL, Username, Secret} makes AUTHFILE_BASIC,
 * or AUTHFILE_IDENTITY_TOKEN where the user is "<token>"; the helpers' text "credentials not found
 * in native keychain" (they exit with 1) makes AUTHFILE_NONE. Strings live in the arena. Anything
 * else, or more than LIMIT_HELPER_OUTPUT, is ERR_CONFIG; the message quotes none of it.
 */
int authfile_helper_answer(const void *bytes, size_t len, struct arena *a, struct authfile_hit *out,
                           struct err *err);

/* [A-Za-z0-9._-]+, no leading '-' or '.', at most 64: safe as a part of a program's name. */
bool authfile_helper_ok(const char *name);

#endif
