/*
 * auth.h - signing in at a registry: challenges, tokens and who may see credentials.
 */
#ifndef SLIPWAY_REGISTRY_AUTH_H
#define SLIPWAY_REGISTRY_AUTH_H

#include "core/registry/registry_internal.h"

/* The Authorization for a repository as far as it is known: NULL when the host never asked, or
 * when a token has to be fetched first. */
const char *auth_header(struct registry *r, struct arena *a, struct registry_host *h,
                        const char *name);

/* Has the host asked for tokens, and is there none for this repository? */
bool auth_wants_token(struct registry *r, struct registry_host *h, const char *name);

/* The host's challenge is no longer trusted: the next 401 decides afresh. */
void auth_forget(struct registry *r, struct registry_host *h);

enum signin_result {
    SIGNIN_OK,
    SIGNIN_REFUSED, /* there is nothing better to send than what was sent */
    SIGNIN_FAILED   /* err is set */
};

struct signin {
    struct registry_host *host;
    const char *name;
    const struct http_headers *challenge; /* of the 401; NULL: as the host asked the last time */
    const char *rejected;                 /* the Authorization that got the 401, or NULL */
    enum signin_result result;
    struct err err;
};

/* One token request for each item that needs one, all at once. */
void auth_sign_in(struct registry *r, struct arena *a, struct signin *s, size_t n);

/* May this realm be called, with the credentials if there are any? ERR_CONFIG when not. Pure. */
int auth_check_realm(const struct registry_host *h, const char *realm, struct arena *a,
                     struct err *err);

#endif
