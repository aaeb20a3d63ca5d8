#include "cgi/web/service.h"

#include "cgi/command.h"
#include "cgi/web/route.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <errno.h>

static void set_log_level(const char *name)
{
    static const char *const names[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARN] = "warn",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, names[i]))
            log_set_level((enum log_level)i);
}

static const struct settings *load(struct arena *arena, const char *path)
{
    struct diags diags = {.arena = arena};
    const struct settings *settings = settings_load(path, SETTINGS_SERVE, &diags);
    struct strbuf CLEANUP_STRBUF text = STRBUF_INIT(MIB(1));
    diag_format(&diags, &text);
    (void)fputs(text.buf, stderr);
    return settings;
}

int service_open(struct service *s, const char *config_path)
{
    struct err err = ERR_INIT;
    *s = (struct service){
        .budget = {.max = LIMIT_BODIES_IN_FLIGHT},
        .readiness = {.lock = PTHREAD_MUTEX_INITIALIZER},
    };
    s->settings = load(&s->arena, config_path);
    if (!s->settings) {
        service_close(s);
        return EXIT_USAGE;
    }
    set_log_level(s->settings->log_level);
    struct store_opts opts = {.url = s->settings->store, .may_create = true};
    if (store_open(&opts, &s->store, &err)) {
        service_close(s);
        return command_failed(&err);
    }
    s->wake_path = store_wake_path(s->store, &s->arena);
    return EXIT_DONE;
}

void service_close(struct service *s)
{
    if (s->store)
        store_close(s->store);
    if (s->settings)
        settings_free(s->settings);
    arena_release(&s->arena);
    s->store = NULL;
    s->settings = NULL;
}

bool service_answer(struct service *s, const char *const *params, struct body_source source,
                    struct strbuf *out)
{
    struct request CLEANUP(request_release) q = {0};
    struct reply reply = {0};
    if (request_init(&q, params, s->settings->base_path, source, &reply) &&
        request_check_size(&q, s->settings->body_max, &reply))
        route_answer(s, &q, &reply);
    reply_format(&reply, str_eq(q.http.method, "HEAD"), out);
    return !reply.fatal;
}
