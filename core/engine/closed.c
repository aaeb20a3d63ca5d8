#include "core/engine/closed.h"

#include "core/base/str.h"
#include "core/engine/sweep.h"
#include "core/registry/registry.h"

static const char *summary(const struct sweep_result *r, struct arena *a)
{
    size_t removed = r->count[SWEEP_REMOVED];
    const char *text =
        arena_printf(a, "%zu staged tag%s removed", removed, removed == 1 ? "" : "s");
    list_each (const struct sweep_row, row, r)
        if (row->state != SWEEP_REMOVED)
            text = arena_printf(a, "%s; %s%s%s %s: %s", text, row->repository, row->tag ? ":" : "",
                                row->tag ? row->tag : "", sweep_state_name(row->state),
                                row->reason ? row->reason : "-");
    return text;
}

/* ---- what a gate recorded -------------------------------------------------------------------- */

static bool is_of_run(const struct staged *row, const struct event_image *image)
{
    const char *rest = row->run_id ? str_after(image->tag, row->run_id) : NULL;
    return rest && *rest == '_';
}

/* The repositories in which the change has staged tags, though nothing was ever published there. */
static void add_recorded(const struct staged *row, struct arena *a, struct str_list *repositories)
{
    list_each (const struct event_image, image, &row->images)
        if (!is_of_run(row, image) && !str_in(image->repository, repositories))
            *list_push(a, repositories) = image->repository;
}

/* A run's tags in an intermediate registry are nobody else's: they go by name and digest. */
static size_t remove_run(const struct engine *e, const struct staged *row, struct arena *a,
                         struct err *err)
{
    size_t removed = 0;
    list_each (const struct event_image, image, &row->images) {
        struct err why = ERR_INIT;
        enum registry_removal removal = REMOVAL_NO_WAY;
        const char *slash = strchr(image->repository, '/');
        if (!is_of_run(row, image) || !slash)
            continue;
        const char *host = arena_strndup(a, image->repository, (size_t)(slash - image->repository));
        if (registry_remove_tag(e->registry, a, host, slash + 1, image->tag, image->digest, false,
                                NULL, NULL, &removal, &why) < 0)
            *err = why;
        else if (removal == REMOVAL_DONE)
            removed++;
    }
    return removed;
}

struct outcome closed_run(const struct engine *e, const struct task *t, const struct event *event,
                          struct arena *a)
{
    struct err err = ERR_INIT;
    struct str_list all = {0}, ours = {0};
    struct sweep_result result;
    struct staged row = {0};
    bool is_recorded = false;
    const struct forge_conf *conf = engine_forge(e, event->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    const struct sweep_opts opts = {.older_than_s = -1,
                                    .forge = event->forge,
                                    .project = event->project,
                                    .change = event->change,
                                    .is_closed = forge && !forge->change};
    if (store_repositories(e->store, a, &all, &err) < 0 ||
        store_staged_get(e->store, event->forge, event->project, event->change, a, &row,
                         &is_recorded, &err) < 0)
        return outcome_of_error(&err, t->attempt, a);
    add_recorded(&row, a, &all);
    for (size_t i = 0; i < all.n; i++)
        if (sweep_concerns(e, &opts, all.at[i]))
            *list_push(a, &ours) = all.at[i];
    sweep_run(e, &opts, &ours, a, &result);
    result.count[SWEEP_REMOVED] += remove_run(e, &row, a, &err);
    if (err.kind != ERR_NONE)
        return outcome_of_error(&err, t->attempt, a);
    if (!result.temporary)
        return (struct outcome){.state = TASK_DONE, .reason = summary(&result, a)};
    (void)err_set(&err, ERR_TEMP, 0, "%s", summary(&result, a));
    return outcome_of_error(&err, t->attempt, a);
}
