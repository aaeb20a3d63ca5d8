#include "cgi/command/job.h"

#include "cgi/command/job_list.h"
#include "cgi/command/job_log.h"
#include "cgi/command/job_policy.h"
#include "core/base/str.h"
#include "core/engine/locks.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/random.h"

#include <errno.h>

#define OWN_FORGE "local"

enum { RUN_ID_BYTES = 8 };

/* ---- the event ------------------------------------------------------------------------------- */

/* --commit, else that of the git tag where the working tree knows it, else HEAD. */
static int find_commit(struct job *j, const char **commit, struct err *err)
{
    const char *name = j->flags->commit;
    *commit = j->source.head;
    if (name && !j->source.top && event_commit_ok(name)) {
        *commit = name;
        return 0;
    }
    if (name)
        return job_source_commit(&j->source, name, j->arena, commit, err);
    return j->flags->tag ? job_source_tag_commit(&j->source, j->flags->tag, j->arena, commit, err)
                         : 0;
}

static int find_commits(struct job *j, struct err *err)
{
    const char *commit;
    if (find_commit(j, &commit, err) < 0)
        return -1;
    bool named = j->flags->commit && j->source.is_dirty;
    if (j->source.top && (named || !str_eq(commit, j->source.head)))
        j->at_commit = commit;
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

/* ---- the plan -------------------------------------------------------------------------------- */

/* The first look at the list only learns which registries it names. */
static bool learn_host(const void *ctx, const char *host)
{
    struct job *j = *(struct job *const *)ctx;
    if (str_eq(host, JOB_NO_INTERMEDIATE))
        j->is_between = true;
    else if (!str_in(host, &j->hosts))
        *list_push(j->arena, &j->hosts) = host;
    return true;
}

static void plan(struct job *j, bool (*knows)(const void *ctx, const char *host), const void *ctx)
{
    const struct plan_input in = {.event = &j->event,
                                  .file = &j->file,
                                  .policy = &j->entry,
                                  .default_branch = j->event.default_branch,
                                  .now_s = clock_now_ms() / 1000,
                                  .run_id = j->event.run_id,
                                  .knows_registry = knows,
                                  .ctx = ctx};
    plan_make(&in, j->arena, &j->plan);
}

/* ---- the engine ------------------------------------------------------------------------------ */

/* What is kept is renamed, and so must lie on the same file system. */
static int make_rooms(struct job *j, const char *keep, struct err *err)
{
    if (build_room_open(&j->scratch, NULL, j->arena, err) < 0)
        return -1;
    if (!keep || j->flags->dry_run)
        return 0;
    return fs_mkdirs(keep, 0755, err) < 0 || build_room_open(&j->beside, keep, j->arena, err) < 0
               ? -1
               : 0;
}

static int set_up_engine(struct job *j, const char *keep, struct err *err)
{
    const struct settings *s = j->hand.settings;
    if (make_rooms(j, keep, err) < 0)
        return -1;
    const struct git_opts git_opts = {.cache_dir =
                                          arena_printf(j->arena, "%s/git", j->scratch.path)};
    if (s)
        j->build = s->build;
    j->build.dir =
        arena_printf(j->arena, "%s/builds", j->beside.path ? j->beside.path : j->scratch.path);
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
    if (!j->engine.git || fs_mkdirs(j->build.dir, 0755, err) < 0)
        return -1;
    git_stop_by(j->engine.git, &j->stopping.stop);
    return 0;
}

static void add_host(struct job *j, const char *host)
{
    if (imageref_host_ok(host) && !str_in(host, &j->hosts))
        *list_push(j->arena, &j->hosts) = host;
}

/* Hosts that FROM lines may name count, too. */
static void add_flag_hosts(struct job *j)
{
    const struct flag_values *plain = &j->flags->by_hand.plain_http;
    const char *between = j->flags->intermediate;
    for (size_t i = 0; i < plain->n; i++)
        add_host(j, plain->at[i]);
    if (between)
        add_host(j, arena_strndup(j->arena, between, strcspn(between, "/")));
}

static int plan_all(struct job *j)
{
    struct err err = ERR_INIT;
    struct job *const self = j;
    if (job_policy_allow_all(j, &err) < 0)
        return command_failed(&err);
    plan(j, learn_host, &self);
    add_flag_hosts(j);
    int code = by_hand_setup(&j->hand, &j->flags->by_hand, &j->hosts, j->arena);
    if (code == EXIT_DONE)
        code = job_policy_take(j);
    if (code == EXIT_DONE)
        plan(j, engine_knows_registry, j->hand.registry);
    return code;
}

static int open_all(struct job *j, const char *keep)
{
    struct err err = ERR_INIT;
    enum event_kind kind = EVENT_OPENED;
    int code = job_flags_event(j->cmd, j->flags, j->kind, &kind);
    if (code != EXIT_DONE)
        return code;
    if (job_source_look(j->flags->source, j->arena, &j->source, &err) < 0)
        return command_failed(&err);
    code = make_event(j, kind);
    if (code == EXIT_DONE)
        code = job_list_read(j);
    if (code != EXIT_DONE)
        return code;
    job_list_choose(j, kind);
    code = plan_all(j);
    if (code != EXIT_DONE)
        return code;
    return set_up_engine(j, keep, &err) < 0 ? command_failed(&err) : EXIT_DONE;
}

int job_open(struct job *j, const struct command *cmd, const struct job_flags *f,
             enum job_kind kind, const char *keep, struct arena *a)
{
    *j = (struct job){.cmd = cmd,
                      .flags = f,
                      .kind = kind,
                      .arena = a,
                      .scratch = {.fd = -1},
                      .beside = {.fd = -1}};
    stopping_begin(&j->stopping);
    int code = open_all(j, keep);
    if (code != EXIT_DONE)
        job_close(j);
    return code;
}

static void close_room(struct build_room *room)
{
    struct err err = ERR_INIT;
    if (build_room_close(room, &err) < 0)
        (void)command_failed(&err);
}

void job_close(struct job *j)
{
    push_proofs_free(j->engine.proofs);
    target_locks_free(j->engine.locks);
    if (j->engine.git)
        git_free(j->engine.git);
    if (j->engine.store)
        store_close(j->engine.store);
    job_policy_free(j);
    by_hand_release(&j->hand);
    close_room(&j->beside);
    close_room(&j->scratch);
    stopping_end(&j->stopping);
}

int job_failed(const struct job *j, const struct err *err, const char *tail)
{
    struct job_log log = {.out = stderr};
    if (tail) {
        job_log_show(&log, tail, strlen(tail));
        job_log_end(&log);
    }
    if (atomic_load(&j->stopping.stop) && err->code == ECANCELED) {
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
