#include "core/domain/plan_target.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"

#include <ctype.h>
#include <stdarg.h>

void plan_note(struct plan_work *w, struct plan_notes *notes, struct place at, const char *what,
               const char *fmt, ...)
{
    char why[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (notes->n >= LIMIT_PLAN)
        return;
    list_each (const struct plan_note, note, notes)
        if (str_eq(note->what, what) && str_eq(note->why, why))
            return;
    struct plan_note *note = list_push(w->arena, notes);
    note->at = at;
    note->what = arena_strdup(w->arena, what);
    note->why = arena_strdup(w->arena, why);
}

const char *plan_patterns(struct arena *a, const struct pattern_list *list)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(400);
    for (size_t i = 0; i < list->n && !text.full; i++)
        (void)strbuf_addf(&text, "%s%s", i ? ", " : "", pattern_text(list->at[i]));
    if (text.full)
        return arena_printf(a, "%s, ...", text.buf);
    return list->n ? strbuf_to_arena(&text, a) : "none";
}

/* Where the image is written, once names are known to be good. */
struct place_of_image {
    const struct image *image;
    const char *registry;
    const char *name;
    const char *full; /* "registry/name" */
};

static const char *image_label(const struct image *image)
{
    return image->context.text      ? image->context.text
           : image->repository.text ? image->repository.text
                                    : "image";
}

static const char *kind_phrase(enum event_kind kind)
{
    switch (kind) {
    case EVENT_OPENED:
        return "a proposed change";
    case EVENT_GATED:
        return "a change at the gate";
    case EVENT_MERGED:
        return "a merge";
    case EVENT_CLOSED:
        return "a closed change";
    case EVENT_BRANCH:
        return "a branch push";
    case EVENT_TAG:
        return "a git tag";
    default:
        return "this event";
    }
}

static void leave_out(struct plan_work *w, const struct plan_how *how, struct place at,
                      const char *what, const char *why)
{
    if (!how->clean_only)
        plan_note(w, &w->plan->skipped, at, what, "%s", why);
}

static void refuse(struct plan_work *w, const struct plan_how *how, struct place at,
                   const char *what, const char *why)
{
    if (!how->clean_only)
        plan_note(w, &w->plan->refused, at, what, "%s", why);
}

static const struct template_owns *own_of(const struct plan_how *how)
{
    return how->vars ? &how->vars->own : NULL;
}

static bool uses(const struct plan_how *how, const struct image_text *text, const char *variable)
{
    return template_uses(text->text, variable, own_of(how));
}

/* False when the text can't be had: said as a skip or a refusal. */
static bool expand_list(struct plan_work *w, const struct plan_how *how,
                        const struct image_text *text, const struct template_vars *vars,
                        const char *what, struct str_list *out)
{
    struct diags diags = {.arena = w->arena};
    struct template_vars all = *vars;
    const char *missing;
    all.own = own_of(how);
    switch (template_expand_list(text->text, text->at, &all, &diags, out, &missing)) {
    case TEMPLATE_OK:
        return true;
    case TEMPLATE_UNDEFINED:
        leave_out(w, how, text->at, what,
                  arena_printf(w->arena, "%s is not defined for %s", missing,
                               kind_phrase(w->in->event->kind)));
        return false;
    case TEMPLATE_ERROR:
        break;
    }
    refuse(w, how, text->at, what, diags.n ? diags.at[diags.n - 1].text : "malformed template");
    return false;
}

static bool expand(struct plan_work *w, const struct plan_how *how, const struct image_text *text,
                   const char *what, const char **out)
{
    struct str_list list;
    if (!expand_list(w, how, text, &w->vars, what, &list))
        return false;
    if (list.n != 1) {
        refuse(w, how, text->at, what, "it is a list, where one text belongs");
        return false;
    }
    *out = list.at[0];
    return true;
}

static bool looks_like_host(const char *part)
{
    return strchr(part, '.') || strchr(part, ':') || str_eq(part, "localhost");
}

static bool knows(const struct plan_work *w, const char *host)
{
    return w->in->knows_registry && w->in->knows_registry(w->in->ctx, host);
}

/* Splits or completes: the repository may be written with or without the registry in front. NULL
 * when done, else what is wrong. */
