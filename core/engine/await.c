#include "core/engine/await.h"

#include "core/base/limits.h"
#include "core/engine/run.h"
#include "core/os/clock.h"
#include "core/os/lock.h"
#include "core/os/wake.h"

#include <errno.h>
#include <unistd.h>

enum { PAUSE_MS = 20, PAUSE_MOST_MS = 500 };

bool await_has_ended(const struct task *t)
{
    return !t->open_journal && t->state != TASK_QUEUED && t->state != TASK_WAITING &&
           t->state != TASK_RUNNING && t->state != TASK_UNDOING && t->state != TASK_FAILED;
}

static bool is_due(const struct task *t)
{
    return !await_has_ended(t) && (t->state == TASK_RUNNING || t->run_at <= clock_now_ms());
}

static int finish_journals(const struct engine *e, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct task_list open = {0};
    if (store_tasks_open(e->store, &a, &open, err) < 0)
        return -1;
    list_each (struct task, t, &open)
        if (is_due(t))
            (void)run_resume(e, t, &a);
    return 0;
}

/* Only one process runs tasks of a store. *ran is false when another one does. */
static int run_here(const struct engine *e, int64_t id, struct arena *a, bool *ran, struct err *err)
{
    struct task t;
    *ran = false;
    int lock = lock_file_try(store_work_lock_path(e->store, a), err);
    if (lock < 0)
        return err->code == EWOULDBLOCK ? 0 : -1;
    int rc = finish_journals(e, err);
    if (rc == 0)
        rc = store_task_get(e->store, id, a, &t, err);
    if (rc == 0 && is_due(&t) && !t.open_journal)
        *ran = run_task(e, &t, a);
    (void)close(lock);
    return rc;
}

int await_task(const struct engine *e, int64_t id, int64_t timeout_ms, struct arena *a,
               struct task *t, struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms, pause = PAUSE_MS;
    const char *wake_path = store_wake_path(e->store, a);
    for (;;) {
        struct arena spare CLEANUP(arena_release) = ARENA_INIT;
        bool ran = false;
        if (store_task_get(e->store, id, a, t, err) < 0)
            return -1;
        bool stopping = e->stop && atomic_load(e->stop);
        if (await_has_ended(t) || t->state == TASK_WAITING || stopping ||
            clock_monotonic_ms() > deadline)
            return 0;
        if (is_due(t)) {
            wake_send(wake_path);
            if (run_here(e, id, &spare, &ran, err) < 0)
                return err_wrap(err, "task %lld is left to `slipway work`", (long long)id);
        }
        if (ran)
            continue;
        clock_sleep_ms(pause);
        pause = pause < PAUSE_MOST_MS ? pause * 2 : PAUSE_MOST_MS;
    }
}
