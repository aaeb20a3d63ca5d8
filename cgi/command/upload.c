#include "cgi/command.h"

#include "cgi/command/job_build.h"
#include "cgi/command/job_decide.h"
#include "cgi/command/job_print.h"
#include "cgi/command/job_publish.h"
#include "cgi/command/job_report.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/deliver.h"
#include "core/engine/prepare.h"
#include "core/engine/stage.h"
#include "core/os/clock.h"

struct upload {
    struct job_flags job;
    const char *report_to, *report_secret;
    struct job_hook hook;
};

static bool is_staging(const struct plan *plan)
{
    return plan->tags.n && plan->tags.at[0].staging;
}

/* All that can be refused is refused before the first build. */
static int make(struct job *j, const char **tail, struct err *err)
{
    struct built_list built = {0};
    *tail = NULL;
    if (prepare_prove(&j->engine, &j->plan, j->arena, err) < 0 ||
        job_build(j, &built, tail, err) < 0)
        return -1;
    return prepare_built(&j->engine, &j->plan, &built, j->arena, err);
}

/* ---- staged ---------------------------------------------------------------------------------- */

/* Where the configuration's store can be written, it keeps the record itself. What was delivered
 * before is older than this run. */
static int open_store(struct job *j, struct task *t, struct err *err)
{
    struct delivery_list newest = {0};
    if (!j->event.change || !job_has_store(j->hand.settings, j->flags))
        return 0;
    const struct store_opts opts = {.url = j->hand.settings->store};
    if (store_open(&opts, &j->engine.store, err) < 0 ||
        store_deliveries_list(j->engine.store, DELIVERY__MAX, 0, 1, j->arena, &newest, err) < 0)
        return -1;
    t->delivery = newest.n ? newest.at[0].id : 0;
    return 0;
}

/* What became of the record; NULL: it failed, err is set. */
static const char *report(struct job *j, const struct upload *u, struct err *err)
{
    if (j->engine.store)
        return "store";
    if (u->report_to) {
        const struct event staged = stage_event(&j->event, &j->plan, j->event.run_id, j->tree,
                                                clock_now_ms() / 1000, j->arena);
        if (job_hook_send(j, &u->hook, &staged, err) < 0) {
            (void)err_wrap(err, "staged, but not recorded");
            return NULL;
        }
        return "reported";
    }
    if (!j->flags->quiet)
        (void)fprintf(stderr,
                      "slipway %s: unrecorded: a promotion takes whatever the staged tags show by "
                      "then; say --report-to URL\n",
                      j->cmd->name);
    return "unrecorded";
}

static int stage(struct job *j, const struct upload *u)
{
    struct err err = ERR_INIT;
    struct task t = {0};
    const char *tail = NULL;
    j->event.tree = j->tree;
    deliver_task(&j->event, 0, clock_now_ms(), j->arena, &t);
    if ((u->report_to && job_hook_try(j, &u->hook, &err) < 0) || open_store(j, &t, &err) < 0 ||
        make(j, &tail, &err) < 0 ||
        stage_run(&j->engine, &t, &j->event, &j->plan, j->arena, &err) < 0)
        return job_failed(j, &err, tail);
    struct job_result result = {.state = "staged", .run_id = j->event.run_id};
    list_each (const struct plan_tag, tag, &j->plan.tags)
        *list_push(j->arena, &result) = (struct job_row){
            .target = job_target(tag, j->arena), .digest = tag->prepared, .state = "staged"};
    const char *recorded = report(j, u, &err);
    result.recorded = recorded ? recorded : "unrecorded";
    job_print(&result, j->cmd, j->flags, j->arena);
    return recorded ? EXIT_DONE : job_failed(j, &err, NULL);
}

/* ---- direct ---------------------------------------------------------------------------------- */

static int publish(struct job *j)
{
    struct err err = ERR_INIT;
    const char *tail = NULL;
    if (job_has_store(j->hand.settings, j->flags)) {
        const struct job_order order = {.cmd = j->cmd,
                                        .settings = j->hand.settings,
                                        .flags = j->flags,
                                        .event = &j->event,
                                        .stop = &j->stopping.stop};
        if (!j->flags->quiet)
            (void)fprintf(stderr,
                          "slipway %s: the service builds and publishes commit %.12s of %s\n",
                          j->cmd->name, j->event.list_commit, j->event.project);
        return job_through_store(&order, j->arena);
    }
    return make(j, &tail, &err) < 0 ? job_failed(j, &err, tail) : job_publish_unfenced(j);
}

