/*
 * base.h - the first include of every file: feature macros, attributes, cleanup macros and the
 * list of banned calls. Libc only; everything else in core/base builds on it.
 */
#ifndef SLIPWAY_BASE_H
#define SLIPWAY_BASE_H

#ifndef _GNU_SOURCE
#    define _GNU_SOURCE 1
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Runs fn(&variable) when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer out of a scope that would otherwise free it. */
#define STEAL(p)                                                                                   \
    __extension__({                                                                                \
        __typeof__(p) stolen_ = (p);                                                               \
        (p) = NULL;                                                                                \
        stolen_;                                                                                   \
    })

/* free() for a variable declared with CLEANUP(cleanup_free). */
static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

/* fclose() for a FILE * declared with CLEANUP(cleanup_file); errors must be read before. */
static inline void cleanup_file(FILE **p)
{
    if (*p)
        (void)fclose(*p);
}

#include "core/base/banned.h"

#endif
