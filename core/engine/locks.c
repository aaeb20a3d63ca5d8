#include "core/engine/locks.h"

#include "core/base/str.h"

#include <pthread.h>

struct target_locks {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    const char **held;
    size_t n;
    size_t cap;
};

struct target_locks *target_locks_new(void)
{
    struct target_locks *l = xcalloc(1, sizeof *l);
    (void)pthread_mutex_init(&l->mutex, NULL);
    (void)pthread_cond_init(&l->freed, NULL);
    return l;
}

void target_locks_free(struct target_locks *l)
{
    if (!l)
        return;
    (void)pthread_cond_destroy(&l->freed);
    (void)pthread_mutex_destroy(&l->mutex);
    free(l->held);
    free(l);
}

static bool is_held(const struct target_locks *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->held[i], name))
            return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void target_locks_take(struct target_locks *l, const struct str_list *names)
{
    if (names->n == 0)
        return;
    qsort(names->at, names->n, sizeof *names->at, by_name);
    (void)pthread_mutex_lock(&l->mutex);
    for (size_t i = 0; i < names->n; i++) {
        if (i && str_eq(names->at[i], names->at[i - 1]))
            continue;
        while (is_held(l, names->at[i]))
            (void)pthread_cond_wait(&l->freed, &l->mutex);
        if (l->n == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 64;
            l->held = xreallocarray(l->held, l->cap, sizeof *l->held);
        }
        l->held[l->n++] = names->at[i];
    }
    (void)pthread_mutex_unlock(&l->mutex);
}

void target_locks_drop(struct target_locks *l, const struct str_list *names)
{
    (void)pthread_mutex_lock(&l->mutex);
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (!str_in(l->held[i], names))
            l->held[kept++] = l->held[i];
    l->n = kept;
    (void)pthread_cond_broadcast(&l->freed);
    (void)pthread_mutex_unlock(&l->mutex);
}

enum { PROOFS_MAX = 4096, PROOF_LIFE_MS = 10 * 60 * 1000 };

struct proof {
    char *repository;
    int64_t at;
};

struct push_proofs {
    pthread_mutex_t mutex;
    struct proof at[PROOFS_MAX];
    size_t n;
};

struct push_proofs *push_proofs_new(void)
{
    struct push_proofs *p = xcalloc(1, sizeof *p);
    (void)pthread_mutex_init(&p->mutex, NULL);
    return p;
}

void push_proofs_free(struct push_proofs *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        free(p->at[i].repository);
    (void)pthread_mutex_destroy(&p->mutex);
    free(p);
}

static struct proof *find_proof(struct push_proofs *p, const char *repository)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(p->at[i].repository, repository))
            return &p->at[i];
    return NULL;
}

/* When the table is full the oldest makes room. */
static struct proof *spare_proof(struct push_proofs *p)
{
    if (p->n < PROOFS_MAX)
        return &p->at[p->n++];
    struct proof *oldest = &p->at[0];
    for (size_t i = 1; i < p->n; i++)
        if (p->at[i].at < oldest->at)
            oldest = &p->at[i];
    free(oldest->repository);
    return oldest;
}

void push_proofs_add(struct push_proofs *p, const char *repository, int64_t now_ms)
{
    (void)pthread_mutex_lock(&p->mutex);
    struct proof *proof = find_proof(p, repository);
    if (!proof) {
        proof = spare_proof(p);
        proof->repository = xstrdup(repository);
    }
    proof->at = now_ms;
    (void)pthread_mutex_unlock(&p->mutex);
}

bool push_proofs_has(struct push_proofs *p, const char *repository, int64_t now_ms)
{
    (void)pthread_mutex_lock(&p->mutex);
    const struct proof *proof = find_proof(p, repository);
    bool fresh = proof && now_ms - proof->at < PROOF_LIFE_MS;
    (void)pthread_mutex_unlock(&p->mutex);
    return fresh;
}
