#include "core/registry/copy_internal.h"

#include "core/base/str.h"
#include "core/domain/imageref.h"

static const char *const suffixes[] = {"sig", "att", "sbom"};

/* --- what a source lists ------------------------------------------------------------------------
 */

static struct source *source_of(struct image *im)
{
    struct engine *e = im->e;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    (void)pthread_mutex_lock(&e->lock);
    void **place = strset_at(&e->sources, &e->arena, place_key(&im->from, &scratch));
    struct source *s = *place;
    if (!s) {
        s = *place = arena_alloc(&e->arena, sizeof *s);
        (void)pthread_mutex_init(&s->lock, NULL);
        s->next = e->source_list;
        e->source_list = s;
    }
    (void)pthread_mutex_unlock(&e->lock);
    return s;
}

/* One list spares many questions, and where it cannot be had each tag is asked for. Of the tags
 * only those that stand for a digest are kept. */
static void list_source(const struct image *im, struct source *s)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err ignored = ERR_INIT;
    struct str_list tags = {0};
    bool absent = false;
    s->asked = true;
    s->listed = registry_tags(im->from.registry, &a, im->from.host, im->from.name, &im->from.access,
                              &tags, &absent, &ignored) == 0;
    for (size_t i = 0; s->listed && i < tags.n; i++)
        if (str_starts(tags.at[i], "sha256-") || str_starts(tags.at[i], "sha512-"))
            (void)strset_add(&s->tags, &s->arena, tags.at[i]);
}

/* Those of the tags that may be there. A single image of a single manifest is asked for at once: a
 * list may be long. */
static struct str_list likely(struct image *im, const struct str_list *tags, bool single,
                              struct arena *a)
{
    struct source *s = source_of(im);
    struct str_list out = {0};
    (void)pthread_mutex_lock(&s->lock);
    if (!s->asked && !(single && im->e->n == 1))
        list_source(im, s);
    for (size_t i = 0; i < tags->n; i++)
        if (tags->at[i] && (!s->listed || strset_find(&s->tags, tags->at[i])))
            *list_push(a, &out) = tags->at[i];
    (void)pthread_mutex_unlock(&s->lock);
    return out;
}

struct str_list find_tags(struct image *im, const struct str_list *digests, struct arena *a)
{
    struct str_list tags = {0};
    for (size_t i = 0; i < digests->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(suffixes); k++) {
            const char *tag = imageref_cosign_tag(digests->at[i], suffixes[k], a);
            if (tag)
                *list_push(a, &tags) = tag;
        }
    return im->from.registry ? likely(im, &tags, digests->n == 1, a) : tags;
}

/* --- referrers ----------------------------------------------------------------------------------
 */

/* In a layout: the roots whose subject is one of the digests. */
static int layout_referrers(struct layout *l, struct arena *a, struct referrers_ask *asks, size_t n,
                            struct err *err)
{
    struct descriptors roots;
    if (layout_roots(l, a, &roots, err) < 0)
        return -1;
    list_each (const struct descriptor, d, &roots) {
        struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
        const void *bytes;
        size_t len;
        bool absent;
        struct manifest m;
        if (d->size > (int64_t)LIMIT_MANIFEST)
            continue;
        if (layout_read(l, d->digest, LIMIT_MANIFEST, &scratch, &bytes, &len, &absent, err) < 0)
            return -1;
        if (absent || manifest_parse(bytes, len, d->media_type, &scratch, &m, NULL) < 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (str_eq(m.subject, asks[i].digest) && asks[i].out.n < LIMIT_REFERRERS)
                *list_push(a, &asks[i].out) = *d;
    }
    return 0;
}

static enum referrers_api api_of(struct engine *e, const char *host)
{
    (void)pthread_mutex_lock(&e->lock);
    void **known = strset_find(&e->hosts, host);
    enum referrers_api api = known ? (enum referrers_api)(uintptr_t)*known : REFERRERS_NOT_ASKED;
    (void)pthread_mutex_unlock(&e->lock);
    return api;
}

static void keep_api(struct engine *e, const char *host, enum referrers_api api)
{
    (void)pthread_mutex_lock(&e->lock);
    *strset_at(&e->hosts, &e->arena, host) = (void *)(uintptr_t)api;
    (void)pthread_mutex_unlock(&e->lock);
}

/* The fallback tags of the source are among those it lists. */
static int by_tag(struct image *im, const struct endpoint *at, struct arena *a,
                  struct referrers_ask *asks, size_t n, struct err *err)
{
    struct str_list tags = {0};
    struct strset there = {0};
    for (size_t i = 0; i < n; i++)
        *list_push(a, &tags) = imageref_fallback_tag(asks[i].digest, a);
    if (at == &im->from)
        tags = likely(im, &tags, n == 1, a);
    for (size_t i = 0; i < tags.n; i++)
        if (tags.at[i])
            (void)strset_add(&there, a, tags.at[i]);
    struct referrers_ask *some = arena_alloc(a, n * sizeof *some);
    size_t *of = arena_alloc(a, n * sizeof *of), k = 0;
    for (size_t i = 0; i < n; i++) {
        const char *tag = imageref_fallback_tag(asks[i].digest, a);
        if (tag && strset_find(&there, tag)) {
            of[k] = i;
            some[k++].digest = asks[i].digest;
        }
    }
    if (k &&
        referrers_by_tag(at->registry, a, at->host, at->name, &at->access, NULL, some, k, err) < 0)
        return -1;
    for (size_t i = 0; i < k; i++)
        asks[of[i]].out = some[i].out;
    return 0;
}

int find_referrers(struct image *im, const struct endpoint *at, struct arena *a,
                   struct referrers_ask *asks, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        asks[i].out = (struct descriptors){0};
    if (n == 0)
        return 0;
    if (!at->registry)
        return layout_referrers(at->layout, a, asks, n, err);
    const char *host = place_host(at, a);
    enum referrers_api api = api_of(im->e, host);
    if (referrers_by_api(at->registry, a, at->host, at->name, &at->access, NULL, &api, asks, n,
                         err) < 0) {
        const char *why = arena_strdup(a, err->text);
        if (err->code == 401 || err->code == 403)
            (void)err_set(err, err->kind, err->code,
                          "%s; --no-companions leaves out what refers to an image", why);
        return -1;
    }
    if (api != REFERRERS_NOT_ASKED)
        keep_api(im->e, host, api);
    return api == REFERRERS_API ? 0 : by_tag(im, at, a, asks, n, err);
}
