#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http.h"
#include "core/os/clock.h"
#include "tests/unit/stream_peer.h"

#include <errno.h>

struct fixture {
    struct stream_peer peer;
    struct http_client *http;
};

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

/* A call with the peer; the URL lives in the arena. */
static struct http_call call_of(struct arena *a, const struct fixture *f, const char *method,
                                const char *path)
{
    return (struct http_call){
        .req = {.method = method, .url = arena_printf(a, "http://%s%s", f->peer.host, path)},
        .via = {.http1 = true},
        .max_body = KIB(64)};
}

static int land(const struct fixture *f, struct http_flight *flight, struct arena *a)
{
    struct http_flight *const one[] = {flight};
    assert_int_equal(http_wait(f->http, one, 1, 20000), 0);
    return http_land(f->http, flight, a);
}

static long answered(const struct http_call *call, const char *name)
{
    const char *value = http_header(&call->resp.headers, name);
    return value ? strtol(value, NULL, 10) : -1;
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

/* The pattern, with a will of its own: after `pause_each` bytes it sleeps, at `stop_at` it stops.
 */
struct tap {
    atomic_ulong given;
    size_t pause_each;
    size_t stop_at;
    ptrdiff_t odd; /* an answer that no source may give */
    bool slept;
    atomic_ulong sleeps;
};

static ptrdiff_t tap_read(void *user, char *buf, size_t max)
{
    struct tap *t = user;
    size_t at = atomic_load(&t->given);
    if (t->stop_at && at >= t->stop_at)
        return t->odd ? t->odd : HTTP_STOP;
    if (t->pause_each && at % t->pause_each == 0 && !t->slept) {
        t->slept = true;
        (void)atomic_fetch_add(&t->sleeps, 1);
        return HTTP_WAIT;
    }
    t->slept = false;
    if (t->pause_each && max > t->pause_each - at % t->pause_each)
        max = t->pause_each - at % t->pause_each;
    for (size_t i = 0; i < max; i++)
        buf[i] = (char)stream_byte(at + i);
    atomic_store(&t->given, at + max);
    return (ptrdiff_t)max;
}

static struct http_call put_of(struct arena *a, const struct fixture *f, const char *path,
                               const struct http_source *source, size_t size)
{
    struct http_call put = call_of(a, f, "PUT", path);
    put.source = source;
    put.req.body_len = size;
    return put;
}

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

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    stream_peer_start(&f->peer);
    f->http = http_client_new(NULL, &err);
    *state = f;
    return f->http ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->http);
    stream_peer_stop(&f->peer);
    free(f);
    return 0;
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
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_sleep_is_no_stall),
        cmocka_unit_test(test_land_under_way),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_contract),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
