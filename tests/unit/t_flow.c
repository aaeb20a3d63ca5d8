#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/registry/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A blob of some size, and what is told of its progress. */
struct scene {
    char *bytes;
    size_t size;
    char digest[CRYPT_DIGEST_TEXT];
    int64_t told;
    struct blob_progress progress;
    struct flow *flow;
    struct http_sink sink;
    struct http_source source;
};

static void on_moved(void *user, int64_t bytes)
{
    ((struct scene *)user)->told += bytes;
}

static void open_scene(struct scene *s, size_t size, size_t window)
{
    *s = (struct scene){.size = size, .bytes = xmalloc(size + 1)};
    for (size_t i = 0; i < size; i++)
        s->bytes[i] = (char)(i * 31 + i / 251);
    crypt_digest(s->bytes, size, s->digest);
    s->progress = (struct blob_progress){.moved = on_moved, .user = s};
    s->flow = flow_new(NULL, s->digest, (int64_t)size, &s->progress, window);
    s->sink = flow_sink(s->flow);
    s->source = flow_source(s->flow);
}

static void close_scene(struct scene *s)
{
    flow_free(s->flow);
    free(s->bytes);
}

static int begin(const struct scene *s, int status, const char *const headers[4][2])
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_headers list = {0};
    for (size_t i = 0; headers && i < 4 && headers[i][0]; i++)
        http_header_add(&a, &list, headers[i][0], headers[i][1]);
    return s->sink.begin(s->sink.user, status, &list);
}

static int feed(const struct scene *s, size_t from, size_t len)
{
    return s->sink.write(s->sink.user, s->bytes + from, len);
}

/* Reads until it sleeps or stops; returns how much came in all. */
static size_t drain(const struct scene *s, char *out, size_t max, ptrdiff_t *last)
{
    size_t n = 0;
    while (n < max && (*last = s->source.read(s->source.user, out + n, max - n)) > 0)
        n += (size_t)*last;
    return n;
}

/* Through the ring in odd pieces, many times its length. */
static void test_passes(void **state)
{
    (void)state;
    static const size_t windows[] = {0, KIB(100)};
    for (size_t w = 0; w < ARRAY_LEN(windows); w++) {
        struct scene s;
        open_scene(&s, MIB(3) + 17, windows[w]);
        char *out CLEANUP(cleanup_free) = xmalloc(s.size);
        assert_int_equal(begin(&s, 200, NULL), 0);
        size_t in = 0, done = 0;
        for (size_t turn = 1; done < s.size; turn++) {
            size_t piece = 1 + turn * 7919 % 16384;
            piece = piece < s.size - in ? piece : s.size - in;
            if (piece) {
                int rc = feed(&s, in, piece);
                assert_true(rc == 0 || rc == HTTP_WAIT);
                in += rc == 0 ? piece : 0;
            }
            size_t want = 1 + turn * 104729 % 9000;
            want = want < s.size - done ? want : s.size - done;
            ptrdiff_t got = s.source.read(s.source.user, out + done, want);
            assert_true(got > 0 || got == HTTP_WAIT);
            done += got > 0 ? (size_t)got : 0;
            if (turn % 5 == 0)
                flow_arrived(s.flow);
            if (in < s.size)
                assert_false(flow_whole(s.flow));
        }
        assert_true(flow_whole(s.flow));
        assert_memory_equal(out, s.bytes, s.size);
        assert_int_equal(s.told, s.size);
        close_scene(&s);
    }
}

