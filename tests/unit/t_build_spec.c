#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build.h"

/* A spec in which every member is set, as one line. */
#define IMAGE                                                                                      \
    "{\"name\":\"app\",\"label\":\"registry.example.org/team/app\",\"context\":\"docker\","        \
    "\"path\":\"x\",\"filename\":\"File\",\"target\":\"last\",\"build_args\":[\"A=b c\"],"         \
    "\"labels\":[\"org.zuul-ci.change=1\"],\"siblings\":[\"opendev.org/a/b\"],"                    \
    "\"platforms\":[\"linux/amd64\",\"linux/arm64/v8\"],"                                          \
    "\"refs\":[\"registry.example.org:5000/team/app:1\"]}"
#define SPEC                                                                                       \
    "{\"version\":1,\"tool\":\"buildah\",\"format\":\"docker\",\"source\":\"/s\",\"out\":\"/o\","  \
    "\"siblings\":\"/b\",\"pull\":\"{\\\"auths\\\":{}}\",\"isolation\":\"chroot\","                \
    "\"insecure\":[\"localhost:5000\"],\"env\":{\"A\":\"b\",\"C\":\"\"},\"timeout_s\":9,"          \
    "\"disk_max\":10,\"log_max\":11,\"images\":[" IMAGE "]}"
/* The least one. */
#define HEAD                                                                                       \
    "{\"version\":1,\"tool\":\"podman\",\"format\":\"oci\",\"source\":\"/s\",\"out\":\"/o\""
#define LEAST HEAD ",\"images\":[{\"name\":\"a\",\"context\":\".\"}]}"

static int parse(const char *text, struct arena *a, struct build_spec *out, struct err *err)
{
    return build_spec_from_json(text, strlen(text), a, out, err);
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const texts[] = {SPEC, LEAST};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct build_spec spec, again;
        if (parse(texts[i], &a, &spec, &err) < 0)
            fail_msg("%s", err.text);
        const char *text = build_spec_to_json(&spec, &a);
        assert_null(strchr(text, '\n'));
        assert_int_equal(parse(text, &a, &again, &err), 0);
        assert_string_equal(build_spec_to_json(&again, &a), text);
    }
}

static void reads_every_member(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct build_spec s;
    assert_int_equal(parse(SPEC, &a, &s, &err), 0);
    assert_int_equal(s.tool, BUILD_BUILDAH);
    assert_int_equal(s.format, BUILD_DOCKER_FORMAT);
    assert_string_equal(s.source, "/s");
    assert_string_equal(s.out, "/o");
    assert_string_equal(s.siblings, "/b");
    assert_string_equal(s.pull, "{\"auths\":{}}");
    assert_string_equal(s.isolation, "chroot");
    assert_int_equal(s.insecure.n, 1);
    assert_int_equal(s.env.n, 2);
    assert_string_equal(s.env.at[0].name, "A");
    assert_string_equal(s.env.at[0].value, "b");
    assert_int_equal(s.timeout_s, 9);
    assert_int_equal(s.disk_max, 10);
    assert_int_equal(s.log_max, 11);
    assert_int_equal(s.images.n, 1);
    const struct build_image *i = s.images.at;
    const char *const texts[][2] = {
        {i->name, "app"},
        {i->label, "registry.example.org/team/app"},
        {i->context, "docker"},
        {i->path, "x"},
        {i->filename, "File"},
        {i->target, "last"},
        {i->build_args.at[0], "A=b c"},
        {i->labels.at[0], "org.zuul-ci.change=1"},
        {i->siblings.at[0], "opendev.org/a/b"},
        {i->platforms.at[1], "linux/arm64/v8"},
        {i->refs.at[0], "registry.example.org:5000/team/app:1"},
    };
    for (size_t t = 0; t < ARRAY_LEN(texts); t++)
        assert_string_equal(texts[t][0], texts[t][1]);
    assert_int_equal(parse(LEAST, &a, &s, &err), 0);
    assert_null(s.siblings);
    assert_null(s.pull);
    assert_null(s.images.at->path);
    assert_int_equal(s.images.at->refs.n, 0);
}

static void names_tools_and_folders(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    enum build_tool tool;
    for (int t = 0; t < BUILD_TOOL__MAX; t++) {
        assert_true(build_tool_from_name(build_tool_name((enum build_tool)t), &tool));
        assert_int_equal(tool, t);
    }
    static const char *const unknown[] = {"", "kaniko", "Podman", "docker ", NULL};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_false(build_tool_from_name(unknown[i], &tool));
    assert_string_equal(build_layout_name("app", NULL, &a), "app");
    assert_string_equal(build_layout_name("app", "linux/arm64/v8", &a), "app-linux-arm64-v8");
}

