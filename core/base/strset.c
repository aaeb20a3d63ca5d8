#include "core/base/strset.h"

#include "core/base/str.h"

struct strset_entry {
    struct strset_entry *next;
    const char *text;
    void *value;
};

uint64_t strset_hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

static struct strset_entry **slot_of(const struct strset *s, const char *text)
{
    return &s->at[strset_hash(text) % s->cap];
}

static struct strset_entry *find(const struct strset *s, const char *text)
{
    struct strset_entry *e = s->cap ? *slot_of(s, text) : NULL;
    while (e && !str_eq(e->text, text))
        e = e->next;
    return e;
}

static void grow(struct strset *s, struct arena *a)
{
    struct strset bigger = {.cap = s->cap ? s->cap * 2 : 32, .n = s->n};
    bigger.at = arena_alloc(a, bigger.cap * sizeof *bigger.at);
    for (size_t i = 0; i < s->cap; i++)
        for (struct strset_entry *e = s->at[i], *next; e; e = next) {
            struct strset_entry **slot = slot_of(&bigger, e->text);
            next = e->next;
            e->next = *slot;
            *slot = e;
        }
    *s = bigger;
}

static struct strset_entry *add(struct strset *s, struct arena *a, const char *text)
{
    if (s->n == s->cap)
        grow(s, a);
    struct strset_entry *e = arena_alloc(a, sizeof *e);
    struct strset_entry **slot = slot_of(s, text);
    *e = (struct strset_entry){.next = *slot, .text = arena_strdup(a, text)};
    *slot = e;
    s->n++;
    return e;
}

void **strset_find(const struct strset *s, const char *text)
{
    struct strset_entry *e = find(s, text);
    return e ? &e->value : NULL;
}

void **strset_at(struct strset *s, struct arena *a, const char *text)
{
    struct strset_entry *e = find(s, text);
    return &(e ? e : add(s, a, text))->value;
}

const char *strset_add(struct strset *s, struct arena *a, const char *text)
{
    return find(s, text) ? NULL : add(s, a, text)->text;
}
