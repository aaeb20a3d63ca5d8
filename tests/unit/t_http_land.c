#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/lib/http.h"
#include "core/os/clock.h"
#include "tests/unit/stream_help.h"

#include <errno.h>

/* --- sinks --------------------------------------------------------------------------------------
 */

struct bowl {
    size_t taken, wrong, begun;
    size_t stop_at;
    bool stop_at_head;
    bool full; /* takes nothing, and sleeps */
    int status;
    long length;
    atomic_ulong calls;
};

static int bowl_begin(void *user, int status, const struct http_headers *headers)
{
    struct bowl *b = user;
    const char *length = http_header(headers, "content-length");
    b->begun++;
    b->status = status;
    b->length = length ? strtol(length, NULL, 10) : -1;
    return b->stop_at_head ? HTTP_STOP : 0;
}

static int bowl_write(void *user, const char *data, size_t len)
{
    struct bowl *b = user;
    (void)atomic_fetch_add(&b->calls, 1);
    if (b->full)
        return HTTP_WAIT;
    if (b->stop_at && b->taken + len > b->stop_at)
        return HTTP_STOP;
    for (size_t i = 0; i < len; i++)
        b->wrong += (unsigned char)data[i] != stream_byte(b->taken + i);
    b->taken += len;
    return 0;
}

static void test_sink(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *path;
        struct bowl bowl;
        int status; /* 0: fails */
        size_t taken, gathered, begun;
    } table[] = {
        {"/blob?size=100000", {0}, 200, 100000, 0, 1},
        {"/blob?size=0", {0}, 200, 0, 0, 1},
        {"/blob?size=100&status=206", {0}, 206, 100, 0, 1},
        {"/blob?size=100&status=404", {0}, 404, 0, 100, 0},
        {"/blob?size=100&status=302", {0}, 302, 0, 100, 0},
        {"/blob?size=100&status=202", {0}, 202, 0, 100, 0},
        {"/blob?size=9000000&status=500", {0}, 500, 0, LIMIT_ERROR_BODY, 0},
        {"/blob?size=100000", {.stop_at_head = true}, 0, 0, 0, 1},
        {"/blob?size=900000", {.stop_at = 65536}, 0, 65536, 0, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct bowl bowl = table[i].bowl;
        struct http_sink sink = {bowl_begin, bowl_write, &bowl};
        struct http_call get = call_of(&a, f, "GET", table[i].path);
        get.sink = &sink;
        get.max_body = 100;
        int rc = land(f, http_start(f->http, &get), &a);
        print_message("%s: %s\n", table[i].path, rc == 0 ? "landed" : get.err.text);
        assert_int_equal(rc, table[i].status ? 0 : -1);
        assert_int_equal(get.resp.status, table[i].status);
        assert_int_equal(bowl.begun, table[i].begun);
        assert_int_equal(get.resp.body_len, table[i].gathered);
        assert_true(bowl.taken <= table[i].taken && bowl.wrong == 0);
        if (table[i].status) {
            assert_int_equal(bowl.taken, table[i].taken);
            assert_true(bowl.begun == 0 || bowl.length == (long)table[i].taken);
        } else {
            assert_int_equal(get.err.kind, ERR_PERM);
            assert_int_equal(get.err.code, ECANCELED);
        }
    }
}

/* --- time ---------------------------------------------------------------------------------------
 */

static void test_stall(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct bowl bowl = {0};
    struct tap tap = {0};
    struct http_sink sink = {bowl_begin, bowl_write, &bowl};
    struct http_source source = {.read = tap_read, .user = &tap};
    struct http_call calls[] = {call_of(&a, f, "GET", "/silent"),
                                put_of(&a, f, "/hole", &source, MIB(64)),
                                put_of(&a, f, "/take?late=3000", &source, 10)};
    calls[0].sink = &sink;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        tap.given = 0;
        calls[i].stall_ms = 300;
        int64_t before = clock_monotonic_ms();
        assert_int_equal(land(f, http_start(f->http, &calls[i]), &a), -1);
        int64_t took = clock_monotonic_ms() - before;
        print_message("%lld ms: %s\n", (long long)took, calls[i].err.text);
        assert_int_equal(calls[i].err.kind, ERR_TEMP);
        assert_non_null(strstr(calls[i].err.text, "no byte moved for 300 ms"));
        assert_in_range(took, 300, 3000);
    }
}

