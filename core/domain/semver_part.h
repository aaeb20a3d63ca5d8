/*
 * semver_part.h - what reading a version and reading a range share; of no use to others.
 */
#ifndef SLIPWAY_SEMVER_PART_H
#define SLIPWAY_SEMVER_PART_H

#include "core/domain/semver.h"

/* Each takes its part off the front of the text; false when it is malformed. */
bool semver_take_number(const char **s, bool zeros, struct semver_part *out);
bool semver_take_tail(const char **s, struct semver *v, bool zeros); /* -pre and +build, if any */

/* The order of the numbers alone. */
int semver_compare_numbers(const struct semver *a, const struct semver *b);

#endif
