/*
 * mem.h - memory. Out of memory aborts the process (nothing acknowledged is lost: the store has
 * it, and the supervisor starts us again), so none of these return NULL.
 *
 * An arena holds everything of one delivery, task or command: strings and arrays live until
 * arena_release. Pointers handed out by a function that takes an arena belong to that arena.
 */
#ifndef SLIPWAY_MEM_H
#define SLIPWAY_MEM_H

#include "core/base/base.h"

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
void *xreallocarray(void *p, size_t count, size_t size); /* aborts when count * size overflows */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* For a process with many threads that seldom work at once: few malloc arenas, so that what one
 * thread freed serves the next. Before the first thread starts. */
void mem_share_arenas(void);
/* Gives freed memory back to the kernel. */
void mem_trim(void);

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used; /* bytes handed out so far */
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }

void arena_release(struct arena *a); /* frees everything; the arena may be used again */

void *arena_alloc(struct arena *a, size_t size);    /* zeroed, aligned for any type */
char *arena_strdup(struct arena *a, const char *s); /* NULL stays NULL */
char *arena_strndup(struct arena *a, const char *s, size_t len);
void *arena_memdup(struct arena *a, const void *p, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Growing arrays in an arena. A list is any struct with members `at`, `n` and `cap`:
 *
 *     LIST(struct image) images = {0};
 *     struct image *img = list_push(&arena, &images);   // zeroed, valid until the next push
 *     list_each (struct image, img, &images) ...
 */
#define LIST(type)                                                                                 \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t n;                                                                                  \
        size_t cap;                                                                                \
    }

#define list_push(arena, list)                                                                     \
    (list_grow_((arena), (void **)&(list)->at, &(list)->n, &(list)->cap, sizeof *(list)->at),      \
     &(list)->at[(list)->n - 1])

#define list_each(type, var, list)                                                                 \
    for (type *var = (list)->at; (var) != NULL && (var) < (list)->at + (list)->n; (var)++)

void list_grow_(struct arena *a, void **at, size_t *n, size_t *cap, size_t size);

/* The list of strings that most modules need. */
struct str_list {
    const char **at;
    size_t n;
    size_t cap;
};

#endif
