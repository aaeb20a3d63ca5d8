/* The tags of an image, and its build where they come from one. */
#include "core/domain/plan_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/semver.h"

/* A version that says everything: 1.2.3, v1.2.3, 1.2.3-rc.1. */
static bool is_full_version(const char *s)
{
    s += *s == 'v';
    for (int parts = 0; parts < 3; parts++) {
        if (parts && *s++ != '.')
            return false;
        size_t digits = strspn(s, "0123456789");
        if (!digits)
            return false;
        s += digits;
    }
    return *s == '\0' || (*s == '-' && s[1]);
}

static bool holds_commit(const char *tag, const char *commit)
{
    enum { SHORTEST = 7 };
    if (!commit || strlen(commit) < SHORTEST)
        return false;
    char start[SHORTEST + 1];
    (void)snprintf(start, sizeof start, "%s", commit);
    return strstr(tag, start) != NULL;
}

static bool is_immutable(const struct plan_work *w, const char *tag)
{
    const struct policy_project *policy = w->in->policy;
    const struct event *e = w->in->event;
    if (policy->immutable_given || policy->immutable.n)
        return policy_tag_is_immutable(policy, tag);
    return (e->kind == EVENT_TAG && is_full_version(tag)) || holds_commit(tag, e->list_commit);
}

static const char *check_tag(struct plan_work *w, const char *tag, const char *prefix)
{
    struct arena *a = w->arena;
    const struct policy_project *policy = w->in->policy;
    if (strchr(tag, '/'))
        return arena_printf(a,
                            "\"%.200s\" is not a legal image tag: '/' is not allowed. Where it "
                            "comes from a branch like stable/1.0, bound `branches` or write a "
                            "tag of its own, quoted, without the branch's name",
                            tag);
    if (!imageref_tag_ok(tag))
        return arena_printf(a,
                            "\"%.200s\" is not a legal image tag (letters, digits, '_', '.', '-', "
                            "not '.' or '-' first, at most %d characters)",
                            tag, LIMIT_TAG);
    if (imageref_is_change_tag(tag))
        return arena_printf(a,
                            "%s has the shape of a staged tag (change_<number>_...): a final "
                            "tag may not",
                            tag);
    if (prefix && strlen(prefix) + strlen(tag) > LIMIT_TAG)
        return arena_printf(a,
                            "its staged tag %s%s is longer than the %d characters that a tag "
                            "may have",
                            prefix, tag, LIMIT_TAG);
    if (!policy_matches(&policy->image_tags, tag, true))
        return arena_printf(a,
                            "the operator's policy does not let %s write this tag "
                            "(image_tags: %s)",
                            w->in->event->project, plan_patterns(a, &policy->image_tags));
    return NULL;
}

static bool same_text(const struct image_text *a, const struct image_text *b)
{
    return str_eq(a->text, b->text);
}

static bool same_list(const struct str_list *a, const struct str_list *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!str_eq(a->at[i], b->at[i]))
            return false;
    return true;
}

/* Would both be built the same way? Aliased lists give equal images at different addresses. */
static bool same_image(const struct image *a, const struct image *b)
{
    if (a == b)
        return true;
    return same_text(&a->context, &b->context) &&
           str_eq(a->container_filename, b->container_filename) && str_eq(a->path, b->path) &&
           str_eq(a->target, b->target) && same_list(&a->build_args, &b->build_args) &&
           same_list(&a->labels, &b->labels) && same_list(&a->siblings, &b->siblings) &&
           same_list(&a->arch, &b->arch);
}

static void add_tag(struct plan_work *w, const struct image_text *from, const struct plan_tag *tag)
{
    list_each (const struct plan_tag, other, &w->plan->tags) {
        if (!str_eq(other->registry, tag->registry) || !str_eq(other->name, tag->name) ||
            !str_eq(other->tag, tag->tag))
            continue;
        if (other->source == tag->source && str_eq(other->staged_tag, tag->staged_tag) &&
            same_image(other->image, tag->image))
            return;
        plan_note(w, &w->plan->refused, from->at,
                  arena_printf(w->arena, "%s/%s:%s", tag->registry, tag->name, tag->tag),
                  "two publications for one tag: the image at line %u (%s) asks for it, too",
                  other->image->at.line, plan_label(other->image));
        return;
    }
    if (w->plan->tags.n >= LIMIT_PLAN)
        plan_note(w, &w->plan->refused, from->at, "container_images",
                  "one event may move at most %d tags", LIMIT_PLAN);
    else
        *list_push(w->arena, &w->plan->tags) = *tag;
}

