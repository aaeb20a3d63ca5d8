#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/yaml.h"

/* Words that a strict reader wants quoted, and words that are only texts. */
static const char *const typed[] = {
    "~",
    "null",
    "Null",
    "NULL",
    "yes",
    "No",
    "ON",
    "off",
    "true",
    "FALSE",
    "0",
    "1",
    "-1",
    "+12",
    "1_000",
    "012",
    "0o17",
    "0x1F",
    "0b101",
    "1:30",
    "-1:30:59",
    "1.10",
    "1.",
    "-.5",
    ".5",
    "1.5e+3",
    "1.5E-3",
    "1:30.5",
    ".inf",
    "-.INF",
    "+.Inf",
    ".nan",
    ".NaN",
    "2001-01-01",
    "2001-1-1 1:02:03",
    "2001-01-01T01:02:03Z",
    "2001-01-01t01:02:03.25+01:00",
    "2001-01-01 01:02:03 -5",
};
static const char *const texts[] = {
    "y",
    "n",
    "nULL",
    "tRue",
    "latest",
    "v1",
    "1.2.3",
    "08",
    "1e3",
    "1.5e3",
    "0x",
    "0b",
    "0xg",
    "1:60",
    "1:300",
    "1:",
    ":30",
    ".",
    "..",
    "-",
    "+",
    "-.",
    "1-2",
    "2001-1-1",
    "2001-01",
    "2001-01-01T01",
    "2001-01-01T01:02",
    "2001-01-01T01:02:03x",
    "2001-01-01x01:02:03",
    "201-01-01",
    "_1",
    "0o8",
    "infinity",
    ".inf0",
    "inf",
    "1.2e",
    "localhost:5000",
    "12345678901234567890a",
    "stable/1.0",
};

static void test_typed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(typed) + ARRAY_LEN(texts); i++) {
        bool is = i < ARRAY_LEN(typed);
        struct yml_node n = {.type = YML_SCALAR, .plain = true};
        n.text = is ? typed[i] : texts[i - ARRAY_LEN(typed)];
        n.len = strlen(n.text);
        if (yml_is_typed(&n) != is)
            fail_msg("'%s' is %styped", n.text, is ? "not " : "");
        n.plain = false;
        assert_false(yml_is_typed(&n));
    }
    struct yml_node empty = {.type = YML_SCALAR, .plain = true, .text = ""};
    struct yml_node seq = {.type = YML_SEQ};
    assert_true(yml_is_typed(&empty));
    assert_true(yml_is_null(&empty));
    assert_false(yml_is_typed(&seq));
    assert_false(yml_is_null(&seq));
    assert_false(yml_is_typed(NULL));
}

enum want { WANT_STR, WANT_STRICT, WANT_BOOL, WANT_INT, WANT_LIST, WANT_MAP, WANT_SEQ };

/* What a reader makes of the value of `v`, or its finding. */
static const char *want(enum want how, const char *text, struct arena *a)
{
    struct diags diags = {.arena = a};
    const struct yml_node *root = yml_parse("f", text, strlen(text), &diags);
    assert_non_null(root);
    const struct yml_node *v = yml_get(root, "v");
    const char *out = "nothing";
    bool truth = false, ok = false;
    int64_t number = 0;
    struct str_list list = {0};
    switch (how) {
    case WANT_STR:
    case WANT_STRICT:
        ok = yml_want_str(v, "v", how == WANT_STRICT, &out, &diags);
        break;
    case WANT_BOOL:
        ok = yml_want_bool(v, "v", &truth, &diags);
        out = truth ? "true" : "false";
        break;
    case WANT_INT:
        ok = yml_want_int(v, "v", -5, 100, &number, &diags);
        out = arena_printf(a, "%d", (int)number);
        break;
    case WANT_LIST:
        ok = yml_want_str_list(v, "v", true, &list, &diags);
        out = "";
        for (size_t i = 0; i < list.n; i++)
            out = arena_printf(a, "%s<%s>", out, list.at[i]);
        break;
    case WANT_MAP:
        ok = yml_want_map(v, "v", &diags);
        out = "map";
        break;
    case WANT_SEQ:
        ok = yml_want_seq(v, "v", &diags);
        out = "seq";
        break;
    }
    assert_int_equal(ok, v != NULL && diags.n == 0);
    return ok ? out : diags.n ? diags.at[0].text : "absent";
}

