/* Argument lists around a commit's whole tree: a part of git_argv.h. */
#include "core/git/git_argv.h"

#include "core/base/str.h"

static void push_all(struct arena *a, struct str_list *argv, const char *const *args, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *list_push(a, argv) = args[i];
}

#define PUSH(a, argv, ...)                                                                         \
    do {                                                                                           \
        const char *const args_[] = {__VA_ARGS__};                                                 \
        push_all((a), (argv), args_, ARRAY_LEN(args_));                                            \
    } while (0)

const char *git_lfs_url(struct arena *a, const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    const char *base = arena_strndup(a, url, len);
    /* ssh asks the server itself, file has no server: both want the repository. */
    if (!str_starts(base, "http://") && !str_starts(base, "https://"))
        return base;
    return arena_printf(a, "%s%s/info/lfs", base, str_ends(base, ".git") ? "" : ".git");
}

/* A filter named in .gitattributes is a word: what it runs would have to be configured here. */
static const char *const tree_settings[] = {
    "core.bare=false",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.autocrlf=false",
    "core.symlinks=true",
    "core.fileMode=true",
    "core.attributesFile=/dev/null",
    "core.sparseCheckout=false",
    "submodule.recurse=false",
};

/* The last three answer settings that a repository may make in its .lfsconfig. */
static const char *const lfs_settings[] = {
    "filter.lfs.process=git-lfs filter-process",
    "filter.lfs.smudge=git-lfs smudge -- %f",
    "filter.lfs.required=true",
    "lfs.skipdownloaderrors=false",
    "lfs.fetchinclude=",
    "lfs.fetchexclude=",
};

static void push_settings(struct arena *a, struct str_list *argv, const char *const *settings,
                          size_t n)
{
    for (size_t i = 0; i < n; i++)
        PUSH(a, argv, "-c", settings[i]);
}

struct str_list git_argv_write_tree(struct arena *a, const struct git_call *call, const char *dir,
                                    const char *lfs_url, const char *commit)
{
    struct str_list argv = {0};
    git_argv_start(a, &argv, call);
    push_settings(a, &argv, tree_settings, ARRAY_LEN(tree_settings));
    if (lfs_url) {
        push_settings(a, &argv, lfs_settings, ARRAY_LEN(lfs_settings));
        PUSH(a, &argv, "-c", arena_printf(a, "lfs.url=%s", lfs_url));
    }
    PUSH(a, &argv, arena_printf(a, "--work-tree=%s", dir), "read-tree", "--reset", "-u",
         "--no-recurse-submodules", "--end-of-options", commit);
    return argv;
}

struct str_list git_argv_sizes(struct arena *a, const struct git_call *call, const char *commit)
{
    struct str_list argv = {0};
    git_argv_start(a, &argv, call);
    PUSH(a, &argv, "ls-tree", "-r", "--format=%(objectsize)", "--end-of-options", commit);
    return argv;
}

struct str_list git_argv_entries(struct arena *a, const struct git_call *call, const char *commit,
                                 const struct str_list *paths)
{
    struct str_list argv = {0};
    git_argv_start(a, &argv, call);
    PUSH(a, &argv, "ls-tree", "-z", "--full-tree",
         "--format=%(objectmode) %(objectname)%x09%(path)", "--end-of-options", commit);
    push_all(a, &argv, paths->at, paths->n);
    return argv;
}

struct str_list git_argv_modules(struct arena *a, const struct git_call *call, const char *commit)
{
    struct str_list argv = {0};
    git_argv_start(a, &argv, call);
    PUSH(a, &argv, "config", "--no-includes", arena_printf(a, "--blob=%s:.gitmodules", commit),
         "-z", "--list");
    return argv;
}
