#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/forge/forge.h"
#include "core/lib/http.h"
#include "core/os/clock.h"

struct hook_flags {
    const char *config, *forge, *event, *url;
    const char *project, *change, *patchset, *branch, *tag, *commit, *staged, *tree, *run_id;
    struct flag_values images;
    bool dry_run;
};

static int read_image(const char *text, struct arena *a, struct event *e, struct err *err)
{
    struct imageref ref = {0};
    if (imageref_parse(text, NULL, a, &ref, err) < 0)
        return err_wrap(err, "--image");
    if (!ref.tag || !ref.digest)
        return err_set(err, ERR_CONFIG, 0, "--image '%s': write REPOSITORY:TAG@sha256:DIGEST",
                       text);
    struct event_image *image = list_push(a, &e->images);
    image->repository = imageref_repository(&ref, a);
    image->tag = ref.tag;
    image->digest = ref.digest;
    return 0;
}

/* The event that the flags describe; *ping when it is none. */
static int read_event(const struct hook_flags *f, struct arena *a, struct event *e, bool *ping,
                      struct err *err)
{
    *ping = str_eq(f->event, "ping");
    if (*ping)
        return 0;
    if (!event_kind_from_name(f->event, &e->kind))
        return err_set(err, ERR_CONFIG, 0,
                       "--event '%s' is unknown: merged, closed, opened, tag, tag-deleted, branch, "
                       "branch-deleted, staged or ping",
                       f->event);
    bool is_tag = e->kind == EVENT_TAG || e->kind == EVENT_TAG_DELETED;
    bool has_commit = e->kind != EVENT_TAG_DELETED && e->kind != EVENT_BRANCH_DELETED;
    e->forge = f->forge;
    e->project = f->project;
    e->branch = is_tag ? NULL : f->branch;
    e->tag = is_tag ? f->tag : NULL;
    e->change = f->change;
    e->patchset = f->patchset;
    if (has_commit) {
        e->list_commit = e->order_commit = f->commit;
        e->staged_commit = f->staged ? f->staged : f->commit;
    }
    e->tree = f->tree;
    e->run_id = f->run_id;
    for (size_t i = 0; i < f->images.n; i++)
        if (read_image(f->images.at[i], a, e, err) < 0)
            return -1;
    return event_validate(e, err);
}

/* What follows the source's name may be its secret. */
static const char *shown_path(const struct forge_conf *conf, const struct http_req *req,
                              struct arena *a)
{
    const char *plain = arena_printf(a, "/hooks/%s", conf->name);
    return str_eq(req->url, plain) ? plain : arena_printf(a, "%s/***", plain);
}

static int show(const struct forge_conf *conf, const char *base, const struct http_req *req,
                struct arena *a)
{
    (void)printf("%s %s%s\n", req->method, base, shown_path(conf, req, a));
    for (size_t i = 0; i < req->headers.n; i++)
        (void)printf("%s: %s\n", req->headers.at[i].name, req->headers.at[i].value);
    (void)printf("\n%.*s\n", (int)req->body_len, (const char *)req->body);
    return EXIT_DONE;
}

static int exit_code_of(int status)
{
    if (status >= 200 && status < 300)
        return EXIT_DONE;
    return status == 401 || status == 403 ? EXIT_DENIED
           : status == 503                ? EXIT_TRY_LATER
                                          : EXIT_FAILED;
}

static void free_client(struct http_client **client)
{
    if (*client)
        http_client_free(*client);
}

static int deliver(const char *base, const struct http_req *req, struct arena *a, struct err *err)
{
    struct http_client *client CLEANUP(free_client) =
        http_client_new(&(struct http_client_opts){0}, err);
    if (!client)
        return -1;
    struct http_call call = {.req = *req, .max_body = LIMIT_ERROR_BODY};
    call.req.url = arena_printf(a, "%s%s", base, req->url);
    if (http_do(client, a, &call, err) < 0)
        return -1;
    (void)printf("%d\n", call.resp.status);
    if (call.resp.body_len)
        (void)fprintf(stderr, "slipway send-test-hook: the answer says: %.*s\n",
                      (int)strcspn(call.resp.body, "\r\n"), call.resp.body);
    return exit_code_of(call.resp.status);
}

/* --url, else the configured public_url, without a slash at its end. */
static const char *base_url(const struct hook_flags *f, const struct settings *s, struct arena *a,
                            struct err *err)
{
    const char *base = f->url ? f->url : s->public_url;
    if (!base || (!str_starts(base, "http://") && !str_starts(base, "https://"))) {
        (void)err_set(err, ERR_CONFIG, 0,
                      base ? "--url must start with http:// or https://"
                           : "the settings have no public_url: say --url "
                             "http://HOST[:PORT]/PATH");
        return NULL;
    }
    size_t len = strlen(base);
    while (len && base[len - 1] == '/')
        len--;
    return arena_strndup(a, base, len);
}

