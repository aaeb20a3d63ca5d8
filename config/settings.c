#include "config/settings.h"

#include "config/settings_read.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/fs.h"
#include "core/registry/certs.h"

#include <errno.h>

#define STORE_DEFAULT "sqlite:/var/lib/slipway/slipway.db"
#define CACHE_DEFAULT "/var/cache/slipway"
#define BUILDS_DEFAULT "/var/lib/slipway/builds"
#define DAY_S INT64_C(86400)
#define KEEP_IGNORED_DEFAULT_S (14 * DAY_S)

typedef void read_value_fn(struct settings_load *l, const struct yml_node *n);
typedef void read_entry_fn(struct settings_load *l, const struct yml_pair *pair);

static void read_store(struct settings_load *l, const struct yml_node *n)
{
    const char *text;
    if (!yml_want_str(n, "store", true, &text, l->diags))
        return;
    const char *path = str_after(text, "sqlite:");
    if (str_starts(text, "postgres"))
        diag_error(l->diags, n->at,
                   "store: PostgreSQL is not available in this version: write sqlite:PATH");
    else if (str_empty(path))
        diag_error(l->diags, n->at, "store must be sqlite:PATH");
    else if (strpbrk(path, "?#"))
        diag_error(l->diags, n->at, "store: '?' and '#' can't be in the path");
    else if (*path == '/')
        l->s->store = text;
    else
        l->s->store =
            arena_printf(l->arena, "sqlite:%s/%s", fs_dirname(l->arena, n->at.file), path);
}

static void read_listen(struct settings_load *l, const struct yml_node *n)
{
    (void)read_socket(l, n, "listen", &l->s->listen);
}

static void read_public_url(struct settings_load *l, const struct yml_node *n)
{
    if (!read_url(l, n, "public_url", &l->s->public_url))
        return;
    const char *path = strchr(strstr(l->s->public_url, "://") + 3, '/');
    l->s->base_path = path ? path : "";
}

static void read_cache(struct settings_load *l, const struct yml_node *n)
{
    (void)read_path(l, n, "cache", &l->s->cache);
}

static void read_body_limit(struct settings_load *l, const struct yml_node *n)
{
    (void)read_bytes(l, n, "body_limit", LIMIT_BODY_MAX, &l->s->body_max);
}

static void read_keep_ignored(struct settings_load *l, const struct yml_node *n)
{
    (void)read_seconds(l, n, "keep_ignored", 60, 3650 * DAY_S, &l->s->keep_ignored_s);
}

static void read_log_level(struct settings_load *l, const struct yml_node *n)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    size_t at;
    if (read_word(l, n, "log_level", levels, ARRAY_LEN(levels), &at))
        l->s->log_level = levels[at];
}

/* The keys of a file. Exactly one of value and entry is set, and neither for `projects`, whose
 * entries are looked at last. */
static const struct section {
    const char *key;
    read_value_fn *value; /* may be given once */
    read_entry_fn *entry; /* a map: each name may be given once */
} sections[] = {
    {"store", read_store, NULL},
    {"listen", read_listen, NULL},
    {"public_url", read_public_url, NULL},
    {"cache", read_cache, NULL},
    {"auth_file", settings_read_auth_file, NULL},
    {"certs_dirs", settings_read_certs_dirs, NULL},
    {"body_limit", read_body_limit, NULL},
    {"keep_ignored", read_keep_ignored, NULL},
    {"log_level", read_log_level, NULL},
    {"builder", settings_read_builder, NULL},
    {"forges", NULL, settings_read_forge},
    {"registries", NULL, settings_read_registry},
    {"zuul", NULL, settings_read_zuul},
    {"mirrors", NULL, settings_read_mirror},
    {"projects", NULL, NULL},
};

struct documents {
    const struct yml_node **at;
    size_t n;
    size_t cap;
};

/* The same key in an earlier document; within one the parser sees to it. */
static const struct yml_node *given_before(const struct documents *docs, size_t before,
                                           const char *section, const char *name)
{
    for (size_t i = 0; i < before; i++) {
        const struct yml_node *node = yml_get(docs->at[i], section);
        if (node && name)
            node = yml_get(node, name);
        if (node)
            return node;
    }
    return NULL;
}

static bool first_time(struct settings_load *l, const struct documents *docs, size_t doc,
                       const struct section *s, const struct yml_pair *pair)
{
    const struct yml_node *key = pair ? pair->key : yml_get(docs->at[doc], s->key);
    const struct yml_node *former = given_before(docs, doc, s->key, pair ? key->text : NULL);
    if (!former)
        return true;
    diag_error(l->diags, key->at, "%s%s%s is given already at %s:%u", s->key, pair ? "." : "",
               pair ? key->text : "", former->at.file, former->at.line);
    return false;
}

