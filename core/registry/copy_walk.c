#include "core/registry/copy_internal.h"

#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#include <errno.h>

/* A child of an index. */
struct node {
    const struct descriptor *d;
    bool skip;  /* the target has it, or it is a blob */
    bool there; /* the target has this index, but maybe not all below it */
    struct registry_op op;
    struct manifest m;
};

/* Those that are chosen: a node each is made of a batch at a time. */
struct children {
    const struct descriptor **at;
    size_t n;
    size_t cap;
};

/* What is read beyond the size that an index says, so that a message can tell how much it is. */
#define SIZE_LIE KIB(64)

static int below(struct walk *w, const struct manifest *m, const char *what, int depth,
                 struct err *err);

bool walk_knows(const char *type)
{
    static const char *const types[] = {MANIFEST_OCI_INDEX, MANIFEST_OCI, MANIFEST_DOCKER_LIST,
                                        MANIFEST_DOCKER};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, types[i]))
            return true;
    return false;
}

/* Schema 1 too: it is a manifest, and refused as such. */
static bool is_manifest_type(const char *type)
{
    return walk_knows(type) || str_starts(type, "application/vnd.docker.distribution.manifest.v1+");
}

bool walk_is_index(const char *type)
{
    return str_eq(type, MANIFEST_OCI_INDEX) || str_eq(type, MANIFEST_DOCKER_LIST);
}

int walk_parse(const struct endpoint *at, const struct registry_op *op, int64_t size,
               struct arena *a, struct manifest *out, struct err *err)
{
    const char *what = place_what(at, op->digest, a);
    if (size >= 0 && op->len != (size_t)size)
        return err_set(err, ERR_PERM, 0,
                       "%s has %zu bytes, but what names it says %lld: one of them is wrong", what,
                       op->len, (long long)size);
    if (manifest_parse(op->bytes, op->len, op->media_type, a, out, err) < 0)
        return err_wrap(err, "%s", what);
    return 0;
}

/* --- choosing -----------------------------------------------------------------------------------
 */

static bool chosen(const struct walk *w, const struct descriptor *d)
{
    if (!w->platforms || w->platforms->n == 0)
        return true;
    /* An index in an index that says no platform may hold what is wanted. */
    if (!d->platform && walk_is_index(d->media_type))
        return true;
    for (size_t i = 0; i < w->platforms->n; i++)
        if (platform_matches(d->platform, w->platforms->at[i]))
            return true;
    return false;
}

static void choose(struct walk *w, const struct manifest *m, struct arena *a, struct children *out)
{
    struct strset seen = {0};
    list_each (const struct descriptor, d, &m->children) {
        if (!chosen(w, d)) {
            w->im->left_out++;
            continue;
        }
        if (strset_add(&seen, a, d->digest))
            *list_push(a, out) = d;
    }
}

static const char *platforms_of(const struct manifest *m, struct arena *a)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(600);
    list_each (const struct descriptor, d, &m->children)
        if (d->platform)
            (void)strbuf_addf(&out, "%s%.60s", out.len ? ", " : "", d->platform);
    return out.len ? strbuf_to_arena(&out, a) : "none that says its platform";
}

static const char *list_wanted(const struct str_list *platforms, struct arena *a)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(300);
    for (size_t i = 0; i < platforms->n; i++)
        (void)strbuf_addf(&out, "%s%s", i ? " or " : "", platforms->at[i]);
    return strbuf_to_arena(&out, a);
}

static int check_chosen(const struct walk *w, const struct manifest *m,
                        const struct children *chosen, const char *what, struct arena *a,
                        struct err *err)
{
    for (size_t i = 0; w->platforms && i < w->platforms->n; i++)
        if (chosen->n && !manifest_has_platform(m, w->platforms->at[i]))
            image_note(w->im, "%s has nothing for %s", what, w->platforms->at[i]);
    if (chosen->n || m->children.n == 0 || !w->platforms)
        return 0;
    return err_set(err, ERR_PERM, 0, "%s has nothing for %s; there is: %s", what,
                   list_wanted(w->platforms, a), platforms_of(m, a));
}

