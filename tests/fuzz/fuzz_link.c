#include "core/base/base.h"
#include "core/base/limits.h"
#include "core/domain/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Each line is one Link header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_headers headers = {0};
    const char *whole = arena_strndup(&a, (const char *)data, len);
    for (const char *text = whole; *text;) {
        size_t line = strcspn(text, "\n");
        http_header_add(&a, &headers, "Link", arena_strndup(&a, text, line));
        text += line + (text[line] == '\n');
    }
    const char *url = NULL;
    if (!link_next(&headers, &url, &a))
        return url ? abort(), 0 : 0;
    /* It was written there, and is fit to be a part of a request line. */
    if (!*url || strlen(url) > LIMIT_LINK || !strstr(whole, url) || strpbrk(url, " \t\r\n<>\""))
        abort();
    return 0;
}