static void read_section(struct settings_load *l, const struct documents *docs, size_t doc,
                         const struct section *s)
{
    const struct yml_node *node = yml_get(docs->at[doc], s->key);
    if (!node || (!s->value && !s->entry))
        return;
    if (s->value) {
        if (first_time(l, docs, doc, s, NULL))
            s->value(l, node);
        return;
    }
    if (yml_is_null(node) || !yml_want_map(node, s->key, l->diags))
        return;
    for (size_t i = 0; i < node->n; i++)
        if (first_time(l, docs, doc, s, &node->pairs[i]))
            s->entry(l, &node->pairs[i]);
}

static void read_projects(struct settings_load *l, const struct yml_node *doc)
{
    const struct yml_node *node = yml_get(doc, "projects");
    if (!node || yml_is_null(node) || !yml_want_seq(node, "projects", l->diags))
        return;
    for (size_t i = 0; i < node->n; i++)
        settings_read_project(l, node->items[i]);
}

static void read_documents(struct settings_load *l, const struct documents *docs)
{
    const char *keys[ARRAY_LEN(sections)];
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        keys[i] = sections[i].key;
    for (size_t doc = 0; doc < docs->n; doc++) {
        yml_check_keys(docs->at[doc], keys, ARRAY_LEN(keys), l->diags);
        for (size_t i = 0; i < ARRAY_LEN(sections); i++)
            read_section(l, docs, doc, &sections[i]);
    }
    for (size_t doc = 0; doc < docs->n; doc++)
        read_projects(l, docs->at[doc]);
    settings_find_certs(l);
    settings_check_zuuls(l);
    settings_check_mirrors(l);
    settings_warn_shadowed(l);
    if (!l->s->forges.n && !l->diags->errors)
        diag_warn(l->diags, docs->at[0]->at, "no `forges`: nobody can send anything");
}

static void parse_file(struct settings_load *l, const char *path, struct documents *docs)
{
    struct err err = ERR_INIT;
    struct place at = {path, 0, 0};
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_BYTES);
    if (fs_read_file(path, &text, &err) < 0) {
        const char *said = str_after(err.text, path); /* the place says the path already */
        diag_error(l->diags, at, "can't be read%s", said ? said : err.text);
        return;
    }
    const struct yml_node *root = yml_parse(path, text.buf, text.len, l->diags);
    if (root && yml_want_map(root, "the configuration", l->diags))
        *list_push(l->arena, docs) = root;
}

static void parse_files(struct settings_load *l, const char *path, struct documents *docs)
{
    struct err err = ERR_INIT;
    struct str_list names = {0};
    const char *dir = arena_printf(l->arena, "%s/conf.d", fs_dirname(l->arena, path));
    parse_file(l, path, docs);
    if (fs_list(dir, ".yaml", l->arena, &names, &err) < 0) {
        if (err.code != ENOENT)
            diag_error(l->diags, (struct place){dir, 0, 0}, "can't be read: %s", err.text);
        return;
    }
    for (size_t i = 0; i < names.n; i++)
        if (*names.at[i] != '.')
            parse_file(l, arena_printf(l->arena, "%s/%s", dir, names.at[i]), docs);
}

const struct settings *settings_load(const char *path, unsigned roles, struct diags *diags)
{
    struct arena *a = diags->arena;
    struct settings *s = arena_alloc(a, sizeof *s);
    struct settings_load l = {.s = s, .diags = diags, .arena = a, .roles = roles};
    static const char *const certs_dirs[] = CERTS_DIRS;
    struct documents docs = {0};
    *s = (struct settings){
        .store = STORE_DEFAULT,
        .base_path = "",
        .cache = CACHE_DEFAULT,
        .body_max = LIMIT_BODY_DEFAULT,
        .keep_ignored_s = KEEP_IGNORED_DEFAULT_S,
        .log_level = "info",
        .build = {.dir = BUILDS_DEFAULT,
                  .timeout_s = LIMIT_BUILD_S,
                  .disk_max = LIMIT_BUILD_DISK,
                  .log_max = LIMIT_BUILD_LOG},
    };
    for (size_t i = 0; i < ARRAY_LEN(certs_dirs); i++)
        *list_push(a, &s->certs_dirs) = certs_dirs[i];
    path = arena_strdup(a, path);
    parse_files(&l, path, &docs);
    /* A part that could not be read would only make the others look wrong. */
    if (!diags->errors)
        read_documents(&l, &docs);
    if (!diags->errors)
        return s;
    settings_free(s);
    return NULL;
}

const struct forge_conf *settings_forge(const struct settings *s, const char *name)
{
    list_each (const struct forge_conf, f, &s->forges)
        if (str_eq(f->name, name))
            return f;
    return NULL;
}

static void free_patterns(const struct pattern_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        pattern_free(list->at[i]);
}

void settings_free(const struct settings *s)
{
    if (!s)
        return;
    list_each (const struct policy_project, p, &s->policy) {
        pattern_free(p->match);
        free_patterns(&p->branches);
        free_patterns(&p->may_publish);
        free_patterns(&p->may_read);
        free_patterns(&p->sources);
        free_patterns(&p->image_tags);
        free_patterns(&p->git_tags);
        free_patterns(&p->immutable);
        list_each (const struct policy_key, k, &p->require_signature)
            crypt_key_free(k->key);
    }
}
