#include "config/settings_read.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/mirror.h"
#include "core/os/fs.h"

#define EVERY_LEAST_S 60
#define EVERY_MOST_S (365 * INT64_C(86400))

static bool knows_registry(const void *ctx, const char *host)
{
    const struct settings *s = ctx;
    list_each (const struct registry_conf, conf, &s->registries)
        if (str_caseeq(conf->host, host))
            return true;
    return false;
}

static void read_list_file(struct settings_load *l, const struct yml_node *n, const char *path,
                           struct imagefile_mirrors *out)
{
    struct err err = ERR_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_BYTES);
    if (fs_read_file(path, &text, &err) < 0)
        diag_error(l->diags, n->at, "%s", err.text);
    else
        (void)mirror_parse(path, text.buf, text.len, out, l->diags);
}

static void read_items(struct settings_load *l, const struct yml_node *map, const char *name,
                       struct mirror_conf *m)
{
    const struct yml_node *file = yml_get(map, "file"), *images = yml_get(map, "images");
    const char *path;
    if (!file == !images) {
        diag_error(l->diags, map->at,
                   file ? "mirrors.%s has both `images` and `file`: one of them, not both"
                        : "mirrors.%s needs one of `images` and `file`",
                   name);
        return;
    }
    if (images)
        mirror_read(images, &m->items, l->diags);
    else if (read_path(l, file, key_path(l, "mirrors", name, "file"), &path) &&
             l->roles & SETTINGS_WORK)
        read_list_file(l, file, path, &m->items);
}

void settings_read_mirror(struct settings_load *l, const struct yml_pair *pair)
{
    static const char *const keys[] = {"every", "images", "file", "prune", "rate_limit", "timeout"};
    const char *name = pair->key->text;
    const struct yml_node *map = pair->value;
    struct mirror_conf m = {.name = name, .timeout_s = LIMIT_COPY_S};
    if (!event_project_ok(name) || strchr(name, '/'))
        diag_error(l->diags, pair->key->at,
                   "the name of a mirror list has letters, digits, '.', '-' and '_', not '%.80s'",
                   name);
    if (!yml_want_map(map, key_path(l, "mirrors", name, NULL), l->diags))
        return;
    yml_check_keys(map, keys, ARRAY_LEN(keys), l->diags);
    if (!yml_get(map, "every"))
        diag_error(l->diags, map->at, "%s is missing", key_path(l, "mirrors", name, "every"));
    (void)read_seconds(l, yml_get(map, "every"), key_path(l, "mirrors", name, "every"),
                       EVERY_LEAST_S, EVERY_MOST_S, &m.every_s);
    (void)read_seconds(l, yml_get(map, "timeout"), key_path(l, "mirrors", name, "timeout"), 1,
                       LIMIT_COPY_MOST_S, &m.timeout_s);
    (void)yml_want_bool(yml_get(map, "prune"), key_path(l, "mirrors", name, "prune"), &m.prune,
                        l->diags);
    (void)yml_want_int(yml_get(map, "rate_limit"), key_path(l, "mirrors", name, "rate_limit"), 0,
                       INT64_C(1000000), &m.rate_min, l->diags);
    read_items(l, map, name, &m);
    *list_push(l->arena, &l->s->mirrors) = m;
}

void settings_check_mirrors(struct settings_load *l)
{
    const struct mirror_rules rules = {.knows_registry = knows_registry, .ctx = l->s};
    list_each (const struct mirror_conf, m, &l->s->mirrors) {
        struct mirror_entries entries = {0};
        mirror_resolve(&m->items, &rules, &entries, l->diags);
    }
}
