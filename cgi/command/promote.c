#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "cgi/command/job_decide.h"
#include "cgi/command/job_publish.h"
#include "cgi/command/job_staged.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <unistd.h>

/* ---- through the service's store ------------------------------------------------------------- */

/* What is not said is asked of the forge: it knows the merge for as long as it exists. */
static struct event order_event(const struct settings *s, const struct job_flags *f)
{
    return (struct event){
        .kind = f->tag ? EVENT_TAG : EVENT_MERGED,
        .forge = job_flags_forge(s, f),
        .project = f->project,
        .branch = f->tag      ? NULL
                  : f->branch ? f->branch
                              : "main",
        .tag = f->tag,
        .change = f->tag ? NULL : f->change,
        .patchset = f->patchset,
        .change_url = f->change_url,
        .order_commit = f->commit,
        .list_commit = f->commit,
        .staged_commit = f->staged_commit ? f->staged_commit : f->commit,
        .confirm = true,
    };
}

static int through_store(const struct settings *s, const struct job_flags *f, struct arena *a)
{
    struct err err = ERR_INIT;
    const struct event event = order_event(s, f);
    const struct job_order order = {
        .cmd = &command_promote, .settings = s, .flags = f, .event = &event, .looks_first = true};
    if (!event.forge) {
        (void)fprintf(stderr,
                      "slipway promote: no entry of the configuration's `projects` matches %s\n",
                      f->project);
        return EXIT_DENIED;
    }
    if (event_validate(&event, &err) < 0)
        return command_usage(&command_promote, "%s", err.text);
    return job_through_store(&order, a);
}

/* The configuration that was named, or the service's where it can be read. */
static const struct settings *load_settings(const struct job_flags *f, bool *wrong, struct arena *a)
{
    bool named = f->by_hand.config || !str_empty(getenv("SLIPWAY_CONFIG"));
    *wrong = false;
    if (!named && access(SETTINGS_PATH, R_OK) != 0)
        return NULL;
    const struct settings *s = settings_for_command(f->by_hand.config, SETTINGS_WORK, a);
    *wrong = !s;
    return s;
}

/* ---- beside it ------------------------------------------------------------------------------- */

static int promote(struct job *j)
{
    int code;
    if ((j->plan.verdict == PLAN_GO && !job_staged_look(j, &code)) || job_is_decided(j, &code))
        return code;
    log_set_level(LOG_LEVEL_WARN);
    return job_publish_unfenced(j);
}

static int here(const struct job_flags *f, struct arena *a)
{
    struct job j = {0};
    if (f->tag)
        return command_usage(&command_promote,
                             "what was published for a git tag's commit is known to the service's "
                             "store only: name its configuration and --project, or upload it");
    int code = job_open(&j, &command_promote, f, JOB_PROMOTE, NULL, a);
    if (code != EXIT_DONE)
        return code;
    code = promote(&j);
    job_close(&j);
    return code;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct job_flags f = JOB_FLAGS_INIT;
    const struct flag flags[] = {JOB_FLAGS(f), {"run-id", 0, FLAG_STR, &f.run_id}};
    bool wrong;
    int positional;
    int code = flags_parse(&command_promote, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = job_flags_check(&command_promote, &f, positional);
    if (code >= 0)
        return code;
    if (!f.change && !f.tag)
        return command_usage(&command_promote, "say --change N, or --tag NAME");
    const struct settings *s = load_settings(&f, &wrong, &a);
    if (wrong)
        return EXIT_USAGE;
    code = job_has_store(s, &f) ? through_store(s, &f, &a) : here(&f, &a);
    if (s)
        settings_free(s);
    return code;
}

const struct command command_promote = {
    .name = "promote",
    .summary = "give what a gate staged for a change its final tags, now or once more",
    .help =
        "Examples:\n"
        "  slipway promote --change 1234 --project team/app    # also long after the merge\n"
        "  slipway promote --change 1234 --dry-run --exit-code\n"
        "  slipway promote --tag 1.2.3 --project team/app      # what its commit has published\n"
        "\n"
        "Does what the job promote-container-image does. First it looks whether what the gate\n"
        "staged is still there, manifests and blobs. It may be run again at any time: what is\n"
        "live already is left as it is, and (where the store is at hand) what is newer is never\n"
        "moved back.\n"
        "\n"
        "With --project and a configuration whose store can be written here, it is put into the\n"
        "store like the merge's webhook: the change is read again from its forge, `work` carries\n"
        "it out (this command where none is running), and the outcome is printed. Else the image\n"
        "list of the working tree is promoted from here, unfenced: neither waits for the other,\n"
        "and where a promotion writes the same tag at the same time, the later one stays.\n"
        "\n"
        "Flags:\n" BY_HAND_HELP JOB_HELP
        "      --run-id ID          of the upload to an intermediate registry, where no store\n"
        "                           knows of it\n"
        "      --timeout TIME       wait for so long; default: 10m\n" JOB_TAIL_HELP "\n"
        "Exit status: 0 done, or something newer is live, 1 failed, 2 usage or configuration, 3\n"
        "see --exit-code, 4 nothing (or not all) is there, 5 refused or held, 75 try later.\n",
    .run = run,
};
