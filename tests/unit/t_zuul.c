#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/zuul.h"
#include "core/lib/json.h"
#include "tests/unit/peer.h"

#include <errno.h>

#define IMAGES                                                                                     \
    "[{\"name\":\"x\",\"url\":\"docker://%s/team/app:%s_latest\",\"metadata\":"                    \
    "{\"type\":\"container_image\",\"repository\":\"quay.io/team/app\","                           \
    "\"tag\":\"latest\"}}]"
#define STAGING "staging.example.org:5000"

/* The engine, and tests/fakes/zuul_api.py. */
struct scene {
    struct peer fake;
    struct arena arena;
    struct http_client *http;
    struct registry_confs registries;
    struct zuul_confs zuuls;
    struct engine engine;
    struct event event;
    struct imagefile_vars vars;
    struct zuul_build build;
    struct err err;
};

static struct http_resp send(struct scene *s, const char *method, const char *what,
                             const char *body)
{
    struct http_call call = {
        .req = {.method = method,
                .url = arena_printf(&s->arena, "http://%s/_ctl/%s", s->fake.host, what),
                .body = body,
                .body_len = body ? strlen(body) : 0},
        .max_body = MIB(1)};
    assert_int_equal(http_do(s->http, &s->arena, &call, &s->err), 0);
    assert_int_equal(call.resp.status, 200);
    return call.resp;
}

/* A build of team/app with that image at a host; `more` is JSON members. */
static void add_build(struct scene *s, const char *uuid, const char *host, const char *more)
{
    const char *images = arena_printf(&s->arena, IMAGES, host, uuid);
    (void)send(s, "POST", "build",
               arena_printf(&s->arena,
                            "{\"uuid\":\"%s\",\"project\":\"team/app\",\"change\":7,"
                            "\"patchset\":\"2\",\"job_name\":\"build-images\",\"artifacts\":%s%s}",
                            uuid, images, more));
}

static int ask(struct scene *s)
{
    s->err = (struct err)ERR_INIT;
    return zuul_ask(&s->engine, &s->event, &s->vars, &s->arena, &s->build, &s->err);
}

static void expect_error(struct scene *s, enum err_kind kind, const char *says)
{
    if (ask(s) == 0 || s->err.kind != kind || !strstr(s->err.text, says))
        fail_msg("%s: %s", err_kind_name(s->err.kind), s->err.text);
}

static void set(struct scene *s, const char *config)
{
    (void)send(s, "PUT", "config", config);
}

/* What the only question since the last look asked for. */
static void expect_asked(struct scene *s, const char *name, const char *value)
{
    struct http_resp log = send(s, "GET", "log", NULL);
    struct js *json CLEANUP_JS = js_parse(log.body, log.body_len, &s->err);
    assert_int_equal(js_len(json), 1);
    const struct js *query = js_get(js_at(json, 0), "query");
    const char *got = js_str(js_at(js_member(query, name), 0), "");
    if (!str_eq(got, value))
        fail_msg("%s is %s", name, got ? got : "not asked for");
}

static int begin_test(void **state)
{
    struct scene *s = *state;
    s->event = (struct event){.kind = EVENT_MERGED,
                              .forge = "review",
                              .project = "team/app",
                              .change = "7",
                              .patchset = "2"};
    s->vars = (struct imagefile_vars){.promote_pipeline = "gate", .promote_job = "build-images"};
    s->zuuls.at[0].intermediate = STAGING;
    (void)send(s, "PUT", "reset", NULL);
    return 0;
}

static int setup(void **state)
{
    static const char *const argv[] = {"/usr/bin/python3", "tests/fakes/zuul_api.py", NULL};
    struct scene *s = xcalloc(1, sizeof *s);
    s->http = http_client_new(NULL, &s->err);
    peer_dir(&s->fake);
    peer_start(&s->fake, argv, "out", "port=");
    *list_push(&s->arena, &s->zuuls) = (struct zuul_conf){
        .name = "main", .api = arena_printf(&s->arena, "http://%s/api/tenant/t", s->fake.host)};
    *list_push(&s->arena, &s->registries) = (struct registry_conf){.host = "known.example.org"};
    s->engine = (struct engine){.http = s->http,
                                .registry = registry_new(s->http, &s->registries, NULL),
                                .zuuls = &s->zuuls};
    *state = s;
    return s->http ? 0 : -1;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    registry_free(s->engine.registry);
    http_client_free(s->http);
    peer_stop(&s->fake);
    arena_release(&s->arena);
    free(s);
    return 0;
}

static void test_found(void **state)
{
    struct scene *s = *state;
    add_build(s, "old", STAGING, "");
    add_build(s, "failed", STAGING, ",\"result\":\"FAILURE\"");
    add_build(s, "retried", STAGING, ",\"final\":false");
    add_build(s, "foreign", STAGING, ",\"project\":\"team/other\"");
    assert_int_equal(ask(s), 0);
    assert_string_equal(s->build.uuid, "old");
    const struct zuul_artifact *artifact =
        zuul_artifact_find(&s->build, "quay.io/team/app", "latest");
    assert_non_null(artifact);
    assert_string_equal(artifact->host, STAGING);
    assert_string_equal(artifact->ref, "old_latest");
    expect_asked(s, "patchset", "2");
    set(s, "{\"flat\":true,\"filter\":false}");
    assert_int_equal(ask(s), 0);
    assert_string_equal(s->build.uuid, "old");
}

