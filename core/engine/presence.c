#include "core/engine/presence.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/registry/blob.h"

/* One image on its way down to its blobs. */
struct look {
    struct presence_search *search;
    struct endpoint at;
    struct presence *out;
    LIST(const struct descriptor *) blobs; /* to be asked for at its end */
};

static bool is_manifest_type(const char *type)
{
    static const char *const types[] = {MANIFEST_OCI_INDEX, MANIFEST_OCI, MANIFEST_DOCKER_LIST,
                                        MANIFEST_DOCKER};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, types[i]))
            return true;
    return false;
}

static bool is_known(struct look *l, const char *digest)
{
    struct arena *a = l->search->arena;
    const char *name = arena_printf(a, "%s/%s@%s", l->at.host, l->at.name, digest);
    return strset_add(&l->search->seen, a, name) == NULL;
}

static void miss(struct look *l, const char *what, const char *digest)
{
    if (!l->out->missing)
        l->out->missing = arena_printf(l->search->arena, "%s %s", what, digest);
}

static void add_blob(struct look *l, const struct descriptor *blob)
{
    struct arena *a = l->search->arena;
    if (blob->digest && !blob->nondistributable && !blob->has_urls && !is_known(l, blob->digest))
        *list_push(a, &l->blobs) = arena_memdup(a, blob, sizeof *blob);
}

static struct registry_op get_op(const struct look *l, const char *ref)
{
    return (struct registry_op){.verb = REGISTRY_GET,
                                .host = l->at.host,
                                .name = l->at.name,
                                .ref = ref,
                                .access = l->at.access};
}

static int look_below(struct look *l, const struct registry_op *op, int depth, struct err *err);

/* The manifests that an index lists, all at once. */
static int look_at_children(struct look *l, const struct manifest *m, int depth, struct err *err)
{
    struct registry_op *ops = arena_alloc(l->search->arena, (m->children.n + 1) * sizeof *ops);
    size_t n = 0;
    list_each (const struct descriptor, child, &m->children) {
        if (!is_manifest_type(child->media_type))
            add_blob(l, child);
        else if (!is_known(l, child->digest))
            ops[n++] = get_op(l, child->digest);
    }
    (void)registry_all(l->search->registry, l->search->arena, ops, n);
    for (size_t i = 0; i < n; i++)
        if (look_below(l, &ops[i], depth + 1, err) < 0)
            return -1;
    return 0;
}

static int look_below(struct look *l, const struct registry_op *op, int depth, struct err *err)
{
    struct manifest m;
    if (depth > LIMIT_DEPTH_INDEX)
        return err_set(err, ERR_PERM, 0, "%s: indexes in indexes, more than %d", op->ref,
                       LIMIT_DEPTH_INDEX);
    if (op->failed) {
        *err = op->err;
        return err_wrap(err, "asking for %s/%s %s", l->at.host, l->at.name, op->ref);
    }
    if (op->absent) {
        miss(l, "manifest", op->ref);
        return 0;
    }
    if (manifest_parse(op->bytes, op->len, op->media_type, l->search->arena, &m, err) < 0)
        return -1;
    if (m.is_index)
        return look_at_children(l, &m, depth, err);
    add_blob(l, &m.config);
    list_each (const struct descriptor, layer, &m.layers)
        add_blob(l, layer);
    return 0;
}

/* A storage that answers GET alone was named by a registry that has the blob. */
static int look_at_blobs(struct look *l, struct err *err)
{
    struct arena *a = l->search->arena;
    enum blob_sight *sights = arena_alloc(a, (l->blobs.n + 1) * sizeof *sights);
    if (blobs_look(&l->at, l->blobs.at, l->blobs.n, a, sights, err) < 0)
        return err_wrap(err, "asking for the blobs of %s/%s", l->at.host, l->at.name);
    for (size_t i = 0; i < l->blobs.n; i++)
        if (sights[i] == BLOB_ABSENT)
            miss(l, "blob", l->blobs.at[i]->digest);
    return 0;
}

int presence_find(struct presence_search *s, const char *host, const char *name, const char *ref,
                  struct presence *out, struct err *err)
{
    struct look l = {.search = s, .out = out};
    l.at =
        (struct endpoint){.registry = s->registry, .host = host, .name = name, .access = s->access};
    struct registry_op op = get_op(&l, ref);
    *out = (struct presence){0};
    (void)registry_all(s->registry, s->arena, &op, 1);
    if (!op.failed && !op.absent)
        *out = (struct presence){
            .digest = op.digest, .media_type = op.media_type, .bytes = op.bytes, .len = op.len};
    if (look_below(&l, &op, 0, err) < 0)
        return -1;
    return look_at_blobs(&l, err);
}

int presence_look(const struct engine *e, const char *host, const char *name, const char *ref,
                  struct arena *a, struct presence *out, struct err *err)
{
    struct presence_search search = {
        .registry = e->registry, .access = {.read_only = true, .patient = true}, .arena = a};
    return presence_find(&search, host, name, ref, out, err);
}
