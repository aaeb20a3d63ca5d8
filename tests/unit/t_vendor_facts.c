#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/vendor_help.h"

static void test_vendor_of(void **state)
{
    (void)state;
    static const struct {
        const char *host, *type, *vendor;
    } table[] = {
        {"docker.io", "auto", "dockerhub"},
        {"quay.io", NULL, "quay"},
        {"GHCR.io", "auto", "ghcr"},
        {"registry.gitlab.com", "auto", "gitlab"},
        {"ours.azurecr.io", "auto", "acr"},
        {"azurecr.io", "auto", NULL},
        {".azurecr.io", "auto", NULL},
        {"quay.io.example.org", "auto", NULL},
        {"notquay.io", "auto", NULL},
        {"registry.example.org", "harbor", "harbor"},
        {"quay.io", "oci", NULL},
        {"quay.io", "harbor", "harbor"},
        {"registry.example.org:5000", "auto", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct registry_conf conf = {.host = table[i].host, .type = table[i].type};
        const struct vendor *v = vendor_of(&conf);
        print_message("%s %s\n", conf.host, v ? vendor_name(v) : "-");
        if (table[i].vendor)
            assert_string_equal(vendor_name(v), table[i].vendor);
        else
            assert_null(v);
    }
    const char *const *types = vendor_types();
    assert_string_equal(types[0], "auto");
    for (size_t i = 2; types[i]; i++) {
        struct registry_conf conf = {.host = "x.example.org", .type = types[i]};
        assert_string_equal(vendor_name(vendor_of(&conf)), types[i]);
    }
}

static void test_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct vendor_peer *v = &peers[i];
        struct client c;
        struct err err = ERR_INIT;
        struct vendor_tags tags = {0};
        struct str_list wanted = {0};
        bool told = false;
        print_message("%s\n", v->type);
        (void)scene(&a, v, NULL);
        control(&v->peer, "vendor", "{\"page_cap\":2}");
        for (int k = 0; k < 7; k++) {
            const char *tag = arena_printf(&a, "t%d", k);
            *list_push(&a, &wanted) = tag;
            (void)store(&a, &v->peer, NAME, tag, 30 + k);
            control(&v->peer, "time",
                    arena_printf(&a, "{\"name\":\"" NAME "\",\"tag\":\"%s\",\"at\":%d}", tag,
                                 1700000000 + k));
        }
        *list_push(&a, &wanted) = "absent";
        enter(&c, v);
        int rc = vendor_tag_times(c.registry, &a, c.conf.host, NAME, &wanted, &tags, &told, &err);
        print_message("%s\n", err.text);
        assert_int_equal(rc, 0);
        assert_true(told);
        size_t seen = 0;
        list_each (struct vendor_tag, t, &tags)
            if (*t->tag == 't') {
                seen++;
                assert_int_equal(t->pushed_ms, (1700000000LL + (t->tag[1] - '0')) * 1000);
            }
        assert_int_equal(seen, 7);
        /* No such repository, and a wrong login. */
        c.conf.api_password = "falsches-wort";
        if (!str_eq(v->type, "dockerhub")) {
            assert_int_equal(
                vendor_tag_times(c.registry, &a, c.conf.host, NAME, &wanted, &tags, &told, &err),
                -1);
            assert_int_equal(err.kind, ERR_PERM);
        }
        client_close(&c);
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    struct err err = ERR_INIT;
    struct vendor_tags tags = {0};
    bool told = true;
    client_open(&c, peers[0].peer.host, NULL, NULL);
    assert_int_equal(vendor_tag_times(c.registry, &a, c.conf.host, NAME, NULL, &tags, &told, &err),
                     0);
    assert_false(told);
    assert_int_equal(
        vendor_tag_times(c.registry, &a, "other.example.org", NAME, NULL, &tags, &told, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    client_close(&c);
}

static void test_create(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct vendor_peer *v = peer_of("quay");
    struct client c;
    struct err err = ERR_INIT;
    bool made;
    (void)scene(&a, v, NULL);
    enter(&c, v);
    static const struct {
        const char *name;
        struct vendor_repository as;
        int rc;
        bool made;
        enum err_kind kind;
    } table[] = {
        {"team/open", {.is_public = true, .description = "For \"all\""}, 0, true, ERR_NONE},
        {"team/open", {.is_public = true}, 0, false, ERR_NONE},
        {"team/closed", {.namespace_ = "team", .shortname = "closed"}, 0, true, ERR_NONE},
        {NAME, {.is_public = false}, 0, false, ERR_NONE},
        {"team/other", {.namespace_ = "box"}, -1, false, ERR_CONFIG},
        {"team/other", {.shortname = "another"}, -1, false, ERR_CONFIG},
        {"single", {0}, -1, false, ERR_CONFIG},
        {"Not/Legal", {0}, -1, false, ERR_BUG},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        print_message("%s\n", table[i].name);
        made = !table[i].made;
        assert_int_equal(
            vendor_create(c.registry, &a, c.conf.host, table[i].name, &table[i].as, &made, &err),
            table[i].rc);
        assert_int_equal(made, table[i].made);
        if (table[i].rc < 0)
            assert_int_equal(err.kind, table[i].kind);
    }
    /* What was made is what was asked for. */
    assert_int_equal(raw(&c, &a, "GET",
                         arena_printf(&a, "http://%s/api/v1/repository/team/open", c.conf.host),
                         NULL)
                         .status,
                     200);
    assert_int_equal(raw(&c, &a, "GET",
                         arena_printf(&a, "http://%s/api/v1/repository/team/closed", c.conf.host),
                         NULL)
                         .status,
                     401);
    struct vendor_repository as = {0};
    control(&v->peer, "vendor", "{\"token\":\"another\"}");
    assert_int_equal(vendor_create(c.registry, &a, c.conf.host, "team/new", &as, &made, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_null(strstr(err.text, TOKEN));
    c.conf.api_password = NULL;
    assert_int_equal(vendor_create(c.registry, &a, c.conf.host, "team/new", &as, &made, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    client_close(&c);
    enter(&c, peer_of("harbor"));
    assert_int_equal(vendor_create(c.registry, &a, c.conf.host, "team/new", &as, &made, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vendor_of),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_create),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
