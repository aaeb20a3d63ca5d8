/*
 * semver.h - Semantic Versioning 2.0.0: reading, comparing, and ranges as npm writes them. Numbers
 * are compared as texts of digits, so that none overflows. Pure.
 */
#ifndef SLIPWAY_SEMVER_H
#define SLIPWAY_SEMVER_H

#include "core/base/err.h"
#include "core/base/mem.h"

#define SEMVER_NUMBERS 4

/* A part of the text that was read: no NUL at its end. */
struct semver_part {
    const char *at;
    size_t len; /* 0: absent */
};

/* Borrows from the text that was read. */
struct semver {
    struct semver_part number[SEMVER_NUMBERS]; /* an absent number is 0 */
    size_t numbers;                            /* how many were written */
    struct semver_part pre;                    /* "rc.1" of 1.0.0-rc.1 */
    struct semver_part build;                  /* "5" of 1.0.0+5: no part of the order */
};

/* What is taken beyond the specification's three numbers without leading zeros. */
enum semver_leniency {
    SEMVER_STRICT = 0,
    SEMVER_V = 1,     /* "v1.2.3", "V1.2.3" */
    SEMVER_SHORT = 2, /* "1.2"; one number alone is no version: it may be a build or a date */
    SEMVER_LONG = 4,  /* "1.2.3.4" */
    SEMVER_ZEROS = 8, /* "2026.01.05": leading zeros mean nothing */
    SEMVER_TAG = SEMVER_V | SEMVER_SHORT | SEMVER_LONG /* what tags of images get */
};

/* False when the text is no version, or is longer than LIMIT_SEMVER. */
bool semver_parse(const char *text, unsigned leniency, struct semver *out);

/* By precedence: < 0 when a comes before b, 0 when neither does, > 0 when it comes behind. */
int semver_compare(const struct semver *a, const struct semver *b);

/*
 * Ranges. Comparators < <= > >= = != with whole or partial versions, ^1.4, ~1.4.2 (also ~>), 1.x,
 * 1.2.*, *, and "1.2 - 2.3"; blanks or a comma between them mean both, "||" means either. Versions
 * in a range may begin with v. Partial ones mean what npm means: >1.2 begins at 1.3.0, <=1.2 ends
 * before 1.3.0, 1.2 is 1.2.x. A pre-release is in a range only where a comparator of that
 * alternative names a pre-release of the same numbers: >=1.2.0-rc.1 takes 1.2.0-rc.2, but not
 * 1.3.0-rc.1.
 */
struct semver_range;

/* NULL on error: ERR_CONFIG with the character at which the text is wrong. Lives in the arena,
 * and borrows nothing. */
const struct semver_range *semver_range_compile(const char *text, struct arena *a, struct err *err);

bool semver_range_has(const struct semver_range *r, const struct semver *v);

#endif
