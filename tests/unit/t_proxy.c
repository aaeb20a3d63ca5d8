#include "core/base/base.h"

#include "config/proxy.h"
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* "NAME=value;NAME=value" of the row under test. */
static const char *variables;

static const char *lookup(const char *name)
{
    static char values[8][256];
    static size_t turn;
    for (const char *p = variables; *p; p += strcspn(p, ";"), p += *p == ';') {
        size_t len = strlen(name);
        if (strncmp(p, name, len) != 0 || p[len] != '=')
            continue;
        char *value = values[turn++ % ARRAY_LEN(values)];
        (void)snprintf(value, sizeof values[0], "%.*s", (int)strcspn(p + len + 1, ";"),
                       p + len + 1);
        return value;
    }
    return NULL;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *variables;
        bool https;
        const char *host, *proxy;
    } table[] = {
        {"", true, "r.example.org", NULL},
        {"HTTPS_PROXY=http://p:1", true, "r.example.org", "http://p:1"},
        {"HTTPS_PROXY=http://p:1", false, "r.example.org", NULL},
        {"https_proxy=p:2;HTTPS_PROXY=http://p:1", true, "r.example.org", "http://p:2"},
        {"HTTP_PROXY=http://evil:1", false, "r.example.org", NULL},
        {"http_proxy=http://p:1", false, "r.example.org", "http://p:1"},
        {"ALL_PROXY=socks5h://p:1", false, "r.example.org", "socks5h://p:1"},
        {"all_proxy=x:1;https_proxy=", true, "r.example.org", "http://x:1"},
        {"https_proxy=p:1;no_proxy=*", true, "r.example.org", NULL},
        {"https_proxy=p:1;NO_PROXY=example.org", true, "r.example.org:5000", NULL},
        {"https_proxy=p:1;NO_PROXY=.example.org.", true, "R.Example.org", NULL},
        {"https_proxy=p:1;NO_PROXY=ample.org", true, "r.example.org", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=r.example.org.evil", true, "r.example.org", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=a, b ,r.example.org", true, "r.example.org", NULL},
        {"https_proxy=p:1;NO_PROXY=, .", true, "r.example.org", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=10.0.0.0/8", true, "10.255.1.2:5000", NULL},
        {"https_proxy=p:1;NO_PROXY=10.0.0.0/8", true, "11.0.0.1", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=10.0.0.0/33", true, "10.0.0.0", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=10.0.0.0/x", true, "10.0.0.0", "http://p:1"},
        {"https_proxy=p:1;NO_PROXY=127.0.0.1", true, "127.0.0.1:5000", NULL},
        {"https_proxy=p:1;NO_PROXY=fd00::/8", true, "[fd12::1]:5000", NULL},
        {"https_proxy=p:1;NO_PROXY=fd00::/8", true, "[fe12::1]", "http://p:1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        variables = table[i].variables;
        const char *got = proxy_from_environment(lookup, table[i].https, table[i].host, &a);
        print_message("%s %s: %s\n", variables, table[i].host, got);
        assert_true(str_eq(got, table[i].proxy));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
