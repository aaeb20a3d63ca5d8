#include "core/domain/mirror.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imagefile_part.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"
#include "core/domain/tagselect.h"

static const struct {
    const char *key;
    size_t offset;
    unsigned rules;
} texts[] = {
    {"src_repository", offsetof(struct imagefile_mirror, src_repository), RULE_LINE},
    {"src_tag", offsetof(struct imagefile_mirror, src_tag), RULE_LINE},
    {"dest_tag", offsetof(struct imagefile_mirror, dest_tag), RULE_LINE},
    {"dest_registry", offsetof(struct imagefile_mirror, dest_registry), RULE_HOST},
    {"visibility", offsetof(struct imagefile_mirror, visibility), RULE_LINE},
    {"repo_description", offsetof(struct imagefile_mirror, repo_description), RULE_LINE},
};

static const struct {
    const char *key;
    size_t offset;
} lists[] = {
    {"src_tags", offsetof(struct imagefile_mirror, src_tags)},
    {"skip_tags", offsetof(struct imagefile_mirror, skip_tags)},
    {"dest_repository", offsetof(struct imagefile_mirror, dest_repositories)},
    {"platforms", offsetof(struct imagefile_mirror, platforms)},
};

static const char *const keys[] = {
    "src_repository", "src_tag",   "src_tags", "skip_tags",  "dest_repository", "dest_registry",
    "dest_tag",       "platforms", "prune",    "companions", "visibility",      "repo_description"};

static void read_values(const struct yml_node *item, struct imagefile_mirror *m,
                        struct diags *diags)
{
    bool companions = true;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char **out = (void *)((char *)m + texts[i].offset);
        (void)imagefile_text(yml_get(item, texts[i].key), texts[i].key, texts[i].rules, out, diags);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct str_list *out = (void *)((char *)m + lists[i].offset);
        struct image_texts read = {0};
        (void)imagefile_texts(yml_get(item, lists[i].key), lists[i].key, RULE_LINE, LIMIT_TAGS,
                              &read, diags);
        list_each (const struct image_text, text, &read)
            *list_push(diags->arena, out) = text->text;
    }
    (void)yml_want_bool(yml_get(item, "prune"), "prune", &m->prune, diags);
    (void)yml_want_bool(yml_get(item, "companions"), "companions", &companions, diags);
    m->no_companions = !companions;
}

/* Where a key's value stands, else the item. */
static struct place place_of(const struct yml_node *item, const char *key)
{
    const struct yml_node *value = yml_get(item, key);
    return value ? value->at : item->at;
}

static void check_tags(const struct yml_node *item, const struct imagefile_mirror *m,
                       struct diags *diags)
{
    bool one = yml_get(item, "src_tag"), many = yml_get(item, "src_tags");
    bool renamed = yml_get(item, "dest_tag");
    struct err err = ERR_INIT;
    if (one == many)
        diag_error(diags, item->at,
                   one ? "src_tag and src_tags exclude another"
                       : "a mirrored image needs src_tag, or src_tags with patterns");
    if (m->src_tag && !imageref_tag_ok(m->src_tag) && !imageref_digest_ok(m->src_tag))
        diag_error(diags, place_of(item, "src_tag"),
                   "src_tag '%.140s' is neither a tag nor a digest", m->src_tag);
    if (m->src_tag && imageref_digest_ok(m->src_tag) && !renamed)
        diag_error(diags, place_of(item, "src_tag"), "a digest as src_tag needs a dest_tag");
    if (m->dest_tag && !imageref_tag_ok(m->dest_tag))
        diag_error(diags, place_of(item, "dest_tag"), "dest_tag '%.140s' is no legal tag",
                   m->dest_tag);
    if (renamed && many)
        diag_error(diags, place_of(item, "dest_tag"),
                   "dest_tag goes with src_tag: those of src_tags keep theirs");
    if (!many && (m->prune || m->skip_tags.n))
        diag_error(diags, item->at, "%s goes with src_tags", m->prune ? "prune" : "skip_tags");
    struct tagselect *select CLEANUP_TAGSELECT =
        tagselect_compile(&m->src_tags, &m->skip_tags, &err);
    if (!select)
        diag_error(diags, place_of(item, "src_tags"), "%s", err.text);
}

static void check_making(const struct yml_node *item, const struct imagefile_mirror *m,
                         struct diags *diags)
{
    const struct yml_node *visibility = yml_get(item, "visibility");
    if (visibility && !str_eq(m->visibility, "public") && !str_eq(m->visibility, "private"))
        diag_error(diags, visibility->at, "visibility must be public or private, not '%.80s'",
                   m->visibility);
    if (m->repo_description && !visibility)
        diag_error(diags, place_of(item, "repo_description"),
                   "repo_description goes with visibility");
}

static void check_places(const struct yml_node *item, const struct imagefile_mirror *m,
                         struct diags *diags)
{
    struct imageref ref;
    struct err err = ERR_INIT;
    struct place src = place_of(item, "src_repository");
    if (!yml_get(item, "src_repository"))
        diag_error(diags, item->at, "a mirrored image needs src_repository");
    if (m->src_repository && imageref_parse(m->src_repository, NULL, diags->arena, &ref, &err) < 0)
        diag_error(diags, src, "src_repository: %s", err.text);
    else if (m->src_repository && (ref.tag || ref.digest))
        diag_error(diags, src, "src_repository is host/name; the tag belongs into src_tag");
    if (!yml_get(item, "dest_repository"))
        diag_error(diags, item->at, "a mirrored image needs dest_repository");
    for (size_t i = 0; i < m->dest_repositories.n; i++) {
        struct place at = place_of(item, "dest_repository");
        if (imageref_parse(m->dest_repositories.at[i], m->dest_registry, diags->arena, &ref, &err) <
            0)
            diag_error(diags, at, "dest_repository: %s%s", err.text,
                       m->dest_registry ? "" : " (or name its host in dest_registry)");
        else if (ref.tag || ref.digest)
            diag_error(diags, at, "dest_repository is a name; the tag belongs into dest_tag");
    }
    for (size_t i = 0; i < m->platforms.n; i++)
        if (!platform_ok(m->platforms.at[i]))
            diag_error(diags, place_of(item, "platforms"),
                       "a platform is os/architecture[/variant], not '%.80s'", m->platforms.at[i]);
}

static void read_mirror(const struct yml_node *item, struct imagefile_mirror *m,
                        struct diags *diags)
{
    struct diags found = {.arena = diags->arena};
    m->at = item->at;
    if (!yml_want_map(item, "a mirrored image", diags))
        return;
    yml_check_keys(item, keys, ARRAY_LEN(keys), diags);
    read_values(item, m, &found);
    /* What could not be read would only look wrong once more. */
    if (!found.errors) {
        check_tags(item, m, &found);
        check_places(item, m, &found);
        check_making(item, m, &found);
    }
    diag_append(diags, &found);
}

void mirror_read(const struct yml_node *list, struct imagefile_mirrors *out, struct diags *diags)
{
    if (!yml_want_seq(list, "mirror_container_images_images", diags))
        return;
    if (list->n > LIMIT_IMAGES)
        diag_error(diags, list->items[LIMIT_IMAGES]->at,
                   "mirror_container_images_images has more than %d items", LIMIT_IMAGES);
    for (size_t i = 0; i < list->n && i < LIMIT_IMAGES; i++)
        read_mirror(list->items[i], list_push(diags->arena, out), diags);
}
