#include "cgi/command.h"

#include "config/settings.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/fs.h"

#include <errno.h>
#include <unistd.h>

struct role {
    const char *name;
    unsigned roles;
};

static const struct role role_table[] = {
    {"serve", SETTINGS_SERVE},
    {"work", SETTINGS_WORK},
    {"builder", SETTINGS_BUILDER},
};

static bool find_role(const char *name, unsigned *out)
{
    for (size_t i = 0; i < ARRAY_LEN(role_table); i++)
        if (str_eq(role_table[i].name, name)) {
            *out = role_table[i].roles;
            return true;
        }
    return false;
}

static void print_diags(const struct diags *diags)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    diag_format(diags, &text);
    (void)log_redact(text.buf);
    (void)fputs(text.buf, stderr);
}

static void warn_folder(const char *what, const char *dir)
{
    if (access(dir, W_OK | X_OK) == 0)
        return;
    char detail[128];
    (void)fprintf(stderr, "slipway: warning: %s %s: %s\n", what, dir,
                  strerror_r(errno, detail, sizeof detail));
}

/* A folder that is not there can be made when its nearest ancestor can be written. */
static const char *nearest_existing(struct arena *a, const char *dir)
{
    while (!fs_exists(dir) && !str_eq(dir, "/") && !str_eq(dir, "."))
        dir = fs_dirname(a, dir);
    return dir;
}

/* These depend on who runs the check, so they are no errors. */
static void check_folders(const struct settings *s, unsigned roles, struct arena *a)
{
    if (roles & (SETTINGS_WORK | SETTINGS_BUILDER) && fs_exists(s->build.dir))
        warn_folder("the folder of builds", s->build.dir);
    if (roles == SETTINGS_BUILDER)
        return;
    const char *path = str_after(s->store, "sqlite:");
    if (path)
        warn_folder("the store's folder", fs_dirname(a, path));
    warn_folder("the cache's folder", nearest_existing(a, s->cache));
}

static void print_settings(const struct settings *s)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(16));
    settings_print(s, &text);
    (void)fputs(text.buf, stdout);
}

static int check(const char *path, unsigned roles, bool quiet)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct settings *s = settings_load(path, roles, &diags);
    print_diags(&diags);
    if (!s) {
        (void)fprintf(stderr, "slipway: %zu error%s in %s\n", diags.errors,
                      diags.errors == 1 ? "" : "s", path);
        return EXIT_USAGE;
    }
    check_folders(s, roles, &a);
    if (!quiet)
        print_settings(s);
    settings_free(s);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    const char *config = NULL, *as = NULL;
    bool quiet = false;
    int positional;
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &config},
        {"as", 0, FLAG_STR, &as},
        {"quiet", 'q', FLAG_BOOL, &quiet},
    };
    int code = flags_parse(&command_check, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_check, "it takes no argument; is '%s' meant for --config?",
                             argv[1]);
    unsigned roles = SETTINGS_SERVE | SETTINGS_WORK;
    if (as && !find_role(as, &roles))
        return command_usage(&command_check, "--as is serve, work or builder, not \"%s\"", as);
    return check(command_config_path(config), roles, quiet);
}

const struct command command_check = {
    .name = "check",
    .summary = "check the configuration whole and print what is in force",
    .help = "  slipway check\n"
            "  slipway check --config ./slipway.yaml --as serve --quiet\n"
            "\n"
            "Every error is shown with its file, line and column, and ends it with 2. When all is\n"
            "right the values in force are printed as YAML; secrets are masked, with where they\n"
            "come from.\n"
            "\n"
            "  -c, --config FILE  the configuration (/etc/slipway/slipway.yaml; conf.d/ beside it\n"
            "                     is read, too)\n"
            "      --as ROLE      read only the secrets of serve, work or builder (all of them)\n"
            "  -q, --quiet        print no values\n",
    .run = run,
};