/* Nothing that is wrong is ever handed on whole. */
static void test_wrong_bytes(void **state)
{
    (void)state;
    struct scene s;
    char out[64];
    ptrdiff_t last;
    struct err err = ERR_INIT;
    open_scene(&s, 20, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(feed(&s, 0, 10), 0);
    assert_int_equal(drain(&s, out, 20, &last), 10);
    assert_int_equal(last, HTTP_WAIT);
    s.bytes[15] ^= 1;
    assert_int_equal(feed(&s, 10, 10), HTTP_STOP);
    assert_int_equal(drain(&s, out, 20, &last), 0);
    assert_int_equal(last, HTTP_STOP);
    assert_true(flow_failed(s.flow, &err));
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "wrong bytes"));
    assert_non_null(strstr(err.text, s.digest));
    flow_untell(s.flow);
    assert_int_equal(s.told, 0);
    close_scene(&s);
    /* The last byte waits for the digest, however it comes. */
    open_scene(&s, 20, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(feed(&s, 0, 19), 0);
    assert_int_equal(drain(&s, out, 20, &last), 19);
    assert_int_equal(last, HTTP_WAIT);
    assert_int_equal(feed(&s, 19, 1), 0);
    assert_int_equal(drain(&s, out, 1, &last), 1);
    /* More than there should be. */
    assert_int_equal(feed(&s, 0, 1), HTTP_STOP);
    close_scene(&s);
    open_scene(&s, 20, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(s.sink.write(s.sink.user, "123456789012345678901", 21), HTTP_STOP);
    assert_int_equal(drain(&s, out, 20, &last), 0);
    close_scene(&s);
    /* Fewer. */
    open_scene(&s, 20, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(feed(&s, 0, 5), 0);
    assert_int_equal(flow_check_end(s.flow, &err), -1);
    assert_non_null(strstr(err.text, "5 bytes instead of"));
    close_scene(&s);
    /* One byte. */
    open_scene(&s, 1, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(drain(&s, out, 1, &last), 0);
    assert_int_equal(feed(&s, 0, 1), 0);
    assert_int_equal(drain(&s, out, 1, &last), 1);
    assert_int_equal(flow_check_end(s.flow, &err), 0);
    close_scene(&s);
}

static void test_heads(void **state)
{
    (void)state;
    static const struct {
        size_t known;
        int status;
        const char *headers[4][2];
        int rc;
    } table[] = {
        {0, 200, {{NULL, NULL}}, 0},
        {0, 200, {{"Content-Length", "100"}}, 0},
        {0, 200, {{"Content-Length", "99"}}, HTTP_STOP},
        {0, 200, {{"Content-Length", "101"}}, HTTP_STOP},
        {0, 200, {{"Content-Length", "-1"}}, HTTP_STOP},
        {0, 200, {{"Content-Length", "x"}}, HTTP_STOP},
        {0, 200, {{"Content-Encoding", "gzip"}}, HTTP_STOP},
        {0, 200, {{"Content-Encoding", "identity"}, {"content-length", "100"}}, 0},
        {40, 200, {{"Content-Length", "100"}}, 0},
        {40, 200, {{"Content-Length", "60"}}, HTTP_STOP},
        {40, 206, {{"Content-Range", "bytes 40-99/100"}, {"Content-Length", "60"}}, 0},
        {40, 206, {{"Content-Range", "bytes 40-99/*"}}, 0},
        {40, 206, {{"Content-Range", "bytes 40-99/101"}}, HTTP_STOP},
        {40, 206, {{"Content-Range", "bytes 39-99/100"}}, HTTP_STOP},
        {40, 206, {{"Content-Range", "bytes 40-98/100"}}, HTTP_STOP},
        {40, 206, {{"Content-Range", "bytes 40-99/100"}, {"Content-Length", "61"}}, HTTP_STOP},
        {40, 206, {{"Content-Range", "bytes */100"}}, HTTP_STOP},
        {40, 206, {{NULL, NULL}}, HTTP_STOP},
        {0, 206, {{"Content-Range", "bytes 0-99/100"}}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct scene s;
        struct err err = ERR_INIT;
        open_scene(&s, 100, 0);
        if (table[i].known) {
            assert_int_equal(begin(&s, 200, NULL), 0);
            assert_int_equal(feed(&s, 0, table[i].known), 0);
        }
        assert_int_equal(flow_expect(s.flow), table[i].known);
        int rc = begin(&s, table[i].status, table[i].headers);
        if (rc != table[i].rc)
            fail_msg("row %zu: %d", i, rc);
        assert_int_equal(flow_failed(s.flow, &err), rc != 0);
        if (rc == 0) {
            size_t from = table[i].status == 206 ? table[i].known : 0;
            /* The part that is known already may end inside a piece. */
            for (size_t n = 0; from < 100; from += n) {
                n = 100 - from < 33 ? 100 - from : 33;
                assert_int_equal(feed(&s, from, n), 0);
            }
            assert_true(flow_whole(s.flow));
        } else {
            assert_int_equal(err.kind, ERR_PERM);
            assert_int_equal(feed(&s, 0, 1), HTTP_STOP);
        }
        close_scene(&s);
    }
}

static void test_full_ring(void **state)
{
    (void)state;
    struct scene s;
    ptrdiff_t last;
    char *out CLEANUP(cleanup_free) = xmalloc(LIMIT_RING * 2);
    open_scene(&s, LIMIT_RING * 2, 0);
    assert_int_equal(begin(&s, 200, NULL), 0);
    size_t in = 0;
    while (feed(&s, in, 16384) == 0)
        in += 16384;
    assert_int_equal(in, LIMIT_RING);
    assert_int_equal(feed(&s, in, 1), HTTP_WAIT);
    assert_int_equal(drain(&s, out, 16384, &last), 16384);
    assert_int_equal(feed(&s, in, 16384), 0);
    assert_int_equal(feed(&s, in, 1), HTTP_WAIT);
    close_scene(&s);
}

/* What was handed on and has not arrived is handed on again, as it was. */
static void test_rewind(void **state)
{
    (void)state;
    struct scene s;
    ptrdiff_t last;
    size_t window = KIB(64);
    open_scene(&s, MIB(1), window);
    char *out CLEANUP(cleanup_free) = xmalloc(s.size);
    assert_int_equal(begin(&s, 200, NULL), 0);
    size_t in = 0;
    for (size_t at = 0; at < s.size; at += window) {
        for (int again = 0; again < 3; again++) {
            while (in < s.size && feed(&s, in, 4096) == 0)
                in += 4096;
            assert_int_equal(drain(&s, out, window, &last), window);
            assert_memory_equal(out, s.bytes + at, window);
            assert_int_equal(flow_sent(s.flow), at + window);
            assert_int_equal(s.told, at + window);
            if (again < 2)
                assert_true(flow_rewind(s.flow, (int64_t)at));
        }
        assert_true(flow_rewind(s.flow, (int64_t)(at + 100)));
        assert_int_equal(s.told, at + 100);
        assert_false(flow_rewind(s.flow, (int64_t)at));
        assert_int_equal(drain(&s, out, window - 100, &last), window - 100);
        assert_memory_equal(out, s.bytes + at + 100, window - 100);
        flow_arrived(s.flow);
        assert_false(flow_rewind(s.flow, (int64_t)(at + window - 1)));
        assert_false(flow_rewind(s.flow, (int64_t)(at + window + 1)));
    }
    assert_true(flow_whole(s.flow));
    close_scene(&s);
    open_scene(&s, MIB(1), 0);
    assert_int_equal(feed(&s, 0, 1000), 0);
    assert_int_equal(drain(&s, out, 1000, &last), 1000);
    assert_false(flow_rewind(s.flow, 999));
    assert_true(flow_rewind(s.flow, 1000));
    close_scene(&s);
}

static int temporary(char path[32])
{
    (void)snprintf(path, 32, "/tmp/slipway-flow-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    return fd;
}

static void test_from_file(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 3; wrong++) {
        struct scene s;
        char path[32];
        ptrdiff_t last;
        struct err err = ERR_INIT;
        open_scene(&s, LIMIT_RING * 3 + 5, 0);
        char *out CLEANUP(cleanup_free) = xmalloc(s.size);
        int fd = temporary(path);
        if (wrong == 1)
            s.bytes[s.size - 1] ^= 1;
        size_t len = wrong == 2 ? s.size - 1 : s.size;
        assert_int_equal(write(fd, s.bytes, len), len);
        flow_from_file(s.flow, fd, path);
        size_t got = drain(&s, out, s.size, &last);
        if (wrong) {
            assert_true(got < s.size);
            assert_int_equal(last, HTTP_STOP);
            assert_true(flow_failed(s.flow, &err));
            assert_non_null(strstr(err.text, "wrong bytes"));
        } else {
            assert_int_equal(got, s.size);
            assert_memory_equal(out, s.bytes, s.size);
        }
        (void)close(fd);
        (void)unlink(path);
        close_scene(&s);
    }
}

static void test_to_file(void **state)
{
    (void)state;
    struct scene s;
    char path[32];
    struct err err = ERR_INIT;
    open_scene(&s, LIMIT_RING * 3 + 5, 0);
    int fd = temporary(path);
    flow_to_file(s.flow, fd, path);
    assert_int_equal(begin(&s, 200, NULL), 0);
    size_t half = s.size / 2;
    assert_int_equal(feed(&s, 0, half), 0);
    assert_int_equal(flow_expect(s.flow), half);
    assert_int_equal(s.told, half);
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(feed(&s, 0, s.size), 0);
    assert_int_equal(flow_check_end(s.flow, &err), 0);
    char *found CLEANUP(cleanup_free) = xmalloc(s.size + 1);
    assert_int_equal(pread(fd, found, s.size + 1, 0), s.size);
    assert_memory_equal(found, s.bytes, s.size);
    (void)close(fd);
    (void)unlink(path);
    close_scene(&s);
    open_scene(&s, 100, 0);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    flow_to_file(s.flow, fd, "/somewhere/blob");
    assert_int_equal(begin(&s, 200, NULL), 0);
    assert_int_equal(feed(&s, 0, 50), HTTP_STOP);
    assert_true(flow_failed(s.flow, &err));
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.code, ENOSPC);
    assert_non_null(strstr(err.text, "/somewhere/blob"));
    (void)close(fd);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),  cmocka_unit_test(test_wrong_bytes),
        cmocka_unit_test(test_heads),   cmocka_unit_test(test_full_ring),
        cmocka_unit_test(test_rewind),  cmocka_unit_test(test_from_file),
        cmocka_unit_test(test_to_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
