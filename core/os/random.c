#include "core/os/random.h"

#include "core/base/str.h"

#include <errno.h>
#include <sys/random.h>

void random_bytes(void *out, size_t len)
{
    unsigned char *p = out;
    while (len) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            (void)fprintf(stderr, "slipway: the kernel gives no random bytes\n");
            abort();
        }
        p += got;
        len -= (size_t)got;
    }
}

void random_hex(char *out, size_t bytes)
{
    static const size_t chunk = 32;
    unsigned char raw[32];
    *out = '\0';
    while (bytes) {
        size_t n = bytes < chunk ? bytes : chunk;
        random_bytes(raw, n);
        str_hex(raw, n, out);
        out += 2 * n;
        bytes -= n;
    }
}

int64_t random_below(int64_t bound)
{
    if (bound <= 1)
        return 0;
    /* Numbers in the last, incomplete run of `bound` would favour small results. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % (uint64_t)bound;
    uint64_t value;
    do {
        random_bytes(&value, sizeof value);
    } while (value >= limit);
    return (int64_t)(value % (uint64_t)bound);
}
