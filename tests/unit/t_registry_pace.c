#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/os/clock.h"
#include "core/registry/pace.h"
#include "tests/unit/fake_help.h"

#include <pthread.h>

static struct registry_op look(struct client *c, struct arena *a, bool patient)
{
    struct registry_op op = {.verb = REGISTRY_HEAD,
                             .host = c->conf.host,
                             .name = NAME,
                             .ref = "latest",
                             .access = {.patient = patient}};
    (void)registry_all(c->registry, a, &op, 1);
    if (op.failed)
        print_message("%s\n", op.err.text);
    return op;
}

static void start(struct fixture *f, struct arena *a, struct client *c)
{
    control(&f->fake, "reset", "{}");
    (void)fresh(f, a, "{}");
    client_open(c, f->fake.host, NULL, NULL);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t number, window;
    } table[] = {{"100;w=21600", 100, 21600},
                 {"0", 0, 0},
                 {"76; w=60", 76, 60},
                 {"5;x=1;w=9;y", 5, 9},
                 {"5;w=", 5, 0},
                 {"", -1, 0},
                 {"-1", -1, 0},
                 {"x", -1, 0},
                 {"99999999999999999999", -1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t number = -1, window = 0;
        assert_int_equal(pace_parse_rate(table[i].text, &number, &window), table[i].number >= 0);
        assert_int_equal(number, table[i].number);
        assert_int_equal(window, table[i].window);
    }
    for (int tries = 1; tries < 60; tries++) {
        int64_t most = tries > 8 ? 30000 : INT64_C(200) << (tries - 1);
        int64_t delay = pace_delay_ms(tries);
        assert_in_range(delay, (most < 30000 ? most : 30000) / 2, most < 30000 ? most : 30000);
    }
}

static void test_rate_is_noted(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, &c);
    assert_int_equal(registry_rate(c.registry, c.conf.host, false).limit, -1);
    control(&f->fake, "config", "{\"ratelimit\":\"100;w=21600\",\"ratelimit_remaining\":76}");
    assert_false(look(&c, &a, false).failed);
    struct registry_rate rate = registry_rate(c.registry, c.conf.host, false);
    assert_int_equal(rate.limit, 100);
    assert_int_equal(rate.window_s, 21600);
    assert_in_range(rate.remaining, 75, 76);
    assert_in_range(rate.seen_ms, clock_now_ms() - 5000, clock_now_ms());
    assert_int_equal(registry_rate(c.registry, c.conf.host, true).limit, -1);
    assert_int_equal(registry_rate(c.registry, "elsewhere.example.org", false).remaining, -1);
    client_close(&c);
}

/* The host said when: nobody asks before, and whoever has no patience is told. */
static void test_quiet_for_all(void **state)
{
    struct fixture *f = *state;
    static const char *const forms[] = {"seconds:30", "date:30", "timestamp:30"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        start(f, &a, &c);
        control(&f->fake, "rule",
                arena_printf(&a, "{\"path\":\"/v2/\",\"status\":%d,\"retry_after\":\"%s\"}",
                             i ? 429 : 503, forms[i]));
        struct registry_op op = look(&c, &a, false);
        assert_int_equal(op.err.kind, ERR_TEMP);
        assert_in_range(op.err.retry_after, 28, 30);
        (void)requests(&a, &f->fake);
        op = look(&c, &a, false);
        assert_int_equal(op.err.kind, ERR_TEMP);
        assert_in_range(op.err.retry_after, 28, 30);
        assert_non_null(strstr(op.err.text, f->fake.host));
        assert_non_null(strstr(op.err.text, "left alone until"));
        struct registry_op twin = {.verb = REGISTRY_HEAD,
                                   .host = c.conf.host,
                                   .name = "team/other",
                                   .ref = "x",
                                   .access.anonymous = true};
        assert_int_equal(registry_all(c.registry, &a, &twin, 1), 1);
        assert_string_equal(requests(&a, &f->fake), "");
        client_close(&c);
    }
}

