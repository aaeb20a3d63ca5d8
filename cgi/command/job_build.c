#include "cgi/command/job_build.h"

#include "cgi/command/job_log.h"

#include <errno.h>

/* Another commit than the one that is checked out is written beside the working tree. */
static int source_of(struct job *j, const char **dir, struct err *err)
{
    *dir = j->source.dir;
    if (!j->at_commit)
        return 0;
    const char *place = arena_printf(j->arena, "%s/source", j->scratch.path);
    const struct git_remote remote = {.url = arena_printf(j->arena, "file://%s", j->source.top)};
    const struct git_checkout what = {.commit = j->at_commit,
                                      .dir = place,
                                      .submodules = j->file.vars.submodules,
                                      .lfs = j->file.vars.lfs};
    if (git_checkout(j->engine.git, &remote, &what, err) < 0)
        return err_wrap(err, "checking out %.12s of %s", j->at_commit, j->source.top);
    *dir = arena_printf(j->arena, "%s/%s", place, j->source.prefix);
    return 0;
}

int job_build(struct job *j, struct built_list *out, const char **tail, struct err *err)
{
    struct job_log log = {.out = stderr, .quiet = j->flags->quiet};
    const struct build_watch watch = {.log = job_log_show, .user = &log};
    struct building_opts opts = {.watch = &watch, .key = "job"};
    char *siblings CLEANUP(cleanup_free) = NULL;
    *tail = NULL;
    if (j->flags->siblings) {
        siblings = realpath(j->flags->siblings, NULL);
        if (!siblings)
            return err_errno(err, ERR_CONFIG, errno, "--siblings %s", j->flags->siblings);
        opts.siblings = siblings;
    }
    if (j->source.is_dirty && !j->at_commit && !j->flags->quiet)
        (void)fprintf(stderr,
                      "slipway %s: %s has changes that commit %.12s does not hold; they are "
                      "built, too\n",
                      j->cmd->name, j->source.dir, j->event.list_commit);
    if (source_of(j, &opts.source, err) < 0)
        return -1;
    int rc =
        building_run(&j->engine, &j->event, &j->plan, &j->entry, &opts, j->arena, out, tail, err);
    job_log_end(&log);
    if (log.shown)
        *tail = NULL;
    return rc;
}
