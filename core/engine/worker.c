#include "core/engine/worker.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/building.h"
#include "core/engine/clean.h"
#include "core/engine/deliver.h"
#include "core/engine/mirror.h"
#include "core/engine/mirror_task.h"
#include "core/engine/reporter.h"
#include "core/engine/run.h"
#include "core/engine/sweep.h"
#include "core/engine/sweep_queue.h"
#include "core/os/clock.h"
#include "core/os/wake.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

enum {
    LARGE_ITEM = 256 * 1024,
    PASS_DELIVERIES = 64,
    STORE_TROUBLE_MS = 1000,
    PRUNE_EVERY_MS = 3600 * 1000,
    TIMERS_EVERY_MS = 1000
};

enum item_kind { ITEM_RUN, ITEM_RESUME, ITEM_CLEAN, ITEM_SWEEP };

/* One thing to do in a thread. In flight from hand-over to end: its ids and lane are taken. */
struct item {
    struct item *next;
    enum item_kind kind;
    bool started;
    struct arena arena;
    struct task task; /* ITEM_CLEAN, ITEM_SWEEP: unused. Its thread's own from hand-over on */
    char *repository; /* ITEM_SWEEP */
    /* What the loop compares meanwhile: */
    int64_t id;
    int64_t delivery;
    const char *lane;
};

struct worker {
    const struct worker_opts *opts;
    const struct engine *engine;
    const char *wake_path;
    pthread_mutex_t mutex;
    pthread_cond_t handed; /* an item waits, or the end has come */
    struct item *items;    /* all in flight, oldest first */
    size_t in_flight;      /* of them all but the sweep, which has a thread to spare */
    int64_t quiet_since;   /* when in_flight became 0, monotonic */
    struct sweep_queue *sweeps;
    struct reporter *reporter;
    bool ending;
    int64_t pruned_at;
    int64_t timers_at;
    int64_t *timer_spans; /* one an entry of the engine's mirrors */
};

/* ---- threads --------------------------------------------------------------------------------- */

static struct item *next_item(struct worker *w)
{
    for (;;) {
        for (struct item *item = w->items; item; item = item->next)
            if (!item->started)
                return item;
        if (w->ending)
            return NULL;
        (void)pthread_cond_wait(&w->handed, &w->mutex);
    }
}

static void end_item(struct worker *w, struct item *item)
{
    struct item **link = &w->items;
    while (*link != item)
        link = &(*link)->next;
    *link = item->next;
    if (item->kind != ITEM_SWEEP && --w->in_flight == 0)
        w->quiet_since = clock_monotonic_ms();
}

static bool run_cleanups(const struct engine *e, struct arena *a)
{
    struct err err = ERR_INIT;
    if (clean_due(e, a, &err) == 0)
        return true;
    log_error("clean-ups could not be stored; tried again", "reason", err.text, NULL);
    return false;
}

/* The repositories of a publication that is done are swept when there is time. */
static void want_sweeps(struct worker *w, struct item *item)
{
    struct err err = ERR_INIT;
    struct step_list steps = {0};
    const struct task *t = &item->task;
    const struct policy_project *p = policy_find(w->engine->policy, t->forge, t->project);
    if (w->opts->until_idle || t->state != TASK_DONE || !t->live_at || !p || !p->sweep ||
        store_steps_get(w->engine->store, t->id, &item->arena, &steps, &err) < 0)
        return;
    (void)pthread_mutex_lock(&w->mutex);
    list_each (const struct step, step, &steps)
        sweep_queue_add(w->sweeps, arena_printf(&item->arena, "%s/%s", step->registry, step->name),
                        clock_monotonic_ms());
    (void)pthread_mutex_unlock(&w->mutex);
}

static bool run_item(struct worker *w, struct item *item)
{
    const struct engine *e = w->engine;
    bool known = true;
    switch (item->kind) {
    case ITEM_RUN:
        known = run_task(e, &item->task, &item->arena);
        want_sweeps(w, item);
        return known;
    case ITEM_RESUME:
        known = run_resume(e, &item->task, &item->arena);
        want_sweeps(w, item);
        return known;
    case ITEM_SWEEP:
        sweep_after_promotion(e, item->repository);
        return true;
    default:
        return run_cleanups(e, &item->arena);
    }
}

