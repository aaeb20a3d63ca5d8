#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/challenge.h"

static struct challenges parse(struct arena *a, const char *const *lines)
{
    struct http_headers headers = {0};
    http_header_add(a, &headers, "Content-Type", "Bearer realm=\"no\"");
    for (; *lines; lines++)
        http_header_add(a, &headers, "www-authenticate", *lines);
    return challenge_parse(&headers, a);
}

/* "bearer realm|service|scope|error; basic ..." */
static const char *shown(struct arena *a, const struct challenges *all)
{
    static const char *const schemes[] = {"basic", "bearer", "other"};
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(4096);
    for (size_t i = 0; i < all->n; i++) {
        const struct challenge *c = &all->at[i];
        (void)strbuf_addf(&out, "%s%s %s|%s|%s|%s", i ? "; " : "", schemes[c->scheme],
                          c->realm ? c->realm : "-", c->service ? c->service : "-",
                          c->scope ? c->scope : "-", c->error ? c->error : "-");
    }
    return strbuf_to_arena(&out, a);
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *lines[3];
        const char *expect;
    } table[] = {
        {{NULL}, ""},
        {{""}, ""},
        {{" , ,, "}, ""},
        {{"Basic"}, "basic -|-|-|-"},
        {{"Basic realm=\"x\""}, "basic x|-|-|-"},
        {{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\""},
         "bearer https://a/t|s|repository:a/b:pull,push|-"},
        {{"bEARER Scope = \"x\" , REALM=\"r\",error=\"insufficient_scope\""},
         "bearer r|-|x|insufficient_scope"},
        {{"Bearer realm=token"}, "bearer token|-|-|-"},
        {{"Bearer realm=\"a\\\"b\\\\c\""}, "bearer a\"b\\c|-|-|-"},
        {{"Basic realm=\"x\", Bearer realm=\"y\",service=\"s\""}, "basic x|-|-|-; bearer y|s|-|-"},
        {{"Bearer realm=\"y\"", "Basic realm=\"x\""}, "bearer y|-|-|-; basic x|-|-|-"},
        {{"Negotiate, Basic realm=\"x\""}, "other -|-|-|-; basic x|-|-|-"},
        {{"Negotiate YWJj==, Bearer realm=\"y\""}, "other -|-|-|-; bearer y|-|-|-"},
        {{"Digest realm=\"d\", nonce=\"Basic realm=no\", Basic realm=\"b\""},
         "other d|-|-|-; basic b|-|-|-"},
        {{"Bearer realm=\"first\",realm=\"second\""}, "bearer first|-|-|-"},
        {{"Bearer realm=\"never closed"}, "bearer -|-|-|-"},
        {{"realm=\"x\""}, ""},
        {{"realm=\"x\"", "Basic"}, "basic -|-|-|-"},
        {{"Basic realm=\"x\"", "service=\"s\""}, "basic x|-|-|-"},
        {{"(;) Basic realm=\"x\""}, "basic x|-|-|-"},
        {{"Bearer ,=,=\"\",,realm=\"x\""}, "bearer x|-|-|-"},
        {{"Bearer realm=\"\""}, "bearer |-|-|-"},
        {{"Bearer\trealm=\"x\""}, "bearer x|-|-|-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct challenges all = parse(&a, table[i].lines);
        print_message("%s\n", table[i].lines[0] ? table[i].lines[0] : "(none)");
        assert_string_equal(shown(&a, &all), table[i].expect);
    }
}

static void test_bounded(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char *line = arena_alloc(&a, 60001);
    for (size_t i = 0; i + 6 < 60000; i += 6)
        memcpy(line + i, "Basic,", 6);
    const char *lines[] = {line, line, NULL};
    struct challenges all = parse(&a, lines);
    assert_int_equal(all.n, LIMIT_CHALLENGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
