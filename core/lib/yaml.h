/*
 * yaml.h - a bounded YAML tree (over libyaml's events; libyaml owns the prefix yaml_, ours is
 * yml_). One document; anchors, aliases and merge keys `<<` are resolved, a cycle or an expansion
 * beyond LIMIT_YAML_NODES is an error, duplicate keys are errors, nesting is bounded (aliases
 * included, so that a walk may recurse). Every node knows its place; an aliased node keeps the
 * place where it was written.
 */
#ifndef SLIPWAY_YAML_H
#define SLIPWAY_YAML_H

#include "core/base/diag.h"
#include "core/base/mem.h"

enum yml_type { YML_SCALAR, YML_SEQ, YML_MAP };

struct yml_node;

struct yml_pair {
    const struct yml_node *key; /* a scalar */
    const struct yml_node *value;
    bool merged; /* came in by `<<` */
};

struct yml_node {
    enum yml_type type;
    struct place at;
    const char *tag;                     /* explicit tag such as "!override", NULL when none */
    const char *text;                    /* scalar: as written, unescaped, NUL-terminated */
    size_t len;                          /* scalar: bytes */
    bool plain;                          /* scalar: unquoted, so that YAML's types apply */
    size_t n;                            /* items or pairs */
    const struct yml_node *const *items; /* sequence */
    const struct yml_pair *pairs;        /* map, in the order written, merged ones last */
};

/* Parses len bytes called `file` in messages. Returns the root in diags->arena, or NULL when there
 * are errors (all that can be found in one go are in diags). An empty text is an error. */
const struct yml_node *yml_parse(const char *file, const void *text, size_t len,
                                 struct diags *diags);

/* The same as Python's reader has it: of several same keys of a map the last one counts, of several
 * `<<` too, and an empty text is null. */
const struct yml_node *yml_parse_last(const char *file, const void *text, size_t len,
                                      struct diags *diags);

/* The value under a key of a map, NULL when absent or when the node is no map. */
const struct yml_node *yml_get(const struct yml_node *map, const char *key);

/* One error for each key that is not in the list, with "did you mean". */
void yml_check_keys(const struct yml_node *map, const char *const *keys, size_t n,
                    struct diags *diags);

/* What YAML 1.1's types make of a scalar: a quoted one, and one with a tag, is a text. */
enum yml_kind { YML_TEXT, YML_NULL, YML_BOOL, YML_INT, YML_FLOAT, YML_TIME };
enum yml_kind yml_kind(const struct yml_node *scalar);

/* YAML 1.1: would this plain scalar be something else than a string (null, bool, number, time)? */
bool yml_is_typed(const struct yml_node *scalar);
bool yml_is_null(const struct yml_node *scalar); /* plain ~, null or empty */

/*
 * Readers with messages: each returns false and reports "<what> must be ..." at the node's place
 * when the type is wrong. A missing node (NULL) returns false silently: the caller decides.
 * yml_want_str with strict refuses a plain scalar that is typed ("quote it").
 */
bool yml_want_str(const struct yml_node *n, const char *what, bool strict, const char **out,
                  struct diags *diags);
bool yml_want_bool(const struct yml_node *n, const char *what, bool *out, struct diags *diags);
bool yml_want_int(const struct yml_node *n, const char *what, int64_t min, int64_t max,
                  int64_t *out, struct diags *diags);
/* A sequence of strings, or one string as a list of one. */
bool yml_want_str_list(const struct yml_node *n, const char *what, bool strict,
                       struct str_list *out, struct diags *diags);
bool yml_want_map(const struct yml_node *n, const char *what, struct diags *diags);
bool yml_want_seq(const struct yml_node *n, const char *what, struct diags *diags);

#endif
