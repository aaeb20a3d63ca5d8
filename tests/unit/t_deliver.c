#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/engine/deliver.h"

#define C1 "1111111111111111111111111111111111111111"
#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"

struct scene {
    struct arena arena;
    struct policy policy;
    struct forge_conf forge;
    struct engine engine;
};

static struct pattern *pattern(const char *text)
{
    struct err err = ERR_INIT;
    struct pattern *p = pattern_compile(text, &err);
    assert_non_null(p);
    return p;
}

static int set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    struct policy_project *entry = list_push(&s->arena, &s->policy);
    entry->match = pattern("team/*");
    entry->forge = "code";
    *list_push(&s->arena, &entry->may_publish) = pattern("r.example.org/team/*");
    s->forge = (struct forge_conf){.name = "code", .type = "git", .url = "https://c.example.org"};
    s->engine = (struct engine){.forges = &s->forge, .n_forges = 1, .policy = &s->policy};
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    pattern_free(s->policy.at[0].match);
    pattern_free(s->policy.at[0].may_publish.at[0]);
    arena_release(&s->arena);
    free(s);
    return 0;
}

static struct delivered sort(struct scene *s, const char *source, const char *body)
{
    struct delivered out;
    struct delivery d = {
        .id = 42, .source = source, .received_at = 1000, .body = body, .body_len = strlen(body)};
    http_header_add(&s->arena, &d.headers, "webhook-id", "msg_1");
    deliver_sort(&s->engine, &d, &s->arena, &out);
    return out;
}

static void test_a_merge_is_one_task_of_its_branch(void **state)
{
    struct delivered out = sort(*state, "code",
                                "{\"kind\":\"change.merged\",\"project\":\"team/app\",\"branch\":"
                                "\"main\",\"change\":7,\"commit\":\"" C1 "\"}");
    assert_int_equal(out.verdict, DELIVERY_TAKEN);
    assert_int_equal(out.tasks.n, 1);
    const struct task *t = &out.tasks.at[0];
    assert_string_equal(t->lane, "code team/app main promote");
    assert_string_equal(t->key, "code team/app promote change/7 " C1);
    assert_string_equal(t->ref, "change/7");
    assert_string_equal(t->order.project, "code/team/app");
    assert_string_equal(t->order.commit, C1);
    assert_int_equal(t->order.seq, 42);
    assert_int_equal(t->received_at, 1000);
}

static void test_a_tag_and_a_branch_of_one_name_are_two_things(void **state)
{
    struct delivered out = sort(*state, "code",
                                "{\"kind\":\"tag.pushed\",\"project\":\"team/app\",\"ref\":"
                                "\"refs/tags/main\",\"commit\":\"" C1 "\"}");
    assert_int_equal(out.tasks.n, 1);
    assert_string_equal(out.tasks.at[0].ref, "refs/tags/main");
    assert_string_equal(out.tasks.at[0].lane, "code team/app refs/tags/main tag");
}

static void test_what_is_ignored_says_why(void **state)
{
    static const struct {
        const char *source, *body, *why;
    } cases[] = {
        {"code",
         "{\"kind\":\"change.merged\",\"project\":\"other/app\",\"branch\":\"main\","
         "\"change\":7,\"commit\":\"" C1 "\"}",
         "no entry of `projects` matches other/app"},
        {"gone", "{}", "forge 'gone' is not configured"},
        {"code",
         "{\"kind\":\"branch.pushed\",\"project\":\"team/app\",\"branch\":\"main\","
         "\"commit\":\"" C1 "\"}",
         "does not let this project build in post (may_build)"},
        {"code",
         "{\"kind\":\"image.staged\",\"project\":\"team/app\",\"change\":7,\"commit\":\"" C1
         "\",\"images\":[{\"repository\":\"r.example.org/other/app\","
         "\"tag\":\"change_7_latest\",\"digest\":\"" D1 "\"}]}",
         "policy does not let team/app publish to r.example.org/other/app"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct delivered out = sort(*state, cases[i].source, cases[i].body);
        assert_int_equal(out.verdict, DELIVERY_IGNORED);
        assert_int_equal(out.tasks.n + out.staged.n + out.deleted.n, 0);
        assert_non_null(out.reason);
        if (!strstr(out.reason, cases[i].why))
            fail_msg("%zu: %s", i, out.reason);
    }
}

static void test_a_closed_change_is_cleaned_up(void **state)
{
    struct delivered out =
        sort(*state, "code", "{\"kind\":\"change.closed\",\"project\":\"team/app\",\"change\":7}");
    assert_int_equal(out.verdict, DELIVERY_TAKEN);
    assert_int_equal(out.tasks.n, 1);
    assert_string_equal(out.tasks.at[0].pipeline, "clean-up");
    assert_string_equal(out.tasks.at[0].lane, "code team/app change/7 clean-up");
}

static void test_records_and_deletions_are_no_tasks(void **state)
{
    struct delivered out = sort(*state, "code",
                                "{\"kind\":\"tag.deleted\",\"project\":\"team/app\",\"ref\":"
                                "\"refs/tags/v1\"}");
    assert_int_equal(out.verdict, DELIVERY_TAKEN);
    assert_int_equal(out.deleted.n, 1);
    out = sort(*state, "code",
               "{\"kind\":\"image.staged\",\"project\":\"team/app\",\"change\":7,\"commit\":\"" C1
               "\",\"images\":[{\"repository\":\"r.example.org/team/app\","
               "\"tag\":\"change_7_latest\",\"digest\":\"" D1 "\"}]}");
    assert_int_equal(out.verdict, DELIVERY_TAKEN);
    assert_int_equal(out.staged.n, 1);
    assert_int_equal(out.tasks.n, 0);
}

static void test_a_time_to_come_says_nothing(void **state)
{
    static const struct {
        const char *at;
        int64_t want;
    } table[] = {{"1", 1}, {"3601", 3601}, {"3602", 0}, {"\"9999-12-31T23:59:59Z\"", 0}};
    struct scene *s = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *body =
            arena_printf(&s->arena,
                         "{\"kind\":\"change.merged\",\"project\":\"team/app\",\"branch\":\"main\","
                         "\"change\":7,\"commit\":\"" C1 "\",\"merged_at\":%s}",
                         table[i].at);
        struct delivered out = sort(s, "code", body);
        assert_int_equal(out.tasks.n, 1);
        assert_int_equal(out.tasks.at[0].order.happened_at, table[i].want);
        assert_int_equal(out.events.at[0].happened_at, table[i].want);
    }
}

static void test_malformed_is_told_apart(void **state)
{
    struct delivered out = sort(*state, "code", "{\"kind\":\"change.merged\"}");
    assert_int_equal(out.verdict, DELIVERY_MALFORMED);
    assert_non_null(out.reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_merge_is_one_task_of_its_branch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_tag_and_a_branch_of_one_name_are_two_things, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_ignored_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_closed_change_is_cleaned_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_and_deletions_are_no_tasks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_time_to_come_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed_is_told_apart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
