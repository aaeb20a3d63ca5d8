/*
 * random.h - unpredictable bytes from the kernel.
 */
#ifndef SLIPWAY_RANDOM_H
#define SLIPWAY_RANDOM_H

#include "core/base/base.h"

void random_bytes(void *out, size_t len); /* aborts when the kernel has none */
void random_hex(char *out, size_t bytes); /* out holds 2 * bytes + 1 */
int64_t random_below(int64_t bound);      /* uniform in [0, bound), bound > 0 */

#endif
