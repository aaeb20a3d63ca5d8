#include "cgi/command/engine_setup.h"

#include "cgi/command.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/locks.h"
#include "core/os/fs.h"
#include "core/registry/credentials.h"

#include <errno.h>

/* Only the worker's user writes the worker's cache: a file that somebody else leaves there would
 * stop it. */
static int make_scratch(struct engine *e, struct err *err)
{
    e->scratch = xstrdup("/tmp/slipway-XXXXXX");
    if (mkdtemp(e->scratch))
        return 0;
    free(STEAL(e->scratch));
    return err_errno(err, ERR_CONFIG, errno, "a directory below /tmp");
}

static const char *environment(const char *name)
{
    return getenv(name);
}

static int load_credentials(struct engine *e, const struct settings *s, struct err *err)
{
    if (!s->auth_file)
        return 0;
    e->credentials = str_eq(s->auth_file, "user") ? credentials_of_user(environment, err)
                                                  : credentials_from_file(s->auth_file, err);
    return e->credentials ? 0 : -1;
}

int engine_setup(struct engine *e, const struct settings *s, bool with_store, struct err *err)
{
    struct http_client_opts http_opts = {0};
    struct git_opts git_opts = {.cache_dir = s->cache};
    struct store_opts store_opts = {.url = s->store, .may_create = true};
    *e = (struct engine){.forges = s->forges.at,
                         .n_forges = s->forges.n,
                         .policy = &s->policy,
                         .public_url = s->public_url,
                         .mirrors = &s->mirrors,
                         .build = &s->build,
                         .zuuls = &s->zuuls};
    if (!with_store && make_scratch(e, err) < 0)
        return -1;
    if (e->scratch)
        git_opts.cache_dir = e->scratch;
    if ((with_store && store_open(&store_opts, &e->store, err) < 0) ||
        load_credentials(e, s, err) < 0 || !(e->http = http_client_new(&http_opts, err)) ||
        !(e->git = git_new(&git_opts, err))) {
        engine_teardown(e);
        return -1;
    }
    e->registry = registry_new(e->http, &s->registries, e->credentials);
    e->locks = target_locks_new();
    e->proofs = push_proofs_new();
    return 0;
}

int engine_setup_beside(struct engine *e, const struct settings *s, struct err *err)
{
    struct store_opts opts = {.url = s->store};
    if (engine_setup(e, s, false, err) < 0)
        return -1;
    if (store_open(&opts, &e->store, err) == 0)
        return 0;
    engine_teardown(e);
    return -1;
}

void engine_teardown(struct engine *e)
{
    push_proofs_free(e->proofs);
    target_locks_free(e->locks);
    if (e->registry)
        registry_free(e->registry);
    credentials_free(e->credentials);
    if (e->git)
        git_free(e->git);
    if (e->http)
        http_client_free(e->http);
    if (e->store)
        store_close(e->store);
    if (e->scratch)
        (void)fs_remove_tree(e->scratch, NULL);
    free(e->scratch);
    *e = (struct engine){0};
}

const struct settings *settings_for_command(const char *config_flag, unsigned roles,
                                            struct arena *a)
{
    struct diags diags = {.arena = a};
    const struct settings *s = settings_load(command_config_path(config_flag), roles, &diags);
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(KIB(256));
    diag_format(&diags, &text);
    (void)fputs(text.buf, stderr);
    return s;
}
