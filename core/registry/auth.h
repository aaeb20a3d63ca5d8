/*
 * auth.h - signing in at a registry: credentials, challenges, tokens and who may see what.
 */
#ifndef SLIPWAY_REGISTRY_AUTH_H
#define SLIPWAY_REGISTRY_AUTH_H

#include "core/registry/credentials.h"
#include "core/registry/registry_internal.h"

/* With what a repository is entered: the conf's own words, else its helper's, else those of the
 * credential files; nothing for an anonymous entry. -1: looking failed. May run a helper. */
int auth_credential(struct registry *r, struct arena *a, const struct registry_host *h,
                    const char *name, struct credential *out, struct err *err);

/* The Authorization for an exchange as far as it is known, into x->sent, with x->origin: NULL when
 * the host never asked, or when a token has to be fetched first. -1: looking for credentials
 * failed. */
int auth_header(struct registry *r, struct arena *a, struct exchange *x, struct err *err);

/* Has the host asked for tokens, and is there none for this exchange? */
bool auth_wants_token(struct registry *r, const struct exchange *x);

/* The host's challenge is no longer trusted: the next 401 decides afresh. */
void auth_forget(struct registry *r, struct registry_host *h);

/* Would both be let in by the same token? */
bool auth_same(const struct exchange *x, const struct exchange *y);

enum signin_result {
    SIGNIN_OK,
    SIGNIN_REFUSED, /* there is nothing better to send than what was sent */
    SIGNIN_FAILED   /* err is set */
};

struct signin {
    const struct exchange *of;            /* host, name and access count */
    const struct http_headers *challenge; /* of the 401; NULL: as the host asked the last time */
    const char *rejected;                 /* the Authorization that got the 401, or NULL */
    enum signin_result result;
    bool no_credential; /* failed, since looking for credentials did: asking again is no use */
    struct err err;
};

/* One token request for each item that needs one, all at once. */
void auth_sign_in(struct registry *r, struct arena *a, struct signin *s, size_t n);

/* May this realm be called? ERR_CONFIG when not. *paired: the operator knows it, so it may see
 * credentials; else it may be asked for an anonymous token, at a public address. Pure. */
int auth_check_realm(const struct registry_host *h, const char *realm, bool has_credentials,
                     struct arena *a, bool *paired, struct err *err);

/* The value of an Authorization header; password NULL: an empty one. */
const char *auth_basic(struct arena *a, const char *username, const char *password);

/* Is this text, which a token service gave, fit to stand in a header? NULL and "" are not. */
bool auth_token_ok(const char *token);

/* --- token.c: requests to token services ---------------------------------------------------------
 */

/* One sign-in that needs a token request. */
struct token_try {
    struct signin *signin;
    struct credential credential;
    const char *realm;
    const char *service;
    const char *more; /* rights that the registry asked for beyond the usual ones */
    bool paired;      /* the realm may see credentials */
    bool by_get;      /* a refresh token has to go by GET */
    size_t step;      /* how far down the rights it got */
    bool done;
};

/* Fetches all at once; each signin's result and err are set, good tokens are kept. */
void token_fetch(struct registry *r, struct arena *a, struct token_try *t, size_t n);

#endif