/* More builds than a page holds, all of others. */
static void test_crowd(void **state)
{
    struct scene *s = *state;
    add_build(s, "mine", STAGING, "");
    for (int i = 0; i < 60; i++)
        add_build(s, arena_printf(&s->arena, "other%d", i), STAGING,
                  i % 2 ? ",\"project\":\"team/other\"" : ",\"result\":\"FAILURE\"");
    assert_int_equal(ask(s), 0);
    assert_string_equal(s->build.uuid, "mine");
}

static void test_none_yet(void **state)
{
    struct scene *s = *state;
    expect_error(s, ERR_TEMP,
                 "Zuul 'main' has no successful build with images of team/app, "
                 "change 7, job build-images yet");
    assert_int_equal(s->err.code, EAGAIN);
    add_build(s, "running", STAGING, ",\"result\":null");
    expect_error(s, ERR_TEMP, "no successful build");
    assert_int_equal(s->err.code, EAGAIN);
    add_build(s, "without", STAGING, ",\"artifacts\":[]");
    expect_error(s, ERR_TEMP, "no successful build");
}

static void test_custom(void **state)
{
    struct scene *s = *state;
    add_build(s, "mine", STAGING, ",\"patchset\":\"3\"");
    expect_error(s, ERR_TEMP, "no successful build");
    s->vars.promote_query = "change={{ zuul.change }}&job_name={{ promote_container_image_job }}";
    (void)send(s, "GET", "log", NULL);
    assert_int_equal(ask(s), 0);
    assert_string_equal(s->build.uuid, "mine");
    expect_asked(s, "project", "team/app");
    s->vars.promote_query = "jobname=x";
    expect_error(s, ERR_PERM,
                 "asking Zuul 'main': it answered 404: it knows no such tenant, or "
                 "not what was asked");
    s->vars.promote_query = "newrev={{ zuul.newrev }}";
    expect_error(s, ERR_CONFIG, "is not a form that can stand here");
}

static void test_hosts(void **state)
{
    struct scene *s = *state;
    add_build(s, "a", "evil.example.org:5000", "");
    expect_error(s, ERR_PERM,
                 "quay.io/team/app:latest of Zuul's build a lies at "
                 "evil.example.org:5000, but zuul.main names the intermediate "
                 "registry " STAGING);
    s->zuuls.at[0].intermediate = NULL;
    expect_error(s, ERR_PERM, "no registry of that name is configured");
    add_build(s, "b", "known.example.org", "");
    assert_int_equal(ask(s), 0);
    assert_string_equal(s->build.uuid, "b");
    s->zuuls.at[0].intermediate = STAGING;
    expect_error(s, ERR_PERM, "lies at known.example.org");
}

static void test_faults(void **state)
{
    struct scene *s = *state;
    set(s, "{\"fail_times\":1,\"fail_retry_after\":\"seconds:9\"}");
    expect_error(s, ERR_TEMP, "asking Zuul 'main': it answered 503");
    assert_int_equal(s->err.retry_after, 9);
    set(s, "{\"redirect\":\"http://127.0.0.1:1/api\"}");
    expect_error(s, ERR_PERM, "it answered 302 where a list of builds was expected");
    set(s, "{\"redirect\":\"\",\"body\":\"<html>\"}");
    expect_error(s, ERR_TEMP, "asking Zuul 'main': Zuul's answer is no JSON");
    set(s, arena_printf(&s->arena, "{\"body\":\"\",\"endless\":%zu}", LIMIT_RESPONSE));
    expect_error(s, ERR_PERM, "asking Zuul 'main'");
    set(s, "{\"endless\":0,\"tenants\":[\"u\"]}");
    expect_error(s, ERR_PERM, "404");
}

/* What a repository writes only selects; nothing that it names is ever called. */
static void test_nobody_asked(void **state)
{
    struct scene *s = *state;
    s->vars.promote_api = arena_printf(&s->arena, "http://%s/api/tenant/u", s->fake.host);
    expect_error(s, ERR_CONFIG, "is none of the entries under `zuul`: main (http://");
    s->vars.promote_api = NULL;
    s->event.change = NULL;
    expect_error(s, ERR_CONFIG, "the change is not known for this event");
    s->event.change = "7";
    s->vars.promote_job = NULL;
    expect_error(s, ERR_CONFIG, "promote_container_image_job is missing");
    s->engine.zuuls = NULL;
    expect_error(s, ERR_CONFIG, "no entry under `zuul`");
    s->engine.zuuls = &s->zuuls;
    assert_string_equal(send(s, "GET", "log", NULL).body, "[]");
}

static void test_unreachable(void **state)
{
    struct scene *s = *state;
    const char *api = s->zuuls.at[0].api;
    s->zuuls.at[0].api = "http://127.0.0.1:1/api/tenant/t";
    expect_error(s, ERR_TEMP, "asking Zuul 'main'");
    s->zuuls.at[0].api = api;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_found, begin_test),
        cmocka_unit_test_setup(test_crowd, begin_test),
        cmocka_unit_test_setup(test_none_yet, begin_test),
        cmocka_unit_test_setup(test_custom, begin_test),
        cmocka_unit_test_setup(test_hosts, begin_test),
        cmocka_unit_test_setup(test_faults, begin_test),
        cmocka_unit_test_setup(test_nobody_asked, begin_test),
        cmocka_unit_test_setup(test_unreachable, begin_test),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
