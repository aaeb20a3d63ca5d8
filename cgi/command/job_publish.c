#include "cgi/command/job_publish.h"

#include "cgi/command/engine_setup.h"
#include "cgi/command/job_decide.h"
#include "cgi/command/job_print.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/await.h"
#include "core/engine/deliver.h"
#include "core/engine/intake.h"
#include "core/engine/prepare.h"
#include "core/engine/presence.h"
#include "core/engine/publish.h"
#include "core/engine/run.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <unistd.h>

enum { PATIENCE_S = 600, AGAIN_MS = 1000, PAGE = 100 };

static int64_t patience_ms(const struct job_flags *f)
{
    return (f->timeout_s ? f->timeout_s : PATIENCE_S) * 1000;
}

/* ---- beside the service ---------------------------------------------------------------------- */

static int open_own_store(struct job *j, struct err *err)
{
    const char *dir = arena_printf(j->arena, "%s/store", j->scratch.path);
    const struct store_opts opts = {.url = arena_printf(j->arena, "sqlite:%s/slipway.db", dir),
                                    .may_create = true};
    return fs_mkdirs(dir, 0700, err) < 0 ? -1 : store_open(&opts, &j->engine.store, err);
}

/* What is left half done is finished or undone here: nobody else knows this store. */
static int finish(struct job *j, struct task *t, struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + patience_ms(j->flags);
    for (;;) {
        if (store_task_get(j->engine.store, t->id, j->arena, t, err) < 0)
            return -1;
        if (!t->open_journal || clock_monotonic_ms() > deadline)
            return 0;
        clock_sleep_ms(AGAIN_MS);
        (void)run_resume(&j->engine, t, j->arena);
    }
}

/* What lies in an intermediate registry is brought to its repositories first. */
static int fetch(struct job *j, struct err *err)
{
    list_each (const struct plan_tag, t, &j->plan.tags)
        if (t->source == PLAN_FROM_INTERMEDIATE)
            return prepare_intermediate(&j->engine, &j->event, &j->plan, &j->entry, j->arena, err);
    return 0;
}

static int publish(struct job *j, struct task *t, struct err *err)
{
    bool settled = false, repeat = false;
    if ((j->staged.images.n &&
         store_staged_record(j->engine.store, &j->staged, 0, clock_now_ms(), err) < 0) ||
        fetch(j, err) < 0)
        return -1;
    deliver_task(&j->event, 0, clock_now_ms(), j->arena, t);
    const struct outcome out =
        publish_run(&j->engine, t, &j->event, &j->plan, &j->entry, j->arena, &settled);
    t->state = out.state;
    t->reason = out.reason;
    t->run_at = out.run_at;
    if (!settled && store_task_settle(j->engine.store, t, t->id ? NULL : &repeat, err) < 0)
        return -1;
    if (t->state == TASK_FAILED || t->state == TASK_UNDOING)
        return finish(j, t, err);
    return 0;
}

int job_publish_unfenced(struct job *j)
{
    struct err err = ERR_INIT;
    struct task t = {0};
    struct step_list steps = {0};
    if (!j->flags->quiet)
        (void)fprintf(stderr,
                      "slipway %s: unfenced: a promotion of the same tag at the same time is not "
                      "waited for (see 'slipway help %s')\n",
                      j->cmd->name, j->cmd->name);
    log_set_level(LOG_LEVEL_WARN);
    if (open_own_store(j, &err) < 0 || publish(j, &t, &err) < 0 ||
        store_steps_get(j->engine.store, t.id, j->arena, &steps, &err) < 0)
        return job_failed(j, &err, NULL);
    struct job_result result = {
        .state = task_state_name(t.state), .reason = t.reason, .unfenced = true};
    job_rows_of_steps(&result, &steps, j->arena);
    job_print(&result, j->cmd, j->flags, j->arena);
    return job_exit_code(t.state);
}

/* ---- through the store ----------------------------------------------------------------------- */

bool job_has_store(const struct settings *s, const struct job_flags *f)
{
    const char *path = s && s->store && f->project ? str_after(s->store, "sqlite:") : NULL;
    return path && access(path, R_OK | W_OK) == 0;
}

struct through {
    const struct job_order *order;
    struct engine engine;
    struct arena *arena;
    struct task found; /* id 0: the store has not had it yet */
};

/* The newest task that says the same: of that pipeline and ref, and (where one was named) commit.
 */
static int find_task(struct through *w, const struct task *like, struct err *err)
{
    const char *commit = w->order->flags->commit ? like->order.commit : NULL;
    int64_t before = 0;
    do {
        struct task_list page = {0};
        if (store_tasks_list(w->engine.store, TASK__MAX, like->project, before, PAGE, w->arena,
                             &page, err) < 0)
            return -1;
        list_each (const struct task, t, &page)
            if (str_eq(t->forge, like->forge) && str_eq(t->pipeline, like->pipeline) &&
                str_eq(t->ref, like->ref) && (!commit || str_eq(t->order.commit, commit))) {
                w->found = *t;
                return 0;
            }
        before = page.n == PAGE ? page.at[page.n - 1].id : 0;
    } while (before);
    return 0;
}

