#include "config/settings.h"

#include "core/base/log.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <limits.h>

/* Always in double quotes: then every text is one in YAML. */
static void add_text(struct strbuf *out, const char *s)
{
    (void)strbuf_addch(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            (void)strbuf_addf(out, "\\%c", c);
        else if (c < ' ' || c == 127)
            (void)strbuf_addf(out, "\\x%02x", c);
        else
            (void)strbuf_addch(out, (char)c);
    }
    (void)strbuf_addch(out, '"');
}

static void add_pair(struct strbuf *out, const char *indent, const char *key, const char *value)
{
    if (!value)
        return;
    (void)strbuf_addf(out, "%s%s: ", indent, key);
    add_text(out, value);
    (void)strbuf_addch(out, '\n');
}

static void add_bool(struct strbuf *out, const char *indent, const char *key, bool value)
{
    (void)strbuf_addf(out, "%s%s: %s\n", indent, key, value ? "true" : "false");
}

static void add_seconds(struct strbuf *out, const char *indent, const char *key, int64_t seconds)
{
    char text[24];
    str_seconds(seconds, text);
    (void)strbuf_addf(out, "%s%s: %s\n", indent, key, text);
}

/* What is named, masked, and where it comes from: "password: '***'  # file:/etc/...". */
static void add_secrets(struct strbuf *out, const struct settings *s, const char *map,
                        const char *entry, const char *key)
{
    char of[512];
    struct strbuf masks CLEANUP_STRBUF = STRBUF_INIT(4096),
                        refs CLEANUP_STRBUF = STRBUF_INIT(65536);
    size_t n = 0;
    (void)snprintf(of, sizeof of, "%s.%s.%s", map, entry, key);
    list_each (const struct settings_secret, secret, &s->secrets) {
        if (!str_eq(secret->of, of))
            continue;
        (void)strbuf_addf(&masks, "%s'***'", n ? ", " : "");
        (void)strbuf_addf(&refs, "%s%s", n ? ", " : "", secret->ref);
        n++;
    }
    if (n)
        (void)strbuf_addf(out, n > 1 ? "    %s: [%s]  # %s\n" : "    %s: %s  # %s\n", key,
                          masks.buf, refs.buf);
}

static void add_patterns(struct strbuf *out, const char *key, const struct pattern_list *list)
{
    (void)strbuf_addf(out, "    %s: [", key);
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            (void)strbuf_addstr(out, ", ");
        add_text(out, pattern_text(list->at[i]));
    }
    (void)strbuf_addstr(out, "]\n");
}

/* An empty list would be read as "nothing", and means "everything" here. */
static void add_bounds(struct strbuf *out, const char *key, const struct pattern_list *list)
{
    if (list->n)
        add_patterns(out, key, list);
    else
        (void)strbuf_addf(out, "    # %s: everything\n", key);
}

static void add_forges(struct strbuf *out, const struct settings *s)
{
    (void)strbuf_addstr(out, s->forges.n ? "forges:\n" : "forges: {}\n");
    list_each (const struct forge_conf, f, &s->forges) {
        (void)strbuf_addf(out, "  %s:\n", f->name);
        add_pair(out, "    ", "type", f->type);
        add_pair(out, "    ", "url", f->url);
        add_pair(out, "    ", "api", f->api);
        add_pair(out, "    ", "git", f->git);
        add_secrets(out, s, "forges", f->name, "hook_secrets");
        add_pair(out, "    ", "username", f->username);
        add_secrets(out, s, "forges", f->name, "password");
        add_secrets(out, s, "forges", f->name, "token");
        add_pair(out, "    ", "ca_file", f->ca_file);
        add_bool(out, "    ", "report", f->report);
        add_pair(out, "    ", "vote", f->vote);
    }
}

static void add_list(struct strbuf *out, const char *indent, const char *key,
                     const struct str_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            (void)strbuf_addstr(out, ", ");
        else
            (void)strbuf_addf(out, "%s%s: [", indent, key);
        add_text(out, list->at[i]);
    }
    if (list->n)
        (void)strbuf_addstr(out, "]\n");
}

