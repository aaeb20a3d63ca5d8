#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http.h"
#include "tests/unit/stream_help.h"

#include <errno.h>

/* What a GET fills and a PUT empties. The lock guards the flights' names against a landing. */
struct ring {
    pthread_mutex_t lock;
    struct http_client *http;
    struct http_flight *get, *put;
    char *buf;
    size_t cap, from, len;
    uint64_t in, out;
    size_t waits_in, waits_out;
    size_t wrong;
};

static void ring_init(struct ring *r, struct http_client *http, size_t cap)
{
    *r = (struct ring){.http = http, .buf = xmalloc(cap), .cap = cap};
    (void)pthread_mutex_init(&r->lock, NULL);
}

static void ring_release(struct ring *r)
{
    (void)pthread_mutex_destroy(&r->lock);
    free(r->buf);
}

static void ring_resume(struct ring *r, struct http_flight *f)
{
    if (f)
        http_flight_resume(r->http, f);
}

static int ring_write(void *user, const char *data, size_t len)
{
    struct ring *r = user;
    (void)pthread_mutex_lock(&r->lock);
    int rc = r->cap - r->len < len ? HTTP_WAIT : 0;
    r->waits_in += rc == HTTP_WAIT;
    for (size_t i = 0; rc == 0 && i < len; i++) {
        r->buf[(r->from + r->len++) % r->cap] = data[i];
        r->wrong += (unsigned char)data[i] != stream_byte(r->in++);
    }
    ring_resume(r, rc == 0 ? r->put : NULL);
    (void)pthread_mutex_unlock(&r->lock);
    return rc;
}

static ptrdiff_t ring_read(void *user, char *buf, size_t max)
{
    struct ring *r = user;
    (void)pthread_mutex_lock(&r->lock);
    size_t n = r->len < max ? r->len : max;
    for (size_t i = 0; i < n; i++)
        buf[i] = r->buf[(r->from + i) % r->cap];
    r->from = (r->from + n) % r->cap;
    r->len -= n;
    r->out += n;
    r->waits_out += n == 0;
    ring_resume(r, n ? r->get : NULL);
    (void)pthread_mutex_unlock(&r->lock);
    return n ? (ptrdiff_t)n : HTTP_WAIT;
}

static void ring_name(struct ring *r, struct http_flight *get, struct http_flight *put)
{
    (void)pthread_mutex_lock(&r->lock);
    r->get = get;
    r->put = put;
    ring_resume(r, get);
    ring_resume(r, put);
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- from GET to PUT ----------------------------------------------------------------------------
 */

static void pipe_through(const struct fixture *f, const char *from, const char *to, size_t size,
                         size_t cap, struct ring *r)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    ring_init(r, f->http, cap);
    struct http_sink sink = {.write = ring_write, .user = r};
    struct http_source source = {.read = ring_read, .user = r};
    struct http_call get = call_of(&a, f, "GET", from), put = call_of(&a, f, "PUT", to);
    get.sink = &sink;
    get.max_body = 0;
    put.source = &source;
    put.req.body_len = size;
    struct http_flight *one = http_start(f->http, &get), *two = http_start(f->http, &put);
    ring_name(r, one, two);
    struct http_flight *both[] = {one, two};
    for (size_t left = 2; left; left--) {
        size_t at = http_wait(f->http, both, 2, 30000);
        assert_in_range(at, 0, 1);
        ring_name(r, at == 0 ? NULL : r->get, at == 1 ? NULL : r->put);
        struct http_flight *done = both[at];
        both[at] = NULL;
        assert_int_equal(http_land(f->http, done, &a), 0);
    }
    assert_int_equal(get.resp.status, 200);
    assert_int_equal(get.resp.body_len, 0);
    assert_int_equal(answered(&get, "Content-Length"), size);
    assert_int_equal(put.resp.status, 201);
    assert_string_equal(put.resp.body, "ok");
    assert_int_equal(answered(&put, "X-Taken"), size);
    assert_int_equal(answered(&put, "X-Wrong"), 0);
    assert_int_equal(r->in, size);
    assert_int_equal(r->out, size);
    assert_int_equal(r->wrong, 0);
    ring_release(r);
}

