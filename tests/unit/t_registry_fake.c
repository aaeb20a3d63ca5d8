#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/fake_help.h"

#include <errno.h>
#include <pthread.h>

/* --- signing in ----------------------------------------------------------------------------------
 */

static void test_bearer(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a, "{\"auth\":\"bearer\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "staged");
    assert_false(op.failed || op.absent);
    assert_string_equal(requests(&a, &f->fake), "GET token GET");
    op.verb = REGISTRY_PUT;
    op.ref = "v1";
    assert_int_equal(registry_all(c.registry, &a, &op, 1), 0);
    assert_string_equal(requests(&a, &f->fake), "PUT"); /* the same token */
    /* The host is known to want tokens, so another repository fetches one ahead. */
    assert_true(ask(&c, &a, REGISTRY_HEAD, "team/other", "x").absent);
    assert_string_equal(requests(&a, &f->fake), "token HEAD");
    /* Many requests of two repositories, cold: one token for each. */
    struct client cold;
    client_open(&cold, f->fake.host, "ci", PASSWORD);
    struct registry_op ops[20];
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        ops[i] = (struct registry_op){.verb = REGISTRY_HEAD,
                                      .host = f->fake.host,
                                      .name = i % 2 ? NAME : "team/other",
                                      .ref = "latest"};
    assert_int_equal(registry_all(cold.registry, &a, ops, ARRAY_LEN(ops)), 0);
    size_t tokens = 0;
    for (const char *p = requests(&a, &f->fake); (p = strstr(p, "token")); p++)
        tokens++;
    assert_int_equal(tokens, 2);
    client_close(&cold);
    client_close(&c);
}

static void test_token_gone_bad(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a, "{\"auth\":\"bearer\",\"expires_in\":1}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    assert_false(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").failed);
    peer_pause(900); /* beyond 80 % of its second */
    (void)requests(&a, &f->fake);
    assert_false(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "token HEAD");
    /* Refused though it should be good: once more, with a new one. */
    control(&f->fake, "config", "{\"expires_in\":300}");
    peer_pause(900);
    assert_false(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").failed);
    (void)requests(&a, &f->fake);
    control(&f->fake, "rule",
            arena_printf(&a,
                         "{\"path\":\"/v2/\",\"status\":401,\"headers\":[[\"WWW-Authenticate\","
                         "\"Bearer realm=\\\"http://%s/token\\\"\"]]}",
                         f->fake.host));
    assert_false(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "HEAD token HEAD");
    /* And never more than once. */
    control(&f->fake, "config", "{\"grants\":\"\"}");
    control(&f->fake, "rule",
            arena_printf(&a,
                         "{\"path\":\"/v2/\",\"status\":401,\"headers\":[[\"WWW-Authenticate\","
                         "\"Bearer realm=\\\"http://%s/token\\\"\"]],\"times\":9}",
                         f->fake.host));
    assert_true(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "HEAD token HEAD");
    for (int i = 0; i < 7; i++)
        (void)ask(&c, &a, REGISTRY_HEAD, NAME, "latest");
    client_close(&c);
}