/* How it is reached, and what is special about it. */
static void add_way(struct strbuf *out, const struct registry_conf *r)
{
    add_pair(out, "    ", "ca_file", r->via.ca_file);
    add_pair(out, "    ", "ca_dir", r->via.ca_dir);
    add_pair(out, "    ", "client_cert", r->via.client_cert);
    add_pair(out, "    ", "client_key", r->via.client_key);
    add_pair(out, "    ", "proxy", r->via.proxy);
    add_bool(out, "    ", "plain_http", r->plain_http);
    add_list(out, "    ", "realms", &r->realms);
    add_list(out, "    ", "storage", &r->storage);
    if (r->chunk)
        (void)strbuf_addf(out, "    chunk: %zu\n", r->chunk);
    if (r->transfers)
        (void)strbuf_addf(out, "    transfers: %zu\n", r->transfers);
}

static void add_registries(struct strbuf *out, const struct settings *s)
{
    (void)strbuf_addstr(out, s->registries.n ? "registries:\n" : "registries: {}\n");
    list_each (const struct registry_conf, r, &s->registries) {
        (void)strbuf_addf(out, "  \"%s\":\n", r->host);
        add_pair(out, "    ", "type", r->type);
        add_pair(out, "    ", "username", r->username);
        add_secrets(out, s, "registries", r->host, "password");
        add_pair(out, "    ", "credential_helper", r->credential_helper);
        add_pair(out, "    ", "api", r->api);
        add_pair(out, "    ", "api_username", r->api_username);
        add_secrets(out, s, "registries", r->host, "api_password");
        add_way(out, r);
    }
}

static void add_zuuls(struct strbuf *out, const struct zuul_confs *zuuls)
{
    if (zuuls->n)
        (void)strbuf_addstr(out, "zuul:\n");
    list_each (const struct zuul_conf, z, zuuls) {
        (void)strbuf_addf(out, "  \"%s\":\n", z->name);
        add_pair(out, "    ", "api", z->api);
        add_pair(out, "    ", "intermediate", z->intermediate);
        add_pair(out, "    ", "ca_file", z->ca_file);
    }
}

static void add_may_build(struct strbuf *out, const struct policy_project *p)
{
    const char *comma = "";
    (void)strbuf_addstr(out, "    may_build: [");
    for (int i = 0; i < PIPELINE__MAX; i++)
        if (p->may_build[i]) {
            (void)strbuf_addf(out, "%s%s", comma, pipeline_name((enum pipeline)i));
            comma = ", ";
        }
    (void)strbuf_addstr(out, "]\n");
}

static void add_signers(struct strbuf *out, const struct policy_keys *keys)
{
    if (!keys->n)
        return;
    (void)strbuf_addstr(out, "    require_signature: [");
    for (size_t i = 0; i < keys->n; i++) {
        char ref[PATH_MAX + 8];
        (void)snprintf(ref, sizeof ref, "file:%s", keys->at[i].path);
        if (i)
            (void)strbuf_addstr(out, ", ");
        add_text(out, ref);
    }
    (void)strbuf_addstr(out, "]\n");
}

static void add_project(struct strbuf *out, const struct policy_project *p)
{
    static const char *const stale[] = {"refuse", "rebuild", "promote"};
    add_pair(out, "  - ", "match", pattern_text(p->match));
    add_pair(out, "    ", "forge", p->forge);
    add_bounds(out, "branches", &p->branches);
    add_patterns(out, "may_publish", &p->may_publish);
    add_patterns(out, "may_read", &p->may_read);
    add_patterns(out, "sources", &p->sources);
    add_bounds(out, "image_tags", &p->image_tags);
    add_bounds(out, "git_tags", &p->git_tags);
    add_bool(out, "    ", "anywhere", p->anywhere);
    add_may_build(out, p);
    if (p->build_pull_ref)
        (void)strbuf_addf(out, "    build_pull: '***'  # %s\n", p->build_pull_ref);
    add_pair(out, "    ", "intermediate", p->intermediate);
    if (p->immutable_given)
        add_patterns(out, "immutable", &p->immutable);
    else
        (void)strbuf_addstr(out, "    # immutable: full versions from git tags, and tags that "
                                 "hold the commit\n");
    add_signers(out, &p->require_signature);
    add_pair(out, "    ", "mode", p->mode == POLICY_SHADOW ? "shadow" : "publish");
    add_pair(out, "    ", "unrecorded", p->unrecorded == UNRECORDED_REFUSE ? "refuse" : "promote");
    add_pair(out, "    ", "on_stale", stale[p->on_stale]);
    add_pair(out, "    ", "on_foreign", p->on_foreign == FOREIGN_HOLD ? "hold" : "overwrite");
    (void)strbuf_addf(out, "    wait_for_staged: %" PRId64 "\n", p->wait_for_staged_s);
    add_bool(out, "    ", "sweep", p->sweep);
    if (p->sweep_after_s)
        add_seconds(out, "    ", "sweep_after", p->sweep_after_s);
    else
        (void)strbuf_addstr(out, "    sweep_after: \"never\"\n");
}

