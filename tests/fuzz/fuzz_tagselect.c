#include "core/base/base.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/semver.h"
#include "core/domain/tagselect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

/* Neighbours are compared with each other and with themselves. */
static void check_versions(const struct str_list *tags)
{
    struct semver a, b;
    for (size_t i = 0; i + 1 < tags->n; i++) {
        if (!semver_parse(tags->at[i], SEMVER_TAG, &a) ||
            !semver_parse(tags->at[i + 1], SEMVER_TAG, &b))
            continue;
        must(semver_compare(&a, &a) == 0);
        must(sign(semver_compare(&a, &b)) == -sign(semver_compare(&b, &a)));
    }
}

/* The first line is what is wanted, the second what is not, the others are tags. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct str_list lines = str_split(&a, arena_strndup(&a, (const char *)data, len), '\n');
    struct str_list allow = {.at = lines.at, .n = 1};
    struct str_list deny = {.at = lines.at + 1, .n = lines.n > 1 && *lines.at[1]};
    struct str_list tags = {.at = lines.at + 2, .n = lines.n > 2 ? lines.n - 2 : 0}, out;
    check_versions(&tags);
    struct tagselect *s CLEANUP_TAGSELECT = tagselect_compile(&allow, &deny, &err);
    if (!s) {
        must(err.kind == ERR_CONFIG && *err.text);
        return 0;
    }
    if (tags.n > 100)
        tags.n = 100;
    tagselect_pick(s, &tags, &a, &out);
    must(out.n <= tags.n);
    for (size_t i = 0; i < out.n; i++) {
        struct str_list before = {.at = out.at, .n = i};
        must(imageref_tag_ok(out.at[i]) && str_in(out.at[i], &tags) && !str_in(out.at[i], &before));
    }
    return 0;
}
