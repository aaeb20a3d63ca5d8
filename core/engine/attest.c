#include "core/engine/publishing.h"

#include "core/base/str.h"
#include "core/registry/signature.h"

/* One look for each digest, however many tags of the repository get it. */
static bool is_first_of_digest(const struct publishing *p, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (!p->flips[j].stale && str_eq(p->flips[j].repository, p->flips[i].repository) &&
            str_eq(p->flips[j].step.new_digest, p->flips[i].step.new_digest))
            return false;
    return true;
}

/* "release.pub or security.pub" */
static const char *names_of_keys(const struct policy_keys *keys, struct arena *a)
{
    const char *names = "";
    list_each (const struct policy_key, k, keys) {
        const char *slash = strrchr(k->path, '/');
        names = arena_printf(a, "%s%s%s", names, *names ? " or " : "", slash ? slash + 1 : k->path);
    }
    return names;
}

/* One image that is not signed is reason enough; how many more there are is for people. */
static int refuse(struct publishing *p, const char *why, size_t more, struct err *err)
{
    const char *others = "";
    if (more)
        others = arena_printf(p->arena, " (and %zu more)", more);
    return err_set(err, ERR_PERM, 0,
                   "%s%s; nothing was published, since require_signature asks for one by %s: sign "
                   "it, then `slipway queue retry`",
                   why, others, names_of_keys(&p->policy->require_signature, p->arena));
}

int publishing_attest(struct publishing *p, struct err *err)
{
    const struct policy_keys *wanted = &p->policy->require_signature;
    const struct registry_access access = {0};
    const struct crypt_key **keys = arena_alloc(p->arena, (wanted->n + 1) * sizeof(*keys));
    const char *first = NULL;
    size_t unsigned_n = 0;
    for (size_t i = 0; i < wanted->n; i++) {
        keys[i] = wanted->at[i].key;
        if (!keys[i])
            return err_set(err, ERR_BUG, 0, "the key %s was never read", wanted->at[i].path);
    }
    for (size_t i = 0; i < p->n && wanted->n; i++) {
        const struct flip *f = &p->flips[i];
        /* What is built here has its signature still before it. */
        if (f->stale || f->plan->source == PLAN_FROM_BUILD || !is_first_of_digest(p, i))
            continue;
        if (signature_verify(p->engine->registry, p->arena, f->step.registry, f->step.name, &access,
                             f->step.new_digest, keys, wanted->n, err) == 0)
            continue;
        if (err->kind != ERR_PERM)
            return -1;
        if (unsigned_n++ == 0)
            first = arena_strdup(p->arena, err->text);
    }
    return unsigned_n ? refuse(p, first, unsigned_n - 1, err) : 0;
}
