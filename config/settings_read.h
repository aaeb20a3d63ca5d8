/*
 * settings_read.h - what the parts of settings.c share: the state of one load, and readers of
 * values with their messages. Every reader returns false when the node is missing or wrong; what
 * is wrong has been reported.
 */
#ifndef SLIPWAY_SETTINGS_READ_H
#define SLIPWAY_SETTINGS_READ_H

#include "config/settings.h"
#include "core/lib/yaml.h"

struct settings_load {
    struct settings *s;
    struct diags *diags;
    struct arena *arena;
    unsigned roles;
};

/* One word out of a fixed list; *out is its index. */
bool read_word(struct settings_load *l, const struct yml_node *n, const char *what,
               const char *const *words, size_t n_words, size_t *out);
/* "10m", "14d", "30s", "2h" or seconds, between min and max. */
bool read_seconds(struct settings_load *l, const struct yml_node *n, const char *what, int64_t min,
                  int64_t max, int64_t *out);
/* "4M", "512K" or bytes, at most max. */
bool read_bytes(struct settings_load *l, const struct yml_node *n, const char *what, size_t max,
                size_t *out);
/* http(s)://host[:port][/path], without trailing slash. */
bool read_url(struct settings_load *l, const struct yml_node *n, const char *what,
              const char **out);
/* A base of clone URLs: https, http, ssh, file, or an absolute path. */
bool read_git_url(struct settings_load *l, const struct yml_node *n, const char *what,
                  const char **out);
/* A path, relative to the folder of the file that it is written in. */
bool read_path(struct settings_load *l, const struct yml_node *n, const char *what,
               const char **out);
/* The same for a unix socket, whose path can't be long. */
bool read_socket(struct settings_load *l, const struct yml_node *n, const char *what,
                 const char **out);
/* A reference to a secret, noted under `what`; the value is read when one of `roles` is loaded. */
bool read_secret(struct settings_load *l, const struct yml_node *n, const char *what,
                 unsigned roles, const char **out);
/* The same for a text of many lines, of at most LIMIT_AUTH_FILE. */
bool read_secret_text(struct settings_load *l, const struct yml_node *n, const char *what,
                      unsigned roles, const char **out);
/* Patterns; an empty list is an error unless may_be_empty. */
bool read_patterns(struct settings_load *l, const struct yml_node *n, const char *what,
                   bool may_be_empty, struct pattern_list *out);

/* Calls fn for a single value, or for each item of a list. */
bool read_each(struct settings_load *l, const struct yml_node *n, const char *what,
               bool (*fn)(struct settings_load *l, const struct yml_node *item, void *to),
               void *to);

/* Does the URL begin with http:// and lead to another machine? */
bool url_is_exposed(const char *url);

/* Path of a key for messages: "forges.review.url". */
const char *key_path(struct settings_load *l, const char *map, const char *entry, const char *key);

/* The sections (settings_forges.c, settings_projects.c): one entry each, checked and added. */
void settings_read_forge(struct settings_load *l, const struct yml_pair *pair);
void settings_read_registry(struct settings_load *l,
                            const struct yml_pair *pair); /* _registries.c */
void settings_read_auth_file(struct settings_load *l, const struct yml_node *n);
void settings_read_certs_dirs(struct settings_load *l, const struct yml_node *n);
/* Once all are there: their certs.d folders. */
void settings_find_certs(struct settings_load *l);
void settings_read_zuul(struct settings_load *l, const struct yml_pair *pair);
void settings_read_builder(struct settings_load *l, const struct yml_node *map);
void settings_read_mirror(struct settings_load *l, const struct yml_pair *pair);
void settings_read_project(struct settings_load *l, const struct yml_node *entry);
/* Once all are there: is each `intermediate` a registry that is configured? */
void settings_check_zuuls(struct settings_load *l);
/* Once all are there: may the lists under `mirrors` be run with the registries that there are? */
void settings_check_mirrors(struct settings_load *l);
/* Likewise: entries that an earlier one shadows. */
void settings_warn_shadowed(struct settings_load *l);

#endif
