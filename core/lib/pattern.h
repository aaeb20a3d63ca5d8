/*
 * pattern.h - patterns that people write: a glob, or with a leading '^' a regular expression
 * (PCRE2 with match limits) that must match the whole text. `!pattern` is no part of it.
 */
#ifndef SLIPWAY_PATTERN_H
#define SLIPWAY_PATTERN_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct pattern;

/* NULL on error: ERR_CONFIG with the offset in the expression. Freed by pattern_free. */
struct pattern *pattern_compile(const char *text, struct err *err);
void pattern_free(struct pattern *p);

/* False also when the match limit was hit. Thread-safe. */
bool pattern_match(const struct pattern *p, const char *subject);

const char *pattern_text(const struct pattern *p);

/* The text before the first wildcard of a glob ("" for a regular expression): for messages and
 * shadowing warnings. */
const char *pattern_literal_prefix(const struct pattern *p, struct arena *a);

#endif
