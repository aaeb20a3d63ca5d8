#include "cgi/command.h"

#include "core/base/str.h"

const struct command *const commands[] = {
    &command_serve,
    &command_cgi,
    &command_work,
    &command_builder,
    &command_check,
    &command_plan,
    &command_build,
    &command_upload,
    &command_promote,
    &command_inspect,
    &command_copy,
    &command_mirror,
    &command_gc,
    &command_queue,
    &command_rollback,
    &command_send_test_hook,
    &command_version,
    &command_help,
    NULL,
};

enum { COMMANDS = ARRAY_LEN(commands) - 1 };

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (str_eq(commands[i]->name, name))
            return commands[i];
    return NULL;
}

int command_unknown(const char *name)
{
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    const char *near = str_nearest(name, names, COMMANDS);
    if (*name == '-')
        (void)fprintf(stderr, "slipway: flags go behind a command; try 'slipway help'\n");
    else if (near)
        (void)fprintf(stderr, "slipway: there is no command '%s', did you mean '%s'?\n", name,
                      near);
    else
        (void)fprintf(stderr, "slipway: there is no command '%s'; try 'slipway help'\n", name);
    return EXIT_USAGE;
}

void command_list(FILE *out)
{
    (void)fputs("slipway keeps container tags in step with code.\n\n"
                "  slipway check             is the configuration right?\n"
                "  slipway plan --help       what would an event do?\n"
                "  slipway help COMMAND      examples and flags of a command\n\n"
                "Commands:\n",
                out);
    for (size_t i = 0; i < COMMANDS; i++)
        (void)fprintf(out, "  %-16s  %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\nThe configuration is --config FILE, else $SLIPWAY_CONFIG, else "
                "/etc/slipway/slipway.yaml.\n"
                "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 changes pending, "
                "4 not found,\n5 denied, 75 try later.\n",
                out);
}