/* "linux/arm64/v8"; NULL: the config does not say. */
static const char *platform_in(const void *bytes, size_t len, struct arena *a)
{
    struct err ignored = ERR_INIT;
    struct js *doc CLEANUP_JS = js_parse(bytes, len, &ignored);
    const char *os = doc ? js_str(doc, "os") : NULL;
    const char *architecture = doc ? js_str(doc, "architecture") : NULL;
    const char *variant = doc ? js_str(doc, "variant") : NULL;
    if (str_empty(os) || str_empty(architecture))
        return NULL;
    bool more = !str_empty(variant);
    const char *text = arena_printf(a, "%.60s/%.60s%s%.60s", os, architecture, more ? "/" : "",
                                    more ? variant : "");
    return platform_ok(text) ? text : NULL;
}

int walk_check_platform(struct image *im, const struct manifest *m, const char *what,
                        struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct str_list *wanted = &im->c->platforms;
    const void *bytes = NULL;
    size_t len = 0;
    if (m->is_index || wanted->n == 0)
        return 0;
    const char *platform = NULL;
    if (m->config.digest && m->config.size <= (int64_t)LIMIT_MANIFEST) {
        if (blob_read(&im->from, m->config.digest, LIMIT_MANIFEST, &a, &bytes, &len, err) < 0)
            return -1;
        platform = platform_in(bytes, len, &a);
    }
    if (!platform) {
        image_note(im, "%s does not say its platform: copied as it is", what);
        return 0;
    }
    for (size_t i = 0; i < wanted->n; i++)
        if (platform_matches(platform, wanted->at[i]))
            return 0;
    return err_set(err, ERR_PERM, 0, "%s has nothing for %s; it is %s", what,
                   list_wanted(wanted, &a), platform);
}

/* --- one batch of children ----------------------------------------------------------------------
 */

static void keep_digest(struct walk *w, const char *digest)
{
    if (w->digests)
        *list_push(&w->im->arena, w->digests) = arena_strdup(&w->im->arena, digest);
}

/* Asks the target which of them it has. */
static int ask_target(struct walk *w, struct arena *a, struct node *nodes, size_t n,
                      struct err *err)
{
    struct registry_op *ops = arena_alloc(a, n * sizeof *ops);
    struct node **of = arena_alloc(a, n * sizeof(struct node *));
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].skip)
            continue;
        of[k] = &nodes[i];
        ops[k++] = (struct registry_op){
            .verb = REGISTRY_HEAD, .ref = nodes[i].d->digest, .media_type = nodes[i].d->media_type};
    }
    if (place_all(&w->im->to, a, ops, k))
        return place_failed(ops, k, err);
    for (size_t i = 0; i < k; i++)
        if (w->im->look_below && walk_is_index(of[i]->d->media_type) &&
            !strset_find(&w->im->whole, of[i]->d->digest))
            of[i]->there = !ops[i].absent;
        else
            of[i]->skip = !ops[i].absent;
    return 0;
}

static int fetch(struct walk *w, const char *parent, struct arena *a, struct node *nodes, size_t n,
                 struct err *err)
{
    const struct endpoint *from = &w->im->from;
    struct registry_op *ops = arena_alloc(a, n * sizeof *ops);
    struct node **of = arena_alloc(a, n * sizeof(struct node *));
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].skip)
            continue;
        of[k] = &nodes[i];
        ops[k++] = (struct registry_op){.verb = REGISTRY_GET,
                                        .ref = nodes[i].d->digest,
                                        .media_type = nodes[i].d->media_type,
                                        .max = (size_t)nodes[i].d->size + SIZE_LIE};
    }
    if (place_all(from, a, ops, k))
        return place_failed(ops, k, err);
    for (size_t i = 0; i < k; i++) {
        if (ops[i].absent)
            return err_set(err, ERR_PERM, ENOENT, "%s is not there, but %s lists it",
                           place_what(from, ops[i].ref, a), parent);
        of[i]->op = ops[i];
        if (walk_parse(from, &ops[i], of[i]->d->size, a, &of[i]->m, err) < 0)
            return -1;
    }
    return 0;
}

static void want_blob(struct walk *w, const struct descriptor *d, const char *what, struct arena *a,
                      struct tickets *tickets)
{
    if (!d->nondistributable && !d->has_urls) {
        pool_want(w->im, d, a, tickets);
        return;
    }
    w->im->stays++;
    image_note(w->im, "%s: layer %s stays where it is: %s", what, d->digest,
               d->nondistributable ? "it may not be distributed freely"
                                   : "it is fetched from the addresses in `urls`");
}

