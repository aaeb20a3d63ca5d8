#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuul_builds.h"

#define DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct zuul_query usual = {.project = "team/app",
                                        .change = "7",
                                        .patchset = "2",
                                        .pipeline = "gate",
                                        .job = "build-images"};

/* A build in Zuul's answer; what is NULL is as in a good one. */
struct made {
    const char *uuid;
    int id; /* 0: a Zuul that does not say */
    const char *result, *final, *project, *change, *patchset, *pipeline, *job; /* JSON */
    const char *end_time;
    const char *artifacts; /* NULL: quay.io/team/app:latest */
    bool flat;             /* as Zuul answered before version 10 */
};

static const char *or_else(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static const char *json_of(struct arena *a, const struct made *m)
{
    const char *about =
        arena_printf(a, "\"project\":%s,\"branch\":\"main\",\"change\":%s,\"patchset\":%s",
                     or_else(m->project, "\"team/app\""), or_else(m->change, "7"),
                     or_else(m->patchset, "\"2\""));
    const char *image = arena_printf(a,
                                     "{\"name\":\"quay.io/team/app:latest\",\"url\":"
                                     "\"docker://ir:5000/quay.io/team/app:%s_latest\","
                                     "\"metadata\":{\"type\":\"container_image\","
                                     "\"repository\":\"quay.io/team/app\",\"tag\":\"latest\"}}",
                                     m->uuid);
    return arena_printf(
        a,
        "{%s\"uuid\":\"%s\",\"result\":%s,\"final\":%s,\"pipeline\":%s,\"job_name\":%s,"
        "\"end_time\":%s,%s%s%s,\"artifacts\":[%s]}",
        m->id ? arena_printf(a, "\"_id\":%d,", m->id) : "", m->uuid,
        or_else(m->result, "\"SUCCESS\""), or_else(m->final, "true"),
        or_else(m->pipeline, "\"gate\""), or_else(m->job, "\"build-images\""),
        or_else(m->end_time, "null"), m->flat ? "\"ref\":\"refs/changes/07/7/2\"," : "\"ref\":{",
        about, m->flat ? "" : "}", or_else(m->artifacts, image));
}

static const char *reply_of(struct arena *a, const struct made *m, size_t n)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(4));
    (void)strbuf_addstr(&text, "[");
    for (size_t i = 0; i < n && m[i].uuid; i++)
        (void)strbuf_addf(&text, "%s%s", i ? "," : "", json_of(a, &m[i]));
    (void)strbuf_addstr(&text, "]");
    return strbuf_to_arena(&text, a);
}

static const struct {
    const char *what;
    struct made made[3];
    const char *want; /* uuid; NULL: there is none */
} picks[] = {
    {"nothing", {{0}}, NULL},
    {"one", {{.uuid = "a", .id = 1}}, "a"},
    {"the newest by id, wherever it stands",
     {{.uuid = "a", .id = 8}, {.uuid = "b", .id = 10}, {.uuid = "c", .id = 9}},
     "b"},
    {"a newer one that failed",
     {{.uuid = "b", .id = 9, .result = "\"FAILURE\""}, {.uuid = "a", .id = 1}},
     "a"},
    {"a newer one that was retried",
     {{.uuid = "b", .id = 9, .final = "false"}, {.uuid = "a", .id = 1}},
     "a"},
    {"a Zuul that does not say whether it is final", {{.uuid = "a", .final = "null"}}, "a"},
    {"only one under way", {{.uuid = "a", .id = 1, .result = "null"}}, NULL},
    {"another project's, with the same number",
     {{.uuid = "a", .id = 1, .project = "\"team/other\""}},
     NULL},
    {"nobody's", {{.uuid = "a", .id = 1, .project = "null"}}, NULL},
    {"another change, from a Zuul that does not filter", {{.uuid = "a", .change = "8"}}, NULL},
    {"another patchset", {{.uuid = "a", .patchset = "\"3\""}}, NULL},
    {"a patchset that is a number", {{.uuid = "a", .patchset = "2"}}, "a"},
    {"a change that is a text", {{.uuid = "a", .change = "\"7\""}}, "a"},
    {"another job", {{.uuid = "a", .job = "\"build-images-2\""}}, NULL},
    {"another pipeline", {{.uuid = "a", .pipeline = "\"check\""}}, NULL},
    {"a newer one without artifacts",
     {{.uuid = "b", .id = 9, .artifacts = ""}, {.uuid = "a", .id = 1}},
     "a"},
    {"a newer one with other artifacts",
     {{.uuid = "b", .id = 9, .artifacts = "{\"name\":\"docs\",\"url\":\"https://x/\"}"},
      {.uuid = "a", .id = 1}},
     "a"},
    {"the form before Zuul 10, by time",
     {{.uuid = "a", .flat = true, .end_time = "\"2026-11-23T16:40:10\""},
      {.uuid = "b", .flat = true, .end_time = "\"2026-11-23T16:40:11\""},
      {.uuid = "c", .flat = true, .end_time = "\"2026-11-22T23:59:59\""}},
     "b"},
    {"neither id nor time: the first", {{.uuid = "a"}, {.uuid = "b"}}, "a"},
    {"the older form, another project's",
     {{.uuid = "a", .flat = true, .project = "\"team/other\""}},
     NULL},
};

