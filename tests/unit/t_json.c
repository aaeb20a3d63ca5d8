#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/json.h"

static struct js *parse(const char *text)
{
    struct err err = ERR_INIT;
    struct js *v = js_parse(text, strlen(text), &err);
    if (!v)
        fail_msg("%s: %s", text, err.text);
    return v;
}

static void test_get(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    CLEANUP_JS struct js *v = parse("{\"a\": {\"b\": {\"c\": \"deep\"}, \"n\": -7, \"t\": true,"
                                    " \"z\": null, \"f\": 1.5}, \"list\": [1, \"two\"],"
                                    " \"big\": 9007199254740993, \"one\": 1, \"\": \"no name\"}");
    assert_string_equal(js_str(v, "a.b.c"), "deep");
    assert_null(js_str(v, "a.b"));
    assert_null(js_str(v, "a.b.c.d"));
    assert_null(js_str(v, "a.x.c"));
    assert_null(js_str(v, "a.n"));
    assert_null(js_str(v, "list.0"));
    assert_null(js_str(NULL, "a"));
    assert_ptr_equal(js_get(v, ""), v);
    assert_int_equal(js_int(v, "a.n", 3), -7);
    assert_int_equal(js_int(v, "a.f", 3), 3);
    assert_int_equal(js_int(v, "a.b.c", 3), 3);
    assert_true(js_int(v, "big", 0) == 9007199254740993);
    assert_true(js_bool(v, "a.t"));
    assert_false(js_bool(v, "one"));
    assert_false(js_bool(v, "a.z"));
    assert_false(js_bool(v, "absent"));
    assert_string_equal(js_text(v, "a.n", &a), "-7");
    assert_string_equal(js_text(v, "a.b.c", &a), "deep");
    assert_null(js_text(v, "a.t", &a));
    assert_true(js_is_object(v));
    assert_false(js_is_array(v));
    const struct js *list = js_get(v, "list");
    assert_true(js_is_array(list));
    assert_int_equal(js_len(list), 2);
    assert_int_equal(js_len(v), 0);
    assert_string_equal(js_str(js_at(list, 1), ""), "two");
    assert_null(js_at(list, 2));
    assert_null(js_at(v, 0));
    struct str_list keys = {0};
    assert_int_equal(js_keys(js_get(v, "a"), &a, &keys), 5);
    assert_int_equal(keys.n, 5);
    assert_string_equal(keys.at[0], "b");
    assert_string_equal(keys.at[4], "f");
    assert_int_equal(js_keys(list, &a, &keys), 0);
    arena_release(&a);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "line 1, column 1: empty"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": {\"b\": 1,\n \"b\": 1}}", "line 2"},
        {"{} {}", "end of file expected"},
        {"{\"a\": 1,}", "line 1"},
        {"[1 2]", "line 1"},
        {"{\"a\": \"\\u0000\"}", "\\u0000"},
        {"{\"a\": \"\\ud800\"}", "line 1"},
        {"\"\xff\"", "unable to decode"},
        {"{\"a\": 99999999999999999999}", "too big"},
        {"[1e999]", "line 1"},
        {"{\"a\": \"open", "line 1"},
        {"nul", "line 1"},
        {"[\"a\nb\"]", "line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        struct js *v = js_parse(table[i].text, strlen(table[i].text), &err);
        if (v || err.kind != ERR_INPUT || !strstr(err.text, table[i].says) ||
            strchr(err.text, '\n'))
            fail_msg("%s: %s", table[i].text, v ? "accepted" : err.text);
    }
    struct err err = ERR_INIT;
    assert_null(js_parse("\"a\0b\"", 5, &err));
}

/* open repeated n times, then a number, then close repeated n times. */
static char *nested(size_t n, const char *open, const char *close)
{
    struct strbuf b = STRBUF_INIT(MIB(32));
    for (size_t i = 0; i < n; i++)
        (void)strbuf_addstr(&b, open);
    (void)strbuf_addstr(&b, "1");
    for (size_t i = 0; i < n; i++)
        (void)strbuf_addstr(&b, close);
    return strbuf_detach(&b, NULL);
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        bool ok;
    } table[] = {{LIMIT_JSON_DEPTH, true}, {LIMIT_JSON_DEPTH + 1, false}, {2000000, false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int object = 0; object < 2; object++) {
            CLEANUP(cleanup_free)
            char *text = nested(table[i].n, object ? "{\"a\":" : "[", object ? "}" : "]");
            struct err err = ERR_INIT;
            CLEANUP_JS struct js *v = js_parse(text, strlen(text), &err);
            assert_int_equal(v != NULL, table[i].ok);
            if (!v)
                assert_non_null(strstr(err.text, "nested deeper than 64"));
        }
    }
    /* Brackets in a string, and behind an escaped quote, do not count. */
    CLEANUP(cleanup_free) char *brackets = nested(100, "[", "");
    CLEANUP(cleanup_free) char *text = xasprintf("{\"a\": \"\\\"\\\\%s\"}", brackets);
    CLEANUP_JS struct js *v = parse(text);
    assert_non_null(v);
    /* Siblings do not count either. */
    CLEANUP(cleanup_free) char *wide = nested(500, "[[],{}],", "");
    CLEANUP(cleanup_free) char *list = xasprintf("[%s]", wide);
    CLEANUP_JS struct js *w = parse(list);
    assert_int_equal(js_len(w), 501);
}

