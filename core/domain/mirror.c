#include "core/domain/mirror.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/domain/imageref.h"

/* The operator's own list says what the operator can do. */
static void refuse_host(const struct mirror_rules *rules, const struct imagefile_mirror *m,
                        const char *text, const char *host, struct diags *refused)
{
    if (rules->policy)
        diag_error(refused, m->at, "%s: the operator has not configured registry %s", text, host);
    else
        diag_error(refused, m->at, "%s: add %s under `registries`", text, host);
}

static bool check_source(const struct mirror_rules *rules, const struct imagefile_mirror *m,
                         struct mirror_entry *e, struct diags *refused)
{
    struct imageref ref;
    struct err err = ERR_INIT;
    if (imageref_parse(m->src_repository, NULL, refused->arena, &ref, &err) < 0) {
        diag_error(refused, m->at, "%s", err.text);
        return false;
    }
    if (!rules->knows_registry(rules->ctx, ref.host)) {
        refuse_host(rules, m, m->src_repository, ref.host, refused);
        return false;
    }
    const char *repository = imageref_repository(&ref, refused->arena);
    *e = (struct mirror_entry){
        .at = m->at,
        .host = ref.host,
        .name = ref.name,
        .anonymous = rules->policy && !policy_may_read(rules->policy, repository),
        .tag = m->src_tag,
        .item = m,
    };
    return true;
}

static bool check_target(const struct mirror_rules *rules, const struct imagefile_mirror *m,
                         const char *text, struct mirror_entry *e, struct diags *refused)
{
    struct imageref ref;
    struct err err = ERR_INIT;
    const char *tag = m->dest_tag ? m->dest_tag : m->src_tag;
    if (imageref_parse(text, m->dest_registry, refused->arena, &ref, &err) < 0) {
        diag_error(refused, m->at, "%s", err.text);
        return false;
    }
    const char *repository = imageref_repository(&ref, refused->arena);
    const char *why = tag && imageref_tag_ok(tag) ? mirror_tag_refused(rules, tag) : NULL;
    if (!rules->knows_registry(rules->ctx, ref.host))
        refuse_host(rules, m, repository, ref.host, refused);
    else if (rules->policy && !policy_may_publish(rules->policy, repository))
        diag_error(refused, m->at,
                   "%s: policy does not let this project publish there "
                   "(may_publish)",
                   repository);
    else if (why)
        diag_error(refused, m->at, "%s:%s: %s", repository, tag, why);
    else if (str_eq(e->host, ref.host) && str_eq(e->name, ref.name) && !m->dest_tag)
        diag_error(refused, m->at, "%s: source and target are the same", repository);
    else {
        *list_push(refused->arena, &e->targets) =
            (struct mirror_target){.host = ref.host, .name = ref.name};
        return true;
    }
    return false;
}

/* Which source would win where two write one tag is nobody's guess. Tags that are found by looking
 * can only be compared once they are known. */
static bool check_twins(const struct mirror_entry *e, struct strset *written, struct diags *refused)
{
    const char *tag = e->item->dest_tag ? e->item->dest_tag : e->tag;
    bool good = true;
    list_each (const struct mirror_target, t, &e->targets) {
        if (!tag)
            break;
        const char *key = arena_printf(refused->arena, "%s/%s:%s", t->host, t->name, tag);
        void **place = strset_at(written, refused->arena, key);
        const struct imagefile_mirror *before = *place;
        if (before)
            diag_error(refused, e->at, "%s: writes the same tag as line %u", key, before->at.line);
        else
            *place = arena_memdup(refused->arena, e->item, sizeof *e->item);
        good = good && !before;
    }
    return good;
}

void mirror_resolve(const struct imagefile_mirrors *items, const struct mirror_rules *rules,
                    struct mirror_entries *out, struct diags *refused)
{
    struct strset written = {0};
    list_each (const struct imagefile_mirror, m, items) {
        struct mirror_entry e = {0};
        bool good = check_source(rules, m, &e, refused);
        for (size_t i = 0; i < m->dest_repositories.n; i++)
            good = check_target(rules, m, m->dest_repositories.at[i], &e, refused) && good;
        if (good && check_twins(&e, &written, refused))
            *list_push(refused->arena, out) = e;
    }
}

const char *mirror_source(const struct mirror_entry *e, struct arena *a)
{
    const char *text = arena_printf(a, "%s/%s", e->host, e->name);
    if (e->tag)
        return arena_printf(a, "%s%s%s", text, imageref_digest_ok(e->tag) ? "@" : ":", e->tag);
    for (size_t i = 0; i < e->item->src_tags.n; i++)
        text = arena_printf(a, "%s%s %s", text, i ? "," : ":", e->item->src_tags.at[i]);
    return text;
}

const char *mirror_tag_refused(const struct mirror_rules *rules, const char *tag)
{
    if (imageref_is_change_tag(tag))
        return "a tag of this shape is a staged one, and would be cleaned up";
    if (rules->policy && !policy_matches(&rules->policy->image_tags, tag, true))
        return "policy does not let this project write this tag (image_tags)";
    return NULL;
}

bool mirror_tag_is_kept(const char *tag)
{
    const char *hex = str_after(tag, "sha256-");
    size_t len = 64;
    if (!hex) {
        hex = str_after(tag, "sha512-");
        len = 128;
    }
    return imageref_is_change_tag(tag) ||
           (hex && strspn(hex, "0123456789abcdef") == len && (hex[len] == '\0' || hex[len] == '.'));
}

bool mirror_parse(const char *file, const void *text, size_t len, struct imagefile_mirrors *out,
                  struct diags *diags)
{
    const struct yml_node *root = yml_parse(file, text, len, diags);
    struct diags found = {.arena = diags->arena};
    if (!root)
        return false;
    const struct yml_node *list = yml_get(root, "mirror_container_images_images");
    if (root->type == YML_SEQ)
        list = root;
    if (!list)
        diag_error(&found, root->at,
                   "mirror_container_images_images is missing: the list of "
                   "images to mirror");
    mirror_read(list, out, &found);
    diag_append(diags, &found);
    return !found.errors;
}
