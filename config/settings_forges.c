#include "config/settings_read.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"

enum { MOST_TYPES = 32 };

/* It is a part of URLs and file names: POST /hooks/<name>. */
static bool source_name_ok(const char *s)
{
    return *s && strlen(s) <= 64 &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0' && *s != '-' && *s != '_';
}

/* As Gerrit wants the names of labels. */
static bool label_ok(const char *s)
{
    return *s && strlen(s) <= 64 && *s != '-' &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] == '\0';
}

static void read_type(struct settings_load *l, const struct yml_node *map, const char *name,
                      const char **out)
{
    const struct yml_node *node = yml_get(map, "type");
    const char *words[MOST_TYPES];
    size_t n, at;
    const struct forge *const *table = forge_table(&n);
    for (size_t i = 0; i < n && i < MOST_TYPES; i++)
        words[i] = table[i]->type;
    const char *what = key_path(l, "forges", name, "type");
    if (!node)
        diag_error(l->diags, map->at, "%s is missing", what);
    else if (read_word(l, node, what, words, n < MOST_TYPES ? n : MOST_TYPES, &at))
        *out = words[at];
}

struct secrets_to {
    const char *what;
    const char *type;
    struct str_list *list;
};

/* A guess can be tried in peace by whoever has seen one signature; and what is signed for one
 * source, with a secret that is another's, too, is taken by the other. */
static void judge_hook_secret(struct settings_load *l, struct place at, const struct secrets_to *s,
                              const char *secret)
{
    bool is_refused = !str_eq(s->type, "github");
    if (strlen(secret) < LIMIT_HOOK_SECRET)
        (is_refused ? diag_error : diag_warn)(
            l->diags, at, "%s: a secret of fewer than %d characters is too easily guessed%s",
            s->what, LIMIT_HOOK_SECRET, is_refused ? ", and lets nobody in" : "");
    list_each (const struct forge_conf, other, &l->s->forges)
        if (str_in(secret, &other->hook_secrets))
            diag_warn(l->diags, at,
                      "%s: forge '%s' has the same secret, so who may speak for one may speak for "
                      "both",
                      s->what, other->name);
}

static bool read_hook_secret(struct settings_load *l, const struct yml_node *item, void *to)
{
    struct secrets_to *s = to;
    const char *secret = NULL;
    if (!read_secret(l, item, s->what, SETTINGS_SERVE, &secret))
        return false;
    if (!secret)
        return true;
    judge_hook_secret(l, item->at, s, secret);
    *list_push(l->arena, s->list) = secret;
    return true;
}

static void read_hook_secrets(struct settings_load *l, const struct yml_node *map,
                              struct forge_conf *f)
{
    const struct yml_node *node = yml_get(map, "hook_secrets");
    struct secrets_to to = {key_path(l, "forges", f->name, "hook_secrets"), f->type,
                            &f->hook_secrets};
    bool none = !node || yml_is_null(node) || (node->type == YML_SEQ && !node->n);
    if (!none)
        (void)read_each(l, node, to.what, read_hook_secret, &to);
    else if (l->roles & SETTINGS_SERVE)
        diag_error(l->diags, node ? node->at : map->at,
                   "%s is missing: without a secret nobody is let in at /hooks/%s", to.what,
                   f->name);
}

static void read_forge_urls(struct settings_load *l, const struct yml_node *map,
                            struct forge_conf *f)
{
    (void)read_url(l, yml_get(map, "url"), key_path(l, "forges", f->name, "url"), &f->url);
    (void)read_url(l, yml_get(map, "api"), key_path(l, "forges", f->name, "api"), &f->api);
    (void)read_git_url(l, yml_get(map, "git"), key_path(l, "forges", f->name, "git"), &f->git);
    if (!yml_get(map, "url") && (!yml_get(map, "git") || !str_eq(f->type, "git")) && f->type)
        diag_error(l->diags, map->at, "%s is missing%s", key_path(l, "forges", f->name, "url"),
                   str_eq(f->type, "git") ? " (or `git`, the base of clone URLs)" : "");
}

/* Values of the role that talks to the forge; in other roles they are checked and dropped. */
static void read_forge_login(struct settings_load *l, const struct yml_node *map,
                             struct forge_conf *f)
{
    const struct yml_node *password = yml_get(map, "password"), *token = yml_get(map, "token");
    const char *username = NULL;
    (void)yml_want_str(yml_get(map, "username"), key_path(l, "forges", f->name, "username"), true,
                       &username, l->diags);
    (void)read_secret(l, password, key_path(l, "forges", f->name, "password"), SETTINGS_WORK,
                      &f->password);
    (void)read_secret(l, token, key_path(l, "forges", f->name, "token"), SETTINGS_WORK, &f->token);
    if (l->roles & SETTINGS_WORK)
        f->username = username;
    if (password && !yml_get(map, "username"))
        diag_error(l->diags, password->at, "%s needs a `username` beside it",
                   key_path(l, "forges", f->name, "password"));
    if ((password || token) && (url_is_exposed(f->url) || url_is_exposed(f->api)))
        diag_warn(l->diags, map->at, "forges.%s: credentials travel unencrypted over http://",
                  f->name);
}

