#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "cgi/copy_print.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/sweep.h"
#include "core/engine/sweep.h"
#include "core/lib/json.h"

#include <inttypes.h>
#include <unistd.h>

struct gc {
    const char *config, *format, *older_than;
    struct sweep_opts opts;
    bool exit_code;
    struct arena *a;
};

/* ---- what it shows --------------------------------------------------------------------------- */

static const char *row_name(const struct sweep_row *row, struct arena *a)
{
    return row->tag ? arena_printf(a, "%s:%s", row->repository, row->tag) : row->repository;
}

static struct js *row_js(const struct sweep_row *row)
{
    struct js *o = js_object();
    js_put_str(o, "state", sweep_state_name(row->state));
    js_put_str(o, "repository", row->repository);
    js_put_str(o, "tag", row->tag);
    js_put_str(o, "digest", row->digest);
    js_put_str(o, "change", row->change);
    js_put_str(o, "project", row->project);
    if (row->age_s >= 0) {
        js_put_int(o, "age_s", row->age_s);
        js_put_str(o, "age_of", row->age_of);
    }
    js_put_str(o, "reason", row->reason);
    if (row->unsure)
        js_put_bool(o, "unsure", true);
    if (row->unsure || row->state == SWEEP_FAILED)
        js_put_bool(o, "temporary", row->temporary);
    return o;
}

static void print_json(const struct sweep_result *r, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *rows = js_array(), *count = js_object();
    list_each (const struct sweep_row, row, r)
        js_push(rows, row_js(row));
    for (int s = 0; s < SWEEP__MAX; s++)
        js_put_int(count, sweep_state_name((enum sweep_state)s), (int64_t)r->count[s]);
    js_put_int(doc, "schema", 1);
    js_put(doc, "count", count);
    js_put(doc, "rows", rows);
    (void)printf("%s\n", js_pretty(doc, a));
}

static void print_text(const struct sweep_result *r, struct arena *a)
{
    size_t width = 0;
    bool any = false;
    list_each (const struct sweep_row, row, r) {
        size_t len = strlen(row_name(row, a));
        width = len > width ? len : width;
    }
    list_each (const struct sweep_row, row, r)
        (void)printf(STATE_COLUMN "%-*s  %-10s  %s\n", sweep_state_name(row->state), (int)width,
                     str_printable(a, row_name(row, a)),
                     row->age_s < 0 ? "-" : sweep_show_age(row->age_s, a),
                     str_printable(a, row->reason));
    for (int s = 0; s < SWEEP__MAX; s++)
        if (r->count[s]) {
            (void)printf("%s%zu %s", any ? ", " : "", r->count[s],
                         sweep_state_name((enum sweep_state)s));
            any = true;
        }
    (void)printf("%s\n", any ? "" : "there are no staged tags");
}

/* ---- what it does ---------------------------------------------------------------------------- */

static int exit_code(const struct gc *gc, const struct sweep_result *r)
{
    if (r->permanent)
        return EXIT_FAILED;
    if (r->temporary)
        return EXIT_TRY_LATER;
    return gc->exit_code && r->count[SWEEP_WOULD_REMOVE] ? EXIT_CHANGES : EXIT_DONE;
}

static int add_named(const struct gc *gc, const struct engine *e, const char *text,
                     struct str_list *out)
{
    struct err err = ERR_INIT;
    struct imageref_place place;
    if (imageref_parse_transport(text, NULL, gc->a, &place, &err) < 0)
        return command_failed(&err);
    if (place.kind != IMAGEREF_REGISTRY)
        return command_usage(&command_gc, "'%.200s': name a repository of a registry", text);
    const struct imageref ref = place.ref;
    if (ref.tag || ref.digest)
        return command_usage(&command_gc, "'%.200s': name a repository, without tag or digest",
                             text);
    const char *repository = imageref_repository(&ref, gc->a);
    if (!registry_knows(e->registry, ref.host))
        return command_usage(&command_gc, "'%.200s': no registry of that name is configured", text);
    if (!sweep_concerns(e, &gc->opts, repository)) {
        (void)fprintf(stderr,
                      "slipway gc: %s: none of the projects that are asked for may publish there\n",
                      str_printable(gc->a, repository));
        return EXIT_DENIED;
    }
    if (!str_in(repository, out))
        *list_push(gc->a, out) = repository;
    return EXIT_DONE;
}

/* What the store knows and this configuration still has. */
static int add_known(const struct gc *gc, const struct engine *e, struct str_list *out)
{
    struct err err = ERR_INIT;
    struct str_list all;
    if (store_repositories(e->store, gc->a, &all, &err) < 0)
        return command_failed(&err);
    for (size_t i = 0; i < all.n; i++) {
        const char *slash = strchr(all.at[i], '/');
        const char *host =
            slash ? arena_strndup(gc->a, all.at[i], (size_t)(slash - all.at[i])) : "";
        if (registry_knows(e->registry, host) && sweep_concerns(e, &gc->opts, all.at[i]))
            *list_push(gc->a, out) = all.at[i];
    }
    return EXIT_DONE;
}

