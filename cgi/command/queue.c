#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "cgi/command/queue_print.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/building.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/wake.h"

#include <inttypes.h>

#define LIMIT_DEFAULT 50

struct queue {
    const char *config, *store_url, *format, *state_name, *project, *reason;
    int64_t limit;
    bool all, ignored;
    enum task_state state;
    int64_t id;
    struct store *store;
    const char *builds; /* the builder's folder; NULL: the usual one */
    struct arena *a;
    struct queue_out out;
};

static int not_found(const char *what, int64_t id)
{
    (void)fprintf(stderr, "slipway queue: there is no %s %" PRId64 "\n", what, id);
    return EXIT_NOT_FOUND;
}

/* ---- ls ---- */

/* One page from `before` on into the output; the key of the next page, 0 at the end. */
static int page_of_tasks(struct queue *q, size_t max, int64_t *before, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct task_list list;
    if (store_tasks_list(q->store, q->state, q->project, *before, max, &a, &list, err))
        return -1;
    queue_tasks(&q->out, &list);
    *before = list.n == max ? list.at[list.n - 1].id : 0;
    return 0;
}

static int page_of_deliveries(struct queue *q, enum delivery_verdict verdict, size_t max,
                              int64_t *before, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct delivery_list list;
    if (store_deliveries_list(q->store, verdict, *before, max, &a, &list, err))
        return -1;
    queue_deliveries(&q->out, &list);
    *before = list.n == max ? list.at[list.n - 1].id : 0;
    return 0;
}

/* How many rows the next page may have. */
static size_t page_size(const struct queue *q)
{
    size_t left = q->all ? LIMIT_ROWS : (size_t)q->limit - q->out.rows;
    return left < LIMIT_ROWS ? left : LIMIT_ROWS;
}

static int list_tasks(struct queue *q)
{
    struct err err = ERR_INIT;
    int64_t before = 0;
    q->out.name = "tasks";
    queue_begin(&q->out);
    do {
        if (page_of_tasks(q, page_size(q), &before, &err))
            return command_failed(&err);
    } while (before && page_size(q));
    queue_end(&q->out);
    return EXIT_DONE;
}

static int list_ignored(struct queue *q)
{
    static const enum delivery_verdict verdicts[] = {DELIVERY_IGNORED, DELIVERY_MALFORMED};
    struct err err = ERR_INIT;
    q->out.name = "deliveries";
    queue_begin(&q->out);
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        int64_t before = 0;
        while (page_size(q)) {
            if (page_of_deliveries(q, verdicts[i], page_size(q), &before, &err))
                return command_failed(&err);
            if (!before)
                break;
        }
    }
    queue_end(&q->out);
    return EXIT_DONE;
}

static int do_ls(struct queue *q)
{
    return q->ignored ? list_ignored(q) : list_tasks(q);
}

static int do_cleanups(struct queue *q)
{
    struct err err = ERR_INIT;
    struct cleanup_list list;
    if (store_cleanups_list(q->store, q->a, &list, &err))
        return command_failed(&err);
    q->out.name = "cleanups";
    queue_begin(&q->out);
    queue_cleanups(&q->out, &list);
    queue_end(&q->out);
    return EXIT_DONE;
}

/* ---- show ---- */

static int read_detail(struct queue *q, struct queue_detail *d, struct err *err)
{
    struct cleanup_list all;
    if (store_task_get(q->store, q->id, q->a, &d->task, err))
        return -1;
    if (!d->task.id)
        return 0;
    if (d->task.delivery && store_delivery_get(q->store, d->task.delivery, q->a, &d->delivery, err))
        return -1;
    if (store_steps_get(q->store, q->id, q->a, &d->steps, err) ||
        store_cleanups_list(q->store, q->a, &all, err))
        return -1;
    list_each (const struct cleanup, c, &all)
        if (c->task == q->id)
            *list_push(q->a, &d->cleanups) = *c;
    return 0;
}

static int do_show(struct queue *q)
{
    struct err err = ERR_INIT;
    struct queue_detail detail = {0};
    if (read_detail(q, &detail, &err))
        return command_failed(&err);
    if (!detail.task.id)
        return not_found("task", q->id);
    queue_show(&q->out, &detail, q->a);
    return EXIT_DONE;
}

