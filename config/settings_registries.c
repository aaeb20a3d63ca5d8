#include "config/settings_read.h"

#include "config/proxy.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/authfile.h"
#include "core/domain/imageref.h"
#include "core/os/fs.h"
#include "core/registry/certs.h"
#include "core/registry/vendor.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_LEAST = 64 << 10, TRANSFERS_MOST = 16, MOST_TYPES = 32 };

struct origins_to {
    const char *what;
    struct str_list *list;
    bool https_only;
};

static bool read_origin(struct settings_load *l, const struct yml_node *item, void *to)
{
    struct origins_to *o = to;
    const char *url;
    if (!read_url(l, item, o->what, &url))
        return false;
    const char *host = strstr(url, "://") + 3;
    if (strchr(host, '/') || (o->https_only && !str_starts(url, "https://"))) {
        diag_error(l->diags, item->at, "%s must be an origin: %s://host[:port] and no path",
                   o->what, o->https_only ? "https" : "https or http");
        return false;
    }
    *list_push(l->arena, o->list) = url;
    return true;
}

/* A file that whoever talks to registries has to read. */
static bool read_file_path(struct settings_load *l, const struct yml_node *n, const char *what,
                           const char **out)
{
    char detail[128];
    if (!read_path(l, n, what, out))
        return false;
    if (!(l->roles & SETTINGS_WORK) || access(*out, R_OK) == 0)
        return true;
    diag_error(l->diags, n->at, "%s: %s can't be read: %s", what, *out,
               strerror_r(errno, detail, sizeof detail));
    return false;
}

static void read_registry_login(struct settings_load *l, const struct yml_node *map,
                                struct registry_conf *r)
{
    const struct yml_node *password = yml_get(map, "password"), *user = yml_get(map, "username");
    const char *username = NULL;
    (void)yml_want_str(user, key_path(l, "registries", r->host, "username"), true, &username,
                       l->diags);
    (void)read_secret(l, password, key_path(l, "registries", r->host, "password"), SETTINGS_WORK,
                      &r->password);
    if (l->roles & SETTINGS_WORK)
        r->username = username;
    if (!user != !password)
        diag_error(l->diags, user ? user->at : password->at,
                   "registries.%s: `username` and `password` go together", r->host);
    const char *as_url = arena_printf(l->arena, "http://%s", r->host);
    if (password && r->plain_http && url_is_exposed(as_url))
        diag_warn(l->diags, map->at, "registries.%s: credentials travel unencrypted (plain_http)",
                  r->host);
}

static void read_helper(struct settings_load *l, const struct yml_node *map,
                        struct registry_conf *r)
{
    const struct yml_node *node = yml_get(map, "credential_helper");
    const char *what = key_path(l, "registries", r->host, "credential_helper"), *name;
    if (!yml_want_str(node, what, true, &name, l->diags))
        return;
    if (!authfile_helper_ok(name))
        diag_error(l->diags, node->at,
                   "%s is the X of a program docker-credential-X: letters, digits and . _ -, not "
                   "'%.80s'",
                   what, name);
    else if (yml_get(map, "username"))
        diag_error(l->diags, node->at, "registries.%s: `credential_helper` or `username`, not both",
                   r->host);
    else if (l->roles & SETTINGS_WORK)
        r->credential_helper = name;
}

static void read_type(struct settings_load *l, const struct yml_node *map, struct registry_conf *r)
{
    const char *const *types = vendor_types();
    const char *words[MOST_TYPES];
    size_t n = 0, at;
    for (; n < MOST_TYPES && types[n]; n++)
        words[n] = types[n];
    if (read_word(l, yml_get(map, "type"), key_path(l, "registries", r->host, "type"), words, n,
                  &at))
        r->type = words[at];
}

