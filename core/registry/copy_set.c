#include "core/registry/copy_internal.h"

#include "core/base/str.h"

struct set_entry {
    struct set_entry *next;
    const char *text;
    void *value;
};

/* FNV-1a: the texts are digests and names, and a slow set is all that a bad one could cause. */
uint64_t set_hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 32;
}

void **set_find(const struct set *s, const char *text)
{
    struct set_entry *e = s->cap ? s->at[set_hash(text) % s->cap] : NULL;
    while (e && !str_eq(e->text, text))
        e = e->next;
    return e ? &e->value : NULL;
}

static void grow(struct set *s, struct arena *a)
{
    size_t cap = s->cap ? s->cap * 2 : 32;
    struct set_entry **at = arena_alloc(a, cap * sizeof *at);
    for (size_t i = 0; i < s->cap; i++)
        for (struct set_entry *e = s->at[i], *next; e; e = next) {
            struct set_entry **slot = &at[set_hash(e->text) % cap];
            next = e->next;
            e->next = *slot;
            *slot = e;
        }
    s->at = at;
    s->cap = cap;
}

void **set_at(struct set *s, struct arena *a, const char *text)
{
    void **there = set_find(s, text);
    if (there)
        return there;
    if (s->n == s->cap)
        grow(s, a);
    struct set_entry *e = arena_alloc(a, sizeof *e);
    struct set_entry **slot = &s->at[set_hash(text) % s->cap];
    *e = (struct set_entry){.next = *slot, .text = arena_strdup(a, text)};
    *slot = e;
    s->n++;
    return &e->value;
}

bool set_add(struct set *s, struct arena *a, const char *text)
{
    size_t before = s->n;
    (void)set_at(s, a, text);
    return s->n > before;
}
