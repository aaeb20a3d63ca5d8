#include "core/base/base.h"
#include "core/base/str.h"
#include "core/domain/layout_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_roots(const struct manifest *index)
{
    static const char *const names[] = {NULL, "", "latest", "v1", "docker.io/library/app:v1"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct descriptor *root = NULL;
        struct err err = ERR_INIT;
        if (layout_index_root(index, names[i], &root, &err) == 0)
            must(root >= index->children.at && root < index->children.at + index->children.n);
        else
            must(!root && err.kind == ERR_CONFIG && !strpbrk(err.text, "\r\n\x1b"));
    }
}

/* An index that was taken is taken again with one image more, which is found by its name. */
static void check_put(const uint8_t *data, size_t len, const struct manifest *index)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct descriptor add = {
        .media_type = MANIFEST_OCI, .digest = DIGEST, .size = 7, .ref_name = "v1"};
    const struct descriptor *root;
    struct manifest again;
    const char *text = layout_index_put(data, len, &add, &a, NULL);
    if (!text)
        return;
    must(layout_index_parse(text, strlen(text), &a, &again, NULL) == 0);
    must(again.children.n <= index->children.n + 1);
    must(layout_index_root(&again, "v1", &root, NULL) == 0 && str_eq(root->digest, DIGEST));
    must(str_eq(layout_index_put(text, strlen(text), &add, &a, NULL), text));
}

static void check_referrers(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct referrer add = {.media_type = MANIFEST_OCI, .digest = DIGEST, .size = 7};
    struct manifest again;
    const char *text = manifest_referrers_index(data, len, &add, &a, NULL);
    if (!text)
        return;
    must(manifest_parse(text, strlen(text), MANIFEST_OCI_INDEX, &a, &again, NULL) == 0);
    must(str_eq(manifest_referrers_index(text, strlen(text), &add, &a, NULL), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest index;
    if (layout_index_version(data, len, &err) < 0)
        must(err.kind == ERR_CONFIG);
    if (layout_index_parse(data, len, &a, &index, &err) < 0) {
        must(err.kind == ERR_CONFIG && !strpbrk(err.text, "\r\n"));
        return 0;
    }
    check_roots(&index);
    check_put(data, len, &index);
    check_referrers(data, len);
    return 0;
}
