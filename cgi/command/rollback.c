#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "cgi/copy_print.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/engine/rollback.h"
#include "core/lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

enum { DIGEST_SHOWN = 19 }; /* "sha256:" and 12 digits */

struct rollback {
    const char *config, *format, *reason;
    bool hold, release, exit_code;
    struct rollback_opts opts;
    struct arena *a;
};

/* ---- what it shows --------------------------------------------------------------------------- */

static struct js *row_js(const struct rollback_row *row)
{
    struct js *o = js_object();
    js_put_str(o, "state", rollback_state_name(row->state));
    js_put_str(o, "target", row->target);
    js_put_str(o, "from", row->from);
    js_put_str(o, "to", row->to);
    js_put_str(o, "reason", row->reason);
    return o;
}

static void print_json(const struct rollback_result *r, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *rows = js_array(), *count = js_object();
    list_each (const struct rollback_row, row, r)
        js_push(rows, row_js(row));
    for (int s = 0; s < ROLLBACK__MAX; s++)
        js_put_int(count, rollback_state_name((enum rollback_state)s), (int64_t)r->count[s]);
    js_put_int(doc, "schema", 1);
    if (r->task) {
        js_put_int(doc, "task", r->task);
        js_put_str(doc, "task_state", task_state_name(r->state));
    }
    js_put(doc, "count", count);
    js_put(doc, "rows", rows);
    (void)printf("%s\n", js_pretty(doc, a));
}

static const char *digest(const char *full, struct arena *a)
{
    return full ? arena_strndup(a, full, DIGEST_SHOWN) : "absent";
}

static void print_text(const struct rollback_result *r, struct arena *a)
{
    size_t width = 0;
    bool any = false;
    list_each (const struct rollback_row, row, r)
        width = strlen(row->target) > width ? strlen(row->target) : width;
    list_each (const struct rollback_row, row, r)
        (void)printf(STATE_COLUMN "%-*s  %s -> %s%s%s\n", rollback_state_name(row->state),
                     (int)width, str_printable(a, row->target), digest(row->from, a),
                     digest(row->to, a), row->reason ? "  " : "",
                     row->reason ? str_printable(a, row->reason) : "");
    for (int s = 0; s < ROLLBACK__MAX; s++)
        if (r->count[s]) {
            (void)printf("%s%zu %s", any ? ", " : "", r->count[s],
                         rollback_state_name((enum rollback_state)s));
            any = true;
        }
    if (r->task)
        (void)printf("; task %" PRId64 " is %s", r->task, task_state_name(r->state));
    (void)printf("\n");
}

/* ---- what it does ---------------------------------------------------------------------------- */

static int exit_code(const struct rollback *f, const struct rollback_result *r)
{
    if (r->temporary)
        return EXIT_TRY_LATER;
    if (r->count[ROLLBACK_FAILED] || r->count[ROLLBACK_MISSING] || r->count[ROLLBACK_MOVED] ||
        r->count[ROLLBACK_ABSENT])
        return EXIT_FAILED;
    return f->exit_code && r->count[ROLLBACK_WOULD] ? EXIT_CHANGES : EXIT_DONE;
}

static int failed(const struct err *err)
{
    int code = command_failed(err);
    return err->kind == ERR_PERM && err->code == ENOENT ? EXIT_NOT_FOUND : code;
}

static int move(struct rollback *f, const struct engine *e)
{
    struct err err = ERR_INIT;
    struct rollback_result result;
    if (rollback_run(e, &f->opts, f->a, &result, &err) < 0)
        return failed(&err);
    if (str_eq(f->format, "json"))
        print_json(&result, f->a);
    else
        print_text(&result, f->a);
    return exit_code(f, &result);
}

static void print_released(const struct rollback *f, const struct str_list *released)
{
    if (str_eq(f->format, "json")) {
        struct js *doc CLEANUP_JS = js_object();
        struct js *rows = js_array();
        for (size_t i = 0; i < released->n; i++)
            js_push_str(rows, released->at[i]);
        js_put_int(doc, "schema", 1);
        js_put(doc, "released", rows);
        (void)printf("%s\n", js_pretty(doc, f->a));
        return;
    }
    for (size_t i = 0; i < released->n; i++)
        (void)printf(STATE_COLUMN "%s\n", "released", str_printable(f->a, released->at[i]));
    if (released->n)
        (void)fprintf(stderr, "What was held because of it goes on with `slipway queue release`; "
                              "see `slipway queue ls --state held`.\n");
}

static int let_go(const struct rollback *f, const struct engine *e)
{
    struct err err = ERR_INIT;
    struct str_list released = {0};
    if (rollback_release(e, f->opts.task, f->opts.ref, f->a, &released, &err) < 0)
        return failed(&err);
    print_released(f, &released);
    if (released.n)
        return EXIT_DONE;
    (void)fprintf(stderr, "slipway rollback: nothing of that is pinned\n");
    return EXIT_NOT_FOUND;
}

