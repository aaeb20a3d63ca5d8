#include "core/base/base.h"

#include "core/base/str.h"
#include "core/forge/forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const char *const all_types[] = {"git", "github", "gerrit"};

static void classes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum forge_class want;
    } cases[] = {
        {"ping", FORGE_PING},
        {"pull_request", FORGE_STORE},
        {"push", FORGE_STORE},
        {"create", FORGE_STORE},
        {"delete", FORGE_STORE},
        {"merge_group", FORGE_STORE},
        {"release", FORGE_STORE},
        {"status", FORGE_BORING},
        {"check_run", FORGE_BORING},
        {"issues", FORGE_BORING},
        {"pull_request_review", FORGE_BORING},
        {"", FORGE_BORING},
        {"Push", FORGE_BORING},
        {NULL, FORGE_STORE},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_req req = {.method = "POST", .url = "/hooks/src", .query = ""};
    const struct forge *forge = forge_find("github");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        req.headers = (struct http_headers){0};
        if (cases[i].name)
            http_header_add(&a, &req.headers, "X-GitHub-Event", cases[i].name);
        if (forge->classify(&req) != cases[i].want)
            fail_msg("class of %s", cases[i].name ? cases[i].name : "(none)");
    }
    http_header_add(&a, &req.headers, "X-GitHub-Event", "ping");
    http_header_add(&a, &req.headers, "webhook-id", "m1");
    assert_int_equal(forge->classify(&req), FORGE_STORE);
    assert_int_equal(forge_find("gerrit")->classify(&req), FORGE_STORE);
    assert_int_equal(forge_find("git")->classify(&req), FORGE_STORE);
}

static void delivery_ids(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct http_req req = {.method = "POST", .url = "/hooks/src", .query = ""};
    for (size_t t = 0; t < ARRAY_LEN(all_types); t++)
        assert_null(forge_find(all_types[t])->delivery_id(&req));
    http_header_add(&a, &req.headers, "X-GitHub-Delivery", "72d3162e");
    assert_string_equal(forge_find("github")->delivery_id(&req), "72d3162e");
    assert_null(forge_find("gerrit")->delivery_id(&req));
    assert_null(forge_find("git")->delivery_id(&req));
    http_header_add(&a, &req.headers, "Webhook-Id", "msg_1");
    for (size_t t = 0; t < ARRAY_LEN(all_types); t++)
        assert_string_equal(forge_find(all_types[t])->delivery_id(&req), "msg_1");
}

/* What is stored never holds a proof or a credential, and holds all that parsing needs. */
static void kept_headers(void **state)
{
    (void)state;
    static const char *const never[] = {
        "Authorization",     "Cookie",         "X-Hub-Signature",         "X-Hub-Signature-256",
        "webhook-signature", "svix-signature", "X-Github-Encoded-Secret", "X-Gitlab-Token",
    };
    size_t n;
    const struct forge *const *table = forge_table(&n);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        bool id = false;
        for (const char *const *name = table[i]->keep_headers; *name; name++) {
            for (size_t j = 0; j < ARRAY_LEN(never); j++)
                assert_false(str_caseeq(*name, never[j]));
            id |= str_caseeq(*name, "webhook-id");
        }
        assert_true(id);
        assert_ptr_equal(forge_find(table[i]->type), table[i]);
    }
    assert_null(forge_find("svn"));
    assert_null(forge_find(""));
    assert_null(forge_find(NULL));
}

/* No number, no question: it would be part of an address. */
static void odd_changes(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const numbers[] = {
        NULL, "", "0", "007", "7/../8", "7?x", "-1", "7 ", "1234567890123456789"};
    static const char *const types[] = {"github", "gerrit"};
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        const struct forge_conf conf = {.name = "src", .type = types[t], .url = "https://r"};
        struct event e = {.project = "team/app"};
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            struct forge_dialogue d = {
                .conf = &conf, .arena = &a, .event = &e, .change = numbers[i]};
            struct http_req next = {0};
            struct err err = ERR_INIT;
            assert_int_equal(forge_find(types[t])->change(&d, NULL, &next, &err), FORGE_FAILED);
            assert_int_equal(err.kind, ERR_PERM);
            assert_null(next.url);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_changes),
        cmocka_unit_test(classes),
        cmocka_unit_test(delivery_ids),
        cmocka_unit_test(kept_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
