#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/link.h"

static const char *next_of(struct arena *a, const char *one, const char *two)
{
    struct http_headers headers = {0};
    http_header_add(a, &headers, "Content-Type", "<wrong>; rel=next");
    http_header_add(a, &headers, "LINK", one);
    if (two)
        http_header_add(a, &headers, "link", two);
    const char *url = NULL;
    bool found = link_next(&headers, &url, a);
    assert_int_equal(found, url != NULL);
    return url;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *one, *two, *url;
    } table[] = {
        {"</v2/a/tags/list?n=2&last=b>; rel=\"next\"", NULL, "/v2/a/tags/list?n=2&last=b"},
        {"<https://r.io/v2/a/tags/list?last=b>; rel=next", NULL,
         "https://r.io/v2/a/tags/list?last=b"},
        {"<x>;rel=next", NULL, "x"},
        {"<x> ; Rel = \"NEXT\"", NULL, "x"},
        {"<x>; title=\"a\"; rel=\"prev next\"; type=text", NULL, "x"},
        {"<x>; rel=\"first\tnext\"", NULL, "x"},
        {"<x>; rel=prev, <y>; rel=next", NULL, "y"},
        {"<x>; rel=prev,<y>; rel=next", NULL, "y"},
        {"<x>; rel=prev", "<y>; rel=next", "y"},
        {"<x>; rel=next, <y>; rel=next", "<z>; rel=next", "x"},
        {"<x?a=1,2;b>; rel=next", NULL, "x?a=1,2;b"},
        /* Without angle brackets, as one registry sends it. */
        {"/v2/a/tags/list?last=b; rel=next", NULL, "/v2/a/tags/list?last=b"},
        {"https://r.io/x?last=a,b; rel=\"next\"", NULL, "https://r.io/x?last=a,b"},
        /* Texts that only look like a link. */
        {"<x>; title=\"a, <y>; rel=next\"", NULL, NULL},
        {"<x>; title=\"a\\\", <y>; rel=next\"", NULL, NULL},
        {"<x>; title=\"a, b; rel=next\"; rel=prev, <y>; rel=next", NULL, "y"},
        {"<x>; title=\"; rel=next", NULL, NULL},
        {"<x>; anchor=\"#\"; rel=prev; rel=next", NULL, NULL},
        {"<x>; rel=nextish", NULL, NULL},
        {"<x>; rel=\"next-archive\"", NULL, NULL},
        {"<x>; rel=\"\"; rel=next", NULL, NULL},
        {"<x>; rel=", NULL, NULL},
        {"<x>; rel", NULL, NULL},
        {"<x>; rel next", NULL, NULL},
        {"<x>; rev=next", NULL, NULL},
        {"<x>", NULL, NULL},
        {"", NULL, NULL},
        {",,, ,", NULL, NULL},
        {"<>; rel=next", NULL, NULL},
        {"<>; rel=next, <y>; rel=next", NULL, "y"},
        {"<x; rel=next", NULL, NULL},
        {"<a b>; rel=next", NULL, NULL},
        {"<a\x01>; rel=next", NULL, NULL},
        {"<a\"b>; rel=next", NULL, NULL},
        {"; rel=next", NULL, NULL},
        {"<x>; rel=prev garbage; rel=next, <y>; rel=\"next\"", NULL, "y"},
        {"<x> garbage; rel=next", NULL, "x"},
        {"<x>;;; rel=next", NULL, "x"},
        {"<x>; rel=\"next", NULL, "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        const char *url = next_of(&a, table[i].one, table[i].two);
        print_message("%s -> %s\n", table[i].one, url ? url : "-");
        assert_true(str_eq(url, table[i].url));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (int i = 0; i < LIMIT_LINKS - 1; i++)
        (void)strbuf_addstr(&text, "<x>; rel=prev, ");
    (void)strbuf_addstr(&text, "<y>; rel=next");
    assert_string_equal(next_of(&a, text.buf, NULL), "y");
    assert_null(next_of(&a, "<x>; rel=prev", text.buf));
    strbuf_reset(&text);
    (void)strbuf_addch(&text, '<');
    for (size_t i = 0; i < LIMIT_LINK; i++)
        (void)strbuf_addch(&text, 'x');
    assert_non_null(next_of(&a, arena_printf(&a, "%s>; rel=next", text.buf), NULL));
    assert_null(next_of(&a, arena_printf(&a, "%sx>; rel=next", text.buf), NULL));
    struct http_headers none = {0};
    const char *url;
    assert_false(link_next(&none, &url, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