/* The vendor's own API, beside the protocol that all registries speak. */
static void read_api(struct settings_load *l, const struct yml_node *map, struct registry_conf *r)
{
    const struct yml_node *user = yml_get(map, "api_username");
    const struct yml_node *password = yml_get(map, "api_password");
    const char *username = NULL;
    (void)read_url(l, yml_get(map, "api"), key_path(l, "registries", r->host, "api"), &r->api);
    (void)yml_want_str(user, key_path(l, "registries", r->host, "api_username"), true, &username,
                       l->diags);
    (void)read_secret(l, password, key_path(l, "registries", r->host, "api_password"),
                      SETTINGS_WORK, &r->api_password);
    if (l->roles & SETTINGS_WORK)
        r->api_username = username;
    if (user && !password)
        diag_error(l->diags, user->at, "%s needs an `api_password` beside it",
                   key_path(l, "registries", r->host, "api_username"));
    if (url_is_exposed(r->api))
        diag_warn(l->diags, map->at,
                  "registries.%s: the vendor's API sees credentials unencrypted over http://",
                  r->host);
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* What the environment says may hold a password, which the configuration never does. */
static void hide_password(struct arena *a, const char *proxy)
{
    const char *at = proxy ? strrchr(proxy, '@') : NULL;
    const char *user = at ? strstr(proxy, "://") + 3 : NULL;
    const char *colon = user ? memchr(user, ':', (size_t)(at - user)) : NULL;
    if (colon)
        log_secret(arena_strndup(a, colon + 1, (size_t)(at - colon - 1)));
}

static void read_proxy(struct settings_load *l, const struct yml_node *map, struct registry_conf *r)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    const struct yml_node *node = yml_get(map, "proxy");
    const char *what = key_path(l, "registries", r->host, "proxy"), *text, *host = NULL;
    if (!yml_want_str(node, what, true, &text, l->diags))
        return;
    if (str_eq(text, "environment")) {
        r->via.proxy = proxy_from_environment(environment, !r->plain_http, r->host, l->arena);
        hide_password(l->arena, r->via.proxy);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(schemes) && !host; i++)
        host = str_after(text, schemes[i]);
    if (host && imageref_host_ok(host))
        r->via.proxy = text;
    else
        diag_error(l->diags, node->at,
                   "%s is `environment`, or http://host:port, also with https, socks5 or socks5h: "
                   "no path, and no user name or password",
                   what);
}

static void read_way(struct settings_load *l, const struct yml_node *map, struct registry_conf *r)
{
    const struct {
        const char *key;
        const char **out;
    } files[] = {{"ca_file", &r->via.ca_file},
                 {"ca_dir", &r->via.ca_dir},
                 {"client_cert", &r->via.client_cert},
                 {"client_key", &r->via.client_key}};
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        (void)read_file_path(l, yml_get(map, files[i].key),
                             key_path(l, "registries", r->host, files[i].key), files[i].out);
    if ((l->roles & SETTINGS_WORK) && r->via.ca_dir && stat(r->via.ca_dir, &st) == 0 &&
        !S_ISDIR(st.st_mode))
        diag_error(l->diags, yml_get(map, "ca_dir")->at,
                   "%s is a folder of *.crt files; for one file there is `ca_file`",
                   key_path(l, "registries", r->host, "ca_dir"));
    if (yml_get(map, "client_key") && !yml_get(map, "client_cert"))
        diag_error(l->diags, yml_get(map, "client_key")->at, "%s needs a `client_cert` beside it",
                   key_path(l, "registries", r->host, "client_key"));
    read_proxy(l, map, r);
}

static void read_transfers(struct settings_load *l, const struct yml_node *map,
                           struct registry_conf *r)
{
    const struct yml_node *node = yml_get(map, "transfers"), *chunk = yml_get(map, "chunk");
    const char *what = key_path(l, "registries", r->host, "transfers"), *text;
    const char *chunk_what = key_path(l, "registries", r->host, "chunk");
    uint64_t n;
    if (yml_want_str(node, what, false, &text, l->diags)) {
        if (str_to_u64(text, &n) && n >= 1 && n <= TRANSFERS_MOST)
            r->transfers = (size_t)n;
        else
            diag_error(l->diags, node->at, "%s must be a number from 1 to %d, not '%.40s'", what,
                       TRANSFERS_MOST, text);
    }
    if (read_bytes(l, chunk, chunk_what, LIMIT_CHUNK_MAX, &r->chunk) && r->chunk < CHUNK_LEAST)
        diag_error(l->diags, chunk->at, "%s must be at least %dK: each chunk is a request",
                   chunk_what, CHUNK_LEAST >> 10);
}

/* Two names for one registry would be two sets of locks and two histories of each tag. */
static bool is_own_name(struct settings_load *l, const char *host)
{
    struct imageref ref;
    const char *image = arena_printf(l->arena, "%s/library/x", host);
    return imageref_parse(image, host, l->arena, &ref, NULL) < 0 || str_eq(ref.host, host);
}