/* Bytes that come slowly are no stall, nor is sleep, however long; the whole time still counts. */
static void test_sleep_is_no_stall(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct bowl bowl = {.full = true};
    struct tap tap = {.pause_each = 10};
    struct http_sink sink = {bowl_begin, bowl_write, &bowl};
    struct http_source source = {.read = tap_read, .user = &tap};
    struct http_call get = call_of(&a, f, "GET", "/blob?size=50000");
    struct http_call put = put_of(&a, f, "/take", &source, 10);
    struct http_call slow = call_of(&a, f, "GET", "/blob?size=400000&pause=150");
    struct bowl other = {0};
    struct http_sink other_sink = {bowl_begin, bowl_write, &other};
    get.sink = &sink;
    slow.sink = &other_sink;
    get.stall_ms = put.stall_ms = slow.stall_ms = 500;
    struct http_flight *flights[] = {http_start(f->http, &get), http_start(f->http, &put),
                                     http_start(f->http, &slow)};
    peer_pause(1200);
    assert_int_equal(http_wait(f->http, flights, 2, 0), 2);
    http_flight_resume(f->http, flights[1]);
    assert_int_equal(land(f, flights[1], &a), 0);
    assert_int_equal(land(f, flights[2], &a), 0);
    assert_int_equal(other.taken, 400000);
    assert_int_equal(http_wait(f->http, flights, 1, 0), 1);
    assert_int_equal(http_land(f->http, flights[0], &a), -1);
    get.timeout_ms = 400;
    int64_t before = clock_monotonic_ms();
    assert_int_equal(land(f, http_start(f->http, &get), &a), -1);
    assert_int_equal(get.err.kind, ERR_TEMP);
    assert_in_range(clock_monotonic_ms() - before, 390, 3000);
}

static void test_land_under_way(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct bowl bowl = {0}, full = {.full = true};
    struct tap tap = {.pause_each = 1000}, quick = {0};
    struct http_sink sink = {bowl_begin, bowl_write, &bowl}, asleep = {NULL, bowl_write, &full};
    struct http_source source = {.read = tap_read, .user = &tap};
    struct http_source moving = {.read = tap_read, .user = &quick};
    struct http_call calls[] = {
        call_of(&a, f, "GET", "/silent"), call_of(&a, f, "GET", "/blob?size=100000"),
        put_of(&a, f, "/take", &source, 100000), put_of(&a, f, "/take", &moving, (size_t)1 << 40),
        call_of(&a, f, "GET", "/silent")};
    calls[0].sink = &sink;
    calls[1].sink = &asleep;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            tap.given = quick.given = 0;
            struct http_flight *flight = http_start(f->http, &calls[i]);
            peer_pause(round % 3 * 10); /* also before it has left the queue */
            int64_t before = clock_monotonic_ms();
            assert_int_equal(http_land(f->http, flight, &a), -1);
            assert_in_range(clock_monotonic_ms() - before, 0, 1000);
            assert_int_equal(calls[i].err.kind, ERR_PERM);
            assert_int_equal(calls[i].err.code, ECANCELED);
            unsigned long calls_now = atomic_load(&full.calls), given = atomic_load(&quick.given);
            peer_pause(2);
            assert_int_equal(calls_now, atomic_load(&full.calls));
            assert_int_equal(given, atomic_load(&quick.given));
        }
}

static void test_wait(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_call calls[] = {call_of(&a, f, "GET", "/silent"),
                                call_of(&a, f, "GET", "/blob?size=5"),
                                call_of(&a, f, "GET", "nonsense")};
    calls[2].req.url = "nonsense";
    struct http_flight *flights[] = {http_start(f->http, &calls[0]), NULL,
                                     http_start(f->http, &calls[1])};
    assert_int_equal(http_wait(f->http, flights, 3, -1), 2);
    assert_int_equal(http_wait(f->http, flights, 2, 50), 2);
    assert_int_equal(http_wait(f->http, flights, 0, -1), 0);
    assert_int_equal(http_land(f->http, flights[2], &a), 0);
    assert_int_equal(calls[1].resp.body_len, 5);
    assert_int_equal(http_land(f->http, flights[0], &a), -1);
    struct http_flight *refused = http_start(f->http, &calls[2]);
    struct http_flight *const one[] = {refused};
    assert_int_equal(http_wait(f->http, one, 1, -1), 0);
    assert_int_equal(http_land(f->http, refused, &a), -1);
    assert_int_equal(calls[2].err.kind, ERR_BUG);
}

static void test_contract(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct tap tap = {0};
    struct http_source source = {.read = tap_read, .user = &tap}, mute = {0};
    struct http_sink deaf = {0};
    struct http_call calls[] = {
        put_of(&a, f, "/take", &source, 2), put_of(&a, f, "/take", &source, 2),
        put_of(&a, f, "/take", &mute, 2), call_of(&a, f, "GET", "/blob?size=1")};
    calls[0].req.body = "ab";
    calls[1].req.method = "GET";
    calls[3].sink = &deaf;
    assert_int_equal(http_all(f->http, &a, calls, ARRAY_LEN(calls)), ARRAY_LEN(calls));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        assert_int_equal(calls[i].err.kind, ERR_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_sleep_is_no_stall),
        cmocka_unit_test(test_land_under_way),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_contract),
    };
    return cmocka_run_group_tests(tests, stream_set_up, stream_tear_down);
}
