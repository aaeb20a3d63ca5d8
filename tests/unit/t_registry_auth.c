#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/registry/credentials.h"
#include "core/registry/registry_internal.h"
#include "tests/unit/fake_help.h"

/* Our own side of t_registry_fake.c: what is asked for, with which credentials, and whom they
 * reach. */

static const char *raw_log(struct arena *a, const struct peer *p)
{
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/log", p->host)},
        .max_body = MIB(1)};
    assert_int_equal(http_do(http, a, &call, &err), 0);
    http_client_free(http);
    return call.resp.body;
}

static void start(struct fixture *f, struct arena *a, const char *config)
{
    control(&f->fake, "reset", "{}");
    (void)fresh(f, a, config);
}

static struct registry_op head(struct client *c, struct arena *a, struct registry_access access)
{
    struct registry_op op = {.verb = REGISTRY_HEAD,
                             .host = c->conf.host,
                             .name = NAME,
                             .ref = "latest",
                             .access = access};
    (void)registry_all(c->registry, a, &op, 1);
    print_message("%s\n", op.err.text);
    return op;
}

/* The scopes of the token request in a log, in their order, parted by a blank. */
static const char *scopes(struct arena *a, const char *log)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(KIB(4));
    struct js *lines CLEANUP_JS = js_parse(log, strlen(log), NULL);
    for (size_t i = 0; i < js_len(lines); i++) {
        const char *path = js_str(js_at(lines, i), "path");
        for (const char *p = str_starts(path, "/token") ? path : ""; (p = strstr(p, "scope="));) {
            const char *value = http_query_param(a, p, "scope");
            (void)strbuf_addf(&out, "%s%s", out.len ? " " : "", value);
            p++;
        }
    }
    return strbuf_to_arena(&out, a);
}

static void test_access(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct registry_access access;
        const char *scopes;
    } table[] = {
        {{0}, "repository:team/app:pull,push,delete"},
        {{.read_only = true}, "repository:team/app:pull"},
        {{.with = "team/other"}, "repository:team/app:pull,push,delete repository:team/other:pull"},
        {{.with = "team/other", .read_only = true},
         "repository:team/app:pull repository:team/other:pull"},
        {{.with = NAME}, "repository:team/app:pull,push,delete"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, "{\"auth\":\"bearer\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_false(head(&c, &a, table[i].access).failed);
        /* The first token is good for the last row, too. */
        assert_string_equal(scopes(&a, raw_log(&a, &f->fake)),
                            i == ARRAY_LEN(table) - 1 ? "" : table[i].scopes);
        assert_false(head(&c, &a, table[i].access).failed);
        assert_string_equal(scopes(&a, raw_log(&a, &f->fake)), "");
    }
    client_close(&c);
}

static void test_anonymous(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, "{\"auth\":\"bearer\",\"anonymous_token\":true}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    assert_false(head(&c, &a, (struct registry_access){0}).failed);
    assert_non_null(strstr(raw_log(&a, &f->fake), "Basic "));
    assert_false(head(&c, &a, (struct registry_access){.anonymous = true}).failed);
    const char *log = raw_log(&a, &f->fake);
    assert_null(strstr(log, "Basic "));
    assert_non_null(strstr(log, "/token"));
    control(&f->fake, "config", "{\"auth\":\"basic\"}");
    struct registry_op op = head(&c, &a, (struct registry_access){.anonymous = true});
    assert_true(op.failed);
    assert_non_null(strstr(op.err.text, "not public"));
    assert_non_null(strstr(op.err.text, "(may_read)"));
    assert_null(strstr(op.err.text, "configured"));
    assert_null(strstr(raw_log(&a, &f->fake), "Basic "));
    control(&f->fake, "config", "{\"auth\":\"bearer\",\"anonymous_token\":false}");
    client_close(&c);
    client_open(&c, f->fake.host, "ci", PASSWORD);
    op = head(&c, &a, (struct registry_access){.anonymous = true});
    assert_true(op.failed);
    assert_non_null(strstr(op.err.text, "(may_read)"));
    client_close(&c);
}