static void check_host(struct settings_load *l, const struct yml_node *key)
{
    if (!imageref_host_ok(key->text))
        diag_error(l->diags, key->at,
                   "the name of a registry is host or host:port, without https:// and path, not "
                   "'%.80s'",
                   key->text);
    else if (!is_own_name(l, key->text))
        diag_error(l->diags, key->at, "%s is Docker Hub, which is called docker.io here",
                   key->text);
}

void settings_read_registry(struct settings_load *l, const struct yml_pair *pair)
{
    static const char *const keys[] = {"username",   "password",     "credential_helper", "type",
                                       "api",        "api_username", "api_password",      "ca_file",
                                       "ca_dir",     "client_cert",  "client_key",        "proxy",
                                       "plain_http", "realms",       "storage",           "chunk",
                                       "transfers"};
    const char *host = pair->key->text;
    const struct yml_node *map = pair->value;
    struct registry_conf r = {.host = host, .type = vendor_types()[0]};
    struct origins_to realms = {key_path(l, "registries", host, "realms"), &r.realms, true};
    struct origins_to storage = {key_path(l, "registries", host, "storage"), &r.storage, false};
    check_host(l, pair->key);
    /* `registry.example.org:` alone: known, and anonymous. */
    if (!yml_is_null(map) && yml_want_map(map, key_path(l, "registries", host, NULL), l->diags)) {
        yml_check_keys(map, keys, ARRAY_LEN(keys), l->diags);
        (void)yml_want_bool(yml_get(map, "plain_http"),
                            key_path(l, "registries", host, "plain_http"), &r.plain_http, l->diags);
        read_registry_login(l, map, &r);
        read_helper(l, map, &r);
        read_type(l, map, &r);
        read_api(l, map, &r);
        read_way(l, map, &r);
        read_transfers(l, map, &r);
        (void)read_each(l, yml_get(map, "realms"), realms.what, read_origin, &realms);
        (void)read_each(l, yml_get(map, "storage"), storage.what, read_origin, &storage);
    }
    *list_push(l->arena, &l->s->registries) = r;
}

/* --- what all registries share -------------------------------------------------------------------
 */

/* Read once here, that its errors have a place; what it holds is looked up when it is needed. */
static void check_auth_file(struct settings_load *l, const struct yml_node *n, const char *path)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_AUTH_FILE);
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct authfile *file;
    struct err err = ERR_INIT;
    struct stat st;
    if (fs_read_file(path, &text, &err) < 0)
        diag_error(l->diags, n->at, "auth_file: %s", err.text);
    else if (authfile_parse(text.buf, text.len, &a, &file, &err) < 0)
        diag_error(l->diags, n->at, "auth_file: %s: %s", path, err.text);
    else if (stat(path, &st) == 0 && (st.st_mode & 0007))
        diag_error(l->diags, n->at,
                   "auth_file: %s is open to everybody (mode %04o): chmod o-rwx it", path,
                   (unsigned)(st.st_mode & 07777));
}

void settings_read_auth_file(struct settings_load *l, const struct yml_node *n)
{
    const char *text, *path;
    if (!yml_want_str(n, "auth_file", true, &text, l->diags))
        return;
    bool user = str_eq(text, "user");
    if ((!user && !read_path(l, n, "auth_file", &path)) || !(l->roles & SETTINGS_WORK))
        return;
    l->s->auth_file = user ? text : path;
    if (!user)
        check_auth_file(l, n, path);
}

static bool read_certs_dir(struct settings_load *l, const struct yml_node *item, void *to)
{
    const char *path;
    if (!read_path(l, item, "certs_dirs", &path))
        return false;
    *list_push(l->arena, (struct str_list *)to) = path;
    return true;
}

void settings_read_certs_dirs(struct settings_load *l, const struct yml_node *n)
{
    l->s->certs_dirs = (struct str_list){0};
    (void)read_each(l, n, "certs_dirs", read_certs_dir, &l->s->certs_dirs);
}

void settings_find_certs(struct settings_load *l)
{
    if (!(l->roles & SETTINGS_WORK))
        return;
    list_each (struct registry_conf, r, &l->s->registries) {
        struct err err = ERR_INIT;
        if (!r->plain_http && certs_find(&l->s->certs_dirs, r->host, l->arena, &r->via, &err) < 0)
            diag_error(l->diags, (struct place){"certs_dirs", 0, 0}, "for registries.%s: %s",
                       r->host, err.text);
    }
}
