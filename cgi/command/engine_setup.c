#include "cgi/command/engine_setup.h"

#include "cgi/command.h"
#include "core/base/limits.h"
#include "core/engine/locks.h"

int engine_setup(struct engine *e, const struct settings *s, bool with_store, struct err *err)
{
    struct http_client_opts http_opts = {0};
    struct git_opts git_opts = {.cache_dir = s->cache};
    struct store_opts store_opts = {.url = s->store, .may_create = true};
    *e = (struct engine){.forges = s->forges.at, .n_forges = s->forges.n, .policy = &s->policy};
    if ((with_store && store_open(&store_opts, &e->store, err) < 0) ||
        !(e->http = http_client_new(&http_opts, err)) || !(e->git = git_new(&git_opts, err))) {
        engine_teardown(e);
        return -1;
    }
    e->registry = registry_new(e->http, &s->registries);
    e->locks = target_locks_new();
    e->proofs = push_proofs_new();
    return 0;
}

void engine_teardown(struct engine *e)
{
    push_proofs_free(e->proofs);
    target_locks_free(e->locks);
    if (e->registry)
        registry_free(e->registry);
    if (e->git)
        git_free(e->git);
    if (e->http)
        http_client_free(e->http);
    if (e->store)
        store_close(e->store);
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
