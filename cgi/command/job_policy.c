#include "cgi/command/job_policy.h"

#include "core/base/str.h"

int job_policy_allow_all(struct job *j, struct err *err)
{
    struct pattern *match = pattern_compile("**", err);
    struct pattern *where = match ? pattern_compile("**", err) : NULL;
    j->entry = (struct policy_project){.at = {.file = "-"},
                                       .match = match,
                                       .forge = j->event.forge,
                                       .anywhere = true,
                                       .on_stale = STALE_PROMOTE,
                                       .intermediate = JOB_NO_INTERMEDIATE};
    if (where) {
        *list_push(j->arena, &j->entry.may_publish) = where;
        *list_push(j->arena, &j->entry.may_read) = where;
    }
    for (int p = 0; p < PIPELINE__MAX; p++)
        j->entry.may_build[p] = true;
    j->policy = (struct policy){.at = &j->entry, .n = 1};
    return where ? 0 : -1;
}

void job_policy_free(struct job *j)
{
    if (j->has_policy)
        return;
    pattern_free(j->entry.match);
    if (j->entry.may_publish.n)
        pattern_free(j->entry.may_publish.at[0]);
}

int job_policy_take(struct job *j)
{
    const struct settings *s = j->hand.settings;
    const struct job_flags *f = j->flags;
    if (!s || !f->project) {
        j->entry.intermediate = f->intermediate;
        return !j->is_between || f->intermediate
                   ? EXIT_DONE
                   : command_usage(j->cmd,
                                   "%s goes through an intermediate registry: say --intermediate "
                                   "HOST/PREFIX, or name a configuration and --project",
                                   f->file);
    }
    const char *forge = job_flags_forge(s, f);
    const struct policy_project *found = forge ? policy_find(&s->policy, forge, f->project) : NULL;
    if (!found) {
        (void)fprintf(
            stderr, "slipway %s: no entry of the configuration's `projects` matches %s%s%s\n",
            j->cmd->name, f->project, f->forge ? " of forge " : "", f->forge ? f->forge : "");
        return EXIT_DENIED;
    }
    job_policy_free(j);
    j->has_policy = true;
    j->entry = *found;
    j->event.forge = forge;
    for (int p = 0; p < PIPELINE__MAX; p++)
        j->entry.may_build[p] = true;
    if (f->intermediate && !str_eq(f->intermediate, j->entry.intermediate))
        return command_usage(j->cmd,
                             "the policy of %s says which intermediate registry it is: "
                             "leave out --intermediate",
                             f->project);
    return EXIT_DONE;
}
