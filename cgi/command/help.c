#include "cgi/command.h"

static int run(int argc, char **argv)
{
    int positional;
    int code = flags_parse(&command_help, NULL, 0, argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional > 1)
        return command_usage(&command_help, "one command at a time");
    if (positional == 0) {
        command_list(stdout);
        return EXIT_DONE;
    }
    const struct command *cmd = command_find(argv[1]);
    if (!cmd)
        return command_unknown(argv[1]);
    command_show_help(cmd, stdout);
    return EXIT_DONE;
}

const struct command command_help = {
    .name = "help",
    .summary = "explain a command",
    .help = "  slipway help\n"
            "  slipway help check\n",
    .run = run,
};
