#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/http.h"

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t expect;
    } table[] = {
        {NULL, 0},
        {"", 0},
        {"0", 0},
        {"7", 7},
        {"3600", 3600},
        {"3601", LIMIT_RETRY_AFTER_S},
        {"99999999999999999999", 0},
        {"-5", 0},
        {"5s", 0},
        {"soon", 0},
        {"1700000060", 60}, /* the moment itself */
        {"1699999999", 0},
        {"1900000000", LIMIT_RETRY_AFTER_S},
        {"Tue, 14 Nov 2023 22:13:50 GMT", 30}, /* now is 22:13:20 */
        {"Tue, 14 Nov 2023 22:13:10 GMT", 0},
        {"Tue, 14 Nov 2035 22:13:10 GMT", LIMIT_RETRY_AFTER_S},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct http_resp resp = {0};
        if (table[i].value)
            http_header_add(&a, &resp.headers, "retry-after", table[i].value);
        print_message("%s\n", table[i].value ? table[i].value : "(none)");
        assert_int_equal(http_retry_after(&resp, 1700000000), table[i].expect);
    }
}

static void test_status_kind(void **state)
{
    (void)state;
    static const int temporary[] = {408, 425, 429, 500, 502, 503, 504, 520};
    static const int permanent[] = {400, 401, 403, 404, 405, 409, 412, 413, 501};
    for (size_t i = 0; i < ARRAY_LEN(temporary); i++)
        assert_int_equal(http_status_kind(temporary[i]), ERR_TEMP);
    for (size_t i = 0; i < ARRAY_LEN(permanent); i++)
        assert_int_equal(http_status_kind(permanent[i]), ERR_PERM);
}

static void test_urls(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *url, *origin;
        bool is_private;
    } table[] = {
        {"https://Auth.Example.ORG/token?x=1", "https://auth.example.org", false},
        {"https://auth.example.org:443/", "https://auth.example.org", false},
        {"http://auth.example.org:80", "http://auth.example.org", false},
        {"https://auth.example.org:8443/t", "https://auth.example.org:8443", false},
        {"https://u:p@auth.example.org/", NULL, true},
        {"ftp://auth.example.org/", NULL, false},
        {"auth.example.org/token", NULL, true},
        {"/token", NULL, true},
        {"", NULL, true},
        {NULL, NULL, true},
        {"http://127.0.0.1:5000/", "http://127.0.0.1:5000", true},
        {"http://127.1/", "http://127.0.0.1", true},
        {"http://0x7f000001/", "http://127.0.0.1", true},
        {"http://2130706433/", "http://127.0.0.1", true},
        {"http://localhost/", "http://localhost", true},
        {"http://a.localhost/", "http://a.localhost", true},
        {"http://10.1.2.3/", "http://10.1.2.3", true},
        {"http://172.31.0.1/", "http://172.31.0.1", true},
        {"http://172.32.0.1/", "http://172.32.0.1", false},
        {"http://192.168.1.1/", "http://192.168.1.1", true},
        {"http://169.254.169.254/", "http://169.254.169.254", true},
        {"http://100.64.0.1/", "http://100.64.0.1", true},
        {"http://0.0.0.0/", "http://0.0.0.0", true},
        {"http://224.0.0.1/", "http://224.0.0.1", true},
        {"http://8.8.8.8/", "http://8.8.8.8", false},
        {"http://[::1]/", "http://[::1]", true},
        {"http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]", true},
        {"http://[fe80::1]/", "http://[fe80::1]", true},
        {"http://[fd00::1]/", "http://[fd00::1]", true},
        {"http://[2002:7f00:1::]/", "http://[2002:7f00:1::]", true},
        {"http://[64:ff9b::a00:1]/", "http://[64:ff9b::a00:1]", true},
        {"http://[2606:4700::1111]/", "http://[2606:4700::1111]", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *origin = http_origin(&a, table[i].url);
        print_message("%s: %s\n", table[i].url ? table[i].url : "(null)", origin ? origin : "-");
        assert_true(str_eq(origin, table[i].origin) || str_after(table[i].url, "http://[::ffff"));
        assert_int_equal(http_host_is_private(&a, table[i].url), table[i].is_private);
    }
    assert_string_equal(http_join(&a, "https://r.io/v2/a/blobs/x?y", "/s/z?q=1"),
                        "https://r.io/s/z?q=1");
    assert_string_equal(http_join(&a, "https://r.io/v2/a", "https://s.io/z"), "https://s.io/z");
    assert_null(http_join(&a, "https://r.io/v2/a", "https://u:p@s.io/z"));
    assert_null(http_join(&a, "https://r.io/v2/a", ""));
    assert_null(http_join(&a, "https://r.io/v2/a", NULL));
    char show[HTTP_SHOWN_URL];
    http_shown_url("https://u:p@r.io/a?token=1#x", show);
    assert_string_equal(show, "https://r.io/a");
    http_shown_url("u:p@r.io/a\n?x", show);
    assert_string_equal(show, "r.io/a?");
    http_shown_url(NULL, show);
    assert_string_equal(show, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_status_kind),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
