#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/vendor_help.h"

/* One of two tags on one digest goes; the other and the image stay; twice. */
static void test_removes_that_tag_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = &peers[i];
        struct client c;
        struct err err;
        enum registry_removal out;
        print_message("%s\n", v->type);
        const char *digest = scene(&a, v, NULL);
        enter(&c, v);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(
                remove_tag(&c, &a, NAME, "staged", digest, round, "latest", digest, &out, &err), 0);
            assert_int_equal(out, REMOVAL_DONE);
            expect(&c, &a, "staged", NULL);
            expect(&c, &a, "latest", digest);
            (void)store(&a, &v->peer, NAME, "staged", 7);
        }
        /* A final tag by the same calls, where they need no placeholder. */
        err = (struct err)ERR_INIT;
        assert_int_equal(registry_untag(c.registry, &a, c.conf.host, NAME, "staged", &out, &err),
                         0);
        assert_int_equal(out, str_eq(v->type, "ghcr") ? REMOVAL_NO_WAY : REMOVAL_DONE);
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
}

/* A tag that shows something else by now is left alone, and so is one that is gone. */
static void test_leaves_moved_tags(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = &peers[i];
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = scene(&a, v, NULL);
        const char *other = store(&a, &v->peer, NAME, "staged", 8);
        enter(&c, v);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, false, "latest", digest, &out, &err), 0);
        assert_int_equal(out, REMOVAL_CHANGED);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "absent", digest, false, "latest", digest, &out, &err), 0);
        assert_int_equal(out, REMOVAL_GONE);
        expect(&c, &a, "staged", other);
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
}

/* Wrong credentials for the interface: said clearly, without them, and nothing else is tried. */
static void test_wrong_login(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = &peers[i];
        struct client c;
        struct err err;
        enum registry_removal out;
        print_message("%s\n", v->type);
        const char *digest = scene(&a, v, "{\"tag_delete\":405}");
        enter(&c, v);
        c.conf.api_password = "falsches-wort";
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), 0);
        assert_int_equal(out, REMOVAL_NO_WAY);
        assert_int_equal(err.kind, ERR_PERM);
        assert_non_null(strstr(err.text, v->refused));
        assert_non_null(strstr(err.text, "check api_username and api_password"));
        assert_null(strstr(err.text, "falsches-wort"));
        assert_int_equal(count(&a, v, "PUT", "/manifests/"), 0);
        expect(&c, &a, "staged", digest);
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
}

/* Trouble is temporary, and says when to come back. */
static void test_trouble(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = &peers[i];
        struct client c;
        struct err err;
        enum registry_removal out;
        print_message("%s\n", v->type);
        const char *digest = scene(&a, v, "{\"tag_delete\":405}");
        control(
            &v->peer, "vendor",
            "{\"fail_times\":1,\"fail_status\":429,\"fail_headers\":[[\"Retry-After\",\"7\"]]}");
        enter(&c, v);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), -1);
        assert_int_equal(err.kind, ERR_TEMP);
        assert_int_equal(err.retry_after, 7);
        client_close(&c);
        enter(&c, v); /* where both are one origin, the registry is left alone for so long too */
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
}

/* GitHub's 403 over a limit is no refusal. */
static void test_github_limit(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct vendor_peer *v = peer_of("ghcr");
    struct client c;
    struct err err;
    enum registry_removal out;
    const char *digest = scene(&a, v, NULL);
    control(&v->peer, "vendor",
            "{\"fail_times\":1,\"fail_status\":403,\"fail_headers\":[[\"X-RateLimit-Remaining\","
            "\"0\"],[\"X-RateLimit-Reset\",\"99999999999\"]]}");
    enter(&c, v);
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.retry_after, LIMIT_RETRY_AFTER_S);
    expect(&c, &a, "staged", digest);
    client_close(&c);
}

/* Who may not remove a tag is told why, and the tag stays as it was. */
static void test_protected(void **state)
{
    (void)state;
    static const struct {
        const char *type, *config, *vendor, *why;
    } table[] = {
        {"harbor", "{\"immutable\":\"staged\"}", "{}", "immutab"},
        {"gitlab", "{\"tag_delete\":405}", "{\"protected\":\"staged\"}", "403"},
        {"acr", "{}", "{\"locked\":[\"staged\"]}", "405"},
        {"ghcr", "{}", "{\"scopes\":\"read:packages\"}", "delete:packages"},
        {"ghcr", "{}", "{\"scopes\":\"\"}", "read:packages"},
        {"quay", "{}", "{\"scopes\":\"repo:read\"}", "Unauthorized"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = peer_of(table[i].type);
        struct client c;
        struct err err;
        enum registry_removal out;
        print_message("%s %s\n", table[i].type, table[i].vendor);
        const char *digest = scene(&a, v, table[i].config);
        control(&v->peer, "vendor", table[i].vendor);
        enter(&c, v);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), 0);
        assert_int_equal(out, REMOVAL_NO_WAY);
        assert_non_null(strstr(err.text, table[i].why));
        expect(&c, &a, "staged", digest);
        expect(&c, &a, "latest", digest);
        client_close(&c);
        control(&v->peer, "vendor",
                str_eq(table[i].type, "ghcr") ? "{\"scopes\":\"read:packages delete:packages\"}"
                : str_eq(table[i].type, "quay")
                    ? "{\"scopes\":\"repo:read repo:write repo:create repo:admin\"}"
                : str_eq(table[i].type, "gitlab") ? "{\"protected\":\"\"}"
                : str_eq(table[i].type, "acr")    ? "{\"locked\":[]}"
                                                  : "{}");
    }
}

