#include "cgi/web/health.h"

#include "core/base/log.h"
#include "core/os/clock.h"

#define FRESH_MS 1000

void health_live(struct service *s UNUSED, struct request *q UNUSED, const char *rest UNUSED,
                 struct reply *out)
{
    reply_set(out, 200, "live\n");
}

static bool is_ready(struct service *s)
{
    struct readiness *r = &s->readiness;
    struct err err = ERR_INIT;
    pthread_mutex_lock(&r->lock);
    int64_t now = clock_monotonic_ms();
    if (r->checked_ms == 0 || now - r->checked_ms >= FRESH_MS) {
        r->ready = store_ping(s->store, &err) == 0;
        r->checked_ms = now;
        if (!r->ready)
            log_warn("not ready", "error", err.text, NULL);
    }
    bool ready = r->ready;
    pthread_mutex_unlock(&r->lock);
    return ready;
}

void health_ready(struct service *s, struct request *q UNUSED, const char *rest UNUSED,
                  struct reply *out)
{
    if (is_ready(s)) {
        reply_set(out, 200, "ready\n");
        return;
    }
    reply_set(out, 503, "not ready: the store cannot be written\n");
    out->retry_after = 5;
    out->fatal = store_is_broken(s->store);
}
