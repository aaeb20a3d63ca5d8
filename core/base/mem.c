#include "core/base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdalign.h>

#define ARENA_BLOCK_BYTES 4096

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

static void NORETURN mem_exhausted(size_t size)
{
    (void)fprintf(stderr, "slipway: out of memory, asked for %zu bytes\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        mem_exhausted(size);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        mem_exhausted(count * size);
    return p;
}

void *xrealloc(void *p, size_t size)
{
    void *grown = realloc(p, size ? size : 1);
    if (!grown)
        mem_exhausted(size);
    return grown;
}

void *xreallocarray(void *p, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        mem_exhausted(SIZE_MAX);
    return xrealloc(p, total);
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&out, fmt, ap);
    va_end(ap);
    if (len < 0)
        mem_exhausted(0);
    return out;
}

void mem_share_arenas(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
}

void mem_trim(void)
{
    (void)malloc_trim(0);
}

void arena_release(struct arena *a)
{
    struct arena_block *block = a->head;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    *a = (struct arena)ARENA_INIT;
}

/* A request that fills more than a block gets one of its own behind the head, so that the rest of
 * the head block stays in use. */
static struct arena_block *arena_add_block(struct arena *a, size_t size)
{
    bool own = size > ARENA_BLOCK_BYTES / 4;
    size_t room = own ? size : ARENA_BLOCK_BYTES;
    struct arena_block *block = xmalloc(sizeof *block + room);
    block->size = room;
    block->used = 0;
    if (own && a->head) {
        block->next = a->head->next;
        a->head->next = block;
    } else {
        block->next = a->head;
        a->head = block;
    }
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX - align - sizeof(struct arena_block))
        mem_exhausted(size);
    size = (size + align - 1) & ~(align - 1);
    struct arena_block *block = a->head;
    if (!block || block->size - block->used < size)
        block = arena_add_block(a, size);
    void *p = block->bytes + block->used;
    block->used += size;
    a->used += size;
    return memset(p, 0, size);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    memcpy(copy, s, len);
    return copy;
}

void *arena_memdup(struct arena *a, const void *p, size_t len)
{
    void *copy = arena_alloc(a, len);
    if (len)
        memcpy(copy, p, len);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        mem_exhausted(0);
    char *out = arena_alloc(a, (size_t)len + 1);
    (void)vsnprintf(out, (size_t)len + 1, fmt, again);
    va_end(again);
    return out;
}

void list_grow_(struct arena *a, void **at, size_t *n, size_t *cap, size_t size)
{
    if (*n == *cap) {
        size_t room = *cap ? *cap * 2 : 8;
        size_t bytes;
        if (__builtin_mul_overflow(room, size, &bytes))
            mem_exhausted(SIZE_MAX);
        void *grown = arena_alloc(a, bytes);
        if (*n)
            memcpy(grown, *at, *n * size);
        *at = grown;
        *cap = room;
    }
    (*n)++;
}
