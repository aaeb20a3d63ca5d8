#include "core/engine/closed.h"

#include "core/base/str.h"
#include "core/engine/sweep.h"

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

struct outcome closed_run(const struct engine *e, const struct task *t, const struct event *event,
                          struct arena *a)
{
    struct err err = ERR_INIT;
    struct str_list all = {0}, ours = {0};
    struct sweep_result result;
    const struct forge_conf *conf = engine_forge(e, event->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    const struct sweep_opts opts = {.older_than_s = -1,
                                    .forge = event->forge,
                                    .project = event->project,
                                    .change = event->change,
                                    .is_closed = forge && !forge->change};
    if (store_repositories(e->store, a, &all, &err) < 0)
        return outcome_of_error(&err, t->attempt, a);
    for (size_t i = 0; i < all.n; i++)
        if (sweep_concerns(e, &opts, all.at[i]))
            *list_push(a, &ours) = all.at[i];
    sweep_run(e, &opts, &ours, a, &result);
    if (!result.temporary)
        return (struct outcome){.state = TASK_DONE, .reason = summary(&result, a)};
    (void)err_set(&err, ERR_TEMP, 0, "%s", summary(&result, a));
    return outcome_of_error(&err, t->attempt, a);
}
