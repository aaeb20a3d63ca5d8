#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/authfile.h"
#include "core/lib/crypt.h"

/* Each entry's user says which it is: base64 of "<user>:secret-pw". */
static const char *entry(struct arena *a, const char *key, const char *user)
{
    const char *plain = arena_printf(a, "%s:secret-pw", user);
    return arena_printf(a, "\"%s\":{\"auth\":\"%s\"}", key, crypt_base64(a, plain, strlen(plain)));
}

static const struct authfile *parse(struct arena *a, const char *text)
{
    const struct authfile *f = NULL;
    struct err err = ERR_INIT;
    if (authfile_parse(text, strlen(text), a, &f, &err) < 0)
        fail_msg("%s", err.text);
    return f;
}

/* "user", "-" for nothing, "!" for an error, "helper=server", "token:...", as one text. */
static const char *found(struct arena *a, const struct authfile *f, const char *host,
                         const char *name, struct err *err)
{
    struct authfile_hit hit = {.key = "untouched"};
    if (authfile_find(f, host, name, &hit, err) < 0) {
        assert_string_equal(hit.key, "untouched");
        return "!";
    }
    switch (hit.kind) {
    case AUTHFILE_NONE:
        return "-";
    case AUTHFILE_BASIC:
        assert_string_equal(hit.password, "secret-pw");
        return hit.username;
    case AUTHFILE_IDENTITY_TOKEN:
        return arena_printf(a, "identity:%s", hit.token);
    case AUTHFILE_REGISTRY_TOKEN:
        return arena_printf(a, "registry:%s", hit.token);
    case AUTHFILE_HELPER:
        return arena_printf(a, "%s=%s", hit.helper, hit.server);
    }
    return "?";
}