static void test_identity_token(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config, *token, *requests;
        bool failed;
    } table[] = {
        {"{\"auth\":\"bearer\",\"token_post\":200}", "dauerhaft", "HEAD token HEAD", false},
        {"{\"auth\":\"bearer\",\"token_post\":200}", "anderes", "HEAD token token token", true},
        /* Where nobody knows POST the token goes by GET, as a password. */
        {"{\"auth\":\"bearer\",\"token_post\":404,\"user\":\"<token>\",\"password\":\"dauerhaft\"}",
         "dauerhaft", "HEAD token token HEAD", false},
        {"{\"auth\":\"bearer\",\"token_post\":405,\"user\":\"<token>\",\"password\":\"dauerhaft\"}",
         "dauerhaft", "HEAD token token HEAD", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        start(f, &a, table[i].config);
        client_open(&c, f->fake.host, "<token>", table[i].token);
        struct registry_op op = head(&c, &a, (struct registry_access){0});
        assert_int_equal(op.failed, table[i].failed);
        assert_null(strstr(op.err.text, table[i].token));
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
}

static void test_refresh_token_replaced(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, "{\"auth\":\"bearer\",\"token_post\":200}");
    client_open(&c, f->fake.host, "<token>", "dauerhaft");
    control(&f->fake, "rule",
            "{\"path\":\"/token\",\"body\":\"{\\\"access_token\\\":\\\"x\\\","
            "\\\"refresh_token\\\":\\\"neueres\\\"}\"}");
    assert_true(head(&c, &a, (struct registry_access){0}).failed); /* "x" lets nobody in */
    control(&f->fake, "config", "{\"refresh_token\":\"neueres\"}");
    assert_false(head(&c, &a, (struct registry_access){0}).failed);
    client_close(&c);
}

static void test_registry_token(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct client c;
    start(f, &a, "{\"auth\":\"bearer\"}");
    peer_write(
        &f->fake, "auth.json",
        arena_printf(&a, "{\"auths\":{\"%s\":{\"registrytoken\":\"as-it-is\"}}}", f->fake.host));
    client_open(&c, f->fake.host, NULL, NULL);
    registry_free(c.registry);
    struct credentials *own = credentials_from_file(peer_path(&a, &f->fake, "auth.json"), &err);
    assert_non_null(own);
    c.registry = registry_new(c.http, &c.confs, own);
    struct registry_op op = head(&c, &a, (struct registry_access){0});
    assert_true(op.failed);
    assert_non_null(strstr(op.err.text, "check the credentials"));
    assert_non_null(strstr(op.err.text, "auth.json"));
    assert_null(strstr(op.err.text, "as-it-is"));
    const char *log = raw_log(&a, &f->fake);
    assert_non_null(strstr(log, "Bearer as-it-is"));
    assert_null(strstr(log, "/token"));
    client_close(&c);
    credentials_free(own);
}

static void test_insufficient_scope(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *scope, *asked;
    } table[] = {
        {"repository:team/app:*", "repository:team/app:* repository:team/app:pull,push,delete"},
        {"registry:catalog:* repository:team/app:pull,*",
         "repository:team/app:pull,* repository:team/app:pull,push,delete"},
        {"repository:team/other:*", "repository:team/app:pull,push,delete"},
        {"repository:team/app:pull,admin", "repository:team/app:pull,push,delete"},
        {"repository:team/app:pull,push", "repository:team/app:pull,push,delete"},
        {"repository:team/app:", "repository:team/app:pull,push,delete"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        start(f, &a, "{\"auth\":\"bearer\"}");
        client_open(&c, f->fake.host, "ci", PASSWORD);
        assert_false(head(&c, &a, (struct registry_access){0}).failed);
        (void)requests(&a, &f->fake);
        control(&f->fake, "rule",
                arena_printf(&a,
                             "{\"path\":\"/v2/\",\"status\":401,\"headers\":[[\"WWW-Authenticate\","
                             "\"Bearer realm=\\\"http://%s/token\\\",error=\\\"insufficient_scope"
                             "\\\",scope=\\\"%s\\\"\"]]}",
                             f->fake.host, table[i].scope));
        assert_false(head(&c, &a, (struct registry_access){0}).failed);
        assert_string_equal(scopes(&a, raw_log(&a, &f->fake)), table[i].asked);
        client_close(&c);
    }
}

