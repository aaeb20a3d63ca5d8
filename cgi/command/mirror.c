#include "cgi/command.h"

#include "cgi/command/job_decide.h"
#include "cgi/copy_print.h"
#include "cgi/progress.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/mirror.h"
#include "core/os/fs.h"

#include <unistd.h>

#define LIST_DEFAULT ".slipway.yaml"

struct mirror_flags {
    struct job_flags job;
    const char *name;
    int64_t rate_min;
    bool prune;
};

static int read_list(const char *path, bool implied, struct imagefile_mirrors *items,
                     struct arena *a)
{
    struct err err = ERR_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_BYTES);
    struct strbuf found CLEANUP_STRBUF = STRBUF_INIT(KIB(256));
    struct diags diags = {.arena = a};
    int rc =
        str_eq(path, "-") ? fs_read_fd(STDIN_FILENO, &text, &err) : fs_read_file(path, &text, &err);
    if (rc < 0) {
        err.kind = ERR_CONFIG;
        if (implied)
            return command_usage(&command_mirror, "%s; name a list: slipway mirror FILE", err.text);
        return command_failed(&err);
    }
    bool good = mirror_parse(path, text.buf, text.len, items, &diags);
    diag_format(&diags, &found);
    (void)fputs(found.buf, stderr);
    return good ? EXIT_DONE : EXIT_USAGE;
}

/* Whoever runs this by hand may name any registry: all hosts of the list are known. */
static void add_hosts(const struct imagefile_mirrors *items, struct str_list *hosts,
                      struct arena *a)
{
    struct imageref ref;
    list_each (const struct imagefile_mirror, m, items) {
        if (imageref_parse(m->src_repository, NULL, a, &ref, NULL) == 0)
            *list_push(a, hosts) = ref.host;
        for (size_t i = 0; i < m->dest_repositories.n; i++)
            if (imageref_parse(m->dest_repositories.at[i], m->dest_registry, a, &ref, NULL) == 0)
                *list_push(a, hosts) = ref.host;
    }
}

static bool knows_registry(const void *ctx, const char *host)
{
    return registry_knows(ctx, host);
}

static void print_json(const struct mirror_result *r, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *rows = js_array(), *count = js_object();
    list_each (const struct mirror_row, row, r) {
        struct js *o = js_object();
        js_put_str(o, "state", mirror_state_name(row->state));
        js_put_str(o, "source", row->source);
        js_put_str(o, "target", row->target);
        js_put_str(o, "digest", row->digest);
        js_put_int(o, "bytes_moved", row->bytes_moved);
        js_put_str(o, "reason", row->reason);
        if (row->state == MIRROR_FAILED)
            js_put_bool(o, "temporary", row->temporary);
        js_push(rows, o);
    }
    for (int s = 0; s < MIRROR__MAX; s++)
        js_put_int(count, mirror_state_name((enum mirror_state)s), (int64_t)r->count[s]);
    js_put_int(doc, "schema", 1);
    js_put(doc, "count", count);
    js_put(doc, "rows", rows);
    (void)printf("%s\n", js_pretty(doc, a));
}

static const char *reason_of(const struct mirror_row *row, struct arena *a)
{
    const char *shown = row->target ? row->target : row->source;
    const char *host = shown ? arena_strndup(a, shown, strcspn(shown, "/")) : NULL;
    return str_printable(a, copy_reason(row->reason, shown, host, a));
}

/* Copies have been shown as they ended, unless that was to be quiet. */
static void print_text(const struct mirror_result *r, const struct mirror_flags *f, struct arena *a)
{
    list_each (const struct mirror_row, row, r) {
        bool told = row->watched && !f->job.quiet;
        if (told || row->state == MIRROR_SAME || row->state == MIRROR_COPIED)
            continue;
        (void)fprintf(stderr, STATE_COLUMN "%s%s%s\n", mirror_state_name(row->state),
                      row->target   ? row->target
                      : row->source ? row->source
                                    : "-",
                      row->reason ? ": " : "", row->reason ? reason_of(row, a) : "");
    }
    for (int s = 0, shown = 0; s < MIRROR__MAX; s++)
        if (r->count[s])
            (void)printf("%s%zu %s", shown++ ? ", " : "", r->count[s],
                         mirror_state_name((enum mirror_state)s));
    (void)printf("%s\n", r->n ? "" : "nothing to mirror");
}

