#include "cgi/command/job_flags.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build.h"

/* What a pipeline hears of. Without one: a change is gated, a git tag released, a branch posted. */
static const struct {
    const char *name;
    enum event_kind kind;
    bool of_change, of_tag;
} pipelines[] = {
    {"check", EVENT_OPENED, true, false},   {"gate", EVENT_GATED, true, false},
    {"promote", EVENT_MERGED, true, false}, {"post", EVENT_BRANCH, false, false},
    {"tag", EVENT_TAG, false, true},        {"release", EVENT_TAG, false, true},
};

int job_flags_event(const struct command *cmd, const struct job_flags *f, enum job_kind kind,
                    enum event_kind *out)
{
    const char *usual = f->tag                            ? "tag"
                        : kind == JOB_BUILD               ? "check"
                        : kind == JOB_PROMOTE             ? "promote"
                        : kind == JOB_MIRROR && f->change ? "promote"
                        : f->change                       ? "gate"
                                                          : "post";
    const char *name = f->pipeline ? f->pipeline : usual;
    for (size_t i = 0; i < ARRAY_LEN(pipelines); i++) {
        if (!str_eq(pipelines[i].name, name))
            continue;
        if (pipelines[i].of_tag && !f->tag)
            return command_usage(cmd, "pipeline %s is of a git tag: say --tag NAME", name);
        if (f->tag && !pipelines[i].of_tag)
            return command_usage(cmd,
                                 "pipeline %s is not of a git tag: leave out --tag, or the "
                                 "pipeline",
                                 name);
        if (pipelines[i].of_change && !f->change && kind != JOB_BUILD)
            return command_usage(cmd, "pipeline %s is of a change: say --change N", name);
        *out = pipelines[i].kind;
        return EXIT_DONE;
    }
    return command_usage(cmd,
                         "--pipeline is check, gate, promote, post, tag or release, not "
                         "\"%.40s\"",
                         name);
}

int job_flags_check(const struct command *cmd, const struct job_flags *f, int positional)
{
    enum build_tool tool;
    if (positional)
        return command_usage(cmd, "it takes flags only; the images are those of the list (--file)");
    if (!str_eq(f->format, "text") && !str_eq(f->format, "json"))
        return command_usage(cmd, "--format is text or json, not \"%.40s\"", f->format);
    if (f->change && f->tag)
        return command_usage(cmd, "--change and --tag exclude each other");
    if (f->patchset && !f->change)
        return command_usage(cmd, "--patchset goes with --change");
    if (f->builder && !build_tool_from_name(f->builder, &tool))
        return command_usage(cmd, "--builder is buildah, podman or docker, not \"%.40s\"",
                             f->builder);
    if (f->timeout_s > LIMIT_BUILD_MOST_S)
        return command_usage(cmd, "--timeout is at most %d seconds", LIMIT_BUILD_MOST_S);
    if (f->exit_code && !f->dry_run)
        return command_usage(cmd, "--exit-code goes with --dry-run");
    if (f->forge && !f->project)
        return command_usage(cmd, "--forge goes with --project");
    return -1;
}

const char *job_flags_forge(const struct settings *s, const struct job_flags *f)
{
    if (f->forge)
        return f->forge;
    list_each (const struct policy_project, p, &s->policy)
        if (pattern_match(p->match, f->project))
            return p->forge;
    return NULL;
}
