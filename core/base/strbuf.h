/*
 * strbuf.h - a growing byte buffer that is born with a limit (the limits are in limits.h).
 *
 * Always NUL-terminated, may hold NUL bytes. An append that would pass the limit appends nothing,
 * sets `full` for good and returns -1: a long chain of appends may be checked once at its end
 * with `b.full`.
 */
#ifndef SLIPWAY_STRBUF_H
#define SLIPWAY_STRBUF_H

#include "core/base/base.h"
#include "core/base/mem.h"

struct strbuf {
    char *buf;  /* never NULL after STRBUF_INIT: "" until the first append */
    size_t len; /* bytes in use, without the terminating NUL */
    size_t cap; /* bytes allocated; 0: buf is the static empty string */
    size_t max; /* bytes allowed */
    bool full;  /* an append was refused */
};

extern char strbuf_empty[1];

#define STRBUF_INIT(limit)                                                                         \
    {                                                                                              \
        .buf = strbuf_empty, .max = (limit)                                                        \
    }

void strbuf_release(struct strbuf *b); /* frees; the buffer is empty and may be used again */
void strbuf_reset(struct strbuf *b);   /* empties, keeps the memory, clears `full` */

int strbuf_add(struct strbuf *b, const void *data, size_t len);
int strbuf_addstr(struct strbuf *b, const char *s);
int strbuf_addch(struct strbuf *b, char c);
int strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hands the bytes to the caller, who frees them; the buffer is empty afterwards. */
char *strbuf_detach(struct strbuf *b, size_t *len);

/* Copies the bytes into an arena (NUL-terminated); the buffer stays as it is. */
char *strbuf_to_arena(const struct strbuf *b, struct arena *a);

#define CLEANUP_STRBUF CLEANUP(strbuf_release)

#endif