static int sweep(const struct gc *gc, const struct engine *e, int n, char **names)
{
    struct str_list repositories = {0};
    struct sweep_result result;
    int code = n ? EXIT_DONE : add_known(gc, e, &repositories);
    for (int i = 0; i < n && code == EXIT_DONE; i++)
        code = add_named(gc, e, names[i], &repositories);
    if (code != EXIT_DONE)
        return code;
    if (!repositories.n && (gc->opts.forge || gc->opts.project)) {
        (void)fprintf(stderr, "slipway gc: no repository that the store knows is published to by "
                              "it\n");
        return EXIT_NOT_FOUND;
    }
    sweep_run(e, &gc->opts, &repositories, gc->a, &result);
    if (str_eq(gc->format, "json"))
        print_json(&result, gc->a);
    else
        print_text(&result, gc->a);
    code = exit_code(gc, &result);
    return fflush(stdout) != 0 && code == EXIT_DONE ? EXIT_FAILED : code;
}

static int gc_with_settings(const struct gc *gc, int n, char **names)
{
    struct err err = ERR_INIT;
    struct engine e;
    const struct settings *s = settings_for_command(gc->config, SETTINGS_WORK, gc->a);
    if (!s && access(command_config_path(gc->config), R_OK) != 0)
        return command_usage(&command_gc,
                             "it needs the service's configuration: name it with --config");
    if (!s)
        return EXIT_USAGE;
    int code;
    if (gc->opts.forge && !settings_forge(s, gc->opts.forge)) {
        code = command_usage(&command_gc, "there is no forge '%.80s'", gc->opts.forge);
    } else if (engine_setup_beside(&e, s, &err) < 0) {
        code = command_failed(&err);
    } else {
        code = sweep(gc, &e, n, names);
        engine_teardown(&e);
    }
    settings_free(s);
    return code;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct gc gc = {.format = "text", .opts = {.older_than_s = -1}, .a = &a};
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &gc.config},         {"forge", 0, FLAG_STR, &gc.opts.forge},
        {"project", 0, FLAG_STR, &gc.opts.project},    {"older-than", 0, FLAG_STR, &gc.older_than},
        {"dry-run", 'n', FLAG_BOOL, &gc.opts.dry_run}, {"exit-code", 0, FLAG_BOOL, &gc.exit_code},
        {"format", 0, FLAG_STR, &gc.format},
    };
    int positional;
    int code = flags_parse(&command_gc, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (!str_eq(gc.format, "text") && !str_eq(gc.format, "json"))
        return command_usage(&command_gc, "--format is text or json, not \"%s\"", gc.format);
    if (gc.exit_code && !gc.opts.dry_run)
        return command_usage(&command_gc, "--exit-code goes with --dry-run");
    if (gc.older_than && !sweep_parse_age(gc.older_than, &gc.opts.older_than_s))
        return command_usage(
            &command_gc, "--older-than is a time like 90s, 10m, 2h or 14d, or never, not \"%.40s\"",
            gc.older_than);
    return gc_with_settings(&gc, positional, argv + 1);
}

const struct command command_gc = {
    .name = "gc",
    .summary = "remove staged tags that nobody needs any more",
    .help =
        "Examples:\n"
        "  slipway gc --dry-run\n"
        "  slipway gc registry.example.org/team/app\n"
        "  slipway gc --project team/app --older-than 30d\n"
        "  slipway gc --format json\n"
        "\n"
        "Looks for tags like change_1234_latest in these repositories; without one in all that\n"
        "the store knows. Such a tag goes when the forge says that its change was closed without\n"
        "merging, or has merged and is promoted or superseded. Where no forge can be asked it\n"
        "goes by age. What runs left in an intermediate registry goes alike, as far as it is\n"
        "recorded. Only the tag goes, and only while it shows what was judged. A running\n"
        "`work` does the same for the repositories that it publishes to, once an hour at most.\n"
        "\n"
        "Flags:\n"
        "  -c, --config FILE        default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
        "      --older-than AGE     14d, 36h, or never (also 0): instead of the projects'\n"
        "                           sweep_after, for tags that no forge can be asked about\n"
        "      --forge NAME         only tags that may belong to a project of this forge,\n"
        "      --project NAME       or to this project\n"
        "  -n, --dry-run            look and say what would be done, remove nothing\n"
        "      --exit-code          with --dry-run: end with 3 when something would be removed\n"
        "      --format text|json\n"
        "\n"
        "States: removed, would-remove, kept, left (its registry has no safe way), failed.\n"
        "Exit status: 0 done, 1 failed or refused, 2 usage or configuration, 3 see --exit-code,\n"
        "4 and 5 no such project may publish there, 75 somebody could not be asked: try later.\n",
    .run = run,
};
