#include "cgi/command/job_report.h"

#include "config/secret.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/event.h"
#include "core/forge/forge.h"
#include "core/lib/http.h"
#include "core/os/clock.h"

#include <errno.h>

enum { TRIES = 6, FIRST_PAUSE_MS = 1000, LOOK_MS = 50, SAID_MAX = 200 };

int job_hook_read(const char *url, const char *secret_ref, struct arena *a, struct job_hook *out,
                  struct err *err)
{
    const char *ref = NULL;
    const char *hooks = NULL;
    for (const char *p = url; (p = strstr(p, "/hooks/")); p++)
        hooks = p;
    const char *name = hooks ? hooks + strlen("/hooks/") : "";
    if (!event_url_ok(url) || str_empty(name) || strpbrk(name, "/?#@"))
        return err_set(err, ERR_CONFIG, 0,
                       "--report-to is the address of a source's hook, such as "
                       "https://ci.example.org/slipway/hooks/review");
    if (!secret_ref)
        return err_set(err, ERR_CONFIG, 0,
                       "--report-to needs --report-secret file:PATH or env:NAME: a hook secret of "
                       "that source");
    if (secret_check(secret_ref, ".", a, &ref, err) < 0 ||
        secret_read(ref, a, &out->secret, err) < 0)
        return err_wrap(err, "--report-secret");
    out->url = url;
    out->name = name;
    return 0;
}

static int judge(const struct job_hook *hook, const struct http_call *call, struct arena *a,
                 struct err *err)
{
    int status = call->resp.status;
    if (status >= 200 && status < 300)
        return 0;
    bool passes = status == 408 || status == 429 || status >= 500;
    const char *said = call->resp.body_len ? call->resp.body : "";
    size_t len = strcspn(said, "\r\n");
    return err_set(err, passes ? ERR_TEMP : ERR_PERM, status, "%s answered %d%s%s", hook->url,
                   status, len ? ": " : "",
                   str_printable(a, arena_strndup(a, said, len < SAID_MAX ? len : SAID_MAX)));
}

/* One request; staged NULL: a ping. */
static int tell(const struct job *j, const struct job_hook *hook, const struct event *staged,
                struct err *err)
{
    struct forge_conf conf = {.name = hook->name, .type = "git"};
    struct http_call call = {.max_body = LIMIT_ERROR_BODY};
    call.via.ca_file = j->flags->by_hand.ca_file;
    call.via.proxy = j->flags->by_hand.proxy;
    *list_push(j->arena, &conf.hook_secrets) = hook->secret;
    if (forge_find(conf.type)->sample(&conf, staged, clock_now_ms() / 1000, j->arena, &call.req,
                                      err) < 0)
        return -1;
    call.req.url = hook->url;
    return http_do(j->hand.http, j->arena, &call, err) < 0 ? -1 : judge(hook, &call, j->arena, err);
}

/* False: a signal came. */
static bool wait_for(const struct job *j, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    while (!atomic_load(&j->stopping.stop) && clock_monotonic_ms() < end)
        clock_sleep_ms(LOOK_MS);
    return !atomic_load(&j->stopping.stop);
}

int job_hook_try(const struct job *j, const struct job_hook *hook, struct err *err)
{
    struct err why = ERR_INIT;
    if (tell(j, hook, NULL, &why) == 0 || why.kind == ERR_TEMP)
        return 0;
    *err = why;
    return err_wrap(err, "--report-to");
}

int job_hook_send(const struct job *j, const struct job_hook *hook, const struct event *staged,
                  struct err *err)
{
    int64_t pause = FIRST_PAUSE_MS;
    for (int i = 1;; i++, pause *= 2) {
        struct err why = ERR_INIT;
        if (tell(j, hook, staged, &why) == 0)
            return 0;
        if (why.kind == ERR_TEMP && i < TRIES && wait_for(j, pause))
            continue;
        *err = why;
        return -1;
    }
}
