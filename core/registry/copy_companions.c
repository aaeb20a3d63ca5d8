#include "core/registry/copy_internal.h"

#include "core/base/str.h"

/* Each may hold a manifest of any size. */
enum { TAGS_AT_ONCE = 4 };

/* Companions of companions: what a round finds is what the next one asks about. */
struct round {
    struct image *im;
    struct strset *seen;   /* digests asked about, in the image's arena */
    struct str_list *next; /* likewise */
};

static int keep(struct round *r, const char *digest, struct err *err)
{
    struct image *im = r->im;
    if (++im->c->companions > LIMIT_COMPANIONS)
        return err_set(err, ERR_PERM, 0, "more than %d signatures and referrers", LIMIT_COMPANIONS);
    if (strset_add(r->seen, &im->arena, digest))
        *list_push(&im->arena, r->next) = arena_strdup(&im->arena, digest);
    return 0;
}

static int bring_below(struct round *r, const struct registry_op *op, const struct manifest *m,
                       struct arena *a, struct err *err)
{
    struct walk w = {.im = r->im, .ask_first = r->im->ask_first};
    return walk_below(&w, m, place_what(&r->im->from, op->ref, a), err);
}

/* --- cosign's tags ------------------------------------------------------------------------------
 */

static int bring_tag(struct round *r, struct registry_op *op, struct arena *a, struct err *err)
{
    struct image *im = r->im;
    struct manifest m = {0};
    if (walk_parse(&im->from, op, -1, a, &m, err) < 0 || bring_below(r, op, &m, a, err) < 0)
        return -1;
    op->verb = REGISTRY_PUT;
    im->c->manifests_put++;
    if (im->c->dry_run || place_all(&im->to, a, op, 1) == 0)
        return 0;
    im->c->manifests_put--;
    return place_failed(op, 1, err);
}

/* Those of a few tags that are there. */
static int bring_some(struct round *r, const char *const *tags, size_t n, struct err *err)
{
    struct image *im = r->im;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_op found[TAGS_AT_ONCE], there[TAGS_AT_ONCE];
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        found[i] = (struct registry_op){.verb = REGISTRY_GET, .ref = tags[i]};
    if (place_all(&im->from, &a, found, n))
        return place_failed(found, n, err);
    for (size_t i = 0; i < n; i++)
        if (!found[i].absent)
            found[k++] = found[i];
    for (size_t i = 0; i < k; i++)
        there[i] = (struct registry_op){.verb = REGISTRY_HEAD, .ref = found[i].ref};
    if (place_all(&im->to, &a, there, k))
        return place_failed(there, k, err);
    for (size_t i = 0; i < k; i++) {
        bool same = !there[i].absent && str_eq(there[i].digest, found[i].digest);
        if ((!same && bring_tag(r, &found[i], &a, err) < 0) || keep(r, found[i].digest, err) < 0)
            return -1;
    }
    return 0;
}

static int bring_tags(struct round *r, const struct str_list *digests, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct str_list tags = find_tags(r->im, digests, &a);
    for (size_t i = 0; i < tags.n; i += TAGS_AT_ONCE) {
        size_t n = tags.n - i < TAGS_AT_ONCE ? tags.n - i : TAGS_AT_ONCE;
        if (bring_some(r, tags.at + i, n, err) < 0)
            return -1;
    }
    return 0;
}

/* --- referrers ----------------------------------------------------------------------------------
 */

static int push(struct image *im, const struct manifest *m, const struct registry_op *op,
                struct arena *a, struct err *err)
{
    struct registry_op root = *op;
    if (!im->to.registry) {
        root.verb = REGISTRY_PUT;
        root.ref = NULL;
        return place_all(&im->to, a, &root, 1) ? place_failed(&root, 1, err) : 0;
    }
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    const char *of = arena_printf(&scratch, "%s %s", place_key(&im->to, &scratch), m->subject);
    pthread_mutex_t *lock = &im->e->subjects[strset_hash(of) % SUBJECT_LOCKS];
    (void)pthread_mutex_lock(lock);
    int rc = referrers_push(im->to.registry, &scratch, im->to.host, im->to.name, &im->to.access, m,
                            op->bytes, op->len, op->digest, err);
    (void)pthread_mutex_unlock(lock);
    return rc;
}

