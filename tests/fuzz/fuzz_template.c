/* Any text as a template: checking and expanding must agree, and an expansion stays bounded. */
#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/domain/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct place place = {"fuzz", 1, 1};
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const char *text = arena_strndup(&a, (const char *)data, size);
    struct template_own own = {"own", text, place}; /* which may ask for itself */
    const struct template_owns owns = {&own, 1, 1};
    const struct template_vars some = {.branch = "main", .project_name = "team/app", .own = &owns};
    bool good = template_check(text, place, &diags);
    if (good != (diags.errors == 0))
        abort();
    const char *out = NULL;
    switch (template_expand(text, place, &some, &diags, &out)) {
    case TEMPLATE_OK:
        if (!good || strlen(out) > LIMIT_TEMPLATE)
            abort();
        break;
    case TEMPLATE_UNDEFINED:
        if (!good || !(template_uses(text, out, &owns) || strcmp(out, "the time of now()") == 0))
            abort();
        break;
    case TEMPLATE_ERROR:
        if (diags.errors == 0)
            abort();
        break;
    }
    arena_release(&a);
    return 0;
}