/* Docker Hub: both ways to sign in, once for many tags; its 500 that finishes later; without a
 * login nothing is tried. */
static void test_dockerhub(void **state)
{
    (void)state;
    struct vendor_peer *v = peer_of("dockerhub");
    static const char *const logins[] = {"old", "new", "both"};
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = scene(&a, v, NULL);
        control(&v->peer, "vendor", arena_printf(&a, "{\"login\":\"%s\"}", logins[i]));
        enter(&c, v);
        for (int k = 0; k < 3; k++) {
            const char *tag = arena_printf(&a, "staged-%d", k);
            (void)store(&a, &v->peer, NAME, tag, 7);
            assert_int_equal(
                remove_tag(&c, &a, NAME, tag, digest, true, "latest", digest, &out, &err), 0);
            assert_int_equal(out, REMOVAL_DONE);
        }
        assert_int_equal(count(&a, v, "POST", "/v2/"), i == 0 ? 2 : 1);
        client_close(&c);
    }
    for (int finishes = 0; finishes < 2; finishes++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = scene(&a, v, NULL);
        control(&v->peer, "rule",
                finishes
                    ? "{\"method\":\"DELETE\",\"path\":\"/tags/staged\",\"mangle\":{\"status\":"
                      "500}}"
                    : "{\"method\":\"DELETE\",\"path\":\"/tags/staged\",\"status\":500}");
        enter(&c, v);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
            finishes ? 0 : -1);
        if (finishes)
            assert_int_equal(out, REMOVAL_DONE);
        else
            assert_int_equal(err.kind, ERR_TEMP);
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    struct err err;
    enum registry_removal out;
    const char *digest = scene(&a, v, NULL);
    client_open(&c, v->peer.host, NULL, NULL);
    c.conf.type = "dockerhub";
    c.conf.api = v->api;
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_NO_WAY);
    assert_non_null(strstr(err.text, "credentials"));
    assert_int_equal(count(&a, v, "PUT", "/manifests/"), 0);
    client_close(&c);
}

/* GHCR: the owner may be a user; the only tagged version cannot go, and is put back. */
static void test_ghcr(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct vendor_peer *v = peer_of("ghcr");
    struct client c;
    struct err err;
    enum registry_removal out;
    const char *digest = scene(&a, v, NULL);
    control(&v->peer, "vendor", "{\"owner\":\"users\",\"page_cap\":1}");
    for (int i = 0; i < 4; i++)
        (void)store(&a, &v->peer, NAME, arena_printf(&a, "more-%d", i), 20 + i);
    enter(&c, v);
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_DONE);
    expect(&c, &a, "staged", NULL);
    expect(&c, &a, "latest", digest);
    client_close(&c);
    control(&v->peer, "vendor", "{\"owner\":\"orgs\"}");
    digest = scene(&a, v, NULL);
    control(&v->peer, "reset", "{}");
    control(&v->peer, "vendor", "{\"token\":\"" TOKEN "\"}");
    digest = store(&a, &v->peer, NAME, "staged", 7);
    enter(&c, v);
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, NULL, NULL, &out, &err), 0);
    assert_int_equal(out, REMOVAL_NO_WAY);
    assert_non_null(strstr(err.text, "last tagged version"));
    expect(&c, &a, "staged", digest);
    client_close(&c);
    /* Without a token nothing is overwritten. */
    digest = scene(&a, v, NULL);
    client_open(&c, v->peer.host, NULL, NULL);
    c.conf.type = "ghcr";
    c.conf.api = v->api;
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_NO_WAY);
    assert_non_null(strstr(err.text, "api_password"));
    assert_int_equal(count(&a, v, "PUT", "/manifests/"), 0);
    client_close(&c);
}