static void test_specific(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *keys[] = {"quay.io",
                          "quay.io/org",
                          "quay.io/org/app",
                          "r.io:5000",
                          "https://url.io",
                          "http://plain.io:5000",
                          "v2.io/v2/",
                          "https://V1.io/v1/",
                          "docker.io",
                          "https://index.docker.io/v1/",
                          "exact.io/team/v2",
                          "10.0.0.1",
                          "[::1]:5000",
                          "slash.io/",
                          "https://both.io/v2/",
                          "both.io"};
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    (void)strbuf_addstr(&text, "{\"auths\":{\"other\":{}");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        (void)strbuf_addf(&text, ",%s", entry(&a, keys[i], arena_printf(&a, "u%zu", i)));
    (void)strbuf_addstr(&text, "},\"HttpHeaders\":{},\"psFormat\":\"x\"}");
    const struct authfile *f = parse(&a, text.buf);
    static const struct {
        const char *host, *name, *user;
    } table[] = {
        {"quay.io", NULL, "u0"},
        {"quay.io", "other", "u0"},
        {"quay.io", "organ", "u0"},
        {"quay.io", "organ/app", "u0"},
        {"quay.io", "org", "u1"},
        {"quay.io", "org/x", "u1"},
        {"quay.io", "org/application", "u1"},
        {"quay.io", "org/app", "u2"},
        {"quay.io", "org/app/x/y", "u2"},
        {"quay.io:443", "org/app", "-"},
        {"uay.io", "org/app", "-"},
        {"r.io:5000", "x", "u3"},
        {"r.io", "x", "-"},
        {"r.io:500", "x", "-"},
        {"url.io", "a/b", "u4"},
        {"plain.io:5000", "a/b", "u5"},
        {"plain.io", "a/b", "-"},
        {"v2.io", "a/b", "u6"},
        {"v1.io", NULL, "u7"},
        {"docker.io", "library/debian", "u8"},
        {"index.docker.io", "library/debian", "u8"},
        {"exact.io", "team/v2", "u10"},
        {"exact.io", "team/v2/x", "u10"},
        {"exact.io", "team/app", "-"},
        {"exact.io", "team", "-"},
        {"10.0.0.1", "x", "u11"},
        {"10.0.0.10", "x", "-"},
        {"[::1]:5000", "x", "u12"},
        {"slash.io", "x", "u13"},
        {"both.io", "x", "u15"},
        {"other", "x", "-"},
        {"unknown.io", "x", "-"},
        {"", "", "-"},
        {"", NULL, "-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err err = ERR_INIT;
        const char *got = found(&a, f, table[i].host, table[i].name, &err);
        if (!str_eq(got, table[i].user))
            fail_msg("%s %s: %s, not %s", table[i].host, table[i].name, got, table[i].user);
    }
    char *huge = arena_alloc(&a, 5001);
    memset(huge, 'a', 5000);
    struct err err = ERR_INIT;
    assert_string_equal(found(&a, f, huge, huge, &err), "-");
    assert_string_equal(found(&a, f, "quay.io", huge, &err), "u0");
}

static void test_hub(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *user; /* keys in order, separated by blanks */
    } table[] = {
        {"https://index.docker.io/v1/", "https://index.docker.io/v1/"},
        {"index.docker.io", "index.docker.io"},
        {"registry-1.docker.io", "registry-1.docker.io"},
        {"index.docker.io https://index.docker.io/v1/", "https://index.docker.io/v1/"},
        {"https://index.docker.io/v1/ docker.io", "docker.io"},
        {"docker.io docker.io/library", "docker.io/library"},
        {"docker.io docker.io/library/debian", "docker.io/library/debian"},
        {"https://registry-1.docker.io/v2/", "https://registry-1.docker.io/v2/"},
        {"hub.docker.com", "-"},
        {"docker.io.evil.org evildocker.io", "-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct str_list keys = str_split(&a, table[i].keys, ' ');
        struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
        (void)strbuf_addstr(&text, "{\"auths\":{");
        for (size_t k = 0; k < keys.n; k++) {
            /* A user cannot hold a colon: the key's are left out. */
            char *user = arena_strdup(&a, keys.at[k]);
            for (char *p = user; (p = strchr(p, ':')) != NULL;)
                *p = '.';
            (void)strbuf_addf(&text, "%s%s", k ? "," : "", entry(&a, keys.at[k], user));
        }
        (void)strbuf_addstr(&text, "}}");
        char *wanted = arena_strdup(&a, table[i].user);
        for (char *p = wanted; (p = strchr(p, ':')) != NULL;)
            *p = '.';
        assert_string_equal(found(&a, parse(&a, text.buf), "docker.io", "library/debian", &err),
                            wanted);
    }
}

#define AUTH "\"auth\":\"dTpzZWNyZXQtcHc=\"" /* u:secret-pw */

static void test_entries(void **state)
{
    (void)state;
    static const struct {
        const char *text, *got, *says;
    } table[] = {
        {"{" AUTH "}", "u", NULL},
        {"{" AUTH ",\"email\":\"x\"}", "u", NULL},
        {"{\"username\":\"v\",\"password\":\"secret-pw\"}", "v", NULL},
        {"{" AUTH ",\"username\":\"v\",\"password\":\"x\"}", "u", NULL},
        {"{" AUTH ",\"identitytoken\":\"t\"}", "identity:t", NULL},
        {"{\"identitytoken\":\"t\"}", "identity:t", NULL},
        {"{\"auth\":\"PHRva2VuPjpzZWNyZXQ=\"}", "identity:secret", NULL},
        {"{\"auth\":\"PHRva2VuPjo=\",\"identitytoken\":\"t\"}", "identity:t", NULL},
        {"{\"auth\":\"AAAA\",\"identitytoken\":\"t\"}", "identity:t", NULL},
        {"{\"registrytoken\":\"t\"}", "registry:t", NULL},
        {"{" AUTH ",\"registrytoken\":\"t\",\"identitytoken\":\"x\"}", "registry:t", NULL},
        {"{\"auth\":\"dTpzZWNyZXQtcHcAAA==\"}", "u", NULL}, /* padded with NUL */
        {"{}", "-", NULL},
        {"{\"auth\":\"\"}", "-", NULL},
        {"{\"auth\":\"\",\"identitytoken\":\"\"}", "-", NULL},
        {"null", "-", NULL},
        {"[]", "!", "no object"},
        {"\"x\"", "!", "no object"},
        {"{\"auth\":7}", "!", "no text"},
        {"{\"auth\":null,\"identitytoken\":null}", "-", NULL},
        {"{" AUTH ",\"identitytoken\":{}}", "!", "no text"},
        {"{\"auth\":\"not base64!\"}", "!", "base64"},
        {"{\"auth\":\"dTpzZWNyZXQtcHc\"}", "!", "base64"},
        {"{\"auth\":\"c2VjcmV0\"}", "!", "colon"},
        {"{\"auth\":\"OnNlY3JldA==\"}", "!", "not both"},
        {"{\"auth\":\"dQA6cA==\"}", "!", "NUL"},
        {"{\"auth\":\"dTpwDQp4OiB5\"}", "!", "control"},
        {"{\"identitytoken\":\"a\\nb\"}", "!", "control"},
        {"{\"registrytoken\":\"a\\u007f\"}", "!", "control"},
        {"{\"username\":\"secret-user\"}", "!", "not both"},
        {"{\"password\":\"secret-pw\"}", "!", "not both"},
        {"{\"auth\":\"PHRva2VuPjo=\"}", "!", "token is empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        const struct authfile *f =
            parse(&a, arena_printf(&a, "{\"auths\":{\"bad.io\":%s,%s}}", table[i].text,
                                   entry(&a, "good.io", "g")));
        const char *got = found(&a, f, "bad.io", "x", &err);
        print_message("%s: %s\n", table[i].text, err.text);
        assert_string_equal(got, table[i].got);
        /* What is malformed hurts nobody else. */
        assert_string_equal(found(&a, f, "good.io", "x", NULL), "g");
        if (!table[i].says)
            continue;
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, table[i].says));
        assert_non_null(strstr(err.text, "bad.io"));
        assert_null(strstr(err.text, "secret"));
    }
}