static void drop_item(struct item *item)
{
    arena_release(&item->arena);
    free(item->repository);
    free(item);
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    (void)pthread_mutex_lock(&w->mutex);
    for (struct item *item; (item = next_item(w));) {
        item->started = true;
        (void)pthread_mutex_unlock(&w->mutex);
        /* What the store did not take is found again at once: not in a hot loop. */
        if (!run_item(w, item))
            clock_sleep_ms(STORE_TROUBLE_MS);
        (void)pthread_mutex_lock(&w->mutex);
        end_item(w, item);
        bool large = item->arena.used > LARGE_ITEM || item->kind == ITEM_SWEEP;
        drop_item(item);
        if (large)
            mem_trim();
        wake_send(w->wake_path);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* ---- what is in flight (asked by the loop only, so it can but become less) ------------------- */

static bool has_room(struct worker *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    bool room = w->in_flight < w->opts->threads;
    (void)pthread_mutex_unlock(&w->mutex);
    return room;
}

static bool is_in_flight(struct worker *w, int64_t task, int64_t delivery, const char *lane)
{
    bool found = false;
    (void)pthread_mutex_lock(&w->mutex);
    for (const struct item *i = w->items; i && !found; i = i->next)
        found = (task && i->id == task) || (delivery && i->delivery == delivery) ||
                (lane && str_eq(i->lane, lane));
    (void)pthread_mutex_unlock(&w->mutex);
    return found;
}

static bool is_under_way(struct worker *w, enum item_kind kind)
{
    bool found = false;
    (void)pthread_mutex_lock(&w->mutex);
    for (const struct item *i = w->items; i && !found; i = i->next)
        found = i->kind == kind;
    (void)pthread_mutex_unlock(&w->mutex);
    return found;
}

static void hand_over(struct worker *w, struct item *item)
{
    item->id = item->task.id;
    item->delivery = item->task.delivery;
    item->lane = item->task.lane;
    (void)pthread_mutex_lock(&w->mutex);
    struct item **link = &w->items;
    while (*link)
        link = &(*link)->next;
    *link = item;
    w->in_flight += item->kind != ITEM_SWEEP;
    (void)pthread_cond_signal(&w->handed);
    (void)pthread_mutex_unlock(&w->mutex);
}

/* ---- deliveries ------------------------------------------------------------------------------ */

/* Everything but the one task of a quiet lane is written down first. The last commit settles the
 * delivery: whatever comes before it is done again when it fails. */
static int store_sorted(const struct engine *e, const struct delivery *d, struct delivered *s,
                        struct err *err)
{
    size_t repeats = 0;
    list_each (const struct event, event, &s->deleted) {
        const char *ref = event->tag ? event->tag : event->branch;
        char full[LIMIT_REF + 16];
        (void)snprintf(full, sizeof full, "refs/%s/%s", event->tag ? "tags" : "heads", ref);
        bool last = event + 1 == s->deleted.at + s->deleted.n && !s->staged.n && !s->tasks.n;
        if (store_ref_deleted(e->store, last ? d->id : 0, event->forge, event->project, full, err) <
            0)
            return -1;
    }
    list_each (const struct event, event, &s->staged)
        if (store_staged_put(e->store, event, d->id, clock_now_ms(), err) < 0)
            return -1;
    if (s->tasks.n)
        return store_tasks_enqueue(e->store, d->id, s->tasks.at, s->tasks.n, &repeats, err);
    return 0;
}

static void log_delivery(const struct delivery *d, const struct delivered *s)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRId64, d->id);
    log_info("delivery", "id", id, "source", d->source, "verdict",
             delivery_verdict_name(s->verdict), "reason", s->reason, NULL);
}