static void test_token_service(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config, *password, *requests;
        enum err_kind kind;
        const char *says;
    } table[] = {
        {"{\"auth\":\"bearer\"}", PASSWORD, "HEAD token HEAD", ERR_NONE, ""},
        {"{\"auth\":\"bearer\",\"refuse_scope\":\"delete\"}", PASSWORD, "HEAD token token HEAD",
         ERR_NONE, ""},
        {"{\"auth\":\"bearer\",\"refuse_scope\":\"push\"}", PASSWORD, "HEAD token token token HEAD",
         ERR_NONE, ""},
        {"{\"auth\":\"bearer\",\"refuse_scope\":\"pull\"}", PASSWORD, "HEAD token token token",
         ERR_PERM, "403"},
        {"{\"auth\":\"bearer\"}", "wrong-password", "HEAD token token token", ERR_PERM,
         "check the credentials"},
        {"{\"auth\":\"bearer\"}", NULL, "HEAD token token token", ERR_PERM, "no credentials"},
        {"{\"auth\":\"bearer\",\"anonymous_token\":true}", NULL, "HEAD token HEAD", ERR_NONE, ""},
        {"{\"auth\":\"bearer\",\"grants\":\"push\"}", PASSWORD, "HEAD token HEAD", ERR_PERM,
         "refused to look at team/app:latest: 401"},
        {"{\"auth\":\"bearer\",\"token_body\":\"nonsense\"}", PASSWORD, "HEAD token", ERR_TEMP,
         "usable token"},
        {"{\"auth\":\"bearer\",\"token_body\":\"{\\\"token\\\":\\\"a b\\\"}\"}", PASSWORD,
         "HEAD token", ERR_TEMP, "usable token"},
        {"{\"auth\":\"bearer\",\"token_body\":\"{\\\"token\\\":\\\"a\\\\r\\\\nb\\\"}\"}", PASSWORD,
         "HEAD token", ERR_TEMP, "usable token"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        (void)fresh(f, &a, table[i].config);
        client_open(&c, f->fake.host, table[i].password ? "ci" : NULL, table[i].password);
        struct registry_op op = ask(&c, &a, REGISTRY_HEAD, NAME, "latest");
        print_message("%s: %s\n", table[i].config, op.err.text);
        assert_int_equal(op.failed, table[i].kind != ERR_NONE);
        assert_int_equal(op.err.kind, table[i].kind);
        assert_non_null(strstr(op.err.text, table[i].says));
        assert_null(strstr(op.err.text, "password"));
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a, "{\"auth\":\"bearer\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    control(&f->fake, "rule", "{\"path\":\"/token\",\"size\":70000}");
    assert_int_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").err.kind, ERR_PERM);
    control(&f->fake, "rule",
            "{\"path\":\"/token\",\"status\":503,\"headers\":[[\"Retry-After\",\"9\"]]}");
    struct registry_op op = ask(&c, &a, REGISTRY_HEAD, NAME, "latest");
    assert_int_equal(op.err.kind, ERR_TEMP);
    assert_int_equal(op.err.retry_after, 9);
    client_close(&c);
}

/* Who else may see a credential: nobody. THIEF and FAKE become the servers' addresses. */
static void test_realms(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *challenge, *listed;
        enum err_kind kind;
        const char *says, *thief;
    } table[] = {
        {"Bearer realm=\"http://THIEF/token\"", NULL, ERR_CONFIG, "`realms`", ""},
        {"Bearer realm=\"https://THIEF/token\"", NULL, ERR_CONFIG, "`realms`", ""},
        {"Bearer realm=\"https://auth.docker.io/token\"", NULL, ERR_CONFIG, "`realms`", ""},
        {"Bearer realm=\"http://FAKE@THIEF/token\"", NULL, ERR_CONFIG, "malformed", ""},
        {"Bearer realm=\"http://THIEF#FAKE/token\"", NULL, ERR_CONFIG, "`realms`", ""},
        {"Bearer realm=\"file:///etc/passwd\"", NULL, ERR_CONFIG, "malformed", ""},
        {"Bearer realm=\"/token\"", NULL, ERR_CONFIG, "malformed", ""},
        {"Bearer realm=\"\"", NULL, ERR_CONFIG, "without naming", ""},
        {"Bearer service=\"x\"", NULL, ERR_CONFIG, "without naming", ""},
        {"Negotiate", NULL, ERR_PERM, "401", ""},
        {"nonsense \"", NULL, ERR_PERM, "401", ""},
        {"Bearer realm=\"http://THIEF/token\"\nBearer realm=\"http://FAKE/token\"", NULL, ERR_NONE,
         "", ""},
        {"Digest realm=\"x\", bEaReR Realm = \"http://FAKE/token?own=1#frag\"", NULL, ERR_NONE, "",
         ""},
        {"Bearer realm=\"http://THIEF/token\"", "http://THIEF", ERR_PERM, "401", "token"},
        {"Bearer realm=\"http://THIEF/token\"", "https://THIEF", ERR_CONFIG, "`realms`", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(KIB(4));
        for (const char *p = table[i].challenge; *p; p++) {
            const struct peer *peer = str_after(p, "THIEF") ? &f->thief : &f->fake;
            if (str_after(p, "THIEF") || str_after(p, "FAKE")) {
                (void)strbuf_addstr(&text, peer->host);
                p += peer == &f->thief ? 4 : 3;
            } else {
                (void)strbuf_addch(&text, *p);
            }
        }
        struct js *config CLEANUP_JS = js_object();
        js_put_str(config, "auth", "bearer");
        js_put_str(config, "challenge", text.buf);
        (void)fresh(f, &a, js_dump(config, &a));
        control(&f->thief, "config", USUAL);
        client_open(&c, f->fake.host, "ci", PASSWORD);
        if (table[i].listed)
            *list_push(&a, &c.conf.realms) = arena_printf(
                &a, "%.*s%s", (int)strcspn(table[i].listed, "T"), table[i].listed, f->thief.host);
        struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "latest");
        print_message("%s: %s\n", text.buf, op.err.text);
        assert_int_equal(op.err.kind, table[i].kind);
        assert_int_equal(op.failed, table[i].kind != ERR_NONE);
        assert_non_null(strstr(op.err.text, table[i].says));
        assert_string_equal(requests(&a, &f->thief), table[i].thief);
        client_close(&c);
    }
}

