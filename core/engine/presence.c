#include "core/engine/presence.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/registry/blob.h"

struct look {
    struct endpoint at;
    struct arena *arena;
    struct str_list seen;
    struct presence *out;
};

static int look_at_blob(struct look *l, const struct descriptor *blob, struct err *err)
{
    bool there = false;
    if (!blob->digest || blob->nondistributable || blob->has_urls || str_in(blob->digest, &l->seen))
        return 0;
    *list_push(l->arena, &l->seen) = blob->digest;
    if (blob_exists(&l->at, blob, l->arena, &there, err) < 0)
        return err_wrap(err, "asking for blob %s", blob->digest);
    if (!there)
        l->out->missing = arena_printf(l->arena, "blob %s", blob->digest);
    return 0;
}

static int look_at(struct look *l, const char *ref, int depth, struct err *err);

static int look_at_children(struct look *l, const struct manifest *m, int depth, struct err *err)
{
    list_each (const struct descriptor, child, &m->children) {
        if (str_in(child->digest, &l->seen))
            continue;
        *list_push(l->arena, &l->seen) = child->digest;
        if (look_at(l, child->digest, depth + 1, err) < 0)
            return -1;
        if (l->out->missing)
            break;
    }
    return 0;
}

static int look_at(struct look *l, const char *ref, int depth, struct err *err)
{
    struct manifest m;
    struct registry_op op = {.verb = REGISTRY_GET,
                             .host = l->at.host,
                             .name = l->at.name,
                             .ref = ref,
                             .access = l->at.access};
    if (depth > LIMIT_DEPTH_INDEX)
        return err_set(err, ERR_PERM, 0, "indexes in indexes, more than %d", LIMIT_DEPTH_INDEX);
    if (registry_all(l->at.registry, l->arena, &op, 1) > 0) {
        *err = op.err;
        return err_wrap(err, "asking for %s/%s %s", l->at.host, l->at.name, ref);
    }
    if (op.absent) {
        l->out->missing = arena_printf(l->arena, "manifest %s", ref);
        return 0;
    }
    if (depth == 0)
        l->out->digest = op.digest;
    if (manifest_parse(op.bytes, op.len, op.media_type, l->arena, &m, err) < 0)
        return -1;
    if (m.is_index)
        return look_at_children(l, &m, depth, err);
    if (look_at_blob(l, &m.config, err) < 0)
        return -1;
    list_each (const struct descriptor, layer, &m.layers)
        if (!l->out->missing && look_at_blob(l, layer, err) < 0)
            return -1;
    return 0;
}

int presence_look(const struct engine *e, const char *host, const char *name, const char *ref,
                  struct arena *a, struct presence *out, struct err *err)
{
    struct look l = {.at = {.registry = e->registry,
                            .host = host,
                            .name = name,
                            .access = {.read_only = true, .patient = true}},
                     .arena = a,
                     .out = out};
    *out = (struct presence){0};
    return look_at(&l, ref, 0, err);
}