/* Returns false when the store is in trouble and the pass should end. */
static bool take_delivery(struct worker *w, struct item *item, const struct delivery *d)
{
    struct err err = ERR_INIT;
    struct delivered sorted;
    deliver_sort(w->engine, d, &item->arena, &sorted);
    log_delivery(d, &sorted);
    bool single = sorted.tasks.n == 1 && !sorted.staged.n && !sorted.deleted.n;
    if (single && has_room(w) && !is_in_flight(w, 0, 0, sorted.tasks.at[0].lane)) {
        item->kind = ITEM_RUN;
        item->task = sorted.tasks.at[0];
        hand_over(w, item);
        return true;
    }
    int rc =
        sorted.verdict == DELIVERY_TAKEN
            ? store_sorted(w->engine, d, &sorted, &err)
            : store_delivery_settle(w->engine->store, d->id, sorted.verdict, sorted.reason, &err);
    if (rc < 0 && err.kind == ERR_PERM)
        rc = store_delivery_settle(w->engine->store, d->id, DELIVERY_IGNORED, err.text, &err);
    if (rc < 0)
        log_error("a delivery could not be settled; it is taken up again", "reason", err.text,
                  NULL);
    drop_item(item);
    /* What is wrong with this one delivery alone must not stand before all others. */
    return rc == 0 || err.kind != ERR_TEMP;
}

static bool take_deliveries(struct worker *w)
{
    int64_t after = 0;
    size_t taken = 0;
    while (taken < PASS_DELIVERIES) {
        struct err err = ERR_INIT;
        struct delivery_list list = {0};
        struct item *item = xcalloc(1, sizeof *item);
        if (store_deliveries_new(w->engine->store, after, 1, &item->arena, &list, &err) < 0 ||
            list.n == 0) {
            if (err.kind != ERR_NONE)
                log_error("deliveries could not be read", "reason", err.text, NULL);
            drop_item(item);
            break;
        }
        after = list.at[0].id;
        if (is_in_flight(w, 0, after, NULL)) {
            drop_item(item);
            continue;
        }
        taken++;
        if (!take_delivery(w, item, &list.at[0]))
            break;
    }
    return taken == PASS_DELIVERIES;
}

/* ---- stored tasks ---------------------------------------------------------------------------- */

typedef int list_tasks_fn(const struct engine *e, int64_t now, struct arena *a,
                          struct task_list *out, struct err *err);

static int list_open(const struct engine *e, int64_t now, struct arena *a, struct task_list *out,
                     struct err *err)
{
    (void)now;
    return store_tasks_open(e->store, a, out, err);
}

static int list_due(const struct engine *e, int64_t now, struct arena *a, struct task_list *out,
                    struct err *err)
{
    return store_tasks_due(e->store, now, LIMIT_WORK_THREADS * 2, a, out, err);
}

static void take_tasks(struct worker *w, list_tasks_fn *list_fn, enum item_kind kind)
{
    struct err err = ERR_INIT;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct task_list list = {0};
    int64_t now = clock_now_ms();
    if (list_fn(w->engine, now, &a, &list, &err) < 0) {
        log_error("tasks could not be read", "reason", err.text, NULL);
        return;
    }
    list_each (const struct task, t, &list) {
        if (t->run_at > now || !has_room(w) || is_in_flight(w, t->id, 0, t->lane))
            continue;
        struct item *item = xcalloc(1, sizeof *item);
        item->kind = kind;
        /* Read again into the item's own arena: nobody else changes it while it is in flight. */
        if (store_task_get(w->engine->store, t->id, &item->arena, &item->task, &err) < 0 ||
            item->task.id == 0)
            drop_item(item);
        else
            hand_over(w, item);
    }
}

static void take_cleanups(struct worker *w)
{
    struct err err = ERR_INIT;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct cleanup_list due = {0};
    if (is_under_way(w, ITEM_CLEAN) || !has_room(w))
        return;
    if (store_cleanups_due(w->engine->store, clock_now_ms(), 1, &a, &due, &err) < 0 || !due.n)
        return;
    struct item *item = xcalloc(1, sizeof *item);
    item->kind = ITEM_CLEAN;
    hand_over(w, item);
}

static void take_sweep(struct worker *w)
{
    int64_t now = clock_monotonic_ms();
    if (is_under_way(w, ITEM_SWEEP))
        return;
    (void)pthread_mutex_lock(&w->mutex);
    char *due = sweep_queue_take(w->sweeps, w->in_flight ? 0 : now - w->quiet_since, now);
    (void)pthread_mutex_unlock(&w->mutex);
    if (!due)
        return;
    struct item *item = xcalloc(1, sizeof *item);
    item->kind = ITEM_SWEEP;
    item->repository = due;
    hand_over(w, item);
}