/* A realm inside our own network gets no request at all, from nobody. */
static void test_private_realm(void **state)
{
    struct fixture *f = *state;
    static const char *const realms[] = {
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/token",
        "https://10.0.0.1/token",
        "https://[::ffff:169.254.169.254]/token",
        "https://localhost/token",
        "https://2852039166/token",
    };
    for (size_t i = 0; i < ARRAY_LEN(realms); i++)
        for (int anonymous = 0; anonymous < 2; anonymous++) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            struct client c;
            start(f, &a, "{\"auth\":\"bearer\"}");
            control(&f->fake, "config",
                    arena_printf(&a, "{\"challenge\":\"Bearer realm=\\\"%s\\\"\"}", realms[i]));
            client_open(&c, f->fake.host, "ci", PASSWORD);
            struct registry_op op =
                head(&c, &a, (struct registry_access){.anonymous = anonymous, .patient = true});
            assert_true(op.failed);
            assert_int_equal(op.err.kind, ERR_CONFIG);
            assert_string_equal(requests(&a, &f->fake), "HEAD");
            client_close(&c);
        }
}

/* Addresses that the registry names itself. */
static void test_named_addresses(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_conf conf = {.host = "r.example.org:5000"};
    *list_push(&a, &conf.storage) = "http://10.0.0.9:9000";
    const struct registry_host h = {.conf = &conf};
    static const struct {
        const char *url;
        int rc;
        bool own, paired;
    } table[] = {
        {"https://r.example.org:5000/v2/x", 0, true, false},
        {"http://r.example.org:5000/v2/x", -1, false, false},
        {"https://r.example.org/v2/x", 0, false, false},
        {"https://R.example.org:5000/v2/x", 0, true, false},
        {"https://storage.example.org/x?sig=1", 0, false, false},
        {"http://storage.example.org/x", -1, false, false},
        {"http://10.0.0.9:9000/x", 0, false, true},
        {"http://10.0.0.9:9001/x", -1, false, false},
        {"https://10.0.0.9/x", -1, false, false},
        {"https://169.254.169.254/x", -1, false, false},
        {"https://user@r.example.org:5000/x", -1, false, false},
        {"file:///etc/passwd", -1, false, false},
        {"nonsense", -1, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        bool own, paired;
        struct err err = ERR_INIT;
        assert_int_equal(exchange_check_url(&h, table[i].url, &a, &own, &paired, &err),
                         table[i].rc);
        print_message("%s: %s\n", table[i].url, err.text);
        assert_int_equal(own, table[i].own);
        assert_int_equal(paired, table[i].paired);
        assert_null(strstr(err.text, "sig="));
    }
    conf.via = (struct http_via){
        .ca_file = "ca", .ca_dir = "d", .client_cert = "c", .client_key = "k", .proxy = NULL};
    struct http_via via = exchange_foreign_via(&h, false);
    assert_true(via.public_only && !via.ca_file && !via.client_cert && !via.client_key);
    via = exchange_foreign_via(&h, true);
    assert_true(!via.public_only && via.ca_file && !via.client_cert && !via.client_key);
}

/* Credentials go to the registry's own addresses alone, whatever it names. */
static void test_foreign_url_sees_nothing(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    start(f, &a, "{\"auth\":\"bearer\"}");
    control(&f->thief, "reset", "{}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    *list_push(&a, &c.conf.storage) = arena_printf(&a, "http://%s", f->thief.host);
    assert_false(head(&c, &a, (struct registry_access){0}).failed);
    control(&f->thief, "rule",
            "{\"path\":\"/blob\",\"status\":401,\"headers\":[[\"WWW-Authenticate\","
            "\"Basic realm=\\\"x\\\"\"]]}");
    (void)raw_log(&a, &f->thief);
    struct exchange x = {.host = registry_find(c.registry, c.conf.host, false),
                         .name = NAME,
                         .method = "GET",
                         .url = arena_printf(&a, "http://%s/blob", f->thief.host),
                         .max_body = KIB(4)};
    exchange_all(c.registry, &a, &x, 1);
    assert_false(x.failed);
    assert_int_equal(x.resp.status, 401);
    assert_null(x.sent);
    const char *log = raw_log(&a, &f->thief);
    assert_non_null(strstr(log, "\"authorization\": \"\""));
    assert_null(strstr(log, "Bearer"));
    assert_null(strstr(log, "Basic"));
    x.url = arena_printf(&a, "http://%s/v2/%s/manifests/latest", f->fake.host, NAME);
    exchange_all(c.registry, &a, &x, 1);
    assert_int_equal(x.resp.status, 200);
    assert_true(str_starts(x.sent, "Bearer "));
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_identity_token),
        cmocka_unit_test(test_refresh_token_replaced),
        cmocka_unit_test(test_registry_token),
        cmocka_unit_test(test_insufficient_scope),
        cmocka_unit_test(test_private_realm),
        cmocka_unit_test(test_named_addresses),
        cmocka_unit_test(test_foreign_url_sees_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
