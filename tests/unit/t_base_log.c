#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static int saved_stderr, capture;
static char captured[65536];

static void capture_start(void)
{
    saved_stderr = dup(STDERR_FILENO);
    capture = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(capture >= 0);
    (void)dup2(capture, STDERR_FILENO);
}

static const char *capture_end(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    ssize_t got = pread(capture, captured, sizeof captured - 1, 0);
    (void)close(capture);
    captured[got > 0 ? got : 0] = '\0';
    return captured;
}

static const char *logged(const char *value)
{
    capture_start();
    log_info("m", "key", value, NULL);
    const char *line = strstr(capture_end(), " msg=m key=");
    assert_non_null(line);
    return line + strlen(" msg=m key=");
}

static void quotes_and_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"plain", "plain\n"},
        {NULL, "-\n"},
        {"", "\"\"\n"},
        {"two words", "\"two words\"\n"},
        {"a=b", "\"a=b\"\n"},
        {"say \"x\"", "\"say \\\"x\\\"\"\n"},
        {"back\\slash", "back\\slash\n"},
        {"a \\", "\"a \\\\\"\n"},
        {"line\nlevel=error msg=forged", "\"line\\nlevel=error msg=forged\"\n"},
        {"\x1b[31m\r\x7f", "\"\\x1b[31m\\x0d\\x7f\"\n"},
        {"a\xc2\x9b"
         "2J\xc3\xa9",
         "\"a\\xc2\\x9b2J\xc3\xa9\"\n"},
        {"gr\xc3\xbcn", "gr\xc3\xbcn\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(logged(cases[i].value), cases[i].want);
}

static void writes_time_level_and_role(void **state)
{
    (void)state;
    log_set_role("work");
    capture_start();
    log_debug("not wanted", NULL);
    log_error("it broke", NULL);
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("wanted", NULL);
    log_set_level(LOG_LEVEL_INFO);
    const char *text = capture_end();
    log_set_role(NULL);
    assert_null(strstr(text, "not wanted"));
    assert_non_null(strstr(text, "Z level=error role=work msg=\"it broke\"\n"));
    assert_non_null(strstr(text, "level=debug role=work msg=wanted\n"));
    assert_true(str_starts(text, "time=2"));
    assert_int_equal(strcspn(text, " "), strlen("time=2026-11-23T16:40:10.123Z"));
}

static void hides_secrets(void **state)
{
    (void)state;
    log_secret("hunter2 & co");
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"hunter2 & co", "***\n"},
        {"xhunter2 & cox", "x***x\n"},
        {"https://u:hunter2%20%26%20co@h", "https://u:***@h\n"},
        {"aHVudGVyMiAmIGNv", "***\n"},
        {"hunter2 & chunter2 & co", "\"hunter2 & c***\"\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(logged(cases[i].value), cases[i].want);
}

/* A secret inside a longer base64 text: "u:", "me:" and "bot:" in front, something behind. */
static void hides_secrets_inside_base64(void **state)
{
    (void)state;
    log_secret("Tr0ub4dor&3xyz");
    static const char *const encoded[] = {
        "dTpUcjB1YjRkb3ImM3h5eg==",
        "bWU6VHIwdWI0ZG9yJjN4eXo=",
        "Ym90OlRyMHViNGRvciYzeHl6",
        "Ym90OlRyMHViNGRvciYzeHl6OmFuZCBtb3Jl",
    };
    for (size_t i = 0; i < ARRAY_LEN(encoded); i++) {
        const char *line = logged(encoded[i]);
        assert_non_null(strstr(line, "***"));
        /* What is left is at most the digits that the secret shares with its neighbours. */
        assert_null(strstr(line, "MHViNGRv"));
        assert_null(strstr(line, "cjB1YjRk"));
        assert_null(strstr(line, "IwdWI0ZG"));
    }
}

static void hides_secrets_that_need_escapes(void **state)
{
    (void)state;
    log_secret("pass \"quoted\" \\ and\ttab");
    assert_string_equal(logged("it is pass \"quoted\" \\ and\ttab."), "\"it is ***.\"\n");
}

/* The shorter one registered first must not leave the longer one's rest to read. */
static void hides_the_longest_secret(void **state)
{
    (void)state;
    log_secret("open");
    log_secret("opensesame");
    assert_string_equal(logged("opensesame"), "***\n");
    assert_string_equal(logged("open"), "***\n");
    log_secret("abc"); /* too short to hide without hiding everything */
    log_secret("");
    log_secret(NULL);
    assert_string_equal(logged("abcdef"), "abcdef\n");
}

/* A line is cut at its limit; a secret across the cut must not show its first half. */
static void hides_secrets_in_cut_lines(void **state)
{
    (void)state;
    log_secret("correct-horse-battery");
    for (size_t pad = 8000; pad < 8192; pad += 3) {
        char *value CLEANUP(cleanup_free) = xasprintf("%*scorrect-horse-battery", (int)pad, "");
        capture_start();
        log_info("m", "key", value, NULL);
        const char *text = capture_end();
        assert_null(strstr(text, "corr"));
        assert_int_equal(text[strlen(text) - 1], '\n');
    }
}

static void redacts_texts(void **state)
{
    (void)state;
    log_secret("0p3n-s3same");
    char text[] = "a 0p3n-s3same b 0p3n-s3same";
    assert_true(log_redact(text));
    assert_string_equal(text, "a *** b ***");
    char clean[] = "nothing here";
    assert_false(log_redact(clean));
    assert_string_equal(clean, "nothing here");
    char four[] = "open!";
    assert_true(log_redact(four));
    assert_string_equal(four, "***!");
}

static void *log_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        log_secret("shared secret");
        log_info("line", "value", "shared secret", NULL);
    }
    return NULL;
}

static void serves_threads(void **state)
{
    (void)state;
    capture_start();
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list lines = str_split(&a, capture_end(), '\n');
    assert_int_equal(lines.n, 201);
    for (size_t i = 0; i < 200; i++)
        assert_true(str_ends(lines.at[i], " msg=line value=***"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_and_escapes),
        cmocka_unit_test(writes_time_level_and_role),
        cmocka_unit_test(hides_secrets),
        cmocka_unit_test(hides_secrets_inside_base64),
        cmocka_unit_test(hides_secrets_that_need_escapes),
        cmocka_unit_test(hides_the_longest_secret),
        cmocka_unit_test(hides_secrets_in_cut_lines),
        cmocka_unit_test(redacts_texts),
        cmocka_unit_test(serves_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