static void add_mirrored(struct strbuf *out, const struct imagefile_mirror *m)
{
    add_pair(out, "      - ", "src_repository", m->src_repository);
    add_pair(out, "        ", "src_tag", m->src_tag);
    add_list(out, "        ", "src_tags", &m->src_tags);
    add_list(out, "        ", "skip_tags", &m->skip_tags);
    add_list(out, "        ", "dest_repository", &m->dest_repositories);
    add_pair(out, "        ", "dest_registry", m->dest_registry);
    add_pair(out, "        ", "dest_tag", m->dest_tag);
    add_list(out, "        ", "platforms", &m->platforms);
    if (m->prune)
        add_bool(out, "        ", "prune", true);
    if (m->no_companions)
        add_bool(out, "        ", "companions", false);
}

static void add_mirrors(struct strbuf *out, const struct mirror_confs *mirrors)
{
    if (mirrors->n)
        (void)strbuf_addstr(out, "mirrors:\n");
    list_each (const struct mirror_conf, m, mirrors) {
        (void)strbuf_addf(out, "  \"%s\":\n", m->name);
        add_seconds(out, "    ", "every", m->every_s);
        add_seconds(out, "    ", "timeout", m->timeout_s);
        add_bool(out, "    ", "prune", m->prune);
        (void)strbuf_addf(out, "    rate_limit: %" PRId64 "\n", m->rate_min);
        (void)strbuf_addstr(out, m->items.n ? "    images:\n" : "    images: []\n");
        list_each (const struct imagefile_mirror, item, &m->items)
            add_mirrored(out, item);
    }
}

static void add_builder(struct strbuf *out, const struct build_conf *b)
{
    (void)strbuf_addstr(out, "builder:\n");
    add_pair(out, "  ", "dir", b->dir);
    if (b->socket)
        add_pair(out, "  ", "socket", b->socket);
    else
        (void)strbuf_addstr(out, "  # socket: none, `work` starts a builder under its own user\n");
    add_pair(out, "  ", "scratch", b->scratch);
    add_pair(out, "  ", "isolation", b->isolation);
    add_seconds(out, "  ", "timeout", b->timeout_s);
    (void)strbuf_addf(out, "  disk: %" PRId64 "\n  log: %" PRId64 "\n", b->disk_max, b->log_max);
}

void settings_print(const struct settings *s, struct strbuf *out)
{
    size_t start = out->len;
    add_pair(out, "", "store", s->store);
    if (s->listen)
        add_pair(out, "", "listen", s->listen);
    else
        (void)strbuf_addstr(out, "# listen: standard input, or systemd's socket\n");
    add_pair(out, "", "public_url", s->public_url);
    add_pair(out, "", "cache", s->cache);
    add_pair(out, "", "auth_file", s->auth_file);
    add_list(out, "", "certs_dirs", &s->certs_dirs);
    (void)strbuf_addf(out, "body_limit: %zu\nkeep_ignored: %" PRId64 "\n", s->body_max,
                      s->keep_ignored_s);
    add_pair(out, "", "log_level", s->log_level);
    add_builder(out, &s->build);
    add_forges(out, s);
    add_registries(out, s);
    add_zuuls(out, &s->zuuls);
    add_mirrors(out, &s->mirrors);
    (void)strbuf_addstr(out, s->policy.n ? "projects:\n" : "projects: []\n");
    list_each (const struct policy_project, p, &s->policy)
        add_project(out, p);
    /* Should a secret stand in the wrong place as well, it still stays one. */
    if (log_redact(out->buf + start))
        out->len = start + strlen(out->buf + start);
}
