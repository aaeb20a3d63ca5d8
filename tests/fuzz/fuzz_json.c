/* Any bytes as JSON: what was read must be written and read again as the same text. */
#include "core/base/base.h"

#include "core/lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    CLEANUP_JS struct js *v = js_parse(data, size, &err);
    if (!v) {
        if (err.kind != ERR_INPUT || strchr(err.text, '\n'))
            abort();
        return 0;
    }
    struct arena a = ARENA_INIT;
    (void)js_text(v, "a.b", &a);
    const char *text = js_dump(v, &a);
    CLEANUP_JS struct js *again = js_parse(text, strlen(text), &err);
    if (!again || strcmp(js_dump(again, &a), text) != 0)
        abort();
    arena_release(&a);
    return 0;
}