/* By default where there is something to prove ourselves with; in every role alike. */
static void read_report(struct settings_load *l, const struct yml_node *map, struct forge_conf *f)
{
    const struct yml_node *report = yml_get(map, "report"), *vote = yml_get(map, "vote");
    const struct forge *forge = forge_find(f->type);
    const char *what = key_path(l, "forges", f->name, "report");
    bool can = forge && forge->report, gerrit = str_eq(f->type, "gerrit");
    bool proven = yml_get(map, "password") || (yml_get(map, "token") && !gerrit);
    f->report = can && proven;
    (void)yml_want_bool(report, what, &f->report, l->diags);
    if (report && f->report && forge && !can)
        diag_error(l->diags, report->at, "%s: a forge of type '%s' takes no reports", what,
                   f->type);
    else if (report && f->report && !proven)
        diag_error(l->diags, report->at, "%s needs %s beside it", what,
                   gerrit ? "a `password`" : "a `token` or a `password`");
    what = key_path(l, "forges", f->name, "vote");
    if (!yml_want_str(vote, what, true, &f->vote, l->diags))
        return;
    if (f->type && !gerrit)
        diag_error(l->diags, vote->at, "%s: only Gerrit has labels to vote on", what);
    else if (!label_ok(f->vote))
        diag_error(l->diags, vote->at, "%s: not the name of a label: letters, digits and '-'",
                   what);
    else if (!f->report)
        diag_error(l->diags, vote->at, "%s: a vote is a part of a report, and `report` is off",
                   what);
}

void settings_read_forge(struct settings_load *l, const struct yml_pair *pair)
{
    static const char *const keys[] = {"type",         "url",      "api",      "git",
                                       "hook_secrets", "username", "password", "token",
                                       "ca_file",      "report",   "vote"};
    const char *name = pair->key->text;
    const struct yml_node *map = pair->value;
    struct forge_conf f = {.name = name};
    if (!source_name_ok(name))
        diag_error(l->diags, pair->key->at,
                   "the name of a forge is a part of its hook's URL: lower-case letters, digits, "
                   "'-' and '_', not '%.80s'",
                   name);
    if (yml_want_map(map, key_path(l, "forges", name, NULL), l->diags)) {
        yml_check_keys(map, keys, ARRAY_LEN(keys), l->diags);
        read_type(l, map, name, &f.type);
        read_forge_urls(l, map, &f);
        read_hook_secrets(l, map, &f);
        read_forge_login(l, map, &f);
        read_report(l, map, &f);
        (void)read_path(l, yml_get(map, "ca_file"), key_path(l, "forges", name, "ca_file"),
                        &f.ca_file);
    }
    *list_push(l->arena, &l->s->forges) = f;
}

static void read_intermediate(struct settings_load *l, const struct yml_node *n, const char *what,
                              struct zuul_conf *conf)
{
    const char *host;
    if (!yml_want_str(n, what, true, &host, l->diags))
        return;
    conf->at = n->at;
    if (imageref_host_ok(host))
        conf->intermediate = host;
    else
        diag_error(l->diags, n->at, "%s must be host or host:port", what);
}

void settings_read_zuul(struct settings_load *l, const struct yml_pair *pair)
{
    static const char *const keys[] = {"api", "intermediate", "ca_file"};
    const char *name = pair->key->text;
    const struct yml_node *map = pair->value;
    struct zuul_conf conf = {.at = pair->key->at, .name = name};
    if (!yml_want_map(map, key_path(l, "zuul", name, NULL), l->diags))
        return;
    yml_check_keys(map, keys, ARRAY_LEN(keys), l->diags);
    if (!yml_get(map, "api"))
        diag_error(l->diags, map->at, "%s is missing", key_path(l, "zuul", name, "api"));
    (void)read_url(l, yml_get(map, "api"), key_path(l, "zuul", name, "api"), &conf.api);
    read_intermediate(l, yml_get(map, "intermediate"), key_path(l, "zuul", name, "intermediate"),
                      &conf);
    (void)read_path(l, yml_get(map, "ca_file"), key_path(l, "zuul", name, "ca_file"),
                    &conf.ca_file);
    if (url_is_exposed(conf.api))
        diag_warn(l->diags, yml_get(map, "api")->at,
                  "%s: who is on the way over http:// can say which build's images are published",
                  key_path(l, "zuul", name, "api"));
    *list_push(l->arena, &l->s->zuuls) = conf;
}

void settings_check_zuuls(struct settings_load *l)
{
    list_each (const struct zuul_conf, conf, &l->s->zuuls) {
        bool known = !conf->intermediate;
        list_each (const struct registry_conf, r, &l->s->registries)
            known = known || str_eq(r->host, conf->intermediate);
        if (!known)
            diag_error(l->diags, conf->at, "%s: no registry of that name is configured: %.100s",
                       key_path(l, "zuul", conf->name, "intermediate"), conf->intermediate);
    }
}
