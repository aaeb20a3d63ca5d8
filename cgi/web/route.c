#include "cgi/web/route.h"

#include "cgi/web/health.h"
#include "cgi/web/receive.h"
#include "core/base/str.h"

static const struct route routes[] = {
    {ROUTE_POST, "/hooks/*", receive_answer},
    {ROUTE_GET | ROUTE_HEAD, "/health/live", health_live},
    {ROUTE_GET | ROUTE_HEAD, "/health/ready", health_ready},
    {ROUTE_GET | ROUTE_HEAD, "/health/status", health_ready},
};

/* What follows the pattern; NULL when the path does not match. */
static const char *match(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (pattern[len - 1] != '*')
        return str_eq(pattern, path) ? "" : NULL;
    return strncmp(pattern, path, len - 1) == 0 && path[len - 1] ? path + len - 1 : NULL;
}

const struct route *route_find(const char *path, const char **rest)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        *rest = match(routes[i].pattern, path);
        if (*rest)
            return &routes[i];
    }
    *rest = "";
    return NULL;
}

const char *route_allow(unsigned methods)
{
    return methods & ROUTE_POST ? "POST" : "GET, HEAD";
}

static unsigned method_bit(const char *method)
{
    static const struct {
        const char *name;
        unsigned bit;
    } methods[] = {{"GET", ROUTE_GET}, {"HEAD", ROUTE_HEAD}, {"POST", ROUTE_POST}};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq(method, methods[i].name))
            return methods[i].bit;
    return 0;
}

void route_answer(struct service *s, struct request *q, struct reply *out)
{
    const char *rest;
    const struct route *route = route_find(q->http.url, &rest);
    if (!route) {
        reply_set(out, 404, "not found\n");
    } else if (!(route->methods & method_bit(q->http.method))) {
        reply_set(out, 405, "method not allowed\n");
        out->allow = route_allow(route->methods);
    } else {
        route->answer(s, q, rest, out);
    }
}
