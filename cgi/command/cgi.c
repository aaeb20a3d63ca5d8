#include "cgi/command.h"

#include "cgi/harden.h"
#include "cgi/web/service.h"
#include "core/base/log.h"
#include "core/os/fs.h"

#include <errno.h>
#include <unistd.h>

static size_t read_stdin(void *ctx UNUSED, void *buf, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(STDIN_FILENO, (char *)buf + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static int run(int argc, char **argv)
{
    const char *config = NULL;
    const struct flag flags[] = {{"config", 'c', FLAG_STR, &config}};
    int positional;
    int code = flags_parse(&command_cgi, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_cgi, "unexpected argument '%s'", argv[1]);
    if (!getenv("REQUEST_METHOD"))
        return command_usage(&command_cgi, "REQUEST_METHOD is not set: a web server runs this");
    log_set_role("cgi");
    harden_no_core_dumps();
    harden_file_limits();

    struct service service;
    code = service_open(&service, command_config_path(config));
    if (code != EXIT_DONE)
        return code;
    struct err err = ERR_INIT;
    struct strbuf CLEANUP_STRBUF out = STRBUF_INIT(REPLY_MAX);
    struct body_source source = {.read = read_stdin};
    (void)service_answer(&service, (const char *const *)environ, source, &out);
    if (fs_write_all(STDOUT_FILENO, out.buf, out.len, &err))
        code = command_failed(&err);
    service_close(&service);
    return code;
}

const struct command command_cgi = {
    .name = "cgi",
    .summary = "receive one webhook as a plain CGI program",
    .help = "Examples:\n"
            "  ScriptAlias /slipway /usr/lib/cgi-bin/slipway      (a two-line script that runs\n"
            "                                                      `exec slipway cgi`)\n"
            "\n"
            "Answers one request from the CGI variables in the environment and the body on\n"
            "standard input, just as `slipway serve` does, for web servers without FastCGI.\n"
            "\n"
            "Flags:\n"
            "  -c, --config FILE   default: $SLIPWAY_CONFIG, else /etc/slipway/slipway.yaml\n",
    .run = run,
};
