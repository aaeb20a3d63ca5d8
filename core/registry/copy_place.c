#include "core/registry/copy_internal.h"

#include "core/base/str.h"
#include "core/domain/imageref.h"

const char *place_host(const struct endpoint *at, struct arena *a)
{
    if (!at->registry)
        return arena_printf(a, "layout %s", layout_path(at->layout));
    char *host = arena_strdup(a, at->host);
    for (char *p = host; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return host;
}

const char *place_key(const struct endpoint *at, struct arena *a)
{
    return arena_printf(a, "%s/%s", place_host(at, a), at->registry ? at->name : "");
}

const char *place_what(const struct endpoint *at, const char *ref, struct arena *a)
{
    if (!at->registry)
        return arena_printf(a, "layout %s%s%s", layout_path(at->layout), ref ? ": " : "",
                            ref ? ref : "");
    return arena_printf(a, "%s/%s%s%s", at->host, at->name,
                        !ref                      ? ""
                        : imageref_digest_ok(ref) ? "@"
                                                  : ":",
                        ref ? ref : "");
}

int place_failed(const struct registry_op *ops, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].failed) {
            *err = ops[i].err;
            return -1;
        }
    return 0;
}

/* --- layouts ------------------------------------------------------------------------------------
 */

/* Reads what ref names. A HEAD too: what cannot be read there is not there. */
static int layout_get(struct layout *l, struct arena *a, struct registry_op *op)
{
    struct descriptor root = {.digest = op->ref, .media_type = op->media_type};
    if ((!op->ref || !imageref_digest_ok(op->ref) || !op->media_type) &&
        layout_root(l, op->ref, a, &root, &op->absent, &op->err) < 0)
        return op->absent ? 0 : -1;
    if (op->absent)
        return 0;
    op->digest = root.digest;
    op->media_type = root.media_type;
    if (layout_read(l, op->digest, LIMIT_MANIFEST, a, &op->bytes, &op->len, &op->absent, &op->err) <
        0)
        return op->absent ? 0 : -1;
    return 0;
}

static int layout_put(struct layout *l, struct registry_op *op)
{
    const struct descriptor root = {
        .media_type = op->media_type, .digest = op->digest, .size = (int64_t)op->len};
    if (layout_write(l, op->digest, op->bytes, op->len, &op->err) < 0)
        return -1;
    if (op->ref && imageref_digest_ok(op->ref))
        return 0;
    return layout_set_root(l, &root, op->ref, &op->err);
}

size_t place_all(const struct endpoint *at, struct arena *a, struct registry_op *ops, size_t n)
{
    size_t failed = 0;
    for (size_t i = 0; i < n; i++) {
        ops[i].host = at->host;
        ops[i].name = at->name;
        ops[i].access = at->access;
    }
    if (at->registry)
        return n ? registry_all(at->registry, a, ops, n) : 0;
    for (size_t i = 0; i < n; i++) {
        struct registry_op *op = &ops[i];
        op->failed = op->absent = false;
        op->failed = (op->verb == REGISTRY_PUT ? layout_put(at->layout, op)
                                               : layout_get(at->layout, a, op)) < 0;
        failed += op->failed;
    }
    return failed;
}
