#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/diag.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/str.h"

#include <errno.h>

static void sets_and_wraps(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    e.retry_after = 5;
    assert_int_equal(err_set(&e, ERR_PERM, 404, "no %s", "tag"), -1);
    assert_int_equal(e.kind, ERR_PERM);
    assert_int_equal(e.code, 404);
    assert_int_equal(e.retry_after, 0);
    e.retry_after = 7;
    assert_int_equal(err_wrap(&e, "promote %d", 3), -1);
    assert_string_equal(e.text, "promote 3: no tag");
    assert_int_equal(e.kind, ERR_PERM);
    assert_int_equal(e.code, 404);
    assert_int_equal(e.retry_after, 7);
    assert_int_equal(err_set(NULL, ERR_BUG, 0, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
    assert_int_equal(err_errno(NULL, ERR_PERM, EIO, "x"), -1);
}

static void cuts_long_texts(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char text[4000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set(&e, ERR_INPUT, 0, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    for (int i = 0; i < 3; i++)
        (void)err_wrap(&e, "outer");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_true(str_starts(e.text, "outer: outer: outer: yyy"));
    (void)err_errno(&e, ERR_PERM, EIO, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void errno_decides_what_is_temporary(void **state)
{
    (void)state;
    static const struct {
        int number;
        enum err_kind want;
    } cases[] = {
        {ENOSPC, ERR_TEMP},   {EAGAIN, ERR_TEMP},    {ECONNREFUSED, ERR_TEMP},
        {EMFILE, ERR_TEMP},   {ETIMEDOUT, ERR_TEMP}, {EIO, ERR_TEMP},
        {ENOENT, ERR_CONFIG}, {EACCES, ERR_CONFIG},  {EISDIR, ERR_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(err_errno(&e, ERR_CONFIG, cases[i].number, "open %s", "x"), -1);
        assert_int_equal(e.kind, cases[i].want);
        assert_int_equal(e.code, cases[i].number);
        assert_true(str_starts(e.text, "open x: "));
        assert_true(strlen(e.text) > strlen("open x: "));
    }
    for (int kind = 0; kind < ERR__MAX; kind++)
        assert_true(strlen(err_kind_name((enum err_kind)kind)) > 2);
    assert_string_equal(err_kind_name((enum err_kind)99), "unknown");
}

static void lists_findings_in_order(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags d = {.arena = &a};
    diag_error(&d, (struct place){"b.yaml", 3, 9}, "later in the line");
    diag_warn(&d, (struct place){"b.yaml", 3, 2}, "earlier %s", "in the line");
    diag_error(&d, (struct place){"a.yaml", 10, 1}, "first file");
    diag_error(&d, (struct place){"b.yaml", 0, 0}, "the whole file");
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(1000);
    diag_format(&d, &b);
    assert_string_equal(b.buf, "a.yaml:10:1: error: first file\n"
                               "b.yaml: error: the whole file\n"
                               "b.yaml:3:2: warning: earlier in the line\n"
                               "b.yaml:3:9: error: later in the line\n");
    assert_int_equal(d.errors, 3);
}

static void keeps_findings_to_one_safe_line(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags d = {.arena = &a};
    diag_error(&d, (struct place){"f", 1, 1}, "bad value \"%s\"",
               "x\nf:2:2: error: forged\x1b[2J\xc2\x9b");
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(1000);
    diag_format(&d, &b);
    assert_ptr_equal(strchr(b.buf, '\n'), b.buf + b.len - 1);
    assert_null(strpbrk(b.buf, "\x1b\x9b"));
}

static void bounds_findings(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags d = {.arena = &a};
    for (unsigned i = 1; i <= LIMIT_DIAGS + 5; i++)
        diag_error(&d, (struct place){"f", i, 1}, "finding %u", i);
    assert_int_equal(d.n, LIMIT_DIAGS);
    assert_int_equal(d.dropped, 5);
    assert_int_equal(d.errors, LIMIT_DIAGS + 5);
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    diag_format(&d, &b);
    assert_non_null(strstr(b.buf, "... and 5 more\n"));
    struct diags none = {.arena = &a};
    strbuf_reset(&b);
    diag_format(&none, &b);
    assert_string_equal(b.buf, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_wraps),
        cmocka_unit_test(cuts_long_texts),
        cmocka_unit_test(errno_decides_what_is_temporary),
        cmocka_unit_test(lists_findings_in_order),
        cmocka_unit_test(keeps_findings_to_one_safe_line),
        cmocka_unit_test(bounds_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
