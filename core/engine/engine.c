#include "core/engine/engine.h"

#include "core/base/str.h"
#include "core/domain/retry.h"
#include "core/os/clock.h"
#include "core/os/random.h"

#include <errno.h>

enum { BUSY_AGAIN_MS = 2000 };

const struct forge_conf *engine_forge(const struct engine *e, const char *name)
{
    for (size_t i = 0; i < e->n_forges; i++)
        if (str_eq(e->forges[i].name, name))
            return &e->forges[i];
    return NULL;
}

bool engine_knows_registry(const void *ctx, const char *host)
{
    return registry_knows(ctx, host);
}

struct outcome outcome_of_error(const struct err *err, int attempt, struct arena *a)
{
    struct outcome out = {.state = TASK_DEAD, .reason = arena_strdup(a, err->text)};
    int64_t delay;
    if (retry_next(err, attempt, random_below(1000), &delay) == RETRY_LATER) {
        out.state = TASK_FAILED;
        out.run_at = clock_now_ms() + delay;
    } else if (err->kind == ERR_TEMP) {
        out.reason = arena_printf(a, "given up after %d attempts: %s", attempt, err->text);
    }
    return out;
}

struct outcome outcome_of_busy(const char *why, struct arena *a)
{
    return (struct outcome){.state = TASK_QUEUED,
                            .run_at = clock_now_ms() + BUSY_AGAIN_MS,
                            .reason = arena_strdup(a, why),
                            .patient = true};
}

struct outcome outcome_of_wait(const struct task *t, int64_t limit_s, const struct err *err,
                               struct arena *a)
{
    int64_t now = clock_now_ms(), age = now - t->received_at;
    int64_t limit = limit_s * 1000;
    bool nothing = err->code == ENOENT;
    struct outcome out = {.run_at = now + retry_poll_ms(age), .patient = true};
    if (age < limit) {
        char until[32];
        str_rfc3339((t->received_at + limit) / 1000, until);
        out.state = nothing ? TASK_WAITING : TASK_FAILED;
        out.reason = arena_printf(a, "%s; waiting until %s", err->text, until);
        return out;
    }
    out.state = nothing ? TASK_SKIPPED : TASK_DEAD;
    out.reason = arena_printf(a, "%s; waited %lld s; stage it, then `slipway queue retry`",
                              err->text, (long long)limit_s);
    return out;
}
