#include "cgi/command.h"

#include "cgi/harden.h"
#include "cgi/web/fcgi.h"
#include "cgi/web/listen.h"
#include "cgi/web/service.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/os/fs.h"

#include <unistd.h>

struct serving {
    struct service service;
    struct listener listener;
    int signals;
};

static bool serve_answer(void *ctx, const char *const *params, struct body_source source,
                         struct strbuf *out)
{
    struct serving *s = ctx;
    return service_answer(&s->service, params, source, out);
}

/* An inherited socket stays: whoever holds it keeps what waits there for our successor. */
static bool serve_withdraw(void *ctx)
{
    struct serving *s = ctx;
    bool ours = s->listener.path != NULL;
    log_info("stopping", NULL);
    listener_withdraw(&s->listener);
    return ours;
}

static int serve(struct serving *s)
{
    struct err err = ERR_INIT;
    struct fcgi_opts opts = {
        .fd = s->listener.fd,
        .signals = s->signals,
        .threads = LIMIT_SERVE_THREADS,
        .answer = serve_answer,
        .withdraw = serve_withdraw,
        .ctx = s,
    };
    enum fcgi_end end;
    if (fcgi_run(&opts, &end, &err))
        return command_failed(&err);
    if (end == FCGI_END_CUT)
        _exit(EXIT_DONE);
    if (end == FCGI_END_SIGNAL)
        return EXIT_DONE;
    log_error("the disk below the store failed: ending, because nothing more could be promised",
              NULL);
    return EXIT_FAILED;
}

static int run(int argc, char **argv)
{
    const char *config = NULL, *listen = NULL;
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &config},
        {"listen", 0, FLAG_STR, &listen},
    };
    int positional;
    int code = flags_parse(&command_serve, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_serve, "unexpected argument '%s'", argv[1]);
    log_set_role("serve");
    harden_no_core_dumps();
    harden_file_limits();

    struct err err = ERR_INIT;
    struct serving s = {.listener = {.fd = -1}, .signals = fcgi_signals(&err)};
    if (s.signals < 0)
        return command_failed(&err);
    code = service_open(&s.service, command_config_path(config));
    if (code == EXIT_DONE) {
        if (listener_open(&s.listener, listen, s.service.settings->listen, &err))
            code = command_failed(&err);
        else
            code = serve(&s);
        listener_close(&s.listener);
        service_close(&s.service);
    }
    cleanup_fd(&s.signals);
    return code;
}

const struct command command_serve = {
    .name = "serve",
    .summary = "receive webhooks behind nginx (FastCGI)",
    .help = "Examples:\n"
            "  slipway serve\n"
            "  slipway serve --config ./slipway.yaml --listen /tmp/slipway.sock\n"
            "  spawn-fcgi -n -s /run/slipway/slipway.sock -M 0660 -- /usr/bin/slipway serve\n"
            "\n"
            "Verifies what forges send, keeps it on disk and answers 202. Listens on a unix\n"
            "socket: --listen, else the one that systemd passes, else standard input when it is\n"
            "a listening socket, else `listen` of the configuration. SIGTERM and SIGINT stop it\n"
            "once the requests in hand are answered.\n"
            "\n"
            "Flags:\n"
            "  -c, --config FILE   default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n"
            "      --listen PATH   make and listen on this unix socket (mode 0660)\n",
    .run = run,
};
