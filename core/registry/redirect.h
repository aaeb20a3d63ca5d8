/*
 * redirect.h - going on at an address that a registry named itself: its storage, another host that
 * serves for it, or one of its own. Credentials go to its own origin alone.
 */
#ifndef SLIPWAY_REGISTRY_REDIRECT_H
#define SLIPWAY_REGISTRY_REDIRECT_H

#include "core/registry/registry_internal.h"

bool redirect_is(int status);

/* The request that a redirect from `url` asks for; *own: it stays on the registry's origin. `what`
 * is for the message. ERR_PERM: not followed. */
int redirect_hop(const struct registry_host *h, const char *url, const struct http_resp *resp,
                 int hops, const char *what, struct arena *a, struct http_call *call, bool *own,
                 struct err *err);

/* Follows x->resp, the answer to a GET or HEAD, while it is a redirect: without credentials, but
 * where the registry's own origin asks for them. *moved: the address that answered in the end;
 * NULL: it was none. -1: it is not followed, or no answer. */
int redirect_follow(struct registry *r, struct arena *a, struct exchange *x, const char *what,
                    const char **moved, struct err *err);

/* The address, as text in the arena, that `to` (a Location or a link, NULL: none) means at `base`;
 * NULL when it is not of the registry's own origin. */
const char *redirect_own(const struct registry_host *h, const char *base, const char *to,
                         struct arena *a);

#endif
