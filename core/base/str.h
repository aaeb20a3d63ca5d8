/*
 * str.h - small pure string functions. No locale: bytes above 127 are never letters.
 */
#ifndef SLIPWAY_STR_H
#define SLIPWAY_STR_H

#include "core/base/base.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

bool str_eq(const char *a, const char *b);     /* NULL equals only NULL */
bool str_caseeq(const char *a, const char *b); /* ASCII letters fold */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
bool str_empty(const char *s); /* NULL or "" */
bool str_in(const char *s, const struct str_list *list);

/* The text behind the prefix, or NULL when s does not start with it. */
const char *str_after(const char *s, const char *prefix);

/* Whole-string decimal numbers: digits only (a leading '-' for i64), no blanks, no overflow. */
bool str_to_i64(const char *s, int64_t *out);
bool str_to_u64(const char *s, uint64_t *out);

/* "90s", "10m", "2h", "14d" or a bare number of seconds, whole and not negative; and the shortest
 * way to write it so again. */
bool str_to_seconds(const char *s, int64_t *out);
void str_seconds(int64_t seconds, char out[24]);
/* "512K", "4M", "2G" (powers of 1024) or a bare number of bytes. */
bool str_to_bytes(const char *s, size_t *out);

/* Lower-case hex. Decoding accepts both cases and needs exactly 2 * len digits. */
void str_hex(const void *bytes, size_t len, char *out /* 2 * len + 1 */);
bool str_unhex(const char *hex, void *out, size_t len);
bool str_is_hex(const char *s, size_t len); /* exactly len digits of lower-case hex */

/* RFC 3986: everything but unreserved characters becomes %XX; '/' stays when keep_slash. */
void str_urlencode(struct strbuf *out, const char *s, bool keep_slash);

/* How many bytes the character of UTF-8 at s has ("" has one); 0: it is malformed. */
size_t str_utf8(const char *s);

/* How many bytes a control character at s has; 0: it is none. Also U+0080 to U+009F, two bytes of
 * UTF-8 each, which terminals obey just as an escape. */
size_t str_control(const char *s);

/* A copy whose control characters (str_control) are '?': what a terminal may be shown. */
char *str_printable(struct arena *a, const char *s);

/* Splits at each sep into the arena; empty parts are kept; "" gives one empty part. */
struct str_list str_split(struct arena *a, const char *s, char sep);

/* The entry of the list nearest to s by edit distance, NULL when none is near enough to be a
 * likely slip (a third of its length, at least 1, at most 3). */
const char *str_nearest(const char *s, const char *const *list, size_t n);

/* Glob over '/'-separated names: `*` and `?` stay within a segment, `**` crosses segments; every
 * other character is literal. Linear in the product of both lengths. */
bool str_glob(const char *glob, const char *name);

/* UTC "2026-11-23T16:40:10Z" from seconds since 1970, and back (also with fractions, which are
 * dropped, and +hh:mm offsets, RFC 3339); false when malformed. */
void str_rfc3339(int64_t seconds, char out[32]);
bool str_from_rfc3339(const char *s, int64_t *seconds);

#endif