static int want_blobs(struct walk *w, const struct manifest *m, const char *what, struct arena *a,
                      struct tickets *tickets, struct err *err)
{
    if (w->im->c->blobs > LIMIT_COPY_BLOBS)
        return err_set(err, ERR_PERM, 0, "%s: more than %d blobs in all", what, LIMIT_COPY_BLOBS);
    if (m->config.digest)
        want_blob(w, &m->config, what, a, tickets);
    list_each (const struct descriptor, d, &m->layers)
        want_blob(w, d, what, a, tickets);
    return 0;
}

static int put_all(struct walk *w, struct arena *a, struct node *nodes, size_t n, struct err *err)
{
    struct registry_op *ops = arena_alloc(a, n * sizeof *ops);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (!nodes[i].skip && !nodes[i].there) {
            ops[k] = nodes[i].op;
            ops[k].verb = REGISTRY_PUT;
            ops[k].ref = ops[k].digest;
            k++;
        }
    for (size_t i = 0; i < n; i++)
        if (nodes[i].m.is_index)
            (void)strset_add(&w->im->whole, &w->im->arena, nodes[i].d->digest);
    w->im->c->manifests_put += k;
    if (w->im->c->dry_run || place_all(&w->im->to, a, ops, k) == 0)
        return 0;
    for (size_t i = 0; i < k; i++)
        w->im->c->manifests_put -= ops[i].failed;
    return image_refused(w->im, ops, k, err);
}

static int batch(struct walk *w, const char *parent, const struct descriptor *const *of, size_t n,
                 int depth, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct node *nodes = arena_alloc(&a, n * sizeof *nodes);
    struct tickets tickets = {0};
    struct image *im = w->im;
    if (image_stopped(im, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        nodes[i].d = of[i];
        nodes[i].skip = !is_manifest_type(nodes[i].d->media_type);
        if (nodes[i].skip)
            want_blob(w, nodes[i].d, parent, &a, &tickets);
        else
            keep_digest(w, nodes[i].d->digest);
    }
    int rc = w->ask_first ? ask_target(w, &a, nodes, n, err) : 0;
    if (rc == 0)
        rc = fetch(w, parent, &a, nodes, n, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!nodes[i].skip && !nodes[i].m.is_index)
            rc = want_blobs(w, &nodes[i].m, place_what(&im->from, nodes[i].d->digest, &a), &a,
                            &tickets, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!nodes[i].skip && nodes[i].m.is_index)
            rc = below(w, &nodes[i].m, place_what(&im->from, nodes[i].d->digest, &a), depth + 1,
                       err);
    if (rc < 0) {
        pool_leave(im, &tickets);
        return -1;
    }
    if (pool_wait(im, &tickets, err) < 0)
        return -1;
    return put_all(w, &a, nodes, n, err);
}

/* How many of the next ones are held at once. */
static size_t fit(const struct descriptor *const *of, size_t left)
{
    int64_t bytes = of[0]->size;
    size_t n = 1;
    while (n < left && n < LIMIT_COPY_BATCH && of[n]->size <= (int64_t)LIMIT_COPY_HELD - bytes)
        bytes += of[n++]->size;
    return n;
}

static int below(struct walk *w, const struct manifest *m, const char *what, int depth,
                 struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct children children = {0};
    if (!m->is_index) {
        struct tickets tickets = {0};
        if (want_blobs(w, m, what, &a, &tickets, err) < 0)
            return -1;
        return pool_wait(w->im, &tickets, err);
    }
    if (depth > LIMIT_DEPTH_INDEX)
        return err_set(err, ERR_PERM, 0, "%s: indexes in indexes, more than %d deep", what,
                       LIMIT_DEPTH_INDEX);
    choose(w, m, &a, &children);
    if (depth == 1 && check_chosen(w, m, &children, what, &a, err) < 0)
        return -1;
    w->im->manifests += children.n;
    if (w->im->manifests > LIMIT_DESCRIPTORS)
        return err_set(err, ERR_PERM, 0, "%s: more than %d manifests in all", what,
                       LIMIT_DESCRIPTORS);
    for (size_t i = 0, n; i < children.n; i += n) {
        n = fit(children.at + i, children.n - i);
        if (batch(w, what, children.at + i, n, depth, err) < 0)
            return -1;
    }
    return 0;
}

int walk_below(struct walk *w, const struct manifest *m, const char *what, struct err *err)
{
    return below(w, m, what, 1, err);
}

void walk_digests(struct walk *w, const struct manifest *m)
{
    list_each (const struct descriptor, d, &m->children)
        if (chosen(w, d) && is_manifest_type(d->media_type))
            keep_digest(w, d->digest);
}
