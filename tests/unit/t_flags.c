#include "core/base/base.h"

#include "cgi/command.h"
#include "core/base/str.h"

#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static int run_nothing(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return EXIT_DONE;
}

static const struct command cmd = {
    .name = "demo", .summary = "try flags", .help = "  slipway demo x\n", .run = run_nothing};

struct values {
    const char *config;
    bool quiet;
    int64_t number;
    struct flag_values list;
};

static struct values got;
static int positional;
static char said[4096];
static char shown[4096];

/* Runs fn's parse with one stream in a file, so that its text can be looked at. */
static int capture(FILE *stream, char *out, size_t size, int argc, char **argv)
{
    const struct flag flags[] = {
        {"config", 'c', FLAG_STR, &got.config},
        {"quiet", 'q', FLAG_BOOL, &got.quiet},
        {"number", 'n', FLAG_INT, &got.number},
        {"tag", 0, FLAG_LIST, &got.list},
    };
    FILE *file CLEANUP(cleanup_file) = tmpfile();
    assert_non_null(file);
    (void)fflush(stream);
    int saved = dup(fileno(stream));
    assert_true(dup2(fileno(file), fileno(stream)) >= 0);
    int code = flags_parse(&cmd, flags, ARRAY_LEN(flags), argc, argv, &positional);
    (void)fflush(stream);
    assert_true(dup2(saved, fileno(stream)) >= 0);
    (void)close(saved);
    rewind(file);
    size_t n = fread(out, 1, size - 1, file);
    out[n] = '\0';
    return code;
}

/* The words are split at blanks; "''" stands for an empty word. */
static int parse(const char *words, char **argv, int *argc)
{
    static char text[1024];
    memset(&got, 0, sizeof got);
    positional = -1;
    (void)snprintf(text, sizeof text, "%s", words);
    *argc = 0;
    argv[(*argc)++] = text;
    for (char *p = text; *p; p++)
        if (*p == ' ') {
            *p = '\0';
            argv[(*argc)++] = p + 1;
        }
    for (int i = 0; i < *argc; i++)
        if (str_eq(argv[i], "''"))
            argv[i] = text + strlen(words);
    argv[*argc] = NULL;
    return capture(stderr, said, sizeof said, *argc, argv);
}

static void test_good(void **state)
{
    (void)state;
    char *argv[128];
    int argc;
    assert_int_equal(parse("demo a --config /x b -q --number=-7 c", argv, &argc), -1);
    assert_string_equal(got.config, "/x");
    assert_true(got.quiet);
    assert_int_equal(got.number, -7);
    assert_int_equal(positional, 3);
    assert_string_equal(argv[1], "a");
    assert_string_equal(argv[2], "b");
    assert_string_equal(argv[3], "c");
    assert_string_equal(said, "");

    assert_int_equal(parse("demo -c/x -n 5 --tag v1 --tag=v2=3", argv, &argc), -1);
    assert_string_equal(got.config, "/x");
    assert_int_equal(got.number, 5);
    assert_int_equal(got.list.n, 2);
    assert_string_equal(got.list.at[1], "v2=3");
    assert_int_equal(positional, 0);

    assert_int_equal(parse("demo -qc /x", argv, &argc), -1);
    assert_true(got.quiet);
    assert_string_equal(got.config, "/x");

    assert_int_equal(parse("demo -- --config -h -", argv, &argc), -1);
    assert_int_equal(positional, 3);
    assert_string_equal(argv[1], "--config");
    assert_null(got.config);

    assert_int_equal(parse("demo - --config a --config b", argv, &argc), -1);
    assert_int_equal(positional, 1);
    assert_string_equal(argv[1], "-");
    assert_string_equal(got.config, "b");

    assert_int_equal(parse("demo --config --quiet", argv, &argc), -1);
    assert_string_equal(got.config, "--quiet");
    assert_false(got.quiet);
    assert_int_equal(parse("demo", argv, &argc), -1);
    assert_int_equal(positional, 0);
}

static const struct {
    const char *words;
    const char *says;
} bad[] = {
    {"demo --confg x", "slipway demo: unknown flag --confg, did you mean --config?; "
                       "try 'slipway help demo'\n"},
    {"demo --zzzzzzzzzz", "unknown flag --zzzzzzzzzz;"},
    {"demo --config", "--config needs a value;"},
    {"demo --config=", "--config needs a value that is not empty"},
    {"demo --config ''", "--config needs a value that is not empty"},
    {"demo -c", "--config needs a value;"},
    {"demo --quiet=true", "--quiet takes no value"},
    {"demo -qx", "unknown flag -x;"},
    {"demo --number 7x", "--number must be a whole number, not \"7x\""},
    {"demo --number 99999999999999999999", "must be a whole number"},
    {"demo -x", "unknown flag -x;"},
    {"demo -config x", "unknown flag -config, did you mean --config?"},
    {"demo -config=x", "unknown flag -config=x, did you mean --config=x?"},
    {"demo --=x", "unknown flag --;"},
    {"demo ---quiet", "unknown flag ---quiet"},
};

static void test_bad(void **state)
{
    (void)state;
    char *argv[128];
    int argc;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int code = parse(bad[i].words, argv, &argc);
        if (code != EXIT_USAGE || !strstr(said, bad[i].says))
            fail_msg("%s: code %d, said: %s", bad[i].words, code, said);
    }
}

static void test_list_is_bounded(void **state)
{
    (void)state;
    char *argv[128];
    int argc;
    struct strbuf words CLEANUP_STRBUF = STRBUF_INIT(1024);
    (void)strbuf_addstr(&words, "demo");
    for (int i = 0; i < 64; i++)
        (void)strbuf_addstr(&words, " --tag=x");
    assert_int_equal(parse(words.buf, argv, &argc), -1);
    assert_int_equal(got.list.n, 64);
    (void)strbuf_addstr(&words, " --tag=x");
    assert_int_equal(parse(words.buf, argv, &argc), EXIT_USAGE);
}

static void test_help(void **state)
{
    (void)state;
    char demo[] = "demo", quiet[] = "-q", help[] = "--help", letter[] = "-h";
    char *one[] = {demo, quiet, help, NULL};
    assert_int_equal(capture(stdout, shown, sizeof shown, 3, one), EXIT_DONE);
    assert_string_equal(shown, "slipway demo - try flags\n\n  slipway demo x\n");
    char *two[] = {demo, letter, NULL};
    assert_int_equal(capture(stdout, shown, sizeof shown, 2, two), EXIT_DONE);
}

static void test_exit_codes(void **state)
{
    (void)state;
    struct err e = {.kind = ERR_CONFIG, .text = "x"};
    assert_int_equal(command_failed(&e), EXIT_USAGE);
    e.kind = ERR_TEMP;
    assert_int_equal(command_failed(&e), EXIT_TRY_LATER);
    e.kind = ERR_PERM;
    assert_int_equal(command_failed(&e), EXIT_FAILED);
    (void)unsetenv("SLIPWAY_CONFIG");
    assert_string_equal(command_config_path(NULL), "/etc/slipway/slipway.yaml");
    (void)setenv("SLIPWAY_CONFIG", "/e", 1);
    assert_string_equal(command_config_path(NULL), "/e");
    assert_string_equal(command_config_path("/f"), "/f");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_list_is_bounded),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
