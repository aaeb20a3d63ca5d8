#include "cgi/command.h"

#include "core/base/str.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

/* A peer that hangs up is an error to handle, not the end; and a core dump would hold secrets.
 * The limit 1 also keeps the kernel from piping a dump to a helper program, which 0 does not. */
static void protect_process(void)
{
    static const struct rlimit no_core = {1, 1};
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &no_core);
}

/* Data that did not reach its reader is a failure, unless the reader had seen enough. */
static int finish_output(int code)
{
    errno = 0;
    bool broken = fflush(stdout) != 0 || ferror(stdout);
    if (!broken || errno == EPIPE || code != EXIT_DONE)
        return code;
    (void)fprintf(stderr, "slipway: standard output can't be written\n");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    protect_process();
    if (argc < 2) {
        command_list(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (str_eq(name, "--version"))
        name = "version";
    else if (str_eq(name, "--help") || str_eq(name, "-h"))
        name = "help";
    const struct command *cmd = command_find(name);
    if (!cmd)
        return command_unknown(name);
    return finish_output(cmd->run(argc - 1, argv + 1));
}
