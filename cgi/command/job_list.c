#include "cgi/command/job_list.h"

#include "core/base/limits.h"
#include "core/base/strbuf.h"

int job_list_read(struct job *j)
{
    struct err err = ERR_INIT;
    struct diags diags = {.arena = j->arena};
    const char *text;
    size_t len;
    if (job_source_read(&j->source, j->at_commit, j->flags->file, j->arena, &text, &len, &err) < 0)
        return command_failed(&err);
    const struct imagefile *file = imagefile_parse(j->flags->file, text, len, &diags);
    struct strbuf found CLEANUP_STRBUF = STRBUF_INIT(KIB(256));
    diag_format(&diags, &found);
    (void)fputs(found.buf, stderr);
    if (!file)
        return EXIT_USAGE;
    j->file = *file;
    /* Who calls has decided that there is work for this branch. */
    j->file.branches.n = 0;
    return EXIT_DONE;
}

/* Of the rows that the event runs only the jobs of this kind count; where there is none it is run
 * for the whole list, since that is what was asked for. */
static void keep_jobs(struct job *j, enum pipeline p, size_t *found)
{
    struct imagefile_row *row = &j->file.pipelines[p];
    struct imagefile_row kept = {.given = row->given, .at = row->at};
    list_each (const struct imagefile_job, job, &row->jobs) {
        if (job->kind != j->kind)
            continue;
        struct imagefile_job *copy = list_push(j->arena, &kept.jobs);
        *copy = *job;
        if (j->flags->builder)
            copy->vars.container_command = j->flags->builder;
        ++*found;
    }
    *row = kept;
}

void job_list_choose(struct job *j, enum event_kind kind)
{
    enum pipeline p = PIPELINE_CHECK;
    size_t found = 0;
    (void)plan_pipeline(kind, &p);
    keep_jobs(j, p, &found);
    if (kind == EVENT_TAG)
        keep_jobs(j, PIPELINE_RELEASE, &found);
    bool mirrors = j->kind == JOB_MIRROR;
    if (found || !(mirrors ? j->file.mirrors.n : j->file.images.n))
        return;
    struct imagefile_job *job = list_push(j->arena, &j->file.pipelines[p].jobs);
    *job = (struct imagefile_job){
        .kind = j->kind,
        .at = mirrors ? j->file.mirrors.at[0].at : j->file.images.at[0].at,
        .images = j->file.images,
        .mirrors = j->file.mirrors,
        .method = j->file.vars.method,
        .direct = j->file.vars.upload_promote_given ? !j->file.vars.upload_promote
                                                    : kind == EVENT_TAG || kind == EVENT_BRANCH,
        .vars = j->file.vars,
    };
    j->file.pipelines[p].given = true;
    if (j->flags->builder)
        job->vars.container_command = j->flags->builder;
}
