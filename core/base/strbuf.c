#include "core/base/strbuf.h"

#include <stdarg.h>

char strbuf_empty[1];

void strbuf_release(struct strbuf *b)
{
    if (b->cap)
        free(b->buf);
    *b = (struct strbuf)STRBUF_INIT(b->max);
}

void strbuf_reset(struct strbuf *b)
{
    b->len = 0;
    b->full = false;
    if (b->cap)
        b->buf[0] = '\0';
}

/* Makes room for len more bytes and the NUL; -1 past the limit. */
static int strbuf_reserve(struct strbuf *b, size_t len)
{
    if (b->full || len > b->max - b->len) {
        b->full = true;
        return -1;
    }
    size_t need = b->len + len + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap * 2 : 64;
    if (cap < need)
        cap = need;
    b->buf = xrealloc(b->cap ? b->buf : NULL, cap);
    b->cap = cap;
    return 0;
}

int strbuf_add(struct strbuf *b, const void *data, size_t len)
{
    if (len == 0)
        return b->full ? -1 : 0;
    if (strbuf_reserve(b, len) < 0)
        return -1;
    memcpy(b->buf + b->len, data, len);
    b->len += len;
    b->buf[b->len] = '\0';
    return 0;
}

int strbuf_addstr(struct strbuf *b, const char *s)
{
    return strbuf_add(b, s, strlen(s));
}

int strbuf_addch(struct strbuf *b, char c)
{
    return strbuf_add(b, &c, 1);
}

int strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = -1;
    if (len >= 0 && strbuf_reserve(b, (size_t)len) == 0) {
        (void)vsnprintf(b->buf + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
        rc = 0;
    }
    va_end(again);
    return rc;
}

char *strbuf_detach(struct strbuf *b, size_t *len)
{
    char *out = b->cap ? b->buf : xstrdup("");
    if (len)
        *len = b->len;
    *b = (struct strbuf)STRBUF_INIT(b->max);
    return out;
}

char *strbuf_to_arena(const struct strbuf *b, struct arena *a)
{
    return arena_strndup(a, b->buf, b->len);
}
