/* What is said about a plan, and the texts of an image list with their templates expanded. */
#include "core/domain/plan_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <stdarg.h>

void plan_note(struct plan_work *w, struct plan_notes *notes, struct place at, const char *what,
               const char *fmt, ...)
{
    char why[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (notes->n >= LIMIT_PLAN)
        return;
    list_each (const struct plan_note, note, notes)
        if (str_eq(note->what, what) && str_eq(note->why, why))
            return;
    struct plan_note *note = list_push(w->arena, notes);
    note->at = at;
    note->what = arena_strdup(w->arena, what);
    note->why = arena_strdup(w->arena, why);
}

const char *plan_patterns(struct arena *a, const struct pattern_list *list)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(400);
    for (size_t i = 0; i < list->n && !text.full; i++)
        (void)strbuf_addf(&text, "%s%s", i ? ", " : "", pattern_text(list->at[i]));
    if (text.full)
        return arena_printf(a, "%s, ...", text.buf);
    return list->n ? strbuf_to_arena(&text, a) : "none";
}

const char *plan_label(const struct image *image)
{
    return image->context.text      ? image->context.text
           : image->repository.text ? image->repository.text
                                    : "image";
}

static const char *kind_phrase(enum event_kind kind)
{
    switch (kind) {
    case EVENT_OPENED:
        return "a proposed change";
    case EVENT_GATED:
        return "a change at the gate";
    case EVENT_MERGED:
        return "a merge";
    case EVENT_CLOSED:
        return "a closed change";
    case EVENT_BRANCH:
        return "a branch push";
    case EVENT_TAG:
        return "a git tag";
    default:
        return "this event";
    }
}

void plan_leave_out(struct plan_work *w, const struct plan_how *how, struct place at,
                    const char *what, const char *why)
{
    if (!how->clean_only)
        plan_note(w, &w->plan->skipped, at, what, "%s", why);
}

void plan_refuse(struct plan_work *w, const struct plan_how *how, struct place at, const char *what,
                 const char *why)
{
    if (!how->clean_only)
        plan_note(w, &w->plan->refused, at, what, "%s", why);
}

static const struct template_owns *own_of(const struct plan_how *how)
{
    return how->vars ? &how->vars->own : NULL;
}

bool plan_uses(const struct plan_how *how, const struct image_text *text, const char *variable)
{
    return template_uses(text->text, variable, own_of(how));
}

/* False when the text can't be had: said as a skip or a refusal. */
bool plan_expand_list(struct plan_work *w, const struct plan_how *how,
                      const struct image_text *text, const struct template_vars *vars,
                      const char *what, struct str_list *out)
{
    struct diags diags = {.arena = w->arena};
    struct template_vars all = *vars;
    const char *missing;
    all.own = own_of(how);
    switch (template_expand_list(text->text, text->at, &all, &diags, out, &missing)) {
    case TEMPLATE_OK:
        return true;
    case TEMPLATE_UNDEFINED:
        plan_leave_out(w, how, text->at, what,
                       arena_printf(w->arena, "%s is not defined for %s", missing,
                                    kind_phrase(w->in->event->kind)));
        return false;
    case TEMPLATE_ERROR:
        break;
    }
    plan_refuse(w, how, text->at, what,
                diags.n ? diags.at[diags.n - 1].text : "malformed template");
    return false;
}

bool plan_expand(struct plan_work *w, const struct plan_how *how, const struct image_text *text,
                 const char *what, const char **out)
{
    struct str_list list;
    if (!plan_expand_list(w, how, text, &w->vars, what, &list))
        return false;
    if (list.n != 1) {
        plan_refuse(w, how, text->at, what, "it is a list, where one text belongs");
        return false;
    }
    *out = list.at[0];
    return true;
}
