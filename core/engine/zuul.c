#include "core/engine/zuul.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#include <errno.h>

static int fill_query(const struct event *event, const struct imagefile_vars *vars, struct arena *a,
                      struct zuul_query *q, struct err *err)
{
    *q = (struct zuul_query){.project = event->project,
                             .change = event->change,
                             .patchset = event->patchset,
                             .pipeline = vars->promote_pipeline,
                             .job = vars->promote_job};
    if (!vars->promote_query)
        return 0;
    q->custom = zuul_query_expand(vars->promote_query, q, a, err);
    return q->custom ? 0 : -1;
}

/* Only 200 is an answer: where a redirect leads is nobody's that the operator named. */
static int check_status(const struct zuul_conf *conf, const struct http_resp *resp, struct err *err)
{
    if (resp->status == 200)
        return 0;
    if (resp->status < 400)
        return err_set(err, ERR_PERM, resp->status,
                       "it answered %d where a list of builds was expected: is %s the address of a "
                       "tenant's API?",
                       resp->status, conf->api);
    (void)err_set(err, http_status_kind(resp->status), resp->status, "it answered %d%s",
                  resp->status,
                  resp->status == 404 ? ": it knows no such tenant, or not what was asked" : "");
    err->retry_after = http_retry_after(resp, clock_now_ms() / 1000);
    return -1;
}

static int ask(const struct engine *e, const struct zuul_conf *conf, const struct zuul_query *q,
               struct arena *a, struct zuul_build *out, struct err *err)
{
    struct http_call call = {.req = {.method = "GET", .url = zuul_builds_url(conf, q, a, err)},
                             .max_body = LIMIT_RESPONSE,
                             .via.ca_file = conf->ca_file};
    if (!call.req.url)
        return -1;
    http_header_add(a, &call.req.headers, "Accept", "application/json");
    if (http_do(e->http, a, &call, err) < 0 || check_status(conf, &call.resp, err) < 0 ||
        zuul_builds_pick(call.resp.body, call.resp.body_len, q, a, out, err) < 0)
        return err_wrap(err, "asking Zuul '%s'", conf->name);
    return 0;
}

/* P6: an answer can only select hosts that the operator named. */
static int check_hosts(const struct engine *e, const struct zuul_conf *conf,
                       const struct zuul_build *build, struct err *err)
{
    list_each (const struct zuul_artifact, artifact, build) {
        bool known = conf->intermediate ? str_eq(artifact->host, conf->intermediate)
                                        : engine_knows_registry(e->registry, artifact->host);
        if (known)
            continue;
        return err_set(err, ERR_PERM, 0, "%s:%s of Zuul's build %s lies at %s, but zuul.%s %s%s",
                       artifact->repository, artifact->tag, build->uuid, artifact->host, conf->name,
                       conf->intermediate ? "names the intermediate registry "
                                          : "names no intermediate registry, and no registry of "
                                            "that name is configured",
                       conf->intermediate ? conf->intermediate : "");
    }
    return 0;
}

int zuul_ask(const struct engine *e, const struct event *event, const struct imagefile_vars *vars,
             struct arena *a, struct zuul_build *out, struct err *err)
{
    struct zuul_query q;
    const struct zuul_conf *conf = zuul_select(e->zuuls, vars->promote_api, err);
    if (!conf || fill_query(event, vars, a, &q, err) < 0 || ask(e, conf, &q, a, out, err) < 0)
        return -1;
    if (!out->uuid)
        return err_set(err, ERR_TEMP, EAGAIN,
                       "Zuul '%s' has no successful build with images of %s%s%s%s%s yet",
                       conf->name, event->project, event->change ? ", change " : "",
                       event->change ? event->change : "", q.job ? ", job " : "",
                       q.job ? q.job : "");
    return check_hosts(e, conf, out, err);
}