static int exit_code(const struct mirror_result *r, const struct mirror_flags *f)
{
    bool only_temporary = true;
    list_each (const struct mirror_row, row, r)
        if (row->state == MIRROR_FAILED && !row->temporary)
            only_temporary = false;
    if (r->count[MIRROR_FAILED])
        return only_temporary ? EXIT_TRY_LATER : EXIT_FAILED;
    bool pending = r->count[MIRROR_WOULD_COPY] || r->count[MIRROR_WOULD_PRUNE];
    return f->job.exit_code && pending ? EXIT_CHANGES : EXIT_DONE;
}

static int mirror_all(const struct by_hand *b, const struct mirror_flags *f, struct store *store,
                      const struct mirror_rules *rules, const struct mirror_entries *entries,
                      const atomic_bool *stop, struct arena *a)
{
    struct mirror_result result;
    struct mirror_opts opts = {
        .registry = b->registry,
        .rules = *rules,
        .store = store,
        .prune = f->prune,
        .may_prune = true,
        .dry_run = f->job.dry_run,
        .rate_min = f->rate_min,
        .timeout_s = f->job.timeout_s,
        .stop = stop,
    };
    bool json = str_eq(f->job.format, "json");
    struct progress *progress = progress_new(stderr, 0, f->job.quiet || json);
    opts.watch = progress_watch(progress);
    if (!f->job.dry_run && !f->job.quiet && entries->n)
        by_hand_say_unfenced(b, &command_mirror);
    mirror_run(&opts, entries, a, &result);
    progress_free(progress);
    if (json)
        print_json(&result, a);
    else
        print_text(&result, f, a);
    return exit_code(&result, f);
}

/* Whoever may use the service's store asks it whose the tags are. */
static int open_store(const struct by_hand *b, struct store **store, struct err *err)
{
    const char *path =
        b->settings && b->settings->store ? str_after(b->settings->store, "sqlite:") : NULL;
    *store = NULL;
    if (!path || access(path, R_OK | W_OK) != 0)
        return 0;
    const struct store_opts opts = {.url = b->settings->store};
    return store_open(&opts, store, err);
}

static int run_entries(const struct by_hand *b, const struct mirror_flags *f,
                       const struct mirror_rules *rules, const struct mirror_entries *entries,
                       const atomic_bool *stop, struct arena *a)
{
    struct err err = ERR_INIT;
    struct store *store;
    if (open_store(b, &store, &err) < 0)
        return command_failed(&err);
    int code = mirror_all(b, f, store, rules, entries, stop, a);
    if (store)
        store_close(store);
    return code;
}

static int run_list(const struct by_hand *b, const struct mirror_flags *f,
                    const struct imagefile_mirrors *items, struct arena *a)
{
    struct diags refused = {.arena = a};
    struct strbuf found CLEANUP_STRBUF = STRBUF_INIT(KIB(256));
    struct mirror_entries entries = {0};
    const struct mirror_rules rules = {.knows_registry = knows_registry, .ctx = b->registry};
    mirror_resolve(items, &rules, &entries, &refused);
    diag_format(&refused, &found);
    (void)fputs(found.buf, stderr);
    return refused.errors ? EXIT_USAGE : run_entries(b, f, &rules, &entries, NULL, a);
}

/* ---- as a job of a project ------------------------------------------------------------------- */

static bool is_job(const struct job_flags *f)
{
    const char *const said[] = {f->project, f->change, f->branch, f->tag, f->commit, f->pipeline};
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (said[i])
            return true;
    return !str_eq(f->source, ".") || !str_eq(f->file, IMAGEFILE_NAME);
}

/* What mirror-container-images would do there, within the operator's policy where there is one. */
static int run_job(const struct mirror_flags *f, struct arena *a)
{
    struct job j;
    int code = job_open(&j, &command_mirror, &f->job, JOB_MIRROR, NULL, a);
    if (code != EXIT_DONE)
        return code;
    const struct mirror_rules rules = {.policy = j.has_policy ? &j.entry : NULL,
                                       .knows_registry = knows_registry,
                                       .ctx = j.hand.registry};
    if (j.plan.mirrors.n && j.plan.verdict == PLAN_GO && !j.plan.shadow)
        code = run_entries(&j.hand, f, &rules, &j.plan.mirrors, &j.stopping.stop, a);
    else
        (void)job_is_decided(&j, &code);
    job_close(&j);
    return code;
}

/* ---- a list by itself ------------------------------------------------------------------------ */

