#include "cgi/command/job_decide.h"

#include "cgi/command/job_print.h"
#include "core/base/limits.h"
#include "core/base/str.h"

static void say_notes(const struct job *j, const char *what, const struct plan_notes *notes)
{
    list_each (const struct plan_note, note, notes) {
        if (note->at.line)
            (void)fprintf(stderr, "%s:%u:%u: ", note->at.file ? note->at.file : j->flags->file,
                          note->at.line, note->at.column);
        (void)fprintf(stderr, "%s: %s: %s\n", what, str_printable(j->arena, note->what),
                      str_printable(j->arena, note->why));
    }
}

int job_show_plan(const struct plan *plan, const struct event *event, const struct job_flags *f,
                  struct arena *a)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    if (str_eq(f->format, "json"))
        (void)strbuf_addf(&text, "%s\n", plan_to_json(plan, event, a));
    else
        plan_print(plan, event, &text);
    (void)fputs(text.buf, stdout);
    if (plan->verdict == PLAN_REFUSED)
        return EXIT_DENIED;
    return plan->verdict == PLAN_GO && f->exit_code ? EXIT_CHANGES : EXIT_DONE;
}

static void say_end(const struct job *j, const char *state, const char *reason)
{
    const struct job_result result = {.state = state, .reason = reason};
    job_print(&result, j->cmd, j->flags, j->arena);
}

bool job_is_decided(struct job *j, int *code)
{
    const struct plan *p = &j->plan;
    *code = EXIT_DONE;
    if (j->flags->dry_run) {
        *code = job_show_plan(p, &j->event, j->flags, j->arena);
    } else if (p->verdict == PLAN_REFUSED) {
        say_notes(j, "refused", &p->refused);
        say_end(j, "refused", "refused, nothing was done");
        *code = EXIT_DENIED;
    } else {
        if (!j->flags->quiet)
            say_notes(j, "skipped", &p->skipped);
        if (p->verdict == PLAN_NOTHING || (!p->tags.n && !p->builds.n))
            say_end(j, "nothing", arena_printf(j->arena, "nothing to do: %s", p->reason));
        else if (p->shadow && j->kind != JOB_BUILD)
            say_end(j, "shadow",
                    arena_printf(j->arena, "the policy's mode is shadow, nothing is written: %s",
                                 p->reason));
        else
            return false;
    }
    return true;
}