/* Without a tag anywhere all is built, to see that it can be. */
static int build_only(struct job *j)
{
    struct err err = ERR_INIT;
    struct built_list built = {0};
    const char *tail = NULL;
    if (job_build(j, &built, &tail, &err) < 0)
        return job_failed(j, &err, tail);
    const struct job_result result = {.state = "nothing",
                                      .reason = "no image has tags: nothing was uploaded"};
    job_print(&result, j->cmd, j->flags, j->arena);
    return EXIT_DONE;
}

static int upload(struct job *j, const struct upload *u)
{
    int code;
    if (u->report_to && j->plan.tags.n && (!is_staging(&j->plan) || !j->event.change))
        return command_usage(j->cmd, "--report-to goes with a staged upload of a change");
    if (job_is_decided(j, &code))
        return code;
    log_set_level(LOG_LEVEL_WARN);
    if (!j->plan.tags.n)
        return build_only(j);
    return is_staging(&j->plan) ? stage(j, u) : publish(j);
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct upload u = {.job = JOB_FLAGS_INIT};
    const struct flag flags[] = {
        JOB_FLAGS(u.job),
        JOB_BUILD_FLAGS(u.job),
        {"run-id", 0, FLAG_STR, &u.job.run_id},
        {"report-to", 0, FLAG_STR, &u.report_to},
        {"report-secret", 0, FLAG_STR, &u.report_secret},
    };
    struct job j = {0};
    struct err err = ERR_INIT;
    int positional;
    int code = flags_parse(&command_upload, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = job_flags_check(&command_upload, &u.job, positional);
    if (code >= 0)
        return code;
    if (u.report_secret && !u.report_to)
        return command_usage(&command_upload, "--report-secret goes with --report-to");
    if (u.report_to && job_hook_read(u.report_to, u.report_secret, &a, &u.hook, &err) < 0)
        return command_failed(&err);
    code = job_open(&j, &command_upload, &u.job, JOB_UPLOAD, NULL, &a);
    if (code != EXIT_DONE)
        return code;
    code = upload(&j, &u);
    job_close(&j);
    return code;
}

const struct command command_upload = {
    .name = "upload",
    .summary = "build the images of the list and push them, staged or with their final tags",
    .help =
        "Examples:\n"
        "  slipway upload --change 1234 --patchset 5 --project team/app \\\n"
        "      --report-to https://ci.example.org/slipway/hooks/review \\\n"
        "      --report-secret file:hook.secret   # in a gate: staged, and recorded\n"
        "  slipway upload --tag 1.2.3             # direct: final tags\n"
        "  slipway upload --change 1234 --dry-run\n"
        "\n"
        "Does what the job upload-container-image does. With --change each tag is pushed as\n"
        "change_<n>_<tag>, for `promote` or the service to find; without one, and with\n"
        "upload_container_image_promote: false, final tags are written. The right to push is\n"
        "proven for all images before the first build; all tags or none are written, and what\n"
        "they show is read back.\n"
        "\n"
        "Recorded: --report-to tells the service what this run staged, so that it promotes these\n"
        "digests and refuses what was changed since. Without it, and without a configuration\n"
        "whose store can be written here, the upload is unrecorded.\n"
        "\n"
        "Final tags: where the configuration's store can be written and --project is given, the\n"
        "upload is put into it like an event, and the service checks the commit out, builds and\n"
        "publishes it. Else it is done here and unfenced: neither waits for the other, and where\n"
        "a promotion writes the same tag at the same time, the later one stays.\n"
        "\n"
        "Flags:\n" BY_HAND_HELP JOB_HELP JOB_BUILD_HELP
        "      --run-id ID          names this run; default: random\n"
        "      --report-to URL      the hook of the project's source: https://.../hooks/<name>\n"
        "      --report-secret REF  its secret: file:PATH or env:NAME\n"
        "      --timeout TIME       of the build; default: 1h\n" JOB_TAIL_HELP "\n"
        "Exit status: 0 done, 1 failed, 2 usage or configuration, 3 see --exit-code, 5 refused\n"
        "or denied, 75 try later.\n",
    .run = run,
};