/* "host/name" and a digest that a promotion will want. False, and said, when it is gone. */
static int still_there(struct through *w, const char *repository, const char *digest, size_t *gone,
                       struct err *err)
{
    struct presence p;
    size_t host = strcspn(repository, "/");
    if (presence_look(&w->engine, arena_strndup(w->arena, repository, host),
                      repository + host + (repository[host] != '\0'), digest, w->arena, &p,
                      err) < 0)
        return -1;
    if (!p.missing)
        return 0;
    ++*gone;
    (void)fprintf(stderr,
                  "slipway %s: %s does not have %s any more (of %s): gate the change again, or "
                  "upload it anew\n",
                  w->order->cmd->name, repository, p.missing, digest);
    return 0;
}

/* What the gate recorded for the change, else what its task published. */
static int look_first(struct through *w, size_t *gone, struct err *err)
{
    const struct event *event = w->order->event;
    struct staged staged = {0};
    struct step_list steps = {0};
    bool found = false;
    if (!event->change)
        return 0;
    if (store_staged_get(w->engine.store, event->forge, event->project, event->change, w->arena,
                         &staged, &found, err) < 0)
        return -1;
    list_each (const struct event_image, i, &staged.images)
        if (found && still_there(w, i->repository, i->digest, gone, err) < 0)
            return -1;
    if (found || !w->found.id)
        return 0;
    if (store_steps_get(w->engine.store, w->found.id, w->arena, &steps, err) < 0)
        return -1;
    list_each (const struct step, s, &steps)
        if (still_there(w, arena_printf(w->arena, "%s/%s", s->registry, s->name), s->new_digest,
                        gone, err) < 0)
            return -1;
    return 0;
}

/* A task that is at work or waits for its turn already needs no order. */
static int put_task(struct through *w, struct task *t, struct err *err)
{
    size_t repeats = 0;
    bool done = false;
    if (w->found.id) {
        *t = w->found;
        return store_task_retry(w->engine.store, t->id, &done, err);
    }
    if (store_tasks_enqueue(w->engine.store, 0, t, 1, &repeats, err) < 0)
        return -1;
    return repeats ? store_task_retry(w->engine.store, t->id, &done, err) : 0;
}

static int print_task(struct through *w, const struct task *t, struct err *err)
{
    struct step_list steps = {0};
    struct job_result result = {
        .state = task_state_name(t->state), .reason = t->reason, .task = t->id};
    if (store_steps_get(w->engine.store, t->id, w->arena, &steps, err) < 0)
        return command_failed(err);
    if (!result.reason)
        result.reason = "it goes on";
    job_rows_of_steps(&result, &steps, w->arena);
    job_print(&result, w->order->cmd, w->order->flags, w->arena);
    return job_exit_code(t->state);
}

static int show_only(struct through *w)
{
    struct err err = ERR_INIT;
    struct plan plan = {0};
    struct event event = *w->order->event;
    if (intake_plan(&w->engine, &event, w->arena, &plan, &err) < 0)
        return command_failed(&err);
    return job_show_plan(&plan, &event, w->order->flags, w->arena);
}

/* An event that its forge cannot complete has to say everything itself. */
static int check_event(const struct through *w, const struct task *t, struct err *err)
{
    const struct event *event = w->order->event;
    const struct forge_conf *conf = engine_forge(&w->engine, event->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    if (!forge)
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured", event->forge);
    if (!policy_find(w->engine.policy, event->forge, event->project))
        return err_set(err, ERR_CONFIG, 0, "no entry of `projects` matches %s of forge %s",
                       event->project, event->forge);
    if (!w->found.id && !t->order.commit && event->kind == EVENT_MERGED && !forge->change)
        return err_set(err, ERR_CONFIG, 0,
                       "forge '%s' cannot be asked about changes: say --commit SHA, the merged "
                       "commit, and --branch",
                       event->forge);
    return 0;
}

static int carry_out(struct through *w)
{
    struct err err = ERR_INIT;
    struct task t;
    size_t gone = 0;
    deliver_task(w->order->event, 0, clock_now_ms(), w->arena, &t);
    t.run_at = t.received_at;
    if (find_task(w, &t, &err) < 0 || check_event(w, &t, &err) < 0)
        return command_failed(&err);
    if (w->order->looks_first && look_first(w, &gone, &err) < 0)
        return command_failed(&err);
    if (gone)
        return EXIT_NOT_FOUND;
    if (w->order->flags->dry_run)
        return show_only(w);
    if (put_task(w, &t, &err) < 0 ||
        await_task(&w->engine, t.id, patience_ms(w->order->flags), w->arena, &t, &err) < 0)
        return command_failed(&err);
    return print_task(w, &t, &err);
}

int job_through_store(const struct job_order *order, struct arena *a)
{
    struct err err = ERR_INIT;
    struct through w = {.order = order, .arena = a};
    struct stopping stopping;
    log_set_level(LOG_LEVEL_WARN);
    if (!order->stop)
        stopping_begin(&stopping);
    int code;
    if (engine_setup_beside(&w.engine, order->settings, &err) < 0) {
        code = command_failed(&err);
    } else {
        w.engine.stop = order->stop ? order->stop : &stopping.stop;
        code = carry_out(&w);
        engine_teardown(&w.engine);
    }
    if (!order->stop)
        stopping_end(&stopping);
    return code;
}