/* What the gate made was expanded with the commit that the gate knew. */
static bool staged_tags(struct plan_work *w, const struct plan_how *how,
                        const struct image_text *text, const char *what,
                        const struct str_list *final, struct str_list *out)
{
    struct template_vars vars = w->vars;
    *out = *final;
    if (!how->prefix || !w->in->event->staged_commit || !plan_uses(how, text, "zuul.commit_id"))
        return true;
    vars.commit_id = w->in->event->staged_commit;
    if (!plan_expand_list(w, how, text, &vars, what, out))
        return false;
    if (out->n == final->n)
        return true;
    plan_refuse(w, how, text->at, what, "it gave another number of tags at the gate");
    return false;
}

static void add_cleaned(struct plan_work *w, struct place at, const char *what, const char *why)
{
    list_each (const struct plan_note, note, &w->plan->cleaned)
        if (str_eq(note->what, what))
            return;
    plan_note(w, &w->plan->cleaned, at, what, "%s", why);
}

/* The name was checked when the place was found. */
static void to_intermediate(struct plan_work *w, const struct plan_place *place,
                            struct plan_tag *tag)
{
    (void)plan_intermediate(w->in->policy->intermediate, place->full, w->arena, &tag->registry,
                            &tag->name);
}

/* A git tag like v1.2.0-rc.1 gives the tags that say so; v1.2 and v1 are of releases. */
static bool is_alias_of_candidate(const struct plan_work *w, const char *tag)
{
    const struct event *e = w->in->event;
    struct semver version;
    return e->kind == EVENT_TAG && semver_parse(e->tag, SEMVER_TAG, &version) && version.pre.len &&
           !strstr(tag, arena_strndup(w->arena, version.pre.at, version.pre.len));
}

static void plan_one_tag(struct plan_work *w, const struct plan_place *place,
                         const struct image_text *text, const struct plan_how *how, const char *tag,
                         const char *at_gate)
{
    const char *what = arena_printf(w->arena, "%s:%s", place->full, tag);
    const char *wrong = check_tag(w, tag, how->prefix);
    if (wrong) {
        plan_refuse(w, how, text->at, what, wrong);
        return;
    }
    if (is_alias_of_candidate(w, tag)) {
        plan_leave_out(w, how, text->at, what,
                       arena_printf(w->arena, "%s is a pre-release: it moves no tag of releases",
                                    w->in->event->tag));
        return;
    }
    const char *staged = how->prefix ? arena_printf(w->arena, "%s%s", how->prefix, at_gate) : NULL;
    const char *staged_full = staged ? arena_printf(w->arena, "%s:%s", place->full, staged) : NULL;
    if (how->clean_only) {
        add_cleaned(w, text->at, staged_full, "its change was closed without merging");
        return;
    }
    bool staged_source = how->source == PLAN_FROM_STAGED;
    struct plan_tag planned = {
        .source = how->source,
        .image = place->image,
        .registry = place->registry,
        .name = place->name,
        .staged_tag = staged_source ? staged : NULL,
        .tag = how->write_staged ? staged : tag,
        .immutable = !how->write_staged && is_immutable(w, tag),
        .staging = how->write_staged,
        .vars = how->vars,
        .wanted = how->source == PLAN_FROM_INTERMEDIATE ? staged : NULL,
    };
    if (how->intermediate)
        to_intermediate(w, place, &planned);
    add_tag(w, text, &planned);
    if (how->source == PLAN_FROM_STAGED)
        add_cleaned(w, text->at, staged_full, arena_printf(w->arena, "promoted to %s", tag));
}

