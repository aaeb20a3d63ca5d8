#include "config/settings_read.h"

#include "core/base/limits.h"

#define SECTION "builder"
#define DISK_MOST (INT64_C(64) << 40)
#define LOG_MOST MIB(1024)

static const char *what(struct settings_load *l, const char *key)
{
    return key_path(l, SECTION, key, NULL);
}

static void read_size(struct settings_load *l, const struct yml_node *map, const char *key,
                      size_t most, int64_t *out)
{
    size_t size = 0;
    if (read_bytes(l, yml_get(map, key), what(l, key), most, &size))
        *out = (int64_t)size;
}

static void read_isolation(struct settings_load *l, const struct yml_node *n,
                           struct build_conf *conf)
{
    static const char *const kinds[] = {"chroot", "rootless", "oci"};
    size_t at;
    if (read_word(l, n, what(l, "isolation"), kinds, ARRAY_LEN(kinds), &at))
        conf->isolation = kinds[at];
}

void settings_read_builder(struct settings_load *l, const struct yml_node *map)
{
    static const char *const keys[] = {"dir",     "socket", "scratch", "isolation",
                                       "timeout", "disk",   "log"};
    struct build_conf *conf = &l->s->build;
    if (!yml_want_map(map, SECTION, l->diags))
        return;
    yml_check_keys(map, keys, ARRAY_LEN(keys), l->diags);
    (void)read_path(l, yml_get(map, "dir"), what(l, "dir"), &conf->dir);
    (void)read_socket(l, yml_get(map, "socket"), what(l, "socket"), &conf->socket);
    (void)read_path(l, yml_get(map, "scratch"), what(l, "scratch"), &conf->scratch);
    read_isolation(l, yml_get(map, "isolation"), conf);
    (void)read_seconds(l, yml_get(map, "timeout"), what(l, "timeout"), 1, LIMIT_BUILD_MOST_S,
                       &conf->timeout_s);
    read_size(l, map, "disk", DISK_MOST, &conf->disk_max);
    read_size(l, map, "log", LOG_MOST, &conf->log_max);
    if (conf->socket && conf->scratch)
        diag_warn(l->diags, yml_get(map, "scratch")->at,
                  "builder.scratch counts only where `work` starts the builder itself: with "
                  "builder.socket say it to `slipway builder --scratch`");
}
