#include "cgi/command.h"

#include "cgi/command/engine_setup.h"
#include "cgi/harden.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/engine/worker.h"
#include "core/os/lock.h"
#include "core/os/wake.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* Waits for the signals that end us, in a thread of its own: every other thread blocks them. */
struct ending {
    sigset_t signals;
    atomic_bool *stop;
    const char *wake_path;
};

static void *ending_main(void *arg)
{
    struct ending *ending = arg;
    int sig = 0;
    while (sigwait(&ending->signals, &sig) == 0) {
        if (sig == SIGHUP || sig == SIGUSR1)
            continue;
        if (!atomic_exchange(ending->stop, true))
            log_info("stopping: tasks in hand are finished first", NULL);
        wake_send(ending->wake_path);
        if (sig == SIGUSR2)
            break;
    }
    return NULL;
}

/* Before any thread starts, so that all inherit it: a signal that came earlier waits. */
static sigset_t block_signals(void)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        (void)sigaddset(&set, ours[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return set;
}

static int run_worker(const struct engine *engine, const struct settings *s, int64_t threads,
                      bool once, struct ending ending, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    ending.wake_path = store_wake_path(engine->store, &a);
    struct worker_opts opts = {.engine = engine,
                               .threads = (size_t)threads,
                               .keep_ignored_s = s->keep_ignored_s,
                               .until_idle = once};
    pthread_t thread;
    int lock = lock_file_try(store_work_lock_path(engine->store, &a), err);
    if (lock < 0)
        return err->code == EWOULDBLOCK
                   ? err_set(err, ERR_CONFIG, EWOULDBLOCK,
                             "another `slipway work` has this store already: one is enough")
                   : -1;
    if (pthread_create(&thread, NULL, ending_main, &ending) != 0) {
        (void)close(lock);
        return err_set(err, ERR_TEMP, 0, "no thread could be started");
    }
    log_info("working", "store", s->store, NULL);
    int rc = worker_run(&opts, err);
    (void)pthread_kill(thread, SIGUSR2);
    (void)pthread_join(thread, NULL);
    (void)close(lock);
    return rc;
}

static int run(int argc, char **argv)
{
    const char *config = NULL;
    int64_t threads = LIMIT_WORK_THREADS;
    bool once = false;
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &config},
        {"threads", 0, FLAG_INT, &threads},
        {"once", 0, FLAG_BOOL, &once},
    };
    int positional;
    int code = flags_parse(&command_work, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_work, "unexpected argument '%s'", argv[1]);
    if (threads < 1 || threads > LIMIT_WORK_THREADS)
        return command_usage(&command_work, "--threads must be 1 to %d", LIMIT_WORK_THREADS);
    log_set_role("work");
    sigset_t signals = block_signals();
    mem_share_arenas();
    harden_no_core_dumps();
    harden_file_limits();

    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct engine engine;
    atomic_bool stop = false;
    struct ending ending = {.signals = signals, .stop = &stop};
    struct err err = ERR_INIT;
    const struct settings *s = settings_for_command(config, SETTINGS_WORK, &a);
    if (!s)
        return EXIT_USAGE;
    code = EXIT_DONE;
    int rc = engine_setup(&engine, s, true, &err);
    engine.stop = &stop;
    git_stop_by(engine.git, &stop);
    if (rc < 0 || run_worker(&engine, s, threads, once, ending, &err) < 0)
        code = command_failed(&err);
    engine_teardown(&engine);
    settings_free(s);
    return code;
}

const struct command command_work = {
    .name = "work",
    .summary = "run what the webhooks ask for: promote, verify, clean up",
    .help = "Examples:\n"
            "  slipway work\n"
            "  slipway work --config ./slipway.yaml --once\n"
            "\n"
            "Takes stored deliveries, reads the image list at the merged commit and moves the\n"
            "final tags. One `work` a store; SIGTERM and SIGINT stop it once the tasks in hand\n"
            "are finished. What a crash left half done is finished or undone first.\n"
            "\n"
            "Flags:\n"
            "  -c, --config FILE   default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
            "      --threads N     tasks at once (1 to 8, default 8)\n"
            "      --once          end when nothing is left to do now\n",
    .run = run,
};
