#include "config/proxy.h"

#include "core/base/str.h"

#include <arpa/inet.h>

static const char *first_of(const char *(*getenv_fn)(const char *name), const char *one,
                            const char *other)
{
    const char *value = getenv_fn(one);
    if (str_empty(value) && other)
        value = getenv_fn(other);
    return str_empty(value) ? NULL : value;
}

/* Is the address in the network "10.0.0.0/8"? A plain address is a network of one. */
static bool in_network(const char *network, const char *host, struct arena *a)
{
    unsigned char net[16], address[16];
    const char *slash = strchr(network, '/');
    const char *base = slash ? arena_strndup(a, network, (size_t)(slash - network)) : network;
    for (int i = 0; i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET;
        uint64_t bits = i ? 128 : 32, wanted = bits;
        if (inet_pton(family, base, net) != 1 || inet_pton(family, host, address) != 1)
            continue;
        if (slash && (!str_to_u64(slash + 1, &wanted) || wanted > bits))
            return false;
        for (uint64_t bit = 0; bit < wanted; bit++)
            if ((net[bit / 8] ^ address[bit / 8]) & (0x80 >> bit % 8))
                return false;
        return true;
    }
    return false;
}

static bool covers(const char *entry, const char *host, struct arena *a)
{
    if (str_eq(entry, "*") || in_network(entry, host, a))
        return true;
    if (*entry == '.')
        entry++;
    size_t len = strlen(host), tail = strlen(entry);
    if (tail && entry[tail - 1] == '.')
        tail--;
    if (tail == 0 || tail > len || strncasecmp(host + len - tail, entry, tail) != 0)
        return false;
    return tail == len || host[len - tail - 1] == '.';
}

/* "host:5000" and "[::1]:5000" without the port and brackets. */
static const char *bare(const char *host, struct arena *a)
{
    if (*host == '[')
        return arena_strndup(a, host + 1, strcspn(host + 1, "]"));
    return arena_strndup(a, host, strcspn(host, ":"));
}

const char *proxy_from_environment(const char *(*getenv_fn)(const char *name), bool https,
                                   const char *host, struct arena *a)
{
    const char *proxy = https ? first_of(getenv_fn, "https_proxy", "HTTPS_PROXY")
                              : first_of(getenv_fn, "http_proxy", NULL);
    const char *except = first_of(getenv_fn, "no_proxy", "NO_PROXY");
    const char *name = bare(host, a);
    if (!proxy)
        proxy = first_of(getenv_fn, "all_proxy", "ALL_PROXY");
    while (proxy && except && *except) {
        size_t len = strcspn(except, ", ");
        if (len && covers(arena_strndup(a, except, len), name, a))
            return NULL;
        except += len + strspn(except + len, ", ");
    }
    if (!proxy || strstr(proxy, "://"))
        return arena_strdup(a, proxy);
    return arena_printf(a, "http://%s", proxy);
}
