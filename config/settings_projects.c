#include "config/settings_read.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/authfile.h"
#include "core/domain/sweep.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"
#include "core/os/fs.h"

/* What the readers of one entry share. */
struct project_read {
    struct settings_load *l;
    const struct yml_node *map;
    struct policy_project *p;
    const char *label; /* how messages call it: "projects.team/app" */
};

static const char *what(const struct project_read *r, const char *key)
{
    return arena_printf(r->l->arena, "%s.%s", r->label, key);
}

static void read_match(struct project_read *r)
{
    const struct yml_node *node = yml_get(r->map, "match");
    struct settings_load *l = r->l;
    struct err err = ERR_INIT;
    const char *text;
    if (!node) {
        diag_error(l->diags, r->map->at, "%s is missing", what(r, "match"));
        return;
    }
    if (!yml_want_str(node, what(r, "match"), true, &text, l->diags))
        return;
    r->p->match = pattern_compile(text, &err);
    if (!r->p->match)
        diag_error(l->diags, node->at, "%s: %s", what(r, "match"), err.text);
}

static void read_forge_name(struct project_read *r)
{
    struct settings_load *l = r->l;
    const struct yml_node *node = yml_get(r->map, "forge");
    const char *text;
    if (!node) {
        diag_error(l->diags, r->map->at, "%s is missing: name an entry of `forges`",
                   what(r, "forge"));
        return;
    }
    if (!yml_want_str(node, what(r, "forge"), true, &text, l->diags))
        return;
    r->p->forge = text;
    if (settings_forge(l->s, text))
        return;
    struct str_list names = {0};
    list_each (const struct forge_conf, f, &l->s->forges)
        *list_push(l->arena, &names) = f->name;
    const char *near = str_nearest(text, names.at, names.n);
    diag_error(l->diags, node->at, "%s: there is no '%.80s' among `forges`%s%s%s", what(r, "forge"),
               text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool knows_registry(const struct settings_load *l, const char *host, size_t len)
{
    list_each (const struct registry_conf, conf, &l->s->registries)
        if (strlen(conf->host) == len && memcmp(conf->host, host, len) == 0)
            return true;
    return false;
}

/* The host is the one part that no wildcard may widen; NULL when it is all right. */
static const char *place_wrong(struct settings_load *l, const char *text)
{
    size_t len = strcspn(text, "/");
    if (*text == '^')
        return "a regular expression can't be used here, since the registry has to be literal: "
               "write host/name with * or **";
    if (memchr(text, '*', len) || memchr(text, '?', len))
        return "the registry has to be literal: no * or ? before the first '/'";
    if (text[len] == '\0' || text[len + 1] == '\0')
        return "it has to be host/name, as in registry.example.org/team/*";
    if (!knows_registry(l, text, len))
        return arena_printf(l->arena, "no registry of that name is configured: %.*s",
                            (int)(len < 100 ? len : 100), text);
    return NULL;
}

static void check_places(struct project_read *r, const char *key)
{
    const struct yml_node *node = yml_get(r->map, key);
    struct settings_load *l = r->l;
    size_t n = !node ? 0 : node->type == YML_SEQ ? node->n : 1;
    for (size_t i = 0; i < n; i++) {
        const struct yml_node *item = node->type == YML_SEQ ? node->items[i] : node;
        if (item->type != YML_SCALAR || !*item->text)
            continue;
        const char *wrong = place_wrong(l, item->text);
        if (wrong)
            diag_error(l->diags, item->at, "%s: %s", what(r, key), wrong);
    }
}

static void read_lists(struct project_read *r)
{
    const struct {
        const char *key;
        struct pattern_list *list;
        bool may_be_empty;
    } rows[] = {
        {"branches", &r->p->branches, false}, {"may_publish", &r->p->may_publish, true},
        {"may_read", &r->p->may_read, true},  {"image_tags", &r->p->image_tags, false},
        {"git_tags", &r->p->git_tags, false}, {"immutable", &r->p->immutable, true},
        {"sources", &r->p->sources, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        (void)read_patterns(r->l, yml_get(r->map, rows[i].key), what(r, rows[i].key),
                            rows[i].may_be_empty, rows[i].list);
    r->p->immutable_given = yml_get(r->map, "immutable") != NULL;
    r->p->may_read_given = yml_get(r->map, "may_read") != NULL;
    check_places(r, "may_publish");
    if (!yml_get(r->map, "may_publish"))
        diag_warn(r->l->diags, r->map->at, "%s is missing: it may publish nowhere",
                  what(r, "may_publish"));
}

static bool read_pipeline(struct settings_load *l, const struct yml_node *item, void *to)
{
    struct project_read *r = to;
    const char *names[PIPELINE__MAX];
    size_t at;
    for (int p = 0; p < PIPELINE__MAX; p++)
        names[p] = pipeline_name((enum pipeline)p);
    if (!read_word(l, item, what(r, "may_build"), names, PIPELINE__MAX, &at))
        return false;
    r->p->may_build[at] = true;
    return true;
}

/* Said or not: check and gate build what nobody has reviewed, so they are never a default. */
static void read_may_build(struct project_read *r)
{
    const struct yml_node *node = yml_get(r->map, "may_build");
    if (node) {
        (void)read_each(r->l, node, what(r, "may_build"), read_pipeline, r);
        return;
    }
    for (int p = 0; p < PIPELINE__MAX; p++)
        r->p->may_build[p] = p != PIPELINE_CHECK && p != PIPELINE_GATE;
}

static void read_sweep(struct project_read *r)
{
    const struct yml_node *after = yml_get(r->map, "sweep_after");
    const char *text;
    r->p->sweep = true;
    r->p->sweep_after_s = LIMIT_SWEEP_AFTER_S;
    (void)yml_want_bool(yml_get(r->map, "sweep"), what(r, "sweep"), &r->p->sweep, r->l->diags);
    if (after && yml_want_str(after, what(r, "sweep_after"), false, &text, r->l->diags) &&
        !sweep_parse_age(text, &r->p->sweep_after_s))
        diag_error(r->l->diags, after->at,
                   "%s must be a time like 36h or 14d, or never, not '%.40s'",
                   what(r, "sweep_after"), text);
}

static void read_choices(struct project_read *r)
{
    static const char *const modes[] = {"publish", "shadow"};
    static const char *const unrecorded[] = {"promote", "refuse"};
    static const char *const stale[] = {"refuse", "rebuild", "promote"};
    static const char *const foreign[] = {"overwrite", "hold"};
    struct settings_load *l = r->l;
    size_t mode = POLICY_PUBLISH, unrec = UNRECORDED_PROMOTE, on_stale = STALE_REFUSE,
           on_foreign = FOREIGN_OVERWRITE;
    (void)read_word(l, yml_get(r->map, "mode"), what(r, "mode"), modes, 2, &mode);
    (void)read_word(l, yml_get(r->map, "unrecorded"), what(r, "unrecorded"), unrecorded, 2, &unrec);
    (void)read_word(l, yml_get(r->map, "on_stale"), what(r, "on_stale"), stale, 3, &on_stale);
    (void)read_word(l, yml_get(r->map, "on_foreign"), what(r, "on_foreign"), foreign, 2,
                    &on_foreign);
    r->p->mode = (enum policy_mode)mode;
    r->p->unrecorded = (enum policy_unrecorded)unrec;
    r->p->on_stale = (enum policy_stale)on_stale;
    r->p->on_foreign = (enum policy_foreign)on_foreign;
    r->p->wait_for_staged_s = LIMIT_WAIT_STAGED_S;
    (void)read_seconds(l, yml_get(r->map, "wait_for_staged"), what(r, "wait_for_staged"), 0,
                       7 * 86400, &r->p->wait_for_staged_s);
    read_sweep(r);
    (void)yml_want_bool(yml_get(r->map, "anywhere"), what(r, "anywhere"), &r->p->anywhere,
                        l->diags);
}

/* What one key of `auths` gives: nothing of it is ever printed. NULL, or what is wrong. */
static const char *hide_entry(struct arena *a, const struct authfile *file, const char *key,
                              struct err *err)
{
    const char *scheme = strstr(key, "://"), *place = scheme ? scheme + strlen("://") : key;
    size_t len = strcspn(place, "/");
    const char *name = place[len] ? place + len + 1 : "";
    bool whole = !*name || str_eq(name, "v1/") || str_eq(name, "v2/");
    struct authfile_hit hit = {0};
    if (authfile_find(file, arena_strndup(a, place, len), whole ? NULL : name, &hit, err) < 0)
        return err->text;
    log_secret(hit.password);
    log_secret(hit.token);
    return NULL;
}

/* A builder has neither helpers nor their accounts, and a file is read before it is needed. */
static const char *pull_file_wrong(struct arena *a, const char *text, struct err *err)
{
    const struct authfile *file;
    struct str_list keys = {0};
    if (authfile_parse(text, strlen(text), a, &file, err) < 0)
        return err->text;
    struct js *json CLEANUP_JS = js_parse(text, strlen(text), err);
    const struct js *auths = js_member(json, "auths");
    if (js_member(json, "credHelpers") || js_member(json, "credsStore"))
        return "credHelpers and credsStore can't be used here, since a build can't run them: write "
               "the credentials under auths";
    if (!js_keys(auths, a, &keys))
        return "there is nothing under auths";
    for (size_t i = 0; i < keys.n; i++) {
        const char *wrong = hide_entry(a, file, keys.at[i], err);
        log_secret(js_member_str(js_member(auths, keys.at[i]), "auth"));
        if (wrong)
            return wrong;
    }
    return NULL;
}

static void read_build_pull(struct project_read *r)
{
    const struct yml_node *node = yml_get(r->map, "build_pull");
    struct settings_load *l = r->l;
    struct err err = ERR_INIT;
    if (!read_secret_text(l, node, what(r, "build_pull"), SETTINGS_WORK, &r->p->build_pull))
        return;
    r->p->build_pull_ref = l->s->secrets.at[l->s->secrets.n - 1].ref;
    const char *wrong = r->p->build_pull ? pull_file_wrong(l->arena, r->p->build_pull, &err) : NULL;
    if (wrong)
        diag_error(l->diags, node->at, "%s: %s is no auth.json that builds can use: %s",
                   what(r, "build_pull"), r->p->build_pull_ref, wrong);
}

static void read_rest(struct project_read *r)
{
    const struct yml_node *intermediate = yml_get(r->map, "intermediate");
    if (yml_want_str(intermediate, what(r, "intermediate"), true, &r->p->intermediate, r->l->diags))
        check_places(r, "intermediate");
    read_build_pull(r);
}

static void strbuf_wipe(struct strbuf *b)
{
    if (b->cap)
        crypt_wipe(b->buf, b->cap);
    strbuf_release(b);
}

static int load_key(struct policy_key *k, struct err *err)
{
    /* A private key that stands here by mistake is not left in memory. */
    struct strbuf text CLEANUP(strbuf_wipe) = STRBUF_INIT(LIMIT_KEY_FILE);
    if (fs_read_file(k->path, &text, err) < 0)
        return -1;
    k->key = crypt_public_key(text.buf, text.len, err);
    return k->key ? 0 : err_wrap(err, "%s", k->path);
}

/* Public keys, but what stands here may be anything: no message repeats it. */
static bool read_signer(struct settings_load *l, const struct yml_node *item, void *to)
{
    struct project_read *r = to;
    struct err err = ERR_INIT;
    const char *path = item->type == YML_SCALAR ? str_after(item->text, "file:") : NULL;
    if (str_empty(path)) {
        diag_error(l->diags, item->at, "%s must be file:PATH, where PATH holds a public key (PEM)",
                   what(r, "require_signature"));
        return false;
    }
    struct policy_key *k = list_push(l->arena, &r->p->require_signature);
    k->path = *path == '/'
                  ? path
                  : arena_printf(l->arena, "%s/%s", fs_dirname(l->arena, item->at.file), path);
    if (!(l->roles & SETTINGS_WORK) || load_key(k, &err) == 0)
        return true;
    diag_error(l->diags, item->at, "%s: %s", what(r, "require_signature"), err.text);
    return false;
}

/* Nothing by accident: a list without keys is no leave to publish what nobody signed. */
static void read_signers(struct project_read *r)
{
    const struct yml_node *node = yml_get(r->map, "require_signature");
    if (node && (yml_is_null(node) || (node->type == YML_SEQ && !node->n)))
        diag_error(r->l->diags, node->at,
                   "%s names no key: leave it out where unsigned images may be published",
                   what(r, "require_signature"));
    else
        (void)read_each(r->l, node, what(r, "require_signature"), read_signer, r);
}

void settings_read_project(struct settings_load *l, const struct yml_node *entry)
{
    static const char *const keys[] = {"match",       "forge",           "branches",
                                       "may_publish", "may_read",        "image_tags",
                                       "git_tags",    "anywhere",        "may_build",
                                       "build_pull",  "immutable",       "intermediate",
                                       "mode",        "unrecorded",      "on_stale",
                                       "on_foreign",  "wait_for_staged", "require_signature",
                                       "sweep",       "sweep_after",     "sources"};
    if (!yml_want_map(entry, "an entry of `projects`", l->diags))
        return;
    const struct yml_node *match = yml_get(entry, "match");
    bool named = match && match->type == YML_SCALAR && *match->text;
    struct policy_project p = {.at = entry->at};
    struct project_read r = {
        .l = l,
        .map = entry,
        .p = &p,
        .label = named ? arena_printf(l->arena, "projects.%.80s", match->text) : "projects[]",
    };
    yml_check_keys(entry, keys, ARRAY_LEN(keys), l->diags);
    read_match(&r);
    read_forge_name(&r);
    read_lists(&r);
    read_may_build(&r);
    read_choices(&r);
    read_signers(&r);
    read_rest(&r);
    *list_push(l->arena, &l->s->policy) = p;
}

/* Surely everything that `later` matches is matched by `earlier`, too. */
static bool covers(struct settings_load *l, const struct pattern *earlier,
                   const struct pattern *later)
{
    const char *e = pattern_text(earlier), *t = pattern_text(later);
    if (str_eq(e, t) || str_eq(e, "**"))
        return true;
    if (*t == '^')
        return false;
    if (!strpbrk(t, "*?"))
        return pattern_match(earlier, t);
    const char *prefix = pattern_literal_prefix(earlier, l->arena);
    return str_ends(prefix, "/") && str_eq(e + strlen(prefix), "**") &&
           str_starts(pattern_literal_prefix(later, l->arena), prefix);
}

void settings_warn_shadowed(struct settings_load *l)
{
    struct policy *all = &l->s->policy;
    for (size_t i = 1; i < all->n; i++)
        for (size_t j = 0; j < i; j++) {
            const struct policy_project *later = &all->at[i], *earlier = &all->at[j];
            if (!later->match || !earlier->match || !str_eq(later->forge, earlier->forge) ||
                !covers(l, earlier->match, later->match))
                continue;
            diag_warn(l->diags, later->at,
                      "this entry (match: %.80s) is never reached: the one at %s:%u (match: "
                      "%.80s) comes first and matches all of it",
                      pattern_text(later->match), earlier->at.file, earlier->at.line,
                      pattern_text(earlier->match));
            break;
        }
}
