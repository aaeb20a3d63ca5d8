#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/yaml.h"

#include <time.h>

/* One line form of a tree: 'quoted', plain, [list], {key: value}, "~" before merged pairs, "!tag"
 * in front. */
static void show(const struct yml_node *n, struct strbuf *out)
{
    if (n->tag)
        (void)strbuf_addf(out, "%s ", n->tag);
    if (n->type == YML_SCALAR) {
        (void)strbuf_addf(out, n->plain ? "%s" : "'%s'", n->text);
        return;
    }
    (void)strbuf_addch(out, n->type == YML_SEQ ? '[' : '{');
    for (size_t i = 0; i < n->n; i++) {
        (void)strbuf_addstr(out, i ? ", " : "");
        if (n->type == YML_SEQ) {
            show(n->items[i], out);
        } else {
            (void)strbuf_addstr(out, n->pairs[i].merged ? "~" : "");
            show(n->pairs[i].key, out);
            (void)strbuf_addstr(out, ": ");
            show(n->pairs[i].value, out);
        }
    }
    (void)strbuf_addch(out, n->type == YML_SEQ ? ']' : '}');
}

/* The tree in one line, or the findings. */
static char *read_text(const char *text, size_t len, struct arena *a)
{
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(4));
    struct diags diags = {.arena = a};
    const struct yml_node *root = yml_parse("f", text, len, &diags);
    assert_int_equal(root == NULL, diags.errors > 0);
    if (root)
        show(root, &out);
    else
        diag_format(&diags, &out);
    return strbuf_to_arena(&out, a);
}

struct row {
    const char *text, *result;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena a = ARENA_INIT;
        const char *got = read_text(rows[i].text, strlen(rows[i].text), &a);
        if (!str_eq(got, rows[i].result))
            fail_msg("---\n%s\n--- gave\n%s\n--- not\n%s", rows[i].text, got, rows[i].result);
        arena_release(&a);
    }
}