static void test_short_quiet_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, &c);
    control(&f->fake, "rule", "{\"path\":\"/v2/\",\"status\":429,\"retry_after\":\"seconds:1\"}");
    assert_true(look(&c, &a, false).failed);
    int64_t began = clock_monotonic_ms();
    assert_false(look(&c, &a, false).failed);
    assert_in_range(clock_monotonic_ms() - began, 500, 1900);
    client_close(&c);
}

/* One trouble silences nobody; several in a row do so for a moment only. */
static void test_troubles_pass(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, &c);
    control(&f->fake, "rule", "{\"path\":\"/v2/\",\"status\":500,\"times\":12}");
    for (int i = 0; i < 2; i++)
        assert_true(look(&c, &a, false).failed);
    assert_int_equal(pace_quiet_ms(c.registry, registry_find(c.registry, c.conf.host, true)), 0);
    for (int i = 0; i < 10; i++) {
        assert_true(look(&c, &a, false).failed);
        assert_true(pace_quiet_ms(c.registry, registry_find(c.registry, c.conf.host, false)) <=
                    1000);
    }
    assert_false(look(&c, &a, false).failed);
    assert_int_equal(pace_quiet_ms(c.registry, registry_find(c.registry, c.conf.host, false)), 0);
    client_close(&c);
}

static void test_patience(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *rule;
        const char *requests;
        bool failed;
    } table[] = {
        {"\"status\":503", "HEAD HEAD", false},
        {"\"status\":500,\"times\":3", "HEAD HEAD HEAD HEAD", false},
        {"\"close\":true", "HEAD HEAD", false},
        {"\"status\":429,\"retry_after\":\"seconds:1\"", "HEAD HEAD", false},
        {"\"status\":403,\"times\":3", "HEAD", true},
        {"\"status\":501,\"times\":3", "HEAD GET", true},
        {"\"status\":503,\"retry_after\":\"seconds:600\"", "HEAD", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        start(f, &a, &c);
        control(&f->fake, "rule", arena_printf(&a, "{\"path\":\"/v2/\",%s}", table[i].rule));
        struct registry_op op = look(&c, &a, true);
        assert_int_equal(op.failed, table[i].failed);
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
}

static struct exchange send_one(struct client *c, struct arena *a, const char *method,
                                const char *path, bool safe)
{
    struct exchange x = {.host = registry_find(c->registry, c->conf.host, false),
                         .name = NAME,
                         .access.patient = true,
                         .method = method,
                         .path = path,
                         .safe = safe,
                         .max_body = KIB(64)};
    exchange_all(c->registry, a, &x, 1);
    return x;
}

/* Only what does no harm twice is done twice. */
static void test_what_is_repeated(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *path, *requests;
        bool safe;
    } table[] = {
        {"GET", "tags/list", "GET GET", false},
        {"DELETE", "manifests/none", "DELETE DELETE", false},
        {"POST", "blobs/uploads/", "POST", false},
        {"POST", "blobs/uploads/?mount=x&from=y", "POST POST", true},
        {"PATCH", "blobs/uploads/1", "PATCH", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        start(f, &a, &c);
        control(&f->fake, "rule", "{\"path\":\"/v2/\",\"status\":502}");
        (void)send_one(&c, &a, table[i].method, table[i].path, table[i].safe);
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
}

static void *stop_soon(void *registry)
{
    peer_pause(200);
    registry_stop(registry);
    return NULL;
}

static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    pthread_t thread;
    start(f, &a, &c);
    control(&f->fake, "rule", "{\"path\":\"/v2/\",\"status\":429,\"retry_after\":\"seconds:60\"}");
    int64_t began = clock_monotonic_ms();
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, c.registry), 0);
    struct registry_op op = look(&c, &a, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(op.err.kind, ERR_TEMP);
    assert_true(clock_monotonic_ms() - began < 5000);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_rate_is_noted),
        cmocka_unit_test(test_quiet_for_all),
        cmocka_unit_test(test_short_quiet_is_waited_for),
        cmocka_unit_test(test_troubles_pass),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_what_is_repeated),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
