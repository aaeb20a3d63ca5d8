#include "cgi/command.h"

#include "core/base/str.h"

#include "version.h"

static int run(int argc, char **argv)
{
    const char *format = "text";
    int positional;
    const struct flag flags[] = {{"format", 0, FLAG_STR, &format}};
    int code = flags_parse(&command_version, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_version, "it takes no argument");
    if (str_eq(format, "json"))
        (void)printf("{\"name\": \"slipway\", \"version\": \"%s\"}\n", SLIPWAY_VERSION);
    else if (str_eq(format, "text"))
        (void)printf("slipway %s\n", SLIPWAY_VERSION);
    else
        return command_usage(&command_version, "--format is text or json, not \"%s\"", format);
    return EXIT_DONE;
}

const struct command command_version = {
    .name = "version",
    .summary = "print the version",
    .help = "  slipway version\n"
            "  slipway version --format json\n"
            "\n"
            "  --format text|json   how to print it (text)\n",
    .run = run,
};