static void test_pipe(void **state)
{
    const struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 8191, 16384, 16385, 262144, 300001, 5u << 20};
    static const size_t caps[] = {16384, 20000, KIB(256)};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t k = 0; k < ARRAY_LEN(caps); k++) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            struct ring r;
            print_message("%zu bytes through %zu\n", sizes[i], caps[k]);
            pipe_through(f, arena_printf(&a, "/blob?size=%zu", sizes[i]), "/take", sizes[i],
                         caps[k], &r);
            if (sizes[i] > MIB(1) && caps[k] < KIB(64))
                assert_true(r.waits_in + r.waits_out > 0);
        }
}

static void test_slow_ends(void **state)
{
    const struct fixture *f = *state;
    struct ring r;
    pipe_through(f, "/blob?size=700000", "/take?pause=2", 700000, KIB(32), &r);
    pipe_through(f, "/blob?size=700000&pause=40", "/take", 700000, KIB(32), &r);
    assert_true(r.waits_out > 0);
}

/* More streams than the queue lets in of plain calls, all to one host, and plain calls besides. */
static void test_streams_do_not_queue(void **state)
{
    enum { PAIRS = LIMIT_HTTP_ACTIVE + 4, SIZE = 200000 };
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static struct ring rings[PAIRS];
    static struct http_sink sinks[PAIRS];
    static struct http_source sources[PAIRS];
    static struct http_call gets[PAIRS], puts[PAIRS], plain[4];
    struct http_flight *flights[2 * PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        ring_init(&rings[i], f->http, KIB(20));
        sinks[i] = (struct http_sink){.write = ring_write, .user = &rings[i]};
        gets[i] = call_of(&a, f, "GET", "/blob?size=200000");
        gets[i].sink = &sinks[i];
        flights[i] = http_start(f->http, &gets[i]);
    }
    peer_pause(200); /* all sleep now */
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        plain[i] = call_of(&a, f, "GET", "/blob?size=10");
    assert_int_equal(http_all(f->http, &a, plain, ARRAY_LEN(plain)), 0);
    for (size_t i = 0; i < PAIRS; i++) {
        sources[i] = (struct http_source){.read = ring_read, .user = &rings[i]};
        puts[i] = call_of(&a, f, "PUT", "/take");
        puts[i].source = &sources[i];
        puts[i].req.body_len = SIZE;
        flights[PAIRS + i] = http_start(f->http, &puts[i]);
        ring_name(&rings[i], flights[i], flights[PAIRS + i]);
    }
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        struct http_flight *const one[] = {flights[i]};
        assert_int_equal(http_wait(f->http, one, 1, 20000), 0);
    }
    for (size_t i = 0; i < 2 * PAIRS; i++)
        assert_int_equal(http_land(f->http, flights[i], &a), 0);
    for (size_t i = 0; i < PAIRS; i++) {
        assert_int_equal(answered(&puts[i], "X-Taken"), SIZE);
        assert_int_equal(answered(&puts[i], "X-Wrong"), 0);
        ring_release(&rings[i]);
    }
}

