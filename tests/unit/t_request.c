#include "core/base/base.h"

#include "cgi/web/request.h"
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct bytes {
    const char *at;
    size_t n;
    size_t reads;
};

static size_t read_bytes(void *ctx, void *buf, size_t len)
{
    struct bytes *b = ctx;
    size_t n = len < b->n ? len : b->n;
    memcpy(buf, b->at, n);
    b->at += n;
    b->n -= n;
    b->reads++;
    return n;
}

static const struct body_source no_body = {.read = read_bytes, .ctx = &(struct bytes){"", 0, 0}};

static void paths(void **state UNUSED)
{
    static const struct {
        const char *params[5];
        const char *base;
        const char *want; /* NULL: 400 */
    } rows[] = {
        {{"REQUEST_METHOD=GET", "PATH_INFO=/hooks/a", "DOCUMENT_URI=/x"}, "", "/hooks/a"},
        {{"REQUEST_METHOD=GET", "PATH_INFO=", "DOCUMENT_URI=/hooks/b"}, "", "/hooks/b"},
        {{"REQUEST_METHOD=GET", "SCRIPT_NAME=/hooks/c"}, "", "/hooks/c"},
        {{"REQUEST_METHOD=GET", "REQUEST_URI=/hooks/%64?x=/y"}, "", "/hooks/d"},
        {{"REQUEST_METHOD=GET", "REQUEST_URI=/hooks/%2"}, "", NULL},
        {{"REQUEST_METHOD=GET", "REQUEST_URI=/hooks/%00"}, "", NULL},
        {{"REQUEST_METHOD=GET", "REQUEST_URI=/hooks/%zz"}, "", NULL},
        {{"REQUEST_METHOD=GET", "DOCUMENT_URI=/slipway/hooks/a"}, "/slipway", "/hooks/a"},
        {{"REQUEST_METHOD=GET", "DOCUMENT_URI=/hooks/a"}, "/slipway", "/hooks/a"},
        {{"REQUEST_METHOD=GET", "DOCUMENT_URI=/slipwayx/a"}, "/slipway", "/slipwayx/a"},
        {{"REQUEST_METHOD=GET", "DOCUMENT_URI=/slipway"}, "/slipway", ""},
        {{"REQUEST_METHOD=GET", "DOCUMENT_URI=hooks/a"}, "", NULL},
        {{"REQUEST_METHOD=GET"}, "", NULL},
        {{"REQUEST_METHOD=", "DOCUMENT_URI=/a"}, "", NULL},
        {{"DOCUMENT_URI=/a"}, "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request CLEANUP(request_release) q = {0};
        struct reply out = {0};
        bool ok = request_init(&q, rows[i].params, rows[i].base, no_body, &out);
        assert_int_equal(ok, rows[i].want != NULL);
        if (ok)
            assert_string_equal(q.http.url, rows[i].want);
        else
            assert_int_equal(out.status, 400);
    }
}

static void headers(void **state UNUSED)
{
    static const char *const params[] = {"REQUEST_METHOD=POST",
                                         "DOCUMENT_URI=/hooks/a",
                                         "QUERY_STRING=a=b&c",
                                         "HTTP_X_HUB_SIGNATURE_256=sha256=00=",
                                         "HTTP_PROXY=http://evil",
                                         "HTTP_EMPTY=",
                                         "HTTP_=nameless",
                                         "HTTP_CONTENT_LENGTH=99",
                                         "HTTP_CONTENT_TYPE=text/evil",
                                         "CONTENT_TYPE=application/json",
                                         "CONTENT_LENGTH=12",
                                         "REMOTE_ADDR=192.0.2.1",
                                         "no equals sign",
                                         NULL};
    struct request CLEANUP(request_release) q = {0};
    struct reply out = {0};
    assert_true(request_init(&q, params, "", no_body, &out));
    assert_int_equal(q.http.headers.n, 3);
    assert_string_equal(q.http.headers.at[0].name, "X-Hub-Signature-256");
    assert_string_equal(q.http.headers.at[0].value, "sha256=00=");
    assert_string_equal(http_header(&q.http.headers, "content-type"), "application/json");
    assert_string_equal(http_header(&q.http.headers, "content-length"), "12");
    assert_null(http_header(&q.http.headers, "proxy"));
    assert_string_equal(q.http.query, "a=b&c");
    assert_true(q.has_length);
    assert_int_equal(q.length, 12);
}

static void header_bounds(void **state UNUSED)
{
    const char *params[104] = {"REQUEST_METHOD=GET", "DOCUMENT_URI=/"};
    for (size_t i = 2; i < 102; i++)
        params[i] = "HTTP_X=y";
    struct request q;
    struct reply out;
    assert_true(request_init(&q, params, "", no_body, &out));
    request_release(&q);
    params[102] = "HTTP_X=one too many";
    assert_false(request_init(&q, params, "", no_body, &out));
    assert_int_equal(out.status, 431);
    request_release(&q);

    char big[LIMIT_HTTP_HEADERS + 8];
    memset(big, 'x', sizeof big);
    memcpy(big, "HTTP_A=", 7);
    const char *one[] = {"REQUEST_METHOD=GET", "DOCUMENT_URI=/", big, NULL};
    big[7 + LIMIT_HTTP_HEADERS - 1] = '\0';
    assert_true(request_init(&q, one, "", no_body, &out));
    request_release(&q);
    big[7 + LIMIT_HTTP_HEADERS - 1] = 'x';
    big[7 + LIMIT_HTTP_HEADERS] = '\0';
    assert_false(request_init(&q, one, "", no_body, &out));
    assert_int_equal(out.status, 431);
    request_release(&q);
}

static void sizes(void **state UNUSED)
{
    static const struct {
        const char *method;
        const char *length;
        int want; /* 0: fine */
    } rows[] = {
        {"POST", "", 0},
        {"POST", "0", 0},
        {"POST", "10", 0},
        {"POST", "11", 413},
        {"POST", "-1", 400},
        {"POST", "+5", 400},
        {"POST", "5x", 400},
        {"POST", " 5", 400},
        {"POST", "0x5", 400},
        {"POST", "1e1", 400},
        {"GET", "", 0},
        {"GET", "11", 413},
        {"POST", "00000000010", 0},
        {"POST", "18446744073709551615", 413},
        {"POST", "18446744073709551616", 413},
        {"POST", "99999999999999999999999999999999999999", 413},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char method[32], length[64];
        (void)snprintf(method, sizeof method, "REQUEST_METHOD=%s", rows[i].method);
        (void)snprintf(length, sizeof length, "CONTENT_LENGTH=%s", rows[i].length);
        const char *params[] = {method, length, "DOCUMENT_URI=/", NULL};
        struct request CLEANUP(request_release) q = {0};
        struct reply out = {0};
        bool ok = request_init(&q, params, "", no_body, &out) && request_check_size(&q, 10, &out);
        assert_int_equal(ok, rows[i].want == 0);
        assert_int_equal(out.status, rows[i].want);
    }
}

static void contents(void **state UNUSED)
{
    static const struct {
        const char *type;
        const char *encoding;
        bool want;
    } rows[] = {
        {"application/json", NULL, true},
        {"Application/JSON; charset=utf-8", NULL, true},
        {"application/json ;x", NULL, true},
        {"application/x-www-form-urlencoded", NULL, true},
        {"application/cloudevents+json; charset=utf-8", NULL, true},
        {NULL, NULL, true},
        {"text/plain", NULL, false},
        {"application/jsonx", NULL, false},
        {"+json", NULL, false},
        {"text/html; a=application/json", NULL, false},
        {"multipart/form-data", NULL, false},
        {"application/json", "identity", true},
        {"application/json", "gzip", false},
        {"application/json", "br", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request CLEANUP(request_release) q = {0};
        struct reply out = {0};
        if (rows[i].type)
            http_header_add(&q.arena, &q.http.headers, "Content-Type", rows[i].type);
        if (rows[i].encoding)
            http_header_add(&q.arena, &q.http.headers, "Content-Encoding", rows[i].encoding);
        assert_false(request_check_content(&q, &out));
        assert_int_equal(out.status, 411);
        out = (struct reply){0};
        q.has_length = true;
        assert_int_equal(request_check_content(&q, &out), rows[i].want);
        assert_int_equal(out.status, rows[i].want ? 0 : 415);
    }
}

static void bodies(void **state UNUSED)
{
    struct body_budget budget = {.max = 10};
    struct reply out = {0};
    struct bytes eight = {"12345678", 8, 0}, three = {"123", 3, 0}, none = {"", 0, 0};

    struct request a = {.length = 8, .source = {read_bytes, &eight}};
    assert_true(request_read_body(&a, &budget, &out));
    assert_int_equal(a.http.body_len, 8);
    assert_memory_equal(a.http.body, "12345678", 9);
    assert_int_equal(budget.used, 8);

    struct request b = {.length = 3, .source = {read_bytes, &three}};
    assert_false(request_read_body(&b, &budget, &out));
    assert_int_equal(out.status, 503);
    assert_int_equal(out.retry_after, 1);
    assert_int_equal(three.reads, 0);
    request_release(&b);
    assert_int_equal(budget.used, 8);

    struct request empty = {.length = 0, .source = {read_bytes, &none}};
    assert_true(request_read_body(&empty, &budget, &out));
    assert_non_null(empty.http.body);
    assert_int_equal(empty.http.body_len, 0);
    request_release(&empty);

    request_release(&a);
    assert_int_equal(budget.used, 0);

    struct request cut = {.length = 4, .source = {read_bytes, &three}};
    assert_false(request_read_body(&cut, &budget, &out));
    assert_int_equal(out.status, 400);
    assert_non_null(strstr(out.text, "truncated"));
    request_release(&cut);
    assert_int_equal(budget.used, 0);

    struct request huge = {.length = SIZE_MAX, .source = {read_bytes, &none}};
    assert_false(request_read_body(&huge, &budget, &out));
    assert_int_equal(out.status, 503);
    request_release(&huge);
    assert_int_equal(budget.used, 0);
}

static void replies(void **state UNUSED)
{
    struct strbuf CLEANUP_STRBUF out = STRBUF_INIT(REPLY_MAX);
    struct reply r = {.status = 405, .text = "no\n", .allow = "POST"};
    reply_format(&r, false, &out);
    assert_string_equal(out.buf, "Status: 405 Method Not Allowed\r\n"
                                 "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Cache-Control: no-store\r\n"
                                 "X-Content-Type-Options: nosniff\r\n"
                                 "Content-Length: 3\r\n"
                                 "Allow: POST\r\n"
                                 "\r\n"
                                 "no\n");
    strbuf_reset(&out);
    r = (struct reply){.status = 503, .text = "later\n", .retry_after = 5};
    reply_format(&r, true, &out);
    assert_non_null(strstr(out.buf, "Status: 503 Service Unavailable\r\n"));
    assert_true(str_ends(out.buf, "Retry-After: 5\r\n\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),   cmocka_unit_test(headers),  cmocka_unit_test(header_bounds),
        cmocka_unit_test(sizes),   cmocka_unit_test(contents), cmocka_unit_test(bodies),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
