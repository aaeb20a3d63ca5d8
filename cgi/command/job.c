#include "cgi/command/job.h"

#include "cgi/command/job_log.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/locks.h"
#include "core/os/fs.h"
#include "core/os/random.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_FORGE "local"
#define NO_INTERMEDIATE "intermediate.invalid" /* what the first look at the list plans with */

enum { RUN_ID_BYTES = 8 };

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

/* ---- flags ----------------------------------------------------------------------------------- */

static int kind_of(const struct command *cmd, const struct job_flags *f, enum job_kind kind,
                   enum event_kind *out)
{
    const char *usual = f->tag                ? "tag"
                        : kind == JOB_BUILD   ? "check"
                        : kind == JOB_PROMOTE ? "promote"
                        : f->change           ? "gate"
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

int job_check(const struct command *cmd, const struct job_flags *f, int positional)
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

/* ---- the image list -------------------------------------------------------------------------- */

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

static void choose_jobs(struct job *j, enum event_kind kind)
{
    enum pipeline p = PIPELINE_CHECK;
    size_t found = 0;
    (void)plan_pipeline(kind, &p);
    keep_jobs(j, p, &found);
    if (kind == EVENT_TAG)
        keep_jobs(j, PIPELINE_RELEASE, &found);
    if (found || !j->file.images.n)
        return;
    struct imagefile_job *job = list_push(j->arena, &j->file.pipelines[p].jobs);
    *job = (struct imagefile_job){
        .kind = j->kind,
        .at = j->file.images.at[0].at,
        .images = j->file.images,
        .method = j->file.vars.method,
        .direct = j->file.vars.upload_promote_given ? !j->file.vars.upload_promote
                                                    : kind == EVENT_TAG || kind == EVENT_BRANCH,
        .vars = j->file.vars,
    };
    j->file.pipelines[p].given = true;
    if (j->flags->builder)
        job->vars.container_command = j->flags->builder;
}

static int read_list(struct job *j)
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

/* ---- the event ------------------------------------------------------------------------------- */

static int find_commits(struct job *j, struct err *err)
{
    const char *commit = j->source.head;
    if (j->flags->commit) {
        bool full = event_commit_ok(j->flags->commit);
        if (!j->source.top && full)
            commit = j->flags->commit;
        else if (job_source_commit(&j->source, j->flags->commit, j->arena, &commit, err) < 0)
            return -1;
        if (j->source.top && !str_eq(commit, j->source.head))
            j->at_commit = commit;
    }
    j->event.list_commit = j->event.order_commit = commit;
    j->event.staged_commit = j->flags->staged_commit ? j->flags->staged_commit : commit;
    if (!commit && j->kind != JOB_BUILD)
        return err_set(err, ERR_CONFIG, 0, "%s is no git working tree with a commit: say --commit",
                       j->source.dir);
    return commit && j->source.top ? job_source_tree(&j->source, commit, j->arena, &j->tree, err)
                                   : 0;
}

static int make_event(struct job *j, enum event_kind kind)
{
    const struct job_flags *f = j->flags;
    struct err err = ERR_INIT;
    char unique[2 * RUN_ID_BYTES + 1];
    bool is_tag = kind == EVENT_TAG;
    random_hex(unique, RUN_ID_BYTES);
    const char *branch = f->branch ? f->branch : j->source.branch;
    /* Nothing but a name in templates depends on it where nothing is published. */
    if (!branch && j->kind == JOB_BUILD)
        branch = "HEAD";
    if (!branch && !is_tag)
        return command_usage(j->cmd, "no branch is checked out at %s: say --branch NAME",
                             j->source.dir);
    const char *project = f->project ? f->project : j->source.project;
    const char *folder = strrchr(j->source.top ? j->source.top : j->source.dir, '/') + 1;
    if (!project)
        project = event_project_ok(folder) ? folder : "project";
    j->event = (struct event){.kind = kind,
                              .forge = OWN_FORGE,
                              .project = project,
                              .branch = is_tag ? NULL : branch,
                              .default_branch = branch,
                              .tag = f->tag,
                              .change = f->change,
                              .patchset = f->patchset,
                              .change_url = f->change_url,
                              .run_id = f->run_id ? f->run_id : arena_strdup(j->arena, unique)};
    if (find_commits(j, &err) < 0)
        return command_failed(&err);
    if (event_validate(&j->event, &err) < 0)
        return command_usage(j->cmd, "%s", err.text);
    return EXIT_DONE;
}

/* ---- policy, plan ---------------------------------------------------------------------------- */

const char *job_forge(const struct settings *s, const struct job_flags *f)
{
    if (f->forge)
        return f->forge;
    list_each (const struct policy_project, p, &s->policy)
        if (pattern_match(p->match, f->project))
            return p->forge;
    return NULL;
}

/* What the user's own credentials allow is allowed. */
static int allow_all(struct job *j, struct err *err)
{
    struct pattern *match = pattern_compile("**", err);
    struct pattern *where = match ? pattern_compile("**", err) : NULL;
    j->entry = (struct policy_project){.at = {.file = "-"},
                                       .match = match,
                                       .forge = j->event.forge,
                                       .anywhere = true,
                                       .on_stale = STALE_PROMOTE,
                                       .intermediate = NO_INTERMEDIATE};
    if (where)
        *list_push(j->arena, &j->entry.may_publish) = where;
    for (int p = 0; p < PIPELINE__MAX; p++)
        j->entry.may_build[p] = true;
    j->policy = (struct policy){.at = &j->entry, .n = 1};
    return where ? 0 : -1;
}

static void free_own_policy(struct job *j)
{
    if (j->has_policy)
        return;
    pattern_free(j->entry.match);
    if (j->entry.may_publish.n)
        pattern_free(j->entry.may_publish.at[0]);
}

/* The operator's entry in the place of our own. What is built is the caller's to say: may_build is
 * about what `work` does on its own. */
static int take_policy(struct job *j)
{
    const struct settings *s = j->hand.settings;
    const struct job_flags *f = j->flags;
    if (!s || !f->project) {
        j->entry.intermediate = f->intermediate;
        return EXIT_DONE;
    }
    const char *forge = job_forge(s, f);
    const struct policy_project *found = forge ? policy_find(&s->policy, forge, f->project) : NULL;
    if (!found) {
        (void)fprintf(
            stderr, "slipway %s: no entry of the configuration's `projects` matches %s%s%s\n",
            j->cmd->name, f->project, f->forge ? " of forge " : "", f->forge ? f->forge : "");
        return EXIT_DENIED;
    }
    free_own_policy(j);
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

/* The first look at the list only learns which registries it names. */
struct learner {
    struct arena *arena;
    struct str_list *hosts;
};

static bool learn_host(const void *ctx, const char *host)
{
    const struct learner *l = ctx;
    if (!str_in(host, l->hosts) && !str_eq(host, NO_INTERMEDIATE))
        *list_push(l->arena, l->hosts) = host;
    return true;
}

static void plan(struct job *j, bool (*knows)(const void *ctx, const char *host), const void *ctx)
{
    const struct plan_input in = {.event = &j->event,
                                  .file = &j->file,
                                  .policy = &j->entry,
                                  .default_branch = j->event.default_branch,
                                  .run_id = j->event.run_id,
                                  .knows_registry = knows,
                                  .ctx = ctx};
    plan_make(&in, j->arena, &j->plan);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static int make_scratch(struct job *j, struct err *err)
{
    const char *base = getenv("TMPDIR");
    j->scratch = xasprintf("%s/slipway-XXXXXX", str_empty(base) ? "/var/tmp" : base);
    if (mkdtemp(j->scratch))
        return 0;
    int failure = errno;
    (void)err_errno(err, ERR_CONFIG, failure, "a temporary directory: %s", j->scratch);
    free(STEAL(j->scratch));
    return -1;
}

static int set_up_engine(struct job *j, struct err *err)
{
    const struct settings *s = j->hand.settings;
    if (make_scratch(j, err) < 0)
        return -1;
    const struct git_opts git_opts = {.cache_dir = arena_printf(j->arena, "%s/git", j->scratch)};
    if (s)
        j->build = s->build;
    j->build.dir = j->build_dir ? j->build_dir : arena_printf(j->arena, "%s/builds", j->scratch);
    j->build.socket = j->build.program = j->build.scratch = NULL;
    if (j->flags->timeout_s)
        j->build.timeout_s = j->flags->timeout_s;
    j->engine = (struct engine){.http = j->hand.http,
                                .registry = j->hand.registry,
                                .credentials = j->hand.credentials,
                                .git = git_new(&git_opts, err),
                                .policy = &j->policy,
                                .build = &j->build,
                                .zuuls = s ? &s->zuuls : NULL,
                                .locks = target_locks_new(),
                                .proofs = push_proofs_new(),
                                .stop = &j->stopping.stop};
    return j->engine.git && fs_mkdirs(j->build.dir, 0755, err) == 0 ? 0 : -1;
}

/* Hosts that FROM lines may name count, too. */
static void add_flag_hosts(struct job *j)
{
    const struct flag_values *plain = &j->flags->by_hand.plain_http;
    for (size_t i = 0; i < plain->n; i++)
        if (imageref_host_ok(plain->at[i]) && !str_in(plain->at[i], &j->hosts))
            *list_push(j->arena, &j->hosts) = plain->at[i];
}

static int open_all(struct job *j)
{
    struct err err = ERR_INIT;
    enum event_kind kind = EVENT_OPENED;
    int code = kind_of(j->cmd, j->flags, j->kind, &kind);
    if (code != EXIT_DONE)
        return code;
    if (job_source_look(j->flags->source, j->arena, &j->source, &err) < 0)
        return command_failed(&err);
    code = make_event(j, kind);
    if (code == EXIT_DONE)
        code = read_list(j);
    if (code != EXIT_DONE)
        return code;
    choose_jobs(j, kind);
    if (allow_all(j, &err) < 0)
        return command_failed(&err);
    const struct learner learner = {j->arena, &j->hosts};
    plan(j, learn_host, &learner);
    add_flag_hosts(j);
    code = by_hand_setup(&j->hand, &j->flags->by_hand, &j->hosts, j->arena);
    if (code == EXIT_DONE)
        code = take_policy(j);
    if (code != EXIT_DONE)
        return code;
    plan(j, engine_knows_registry, j->hand.registry);
    return set_up_engine(j, &err) < 0 ? command_failed(&err) : EXIT_DONE;
}

int job_open(struct job *j, const struct command *cmd, const struct job_flags *f,
             enum job_kind kind, struct arena *a)
{
    const char *build_dir = j->build_dir;
    *j = (struct job){.cmd = cmd, .flags = f, .kind = kind, .arena = a, .build_dir = build_dir};
    stopping_begin(&j->stopping);
    int code = open_all(j);
    if (code != EXIT_DONE)
        job_close(j);
    return code;
}

void job_close(struct job *j)
{
    push_proofs_free(j->engine.proofs);
    target_locks_free(j->engine.locks);
    if (j->engine.git)
        git_free(j->engine.git);
    if (j->engine.store)
        store_close(j->engine.store);
    free_own_policy(j);
    by_hand_release(&j->hand);
    if (j->scratch)
        (void)fs_remove_tree(j->scratch, NULL);
    free(STEAL(j->scratch));
    stopping_end(&j->stopping);
}

/* ---- what the plan decides ------------------------------------------------------------------- */

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

static int show_plan(struct job *j)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    if (str_eq(j->flags->format, "json"))
        (void)strbuf_addf(&text, "%s\n", plan_to_json(&j->plan, &j->event, j->arena));
    else
        plan_print(&j->plan, &j->event, &text);
    (void)fputs(text.buf, stdout);
    if (j->plan.verdict == PLAN_REFUSED)
        return EXIT_DENIED;
    return j->plan.verdict == PLAN_GO && j->flags->exit_code ? EXIT_CHANGES : EXIT_DONE;
}

bool job_is_decided(struct job *j, int *code)
{
    const struct plan *p = &j->plan;
    *code = EXIT_DONE;
    if (j->flags->dry_run) {
        *code = show_plan(j);
        return true;
    }
    if (p->verdict == PLAN_REFUSED) {
        say_notes(j, "refused", &p->refused);
        (void)fprintf(stderr, "slipway %s: refused, nothing was done\n", j->cmd->name);
        *code = EXIT_DENIED;
        return true;
    }
    if (!j->flags->quiet)
        say_notes(j, "skipped", &p->skipped);
    if (p->verdict == PLAN_NOTHING || (!p->tags.n && !p->builds.n)) {
        (void)fprintf(stderr, "slipway %s: nothing to do: %s\n", j->cmd->name,
                      str_printable(j->arena, p->reason));
        return true;
    }
    if (!p->shadow || j->kind == JOB_BUILD)
        return false;
    (void)fprintf(stderr, "slipway %s: the policy's mode is shadow, nothing is written: %s\n",
                  j->cmd->name, p->reason);
    return true;
}

/* ---- building -------------------------------------------------------------------------------- */

/* Another commit than the one that is checked out is written beside the working tree. */
static int source_of(struct job *j, const char **dir, struct err *err)
{
    *dir = j->source.dir;
    if (!j->at_commit)
        return 0;
    const char *place = arena_printf(j->arena, "%s/source", j->scratch);
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

int job_failed(const struct job *j, const struct err *err, const char *tail)
{
    struct job_log log = {.out = stderr};
    if (tail) {
        job_log_show(&log, tail, strlen(tail));
        job_log_end(&log);
    }
    if (atomic_load(&j->stopping.stop) && err->kind == ERR_TEMP) {
        (void)fprintf(stderr, "slipway %s: ended by a signal, nothing was left behind\n",
                      j->cmd->name);
        return EXIT_TRY_LATER;
    }
    int code = by_hand_failed(err);
    return err->kind == ERR_PERM && (err->code == 401 || err->code == 403 || err->code == EACCES)
               ? EXIT_DENIED
               : code;
}

const char *job_target(const struct plan_tag *t, struct arena *a)
{
    return arena_printf(a, "%s/%s:%s", t->registry, t->name, t->tag);
}
