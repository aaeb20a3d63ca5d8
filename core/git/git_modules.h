/*
 * git_modules.h - submodules as a repository describes them: a stranger's text, of which only
 * addresses on the remote's own host pass. Pure. Internal to core/git.
 */
#ifndef SLIPWAY_GIT_MODULES_H
#define SLIPWAY_GIT_MODULES_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct git_module {
    const char *name;
    const char *path;   /* in the superproject, checked */
    const char *url;    /* as written; git_module_url says what it means */
    const char *commit; /* that the superproject wants; NULL: none at that path */
};

struct git_modules {
    struct git_module *at;
    size_t n;
    size_t cap;
};

/* From the output of git_argv_modules. Those without a path or a URL are left out, as git does.
 * ERR_PERM: a path that leads out, or more than LIMIT_SUBMODULES. */
int git_modules_read(struct arena *a, const char *text, size_t len, struct git_modules *out,
                     struct err *err);

/* Sets the commits, from the output of git_argv_entries. */
void git_modules_set_commits(struct arena *a, struct git_modules *modules, const char *text,
                             size_t len);

/*
 * The full URL: "./x" and "../x" are relative to the remote's. It must have the remote's own scheme
 * and host, user and port too; of file:// it must be below the folder that holds the remote's
 * repository. Else ERR_PERM, which names the submodule and what it asked for.
 */
int git_module_url(struct arena *a, const char *remote, const struct git_module *module,
                   const char **url, struct err *err);

#endif