/* Each replaces one part of SPEC; the error names `why`. */
static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        const char *instead;
        const char *why;
    } cases[] = {
        {"\"version\":1", "\"version\":2", "version"},
        {"\"version\":1", "\"version\":\"1\"", "version"},
        {"\"version\":1,", "", "version"},
        {"\"version\":1", "\"version\":1,\"wish\":1", "wish"},
        {"\"version\":1", "\"version\":1,\"version\":1", ""},
        {"buildah", "kaniko", "tool"},
        {"\"docker\",\"source", "\"tar\",\"source", "format"},
        {"\"/s\"", "\"s\"", "absolute"},
        {"\"/s\"", "7", "source"},
        {"\"source\":\"/s\",", "", "absolute"},
        {"\"/o\"", "\"/o,dest=/etc\"", "absolute"},
        {"\"/o\"", "\"/o:x\"", "absolute"},
        {"\"/o\"", "\"/o\\nx\"", "absolute"},
        {"\"siblings\":\"/b\",", "", "siblings"},
        {"\"chroot\"", "\"none\"", "isolation"},
        {"[\"localhost:5000\"]", "[\"local host\"]", "insecure"},
        {"[\"localhost:5000\"]", "[\"h\\\"]\\nx=[\\\"\"]", "insecure"},
        {"[\"localhost:5000\"]", "\"localhost\"", "insecure"},
        {"{\"A\":\"b\",\"C\":\"\"}", "[]", "env"},
        {"{\"A\":\"b\",\"C\":\"\"}", "{\"A\":1}", "env"},
        {"{\"A\":\"b\",\"C\":\"\"}", "{\"A=B\":\"1\"}", "env"},
        {"{\"A\":\"b\",\"C\":\"\"}", "{\"\":\"1\"}", "env"},
        {"{\"A\":\"b\",\"C\":\"\"}", "{\"1A\":\"1\"}", "env"},
        {"{\"A\":\"b\",\"C\":\"\"}", "{\"A\":\"1\\n2\"}", "env"},
        {"\"timeout_s\":9", "\"timeout_s\":-1", "timeout_s"},
        {"\"timeout_s\":9", "\"timeout_s\":86401", "timeout_s"},
        {"\"timeout_s\":9", "\"timeout_s\":\"9\"", "timeout_s"},
        {"\"disk_max\":10", "\"disk_max\":1.5", "disk_max"},
        {"\"log_max\":11", "\"log_max\":null", "log_max"},
        {"\"images\":[", "\"images\":[7,", "image"},
        {IMAGE, "", "images"},
        {IMAGE, IMAGE "," IMAGE, "app-linux-amd64 is named twice"},
        {IMAGE, IMAGE ",{\"name\":\"app-linux-amd64\",\"context\":\".\"}", "named twice"},
        {"\"name\":\"app\",", "", "name"},
        {"\"name\":\"app\"", "\"name\":\"App\"", "name"},
        {"\"name\":\"app\"", "\"name\":\"-a\"", "name"},
        {"\"name\":\"app\"", "\"name\":\"..\"", "name"},
        {"\"name\":\"app\"", "\"name\":\"\"", "name"},
        {"\"name\":\"app\"", "\"name\":\"a/b\"", "name"},
        {"\"name\":\"app\"", "\"name\":\"app\",\"privileged\":true", "privileged"},
        {"\"context\":\"docker\",", "", "context"},
        {"\"context\":\"docker\"", "\"context\":\"/etc\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"-v\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"..\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"a/../../b\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"a\\nb\"", "context"},
        {"\"context\":\"docker\"", "\"context\":\"a\\u0000b\"", ""},
        {"\"path\":\"x\"", "\"path\":\"../x\"", "path"},
        {"\"path\":\"x\"", "\"path\":\"--help\"", "path"},
        {"\"filename\":\"File\"", "\"filename\":\"/etc/shadow\"", "container_filename"},
        {"\"filename\":\"File\"", "\"filename\":\"a/..\"", "container_filename"},
        {"\"filename\":\"File\"", "\"filename\":\"a/\"", "container_filename"},
        {"\"target\":\"last\"", "\"target\":\"-x\"", "target"},
        {"\"target\":\"last\"", "\"target\":\"a b\"", "target"},
        {"\"A=b c\"", "\"A\"", "build_args"},
        {"\"A=b c\"", "\"=b\"", "build_args"},
        {"\"A=b c\"", "\"--squash=1\"", "build_args"},
        {"\"A=b c\"", "\"A b=c\"", "build_args"},
        {"\"A=b c\"", "\"A=b\\nc\"", "build_args"},
        {"\"A=b c\"", "[\"A=b\"]", "build_args"},
        {"\"org.zuul-ci.change=1\"", "\"org.zuul-ci.change\"", "labels"},
        {"\"org.zuul-ci.change=1\"", "\"-a=1\"", "labels"},
        {"\"org.zuul-ci.change=1\"", "\"a=1\\u001b[2J\"", "labels"},
        {"\"opendev.org/a/b\"", "\"opendev.org/../b\"", "siblings"},
        {"\"opendev.org/a/b\"", "\"/etc\"", "siblings"},
        {"\"opendev.org/a/b\"", "\"a//b\"", "siblings"},
        {"\"opendev.org/a/b\"", "\"a/./b\"", "siblings"},
        {"\"opendev.org/a/b\"", "\"a b\"", "siblings"},
        {"\"opendev.org/a/b\"", "\"a/-b\"", "siblings"},
        {"\"linux/amd64\"", "\"linux\"", "arch"},
        {"\"linux/amd64\"", "\"linux/\"", "arch"},
        {"\"linux/amd64\"", "\"linux/../x\"", "arch"},
        {"\"linux/amd64\"", "\"linux/a/b/c\"", "arch"},
        {"\"linux/amd64\"", "\"linux/amd64,linux/386\"", "arch"},
        {"\"linux/amd64\"", "\"linux/arm64/v8\"", "named twice"},
        {"registry.example.org:5000/team/app:1", "team/app", "refs"},
        {"registry.example.org:5000/team/app:1", "registry.example.org/app", "refs"},
        {"registry.example.org:5000/team/app:1", "-h.org/app:1", "refs"},
        {"registry.example.org:5000/team/app:1", "h.org/a:1\\nx", "refs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct build_spec spec = {.source = "untouched"};
        const char *at = strstr(SPEC, cases[i].part);
        assert_non_null(at);
        const char *text = arena_printf(&a, "%.*s%s%s", (int)(at - SPEC), SPEC, cases[i].instead,
                                        at + strlen(cases[i].part));
        if (parse(text, &a, &spec, &err) == 0)
            fail_msg("taken: %s", text);
        if (!strstr(err.text, cases[i].why) || err.kind != ERR_INPUT || strchr(err.text, '\n'))
            fail_msg("%s instead of %s: %s", cases[i].instead, cases[i].part, err.text);
        assert_string_equal(spec.source, "untouched");
    }
}

