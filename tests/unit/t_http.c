#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http.h"
#include "core/lib/json.h"
#include "tests/unit/peer.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

struct fixture {
    struct peer fake;
    struct http_client *http;
};

static const char *url_of(struct arena *a, const struct fixture *f, const char *path)
{
    return arena_printf(a, "http://%s%s", f->fake.host, path);
}

static struct http_call call_of(struct arena *a, const struct fixture *f, const char *method,
                                const char *path)
{
    return (struct http_call){.req = {.method = method, .url = url_of(a, f, path)},
                              .max_body = MIB(1)};
}

static void control(const struct fixture *f, const char *what, const char *json)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_call call = call_of(&a, f, "PUT", arena_printf(&a, "/_ctl/%s", what));
    struct err err = ERR_INIT;
    call.req.body = json;
    call.req.body_len = strlen(json);
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.status, 200);
}

/* The value of a header as the server saw it, NULL when it did not. */
static const char *seen(const struct js *echo, const char *name)
{
    const struct js *headers = js_get(echo, "headers");
    for (size_t i = 0; i < js_len(headers); i++)
        if (str_eq(js_str(js_at(js_at(headers, i), 0), ""), name))
            return js_str(js_at(js_at(headers, i), 1), "");
    return NULL;
}

static void test_methods(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *method, *body, *length;
    } table[] = {
        {"GET", NULL, NULL},  {"PUT", "hello", "5"}, {"PUT", NULL, "0"},   {"POST", NULL, "0"},
        {"POST", "a=b", "3"}, {"DELETE", NULL, "0"}, {"PATCH", "xy", "2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call = call_of(&a, f, table[i].method, "/echo/a?b=c");
        http_header_add(&a, &call.req.headers, "X-Mine", "yes");
        http_header_add(&a, &call.req.headers, "X-Empty", "");
        call.req.body = table[i].body;
        call.req.body_len = table[i].body ? strlen(table[i].body) : 0;
        print_message("%s %s\n", table[i].method, table[i].body ? table[i].body : "-");
        assert_int_equal(http_do(f->http, &a, &call, &err), 0);
        assert_int_equal(call.resp.status, 200);
        struct js *echo CLEANUP_JS = js_parse(call.resp.body, call.resp.body_len, &err);
        assert_non_null(echo);
        assert_string_equal(js_str(echo, "method"), table[i].method);
        assert_string_equal(js_str(echo, "path"), "/echo/a?b=c");
        assert_string_equal(js_str(echo, "body"), table[i].body ? table[i].body : "");
        assert_true(str_eq(seen(echo, "content-length"), table[i].length));
        assert_string_equal(seen(echo, "x-mine"), "yes");
        assert_string_equal(seen(echo, "x-empty"), "");
        assert_non_null(str_after(seen(echo, "user-agent"), "slipway/"));
        static const char *const unwanted[] = {"expect", "content-type",    "transfer-encoding",
                                               "cookie", "accept-encoding", "authorization"};
        for (size_t k = 0; k < ARRAY_LEN(unwanted); k++)
            assert_null(seen(echo, unwanted[k]));
        size_t twice = 0;
        for (size_t k = 0; k < call.resp.headers.n; k++)
            twice += str_eq(call.resp.headers.at[k].name, "X-Twice");
        assert_int_equal(twice, 2);
        assert_string_equal(http_header(&call.resp.headers, "content-TYPE"), "application/json");
    }
}

static void test_head(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct http_call call = call_of(&a, f, "HEAD", "/echo");
    call.max_body = 0;
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.status, 200);
    assert_int_equal(call.resp.body_len, 0);
    assert_string_equal(call.resp.body, "");
    assert_non_null(http_header(&call.resp.headers, "Content-Length"));
}

static void test_connection_is_kept(void **state)
{
    const struct fixture *f = *state;
    int64_t peers[3];
    for (size_t i = 0; i < 3; i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct http_call call = call_of(&a, f, i == 1 ? "PUT" : "GET", "/echo");
        assert_int_equal(http_do(f->http, &a, &call, &err), 0);
        struct js *echo CLEANUP_JS = js_parse(call.resp.body, call.resp.body_len, &err);
        peers[i] = js_int(echo, "peer", 0);
    }
    assert_int_equal(peers[0], peers[1]);
    assert_int_equal(peers[1], peers[2]);
}

