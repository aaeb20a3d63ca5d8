/*
 * command.h - one file a subcommand: name, summary, help text, function.
 */
#ifndef SLIPWAY_COMMAND_H
#define SLIPWAY_COMMAND_H

#include "core/base/base.h"
#include "core/base/err.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2, /* usage or configuration */
    EXIT_CHANGES = 3,
    EXIT_NOT_FOUND = 4,
    EXIT_DENIED = 5,
    EXIT_TRY_LATER = 75
};

struct command {
    const char *name;
    const char *summary;               /* one line */
    const char *help;                  /* examples first, then flags; ends with a newline */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit_code */
};

extern const struct command command_serve, command_cgi, command_work, command_builder,
    command_check, command_plan, command_build, command_upload, command_promote, command_inspect,
    command_copy, command_mirror, command_gc, command_queue, command_rollback,
    command_send_test_hook, command_version, command_help;

/* All of them, NULL-ended, in the order of `slipway help`. */
extern const struct command *const commands[];

/* NULL when there is none of that name. */
const struct command *command_find(const char *name);
/* Says on stderr that there is no such command, with "did you mean"; returns EXIT_USAGE. */
int command_unknown(const char *name);
/* What `slipway help` shows: all commands with their summaries. */
void command_list(FILE *out);
/* What `slipway help NAME` and `slipway NAME --help` show. */
void command_show_help(const struct command *cmd, FILE *out);

/*
 * Flags, free of order: a table of long names (with an optional letter), bound to variables.
 * `--name value`, `--name=value`, `-n value`, `-nvalue`, and `-qn value` behind a boolean; `--`
 * ends them; -h and --help are everybody's. A flag given twice: the last one counts, but FLAG_LIST
 * collects. Values are never empty.
 */
enum flag_kind { FLAG_STR, FLAG_BOOL, FLAG_INT, FLAG_TIME, FLAG_LIST };

struct flag {
    const char *name; /* "config" */
    char letter;      /* 'c', or 0 */
    enum flag_kind kind;
    void *target; /* const char **, bool *, int64_t *, int64_t * (seconds, more than none), struct
                     flag_values * */
};

struct flag_values {
    const char *at[64];
    size_t n;
};

/* Parses argv[1..]; positional arguments are moved to the front (argv[1..*positional]). Returns -1
 * to go on, else the exit code to end with (help printed: 0; usage error, said on stderr: 2). */
int flags_parse(const struct command *cmd, const struct flag *flags, size_t n, int argc,
                char **argv, int *positional);

/* Prints "slipway: <text>" and returns the exit code for the error's kind. */
int command_failed(const struct err *err);
/* Prints "slipway <name>: <text>; try 'slipway help <name>'" and returns EXIT_USAGE. */
int command_usage(const struct command *cmd, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --config, else $SLIPWAY_CONFIG, else SETTINGS_PATH. */
const char *command_config_path(const char *flag);

#endif
