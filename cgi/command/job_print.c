#include "cgi/command/job_print.h"

#include "core/base/str.h"
#include "core/lib/json.h"

void job_rows_of_steps(struct job_result *r, const struct step_list *steps, struct arena *a)
{
    list_each (const struct step, s, steps)
        *list_push(a, r) =
            (struct job_row){.target = arena_printf(a, "%s/%s:%s", s->registry, s->name, s->tag),
                             .digest = s->new_digest,
                             .former = s->former_digest,
                             .state = step_state_name(s->state),
                             .note = s->note};
}

static struct js *row_js(const struct job_row *row)
{
    struct js *o = js_object();
    js_put_str(o, "target", row->target);
    js_put_str(o, "digest", row->digest);
    js_put_str(o, "former", row->former);
    js_put_str(o, "state", row->state);
    js_put_str(o, "platform", row->platform);
    js_put_str(o, "path", row->path);
    js_put_str(o, "note", row->note);
    return o;
}

static void print_json(const struct job_result *r, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *rows = js_array();
    list_each (const struct job_row, row, r)
        js_push(rows, row_js(row));
    js_put_int(doc, "schema", 1);
    js_put_str(doc, "state", r->state);
    js_put_str(doc, "reason", r->reason);
    if (r->run_id)
        js_put_str(doc, "run_id", r->run_id);
    if (r->recorded)
        js_put_str(doc, "recorded", r->recorded);
    if (r->task)
        js_put_int(doc, "task", r->task);
    js_put_bool(doc, "unfenced", r->unfenced);
    js_put(doc, "images", rows);
    (void)printf("%s\n", js_pretty(doc, a));
}

void job_print(const struct job_result *r, const struct command *cmd, const struct job_flags *f,
               struct arena *a)
{
    bool json = str_eq(f->format, "json");
    if (json)
        print_json(r, a);
    list_each (const struct job_row, row, r) {
        bool bad = str_eq(row->state, "foreign") || str_eq(row->state, "stuck") ||
                   str_eq(row->state, "restored") || str_eq(row->state, "planned");
        if (!json && !bad)
            (void)printf("%s %s%s%s%s%s\n", row->digest ? row->digest : "-",
                         str_printable(a, row->target), row->platform ? " " : "",
                         row->platform ? row->platform : "", row->path ? " oci:" : "",
                         row->path ? str_printable(a, row->path) : "");
    }
    if (r->reason && (!f->quiet || !r->n))
        (void)fprintf(stderr, "slipway %s: %s%s\n", cmd->name,
                      r->task ? arena_printf(a, "task %lld is %s: ", (long long)r->task, r->state)
                              : "",
                      str_printable(a, r->reason));
}

int job_exit_code(enum task_state state)
{
    switch (state) {
    case TASK_DONE:
    case TASK_SUPERSEDED:
        return EXIT_DONE;
    case TASK_HELD:
        return EXIT_DENIED;
    case TASK_QUEUED:
    case TASK_WAITING:
    case TASK_RUNNING:
    case TASK_UNDOING:
    case TASK_FAILED:
        return EXIT_TRY_LATER;
    default:
        return EXIT_FAILED;
    }
}