/* A list may name what is gone, what refers to something else, or what nobody here knows (ORAS'
 * artifact manifests): left, and said so. */
static int bring_referrer(struct round *r, const char *subject, const struct descriptor *d,
                          struct err *err)
{
    struct image *im = r->im;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct manifest m = {0};
    struct registry_op op = {.verb = REGISTRY_GET, .ref = d->digest, .media_type = d->media_type};
    const char *what = place_what(&im->from, d->digest, &a);
    if (!walk_knows(d->media_type)) {
        image_note(im, "%s, which refers to %s, is left out: its type %.200s is not known", what,
                   subject, d->media_type);
        return 0;
    }
    if (place_all(&im->from, &a, &op, 1))
        return place_failed(&op, 1, err);
    if (op.absent) {
        image_note(im, "%s is listed as referring to %s, but is not there", what, subject);
        return 0;
    }
    if (walk_parse(&im->from, &op, d->size, &a, &m, err) < 0)
        return -1;
    if (!str_eq(m.subject, subject)) {
        image_note(im, "%s is listed as referring to %s, but does not", what, subject);
        return 0;
    }
    if (bring_below(r, &op, &m, &a, err) < 0)
        return -1;
    im->c->manifests_put++;
    if (!im->c->dry_run && push(im, &m, &op, &a, err) < 0) {
        im->c->manifests_put--;
        return -1;
    }
    return keep(r, d->digest, err);
}

static bool lists(const struct descriptors *list, const char *digest)
{
    list_each (const struct descriptor, d, list)
        if (str_eq(d->digest, digest))
            return true;
    return false;
}

static int bring_missing(struct round *r, const struct referrers_ask *from,
                         const struct referrers_ask *to, struct err *err)
{
    list_each (const struct descriptor, d, &from->out) {
        if (lists(&to->out, d->digest)) {
            if (keep(r, d->digest, err) < 0)
                return -1;
            continue;
        }
        /* Not every registry takes what refers to something that it has not got. */
        if (str_eq(from->digest, r->im->root.digest) && image_put_root(r->im, err) < 0)
            return -1;
        if (bring_referrer(r, from->digest, d, err) < 0)
            return -1;
    }
    return 0;
}

static int bring_referrers(struct round *r, const struct str_list *digests, struct err *err)
{
    struct image *im = r->im;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct referrers_ask *from = arena_alloc(&a, digests->n * sizeof *from);
    struct referrers_ask *to = arena_alloc(&a, digests->n * sizeof *to);
    size_t n = 0;
    for (size_t i = 0; i < digests->n; i++)
        from[i].digest = digests->at[i];
    if (find_referrers(im, &im->from, &a, from, digests->n, err) < 0)
        return -1;
    for (size_t i = 0; i < digests->n; i++)
        if (from[i].out.n)
            from[n++] = from[i];
    for (size_t i = 0; i < n; i++)
        to[i].digest = from[i].digest;
    if (find_referrers(im, &im->to, &a, to, n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (bring_missing(r, &from[i], &to[i], err) < 0)
            return -1;
    return 0;
}

int companions_copy(struct image *im, const struct str_list *digests, struct err *err)
{
    struct strset seen = {0};
    struct str_list now = *digests;
    for (size_t i = 0; i < now.n; i++)
        (void)strset_add(&seen, &im->arena, now.at[i]);
    for (int depth = 0; depth < LIMIT_DEPTH_INDEX && now.n; depth++) {
        struct str_list next = {0};
        struct round r = {.im = im, .seen = &seen, .next = &next};
        for (size_t i = 0; i < now.n; i += LIMIT_COPY_BATCH) {
            size_t n = now.n - i < LIMIT_COPY_BATCH ? now.n - i : LIMIT_COPY_BATCH;
            const struct str_list some = {.at = now.at + i, .n = n};
            if (image_stopped(im, err) < 0 || bring_tags(&r, &some, err) < 0 ||
                bring_referrers(&r, &some, err) < 0)
                return -1;
        }
        now = next;
    }
    return 0;
}