static const struct {
    enum want how;
    const char *text, *result;
} reader_rows[] = {
    {WANT_STR, "v: x", "x"},
    {WANT_STR, "v: 1.10", "1.10"},
    {WANT_STR, "v: ''", ""},
    {WANT_STR, "w: x", "absent"},
    {WANT_STR, "v:", "v must be a text, but is empty"},
    {WANT_STR, "v: [x]", "v must be a text, but is a list"},
    {WANT_STR, "v: {x: y}", "v must be a text, but is a map"},
    {WANT_STR, "v: !vault x", "x"},
    {WANT_STRICT, "v: x", "x"},
    {WANT_STRICT, "v: 'yes'", "yes"},
    {WANT_STRICT, "v: !!str 1.10", "1.10"},
    {WANT_STRICT, "v: ! 1.10", "1.10"},
    {WANT_STRICT, "v: 1.10",
     "v must be a text, and YAML reads 1.10 as a number: quote it: \"1.10\""},
    {WANT_STRICT, "v: no",
     "v must be a text, and YAML reads no as a truth value: quote it: \"no\""},
    {WANT_STRICT, "v: 2026-11-23",
     "v must be a text, and YAML reads 2026-11-23 as a time: quote it: \"2026-11-23\""},
    {WANT_STRICT, "v: !vault x", "v must be a text without the tag '!vault'"},
    {WANT_STRICT, "v: !!int 1", "v must be a text without the tag 'tag:yaml.org,2002:int'"},
    {WANT_BOOL, "v: true", "true"},
    {WANT_BOOL, "v: off", "false"},
    {WANT_BOOL, "v: 'true'", "v must be true or false, without quotes"},
    {WANT_BOOL, "v: 1", "v must be true or false"},
    {WANT_BOOL, "v: [true]", "v must be true or false"},
    {WANT_INT, "v: 42", "42"},
    {WANT_INT, "v: -5", "-5"},
    {WANT_INT, "v: 0", "0"},
    {WANT_INT, "v: 010", "v must be a whole number from -5 to 100"},
    {WANT_INT, "v: 101", "v must be a whole number from -5 to 100"},
    {WANT_INT, "v: '42'", "v must be a whole number from -5 to 100"},
    {WANT_INT, "v: 1e1", "v must be a whole number from -5 to 100"},
    {WANT_INT, "v: 99999999999999999999", "v must be a whole number from -5 to 100"},
    {WANT_LIST, "v: [a, 'b']", "<a><b>"},
    {WANT_LIST, "v: a", "<a>"},
    {WANT_LIST, "v: []", ""},
    {WANT_LIST, "v:", "v must be a list, but is empty"},
    {WANT_LIST, "v: {a: b}", "v must be a list, but is a map"},
    {WANT_LIST, "v: [a, 1.10]",
     "item 2 of v must be a text, and YAML reads 1.10 as a number: "
     "quote it: \"1.10\""},
    {WANT_LIST, "v: [[a]]", "item 1 of v must be a text, but is a list"},
    {WANT_MAP, "v: {a: b}", "map"},
    {WANT_MAP, "v: x", "v must be a map (key: value), but is a single value"},
    {WANT_SEQ, "v: [a]", "seq"},
    {WANT_SEQ, "v: x", "v must be a list, but is a single value"},
    {WANT_SEQ, "w: x", "absent"},
};

static void test_readers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reader_rows); i++) {
        struct arena a = ARENA_INIT;
        const char *got = want(reader_rows[i].how, reader_rows[i].text, &a);
        if (!str_eq(got, reader_rows[i].result))
            fail_msg("%s: gave '%s', not '%s'", reader_rows[i].text, got, reader_rows[i].result);
        arena_release(&a);
    }
}

static void test_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"context", "registry", "tags"};
    static const char text[] = "contxt: a\ntags: b\nsomething: c\n";
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct yml_node *root = yml_parse("f", text, sizeof text - 1, &diags);
    assert_non_null(root);
    yml_check_keys(root, keys, ARRAY_LEN(keys), &diags);
    yml_check_keys(NULL, keys, ARRAY_LEN(keys), &diags);
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(KIB(4));
    diag_format(&diags, &out);
    assert_string_equal(out.buf, "f:1:1: error: unknown key 'contxt'; did you mean 'context'?\n"
                                 "f:3:1: error: unknown key 'something'\n");
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typed),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
