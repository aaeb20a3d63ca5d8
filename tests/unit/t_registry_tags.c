#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/fake_help.h"

static void store_tags(struct fixture *f, struct arena *a, int n)
{
    for (int i = 0; i < n; i++)
        control(&f->fake, "store",
                arena_printf(a,
                             "{\"name\":\"%s\",\"ref\":\"t%04d\",\"type\":\"" MANIFEST_OCI
                             "\",\"body\":\"{}\"}",
                             NAME, i));
}

static int list(struct client *c, struct arena *a, const char *name, struct str_list *tags,
                bool *absent, struct err *err)
{
    const struct registry_access access = {.read_only = true};
    *err = (struct err)ERR_INIT;
    return registry_tags(c->registry, a, c->conf.host, name, &access, tags, absent, err);
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config, *requests;
        size_t found;
    } table[] = {
        {"{}", "GET", 7},
        {"{\"page_cap\":3}", "GET GET GET", 7},
        {"{\"page_cap\":3,\"link\":\"bare\"}", "GET GET GET", 7},
        {"{\"page_cap\":3,\"link\":\"unquoted\"}", "GET GET GET", 7},
        {"{\"page_cap\":3,\"link\":\"absolute\"}", "GET GET GET", 7},
        {"{\"page_cap\":3,\"link\":\"loop\"}", "GET GET", 3},
        {"{\"tags_n\":\"ignored\"}", "GET", 7},
        {"{\"n_max\":1000}", "GET", 7},
        {"{\"page_cap\":4,\"tags_order\":\"reverse\"}", "GET GET", 7},
    };
    struct arena all CLEANUP(arena_release) = ARENA_INIT;
    control(&f->fake, "reset", "{}");
    store_tags(f, &all, 7);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct str_list tags;
        struct client c;
        struct err err;
        bool absent;
        control(&f->fake, "config",
                "{\"page_cap\":0,\"link\":\"angle\",\"tags_n\":\"yes\",\"n_max\":0,"
                "\"tags_order\":\"sorted\"}");
        control(&f->fake, "config", table[i].config);
        (void)requests(&a, &f->fake);
        client_open(&c, f->fake.host, NULL, NULL);
        print_message("%s\n", table[i].config);
        assert_int_equal(list(&c, &a, NAME, &tags, &absent, &err), 0);
        assert_false(absent);
        assert_int_equal(tags.n, table[i].found);
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
}

static const char *page(struct arena *a, int from, int n)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    (void)strbuf_addstr(&out, "{\\\"name\\\":\\\"x\\\",\\\"tags\\\":[");
    for (int i = 0; i < n; i++)
        (void)strbuf_addf(&out, "%s\\\"x%05d\\\"", i ? "," : "", from + i);
    (void)strbuf_addstr(&out, "]}");
    return strbuf_to_arena(&out, a);
}

/* Answers by rules: each a JSON object's members. */
static void answers(struct fixture *f, struct arena *a, const char *const *list)
{
    for (; *list; list++)
        control(&f->fake, "rule", arena_printf(a, "{\"path\":\"/tags/list\",%s}", *list));
}

static void test_odd_answers(void **state)
{
    struct fixture *f = *state;
    struct arena all CLEANUP(arena_release) = ARENA_INIT;
    const char *full = arena_printf(&all, "\"body\":\"%s\"", page(&all, 0, 1000));
    const char *rest = arena_printf(&all, "\"body\":\"%s\"", page(&all, 995, 10));
    const struct {
        const char *rules[4];
        const char *requests;
        int rc;
        size_t found;
        bool absent;
        const char *says;
    } table[] = {
        {{"\"body\":\"{\\\"name\\\":\\\"x\\\",\\\"tags\\\":null}\""}, "GET", 0, 0, false, ""},
        {{"\"body\":\"{\\\"name\\\":\\\"x\\\"}\""}, "GET", 0, 0, false, ""},
        {{"\"body\":\"{\\\"tags\\\":[\\\"a\\\",\\\"a\\\",\\\"../b\\\",7,\\\"c\\\"]}\""},
         "GET",
         0,
         2,
         false,
         ""},
        /* Full, and no link: there may be more; nothing new: it was all. */
        {{full, rest}, "GET GET", 0, 1005, false, ""},
        {{full, full}, "GET GET", 0, 1000, false, ""},
        {{"\"status\":404,\"body\":\"no\"", "\"body\":\"{\\\"tags\\\":[\\\"a\\\"]}\""},
         "GET GET",
         0,
         1,
         false,
         ""},
        {{"\"status\":404,\"body\":\"no\"", "\"status\":404,\"body\":\"no\""},
         "GET GET",
         0,
         0,
         true,
         ""},
        {{"\"status\":404,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":\\\"NAME_UNKNOWN\\\"}]}\""},
         "GET",
         0,
         0,
         true,
         ""},
        {{"\"status\":404,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":\\\"DENIED\\\"}]}\""},
         "GET",
         -1,
         0,
         false,
         "404 DENIED"},
        {{"\"status\":403"}, "GET", -1, 0, false, "403"},
        {{"\"body\":\"<html>\""}, "GET", -1, 0, false, "no list"},
        {{"\"body\":\"{\\\"tags\\\":{}}\""}, "GET", -1, 0, false, "no list"},
        {{"\"body\":\"[]\""}, "GET", -1, 0, false, "no list"},
        {{"\"body\":\"{}\""}, "GET", -1, 0, false, "no list"},
        {{"\"body\":\"{\\\"tags\\\":[\\\"a\\\"]}\",\"headers\":[[\"Link\","
          "\"<http://169.254.169.254/x>; rel=next\"]]"},
         "GET",
         -1,
         0,
         false,
         "not followed"},
        {{"\"body\":\"{\\\"tags\\\":[\\\"a\\\"]}\",\"headers\":[[\"Link\","
          "\"<http://127.0.0.1:{storage}/x>; rel=next\"]]"},
         "GET",
         -1,
         0,
         false,
         "`storage`"},
        {{"\"endless\":\"body\""}, "GET", -1, 0, false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct str_list tags;
        struct client c;
        struct err err;
        bool absent;
        control(&f->fake, "reset", "{}");
        answers(f, &a, table[i].rules);
        (void)requests(&a, &f->fake);
        client_open(&c, f->fake.host, NULL, NULL);
        int rc = list(&c, &a, NAME, &tags, &absent, &err);
        print_message("%zu: %s\n", i, err.text);
        assert_int_equal(rc, table[i].rc);
        assert_non_null(strstr(err.text, table[i].says));
        assert_int_equal(absent, table[i].absent);
        if (rc == 0)
            assert_int_equal(tags.n, table[i].found);
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        client_close(&c);
    }
}

static void test_mistakes(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct registry_access access = {0};
    struct str_list tags;
    struct client c;
    struct err err = ERR_INIT;
    bool absent;
    client_open(&c, f->fake.host, NULL, NULL);
    assert_int_equal(list(&c, &a, "team/../x", &tags, &absent, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    assert_int_equal(
        registry_tags(c.registry, &a, "other.example.org", NAME, &access, &tags, &absent, &err),
        -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_odd_answers),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
