#include "core/engine/closed.h"

#include "core/base/str.h"
#include "core/engine/intake.h"
#include "core/engine/sweep.h"
#include "core/registry/registry.h"

/* So often a list that cannot be read just now is tried again: what the store knows is swept each
 * time, and the rest is not worth more. */
enum { LIST_TRIES = 4 };

/* One change that was closed, and the repositories in which its gate may have staged something. */
struct closing {
    const struct engine *engine;
    const struct task *task;
    const struct event *event;
    struct arena *arena;
    struct str_list all;
    struct str_list ours; /* of them: to be swept */
    const char *unread;   /* why its image list names none of them, NULL: it was read */
    bool read_again;      /* that may pass */
};

static const char *summary(const struct closing *c, const struct sweep_result *r)
{
    struct arena *a = c->arena;
    size_t removed = r->count[SWEEP_REMOVED];
    const char *text =
        arena_printf(a, "%zu staged tag%s removed", removed, removed == 1 ? "" : "s");
    list_each (const struct sweep_row, row, r)
        if (row->state != SWEEP_REMOVED)
            text = arena_printf(a, "%s; %s%s%s %s: %s", text, row->repository, row->tag ? ":" : "",
                                row->tag ? row->tag : "", sweep_state_name(row->state),
                                row->reason ? row->reason : "-");
    return c->unread ? arena_printf(a, "%s; looked only into repositories that the store knows: %s",
                                    text, c->unread)
                     : text;
}

/* ---- where ----------------------------------------------------------------------------------- */

static void add(struct closing *c, const char *repository)
{
    if (!str_in(repository, &c->all))
        *list_push(c->arena, &c->all) = repository;
}

/* Nothing may ever have been published there. */
static int add_recorded(struct closing *c, struct err *err)
{
    struct staged row = {0};
    bool found = false;
    if (store_staged_get(c->engine->store, c->event->forge, c->event->project, c->event->change,
                         c->arena, &row, &found, err) < 0)
        return -1;
    list_each (const struct event_image, image, &row.images)
        add(c, image->repository);
    return 0;
}

/* What a CI staged by itself nobody recorded, but the list that it read names the places. */
static void add_listed(struct closing *c)
{
    struct err err = ERR_INIT;
    struct plan plan = {0};
    struct event event = *c->event;
    /* Whether the change is closed is asked tag by tag. */
    event.confirm = false;
    if (!event.list_commit)
        event.list_commit = event.staged_commit;
    if (!event.list_commit) {
        c->unread = "the event names no commit whose image list could be read";
        return;
    }
    if (intake_plan(c->engine, &event, c->arena, &plan, &err) < 0) {
        c->unread = arena_strdup(c->arena, err.text);
        c->read_again = err.kind == ERR_TEMP && c->task->attempt < LIST_TRIES;
        return;
    }
    if (!plan.cleaned.n)
        c->unread = plan.reason;
    list_each (const struct plan_note, note, &plan.cleaned) {
        const char *colon = strrchr(note->what, ':');
        add(c, arena_strndup(c->arena, note->what, (size_t)(colon - note->what)));
    }
}

static int find_places(struct closing *c, const struct sweep_opts *opts, struct err *err)
{
    if (store_repositories(c->engine->store, c->arena, &c->all, err) < 0 ||
        add_recorded(c, err) < 0)
        return -1;
    add_listed(c);
    for (size_t i = 0; i < c->all.n; i++)
        if (sweep_concerns(c->engine, opts, c->all.at[i]))
            *list_push(c->arena, &c->ours) = c->all.at[i];
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct outcome closed_run(const struct engine *e, const struct task *t, const struct event *event,
                          struct arena *a)
{
    struct err err = ERR_INIT;
    struct sweep_result result;
    struct closing c = {.engine = e, .task = t, .event = event, .arena = a};
    const struct forge_conf *conf = engine_forge(e, event->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    const struct sweep_opts opts = {.older_than_s = -1,
                                    .forge = event->forge,
                                    .project = event->project,
                                    .change = event->change,
                                    .is_closed = forge && !forge->change};
    if (store_tasks_retire(e->store, t->forge, t->project, t->ref, &err) < 0 ||
        find_places(&c, &opts, &err) < 0)
        return outcome_of_error(&err, t->attempt, a);
    sweep_run(e, &opts, &c.ours, a, &result);
    if (!result.temporary && !c.read_again)
        return (struct outcome){.state = TASK_DONE, .reason = summary(&c, &result)};
    (void)err_set(&err, ERR_TEMP, 0, "%s", summary(&c, &result));
    return outcome_of_error(&err, t->attempt, a);
}

bool closed_since(const struct engine *e, const struct task *t)
{
    struct err ignored = ERR_INIT;
    int64_t id = 0;
    /* A task by hand is of no delivery: whoever runs it knows. */
    return e->store && t->order.seq &&
           store_task_since(e->store, t->forge, t->project, t->ref, CLOSED_PIPELINE, t->order.seq,
                            &id, &ignored) == 0 &&
           id != 0;
}
