#include "core/base/base.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must_be_sane(const struct descriptors *list)
{
    list_each (struct descriptor, d, list)
        if (!imageref_digest_ok(d->digest) || str_empty(d->media_type) || d->size < 0)
            abort();
}

/* The first byte picks the content type, the rest is the document. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const types[] = {NULL,
                                        MANIFEST_OCI_INDEX,
                                        MANIFEST_OCI,
                                        MANIFEST_DOCKER_LIST "; charset=utf-8",
                                        MANIFEST_DOCKER,
                                        "application/json"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    if (len == 0)
        return 0;
    /* A document of its own, as fixtures are, has its type inside. */
    size_t skip = data[0] == '{' ? 0 : 1;
    const char *type = skip ? types[data[0] % ARRAY_LEN(types)] : NULL;
    bool placeholder = manifest_is_placeholder(data + skip, len - skip);
    if (manifest_parse(data + skip, len - skip, type, &a, &m, &err) < 0) {
        if (err.kind != ERR_PERM || strpbrk(err.text, "\r\n"))
            abort();
        return 0;
    }
    if (m.is_index == (m.config.digest != NULL) || (m.is_index && m.layers.n) ||
        (!m.is_index && m.children.n) || (placeholder && m.children.n))
        abort();
    must_be_sane(&m.layers);
    must_be_sane(&m.children);
    return 0;
}