static const char *complete_name(struct plan_work *w, const char *registry, const char *repository,
                                 struct place_of_image *out)
{
    struct arena *a = w->arena;
    const char *slash = strchr(repository, '/');
    const char *first = slash ? arena_strndup(a, repository, (size_t)(slash - repository)) : NULL;
    if (str_empty(registry)) {
        if (!first || !looks_like_host(first))
            return "no `registry` is given and `repository` does not start with one";
        registry = first;
    }
    out->registry = registry;
    out->name = repository;
    if (str_eq(first, registry))
        out->name = slash + 1;
    else if (first && (strchr(first, ':') || knows(w, first)))
        return arena_printf(a, "`registry` says %s, but `repository` starts with %s", registry,
                            first);
    out->full = arena_printf(a, "%s/%s", out->registry, out->name);
    return NULL;
}

static const char *check_name(struct plan_work *w, const struct place_of_image *at)
{
    struct arena *a = w->arena;
    const struct policy_project *policy = w->in->policy;
    if (!imageref_host_ok(at->registry))
        return arena_printf(a, "\"%.200s\" is not the name of a registry (host, or host:port)",
                            at->registry);
    if (!at->full || !imageref_name_ok(at->name) || strlen(at->full) > LIMIT_NAME)
        return arena_printf(a,
                            "\"%.200s\" is not a legal repository name (lower-case letters, "
                            "digits, '.', '_', '-' between '/', at most %d characters)",
                            at->name, LIMIT_NAME);
    if (!knows(w, at->registry))
        return arena_printf(a, "registry %s is not one of the operator's `registries`",
                            at->registry);
    if (!policy->may_publish.n)
        return arena_printf(a,
                            "the operator's policy lets %s publish nowhere (`may_publish` is "
                            "empty)",
                            w->in->event->project);
    if (!policy_may_publish(policy, at->full))
        return arena_printf(a,
                            "the operator's policy does not let %s publish there "
                            "(may_publish: %s)",
                            w->in->event->project, plan_patterns(a, &policy->may_publish));
    return NULL;
}

bool plan_intermediate(const char *intermediate, const char *repository, struct arena *a,
                       const char **host, const char **name)
{
    size_t len = strcspn(intermediate, "/");
    const char *prefix = intermediate[len] ? intermediate + len + 1 : "";
    char *path = arena_printf(a, "%s%s%s", prefix, *prefix ? "/" : "", repository);
    /* A port is no part of a path. */
    for (char *p = path; *p; p++)
        if (*p == ':')
            *p = '_';
    *host = arena_strndup(a, intermediate, len);
    *name = path;
    return imageref_host_ok(*host) && imageref_name_ok(path) &&
           strlen(*host) + strlen(path) < LIMIT_NAME;
}

/* Can it lie in the intermediate registry? */
static const char *check_intermediate(const struct plan_work *w, const struct place_of_image *at)
{
    const char *host, *name;
    if (!plan_intermediate(w->in->policy->intermediate, at->full, w->arena, &host, &name))
        return arena_printf(w->arena,
                            "in the intermediate registry it would be %s/%s, which is no "
                            "legal name",
                            host, name);
    if (!knows(w, host))
        return arena_printf(
            w->arena, "the intermediate registry %s is not one of the operator's `registries`",
            host);
    return NULL;
}

static bool find_place(struct plan_work *w, const struct image *image, const struct plan_how *how,
                       struct place_of_image *out)
{
    const char *label = image_label(image);
    const char *registry = NULL, *repository = NULL;
    *out = (struct place_of_image){.image = image};
    if (!image->repository.text) {
        refuse(w, how, image->at, label, "it has no `repository`");
        return false;
    }
    if (image->registry.text && !expand(w, how, &image->registry, label, &registry))
        return false;
    if (!expand(w, how, &image->repository, label, &repository))
        return false;
    const char *wrong = complete_name(w, registry, repository, out);
    if (!wrong)
        wrong = check_name(w, out);
    if (!wrong && how->intermediate)
        wrong = check_intermediate(w, out);
    if (wrong)
        refuse(w, how, image->repository.at, out->full ? out->full : label, wrong);
    return !wrong;
}

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