/* A registry that is reached over https never makes us speak in the clear. */
static void test_basic_and_bearer(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a,
                "{\"auth\":\"basic\",\"challenge\":\"Bearer realm=\\\"http://x/\\\", "
                "Basic realm=\\\"y\\\"\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    assert_false(ask(&c, &a, REGISTRY_GET, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "GET GET");
    assert_false(ask(&c, &a, REGISTRY_GET, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "GET");
    /* It moves to tokens: the credentials are not repeated, the new way is learnt. */
    control(&f->fake, "config", "{\"auth\":\"bearer\",\"challenge\":\"\"}");
    assert_false(ask(&c, &a, REGISTRY_GET, NAME, "latest").failed);
    assert_string_equal(requests(&a, &f->fake), "GET token GET");
    client_close(&c);
}

/* --- answers -------------------------------------------------------------------------------------
 */

static void test_faults(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *rule;
        enum registry_verb verb;
        enum err_kind kind;
        int code;
        int64_t retry_after;
        const char *says;
    } table[] = {
        {"{\"path\":\"/v2/\",\"status\":429,\"headers\":[[\"Retry-After\",\"7\"]]}", REGISTRY_PUT,
         ERR_TEMP, 429, 7, "could not push team/app:latest: 429"},
        {"{\"path\":\"/v2/\",\"status\":500,\"body\":\"<html>oops\"}", REGISTRY_PUT, ERR_TEMP, 500,
         0, "500"},
        {"{\"path\":\"/v2/\",\"status\":503}", REGISTRY_HEAD, ERR_TEMP, 503, 0, "503"},
        {"{\"path\":\"/v2/\",\"status\":502}", REGISTRY_GET, ERR_TEMP, 502, 0, "502"},
        {"{\"path\":\"/v2/\",\"status\":403,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":\\\"DENIED"
         "\\\",\\\"message\\\":\\\"not\\\\nfor\\\\u001byou\\\"}]}\"}",
         REGISTRY_PUT, ERR_PERM, 403, 0,
         "refused to push team/app:latest: 403 DENIED: not for you"},
        {"{\"path\":\"/v2/\",\"status\":404,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":"
         "\\\"NAME_UNKNOWN\\\"}]}\"}",
         REGISTRY_PUT, ERR_PERM, 404, 0, "404 NAME_UNKNOWN"},
        {"{\"path\":\"/v2/\",\"status\":404,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":"
         "\\\"DENIED\\\"}]}\"}",
         REGISTRY_GET, ERR_PERM, 404, 0, "404 DENIED"},
        {"{\"path\":\"/v2/\",\"status\":307,\"headers\":[[\"Location\",\"http://127.0.0.1:1/\"]]}",
         REGISTRY_GET, ERR_PERM, 307, 0, "which is not followed"},
        {"{\"path\":\"/v2/\",\"close\":true,\"times\":4}", REGISTRY_GET, ERR_TEMP, 0, 0, ""},
        {"{\"path\":\"/v2/\",\"size\":4194305}", REGISTRY_GET, ERR_PERM, EFBIG, 0, "exceeds"},
        {"{\"path\":\"/v2/\",\"body\":\"<html>\",\"headers\":[[\"Content-Type\",\"text/html\"]]}",
         REGISTRY_GET, ERR_PERM, 0, 0, "no valid JSON"},
        {"{\"path\":\"/v2/\",\"body\":\"{\\\"schemaVersion\\\":1}\"}", REGISTRY_GET, ERR_PERM, 0, 0,
         "schema 1"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    (void)fresh(f, &a, "{}");
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct client c;
        client_open(&c, f->fake.host, NULL, NULL);
        struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "staged");
        assert_false(op.failed);
        control(&f->fake, "rule", table[i].rule);
        op.verb = table[i].verb;
        op.ref = "latest";
        (void)registry_all(c.registry, &a, &op, 1);
        print_message("%s\n", op.err.text);
        assert_true(op.failed);
        assert_false(op.absent);
        assert_int_equal(op.err.kind, table[i].kind);
        assert_int_equal(op.err.code, table[i].code);
        assert_int_equal(op.err.retry_after, table[i].retry_after);
        assert_non_null(strstr(op.err.text, table[i].says));
        assert_null(strpbrk(op.err.text, "\r\n\x1b"));
        (void)ask(&c, &a, REGISTRY_GET, NAME, "staged"); /* eats what is left of the rule */
        (void)ask(&c, &a, REGISTRY_GET, NAME, "staged");
        client_close(&c);
    }
}

