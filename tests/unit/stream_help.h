/*
 * stream_help.h - what the tests of streamed transfers share: a client and a peer, and a source
 * that gives the peer's pattern.
 */
#ifndef SLIPWAY_TESTS_STREAM_HELP_H
#define SLIPWAY_TESTS_STREAM_HELP_H

#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/lib/http.h"
#include "tests/unit/stream_peer.h"

struct fixture {
    struct stream_peer peer;
    struct http_client *http;
};

/* A call with the peer; the URL lives in the arena. */
static UNUSED struct http_call call_of(struct arena *a, const struct fixture *f, const char *method,
                                       const char *path)
{
    return (struct http_call){
        .req = {.method = method, .url = arena_printf(a, "http://%s%s", f->peer.host, path)},
        .via = {.http1 = true},
        .max_body = KIB(64)};
}

static UNUSED int land(const struct fixture *f, struct http_flight *flight, struct arena *a)
{
    struct http_flight *const one[] = {flight};
    assert_int_equal(http_wait(f->http, one, 1, 20000), 0);
    return http_land(f->http, flight, a);
}

static UNUSED long answered(const struct http_call *call, const char *name)
{
    const char *value = http_header(&call->resp.headers, name);
    return value ? strtol(value, NULL, 10) : -1;
}

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

static UNUSED ptrdiff_t tap_read(void *user, char *buf, size_t max)
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

static UNUSED struct http_call put_of(struct arena *a, const struct fixture *f, const char *path,
                                      const struct http_source *source, size_t size)
{
    struct http_call put = call_of(a, f, "PUT", path);
    put.source = source;
    put.req.body_len = size;
    return put;
}

static UNUSED int stream_set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    stream_peer_start(&f->peer);
    f->http = http_client_new(NULL, &err);
    *state = f;
    return f->http ? 0 : -1;
}

static UNUSED int stream_tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->http);
    stream_peer_stop(&f->peer);
    free(f);
    return 0;
}

#endif
