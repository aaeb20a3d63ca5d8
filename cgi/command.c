#include "cgi/command.h"

#include "config/settings.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <stdarg.h>

void command_show_help(const struct command *cmd, FILE *out)
{
    (void)fprintf(out, "slipway %s - %s\n\n%s", cmd->name, cmd->summary, cmd->help);
}

int command_usage(const struct command *cmd, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "slipway %s: %s; try 'slipway help %s'\n", cmd->name, text, cmd->name);
    return EXIT_USAGE;
}

int command_failed(const struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    (void)log_redact(text);
    (void)fprintf(stderr, "slipway: %s\n", str_printable(&a, text));
    switch (err->kind) {
    case ERR_CONFIG:
        return EXIT_USAGE;
    case ERR_TEMP:
        return EXIT_TRY_LATER;
    default:
        return EXIT_FAILED;
    }
}

const char *command_config_path(const char *flag)
{
    if (!str_empty(flag))
        return flag;
    const char *from_env = getenv("SLIPWAY_CONFIG");
    return str_empty(from_env) ? SETTINGS_PATH : from_env;
}
