#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/tagselect.h"

/* Texts of a list are separated by '|': a range may hold blanks, a tag may not hold either. */
static struct str_list list_of(struct arena *a, const char *text)
{
    return *text ? str_split(a, text, '|') : (struct str_list){0};
}

static const char *joined(struct arena *a, const struct str_list *list)
{
    const char *out = "";
    for (size_t i = 0; i < list->n; i++)
        out = arena_printf(a, "%s%s%s", out, i ? " " : "", list->at[i]);
    return out;
}

#define TAGS                                                                                       \
    "latest|v1.10.0|1.2.0|v1.9.0|nightly-2026|1.2|v2.0.0-rc.1|latest|v1.9.0|change_1_x|2.0.0|v1."  \
    "2.0"

static void test_pick(void **state)
{
    (void)state;
    static const struct {
        const char *tags, *allow, *deny, *got;
    } table[] = {
        {TAGS, "latest", "", "latest"},
        {TAGS, "1.2|latest", "", "latest 1.2"}, /* as listed, not as asked */
        {TAGS, "missing", "", ""},
        {TAGS, "v1.*", "", "v1.10.0 v1.9.0 v1.2.0"},
        {TAGS, "?.?", "", "1.2"},
        {TAGS, "**-*", "", "nightly-2026 v2.0.0-rc.1"},
        {TAGS, "^v[0-9.]+$", "", "v1.10.0 v1.9.0 v1.2.0"},
        {TAGS, "^v1", "", ""}, /* must match the whole tag */
        {TAGS, "^(?i)LATEST$", "", "latest"},
        {TAGS, "", "change_*|^.*rc.*$|semver:>=2",
         "latest v1.10.0 1.2.0 v1.9.0 nightly-2026 1.2 v1.2.0"},
        {TAGS, "*", "*", ""},
        {TAGS, "*", "latest|v*", "1.2.0 nightly-2026 1.2 change_1_x 2.0.0"},
        {TAGS, "semver:*", "", "1.2.0 1.2 v1.2.0 v1.9.0 v1.10.0 2.0.0"},
        {TAGS, "semver:>=1.2 <2", "", "1.2.0 1.2 v1.2.0 v1.9.0 v1.10.0"},
        {TAGS, "semver:^1.5|latest", "", "v1.9.0 v1.10.0 latest"},
        {TAGS, "semver:>=2.0.0-0", "", "v2.0.0-rc.1 2.0.0"},
        {TAGS, "semver:*", "v*|1.2", "1.2.0 2.0.0"},
        /* What a hostile registry lists is not picked. */
        {"a/b|-x|.y||ok|a b|a\nb|\xc3\xa4|../x|ok", "", "", "ok"},
        {"a/b|ok", "**", "", "ok"},
        {"", "*", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct str_list allow = list_of(&a, table[i].allow), deny = list_of(&a, table[i].deny);
        struct str_list tags = list_of(&a, table[i].tags), got = {.n = 7};
        struct tagselect *s CLEANUP_TAGSELECT = tagselect_compile(&allow, &deny, &err);
        if (!s)
            fail_msg("%s", err.text);
        tagselect_pick(s, &tags, &a, &got);
        print_message("%s | %s: %s\n", table[i].allow, table[i].deny, joined(&a, &got));
        assert_string_equal(joined(&a, &got), table[i].got);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"semver:", "character 1"},
        {"semver:>=1.2.3.4.5", "more than four"},
        {"semver:latest", "missing"},
        {"a/b", "neither a tag"},
        {"-x", "neither a tag"},
        {"v1$", "neither a tag"},
        {"v1.+", "neither a tag"},
        {"a b", "neither a tag"},
        {"a\nb", "neither a tag"},
        {"a/*", "no legal tag"},
        {"-*", "no legal tag"},
        {"v1.* ", "no legal tag"},
        {"!v*", "negated"},
        {"^(", "regular expression"},
        {"^[0-9", "regular expression"},
        {"sha256:*", "no legal tag"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        for (int deny = 0; deny < 2; deny++) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            struct err err = ERR_INIT;
            struct str_list list = list_of(&a, table[i].text), empty = {0};
            assert_null(tagselect_compile(deny ? &empty : &list, deny ? &list : &empty, &err));
            print_message("%s\n", err.text);
            assert_int_equal(err.kind, ERR_CONFIG);
            assert_non_null(strstr(err.text, table[i].says));
            assert_null(strpbrk(err.text, "\r\n"));
        }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list one = {0}, many = {0};
    *list_push(&a, &one) = "";
    assert_null(tagselect_compile(&one, NULL, NULL));
    for (size_t i = 0; i <= LIMIT_TAGS; i++)
        *list_push(&a, &many) = "x";
    assert_null(tagselect_compile(&many, NULL, NULL));
    char *text = arena_alloc(&a, 200);
    memset(text, '?', 128);
    one.at[0] = text;
    struct tagselect *s CLEANUP_TAGSELECT = tagselect_compile(&one, NULL, NULL);
    assert_non_null(s);
    text[128] = '?';
    assert_null(tagselect_compile(&one, NULL, NULL));
    text[128] = '*';
    struct tagselect *t CLEANUP_TAGSELECT = tagselect_compile(&one, NULL, NULL);
    assert_non_null(t);
    tagselect_free(NULL);
}

static void test_literal(void **state)
{
    (void)state;
    static const struct {
        const char *allow, *deny, *got; /* NULL: the repository must be asked */
    } table[] = {
        {"latest|1.2|latest", "", "latest 1.2"},
        {"latest|1.2", "l*", "1.2"},
        {"latest", "latest", ""},
        {"latest|1.*", "", NULL},
        {"semver:*", "", NULL},
        {"", "", NULL},
        {"^a$", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct str_list allow = list_of(&a, table[i].allow), deny = list_of(&a, table[i].deny);
        struct str_list got = {0};
        struct tagselect *s CLEANUP_TAGSELECT = tagselect_compile(&allow, &deny, NULL);
        bool literal = tagselect_literal(s, &a, &got);
        assert_int_equal(literal, table[i].got != NULL);
        if (literal)
            assert_string_equal(joined(&a, &got), table[i].got);
    }
}

/* Many tags, each twice, are sorted and told apart in no more than a moment. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list tags = {0}, allow = {0}, got;
    for (int i = 0; i < 2 * MANY; i++)
        *list_push(&a, &tags) = arena_printf(&a, "v1.%d.0", i % MANY * 7919 % MANY);
    *list_push(&a, &allow) = "semver:1.x";
    struct tagselect *s CLEANUP_TAGSELECT = tagselect_compile(&allow, NULL, NULL);
    tagselect_pick(s, &tags, &a, &got);
    assert_int_equal(got.n, MANY);
    for (int i = 0; i < MANY; i++)
        assert_string_equal(got.at[i], arena_printf(&a, "v1.%d.0", i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_literal),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
