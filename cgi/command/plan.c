#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/intake.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <unistd.h>

struct plan_flags {
    const char *config, *forge, *project, *change, *patchset, *branch, *tag, *commit, *staged;
    const char *list, *format;
    struct flag_values headers;
    bool exit_code;
};

/* "Name: value" into the request; false when there is no colon. */
static bool add_header(struct arena *a, struct http_req *req, const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon || colon == line)
        return false;
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strcspn(value, "\r");
    http_header_add(a, &req->headers, arena_strndup(a, line, (size_t)(colon - line)),
                    arena_strndup(a, value, len));
    return true;
}

/* A saved webhook is a body, or header lines, an empty line and the body. */
static void split_saved(struct arena *a, const struct strbuf *text, struct http_req *req)
{
    const char *p = text->buf;
    size_t left = text->len;
    const char *first = p + strspn(p, " \t\r\n");
    if (*first != '{' && *first != '[') {
        while (left) {
            const char *end = memchr(p, '\n', left);
            size_t len = end ? (size_t)(end - p) : left;
            bool blank = len == 0 || (len == 1 && *p == '\r');
            (void)add_header(a, req, arena_strndup(a, p, len));
            p += len + (end != NULL);
            left -= len + (end != NULL);
            if (blank)
                break;
        }
    }
    req->body = p;
    req->body_len = left;
}

static int read_saved(const char *path, struct strbuf *text, struct err *err)
{
    return str_eq(path, "-") ? fs_read_fd(STDIN_FILENO, text, err) : fs_read_file(path, text, err);
}

static int events_of_file(const struct engine *e, const struct plan_flags *f, const char *path,
                          struct strbuf *text, struct arena *a, struct event_list *events,
                          struct err *err)
{
    const struct forge_conf *conf = engine_forge(e, f->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    struct http_req req = {.method = "POST", .url = "/", .query = ""};
    const char *ignored = NULL;
    if (!forge)
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured", f->forge);
    if (read_saved(path, text, err) < 0)
        return -1;
    split_saved(a, text, &req);
    for (size_t i = 0; i < f->headers.n; i++)
        if (!add_header(a, &req, f->headers.at[i]))
            return err_set(err, ERR_CONFIG, 0, "--header '%s': write 'Name: value'",
                           f->headers.at[i]);
    if (forge->parse(conf, &req, a, events, &ignored, err) < 0)
        return err_wrap(err, "%s", path);
    if (events->n == 0)
        (void)fprintf(stderr, "slipway plan: %s is ignored: %s\n", path,
                      ignored ? ignored : "it says nothing that Slipway acts on");
    return 0;
}

static int event_by_hand(const struct engine *e, const struct plan_flags *f, struct arena *a,
                         struct event_list *events, struct err *err)
{
    if (!engine_forge(e, f->forge))
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured", f->forge);
    struct event *event = list_push(a, events);
    *event = (struct event){
        .kind = f->tag ? EVENT_TAG : EVENT_MERGED,
        .forge = f->forge,
        .project = f->project,
        .branch = f->tag ? NULL : f->branch,
        .tag = f->tag,
        .change = f->tag ? NULL : f->change,
        .patchset = f->patchset,
        .order_commit = f->commit,
        .list_commit = f->commit,
        .staged_commit = f->staged ? f->staged : f->commit,
    };
    if (event_validate(event, err) == 0)
        return 0;
    err->kind = ERR_CONFIG;
    return -1;
}

/* --list: the image list lies in a file here, nobody is asked. */
static int plan_with_list(const struct engine *e, const struct plan_flags *f,
                          const struct event *event, struct arena *a, struct plan *plan)
{
    struct err err = ERR_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_BYTES);
    struct diags diags = {.arena = a};
    if (fs_read_file(f->list, &text, &err) < 0)
        return command_failed(&err);
    const struct imagefile *file = imagefile_parse(f->list, text.buf, text.len, &diags);
    struct strbuf found CLEANUP_STRBUF = STRBUF_INIT(KIB(256));
    diag_format(&diags, &found);
    (void)fputs(found.buf, stderr);
    if (!file)
        return EXIT_USAGE;
    struct plan_input in = {.event = event,
                            .file = file,
                            .policy = policy_find(e->policy, event->forge, event->project),
                            .default_branch = event->default_branch,
                            .now_s = clock_now_ms() / 1000,
                            .knows_registry = engine_knows_registry,
                            .ctx = e->registry};
    plan_make(&in, a, plan);
    return EXIT_DONE;
}

static int show(const struct plan_flags *f, const struct plan *plan, const struct event *event,
                struct arena *a)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    if (str_eq(f->format, "json"))
        (void)puts(plan_to_json(plan, event, a));
    else
        plan_print(plan, event, &text);
    (void)fputs(text.buf, stdout);
    if (plan->verdict == PLAN_REFUSED)
        return EXIT_DENIED;
    return plan->verdict == PLAN_GO && f->exit_code ? EXIT_CHANGES : EXIT_DONE;
}