static void test_helpers(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const struct authfile *f = parse(
        &a,
        arena_printf(&a,
                     "{\"auths\":{%s,%s,%s,\"empty.io\":{}},\"credHelpers\":{\"h.io\":\"one\","
                     "\"docker.io\":\"hub\",\"https://u.io\":\"two\",\"bad.io\":\"../x\","
                     "\"num.io\":7,\"none.io\":\"\",\"a.io\":\"\"},\"credsStore\":\"pass\"}",
                     entry(&a, "h.io", "u"), entry(&a, "h.io/team", "v"), entry(&a, "a.io", "w")));
    static const struct {
        const char *host, *name, *got;
    } table[] = {
        {"h.io", "x", "one=h.io"},
        {"h.io", "team/x", "one=h.io"},
        {"docker.io", "library/x", "hub=docker.io"},
        {"registry-1.docker.io", "library/x", "hub=docker.io"},
        {"u.io", "x", "two=https://u.io"},
        {"bad.io", "x", "!"},
        {"num.io", "x", "!"},
        {"none.io", "x", "-"},
        {"a.io", "x", "w"},
        {"empty.io", "x", "pass=empty.io"},
        {"else.io", "x", "pass=else.io"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_string_equal(found(&a, f, table[i].host, table[i].name, &err), table[i].got);
    f = parse(&a, "{\"credsStore\":\"desktop\"}");
    assert_string_equal(found(&a, f, "docker.io", NULL, &err),
                        "desktop=https://index.docker.io/v1/");
    f = parse(&a, "{\"credHelpers\":{\"docker.io\":\"b\",\"https://index.docker.io/v1/\":\"a\"}}");
    assert_string_equal(found(&a, f, "docker.io", NULL, &err), "b=docker.io");
    f = parse(&a, "{\"credHelpers\":{\"https://index.docker.io/v1/\":\"a\"}}");
    assert_string_equal(found(&a, f, "docker.io", NULL, &err), "a=https://index.docker.io/v1/");
    static const char *const bad[] = {"\"/bin/sh\"", "\"a b\"", "\"-x\"",     "\"..\"",
                                      "7",           "{}",      "\"a/../b\"", "\"a\\nb\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f = parse(&a, arena_printf(&a, "{\"credsStore\":%s,\"auths\":{%s}}", bad[i],
                                   entry(&a, "h.io", "u")));
        assert_string_equal(found(&a, f, "x.io", NULL, &err), "!");
        assert_non_null(strstr(err.text, "credsStore"));
        assert_string_equal(found(&a, f, "h.io", NULL, &err), "u");
    }
    f = parse(&a, "{\"credsStore\":\"\"}");
    assert_string_equal(found(&a, f, "x.io", NULL, &err), "-");
    char name[66];
    memset(name, 'a', sizeof name);
    name[64] = '\0';
    assert_true(authfile_helper_ok(name));
    name[64] = 'a';
    name[65] = '\0';
    assert_false(authfile_helper_ok(name));
    assert_false(authfile_helper_ok("") || authfile_helper_ok(NULL));
    assert_true(authfile_helper_ok("ecr-login") && authfile_helper_ok("gcr_1.x"));
}

static void test_whole_file(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "null",
                                      "[]",
                                      "\"secret\"",
                                      "{",
                                      "{} secret",
                                      "{\"auths\":[]}",
                                      "{\"auths\":7}",
                                      "{\"credHelpers\":[]}",
                                      "{\"auths\":{\"a\":{},\"a\":{}}}",
                                      "{\"auths\":{\"a\":secret}}",
                                      "{\"auths\":{\"a\":{\"auth\":\"secret\x01\"}}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        const struct authfile *f = NULL;
        assert_int_equal(authfile_parse(bad[i], strlen(bad[i]), &a, &f, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(f);
        assert_null(strstr(err.text, "secret"));
        assert_null(strpbrk(err.text, "\r\n"));
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    assert_string_equal(found(&a, parse(&a, "{}"), "x.io", "a/b", &err), "-");
    const char *nulls = "{\"auths\":null,\"credHelpers\":null,\"credsStore\":null}";
    assert_string_equal(found(&a, parse(&a, nulls), "x.io", "a/b", &err), "-");
    char *big = arena_alloc(&a, LIMIT_AUTH_FILE + 2);
    memset(big, ' ', LIMIT_AUTH_FILE + 1);
    memcpy(big, "{}", 2);
    const struct authfile *f;
    assert_int_equal(authfile_parse(big, LIMIT_AUTH_FILE, &a, &f, &err), 0);
    assert_int_equal(authfile_parse(big, LIMIT_AUTH_FILE + 1, &a, &f, &err), -1);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        enum authfile_kind kind;
        const char *says;
    } table[] = {
        {"{\"ServerURL\":\"https://x\",\"Username\":\"u\",\"Secret\":\"secret\"}\n", 0,
         AUTHFILE_BASIC, NULL},
        {"{\"Username\":\"u\",\"Secret\":\"secret\"}", 0, AUTHFILE_BASIC, NULL},
        {"{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"secret\"}", 0,
         AUTHFILE_IDENTITY_TOKEN, NULL},
        {"credentials not found in native keychain\n", 0, AUTHFILE_NONE, NULL},
        {"error getting credentials - err: exit status 1, out: `credentials not found in native "
         "keychain`",
         0, AUTHFILE_NONE, NULL},
        {"", -1, AUTHFILE_NONE, "no JSON object"},
        {"secret", -1, AUTHFILE_NONE, "no JSON object"},
        {"[\"secret\"]", -1, AUTHFILE_NONE, "no JSON object"},
        {"{}", -1, AUTHFILE_NONE, "Username"},
        {"{\"Username\":\"\",\"Secret\":\"secret\"}", -1, AUTHFILE_NONE, "Username"},
        {"{\"Username\":\"u\"}", -1, AUTHFILE_NONE, "Secret"},
        {"{\"Username\":\"u\",\"Secret\":\"\"}", -1, AUTHFILE_NONE, "Secret"},
        {"{\"Username\":\"u\",\"Secret\":7}", -1, AUTHFILE_NONE, "Secret"},
        {"{\"Username\":\"u\",\"Secret\":\"secret\\r\\nX: y\"}", -1, AUTHFILE_NONE, "control"},
        {"{\"username\":\"u\",\"secret\":\"secret\"}", -1, AUTHFILE_NONE, "Username"},
        {"{\"Username\":\"u\",\"Secret\":\"secret\"} {}", -1, AUTHFILE_NONE, "no JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct authfile_hit hit = {.key = "untouched"};
        int rc = authfile_helper_answer(table[i].text, strlen(table[i].text), &a, &hit, &err);
        print_message("%s: %s\n", table[i].text, err.text);
        assert_int_equal(rc, table[i].rc);
        if (rc < 0) {
            assert_int_equal(err.kind, ERR_CONFIG);
            assert_non_null(strstr(err.text, table[i].says));
            assert_null(strstr(err.text, "secret"));
            assert_string_equal(hit.key, "untouched");
            continue;
        }
        assert_int_equal(hit.kind, table[i].kind);
        if (hit.kind == AUTHFILE_BASIC)
            assert_true(str_eq(hit.username, "u") && str_eq(hit.password, "secret"));
        if (hit.kind == AUTHFILE_IDENTITY_TOKEN)
            assert_string_equal(hit.token, "secret");
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct authfile_hit hit;
    struct err err = ERR_INIT;
    char *big = arena_alloc(&a, LIMIT_HELPER_OUTPUT + 1);
    assert_int_equal(authfile_helper_answer(big, LIMIT_HELPER_OUTPUT + 1, &a, &hit, &err), -1);
    assert_non_null(strstr(err.text, "longer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specific),   cmocka_unit_test(test_hub),
        cmocka_unit_test(test_entries),    cmocka_unit_test(test_helpers),
        cmocka_unit_test(test_whole_file), cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
