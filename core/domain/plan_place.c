/* Where an image is written. */
#include "core/domain/plan_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"

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
const char *plan_place_name(struct plan_work *w, const char *registry, const char *repository,
                            struct plan_place *out)
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

static const char *check_name(struct plan_work *w, const struct plan_place *at)
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
static const char *check_intermediate(const struct plan_work *w, const struct plan_place *at)
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

bool plan_place_find(struct plan_work *w, const struct image *image, const struct plan_how *how,
                     struct plan_place *out)
{
    const char *label = plan_label(image);
    const char *registry = NULL, *repository = NULL;
    *out = (struct plan_place){.image = image};
    if (!image->repository.text) {
        plan_refuse(w, how, image->at, label, "it has no `repository`");
        return false;
    }
    if (image->registry.text && !plan_expand(w, how, &image->registry, label, &registry))
        return false;
    if (!plan_expand(w, how, &image->repository, label, &repository))
        return false;
    const char *wrong = plan_place_name(w, registry, repository, out);
    if (!wrong)
        wrong = check_name(w, out);
    if (!wrong && how->intermediate)
        wrong = check_intermediate(w, out);
    if (wrong)
        plan_refuse(w, how, image->repository.at, out->full ? out->full : label, wrong);
    return !wrong;
}
