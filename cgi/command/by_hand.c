#include "cgi/command/by_hand.h"

#include "cgi/command/engine_setup.h"
#include "cgi/copy_print.h"
#include "core/base/str.h"
#include "core/registry/certs.h"
#include "core/registry/credentials.h"

#include <errno.h>
#include <unistd.h>

/* A configuration that was named must be right; the one at the usual place belongs to the service,
 * and a user who may not read it goes without. */
static int load_settings(struct by_hand *b, const struct by_hand_flags *flags, struct arena *a)
{
    bool named = flags->config || !str_empty(getenv("SLIPWAY_CONFIG"));
    if (!named && access(SETTINGS_PATH, R_OK) != 0)
        return EXIT_DONE;
    b->settings = settings_for_command(flags->config, SETTINGS_WORK, a);
    return b->settings ? EXIT_DONE : EXIT_USAGE;
}

static bool is_listed(const struct flag_values *list, const char *host)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_caseeq(list->at[i], host))
            return true;
    return false;
}

static bool is_known(const struct registry_confs *confs, const char *host)
{
    list_each (const struct registry_conf, conf, confs)
        if (str_caseeq(conf->host, host))
            return true;
    return false;
}

/* A host that this call does not meet is no mistake: it may be in an alias. */
static int check_plain_http(const struct flag_values *hosts, struct err *err)
{
    for (size_t i = 0; i < hosts->n; i++) {
        const char *host = hosts->at[i];
        if (imageref_host_ok(host))
            continue;
        bool scheme = str_starts(host, "http://") || str_starts(host, "https://");
        return err_set(err, ERR_CONFIG, 0, "--plain-http is HOST or HOST:PORT, not \"%.200s\"%s",
                       host, scheme ? ": leave out what is before the host" : "");
    }
    return 0;
}

static int add_hosts(struct by_hand *b, const struct by_hand_flags *flags,
                     const struct str_list *hosts, struct arena *a, struct err *err)
{
    const char *usual[] = CERTS_DIRS;
    struct str_list dirs = {.at = usual, .n = ARRAY_LEN(usual)};
    if (b->settings)
        dirs = b->settings->certs_dirs;
    if (b->settings)
        list_each (const struct registry_conf, conf, &b->settings->registries)
            *list_push(a, &b->confs) = *conf;
    list_each (struct registry_conf, conf, &b->confs)
        conf->plain_http = conf->plain_http || is_listed(&flags->plain_http, conf->host);
    struct str_list realms = {0};
    if (check_plain_http(&flags->plain_http, err) < 0)
        return -1;
    for (size_t i = 0; i < flags->realms.n; i++) {
        if (!http_origin(a, flags->realms.at[i]))
            return err_set(err, ERR_CONFIG, 0, "--realm is https://host[:port], not \"%.200s\"",
                           flags->realms.at[i]);
        *list_push(a, &realms) = flags->realms.at[i];
    }
    if (flags->ca_file && access(flags->ca_file, R_OK) != 0)
        return err_errno(err, ERR_CONFIG, errno, "--ca-file %s", flags->ca_file);
    for (size_t i = 0; i < hosts->n; i++) {
        if (is_known(&b->confs, hosts->at[i]))
            continue;
        struct registry_conf conf = {
            .host = hosts->at[i],
            .type = "auto",
            .via = {.ca_file = flags->ca_file, .proxy = flags->proxy},
            .plain_http = is_listed(&flags->plain_http, hosts->at[i]),
        };
        conf.realms = realms;
        if (!conf.plain_http && certs_find(&dirs, conf.host, a, &conf.via, err) < 0)
            return -1;
        *list_push(a, &b->confs) = conf;
    }
    return 0;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

static int load_credentials(struct by_hand *b, const struct by_hand_flags *flags, struct err *err)
{
    const char *file = flags->auth_file;
    if (!file && b->settings && b->settings->auth_file && !str_eq(b->settings->auth_file, "user"))
        file = b->settings->auth_file;
    b->credentials =
        file ? credentials_from_file(file, err) : credentials_of_user(environment, err);
    return b->credentials ? 0 : -1;
}

int by_hand_setup(struct by_hand *b, const struct by_hand_flags *flags,
                  const struct str_list *hosts, struct arena *a)
{
    struct err err = ERR_INIT;
    struct http_client_opts opts = {0};
    *b = (struct by_hand){0};
    int code = load_settings(b, flags, a);
    if (code != EXIT_DONE)
        return code;
    if (add_hosts(b, flags, hosts, a, &err) < 0 || load_credentials(b, flags, &err) < 0 ||
        !(b->http = http_client_new(&opts, &err))) {
        code = by_hand_failed(&err);
        by_hand_release(b);
        return code;
    }
    b->registry = registry_new(b->http, &b->confs, b->credentials);
    return EXIT_DONE;
}

int by_hand_failed(const struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err said = *err;
    (void)snprintf(said.text, sizeof said.text, "%s", copy_reason(err->text, NULL, NULL, &a));
    return command_failed(&said);
}

void by_hand_say_unfenced(const struct by_hand *b, const struct command *cmd)
{
    if (b->settings && b->settings->store)
        (void)fprintf(stderr,
                      "slipway %s: unfenced: a promotion of the same tag at the same time is not "
                      "waited for (see 'slipway help %s')\n",
                      cmd->name, cmd->name);
}

void by_hand_release(struct by_hand *b)
{
    registry_free(b->registry);
    credentials_free(b->credentials);
    http_client_free(b->http);
    if (b->settings)
        settings_free(b->settings);
    *b = (struct by_hand){0};
}

int by_hand_endpoint(const struct by_hand *b, const struct imageref_place *place,
                     enum by_hand_layout how, struct endpoint *out, struct err *err)
{
    *out = (struct endpoint){0};
    if (place->kind == IMAGEREF_LAYOUT) {
        out->layout = how == BY_HAND_SUPPOSE ? layout_suppose(place->path, err)
                                             : layout_open(place->path, how == BY_HAND_MAKE, err);
        return out->layout ? 0 : -1;
    }
    out->registry = b->registry;
    out->host = place->ref.host;
    out->name = place->ref.name;
    out->access.patient = true;
    return 0;
}

void by_hand_close(struct endpoint *e)
{
    if (e->layout)
        layout_close(e->layout);
    *e = (struct endpoint){0};
}