static void test_body_limit(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    control(f, "rule", "{\"path\":\"/exact\",\"size\":1000}");
    struct http_call call = call_of(&a, f, "GET", "/exact");
    call.max_body = 1000;
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.body_len, 1000);
    control(f, "rule", "{\"path\":\"/more\",\"size\":1001}");
    call = call_of(&a, f, "GET", "/more?token=hidden");
    call.max_body = 1000;
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(call.resp.status, 0);
    assert_non_null(strstr(err.text, "exceeds 1000 bytes"));
    assert_null(strstr(err.text, "hidden"));
    /* Without a length, drop by drop, counted just the same. */
    control(f, "rule", "{\"path\":\"/drip\",\"size\":50,\"drip\":0.001}");
    call = call_of(&a, f, "GET", "/drip");
    call.max_body = 10;
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
}

static void test_refusal_is_cut(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *size;
        size_t kept;
    } table[] = {{"100", 100}, {"100000", LIMIT_ERROR_BODY}, {"9000000", LIMIT_ERROR_BODY}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        control(f, "rule",
                arena_printf(&a, "{\"path\":\"/e\",\"status\":500,\"size\":%s}", table[i].size));
        struct http_call call = call_of(&a, f, "GET", "/e");
        call.max_body = 10;
        assert_int_equal(http_do(f->http, &a, &call, &err), 0);
        assert_int_equal(call.resp.status, 500);
        assert_int_equal(call.resp.body_len, table[i].kept);
    }
}

static void test_redirect_is_not_followed(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    control(f, "rule",
            "{\"path\":\"/away\",\"status\":302,\"headers\":[[\"Location\",\"/echo\"]]}");
    struct http_call call = call_of(&a, f, "GET", "/away");
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.status, 302);
    assert_string_equal(http_header(&call.resp.headers, "Location"), "/echo");
}

static void test_headers_limit(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct strbuf rule CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    (void)strbuf_addstr(&rule, "{\"path\":\"/h\",\"headers\":[[\"A\",\"b\"]");
    for (int i = 0; i < 40; i++)
        (void)strbuf_addf(&rule, ",[\"X-%d\",\"%02000d\"]", i, 0);
    (void)strbuf_addstr(&rule, "]}");
    control(f, "rule", rule.buf);
    struct http_call call = call_of(&a, f, "GET", "/h");
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "headers"));
}

static void test_slow(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    control(f, "rule", "{\"path\":\"/slow\",\"delay\":3}");
    struct http_call call = call_of(&a, f, "GET", "/slow");
    call.timeout_ms = 200;
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    control(f, "rule", "{\"path\":\"/cut\",\"close\":true,\"times\":9}");
    call = call_of(&a, f, "GET", "/cut");
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
}

static void test_nobody_there(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0); /* not listening */
    assert_int_equal(getsockname(s, (struct sockaddr *)&address, &len), 0);
    struct http_call call = {
        .req = {.method = "GET",
                .url = arena_printf(&a, "http://127.0.0.1:%d/x?secret=1", ntohs(address.sin_port))},
        .max_body = 10};
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_null(strstr(err.text, "secret"));
    (void)close(s);
    call.req.url = "http://no-such-host.invalid/";
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
}

static void test_our_mistakes(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *method, *url, *name, *value;
    } table[] = {
        {"GET", NULL, "A", "b"},
        {"GET", "", "A", "b"},
        {"GET", "/echo", "A", "b"},
        {"GET", "ftp://127.0.0.1/", "A", "b"},
        {"GET", "file:///etc/passwd", "A", "b"},
        {"GET", "http://ci:geheim@127.0.0.1/", "A", "b"},
        {"GET", "http://", "A", "b"},
        {"get", "http://127.0.0.1/", "A", "b"},
        {"GET /", "http://127.0.0.1/", "A", "b"},
        {"", "http://127.0.0.1/", "A", "b"},
        {"GET", "http://127.0.0.1/", "A", "b\r\nC: d"},
        {"GET", "http://127.0.0.1/", "A\r\nB", "c"},
        {"GET", "http://127.0.0.1/", "", "c"},
        {"GET", "http://127.0.0.1/a b", "A", "c"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        struct http_call call = {.req = {.method = table[i].method, .url = table[i].url},
                                 .max_body = 10};
        http_header_add(&a, &call.req.headers, table[i].name, table[i].value);
        print_message("%s %s\n", table[i].method, table[i].url ? table[i].url : "(null)");
        assert_int_equal(http_do(f->http, &a, &call, &err), -1);
        assert_int_equal(err.kind, ERR_BUG);
        assert_null(strstr(err.text, "geheim"));
        assert_null(strpbrk(err.text, "\r\n"));
    }
}