static void test_trees(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a: 1", "{a: 1}"},
        {"a: '1'\nb: \"x\\ty\"", "{a: '1', b: 'x\ty'}"},
        {"- a\n- [b, {c: d}]\n-\n", "[a, [b, {c: d}], ]"},
        {"a:\n- b\n- c\n", "{a: [b, c]}"},
        {"a: |\n  two\n  lines\n", "{a: 'two\nlines\n'}"},
        {"a: plain on\n  two lines\n", "{a: plain on two lines}"},
        {"plain", "plain"},
        {"---\na: b\n...\n", "{a: b}"},
        {"{}", "{}"},
        {"\xEF\xBB\xBF"
         "a: b\n",
         "{a: b}"},
        {"a: b\r\nc:\r\n  - d\r\n", "{a: b, c: [d]}"},
        {"a: !override [x]\nb: !encrypted/pkcs1-oaep |\n  x\n",
         "{a: !override [x], b: !encrypted/pkcs1-oaep 'x\n'}"},
        {"a: !!str 1.10", "{a: tag:yaml.org,2002:str '1.10'}"},
        {"a: caf\xc3\xa9", "{a: caf\xc3\xa9}"},
        {"'a b': c", "{'a b': c}"},
        {"? \n: x\n", "{: x}"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void test_aliases(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a: &x [1, 2]\nb: *x\n", "{a: [1, 2], b: [1, 2]}"},
        {"a: &x 1\nb: &x 2\nc: *x\n", "{a: 1, b: 2, c: 2}"},
        {"a: &x [&x 1, *x]\nb: *x\n", "{a: [1, 1], b: 1}"},
        {"&k key: &v value\n*v : *k\n", "{key: value, value: key}"},
        {"a: &x\n  # a comment\n  - b\nc: *x\n", "{a: [b], c: [b]}"},
        {"a: &id-001 {x: y}\nb: *id-001\n", "{a: {x: y}, b: {x: y}}"},
        {"a: *nope\nb: *neither\n", "f:1:4: error: no anchor '&nope' before this alias\n"
                                    "f:2:4: error: no anchor '&neither' before this alias\n"},
        {"a: *late\nb: &late x\n", "f:1:4: error: no anchor '&late' before this alias\n"},
        {"&a [*a]", "f:1:5: error: alias '*a' stands inside its own anchor\n"},
        {"x: &a\n  y: {z: *a}\n", "f:2:10: error: alias '*a' stands inside its own anchor\n"},
        {"x: &a\n  <<: *a\n", "f:2:7: error: alias '*a' stands inside its own anchor\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void test_merges(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "{a: {x: 1, y: 2}, b: {y: 3, ~x: 1}}"},
        {"a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {z: 0, <<: [*a, *b]}\n",
         "{a: {x: 1}, b: {x: 2, y: 2}, c: {z: 0, ~x: 1, ~y: 2}}"},
        {"c: {<<: {x: 1}}\n", "{c: {~x: 1}}"},
        {"c: {<<: []}\n", "{c: {}}"},
        /* What was merged into a merged map comes along. */
        {"a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, y: 3}\n",
         "{a: {x: 1}, b: {y: 2, ~x: 1}, c: {y: 3, ~x: 1}}"},
        {"c: {'<<': x}\n", "{c: {'<<': x}}"},
        {"c: {<<: text}\n", "f:1:9: error: '<<' takes a map or a list of maps\n"},
        {"c: {<<: [{a: b}, [x]]}\n", "f:1:18: error: '<<' takes a map or a list of maps\n"},
        {"c:\n  <<: *no\n", "f:2:7: error: no anchor '&no' before this alias\n"},
        {"a: &a {x: 1}\nc:\n  <<: *a\n  <<: *a\n",
         "f:4:3: error: key '<<' is here twice, first at line 3, column 3; write <<: [*one, "
         "*other]\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void test_semantic_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a: 1\nb: 2\na: 3\n'a': 4\n",
         "f:3:1: error: key 'a' is here twice, first at line 1, column 1\n"
         "f:4:1: error: key 'a' is here twice, first at line 1, column 1\n"},
        {"x: {a: 1, a: 2}\ny: *z\nx: 3\n",
         "f:1:11: error: key 'a' is here twice, first at line 1, column 5\n"
         "f:2:4: error: no anchor '&z' before this alias\n"
         "f:3:1: error: key 'x' is here twice, first at line 1, column 1\n"},
        {"[a]: b\n", "f:1:1: error: a key must be a text, not a list or a map\n"},
        {"? {a: b}\n: c\n", "f:1:3: error: a key must be a text, not a list or a map\n"},
        {"a: b\n---\nc: d\n", "f:2:1: error: a second document; only one is read\n"},
        {"a: \"x\\0y\"\n", "f:1:4: error: a text holds a NUL character\n"},
        {"\"evil\\n\\e[2J\": 1\n\"evil\\n\\e[2J\": 2\n",
         "f:2:1: error: key 'evil??[2J' is here twice, first at line 1, column 1\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void test_syntax_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "f: error: the file is empty\n"},
        {"# only a comment\n", "f: error: the file is empty\n"},
        {"\xEF\xBB\xBF", "f: error: the file is empty\n"},
        {"a:\n\t- b\n", "f:2:1: error: not valid YAML: a tab cannot indent; use blanks\n"},
        {"a: [b, c\nd: e\n",
         "f:2:2: error: not valid YAML: did not find expected ',' or ']' while parsing a flow "
         "sequence that began at line 1\n"},
        {"a: b: c\n", "f:1:5: error: not valid YAML: mapping values are not allowed in this "
                      "context\n"},
        {"a: \xff\n", "f:1:4: error: not valid YAML: invalid leading UTF-8 octet (byte 0xff)\n"},
        {"\xc3\xa4: \xc3\x28\n",
         "f:1:5: error: not valid YAML: invalid trailing UTF-8 octet (byte 0x28)\n"},
        {"a: b\nc: \x01\n",
         "f:2:4: error: not valid YAML: control characters are not allowed (byte 0x1)\n"},
        {"\xff\xfe"
         "a\0",
         "f:1:1: error: not valid YAML: invalid leading UTF-8 octet (byte 0xff)\n"},
        {"a: @b\n", "f:1:4: error: not valid YAML: found character that cannot start any token "
                    "while scanning for the next token that began at line 1\n"},
        {"a: 'open\n", "f:2:1: error: not valid YAML: found unexpected end of stream while "
                       "scanning a quoted scalar that began at line 1\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
    struct arena a = ARENA_INIT;
    assert_string_equal(read_text("a: b\0c\n", 7, &a), "f:1:5: error: not valid YAML: control "
                                                       "characters are not allowed (byte 0)\n");
    arena_release(&a);
}

static char *repeat(const char *open, size_t n, const char *middle, const char *close)
{
    struct strbuf b = STRBUF_INIT(MIB(16));
    for (size_t i = 0; i < n; i++)
        (void)strbuf_addstr(&b, open);
    (void)strbuf_addstr(&b, middle);
    for (size_t i = 0; i < n; i++)
        (void)strbuf_addstr(&b, close);
    return strbuf_detach(&b, NULL);
}

/* Parses and gives back the first finding; fails when that takes long. */
static const char *timed(const char *text, struct arena *a)
{
    struct timespec start, end;
    struct diags diags = {.arena = a};
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    const struct yml_node *root = yml_parse("f", text, strlen(text), &diags);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    long ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    print_message("  %zu bytes: %ld ms\n", strlen(text), ms);
    if (ms > 400) /* 50 without sanitizers; the naive way takes seconds */
        fail_msg("took %ld ms", ms);
    return root ? "" : diags.at[0].text;
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *open, *close;
        size_t n;
        const char *says;
    } table[] = {
        {"[", "]", LIMIT_YAML_DEPTH, ""},
        {"[", "]", LIMIT_YAML_DEPTH + 1, "nested deeper than 32 levels"},
        {"[", "]", 20000, "nested deeper than 32 levels"},
        {"[", "", 20000, "nested deeper than 32 levels"},
        {"{a: ", "}", 20000, "nested deeper than 32 levels"},
        {"- ", "", 20000, "nested deeper than 32 levels"},
        {"? ", "", 20000, "nested deeper than 32 levels"},
        {"[\n", "]\n", 20000, "nested deeper than 32 levels"},
        {"{? ", "}", 20000, "nested deeper than 32 levels"},
        {"&a ", "", 20000,
         "not valid YAML: did not find expected node content while parsing a "
         "block node that began at line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a = ARENA_INIT;
        CLEANUP(cleanup_free)
        char *text = repeat(table[i].open, table[i].n, "x", table[i].close);
        const char *got = timed(text, &a);
        if (i + 1 < ARRAY_LEN(table) && !str_eq(got, table[i].says))
            fail_msg("%zu of '%s': %s", table[i].n, table[i].open, got);
        arena_release(&a);
    }
}

/* Nine levels of nine aliases are 9^9 values in 300 bytes. */
static void test_alias_bomb(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    CLEANUP_STRBUF struct strbuf b = STRBUF_INIT(MIB(1));
    (void)strbuf_addstr(&b, "a0: &a0 [x]\n");
    for (int i = 1; i < 10; i++) {
        (void)strbuf_addf(&b, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            (void)strbuf_addf(&b, "*a%d,", i - 1);
        (void)strbuf_addstr(&b, "]\n");
    }
    assert_string_equal(timed(b.buf, &a), "more than 50000 values once aliases are expanded");
    strbuf_reset(&b);
    (void)strbuf_addstr(&b, "a0: &a0 {k0: x, k1: x}\n");
    for (int i = 1; i < 30; i++)
        (void)strbuf_addf(&b, "a%d: &a%d {<<: [*a%d, *a%d], l%d: x}\n", i, i, i - 1, i - 1, i);
    assert_string_equal(timed(b.buf, &a), "more than 50000 values once aliases are expanded");
    assert_true(a.used < MIB(32));
    arena_release(&a);
}

/* Each alias stands inside as many lists as fit: the tree would be 31 * 100 levels deep. */
static void test_alias_depth(void **state)
{
    (void)state;
    static const struct {
        int inner, outer;
        bool ok;
    } table[] = {{10, 21, true}, {10, 22, false}, {31, 0, true}, {31, 31, false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a = ARENA_INIT;
        CLEANUP(cleanup_free) char *inner = repeat("[", (size_t)table[i].inner, "x", "]");
        CLEANUP(cleanup_free) char *outer = repeat("[", (size_t)table[i].outer, "*a", "]");
        const char *text = arena_printf(&a, "a: &a %s\nb: %s\n", inner, outer);
        assert_string_equal(timed(text, &a), table[i].ok ? "" : "nested deeper than 32 levels");
        arena_release(&a);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    /* A list with its items, then a map with its keys and values: just within, and one over. */
    CLEANUP(cleanup_free) char *items = repeat("- x\n", LIMIT_YAML_NODES - 2, "- x\n", "");
    assert_string_equal(timed(items, &a), "");
    CLEANUP(cleanup_free) char *more = repeat("- x\n", LIMIT_YAML_NODES - 1, "- x\n", "");
    assert_string_equal(timed(more, &a), "more than 50000 values once aliases are expanded");
    CLEANUP_STRBUF struct strbuf b = STRBUF_INIT(MIB(2));
    for (int i = 0; i < LIMIT_YAML_NODES / 2 - 1; i++)
        (void)strbuf_addf(&b, "k%d: v\n", i);
    assert_string_equal(timed(b.buf, &a), "");
    (void)strbuf_addf(&b, "k0: v\n");
    assert_string_equal(timed(b.buf, &a), "more than 50000 values once aliases are expanded");
    strbuf_reset(&b);
    for (int i = 0; i <= LIMIT_YAML_ANCHORS; i++)
        (void)strbuf_addf(&b, "- &a%d x\n", i);
    assert_string_equal(timed(b.buf, &a), "more than 1000 anchors");
    CLEANUP(cleanup_free) char *scalar = repeat("x", LIMIT_YAML_SCALAR, "", "");
    assert_string_equal(timed(scalar, &a), "");
    CLEANUP(cleanup_free) char *longer = repeat("x", LIMIT_YAML_SCALAR, "x", "");
    assert_string_equal(timed(longer, &a), "a text is longer than 16384 bytes");
    CLEANUP(cleanup_free) char *huge = repeat("#", LIMIT_YAML_BYTES + 1, "", "");
    assert_string_equal(timed(huge, &a), "the file is longer than 1048576 bytes");
    /* A tag directive would make each short tag long. */
    CLEANUP(cleanup_free) char *prefix = repeat("p", 300000, "", "");
    CLEANUP(cleanup_free) char *uses = repeat("- !e!x y\n", 20000, "", "");
    CLEANUP(cleanup_free) char *tags = xasprintf("%%TAG !e! tag:%s\n---\n%s", prefix, uses);
    assert_string_equal(timed(tags, &a), "a tag is longer than 255 bytes");
    arena_release(&a);
}

static void test_places(void **state)
{
    (void)state;
    static const char text[] = "\xEF\xBB\xBF"
                               "one: &x\n  two: [\xc3\xa4, three]\nagain: *x\n";
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct yml_node *root = yml_parse("f", text, sizeof text - 1, &diags);
    assert_non_null(root);
    assert_int_equal(root->at.line, 1);
    assert_int_equal(root->at.column, 1);
    const struct yml_node *one = yml_get(root, "one");
    const struct yml_node *two = yml_get(one, "two");
    assert_int_equal(two->at.line, 2);
    assert_int_equal(two->at.column, 8);
    assert_int_equal(two->items[1]->at.column, 12); /* characters, not bytes */
    assert_ptr_equal(yml_get(root, "again"), one);
    assert_string_equal(two->at.file, "f");
    assert_null(yml_get(root, "three"));
    assert_null(yml_get(two, "two"));
    assert_null(yml_get(NULL, "two"));
    arena_release(&a);
}

/* A list of findings that already holds the same error must not make a bad file look good. */
static void test_twice(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    for (int i = 0; i < 2; i++) {
        assert_null(yml_parse("f", "a: *b", 5, &diags));
        assert_int_equal(diags.n, 1);
    }
    assert_non_null(yml_parse("f", "a: b", 4, &diags));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),         cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_merges),        cmocka_unit_test(test_semantic_errors),
        cmocka_unit_test(test_syntax_errors), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_alias_bomb),    cmocka_unit_test(test_alias_depth),
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_places),
        cmocka_unit_test(test_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