/* GitLab before 16.4, by its registry's old call, and by REST for a repository below a project. */
static void test_gitlab(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct vendor_peer *v = peer_of("gitlab");
    struct client c;
    struct err err;
    enum registry_removal out;
    static const char *const name = "team/app/deep/er";
    (void)scene(&a, v, "{\"tag_delete\":405}");
    (void)store(&a, &v->peer, name, "latest", 7);
    const char *digest = store(&a, &v->peer, name, "staged", 7);
    enter(&c, v);
    assert_int_equal(remove_tag(&c, &a, name, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_DONE);
    assert_int_equal(count(&a, v, "DELETE", "/api/v4/projects/team%2Fapp/registry/"), 1);
    client_close(&c);
    digest = scene(&a, v, "{\"tag_delete\":405}");
    enter(&c, v);
    c.conf.api_password = NULL;
    control(
        &v->peer, "rule",
        "{\"method\":\"DELETE\",\"path\":\"/v2/team/app/tags/reference/staged$\",\"status\":404,"
        "\"body\":\"{\\\"errors\\\":[{\\\"code\\\":\\\"MANIFEST_UNKNOWN\\\"}]}\"}");
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_DONE); /* it is still there: by isolation in the end */
    assert_true(count(&a, v, "DELETE", "/tags/reference/staged") == 1);
    expect(&c, &a, "latest", digest);
    client_close(&c);
}

/* ACR by the token that its challenge asks for; by Basic where a token's rights do not reach. */
static void test_acr_token(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct vendor_peer *v = peer_of("acr");
    struct client c;
    struct err err;
    enum registry_removal out;
    struct vendor_tags tags = {0};
    bool told;
    const char *digest = scene(&a, v, NULL);
    control(&v->peer, "vendor", "{\"tokens\":true}");
    enter(&c, v);
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_DONE);
    struct js *log CLEANUP_JS = look(&a, &v->peer, "log");
    size_t by_token = 0;
    for (size_t i = 0; i < js_len(log); i++)
        by_token += str_eq(js_str(js_at(log, i), "method"), "DELETE") &&
                    str_starts(js_str(js_at(log, i), "authorization"), "Bearer acr-");
    assert_int_equal(by_token, 1);
    expect(&c, &a, "latest", digest);
    assert_int_equal(vendor_tag_times(c.registry, &a, c.conf.host, NAME, NULL, &tags, &told, &err),
                     0);
    assert_int_equal(tags.n, 1);
    client_close(&c);
    control(&v->peer, "vendor", "{\"tokens\":false}");
}

/* Another origin never sees the registry's password unless the vendor's account is one. */
static void test_login_is_bound(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool goes;
    } table[] = {{"dockerhub", true}, {"ghcr", true}, {"gitlab", false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = peer_of(table[i].type);
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = scene(&a, v, "{\"tag_delete\":405}");
        enter(&c, v);
        c.conf.api_password = NULL;
        (void)remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err);
        struct js *log CLEANUP_JS = look(&a, &v->peer, "log");
        size_t api = 0;
        for (size_t k = 0; k < js_len(log); k++)
            api += str_eq(js_str(js_at(log, k), "server"), "api");
        assert_int_equal(api > 0, table[i].goes);
        client_close(&c);
        /* A type alone, without `api`, pairs no stranger's host with the vendor. */
        digest = scene(&a, v, NULL);
        enter(&c, v);
        c.conf.api = NULL;
        (void)remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err);
        expect(&c, &a, "latest", digest);
        client_close(&c);
    }
}

/* A private Harbor or Quay shows itself when OCI deletion is refused: asked once. */
static void test_probe(void **state)
{
    (void)state;
    static const char *const types[] = {"harbor", "quay"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = peer_of(types[i]);
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = scene(&a, v, "{\"tag_delete\":405}");
        enter(&c, v);
        c.conf.type = "auto";
        for (int round = 0; round < 2; round++) {
            assert_int_equal(
                remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), 0);
            assert_int_equal(out, REMOVAL_DONE);
            struct js *log CLEANUP_JS = look(&a, &v->peer, "log");
            size_t probes = 0;
            for (size_t k = 0; k < js_len(log); k++) {
                const char *path = js_str(js_at(log, k), "path");
                bool probe = str_ends(path, "/ping") || str_ends(path, "/discovery");
                probes += probe;
                assert_null(strstr(path, "/manifests/sha256:"));
                if (probe)
                    assert_string_equal(js_str(js_at(log, k), "authorization"), "");
            }
            assert_int_equal(probes > 0, round == 0);
            (void)store(&a, &v->peer, NAME, "staged", 7);
        }
        client_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removes_that_tag_alone),
        cmocka_unit_test(test_leaves_moved_tags),
        cmocka_unit_test(test_wrong_login),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_github_limit),
        cmocka_unit_test(test_protected),
        cmocka_unit_test(test_dockerhub),
        cmocka_unit_test(test_ghcr),
        cmocka_unit_test(test_gitlab),
        cmocka_unit_test(test_acr_token),
        cmocka_unit_test(test_login_is_bound),
        cmocka_unit_test(test_probe),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
