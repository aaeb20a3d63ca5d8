#include "core/base/base.h"
#include "core/base/limits.h"
#include "core/domain/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Each line is one WWW-Authenticate header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_headers headers = {0};
    struct str_list lines = {0};
    const char *text = arena_strndup(&a, (const char *)data, len);
    while (*text) {
        size_t line = strcspn(text, "\n");
        *list_push(&a, &lines) = arena_strndup(&a, text, line);
        http_header_add(&a, &headers, "WWW-Authenticate", lines.at[lines.n - 1]);
        text += line + (text[line] == '\n');
    }
    struct challenges all = challenge_parse(&headers, &a);
    if (all.n > LIMIT_CHALLENGES)
        abort();
    size_t read = 0;
    for (size_t i = 0; i < all.n; i++) {
        const char *texts[] = {all.at[i].realm, all.at[i].service, all.at[i].scope,
                               all.at[i].error};
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            read += texts[k] ? strlen(texts[k]) : 0;
    }
    return read > len ? abort(), 0 : 0;
}