static void test_pick(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(picks); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct zuul_build build;
        const char *text = reply_of(&a, picks[i].made, ARRAY_LEN(picks[i].made));
        if (zuul_builds_pick(text, strlen(text), &usual, &a, &build, &err) < 0)
            fail_msg("%s: %s", picks[i].what, err.text);
        if (!str_eq(build.uuid, picks[i].want))
            fail_msg("%s: %s", picks[i].what, build.uuid ? build.uuid : "none");
        assert_int_equal(build.n, picks[i].want ? 1 : 0);
    }
}

static const char *picked(const struct made *made, size_t n, const struct zuul_query *q,
                          struct arena *a)
{
    struct err err = ERR_INIT;
    struct zuul_build build;
    const char *text = reply_of(a, made, n);
    assert_int_equal(zuul_builds_pick(text, strlen(text), q, a, &build, &err), 0);
    return build.uuid ? build.uuid : "none";
}

/* With a query of its own a repository may take another patchset's build, or another job's; but
 * neither another change's nor another project's. */
static void test_pick_custom(void **state)
{
    (void)state;
    static const struct made made[] = {
        {.uuid = "d", .id = 4, .project = "\"team/other\"", .patchset = "\"9\""},
        {.uuid = "c", .id = 3, .change = "8", .patchset = "\"9\""},
        {.uuid = "b", .id = 2, .patchset = "\"9\""},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct zuul_query q = {.project = "team/app", .change = "7", .custom = "x=y", .job = "z"};
    assert_string_equal(picked(made, ARRAY_LEN(made), &q, &a), "b");
    q.custom = NULL;
    assert_string_equal(picked(made, ARRAY_LEN(made), &q, &a), "none");
    q.job = "build-*";
    assert_string_equal(picked(made, ARRAY_LEN(made), &q, &a), "b");
    q.patchset = "2";
    assert_string_equal(picked(made, ARRAY_LEN(made), &q, &a), "none");
}

#define IMAGE(repository, tag, url)                                                                \
    "{\"name\":\"" repository ":" tag "\",\"url\":\"" url "\","                                    \
    "\"metadata\":{\"type\":\"container_image\",\"repository\":\"" repository "\","                \
    "\"tag\":\"" tag "\"}}"

/* What a list of at most `n` artifacts, which ends with NULL, is read as. */
static int read_artifacts(const char *const *artifacts, size_t n, struct arena *a,
                          struct zuul_build *build, struct err *err)
{
    struct strbuf joined CLEANUP_STRBUF = STRBUF_INIT(MIB(4));
    for (size_t i = 0; i < n && artifacts[i]; i++)
        (void)strbuf_addf(&joined, "%s%s", i ? "," : "", artifacts[i]);
    const struct made made = {.uuid = "abc-1", .artifacts = joined.buf};
    const char *text = reply_of(a, &made, 1);
    return zuul_builds_pick(text, strlen(text), &usual, a, build, err);
}

static const char *const many[] = {
    IMAGE("quay.io/team/app", "latest", "docker://ir.io:5000/quay.io/team/app:abc-1_latest"),
    IMAGE("quay.io/team/app", "1.0", "ir.io:5000/gate/team/app@" DIGEST),
    "{\"name\":\"log\",\"url\":\"https://logs.io\",\"metadata\":{\"type\":\"x\"}}",
    "{\"name\":\"no metadata\",\"url\":7}",
    IMAGE("team/tools", "latest", "docker://[2001:db8::1]:5000/team/tools:abc-1_latest"),
    IMAGE("zuul", "latest", "docker://ir.io:5000/docker.io/zuul:abc-1_latest"),
    IMAGE("quay.io/team/app", "latest", "ir.io:5000/quay.io/team/app:abc-1_latest"),
};

static void test_artifacts(void **state)
{
    (void)state;
    static const struct {
        const char *repository, *tag, *host, *name, *ref; /* host NULL: there is none */
    } rows[] = {
        {"quay.io/team/app", "latest", "ir.io:5000", "quay.io/team/app", "abc-1_latest"},
        {"quay.io/team/app", "1.0", "ir.io:5000", "gate/team/app", DIGEST},
        {"r.io:5000/team/tools", "latest", "[2001:db8::1]:5000", "team/tools", "abc-1_latest"},
        {"r.io/zuul", "latest", "ir.io:5000", "docker.io/zuul", "abc-1_latest"},
        {"docker.io/team/app", "latest", NULL, NULL, NULL},
        {"quay.io/team/app", "2.0", NULL, NULL, NULL},
        {"quay.io/x/team/tools", "latest", NULL, NULL, NULL},
        {"tools", "latest", NULL, NULL, NULL},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_build build;
    if (read_artifacts(many, ARRAY_LEN(many), &a, &build, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(build.uuid, "abc-1");
    assert_int_equal(build.n, 4);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct zuul_artifact *got =
            zuul_artifact_find(&build, rows[i].repository, rows[i].tag);
        if (!got != !rows[i].host ||
            (got && !(str_eq(got->host, rows[i].host) && str_eq(got->name, rows[i].name) &&
                      str_eq(got->ref, rows[i].ref))))
            fail_msg("row %zu: %s %s %s", i, got ? got->host : "", got ? got->name : "",
                     got ? got->ref : "");
    }
}

/* Two registries, one of which the metadata names: that one counts before a bare name. */
static void test_artifact_hosts(void **state)
{
    (void)state;
    static const char *const both[] = {IMAGE("a/b", "x", "ir:5000/1/a/b:abc-1_x"),
                                       IMAGE("q.io/a/b", "x", "ir:5000/2/a/b:abc-1_x")};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_build build;
    assert_int_equal(read_artifacts(both, 2, &a, &build, &err), 0);
    assert_string_equal(zuul_artifact_find(&build, "q.io/a/b", "x")->name, "2/a/b");
    assert_string_equal(zuul_artifact_find(&build, "r.io/a/b", "x")->name, "1/a/b");
}

/* Answers that are none. */
static const struct {
    const char *text, *says;
} nonsense[] = {
    {"", "no JSON"},
    {"<html>Bad Gateway</html>", "no JSON"},
    {"{}", "no list of builds"},
    {"null", "no list of builds"},
    {"[1]", "item 0 has no uuid"},
    {"[{}]", "item 0 has no uuid"},
    {"[{\"uuid\":\"../../x\"}]", "item 0 has no uuid"},
    {"[{\"uuid\":\"" DIGEST "\"}]", "item 0 has no uuid"},
};

static void test_nonsense(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct zuul_build build;
        const char *text = nonsense[i].text;
        if (zuul_builds_pick(text, strlen(text), &usual, &a, &build, &err) == 0 ||
            err.kind != ERR_TEMP || !strstr(err.text, nonsense[i].says))
            fail_msg("%s\n%s: %s", text, err_kind_name(err.kind), err.text);
    }
}

#define BARE "{\"name\":\"x\",\"url\":null,\"metadata\":{\"type\":\"container_image\""

static const struct {
    const char *artifacts[2], *says;
} broken[] = {
    {{IMAGE("q.io/a", "x", "")}, "has no url"},
    {{BARE ",\"repository\":\"q.io/a\",\"tag\":\"x\"}}"}, "has no url"},
    {{BARE "}}"}, "names no repository"},
    {{BARE ",\"repository\":\"q.io/a\"}}"}, "names no tag"},
    {{IMAGE("q.io/a", "x", "https://ir:5000/q.io/a:abc-1_x")}, "a url that is none"},
    {{IMAGE("q.io/a", "x", "docker-archive:/etc/passwd")}, "a url that is none"},
    {{IMAGE("q.io/a", "x", "oci:/etc:x")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "q.io/a")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/a:x")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/a:abc-2_x")},
     ".../a:abc-1_x, where a build leaves its own images, but at ir:5000/q.io/a:abc-2_x"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/a:abc-1_y")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/b:abc-1_x")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/b@" DIGEST)}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/ba:abc-1_x")}, "does not lie at"},
    {{IMAGE("q.io/a", "x", "ir:5000/q.io/a:abc-2_x@" DIGEST)}, "does not lie at"},
    {{IMAGE("", "x", "ir:5000/a:abc-1_x")}, "names no repository"},
    {{IMAGE("q.io/a:x", "x", "ir:5000/q.io/a:abc-1_x")}, "names no repository"},
    {{IMAGE("q.io/A", "x", "ir:5000/q.io/a:abc-1_x")}, "names no repository"},
    {{IMAGE("a/\\n\\u001b[2J", "x", "ir:5000/a:abc-1_x")},
     "artifact 'a/??[2J:x' of Zuul's build abc-1 names no repository"},
    {{IMAGE("q.io/a", "", "ir:5000/q.io/a:abc-1_")}, "names no tag"},
    {{IMAGE("q.io/a", "x/y", "ir:5000/q.io/a:abc-1_x")}, "names no tag"},
    {{IMAGE("q.io/a", "x", "ir:5000/a:abc-1_x") "," IMAGE("q.io/a", "x", "ir:5001/a:abc-1_x")},
     "is there twice, and means two images"},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct zuul_build build;
        if (read_artifacts(broken[i].artifacts, 2, &a, &build, &err) == 0 || err.kind != ERR_PERM ||
            !strstr(err.text, broken[i].says))
            fail_msg("%s\n%s: %s", broken[i].artifacts[0], err_kind_name(err.kind), err.text);
    }
}

static void test_many_artifacts(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_build build;
    const char *all[LIMIT_ZUUL_ARTIFACTS + 1];
    for (int i = 0; i <= LIMIT_ZUUL_ARTIFACTS; i++)
        all[i] = arena_printf(&a,
                              "{\"url\":\"ir:5000/a:abc-1_t%d\",\"metadata\":{\"type\":"
                              "\"container_image\",\"repository\":\"a\",\"tag\":\"t%d\"}}",
                              i, i);
    assert_int_equal(read_artifacts(all, LIMIT_ZUUL_ARTIFACTS, &a, &build, &err), 0);
    assert_int_equal(build.n, LIMIT_ZUUL_ARTIFACTS);
    assert_int_equal(read_artifacts(all, LIMIT_ZUUL_ARTIFACTS + 1, &a, &build, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "more than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),           cmocka_unit_test(test_pick_custom),
        cmocka_unit_test(test_artifacts),      cmocka_unit_test(test_artifact_hosts),
        cmocka_unit_test(test_nonsense),       cmocka_unit_test(test_broken),
        cmocka_unit_test(test_many_artifacts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
