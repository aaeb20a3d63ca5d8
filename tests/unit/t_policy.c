#include "core/base/base.h"

#include "core/base/str.h"
#include "core/domain/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct arena arena;
static struct pattern *owned[64];
static size_t owned_n;

static struct pattern *pattern(const char *text)
{
    struct err err = ERR_INIT;
    struct pattern *p = pattern_compile(text, &err);
    assert_non_null(p);
    owned[owned_n++] = p;
    return p;
}

static void add(struct pattern_list *list, const char *text)
{
    *list_push(&arena, list) = pattern(text);
}

static int release(void **state)
{
    (void)state;
    while (owned_n)
        pattern_free(owned[--owned_n]);
    arena_release(&arena);
    return 0;
}

static const struct {
    const char *forge, *match;
} entries[] = {
    {"review", "team/secret"},
    {"review", "team/*"},
    {"github", "team/**"},
    {"review", "^ops-[0-9]+"},
};

static const struct {
    const char *forge, *project;
    int want; /* index of the entry, -1: none */
} finds[] = {
    {"review", "team/secret", 0}, {"review", "team/app", 1},   {"github", "team/app", 2},
    {"github", "team/a/b", 2},    {"review", "team/a/b", -1},  {"review", "team", -1},
    {"review", "ops-12", 3},      {"review", "my-ops-12", -1}, {"review", "ops-12/x", -1},
    {"gitlab", "team/app", -1},   {"review", "other/app", -1}, {"review", "", -1},
    {"review", NULL, -1},         {NULL, "team/app", -1},      {"", "team/app", -1},
    {"Review", "team/app", -1},   {"review", "Team/app", -1},
};

static void test_find(void **state)
{
    (void)state;
    struct policy policy = {0};
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct policy_project *p = list_push(&arena, &policy);
        p->forge = entries[i].forge;
        p->match = pattern(entries[i].match);
    }
    for (size_t i = 0; i < ARRAY_LEN(finds); i++) {
        const struct policy_project *p = policy_find(&policy, finds[i].forge, finds[i].project);
        int got = p ? (int)(p - policy.at) : -1;
        if (got != finds[i].want)
            fail_msg("%s %s: entry %d, want %d", finds[i].forge, finds[i].project, got,
                     finds[i].want);
    }
    struct policy none = {0};
    assert_null(policy_find(&none, "review", "team/app"));
}

static void test_may_publish(void **state)
{
    (void)state;
    struct policy_project p = {0};
    assert_false(policy_may_publish(&p, "registry.example.org/team/app")); /* denied by default */
    add(&p.may_publish, "registry.example.org/team/*");
    add(&p.may_publish, "localhost:5000/**");
    assert_true(policy_may_publish(&p, "registry.example.org/team/app"));
    assert_true(policy_may_publish(&p, "localhost:5000/a/b/c"));
    assert_false(policy_may_publish(&p, "registry.example.org/team/app/x"));
    assert_false(policy_may_publish(&p, "registry.example.org/team"));
    assert_false(policy_may_publish(&p, "registryXexample.org/team/app"));
    assert_false(policy_may_publish(&p, "registry.example.org:5000/team/app"));
    assert_false(policy_may_publish(&p, "evil.example.org/registry.example.org/team/app"));
    assert_false(policy_may_publish(&p, ""));
    assert_false(policy_may_publish(&p, NULL));
}

static const struct {
    const char *repository, *want;
} behinds[] = {
    {"stage.example.org/gate/registry.example.org/team/app", "registry.example.org/team/app"},
    {"stage.example.org/gate/localhost_5000/a_b/c", "localhost:5000/a_b/c"},
    {"stage.example.org/gate/registry.example.org/team_x/app", NULL},
    {"stage.example.org/gate/registry.example.org/other/app", NULL},
    {"stage.example.org/gatekeeper/registry.example.org/team/app", NULL},
    {"stage.example.org/registry.example.org/team/app", NULL},
    {"registry.example.org/team/app", NULL},
    {"stage.example.org/gate", NULL},
    {"stage.example.org/gate/", NULL},
    {"", NULL},
};

static void test_behind(void **state)
{
    (void)state;
    struct policy_project p = {0};
    add(&p.may_publish, "registry.example.org/team/*");
    add(&p.may_publish, "localhost:5000/**");
    for (size_t i = 0; i < ARRAY_LEN(behinds); i++)
        assert_null(policy_behind(&p, behinds[i].repository, &arena));
    p.intermediate = "stage.example.org/gate";
    for (size_t i = 0; i < ARRAY_LEN(behinds); i++) {
        const char *found = policy_behind(&p, behinds[i].repository, &arena);
        if (!str_eq(found, behinds[i].want))
            fail_msg("%s: %s", behinds[i].repository, found ? found : "nothing");
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct pattern_list list = {0};
    assert_true(policy_matches(&list, "x", true));
    assert_false(policy_matches(&list, "x", false));
    assert_true(policy_matches(&list, NULL, true));
    add(&list, "v*");
    assert_true(policy_matches(&list, "v1", false));
    assert_false(policy_matches(&list, "x", true));
    assert_false(policy_matches(&list, NULL, true));

    struct policy_project p = {0};
    assert_false(policy_tag_is_immutable(&p, "v1"));
    add(&p.immutable, "^v[0-9.]+");
    assert_true(policy_tag_is_immutable(&p, "v1.2"));
    assert_false(policy_tag_is_immutable(&p, "v1.2-rc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_find, release),
        cmocka_unit_test_teardown(test_may_publish, release),
        cmocka_unit_test_teardown(test_behind, release),
        cmocka_unit_test_teardown(test_lists, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