static void prune(struct worker *w)
{
    struct err err = ERR_INIT;
    int64_t now = clock_now_ms();
    if (now - w->pruned_at < PRUNE_EVERY_MS)
        return;
    w->pruned_at = now;
    if (store_deliveries_prune(w->engine->store, now - w->opts->keep_ignored_s * 1000, &err) < 0)
        log_warn("old deliveries could not be forgotten", "reason", err.text, NULL);
    building_sweep(w->engine);
}

static void queue_timers(struct worker *w)
{
    int64_t now = clock_now_ms();
    if (now - w->timers_at < TIMERS_EVERY_MS)
        return;
    w->timers_at = now;
    mirror_timer_queue(w->engine, w->timer_spans, now);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int64_t until_next(struct worker *w)
{
    struct err err = ERR_INIT;
    int64_t at = INT64_MAX, now = clock_now_ms();
    if (store_tasks_next_due(w->engine->store, &at, &err) < 0 || at - now > LIMIT_POLL_MS)
        return LIMIT_POLL_MS;
    /* What is due and still here waits for a lane or a thread, whose end wakes us. */
    return at <= now ? LIMIT_POLL_MS / 4 : at - now;
}

static bool is_idle(struct worker *w)
{
    struct err err = ERR_INIT;
    int64_t at = INT64_MAX;
    (void)pthread_mutex_lock(&w->mutex);
    bool idle = w->in_flight == 0;
    (void)pthread_mutex_unlock(&w->mutex);
    return idle && store_tasks_next_due(w->engine->store, &at, &err) == 0 && at > clock_now_ms();
}

static void loop(struct worker *w, int wake_fd)
{
    while (!atomic_load(w->engine->stop) && !store_is_broken(w->engine->store)) {
        queue_timers(w);
        bool more = take_deliveries(w);
        take_tasks(w, list_open, ITEM_RESUME);
        take_tasks(w, list_due, ITEM_RUN);
        take_cleanups(w);
        take_sweep(w);
        prune(w);
        if (more)
            continue;
        if (w->opts->until_idle && is_idle(w))
            break;
        reporter_poke(w->reporter);
        (void)wake_wait(wake_fd, until_next(w));
    }
}

int worker_run(const struct worker_opts *opts, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct worker w = {.opts = opts,
                       .engine = opts->engine,
                       .wake_path = store_wake_path(opts->engine->store, &a)};
    if (opts->engine->mirrors)
        w.timer_spans = arena_alloc(&a, (opts->engine->mirrors->n + 1) * sizeof *w.timer_spans);
    pthread_t threads[LIMIT_WORK_THREADS + 1];
    size_t n = 0;
    int wake_fd = wake_listen(w.wake_path, err);
    if (wake_fd < 0)
        return -1;
    (void)pthread_mutex_init(&w.mutex, NULL);
    (void)pthread_cond_init(&w.handed, NULL);
    w.sweeps = sweep_queue_new();
    while (n < opts->threads + 1 && pthread_create(&threads[n], NULL, thread_main, &w) == 0)
        n++;
    w.reporter = n ? reporter_start(w.engine) : NULL;
    if (w.reporter)
        loop(&w, wake_fd);
    registry_stop(opts->engine->registry);
    (void)pthread_mutex_lock(&w.mutex);
    w.ending = true;
    (void)pthread_cond_broadcast(&w.handed);
    (void)pthread_mutex_unlock(&w.mutex);
    for (size_t i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    reporter_end(w.reporter, opts->until_idle);
    (void)pthread_cond_destroy(&w.handed);
    (void)pthread_mutex_destroy(&w.mutex);
    sweep_queue_free(w.sweeps);
    (void)close(wake_fd);
    (void)unlink(w.wake_path);
    if (!w.reporter)
        return err_set(err, ERR_TEMP, 0, "no thread could be started");
    if (store_is_broken(opts->engine->store))
        return err_set(err, ERR_TEMP, 0, "the store's disk failed; nothing is written any more");
    return 0;
}