/* One text of `tags` may give several. */
static void plan_tags(struct plan_work *w, const struct plan_place *place,
                      const struct image_text *text, const struct plan_how *how)
{
    const char *raw = arena_printf(w->arena, "%s:%s", place->full, text->text);
    struct str_list tags, at_gate;
    if (!plan_expand_list(w, how, text, &w->vars, raw, &tags) ||
        !staged_tags(w, how, text, raw, &tags, &at_gate))
        return;
    if (!tags.n)
        plan_leave_out(w, how, text->at, raw, "it gives an empty list");
    for (size_t i = 0; i < tags.n; i++)
        plan_one_tag(w, place, text, how, tags.at[i], at_gate.at[i]);
}

/* A later image of the list may be FROM what this one will be called. */
static void add_refs(struct plan_work *w, const struct image *image, const struct plan_how *how,
                     const char *full, struct str_list *refs)
{
    struct plan_how quiet = *how;
    struct str_list tags;
    quiet.clean_only = true; /* what is wrong is said where the tags are planned */
    list_each (const struct image_text, text, &image->tags) {
        if (!plan_expand_list(w, &quiet, text, &w->vars, full, &tags))
            continue;
        for (size_t i = 0; i < tags.n; i++) {
            const char *ref = arena_printf(w->arena, "%s:%s", full, tags.at[i]);
            if (imageref_tag_ok(tags.at[i]) && !str_in(ref, refs))
                *list_push(w->arena, refs) = ref;
        }
    }
}

/* Returns its place in the list. */
static size_t add_build(struct plan_work *w, const struct image *image, const struct plan_how *how,
                        const char *full)
{
    struct plan_build *build = NULL;
    list_each (struct plan_build, b, &w->plan->builds)
        if (same_image(b->image, image))
            build = b;
    if (!build) {
        build = list_push(w->arena, &w->plan->builds);
        *build = (struct plan_build){.image = image,
                                     .vars = how->vars,
                                     .label = full ? full : plan_label(image),
                                     .at = image->at};
    }
    if (full)
        add_refs(w, image, how, full, &build->refs);
    return (size_t)(build - w->plan->builds.at);
}

void plan_only_build(struct plan_work *w, const struct image *image, const struct plan_how *how)
{
    struct plan_how quiet = *how;
    struct plan_place place = {.image = image};
    const char *registry = NULL, *repository = NULL;
    quiet.clean_only = true; /* what nobody writes may be left open */
    bool named = image->repository.text &&
                 (!image->registry.text ||
                  plan_expand(w, &quiet, &image->registry, plan_label(image), &registry)) &&
                 plan_expand(w, &quiet, &image->repository, plan_label(image), &repository) &&
                 !plan_place_name(w, registry, repository, &place) &&
                 imageref_host_ok(place.registry) && imageref_name_ok(place.name);
    (void)add_build(w, image, how, named ? place.full : NULL);
}

void plan_image(struct plan_work *w, const struct image *image, const struct plan_how *how)
{
    const char *label = plan_label(image);
    if (image->no_tags || !image->tags.n) {
        plan_leave_out(w, how, image->at, label, "`tags: []`: it is built only");
        if (how->source == PLAN_FROM_BUILD && !how->only_zuul_tag)
            plan_only_build(w, image, how);
        return;
    }
    size_t wanted = 0;
    list_each (const struct image_text, text, &image->tags) {
        if (!how->only_zuul_tag || plan_uses(how, text, "zuul.tag")) {
            wanted++;
            continue;
        }
        plan_leave_out(w, how, text->at, arena_printf(w->arena, "%s (tag %s)", label, text->text),
                       "it does not depend on zuul.tag: a git tag does not move it");
    }
    struct plan_place place;
    if (!wanted || !plan_place_find(w, image, how, &place))
        return;
    size_t before = w->plan->tags.n;
    list_each (const struct image_text, text, &image->tags)
        if (!how->only_zuul_tag || plan_uses(how, text, "zuul.tag"))
            plan_tags(w, &place, text, how);
    if (how->source != PLAN_FROM_BUILD || how->clean_only || w->plan->tags.n == before)
        return;
    size_t build = add_build(w, image, how, place.full);
    for (size_t i = before; i < w->plan->tags.n; i++)
        w->plan->tags.at[i].build = build;
}