static int do_log(struct queue *q)
{
    struct err err = ERR_INIT;
    struct task task = {0};
    CLEANUP_STRBUF struct strbuf text = STRBUF_INIT(LIMIT_BUILD_LOG * 2);
    if (store_task_get(q->store, q->id, q->a, &task, &err) < 0)
        return command_failed(&err);
    if (!task.id)
        return not_found("task", q->id);
    const struct build_conf conf = {.dir = q->builds};
    if (fs_read_file(building_log(&conf, task.key, q->a), &text, &err) < 0) {
        (void)fprintf(stderr, "slipway queue: task %" PRId64 " has no log of a build: %s\n", q->id,
                      err.text);
        return EXIT_NOT_FOUND;
    }
    (void)fwrite(text.buf, 1, text.len, stdout);
    return EXIT_DONE;
}

/* ---- orders ---- */

static int report_change(struct queue *q, const char *what, const char *became)
{
    wake_send(store_wake_path(q->store, q->a));
    if (q->out.json)
        (void)printf("{\"version\":1,\"%s\":%" PRId64 ",\"state\":\"%s\"}\n", what, q->id, became);
    else
        (void)printf("%s %" PRId64 " is %s\n", what, q->id, became);
    return EXIT_DONE;
}

static int refuse(const struct queue *q, const struct task *t, const char *order)
{
    const char *hint = t->open_journal && t->state != TASK_RUNNING && t->state != TASK_UNDOING
                           ? " with steps that are not finished"
                           : "";
    (void)fprintf(stderr, "slipway queue: task %" PRId64 " is %s%s: it cannot be %s\n", q->id,
                  task_state_name(t->state), hint, order);
    return EXIT_FAILED;
}

/* The state is read first, for its words only: the store decides. */
static int give_order(struct queue *q, int (*order)(struct queue *q, bool *done, struct err *err),
                      const char *participle)
{
    struct err err = ERR_INIT;
    struct task t;
    bool done = false;
    if (store_task_get(q->store, q->id, q->a, &t, &err))
        return command_failed(&err);
    if (!t.id)
        return not_found("task", q->id);
    if (order(q, &done, &err))
        return command_failed(&err);
    if (!done)
        return refuse(q, &t, participle);
    if (store_task_get(q->store, q->id, q->a, &t, &err))
        return command_failed(&err);
    return report_change(q, "task", task_state_name(t.state));
}

static int retry(struct queue *q, bool *done, struct err *err)
{
    return store_task_retry(q->store, q->id, done, err);
}

static int hold(struct queue *q, bool *done, struct err *err)
{
    return store_task_hold(q->store, q->id, q->reason, done, err);
}

static int release(struct queue *q, bool *done, struct err *err)
{
    return store_task_release(q->store, q->id, done, err);
}

static int cancel(struct queue *q, bool *done, struct err *err)
{
    return store_task_cancel(q->store, q->id, q->reason, done, err);
}

static int retry_ignored(struct queue *q)
{
    struct err err = ERR_INIT;
    struct delivery d;
    bool done = false;
    if (store_delivery_get(q->store, q->id, q->a, &d, &err))
        return command_failed(&err);
    if (!d.id)
        return not_found("delivery", q->id);
    if (store_delivery_reopen(q->store, q->id, &done, &err))
        return command_failed(&err);
    if (done)
        return report_change(q, "delivery", "new");
    (void)fprintf(stderr, "slipway queue: delivery %" PRId64 " is %s: it was not ignored\n", q->id,
                  delivery_verdict_name(d.verdict));
    return EXIT_FAILED;
}

static int do_retry(struct queue *q)
{
    return q->ignored ? retry_ignored(q) : give_order(q, retry, "tried again");
}

static int do_hold(struct queue *q)
{
    return give_order(q, hold, "held");
}

static int do_release(struct queue *q)
{
    return give_order(q, release, "released");
}

static int do_cancel(struct queue *q)
{
    return give_order(q, cancel, "cancelled");
}

/* ---- the command ---- */

