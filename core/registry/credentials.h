/*
 * credentials.h - registry credentials that are not in the configuration: auth.json and
 * config.json files (containers-auth.json(5), docker's config.json) and credential helpers. Files
 * are read once; a helper's answer is kept until shortly before it may expire.
 */
#ifndef SLIPWAY_REGISTRY_CREDENTIALS_H
#define SLIPWAY_REGISTRY_CREDENTIALS_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct credentials;

/* One credential, in the caller's arena. Nothing set: there is none. */
struct credential {
    const char *username;
    const char *password;
    const char *identity_token; /* an OAuth2 refresh token */
    const char *registry_token; /* a Bearer token as it is */
    const char *origin;         /* where it is from, for messages; NULL: there is none */
};

/* Without any file: for helpers alone. */
struct credentials *credentials_new(void);

/* Reads the file, which must exist: ERR_CONFIG with line when malformed; a file that others may
 * read is warned of in the log. */
struct credentials *credentials_from_file(const char *path, struct err *err);

/* The user's own: the first file that exists of $REGISTRY_AUTH_FILE,
 * $XDG_RUNTIME_DIR/containers/auth.json, $XDG_CONFIG_HOME (or ~/.config)/containers/auth.json,
 * $DOCKER_CONFIG/config.json, ~/.docker/config.json which has something for the host decides, most
 * specific path first. getenv-like lookup is passed in. No file is fine. */
struct credentials *credentials_of_user(const char *(*getenv_fn)(const char *name),
                                        struct err *err);

void credentials_free(struct credentials *c);

/* For host/name: the most specific entry wins. `helper` (NULL: none) is the operator's own choice
 * for this host and is asked first. A helper that hangs (LIMIT_HELPER_MS), says too much, or ends
 * with an error other than "not found" is an error: ERR_TEMP, ERR_PERM. Every secret is registered
 * with log_secret. Thread-safe; helpers run without the lock held. `name` NULL: the registry as a
 * whole. */
int credentials_find(struct credentials *c, const char *helper, const char *host, const char *name,
                     struct arena *a, struct credential *out, struct err *err);

/* The token service gave a new refresh token: from now on what has this origin says that one. */
void credentials_replace(struct credentials *c, const char *origin, const char *identity_token);
/* What replaced the token of that origin, in the arena; NULL: nothing did. */
const char *credentials_replaced(struct credentials *c, const char *origin, struct arena *a);

/* What a helper said was refused: the next look-up asks it anew. */
void credentials_forget(struct credentials *c, const char *origin);

#endif
