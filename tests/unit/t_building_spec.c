/* What the builder is asked for, from plan and event. */
#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/engine/building_spec.h"

/* One image of a change, all keys settable. */
struct case_of {
    struct arena a;
    struct image image;
    struct imagefile_vars vars;
    struct plan plan;
    struct event event;
    struct build_conf conf;
    struct policy_project policy;
    struct building_input in;
    struct build_spec spec;
};

static void begin(struct case_of *c)
{
    *c = (struct case_of){
        .image = {.context = {.text = "app"}},
        .event = {.kind = EVENT_OPENED,
                  .project = "team/app",
                  .branch = "main",
                  .change = "7",
                  .change_url = "https://review.example.org/7",
                  .list_commit = "0123456789abcdef0123456789abcdef01234567"},
    };
    *list_push(&c->a, &c->plan.builds) = (struct plan_build){
        .image = &c->image, .vars = &c->vars, .label = "app", .at = {".slipway.yaml", 3, 5}};
    c->in = (struct building_input){.event = &c->event,
                                    .plan = &c->plan,
                                    .policy = &c->policy,
                                    .conf = &c->conf,
                                    .source = "/b/src",
                                    .out = "/b/out",
                                    .usual = BUILD_BUILDAH};
}

static const struct build_image *make(struct case_of *c)
{
    struct err err = ERR_INIT;
    if (building_spec(&c->in, &c->a, &c->spec, &err) < 0)
        fail_msg("%s", err.text);
    return &c->spec.images.at[0];
}

static void refused(struct case_of *c, const char *part)
{
    struct err err = ERR_INIT;
    if (building_spec(&c->in, &c->a, &c->spec, &err) == 0)
        fail_msg("accepted; wanted \"%s\"", part);
    assert_int_equal(err.kind, ERR_CONFIG);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" is not in: %s", part, err.text);
    arena_release(&c->a);
}

static void carries_all_keys(void **state)
{
    (void)state;
    struct case_of c;
    begin(&c);
    c.image.path = "./sub";
    c.image.container_filename = "Dockerfile.{{ zuul.branch }}";
    c.image.target = "final";
    *list_push(&c.a, &c.image.build_args) = "A=\"b c\"";
    *list_push(&c.a, &c.image.build_args) = "'D=e'";
    *list_push(&c.a, &c.image.build_args) = "F='it''s'";
    *list_push(&c.a, &c.image.build_args) = "G=";
    *list_push(&c.a, &c.image.build_args) = "C={{ zuul.commit_id }}";
    *list_push(&c.a, &c.image.labels) = "mine={{ zuul.project.short_name }}";
    *list_push(&c.a, &c.image.siblings) = "review.example.org/team/lib";
    *list_push(&c.a, &c.image.arch) = "linux/amd64";
    *list_push(&c.a, &c.plan.builds.at[0].refs) = "registry.example.org/team/app:latest";
    *list_push(&c.a, &c.vars.build_env) = (struct imagefile_env){"BUILDKIT_X", "1"};
    *list_push(&c.a, &c.in.insecure) = "127.0.0.1:5000";
    c.vars.container_command = "podman";
    c.vars.format = "docker";
    c.vars.work_dir = "{{ zuul.project.src_dir }}/docker/";
    c.conf = (struct build_conf){.isolation = "chroot", .timeout_s = 60, .log_max = 5};
    c.policy.build_pull = "{\"auths\":{}}";
    c.in.siblings = "/b/siblings";
    const struct build_image *i = make(&c);
    assert_int_equal(c.spec.tool, BUILD_PODMAN);
    assert_int_equal(c.spec.format, BUILD_DOCKER_FORMAT);
    assert_string_equal(c.spec.pull, "{\"auths\":{}}");
    assert_string_equal(c.spec.isolation, "chroot");
    assert_int_equal(c.spec.timeout_s, 60);
    assert_string_equal(c.spec.env.at[0].name, "BUILDKIT_X");
    assert_string_equal(c.spec.insecure.at[0], "127.0.0.1:5000");
    assert_string_equal(i->name, "image-0");
    assert_string_equal(i->context, "docker/app");
    assert_string_equal(i->path, "sub");
    assert_string_equal(i->filename, "Dockerfile.main");
    assert_string_equal(i->target, "final");
    static const char *const args[] = {"A=b c", "D=e", "F='it''s'",
                                       "G=", "C=0123456789abcdef0123456789abcdef01234567"};
    for (size_t k = 0; k < ARRAY_LEN(args); k++)
        assert_string_equal(i->build_args.at[k], args[k]);
    assert_string_equal(i->labels.at[0], "mine=app");
    assert_string_equal(i->labels.at[1], "org.zuul-ci.change=7");
    assert_string_equal(i->labels.at[2], "org.zuul-ci.change_url=https://review.example.org/7");
    assert_int_equal(i->labels.n, 3);
    assert_string_equal(i->siblings.at[0], "review.example.org/team/lib");
    assert_string_equal(i->platforms.at[0], "linux/amd64");
    assert_string_equal(i->refs.at[0], "registry.example.org/team/app:latest");
    /* What is kept to be compared holds no credentials and no limits. */
    const char *kept = building_identity(&c.spec, "x", &c.a);
    assert_null(strstr(kept, "auths"));
    c.policy.build_pull = NULL;
    c.conf.timeout_s = 61;
    (void)make(&c);
    assert_string_equal(building_identity(&c.spec, "x", &c.a), kept);
    assert_string_not_equal(building_identity(&c.spec, "y", &c.a), kept);
    c.image.target = "other";
    (void)make(&c);
    assert_string_not_equal(building_identity(&c.spec, "x", &c.a), kept);
    arena_release(&c.a);
}