/* The download breaks, the upload sleeps, and a second download goes on where the first ended. */
static void test_resume_by_range(void **state)
{
    enum { SIZE = 1000000 };
    static const long cuts[] = {0, 1, 16384, 99999, SIZE - 1};
    const struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct ring r;
        ring_init(&r, f->http, KIB(64));
        struct http_sink sink = {.write = ring_write, .user = &r};
        struct http_source source = {.read = ring_read, .user = &r};
        struct http_call get =
            call_of(&a, f, "GET", arena_printf(&a, "/blob?size=%d&cut=%ld", SIZE, cuts[i]));
        struct http_call put = call_of(&a, f, "PUT", "/take"), more;
        get.sink = &sink;
        put.source = &source;
        put.req.body_len = SIZE;
        struct http_flight *one = http_start(f->http, &get), *two = http_start(f->http, &put);
        ring_name(&r, one, two);
        struct http_flight *both[] = {one, two};
        assert_int_equal(http_wait(f->http, both, 2, 20000), 0);
        ring_name(&r, NULL, two);
        assert_int_equal(http_land(f->http, one, &a), -1);
        print_message("%s\n", get.err.text);
        assert_int_equal(get.err.kind, ERR_TEMP);
        assert_int_equal(r.in, cuts[i]); /* nothing of what came is lost */
        more = call_of(&a, f, "GET", arena_printf(&a, "/blob?size=%d", SIZE));
        more.sink = &sink;
        http_header_add(&a, &more.req.headers, "Range", arena_printf(&a, "bytes=%ld-", cuts[i]));
        one = http_start(f->http, &more);
        ring_name(&r, one, two);
        struct http_flight *const second[] = {one};
        assert_int_equal(http_wait(f->http, second, 1, 20000), 0);
        ring_name(&r, NULL, two);
        assert_int_equal(http_land(f->http, one, &a), 0);
        assert_int_equal(more.resp.status, 206);
        assert_int_equal(land(f, two, &a), 0);
        assert_int_equal(answered(&put, "X-Taken"), SIZE);
        assert_int_equal(answered(&put, "X-Wrong"), 0);
        ring_release(&r);
    }
}

/* --- sources ------------------------------------------------------------------------------------
 */

static void test_request_head(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"PUT", "POST", "PATCH"};
    static const size_t sizes[] = {0, 1, 70000};
    for (size_t i = 0; i < ARRAY_LEN(methods) * ARRAY_LEN(sizes); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct tap tap = {0};
        struct http_source source = {.read = tap_read, .user = &tap};
        size_t size = sizes[i % ARRAY_LEN(sizes)];
        struct http_call put = put_of(&a, f, "/take", &source, size);
        struct err err = ERR_INIT;
        put.req.method = methods[i / ARRAY_LEN(sizes)];
        assert_int_equal(http_do(f->http, &a, &put, &err), 0);
        assert_int_equal(put.resp.status, 201);
        assert_int_equal(answered(&put, "X-Taken"), size);
        assert_int_equal(answered(&put, "X-Wrong"), 0);
        const char *head = stream_seen(&a, &f->peer);
        assert_true(str_starts(head, arena_printf(&a, "%s /take HTTP/1.1\r\n", put.req.method)));
        assert_non_null(strstr(head, arena_printf(&a, "\r\nContent-Length: %zu\r\n", size)));
        static const char *const unwanted[] = {
            "\nExpect:", "\nTransfer-Encoding:", "\nContent-Type:", "\nAuthorization:"};
        for (size_t k = 0; k < ARRAY_LEN(unwanted); k++)
            assert_null(stream_header(head, unwanted[k]));
    }
}

static void *waker(void *user)
{
    void **with = user;
    struct http_flight *flight = with[1];
    atomic_bool *stop = with[2];
    while (!atomic_load(stop))
        http_flight_resume(with[0], flight);
    return NULL;
}

/* 1,250 sleeps, each ended by a thread that never looks: a lost wake-up would hang. */
static void test_many_pauses(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct tap tap = {.pause_each = 160};
    struct http_source source = {.read = tap_read, .user = &tap};
    struct http_call put = put_of(&a, f, "/take", &source, 200000);
    struct http_flight *flight = http_start(f->http, &put);
    atomic_bool stop = false;
    void *with[] = {f->http, flight, &stop};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, waker, with), 0);
    struct http_flight *const one[] = {flight};
    assert_int_equal(http_wait(f->http, one, 1, 60000), 0);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(http_land(f->http, flight, &a), 0);
    assert_int_equal(tap.sleeps, 1250);
    assert_int_equal(answered(&put, "X-Wrong"), 0);
}

