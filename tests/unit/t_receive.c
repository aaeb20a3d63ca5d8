#include "core/base/base.h"

#include "cgi/web/service.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"
#include "core/os/wake.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#define SECRET "a secret of the test's own"

/* A service over a store of its own in a folder that goes away. */
struct fixture {
    struct service service;
    struct settings settings;
    struct arena arena;
    char dir[64];
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    log_set_level(LOG_LEVEL_ERROR);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/t_receive-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    static const char *const names[] = {"hub", "review"}, *const types[] = {"github", "gerrit"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct forge_conf *conf = list_push(&f->arena, &f->settings.forges);
        conf->name = names[i];
        conf->type = types[i];
        *(const char **)list_push(&f->arena, &conf->hook_secrets) = SECRET;
    }
    f->settings.base_path = "/base";
    f->settings.body_max = 1000;
    f->service.settings = &f->settings;
    f->service.budget.max = 2000;
    f->service.readiness.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    struct store_opts opts = {.url = arena_printf(&f->arena, "sqlite:%s/s.db", f->dir),
                              .may_create = true};
    if (store_open(&opts, &f->service.store, &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    store_close(f->service.store);
    int rc = fs_remove_tree(f->dir, &err);
    arena_release(&f->arena);
    free(f);
    return rc;
}

struct stream {
    const char *at;
    size_t left;
};

static size_t read_stream(void *ctx, void *buf, size_t len)
{
    struct stream *s = ctx;
    size_t n = len < s->left ? len : s->left;
    memcpy(buf, s->at, n);
    s->at += n;
    s->left -= n;
    return n;
}

struct sent {
    const char *path; /* NULL: /base/hooks/hub */
    const char *query;
    const char *body;      /* NULL: "{}" */
    const char *type;      /* NULL: application/json */
    const char *event;     /* NULL: push */
    const char *id;        /* X-GitHub-Delivery */
    const char *signature; /* NULL: the right one; "": none */
    const char *extra;     /* one more variable */
    size_t claim;          /* CONTENT_LENGTH, 0: the truth */
};

static const char *sign(struct arena *a, const char *body)
{
    unsigned char mac[CRYPT_SHA256_BYTES];
    char hex[CRYPT_SHA256_HEX];
    crypt_hmac_sha256(SECRET, strlen(SECRET), body, strlen(body), mac);
    str_hex(mac, sizeof mac, hex);
    return arena_printf(a, "sha256=%s", hex);
}

/* Sends it and gives back the whole CGI response. */
static const char *send_one(struct fixture *f, const struct sent *s)
{
    struct arena *a = &f->arena;
    const char *body = s->body ? s->body : "{}";
    struct stream stream = {body, strlen(body)};
    const char *signature = s->signature ? s->signature : sign(a, body);
    const char *params[] = {
        "REQUEST_METHOD=POST",
        arena_printf(a, "DOCUMENT_URI=%s", s->path ? s->path : "/base/hooks/hub"),
        arena_printf(a, "QUERY_STRING=%s", s->query ? s->query : ""),
        arena_printf(a, "CONTENT_TYPE=%s", s->type ? s->type : "application/json"),
        arena_printf(a, "CONTENT_LENGTH=%zu", s->claim ? s->claim : strlen(body)),
        arena_printf(a, "HTTP_X_GITHUB_EVENT=%s", s->event ? s->event : "push"),
        arena_printf(a, "HTTP_X_GITHUB_DELIVERY=%s", s->id ? s->id : ""),
        arena_printf(a, "HTTP_X_HUB_SIGNATURE_256=%s", signature),
        "HTTP_AUTHORIZATION=Bearer not-for-the-store",
        s->extra ? s->extra : "HTTP_NOTHING=",
        NULL,
    };
    struct strbuf CLEANUP_STRBUF out = STRBUF_INIT(REPLY_MAX);
    struct body_source source = {.read = read_stream, .ctx = &stream};
    assert_true(service_answer(&f->service, params, source, &out));
    assert_int_equal(f->service.budget.used, 0);
    return strbuf_to_arena(&out, a);
}

static void expect(struct fixture *f, const struct sent *s, const char *status)
{
    const char *reply = send_one(f, s);
    if (!str_starts(reply, status))
        fail_msg("wanted \"%s\", got \"%.40s\"", status, reply);
}

static struct delivery_list kept(struct fixture *f, enum delivery_verdict verdict)
{
    struct delivery_list list = {0};
    struct err err = ERR_INIT;
    assert_int_equal(
        store_deliveries_list(f->service.store, verdict, 0, 100, &f->arena, &list, &err), 0);
    return list;
}

static void keeps(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    expect(f, &(struct sent){.body = "{\"a\": 1}", .id = "one"}, "Status: 202 ");
    struct delivery_list list = kept(f, DELIVERY_NEW);
    assert_int_equal(list.n, 1);
    struct delivery d = {0};
    assert_int_equal(store_delivery_get(f->service.store, list.at[0].id, &f->arena, &d, &err), 0);
    assert_string_equal(d.source, "hub");
    assert_string_equal(d.forge_id, "one");
    assert_int_equal(d.body_len, 8);
    assert_memory_equal(d.body, "{\"a\": 1}", 8);
    assert_string_equal(http_header(&d.headers, "content-type"), "application/json");
    assert_string_equal(http_header(&d.headers, "x-github-event"), "push");
    for (size_t i = 0; i < d.headers.n; i++)
        assert_null(strstr(d.headers.at[i].value, "not-for-the-store"));
}

static void repeats(void **state)
{
    struct fixture *f = *state;
    expect(f, &(struct sent){.id = "one"}, "Status: 202 ");
    expect(f, &(struct sent){.id = "one"}, "Status: 200 ");
    expect(f, &(struct sent){.id = "two"}, "Status: 200 ");
    expect(f, &(struct sent){.id = "three", .body = "{ }"}, "Status: 202 ");
    assert_int_equal(kept(f, DELIVERY__MAX).n, 2);
}

static void ping_and_boring(void **state)
{
    struct fixture *f = *state;
    expect(f, &(struct sent){.event = "ping"}, "Status: 200 ");
    assert_int_equal(kept(f, DELIVERY__MAX).n, 0);
    expect(f, &(struct sent){.event = "ping", .signature = ""}, "Status: 401 ");
    expect(f, &(struct sent){.event = "star", .body = "{\"b\":2}"}, "Status: 200 ");
    struct delivery_list list = kept(f, DELIVERY_IGNORED);
    assert_int_equal(list.n, 1);
    assert_false(str_empty(list.at[0].reason));
    assert_int_equal(kept(f, DELIVERY_NEW).n, 0);
}

static void proofs(void **state)
{
    struct fixture *f = *state;
    const char *good = sign(&f->arena, "{}");
    const char *bad[] = {
        "",
        "sha256=",
        "sha256=00",
        "sha256=zz",
        good + strlen("sha256="),
        arena_printf(&f->arena, "sha1=%s", good + strlen("sha256=")),
        arena_printf(&f->arena, "%s0", good),
        arena_strndup(&f->arena, good, strlen(good) - 1),
        sign(&f->arena, "{} "),
        "sha256=0000000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *reply = send_one(f, &(struct sent){.signature = bad[i]});
        assert_true(str_starts(reply, "Status: 401 "));
        assert_true(str_ends(reply, "\r\n\r\nno valid proof\n"));
    }
    assert_int_equal(kept(f, DELIVERY__MAX).n, 0);

    struct forge_conf *hub = &f->settings.forges.at[0];
    hub->hook_secrets.n = 0;
    expect(f, &(struct sent){0}, "Status: 401 ");
    hub->hook_secrets.n = 1;
    *(const char **)list_push(&f->arena, &hub->hook_secrets) = hub->hook_secrets.at[0];
    hub->hook_secrets.at[0] = "an older secret";
    expect(f, &(struct sent){0}, "Status: 202 ");
}

static void gerrit(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path;
        const char *query;
        const char *status;
    } rows[] = {
        {"/base/hooks/review", "", "Status: 401 "},
        {"/base/hooks/review/", "", "Status: 401 "},
        {"/base/hooks/review/wrong", "", "Status: 401 "},
        {"/base/hooks/review/" SECRET "x", "", "Status: 401 "},
        {"/base/hooks/review/" SECRET "/x", "", "Status: 401 "},
        {"/base/hooks/review/" SECRET, "", "Status: 202 "},
        {"/base/hooks/review", "secret=", "Status: 401 "},
        {"/base/hooks/review", "token=wrong", "Status: 401 "},
        {"/base/hooks/review", "x=y&token=a+secret%20of+the+test%27s+own", "Status: 202 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *body = arena_printf(&f->arena, "{\"n\":%zu}", i);
        struct sent s = {.path = rows[i].path, .query = rows[i].query, .body = body};
        expect(f, &s, rows[i].status);
    }
}

static void refusals(void **state)
{
    struct fixture *f = *state;
    char big[1002];
    memset(big, ' ', 1001);
    big[1001] = '\0';
    expect(f, &(struct sent){.body = big}, "Status: 413 ");
    big[1000] = '\0';
    expect(f, &(struct sent){.body = big}, "Status: 202 ");
    expect(f, &(struct sent){.path = "/base/hooks/nobody"}, "Status: 404 ");
    expect(f, &(struct sent){.path = "/base/hooks//x"}, "Status: 404 ");
    expect(f, &(struct sent){.path = "/base/hooks/hu"}, "Status: 404 ");
    expect(f, &(struct sent){.type = "text/plain"}, "Status: 415 ");
    expect(f, &(struct sent){.extra = "HTTP_CONTENT_ENCODING=gzip"}, "Status: 415 ");
    expect(f, &(struct sent){.claim = 3}, "Status: 400 ");
    f->service.budget.max = 1;
    const char *busy = send_one(f, &(struct sent){0});
    assert_true(str_starts(busy, "Status: 503 "));
    assert_non_null(strstr(busy, "Retry-After: 1\r\n"));
    assert_int_equal(kept(f, DELIVERY__MAX).n, 1);
}

static void empty_and_form(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    expect(f, &(struct sent){.body = ""}, "Status: 202 ");
    expect(f, &(struct sent){.body = "", .signature = ""}, "Status: 401 ");
    const char *form = "payload=%7B%7D";
    expect(f, &(struct sent){.body = form, .type = "application/x-www-form-urlencoded"},
           "Status: 202 ");
    struct delivery_list list = kept(f, DELIVERY_NEW);
    struct delivery d = {0};
    assert_int_equal(store_delivery_get(f->service.store, list.at[0].id, &f->arena, &d, &err), 0);
    assert_int_equal(d.body_len, strlen(form));
    assert_memory_equal(d.body, form, d.body_len);
    assert_string_equal(http_header(&d.headers, "content-type"),
                        "application/x-www-form-urlencoded");
}

static void wakes(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    f->service.wake_path = arena_printf(&f->arena, "%s/wake", f->dir);
    int CLEANUP(cleanup_fd) fd = wake_listen(f->service.wake_path, &err);
    assert_true(fd >= 0);
    expect(f, &(struct sent){0}, "Status: 202 ");
    assert_true(wake_wait(fd, 1000));
    expect(f, &(struct sent){0}, "Status: 200 ");
    assert_false(wake_wait(fd, 0));
}

/* No file may grow: what a full disk does to the store, without being root. */
static void full_disk(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, none;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    log_set_level((enum log_level) - 1);
    const char *reply = send_one(f, &(struct sent){.id = "lost"});
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(str_starts(reply, "Status: 503 "));
    assert_non_null(strstr(reply, "Retry-After: 5\r\n"));
    expect(f, &(struct sent){.id = "lost"}, "Status: 202 ");
    assert_int_equal(kept(f, DELIVERY_NEW).n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(ping_and_boring, setup, teardown),
        cmocka_unit_test_setup_teardown(proofs, setup, teardown),
        cmocka_unit_test_setup_teardown(gerrit, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_and_form, setup, teardown),
        cmocka_unit_test_setup_teardown(wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
