#include "core/base/base.h"

#include "cgi/web/health.h"
#include "cgi/web/receive.h"
#include "cgi/web/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void finds(void **state UNUSED)
{
    static const struct {
        const char *path;
        route_fn *want;
        const char *rest;
    } rows[] = {
        {"/hooks/github", receive_answer, "github"},
        {"/hooks/review/s3cret/x", receive_answer, "review/s3cret/x"},
        {"/hooks//x", receive_answer, "/x"},
        {"/hooks/", NULL, ""},
        {"/hooks", NULL, ""},
        {"/hooksx/a", NULL, ""},
        {"/Hooks/a", NULL, ""},
        {"//hooks/a", NULL, ""},
        {"/health/live", health_live, ""},
        {"/health/ready", health_ready, ""},
        {"/health/status", health_ready, ""},
        {"/health/live/", NULL, ""},
        {"/health/livex", NULL, ""},
        {"/health", NULL, ""},
        {"/", NULL, ""},
        {"", NULL, ""},
        {"/*", NULL, ""},
        {"/hooks/*", receive_answer, "*"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *rest = NULL;
        const struct route *route = route_find(rows[i].path, &rest);
        assert_true((route ? route->answer : NULL) == rows[i].want);
        assert_string_equal(rest, rows[i].rest);
    }
}

static void refuses(void **state UNUSED)
{
    static const struct {
        const char *method;
        const char *path;
        int status;
        const char *allow;
    } rows[] = {
        {"GET", "/hooks/a", 405, "POST"},
        {"HEAD", "/hooks/a", 405, "POST"},
        {"OPTIONS", "/hooks/a", 405, "POST"},
        {"post", "/hooks/a", 405, "POST"},
        {"PUT", "/hooks/a", 405, "POST"},
        {"POST", "/health/live", 405, "GET, HEAD"},
        {"DELETE", "/health/ready", 405, "GET, HEAD"},
        {"POST", "/nothing", 404, NULL},
        {"GET", "/", 404, NULL},
    };
    struct service service = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request q = {.http = {.method = rows[i].method, .url = rows[i].path}};
        struct reply out = {0};
        route_answer(&service, &q, &out);
        assert_int_equal(out.status, rows[i].status);
        assert_int_equal(out.allow != NULL, rows[i].allow != NULL);
        if (out.allow)
            assert_string_equal(out.allow, rows[i].allow);
    }
}

static void answers(void **state UNUSED)
{
    struct service service = {0};
    struct request q = {.http = {.method = "GET", .url = "/health/live"}};
    struct reply out = {0};
    route_answer(&service, &q, &out);
    assert_int_equal(out.status, 200);
    assert_string_equal(out.text, "live\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(refuses),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
