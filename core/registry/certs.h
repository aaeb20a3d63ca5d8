/*
 * certs.h - certificates of registries in folders, as docker and podman look for them
 * (containers-certs.d(5)): <dir>/<host[:port]>/ with *.crt (authorities), and *.cert with *.key
 * (what we show).
 */
#ifndef SLIPWAY_REGISTRY_CERTS_H
#define SLIPWAY_REGISTRY_CERTS_H

#include "core/base/err.h"
#include "core/lib/http.h"

#define CERTS_DIRS                                                                                 \
    {                                                                                              \
        "/etc/containers/certs.d", "/etc/docker/certs.d"                                           \
    }

/* Completes `via` from the first of the dirs that has a folder for the host, unless via names an
 * authority or a certificate already. Nothing there is fine. ERR_CONFIG: a certificate without its
 * key, a key without its certificate, or what cannot be read. */
int certs_find(const struct str_list *dirs, const char *host, struct arena *a, struct http_via *via,
               struct err *err);

#endif