static int make_and_send(const struct hook_flags *f, const struct settings *s, struct arena *a,
                         struct err *err)
{
    const struct forge_conf *conf = settings_forge(s, f->forge);
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    struct event event = {0};
    struct http_req req = {0};
    bool ping;
    if (!forge)
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured", f->forge);
    const char *base = base_url(f, s, a, err);
    if (!base || read_event(f, a, &event, &ping, err) < 0)
        return -1;
    if (forge->sample(conf, ping ? NULL : &event, clock_now_ms() / 1000, a, &req, err) < 0)
        return -1;
    return f->dry_run ? show(conf, base, &req, a) : deliver(base, &req, a, err);
}

static int run(int argc, char **argv)
{
    struct hook_flags f = {.event = "merged", .branch = "main"};
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &f.config},
        {"forge", 0, FLAG_STR, &f.forge},
        {"event", 0, FLAG_STR, &f.event},
        {"url", 0, FLAG_STR, &f.url},
        {"project", 0, FLAG_STR, &f.project},
        {"change", 0, FLAG_STR, &f.change},
        {"patchset", 0, FLAG_STR, &f.patchset},
        {"branch", 0, FLAG_STR, &f.branch},
        {"tag", 0, FLAG_STR, &f.tag},
        {"commit", 0, FLAG_STR, &f.commit},
        {"staged-commit", 0, FLAG_STR, &f.staged},
        {"tree", 0, FLAG_STR, &f.tree},
        {"run-id", 0, FLAG_STR, &f.run_id},
        {"image", 0, FLAG_LIST, &f.images},
        {"dry-run", 'n', FLAG_BOOL, &f.dry_run},
    };
    int positional;
    int code =
        flags_parse(&command_send_test_hook, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_send_test_hook, "'%s' is not a flag", argv[1]);
    if (!f.forge)
        return command_usage(&command_send_test_hook,
                             "--forge NAME says which configured forge to play");
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const struct settings *s = settings_for_command(f.config, SETTINGS_SERVE, &a);
    if (!s)
        return EXIT_USAGE;
    code = make_and_send(&f, s, &a, &err);
    settings_free(s);
    if (code >= 0)
        return code;
    /* A Gerrit secret is part of the URL, and of messages that name it. */
    (void)log_redact(err.text);
    if (err.kind == ERR_INPUT)
        return command_usage(&command_send_test_hook, "%s", err.text);
    return command_failed(&err);
}

const struct command command_send_test_hook = {
    .name = "send-test-hook",
    .summary = "send a signed webhook, as a forge would",
    .help =
        "Examples:\n"
        "  slipway send-test-hook --forge hub --event ping --url http://127.0.0.1:8080/slipway\n"
        "  slipway send-test-hook --forge hub --project team/app --change 7 --commit 1f2e3d...\n"
        "  slipway send-test-hook --forge hub --event tag --project team/app --tag v1.0.0 \\\n"
        "      --commit 1f2e3d... --dry-run\n"
        "  slipway send-test-hook --forge review --event staged --project team/app --change 7 \\\n"
        "      --commit 1f2e3d... --image reg.example.org/team/app:change_7_latest@sha256:...\n"
        "\n"
        "Makes the request that the forge would send for the event, signs it with the forge's\n"
        "first configured hook secret, sends it and prints the status of the answer. An accepted\n"
        "event is worked on like any other: it may publish.\n"
        "\n"
        "Flags:\n"
        "  -c, --config FILE        default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
        "      --forge NAME         the configured forge to play\n"
        "      --event KIND         merged (default), closed, opened, tag, tag-deleted, branch,\n"
        "                           branch-deleted, staged or ping\n"
        "      --url URL            base of the service; default: public_url\n"
        "      --project NAME       full name in the forge, such as team/app\n"
        "      --change N           number of the change, pull or merge request\n"
        "      --patchset N\n"
        "      --branch NAME        default: main\n"
        "      --tag NAME\n"
        "      --commit SHA         the merged, tagged or built commit\n"
        "      --staged-commit SHA  what the gate built, where it differs\n"
        "      --tree SHA           staged: the git tree that was built\n"
        "      --run-id ID          staged: names the upload run\n"
        "      --image REF          staged: REPOSITORY:TAG@DIGEST; may be repeated\n"
        "  -n, --dry-run            print the request instead of sending it; a secret in the\n"
        "                           path is shown as ***\n"
        "\n"
        "Exit status: 0 accepted (2xx), 1 refused, 2 usage or configuration, 5 not proven\n"
        "(401, 403), 75 try later (503, or no connection).\n",
    .run = run,
};
