#include "core/base/httpmsg.h"

#include "core/base/str.h"

const char *http_header(const struct http_headers *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_caseeq(h->at[i].name, name))
            return h->at[i].value;
    return NULL;
}

void http_header_add(struct arena *a, struct http_headers *h, const char *name, const char *value)
{
    struct http_header *header = list_push(a, h);
    header->name = arena_strdup(a, name);
    header->value = arena_strdup(a, value);
}

/* Decodes len bytes of a query value; a malformed %XX stays as it is. */
static const char *query_decode(struct arena *a, const char *s, size_t len)
{
    char *out = arena_alloc(a, len + 1), *p = out;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte;
        char hex[3] = {0};
        if (s[i] == '%' && len - i > 2) {
            memcpy(hex, s + i + 1, 2);
            if (str_unhex(hex, &byte, 1) && byte != 0) {
                *p++ = (char)byte;
                i += 2;
                continue;
            }
        }
        *p++ = s[i] == '+' ? ' ' : s[i];
    }
    *p = '\0';
    return out;
}

const char *http_query_param(struct arena *a, const char *query, const char *name)
{
    size_t name_len = strlen(name);
    while (query && *query) {
        size_t len = strcspn(query, "&");
        if (len > name_len && query[name_len] == '=' && strncmp(query, name, name_len) == 0)
            return query_decode(a, query + name_len + 1, len - name_len - 1);
        query += len + (query[len] == '&');
    }
    return NULL;
}