static const struct verb {
    const char *name;
    bool wants_id;
    int (*run)(struct queue *q);
} verbs[] = {
    {"ls", false, do_ls},        {"show", true, do_show},          {"log", true, do_log},
    {"retry", true, do_retry},   {"hold", true, do_hold},          {"release", true, do_release},
    {"cancel", true, do_cancel}, {"cleanups", false, do_cleanups},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eq(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

/* -1 to go on. */
static int check_words(struct queue *q, int argc, char **argv, const struct verb **verb)
{
    const struct command *cmd = &command_queue;
    if (argc == 0)
        return command_usage(cmd, "say what to do: ls, show, retry, hold, release, cancel or "
                                  "cleanups");
    *verb = find_verb(argv[0]);
    if (!*verb)
        return command_usage(cmd,
                             "'%s' is none of ls, show, log, retry, hold, release, cancel, "
                             "cleanups",
                             argv[0]);
    if (argc != ((*verb)->wants_id ? 2 : 1))
        return command_usage(cmd,
                             (*verb)->wants_id ? "'%s' wants one number of a task"
                                               : "'%s' takes no further words",
                             argv[0]);
    if ((*verb)->wants_id && (!str_to_i64(argv[1], &q->id) || q->id <= 0))
        return command_usage(cmd, "'%s' is no number of a task; see 'slipway queue ls'", argv[1]);
    if (!str_eq(q->format, "text") && !str_eq(q->format, "json"))
        return command_usage(cmd, "--format is text or json, not '%s'", q->format);
    if (q->state_name && !task_state_from_name(q->state_name, &q->state))
        return command_usage(cmd, "there is no state '%s'", q->state_name);
    if (q->limit < 1)
        return command_usage(cmd, "--limit must be at least 1");
    return -1;
}

static int queue_open(struct queue *q)
{
    struct err err = ERR_INIT;
    struct store_opts opts = {.url = q->store_url};
    const struct settings *settings = NULL;
    if (!opts.url) {
        settings = settings_for_command(q->config, SETTINGS_NONE, q->a);
        if (!settings)
            return EXIT_USAGE;
        opts.url = settings->store;
        q->builds = arena_strdup(q->a, settings->build.dir);
    }
    int rc = store_open(&opts, &q->store, &err);
    if (settings)
        settings_free(settings);
    return rc ? command_failed(&err) : EXIT_DONE;
}

static int run_queue(int argc, char **argv)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct queue q = {.format = "text", .limit = LIMIT_DEFAULT, .state = TASK__MAX, .a = &a};
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &q.config}, {"store", 0, FLAG_STR, &q.store_url},
        {"format", 0, FLAG_STR, &q.format},   {"state", 0, FLAG_STR, &q.state_name},
        {"project", 0, FLAG_STR, &q.project}, {"limit", 'n', FLAG_INT, &q.limit},
        {"all", 'a', FLAG_BOOL, &q.all},      {"ignored", 0, FLAG_BOOL, &q.ignored},
        {"reason", 0, FLAG_STR, &q.reason},
    };
    const struct verb *verb = NULL;
    int words = 0;
    int code = flags_parse(&command_queue, flags, ARRAY_LEN(flags), argc, argv, &words);
    if (code < 0)
        code = check_words(&q, words, argv + 1, &verb);
    if (code >= 0 || !verb)
        return code;
    code = queue_open(&q);
    if (code != EXIT_DONE)
        return code;
    q.out.json = str_eq(q.format, "json");
    q.out.now_ms = clock_now_ms();
    code = verb->run(&q);
    store_close(q.store);
    if (fflush(stdout) != 0 && code == EXIT_DONE)
        code = EXIT_FAILED;
    return code;
}

const struct command command_queue = {
    .name = "queue",
    .summary = "list, show, retry, hold, release and cancel tasks",
    .help = "Examples:\n"
            "  slipway queue ls                       the newest tasks\n"
            "  slipway queue ls --state dead --all    all that gave up\n"
            "  slipway queue ls --ignored             deliveries that asked for nothing\n"
            "  slipway queue show 7                   one task: event, tags, digests, clean-ups\n"
            "  slipway queue log 7                    what its build said, for a week\n"
            "  slipway queue retry 7                  run it again, now\n"
            "  slipway queue retry --ignored 12       look at a delivery again\n"
            "  slipway queue hold 7 --reason 'wait for the release'\n"
            "  slipway queue release 7                let a held one run\n"
            "  slipway queue cancel 7                 never run it\n"
            "  slipway queue cleanups                 staged tags that are still to be removed\n"
            "\n"
            "Flags:\n"
            "  -c, --config FILE    settings (default: $SLIPWAY_CONFIG or the system's file)\n"
            "      --store URL      sqlite:/path/to/file, instead of the settings' store\n"
            "      --format FORMAT  text (default) or json\n"
            "      --state STATE    ls: queued, waiting, running, undoing, done, skipped,\n"
            "                       superseded, failed, dead, partial, held or cancelled\n"
            "      --project NAME   ls: of one project\n"
            "      --ignored        ls, retry: ignored and malformed deliveries\n"
            "  -n, --limit N        ls: at most N (default 50)\n"
            "  -a, --all            ls: all\n"
            "      --reason TEXT    hold, cancel: why, shown to people\n",
    .run = run_queue,
};