/* Would both be built the same way? Aliased lists give equal images at different addresses. */
static bool same_image(const struct image *a, const struct image *b)
{
    if (a == b)
        return true;
    if (!same_text(&a->context, &b->context) ||
        !str_eq(a->container_filename, b->container_filename) || !str_eq(a->path, b->path) ||
        !str_eq(a->target, b->target) || a->build_args.n != b->build_args.n)
        return false;
    for (size_t i = 0; i < a->build_args.n; i++)
        if (!str_eq(a->build_args.at[i], b->build_args.at[i]))
            return false;
    return true;
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
                  other->image->at.line, image_label(other->image));
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
    if (!how->prefix || !w->in->event->staged_commit || !uses(how, text, "zuul.commit_id"))
        return true;
    vars.commit_id = w->in->event->staged_commit;
    if (!expand_list(w, how, text, &vars, what, out))
        return false;
    if (out->n == final->n)
        return true;
    refuse(w, how, text->at, what, "it gave another number of tags at the gate");
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
static void to_intermediate(struct plan_work *w, const struct place_of_image *place,
                            struct plan_tag *tag)
{
    (void)plan_intermediate(w->in->policy->intermediate, place->full, w->arena, &tag->registry,
                            &tag->name);
}

static void plan_one_tag(struct plan_work *w, const struct place_of_image *place,
                         const struct image_text *text, const struct plan_how *how, const char *tag,
                         const char *at_gate)
{
    const char *what = arena_printf(w->arena, "%s:%s", place->full, tag);
    const char *wrong = check_tag(w, tag, how->prefix);
    if (wrong) {
        refuse(w, how, text->at, what, wrong);
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
static void plan_tags(struct plan_work *w, const struct place_of_image *place,
                      const struct image_text *text, const struct plan_how *how)
{
    const char *raw = arena_printf(w->arena, "%s:%s", place->full, text->text);
    struct str_list tags, at_gate;
    if (!expand_list(w, how, text, &w->vars, raw, &tags) ||
        !staged_tags(w, how, text, raw, &tags, &at_gate))
        return;
    if (!tags.n)
        leave_out(w, how, text->at, raw, "it gives an empty list");
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
        if (!expand_list(w, &quiet, text, &w->vars, full, &tags))
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
                                     .label = full ? full : image_label(image),
                                     .at = image->at};
    }
    if (full)
        add_refs(w, image, how, full, &build->refs);
    return (size_t)(build - w->plan->builds.at);
}

void plan_only_build(struct plan_work *w, const struct image *image, const struct plan_how *how)
{
    struct plan_how quiet = *how;
    struct place_of_image place = {.image = image};
    const char *registry = NULL, *repository = NULL;
    quiet.clean_only = true; /* what nobody writes may be left open */
    bool named = image->repository.text &&
                 (!image->registry.text ||
                  expand(w, &quiet, &image->registry, image_label(image), &registry)) &&
                 expand(w, &quiet, &image->repository, image_label(image), &repository) &&
                 !complete_name(w, registry, repository, &place) &&
                 imageref_host_ok(place.registry) && imageref_name_ok(place.name);
    (void)add_build(w, image, how, named ? place.full : NULL);
}

void plan_image(struct plan_work *w, const struct image *image, const struct plan_how *how)
{
    const char *label = image_label(image);
    if (image->no_tags || !image->tags.n) {
        leave_out(w, how, image->at, label, "`tags: []`: it is built only");
        if (how->source == PLAN_FROM_BUILD && !how->only_zuul_tag)
            plan_only_build(w, image, how);
        return;
    }
    size_t wanted = 0;
    list_each (const struct image_text, text, &image->tags) {
        if (!how->only_zuul_tag || uses(how, text, "zuul.tag")) {
            wanted++;
            continue;
        }
        leave_out(w, how, text->at, arena_printf(w->arena, "%s (tag %s)", label, text->text),
                  "it does not depend on zuul.tag: a git tag does not move it");
    }
    struct place_of_image place;
    if (!wanted || !find_place(w, image, how, &place))
        return;
    size_t before = w->plan->tags.n;
    list_each (const struct image_text, text, &image->tags)
        if (!how->only_zuul_tag || uses(how, text, "zuul.tag"))
            plan_tags(w, &place, text, how);
    if (how->source != PLAN_FROM_BUILD || how->clean_only || w->plan->tags.n == before)
        return;
    size_t build = add_build(w, image, how, place.full);
    for (size_t i = before; i < w->plan->tags.n; i++)
        w->plan->tags.at[i].build = build;
}