/* One wake-up for each sleep, and none more. */
static void test_each_wake_up_counts(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct tap tap = {.pause_each = 1000};
    struct http_source source = {.read = tap_read, .user = &tap};
    struct http_call put = put_of(&a, f, "/take", &source, 300000);
    struct http_flight *flight = http_start(f->http, &put);
    for (size_t woken = 0; woken < 300; woken++) {
        for (int i = 0; i < 20000 && atomic_load(&tap.sleeps) == woken; i++)
            peer_pause(i < 100 ? 0 : 1);
        assert_int_equal(tap.sleeps, woken + 1);
        http_flight_resume(f->http, flight);
    }
    assert_int_equal(land(f, flight, &a), 0);
    assert_int_equal(answered(&put, "X-Taken"), 300000);
    assert_int_equal(answered(&put, "X-Wrong"), 0);
}

static void test_source_ends(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        ptrdiff_t odd;
        enum err_kind kind;
        int code;
    } table[] = {{0, ERR_PERM, ECANCELED}, {-7, ERR_BUG, 0}, {PTRDIFF_MAX, ERR_BUG, 0}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct tap tap = {.stop_at = 100000, .odd = table[i].odd};
        struct http_source source = {.read = tap_read, .user = &tap};
        struct http_call put = put_of(&a, f, "/take", &source, 10000000);
        struct err err = ERR_INIT;
        assert_int_equal(http_do(f->http, &a, &put, &err), -1);
        assert_int_equal(err.kind, table[i].kind);
        assert_int_equal(err.code, table[i].code);
        assert_int_equal(put.resp.status, 0);
    }
}

/* The server refuses while the body is on its way, or while its source sleeps, and closes. */
static void test_early_answer(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *path;
        int status;
        size_t pause_each;
    } table[] = {
        {"/early?status=413&after=0", 413, 0},       {"/early?status=413&after=100000", 413, 70000},
        {"/early?status=401&after=1000", 401, 1000}, {"/early?status=503&after=65536", 503, 65536},
        {"/early?status=307&after=1000", 307, 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct tap tap = {.pause_each = table[i].pause_each, .slept = true};
        struct http_source source = {.read = tap_read, .user = &tap};
        struct http_call put = put_of(&a, f, table[i].path, &source, MIB(64));
        print_message("%s\n", table[i].path);
        struct http_flight *flight = http_start(f->http, &put);
        for (int k = 0; table[i].pause_each && k < 2000 &&
                        atomic_load(&tap.given) < (size_t)stream_param(put.req.url, "after", 0);
             k++) {
            http_flight_resume(f->http, flight);
            peer_pause(1);
        }
        int rc = land(f, flight, &a);
        if (table[i].pause_each == 0 && rc < 0)
            assert_int_equal(put.err.kind, ERR_TEMP); /* the reset may overtake the answer */
        else
            assert_int_equal(rc, 0);
        if (rc == 0)
            assert_int_equal(put.resp.status, table[i].status);
        assert_true(atomic_load(&tap.given) < MIB(64));
    }
}

/* A warm connection breaks when the body is half way: curl would try once more by itself, but what
 * the source gave is gone. */
static void test_no_second_try(void **state)
{
    struct fixture *f = *state;
    static const size_t after[] = {0, 1000, 65000, 0, 3000000};
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct http_call warm = call_of(&a, f, "GET", "/blob?size=1");
        struct err err = ERR_INIT;
        assert_int_equal(http_do(f->http, &a, &warm, NULL), 0);
        int before = atomic_load(&f->peer.requests);
        struct tap tap = {0};
        struct http_source source = {.read = tap_read, .user = &tap};
        struct http_call put =
            put_of(&a, f, arena_printf(&a, "/drop?after=%zu", after[i]), &source, MIB(64));
        assert_int_equal(http_do(f->http, &a, &put, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_TEMP);
        assert_int_equal(atomic_load(&f->peer.requests), before + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_slow_ends),
        cmocka_unit_test(test_streams_do_not_queue),
        cmocka_unit_test(test_resume_by_range),
        cmocka_unit_test(test_request_head),
        cmocka_unit_test(test_many_pauses),
        cmocka_unit_test(test_each_wake_up_counts),
        cmocka_unit_test(test_source_ends),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_no_second_try),
    };
    return cmocka_run_group_tests(tests, stream_set_up, stream_tear_down);
}