static void test_build(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    CLEANUP_JS struct js *v = js_object();
    js_put_str(v, "z", "last \"name\" first\n");
    js_put_str(v, "left out", NULL);
    js_put_int(v, "n", INT64_MIN);
    js_put_bool(v, "yes", true);
    struct js *list = js_array();
    js_push_str(list, "one");
    js_push_str(list, NULL);
    js_push(list, js_object());
    js_push(list, NULL);
    js_put(v, "list", list);
    js_put(v, "none", NULL);
    js_put_str(v, "z", "twice");
    assert_string_equal(js_dump(v, &a), "{\"z\":\"twice\",\"n\":-9223372036854775808,"
                                        "\"yes\":true,\"list\":[\"one\",{}]}");
    CLEANUP_JS struct js *small = js_object();
    js_put_int(small, "a", 1);
    assert_string_equal(js_pretty(small, &a), "{\n  \"a\": 1\n}");
    arena_release(&a);
}

static void test_mends_bad_utf8(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    static const struct {
        const char *in, *out;
    } table[] = {
        {"a\xff"
         "b",
         "[\"a?b\"]"},
        {"cut \xe2\x82", "[\"cut ??\"]"},
        {"\xc3\xa4 \xf0\x9f\x98\x80 \x80", "[\"\xc3\xa4 \xf0\x9f\x98\x80 ?\"]"},
        {"\xed\xa0\x80", "[\"???\"]"},             /* a surrogate */
        {"\xc0\xaf \xe0\x80\xaf", "[\"?? ???\"]"}, /* overlong */
        {"\xf4\x90\x80\x80", "[\"????\"]"},        /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        CLEANUP_JS struct js *v = js_array();
        js_push_str(v, table[i].in);
        assert_string_equal(js_dump(v, &a), table[i].out);
    }
    CLEANUP_JS struct js *v = js_object();
    js_put_int(v, "k\xff", 1);
    assert_string_equal(js_dump(v, &a), "{\"k?\":1}");
    arena_release(&a);
}

/* Four bytes of text are a hundred of memory. Strings may hold what they like. */
static void test_many_values(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(8));
    (void)strbuf_addstr(&text, "[\"");
    for (int i = 0; i < LIMIT_JSON_VALUES; i++)
        (void)strbuf_addstr(&text, "[,{");
    (void)strbuf_addstr(&text, "\"");
    CLEANUP_JS struct js *v = js_parse(text.buf, text.len, &err);
    assert_null(v);
    assert_null(strstr(err.text, "values"));
    for (int i = 0; i < LIMIT_JSON_VALUES / 2; i++)
        (void)strbuf_addstr(&text, ",[]");
    (void)strbuf_addstr(&text, "]");
    assert_null(js_parse(text.buf, text.len, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "more than 1000000 values"));
    size_t last = text.len - strlen(",[],[]]");
    memcpy(text.buf + last, "]      ", text.len - last);
    CLEANUP_JS struct js *most = js_parse(text.buf, text.len, &err);
    assert_int_equal(js_len(most), LIMIT_JSON_VALUES / 2 - 1);
}

static void test_values_within(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    CLEANUP_JS struct js *few = js_parse_within("[1,2,3]", 7, 4, &err);
    assert_int_equal(js_len(few), 3);
    assert_null(js_parse_within("[1,2,3,4]", 9, 4, &err));
    assert_non_null(strstr(err.text, "more than 4 values"));
}

/* What people read holds nothing that a terminal obeys, and is still the same document. */
static void test_pretty(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    const char *evil = "\x1b[2J\x7f\xc2\x9b"
                       "1m \xc3\xa9";
    CLEANUP_JS struct js *v = js_object();
    js_put_str(v, "k\x7f", evil);
    const char *text = js_pretty(v, &a);
    assert_string_equal(text, "{\n  \"k\\u007f\": \"\\u001B[2J\\u007f\\u009b1m \xc3\xa9\"\n}");
    CLEANUP_JS struct js *back = js_parse(text, strlen(text), NULL);
    assert_string_equal(js_member_str(back, "k\x7f"), evil);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_within), cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_get),           cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_depth),         cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_build),         cmocka_unit_test(test_mends_bad_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