/* 40 calls of 0.1 s each: in parallel, over no more than LIMIT_HOST_CONNECTIONS connections. */
static void test_many(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_call calls[40];
    struct timespec before, after;
    control(f, "rule", "{\"path\":\"/echo/many\",\"times\":20,\"delay\":0.1}");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        calls[i] = call_of(&a, f, "GET", arena_printf(&a, "/echo/many/%zu", i));
    calls[7].req.url = "nonsense";
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(http_all(f->http, &a, calls, ARRAY_LEN(calls)), 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 2);
    assert_true(calls[7].failed);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (i != 7) {
            assert_false(calls[i].failed);
            assert_int_equal(calls[i].resp.status, 200);
        }
    struct http_call log = call_of(&a, f, "GET", "/_ctl/log");
    assert_int_equal(http_do(f->http, &a, &log, NULL), 0);
    struct js *lines CLEANUP_JS = js_parse(log.resp.body, log.resp.body_len, NULL);
    int64_t peers[64];
    size_t distinct = 0;
    for (size_t i = 0; i < js_len(lines); i++) {
        int64_t peer = js_int(js_at(lines, i), "peer", 0);
        size_t k = 0;
        if (!strstr(js_str(js_at(lines, i), "path"), "/many/"))
            continue;
        while (k < distinct && peers[k] != peer)
            k++;
        if (k == distinct)
            peers[distinct++] = peer;
    }
    assert_in_range(distinct, 2, LIMIT_HOST_CONNECTIONS);
}

static void *hammer(void *user)
{
    const struct fixture *f = user;
    size_t good = 0;
    for (int i = 0; i < 50; i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct http_call calls[3];
        for (size_t k = 0; k < 3; k++)
            calls[k] = call_of(&a, f, "PUT", arena_printf(&a, "/echo/%zu", k));
        (void)http_all(f->http, &a, calls, 3);
        for (size_t k = 0; k < 3; k++)
            good += calls[k].resp.status == 200;
    }
    return (void *)(uintptr_t)good;
}

static void test_threads(void **state)
{
    pthread_t threads[6];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, *state), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal((uintptr_t)good, 150);
    }
}

/* Sockets must not leak into programs that the worker starts. */
static void test_sockets_close_on_exec(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_call call = call_of(&a, f, "GET", "/echo");
    assert_int_equal(http_do(f->http, &a, &call, NULL), 0);
    FILE *p CLEANUP(cleanup_file) = NULL;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], 1);
        (void)execl("/bin/sh", "sh", "-c", "ls -l /proc/$$/fd | grep -c socket:", NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    p = fdopen(ends[0], "r");
    char line[64] = "";
    assert_non_null(fgets(line, sizeof line, p));
    (void)waitpid(pid, NULL, 0);
    print_message("sockets in the child: %s", line);
    /* curl's own wake-up pair is all that may be there. */
    assert_true(strtol(line, NULL, 10) <= 2);
}

static void test_tls(void **state)
{
    const struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct peer tls = {0};
    struct err err = ERR_INIT;
    peer_dir(&tls);
    const char *cert = peer_path(&a, &tls, "cert.pem"), *key = peer_path(&a, &tls, "key.pem");
    pid_t pid = fork();
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        (void)execlp("openssl", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
                     "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                     "-keyout", key, "-out", cert, NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    peer_fake(&tls, cert, key);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(&a, "https://%s/echo", tls.host)},
        .max_body = KIB(64)};
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "ca_file"));
    call.via.ca_file = cert;
    assert_int_equal(http_do(f->http, &a, &call, &err), 0);
    assert_int_equal(call.resp.status, 200);
    /* The trust is the call's own: a warm connection is no short cut around it. */
    call.via.ca_file = NULL;
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    call.via.ca_file = cert;
    call.req.url = arena_printf(&a, "https://localhost:%d/echo", tls.port); /* not in the SAN */
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    call.req.url = arena_printf(&a, "https://%s/echo", f->fake.host); /* speaks plain HTTP */
    assert_int_equal(http_do(f->http, &a, &call, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "plain_http"));
    const struct http_client_opts missing = {.ca_file = "/nonexistent/ca.pem"};
    assert_null(http_client_new(&missing, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    peer_stop(&tls);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1); /* must be of no consequence */
    (void)setenv("all_proxy", "http://127.0.0.1:1", 1);
    peer_fake(&f->fake, NULL, NULL);
    f->http = http_client_new(NULL, &err);
    *state = f;
    return f->http ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->http);
    peer_stop(&f->fake);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_connection_is_kept),
        cmocka_unit_test(test_body_limit),
        cmocka_unit_test(test_refusal_is_cut),
        cmocka_unit_test(test_redirect_is_not_followed),
        cmocka_unit_test(test_headers_limit),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_our_mistakes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_sockets_close_on_exec),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
