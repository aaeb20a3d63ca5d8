/*
 * json.h - JSON values (jansson, which owns the prefix json_; ours is js_). Parsing refuses
 * duplicate keys, trailing bytes, bad UTF-8 and nesting beyond LIMIT_JSON_DEPTH.
 */
#ifndef SLIPWAY_JSON_H
#define SLIPWAY_JSON_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

struct js; /* one JSON value, reference counted */

/* NULL on error: ERR_INPUT, "line 3, column 7: ...". The caller frees with js_free. */
struct js *js_parse(const void *text, size_t len, struct err *err);
/* The same for at most so many values (of LIMIT_JSON_VALUES): each may cost 200 bytes. */
struct js *js_parse_within(const void *text, size_t len, size_t values, struct err *err);
void js_free(struct js *v); /* NULL is fine */
static inline void cleanup_js(struct js **v)
{
    js_free(*v);
}
#define CLEANUP_JS CLEANUP(cleanup_js)

/* Look-ups return borrowed values. A path is member names joined by '.', "" is the value itself;
 * they return NULL (or the default) when anything on the way is absent or of another type. */
const struct js *js_get(const struct js *v, const char *path);
const char *js_str(const struct js *v, const char *path); /* a string, else NULL */
int64_t js_int(const struct js *v, const char *path, int64_t otherwise);
bool js_bool(const struct js *v, const char *path); /* only the literal true is true */
/* A string, or an integer written as text (Gerrit and old versions of it differ); NULL else. */
const char *js_text(const struct js *v, const char *path, struct arena *a);

/* A member by its whole name, dots included; NULL when absent. And the same for a string; NULL also
 * when it is none. */
const struct js *js_member(const struct js *object, const char *name);
const char *js_member_str(const struct js *object, const char *name);

bool js_is_object(const struct js *v);
bool js_is_array(const struct js *v);
bool js_is_null(const struct js *v); /* the literal null, which is there; not a NULL pointer */
size_t js_len(const struct js *v);   /* of an array, else 0 */
const struct js *js_at(const struct js *v, size_t i);                       /* of an array */
size_t js_keys(const struct js *v, struct arena *a, struct str_list *keys); /* of an object */

/* Building. The parent takes ownership of a child; a NULL string is left out. */
struct js *js_object(void);
struct js *js_array(void);
void js_put(struct js *object, const char *key, struct js *child);
void js_put_str(struct js *object, const char *key, const char *value);
void js_put_int(struct js *object, const char *key, int64_t value);
void js_put_bool(struct js *object, const char *key, bool value);
void js_push(struct js *array, struct js *child);
void js_push_str(struct js *array, const char *value);

/* Compact text, keys in insertion order; js_pretty has two blanks of indentation. */
char *js_dump(const struct js *v, struct arena *a);
char *js_pretty(const struct js *v, struct arena *a);

#endif