static int plan_events(const struct engine *e, const struct plan_flags *f,
                       struct event_list *events, struct arena *a)
{
    int worst = EXIT_DONE;
    list_each (struct event, event, events) {
        struct err err = ERR_INIT;
        struct plan plan = {0};
        int code = EXIT_DONE;
        if (f->list)
            code = plan_with_list(e, f, event, a, &plan);
        else if (intake_plan(e, event, a, &plan, &err) < 0)
            code = command_failed(&err);
        if (code == EXIT_DONE)
            code = show(f, &plan, event, a);
        if (code != EXIT_DONE)
            worst = code;
    }
    return worst;
}

static int check_flags(const struct plan_flags *f, int positional)
{
    if (!str_eq(f->format, "text") && !str_eq(f->format, "json"))
        return command_usage(&command_plan, "--format is text or json, not '%s'", f->format);
    if (!f->forge)
        return command_usage(&command_plan, "--forge NAME says which configured forge it is from");
    if (positional > 1)
        return command_usage(&command_plan, "one saved webhook at a time");
    if (!positional && (!f->project || !f->commit || (!f->change && !f->tag)))
        return command_usage(&command_plan,
                             "give a saved webhook, or --project, --commit and --change or --tag");
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    struct plan_flags f = {.format = "text", .branch = "main"};
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &f.config},
        {"forge", 0, FLAG_STR, &f.forge},
        {"project", 0, FLAG_STR, &f.project},
        {"change", 0, FLAG_STR, &f.change},
        {"patchset", 0, FLAG_STR, &f.patchset},
        {"branch", 0, FLAG_STR, &f.branch},
        {"tag", 0, FLAG_STR, &f.tag},
        {"commit", 0, FLAG_STR, &f.commit},
        {"staged-commit", 0, FLAG_STR, &f.staged},
        {"list", 0, FLAG_STR, &f.list},
        {"header", 'H', FLAG_LIST, &f.headers},
        {"format", 0, FLAG_STR, &f.format},
        {"exit-code", 0, FLAG_BOOL, &f.exit_code},
    };
    int positional;
    int code = flags_parse(&command_plan, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    code = check_flags(&f, positional);
    if (code != EXIT_DONE)
        return code;

    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BODY_MAX);
    struct event_list events = {0};
    struct engine engine;
    struct err err = ERR_INIT;
    const struct settings *s = settings_for_command(f.config, SETTINGS_WORK, &a);
    if (!s)
        return EXIT_USAGE;
    if (engine_setup(&engine, s, false, &err) < 0 ||
        (positional ? events_of_file(&engine, &f, argv[1], &text, &a, &events, &err)
                    : event_by_hand(&engine, &f, &a, &events, &err)) < 0)
        code = command_failed(&err);
    else
        code = plan_events(&engine, &f, &events, &a);
    engine_teardown(&engine);
    settings_free(s);
    return code;
}

const struct command command_plan = {
    .name = "plan",
    .summary = "show what a webhook, or a change, would publish; writes nothing",
    .help =
        "Examples:\n"
        "  slipway plan --forge hub --project team/app --change 7 --commit 1f2e3d...\n"
        "  slipway plan --forge hub --header 'X-GitHub-Event: pull_request' merged.json\n"
        "  slipway plan --forge hub --project team/app --change 7 --commit 1f2e3d... \\\n"
        "      --list .slipway.yaml --format json\n"
        "\n"
        "Reads the image list at the commit (or from --list) and prints what would be promoted\n"
        "from where to where, what is left out and why, what policy refuses, and what would be\n"
        "cleaned up. A saved webhook is a body, or header lines, an empty line and the body;\n"
        "'-' is standard input.\n"
        "\n"
        "Flags:\n"
        "  -c, --config FILE        default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
        "      --forge NAME         the configured forge it comes from\n"
        "      --project NAME       full name in the forge, such as team/app\n"
        "      --change N           the merged change, pull or merge request\n"
        "      --patchset N\n"
        "      --branch NAME        default: main\n"
        "      --tag NAME           a pushed git tag, instead of a change\n"
        "      --commit SHA         the merged or tagged commit\n"
        "      --staged-commit SHA  what the gate built, where it differs\n"
        "      --list FILE          this image list instead of the one at the commit\n"
        "  -H, --header 'N: V'      a header of the saved webhook; may be repeated\n"
        "      --format text|json\n"
        "      --exit-code          end with 3 when there is something to publish\n"
        "\n"
        "Exit status: 0 planned, 2 usage or configuration, 3 see --exit-code, 5 refused by\n"
        "policy, 75 a forge could not be asked.\n",
    .run = run,
};
