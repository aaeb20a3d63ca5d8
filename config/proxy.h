/*
 * proxy.h - which proxy the environment names for a host, as curl reads it (curl(1), ENVIRONMENT).
 */
#ifndef SLIPWAY_PROXY_H
#define SLIPWAY_PROXY_H

#include "core/base/mem.h"

/* https_proxy or HTTPS_PROXY for https; http_proxy for http (HTTP_PROXY may be a stranger's header
 * under CGI, and is not read); all_proxy or ALL_PROXY for both. NULL: none, or no_proxy or
 * NO_PROXY lists the host: names with all below them, addresses, networks, "*". Pure but for
 * getenv_fn. */
const char *proxy_from_environment(const char *(*getenv_fn)(const char *name), bool https,
                                   const char *host, struct arena *a);

#endif