static void fills_in_what_is_not_written(void **state)
{
    (void)state;
    struct case_of c;
    begin(&c);
    c.image.context.text = ".";
    c.plan.builds.at[0].vars = NULL;
    c.event = (struct event){.kind = EVENT_TAG, .project = "team/app", .tag = "v1", .change = "9"};
    const struct build_image *i = make(&c);
    assert_int_equal(c.spec.tool, BUILD_BUILDAH);
    assert_int_equal(c.spec.format, BUILD_OCI);
    assert_string_equal(i->context, ".");
    assert_null(i->filename);
    assert_int_equal(i->labels.n, 0); /* a tag has no change, and no URL was told */
    arena_release(&c.a);
}

static void joins_folders(void **state)
{
    (void)state;
    static const struct {
        const char *work_dir;
        const char *context;
        const char *result; /* NULL: refused */
    } cases[] = {
        {NULL, "app", "app"},
        {NULL, "./app//x/", "app/x"},
        {"docker", ".", "docker"},
        {"docker", "a", "docker/a"},
        {"{{zuul.project.src_dir}}", "a", "a"},
        {"{{ zuul.project.src_dir }}/x", "a", "x/a"},
        {"{{ zuul.project.src_dir }}x", "a", NULL},
        {"{{ zuul.executor.work_root }}", "a", NULL},
        {"/home/zuul", "a", NULL},
        {NULL, "/etc", NULL},
        {NULL, "../x", NULL},
        {"docker", "../../x", NULL},
        {NULL, "-x", NULL},
        {NULL, "./-x", NULL},
        {NULL, "a\nb", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct case_of c;
        begin(&c);
        c.vars.work_dir = cases[i].work_dir;
        c.image.context.text = cases[i].context;
        if (cases[i].result)
            assert_string_equal(make(&c)->context, cases[i].result);
        else
            refused(&c, ".slipway.yaml:3: image app: ");
        arena_release(&c.a);
    }
}

static void refuses_bad_input(void **state)
{
    (void)state;
    struct case_of c;
    begin(&c);
    c.vars.container_command = "kaniko";
    refused(&c, "podman, buildah and docker");
    begin(&c);
    c.vars.format = "tar";
    refused(&c, "neither oci nor docker");
    begin(&c);
    c.image.container_filename = "-f";
    refused(&c, "container_filename");
    begin(&c);
    c.image.container_filename = "../Dockerfile";
    refused(&c, "container_filename");
    begin(&c);
    c.image.path = "-";
    refused(&c, "path");
    begin(&c);
    c.image.target = "--help";
    refused(&c, "target");
    begin(&c);
    *list_push(&c.a, &c.image.build_args) = "SECRET";
    refused(&c, "build_args");
    begin(&c);
    *list_push(&c.a, &c.image.build_args) = "--volume=/:/host";
    refused(&c, "build_args");
    begin(&c);
    *list_push(&c.a, &c.image.build_args) = "T={{ zuul.tag }}";
    refused(&c, "zuul.tag");
    begin(&c);
    *list_push(&c.a, &c.image.labels) = "no value";
    refused(&c, "labels");
    begin(&c);
    *list_push(&c.a, &c.image.siblings) = "../../etc";
    c.in.siblings = "/b/siblings";
    refused(&c, "siblings");
    begin(&c);
    *list_push(&c.a, &c.image.arch) = "linux";
    refused(&c, "arch");
    begin(&c);
    *list_push(&c.a, &c.vars.build_env) = (struct imagefile_env){"A=B", "1"};
    refused(&c, "env");
}

/* Images of two jobs go into one store, so that one may be FROM the other. */
static void jobs_must_agree(void **state)
{
    (void)state;
    struct case_of c;
    struct imagefile_vars other = {.container_command = "docker"};
    begin(&c);
    *list_push(&c.a, &c.plan.builds) =
        (struct plan_build){.image = &c.image, .vars = &other, .label = "second"};
    refused(&c, "second: all jobs of one pipeline");
    begin(&c);
    *list_push(&c.a, &c.plan.builds) =
        (struct plan_build){.image = &c.image, .vars = &other, .label = "second"};
    other = (struct imagefile_vars){0};
    *list_push(&c.a, &c.vars.build_env) = (struct imagefile_env){"A", "1"};
    *list_push(&c.a, &other.build_env) = (struct imagefile_env){"A", "2"};
    refused(&c, "two values");
    begin(&c);
    *list_push(&c.a, &c.plan.builds) =
        (struct plan_build){.image = &c.image, .vars = &other, .label = "second"};
    other = (struct imagefile_vars){0};
    *list_push(&c.a, &c.vars.build_env) = (struct imagefile_env){"A", "1"};
    *list_push(&c.a, &other.build_env) = (struct imagefile_env){"A", "1"};
    *list_push(&c.a, &other.build_env) = (struct imagefile_env){"B", "1"};
    (void)make(&c);
    assert_int_equal(c.spec.env.n, 2);
    assert_string_equal(c.spec.images.at[1].name, "image-1");
    arena_release(&c.a);
}

static void knows_projects_and_refs(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const names[][3] = {
        {"review.example.org/team/lib", "https://review.example.org", "team/lib"},
        {"review.example.org/team/lib", "https://review.example.org:8443/r", "team/lib"},
        {"review.example.org:8443/lib", "https://review.example.org:8443", "lib"},
        {"team/lib", "https://review.example.org", "team/lib"},
        {"elsewhere.org/lib", "https://review.example.org", "elsewhere.org/lib"},
        {"review.example.organic/lib", "https://review.example.org", "review.example.organic/lib"},
        {"team/lib", NULL, "team/lib"},
        {"/lib", "file:///srv/git", "/lib"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_string_equal(building_sibling_project(names[i][0], names[i][1], &a), names[i][2]);
    static const struct {
        struct event event;
        const char *type;
        const char *ref;
    } refs[] = {
        {{.kind = EVENT_TAG, .tag = "v1", .branch = "main"}, "git", "refs/tags/v1"},
        {{.kind = EVENT_BRANCH, .branch = "main"}, "git", "refs/heads/main"},
        {{.kind = EVENT_MERGED, .branch = "main", .change = "7"}, "gerrit", "refs/heads/main"},
        {{.kind = EVENT_OPENED, .change = "1234", .patchset = "5"},
         "gerrit",
         "refs/changes/34/1234/5"},
        {{.kind = EVENT_GATED, .change = "1203", .patchset = "12"},
         "gerrit",
         "refs/changes/03/1203/12"},
        {{.kind = EVENT_OPENED, .change = "7", .patchset = "abc"}, "github", "refs/pull/7/head"},
        {{.kind = EVENT_OPENED, .change = "7", .branch = "main"}, "git", NULL},
        {{.kind = EVENT_OPENED, .change = "x", .patchset = "5"}, "gerrit", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        const char *ref = building_ref(&refs[i].event, refs[i].type, &a);
        if (!str_eq(ref, refs[i].ref))
            fail_msg("%zu: %s", i, ref ? ref : "none");
    }
}

static void shows_the_end_of_a_log(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const texts[][2] = {
        {"", ""},
        {"a\nb\n", "a\nb\n"},
        {"\x1b[1;31mred\x1b[0m\r\n\ttab\x07\n", "red\n\ttab?\n"},
        {"\x1b", ""},
        {"\x1b[", ""},
        {"\x1b[12", ""},
        {"x\x1bPy", "xy"},
        {"\xc2\x9b"
         "1mx",
         "?1mx"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_string_equal(building_tail(texts[i][0], strlen(texts[i][0]), &a), texts[i][1]);
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (int i = 0; i < 2000; i++)
        (void)strbuf_addf(&b, "line %d\n", i);
    const char *tail = building_tail(b.buf, b.len, &a);
    assert_true(strlen(tail) <= LIMIT_BUILD_TAIL);
    assert_true(str_starts(tail, "line 1"));
    assert_true(str_ends(tail, "line 1999\n"));
    /* One line without end is cut anywhere. */
    strbuf_reset(&b);
    for (int i = 0; i < 9000; i++)
        (void)strbuf_addch(&b, 'x');
    assert_int_equal(strlen(building_tail(b.buf, b.len, &a)), LIMIT_BUILD_TAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_all_keys),       cmocka_unit_test(fills_in_what_is_not_written),
        cmocka_unit_test(joins_folders),          cmocka_unit_test(refuses_bad_input),
        cmocka_unit_test(jobs_must_agree),        cmocka_unit_test(knows_projects_and_refs),
        cmocka_unit_test(shows_the_end_of_a_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
