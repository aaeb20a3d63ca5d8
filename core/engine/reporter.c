#include "core/engine/reporter.h"

#include "core/engine/report.h"
#include "core/os/clock.h"

#include <pthread.h>
#include <time.h>

struct reporter {
    const struct engine *engine;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool poked;
    bool ending;
};

/* Until somebody pokes, or the time has come. */
static void rest(struct reporter *r, int64_t next_ms)
{
    int64_t now = clock_now_ms();
    struct timespec until = {.tv_sec = next_ms / 1000, .tv_nsec = next_ms % 1000 * 1000000};
    while (!r->poked && !r->ending && now < next_ms) {
        if (next_ms == INT64_MAX)
            (void)pthread_cond_wait(&r->changed, &r->mutex);
        else
            (void)pthread_cond_timedwait(&r->changed, &r->mutex, &until);
        now = clock_now_ms();
    }
}

static void *reporter_main(void *arg)
{
    struct reporter *r = arg;
    (void)pthread_mutex_lock(&r->mutex);
    while (!r->ending) {
        r->poked = false;
        (void)pthread_mutex_unlock(&r->mutex);
        int64_t next = report_send_due(r->engine);
        (void)pthread_mutex_lock(&r->mutex);
        rest(r, next);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return NULL;
}

struct reporter *reporter_start(const struct engine *e)
{
    struct reporter *r = xcalloc(1, sizeof *r);
    r->engine = e;
    (void)pthread_mutex_init(&r->mutex, NULL);
    (void)pthread_cond_init(&r->changed, NULL);
    if (pthread_create(&r->thread, NULL, reporter_main, r) == 0)
        return r;
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->mutex);
    free(r);
    return NULL;
}

void reporter_poke(struct reporter *r)
{
    (void)pthread_mutex_lock(&r->mutex);
    r->poked = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->mutex);
}

void reporter_end(struct reporter *r, bool last)
{
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->mutex);
    r->ending = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->mutex);
    (void)pthread_join(r->thread, NULL);
    if (last)
        (void)report_send_due(r->engine);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->mutex);
    free(r);
}