static int with_settings(struct rollback *f)
{
    struct err err = ERR_INIT;
    struct engine e;
    const struct settings *s = settings_for_command(f->config, SETTINGS_WORK, f->a);
    if (!s && access(command_config_path(f->config), R_OK) != 0)
        return command_usage(&command_rollback,
                             "it needs the service's configuration: name it with --config");
    if (!s)
        return EXIT_USAGE;
    int code;
    if (engine_setup_beside(&e, s, &err) < 0) {
        code = command_failed(&err);
    } else {
        code = f->release ? let_go(f, &e) : move(f, &e);
        engine_teardown(&e);
    }
    settings_free(s);
    return fflush(stdout) != 0 && code == EXIT_DONE ? EXIT_FAILED : code;
}

/* The number of a task, or a final tag. -1 to go on. */
static int take_subject(struct rollback *f, const char *text)
{
    struct err err = ERR_INIT;
    struct imageref_place place;
    if (str_to_i64(text, &f->opts.task))
        return f->opts.task > 0 ? -1
                                : command_usage(&command_rollback,
                                                "'%.40s' is no number of a task; see 'slipway "
                                                "queue ls'",
                                                text);
    f->opts.task = 0;
    if (imageref_parse_transport(text, NULL, f->a, &place, &err) < 0)
        return command_failed(&err);
    if (place.kind != IMAGEREF_REGISTRY || !place.ref.tag || place.ref.digest)
        return command_usage(&command_rollback,
                             "'%.200s': name a task, or a tag as registry.example.org/team/app:tag",
                             text);
    f->opts.ref = arena_printf(f->a, "%s:%s", imageref_repository(&place.ref, f->a), place.ref.tag);
    return -1;
}

static int check_flags(struct rollback *f, int positional)
{
    const struct command *cmd = &command_rollback;
    if (positional != 1)
        return command_usage(cmd, "name one task or one tag");
    if (!str_eq(f->format, "text") && !str_eq(f->format, "json"))
        return command_usage(cmd, "--format is text or json, not \"%s\"", f->format);
    if (f->exit_code && !f->opts.dry_run)
        return command_usage(cmd, "--exit-code goes with --dry-run");
    if (f->release && (f->hold || f->opts.dry_run))
        return command_usage(cmd, "--release lets a pin go: it goes with neither --hold nor "
                                  "--dry-run");
    if (f->reason && !f->hold)
        return command_usage(cmd, "--reason goes with --hold");
    if (f->reason && strlen(f->reason) > LIMIT_EVENT_TEXT)
        return command_usage(cmd, "--reason has more than %d bytes", LIMIT_EVENT_TEXT);
    return -1;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct rollback f = {.format = "text", .a = &a};
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &f.config},         {"hold", 0, FLAG_BOOL, &f.hold},
        {"reason", 0, FLAG_STR, &f.reason},           {"release", 0, FLAG_BOOL, &f.release},
        {"dry-run", 'n', FLAG_BOOL, &f.opts.dry_run}, {"exit-code", 0, FLAG_BOOL, &f.exit_code},
        {"format", 0, FLAG_STR, &f.format},
    };
    int positional;
    int code = flags_parse(&command_rollback, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = check_flags(&f, positional);
    if (code < 0)
        code = take_subject(&f, argv[1]);
    if (code >= 0)
        return code;
    if (f.hold)
        f.opts.hold = f.reason ? event_text(&a, f.reason) : "rolled back by an operator";
    log_set_level(LOG_LEVEL_WARN);
    return with_settings(&f);
}

const struct command command_rollback = {
    .name = "rollback",
    .summary = "put final tags back to what they showed before a task",
    .help =
        "Examples:\n"
        "  slipway rollback --dry-run 7           look first: what would go back, and to what?\n"
        "  slipway rollback 7                     all final tags that task 7 moved\n"
        "  slipway rollback registry.example.org/team/app:latest\n"
        "  slipway rollback --hold --reason 'broken login' 7\n"
        "  slipway rollback --release registry.example.org/team/app:latest\n"
        "\n"
        "Puts the digest back that each tag showed before a task (see 'slipway queue ls'), or\n"
        "before the task that moved it last. All that has to be there is looked for first,\n"
        "manifests and blobs; when something is missing nothing moves. What was moved since, and\n"
        "what did not exist before, is left and named. Whatever merges next moves the tags on,\n"
        "but no repeat of what was rolled back: for that there is 'slipway queue retry'. With\n"
        "--hold nothing moves them until --release. A running `work` does it, else this command.\n"
        "\n"
        "Flags:\n"
        "  -c, --config FILE        default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
        "      --hold               pin the tags where they are then\n"
        "      --reason TEXT        with --hold: why, shown to people\n"
        "      --release            let the pins go, move nothing\n"
        "  -n, --dry-run            look and say what would be done, write nothing\n"
        "      --exit-code          with --dry-run: end with 3 when something would go back\n"
        "      --format text|json\n"
        "\n"
        "States: reverted, would-revert, same, moved, absent, missing, failed.\n"
        "Exit status: 0 done, 1 something was left or failed, 2 usage or configuration, 3 see\n"
        "--exit-code, 4 there is no such task, tag or pin, 75 try later, or the task goes on.\n",
    .run = run,
};