/* The list of that name in the configuration, NULL after saying that there is none. */
static const struct mirror_conf *configured(const struct by_hand *b, const char *name)
{
    if (b->settings)
        list_each (const struct mirror_conf, conf, &b->settings->mirrors)
            if (str_eq(conf->name, name))
                return conf;
    (void)command_usage(&command_mirror,
                        b->settings ? "the configuration has no list '%.80s' under `mirrors`"
                                    : "there is no configuration that could have a list '%.80s'; "
                                      "name it with --config",
                        name);
    return NULL;
}

/* path NULL: none was named. */
static int mirror(struct mirror_flags *f, const char *path, struct arena *a)
{
    struct imagefile_mirrors items = {0};
    struct str_list hosts = {0};
    struct by_hand b;
    int code = f->name ? EXIT_DONE : read_list(path ? path : LIST_DEFAULT, !path, &items, a);
    if (code != EXIT_DONE)
        return code;
    add_hosts(&items, &hosts, a);
    code = by_hand_setup(&b, &f->job.by_hand, &hosts, a);
    if (code != EXIT_DONE)
        return code;
    const struct mirror_conf *conf = f->name ? configured(&b, f->name) : NULL;
    if (conf) {
        items = conf->items;
        f->prune = f->prune || conf->prune;
        f->rate_min = f->rate_min ? f->rate_min : conf->rate_min;
        f->job.timeout_s = f->job.timeout_s ? f->job.timeout_s : conf->timeout_s;
    }
    code = f->name && !conf ? EXIT_USAGE : run_list(&b, f, &items, a);
    by_hand_release(&b);
    return code;
}

static int check_flags(const struct mirror_flags *f, int positional)
{
    if (positional > 1 || (positional && f->name))
        return command_usage(&command_mirror, "it takes one list: a file, or --name");
    if (is_job(&f->job) && (positional || f->name))
        return command_usage(&command_mirror,
                             "a list by itself is of no project: leave out --project, --pipeline "
                             "and the like, or the list");
    return job_flags_check(&command_mirror, &f->job, 0);
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct mirror_flags f = {.job = JOB_FLAGS_INIT};
    const struct flag flags[] = {
        JOB_FLAGS(f.job),
        {"name", 0, FLAG_STR, &f.name},
        {"prune", 0, FLAG_BOOL, &f.prune},
        {"rate-min", 0, FLAG_INT, &f.rate_min},
    };
    int positional;
    int code = flags_parse(&command_mirror, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = check_flags(&f, positional);
    if (code >= 0)
        return code;
    return is_job(&f.job) ? run_job(&f, &a) : mirror(&f, positional ? argv[1] : NULL, &a);
}

const struct command command_mirror = {
    .name = "mirror",
    .summary = "copy a list of images between registries, as far as they differ",
    .help =
        "Examples:\n"
        "  slipway mirror                        # the list in .slipway.yaml, here\n"
        "  slipway mirror --dry-run --exit-code images.yaml\n"
        "  slipway mirror --prune --format json images.yaml\n"
        "  slipway mirror --name upstream        # a list of the service's configuration\n"
        "  slipway mirror --project team/app --tag v1.2.3    # the project's job, in its CI\n"
        "\n"
        "The list is mirror_container_images_images; each item has src_repository, src_tag (a\n"
        "tag or digest) or src_tags (tags, globs, ^regex$, semver:>=1.2 <2) with skip_tags,\n"
        "dest_repository (one or several), dest_registry, dest_tag, platforms, prune and\n"
        "companions. What the target shows already costs one HEAD on each side. A failure does\n"
        "not stop the others.\n"
        "\n"
        "With one of the flags from --project to --source it runs what the list's pipelines\n"
        "name as mirror-container-images there, as the service would.\n"
        "\n"
        "Tags that Slipway publishes, or that are pinned, are left as they are where the store\n"
        "of the configuration can be asked.\n"
        "\n" BY_HAND_UNFENCED "Flags:\n" BY_HAND_HELP JOB_HELP
        "      --name NAME          this list of the configuration's `mirrors`\n"
        "      --prune              take tags away at the target that src_tags mean and the\n"
        "                           source no longer has (see --dry-run first)\n"
        "      --timeout TIME       end after so long, as 90s, 10m or 2h; default: 6h. What is\n"
        "                           there by then stays, and the next run goes on\n"
        "      --rate-min N         leave a source alone that says it has fewer requests "
        "left\n" JOB_TAIL_HELP "\n"
        "Exit status: 0 done, 1 some failed, 2 usage or configuration, 3 see --exit-code, 75\n"
        "some failed and may go well later.\n",
    .run = run,
};