static void bounds_what_it_reads(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct build_spec spec;
    struct strbuf many CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BUILD_SPEC * 2);
    (void)strbuf_addstr(&many, HEAD ",\"images\":[");
    for (int i = 0; i < LIMIT_BUILD_IMAGES; i++)
        (void)strbuf_addf(&many, "{\"name\":\"i%d\",\"context\":\".\"},", i);
    size_t len = many.len;
    (void)strbuf_addstr(&many, "{\"name\":\"one-more\",\"context\":\".\"}]}");
    assert_int_equal(build_spec_from_json(many.buf, many.len, &a, &spec, &err), -1);
    assert_non_null(strstr(err.text, "1 to 200"));
    memcpy(many.buf + len - 1, "]} ", 3);
    assert_int_equal(build_spec_from_json(many.buf, len + 1, &a, &spec, &err), 0);

    static const struct {
        const char *member;
        size_t longest;
    } texts[] = {{"build_args", LIMIT_BUILD_TEXT}, {"labels", LIMIT_BUILD_TEXT}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t over = 0; over < 2; over++) {
            char *text CLEANUP(cleanup_free) = xcalloc(1, texts[i].longest + 2);
            memset(text, 'x', texts[i].longest + over);
            text[1] = '=';
            const char *json = arena_printf(
                &a, HEAD ",\"images\":[{\"name\":\"a\",\"context\":\".\",\"%s\":[\"%s\"]}]}",
                texts[i].member, text);
            assert_int_equal(parse(json, &a, &spec, &err), over ? -1 : 0);
        }
    }
    char *huge CLEANUP(cleanup_free) = xmalloc(LIMIT_BUILD_SPEC + 1);
    memset(huge, ' ', LIMIT_BUILD_SPEC + 1);
    assert_int_equal(build_spec_from_json(huge, LIMIT_BUILD_SPEC + 1, &a, &spec, &err), -1);
    assert_non_null(strstr(err.text, "bytes"));
    assert_int_equal(build_spec_from_json("", 0, &a, &spec, &err), -1);
    assert_int_equal(parse("[]", &a, &spec, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),    cmocka_unit_test(reads_every_member),
        cmocka_unit_test(names_tools_and_folders), cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_what_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
