#include "core/engine/intake.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/ask.h"
#include "core/os/clock.h"

/* *file is NULL when the repository has none at that commit. */
static int read_list(const struct engine *e, const struct event *event, struct arena *a,
                     const struct imagefile **file, struct err *err)
{
    const char *content;
    size_t len;
    bool missing = false;
    *file = NULL;
    if (ask_file(e, event, IMAGEFILE_NAME, a, &content, &len, &missing, err) < 0)
        return err_wrap(err, "reading %s of %s at %.12s", IMAGEFILE_NAME, event->project,
                        event->list_commit);
    if (missing)
        return 0;
    struct diags diags = {.arena = a};
    *file = imagefile_parse(IMAGEFILE_NAME, content, len, &diags);
    if (*file)
        return 0;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    struct diags errors = {.arena = a};
    list_each (const struct diag, d, &diags)
        if (d->severity == DIAG_ERROR)
            diag_error(&errors, (struct place){d->file, d->line, d->column}, "%s", d->text);
    diag_format(&errors, &text);
    for (size_t i = 0; i < text.len; i++)
        if (text.buf[i] == '\n')
            text.buf[i] = i + 1 < text.len ? ';' : '\0';
    return err_set(err, ERR_CONFIG, 0, "%s at %.12s: %zu error%s: %s", event->project,
                   event->list_commit, diags.errors, diags.errors == 1 ? "" : "s", text.buf);
}

/* Where nobody said which branch is the default one, it is only asked for when the image list
 * leaves it open. */
static int default_branch(const struct engine *e, const struct event *event,
                          const struct imagefile *file, struct arena *a, const char **branch,
                          struct err *err)
{
    *branch = event->default_branch;
    if (*branch || !event->branch || !file || file->branches.n || event->kind == EVENT_CLOSED)
        return 0;
    return ask_head(e, event, a, branch, err);
}

/* A pattern without wildcards names one branch; the tagged commit may also be on the default
 * branch. */
static int tag_is_on_branch(const struct engine *e, const struct event *event,
                            const struct policy_project *policy, struct arena *a, bool *on,
                            struct err *err)
{
    struct str_list names = {0};
    const char *head = event->default_branch;
    if (!head && ask_head(e, event, a, &head, err) < 0)
        return -1;
    if (head && policy_matches(&policy->branches, head, true))
        *list_push(a, &names) = head;
    for (size_t i = 0; i < policy->branches.n; i++) {
        const char *text = pattern_text(policy->branches.at[i]);
        if (!strpbrk(text, "*?^") && !str_eq(text, head))
            *list_push(a, &names) = text;
    }
    *on = false;
    for (size_t i = 0; i < names.n && !*on; i++)
        if (ask_on_branch(e, event, names.at[i], on, err) < 0)
            return -1;
    return 0;
}

/* Policy lets a git tag publish only from an allowed branch, unless it says `anywhere`. */
static int check_tag(const struct engine *e, const struct event *event,
                     const struct policy_project *policy, struct arena *a, struct plan *plan,
                     struct err *err)
{
    bool on;
    if (event->kind != EVENT_TAG || !policy || policy->anywhere || plan->verdict != PLAN_GO)
        return 0;
    if (tag_is_on_branch(e, event, policy, a, &on, err) < 0)
        return -1;
    if (on)
        return 0;
    plan->verdict = PLAN_REFUSED;
    plan->reason = arena_printf(a, "tag '%s' is on no branch that the policy allows", event->tag);
    struct plan_note *note = list_push(a, &plan->refused);
    note->at = policy->at;
    note->what = event->tag;
    note->why = "its commit is neither on the default branch nor on one that `branches` of the "
                "policy names in full; `anywhere: true` allows every commit";
    return 0;
}

int intake_plan(const struct engine *e, struct event *event, struct arena *a, struct plan *plan,
                struct err *err)
{
    const struct policy_project *policy = policy_find(e->policy, event->forge, event->project);
    struct plan_input in = {.event = event,
                            .policy = policy,
                            .now_s =
                                event->happened_at ? event->happened_at : clock_now_ms() / 1000,
                            .run_id = event->run_id,
                            .knows_registry = engine_knows_registry,
                            .ctx = e->registry};
    enum pipeline pipeline;
    if (policy && (plan_pipeline(event->kind, &pipeline) || event->kind == EVENT_CLOSED)) {
        if (ask_confirm(e, event, a, err) < 0 || read_list(e, event, a, &in.file, err) < 0 ||
            default_branch(e, event, in.file, a, &in.default_branch, err) < 0)
            return -1;
    }
    plan_make(&in, a, plan);
    return check_tag(e, event, policy, a, plan, err);
}
