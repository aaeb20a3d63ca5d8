#include "core/engine/sweep_queue.h"

#include "core/base/mem.h"
#include "core/base/str.h"

enum {
    AGAIN_MS = 3600 * 1000,
    QUIET_MS = 5000,         /* then a burst of publications has surely ended */
    PATIENCE_MS = 300 * 1000 /* a worker that is never quiet sweeps as well */
};

struct known {
    struct known *next;
    char *repository;
    int64_t wanted_ms; /* 0: not wanted */
    int64_t swept_ms;  /* 0: never */
};

struct sweep_queue {
    struct known *all;
};

struct sweep_queue *sweep_queue_new(void)
{
    return xcalloc(1, sizeof(struct sweep_queue));
}

void sweep_queue_free(struct sweep_queue *q)
{
    while (q && q->all) {
        struct known *k = q->all;
        q->all = k->next;
        free(k->repository);
        free(k);
    }
    free(q);
}

void sweep_queue_add(struct sweep_queue *q, const char *repository, int64_t now_ms)
{
    struct known *k = q->all;
    while (k && !str_eq(k->repository, repository))
        k = k->next;
    if (!k) {
        k = xcalloc(1, sizeof *k);
        k->repository = xstrdup(repository);
        k->next = q->all;
        q->all = k;
    }
    if (!k->wanted_ms)
        k->wanted_ms = now_ms;
}

static bool is_due(const struct known *k, int64_t quiet_ms, int64_t now_ms)
{
    return k->wanted_ms && (!k->swept_ms || now_ms - k->swept_ms >= AGAIN_MS) &&
           (quiet_ms >= QUIET_MS || now_ms - k->wanted_ms >= PATIENCE_MS);
}

char *sweep_queue_take(struct sweep_queue *q, int64_t quiet_ms, int64_t now_ms)
{
    struct known *best = NULL;
    for (struct known *k = q->all; k; k = k->next)
        if (is_due(k, quiet_ms, now_ms) && (!best || k->wanted_ms < best->wanted_ms))
            best = k;
    if (!best)
        return NULL;
    best->wanted_ms = 0;
    best->swept_ms = now_ms;
    return xstrdup(best->repository);
}