static void test_absent(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {
        "",
        "404 page not found",
        "{}",
        "{\\\"errors\\\":[]}",
        "{\\\"errors\\\":[{\\\"code\\\":\\\"MANIFEST_UNKNOWN\\\"}]}",
        "{\\\"errors\\\":[{\\\"code\\\":\\\"NAME_UNKNOWN\\\"}]}",
        "{\\\"errors\\\":[{\\\"code\\\":\\\"NOT_FOUND\\\"}]}",
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a, "{}");
    client_open(&c, f->fake.host, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        control(&f->fake, "rule",
                arena_printf(&a, "{\"path\":\"/v2/\",\"status\":404,\"body\":\"%s\"}", bodies[i]));
        struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "latest");
        assert_true(op.absent && !op.failed);
    }
    client_close(&c);
}

static void test_bytes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config;
        bool by_digest;
        enum registry_verb verb;
        const char *says; /* NULL: it works */
    } table[] = {
        {"{}", false, REGISTRY_GET, NULL},
        {"{}", true, REGISTRY_HEAD, NULL},
        {"{\"content_type\":\"application/vnd.oci.image.manifest.v1+json; charset=utf-8\"}", false,
         REGISTRY_HEAD, NULL},
        {"{\"content_type\":\"application/vnd.docker.distribution.manifest.v2+json\"}", false,
         REGISTRY_GET, "another type"},
        {"{\"corrupt\":true}", false, REGISTRY_GET, "wrong bytes"},
        {"{\"corrupt\":true,\"digest_header\":false}", true, REGISTRY_GET, "wrong bytes"},
        {"{\"digest_header\":false}", false, REGISTRY_GET, NULL},
        {"{\"digest_header\":false}", false, REGISTRY_HEAD, NULL}, /* repeated as a GET */
        {"{\"digest_header\":false}", false, REGISTRY_PUT, NULL},
        {"{\"put_digest\":\"sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000\"}",
         false, REGISTRY_PUT, "wrong bytes"},
        {"{\"put_digest\":\"sha512:x\"}", false, REGISTRY_PUT, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        const char *digest = fresh(f, &a, "{}");
        client_open(&c, f->fake.host, NULL, NULL);
        struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "staged");
        control(&f->fake, "config", table[i].config);
        (void)requests(&a, &f->fake);
        op.verb = table[i].verb;
        op.ref = table[i].by_digest ? digest : "latest";
        (void)registry_all(c.registry, &a, &op, 1);
        print_message("%s %d: %s\n", table[i].config, (int)table[i].verb, op.err.text);
        assert_int_equal(op.failed, table[i].says != NULL);
        if (table[i].says) {
            assert_int_equal(op.err.kind, ERR_PERM);
            assert_non_null(strstr(op.err.text, table[i].says));
        } else {
            assert_string_equal(op.digest, digest);
            assert_string_equal(op.media_type, MANIFEST_OCI);
        }
        if (table[i].verb == REGISTRY_HEAD && strstr(table[i].config, "digest_header"))
            assert_string_equal(requests(&a, &f->fake), "HEAD GET");
        client_close(&c);
    }
}

/* A 201 that moved nothing is found out by looking at the tag. */
static void test_empty_promise(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    const char *digest = fresh(f, &a, "{\"put_moves\":false}");
    client_open(&c, f->fake.host, NULL, NULL);
    struct registry_op op =
        put(&c, &a, NAME, "latest", MANIFEST_OCI_INDEX, manifest_empty_index("1", &a));
    assert_false(op.failed);
    struct registry_op seen = ask(&c, &a, REGISTRY_HEAD, NAME, "latest");
    assert_string_equal(seen.digest, digest);
    assert_string_not_equal(seen.digest, op.digest);
    client_close(&c);
}

static void test_echoed_secret(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    (void)fresh(f, &a, "{\"auth\":\"basic\",\"password\":\"another\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    struct registry_op op = ask(&c, &a, REGISTRY_GET, NAME, "latest");
    print_message("%s\n", op.err.text);
    assert_non_null(strstr(op.err.text, "sent: Basic ***"));
    client_close(&c);
    control(&f->fake, "config",
            "{\"auth\":\"bearer\",\"password\":\"" PASSWORD "\","
            "\"grants\":\"push\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    op = ask(&c, &a, REGISTRY_GET, NAME, "latest");
    print_message("%s\n", op.err.text);
    assert_non_null(strstr(op.err.text, "sent: Bearer ***"));
    client_close(&c);
    /* Where the message is cut. */
    client_open(&c, f->fake.host, "ci", PASSWORD);
    control(&f->fake, "config", "{\"auth\":\"basic\",\"password\":\"" PASSWORD "\"}");
    control(
        &f->fake, "rule",
        arena_printf(&a,
                     "{\"path\":\"/manifests/latest\",\"status\":403,\"body\":\"{\\\"errors\\\":"
                     "[{\\\"code\\\":\\\"DENIED\\\",\\\"message\\\":\\\"%0*d" PASSWORD "\\\"}]}\"}",
                     300 - 6, 0));
    op = ask(&c, &a, REGISTRY_GET, NAME, "latest");
    print_message("%s\n", op.err.text);
    assert_non_null(strstr(op.err.text, "DENIED: 000"));
    assert_null(strstr(op.err.text, "geheim"));
    client_close(&c);
}

static void test_blob_redirect(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    struct err err = ERR_INIT;
    char digest[CRYPT_DIGEST_TEXT];
    const void *bytes;
    size_t len;
    crypt_digest("hello", 5, digest);
    (void)fresh(f, &a, "{\"auth\":\"basic\",\"blob_redirect\":\"/storage?sig=hidden\"}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    control(&f->fake, "rule", "{\"path\":\"/storage\",\"body\":\"hello\"}");
    assert_int_equal(read_blob(&c, &a, NAME, digest, 10, &bytes, &len, &err), 0);
    assert_int_equal(len, 5);
    control(&f->fake, "rule", "{\"path\":\"/storage\",\"body\":\"hullo\"}");
    assert_int_equal(read_blob(&c, &a, NAME, digest, 10, &bytes, &len, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    const char *const elsewhere[] = {arena_printf(&a, "http://%s/echo?sig=hidden", f->thief.host),
                                     arena_printf(&a, "https://%s/echo?sig=hidden", f->thief.host),
                                     "http://example.org/x?sig=hidden", "file:///etc/passwd",
                                     "/v2/" NAME "/blobs/{digest}"};
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        control(&f->fake, "config",
                arena_printf(&a, "{\"auth\":\"none\",\"blob_redirect\":\"%s\"}", elsewhere[i]));
        assert_int_equal(read_blob(&c, &a, NAME, digest, 10, &bytes, &len, &err), -1);
        print_message("%s\n", err.text);
        assert_non_null(strstr(err.text, "not followed"));
        assert_null(strstr(err.text, "hidden"));
    }
    assert_string_equal(requests(&a, &f->thief), "");
    client_close(&c);
}

static void *sign_in_often(void *user)
{
    struct client *c = user;
    size_t good = 0;
    for (int i = 0; i < 10; i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct registry_op ops[4];
        for (int k = 0; k < 4; k++)
            ops[k] = (struct registry_op){.verb = REGISTRY_HEAD,
                                          .host = c->conf.host,
                                          .name = arena_printf(&a, "team/t%d", (i + k) % 5),
                                          .ref = "latest"};
        (void)registry_all(c->registry, &a, ops, 4);
        for (int k = 0; k < 4; k++)
            good += ops[k].absent;
    }
    return (void *)(uintptr_t)good;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    pthread_t threads[4];
    (void)fresh(f, &a, "{\"auth\":\"bearer\",\"expires_in\":1}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_in_often, &c), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal((uintptr_t)good, 40);
    }
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bearer),           cmocka_unit_test(test_token_gone_bad),
        cmocka_unit_test(test_token_service),    cmocka_unit_test(test_realms),
        cmocka_unit_test(test_basic_and_bearer), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_absent),           cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_empty_promise),    cmocka_unit_test(test_echoed_secret),
        cmocka_unit_test(test_blob_redirect),    cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
