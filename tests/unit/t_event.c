#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define SHA1 "0123456789abcdef0123456789abcdef01234567"
#define SHA256 SHA1 "89abcdef0123456789abcdef"
#define ZEROS "0000000000000000000000000000000000000000"
#define DIGEST "sha256:" SHA256

struct name_case {
    const char *text;
    bool ok;
};

/* A text of n times the byte c, in the arena. */
static char *repeated(struct arena *a, char c, size_t n)
{
    char *s = arena_alloc(a, n + 1);
    memset(s, c, n);
    return s;
}

static void check_names(bool (*ok)(const char *), const struct name_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ok(cases[i].text) != cases[i].ok)
            fail_msg("\"%s\" should be %s", cases[i].text ? cases[i].text : "(NULL)",
                     cases[i].ok ? "fine" : "refused");
}

static void projects(void **state)
{
    (void)state;
    static const struct name_case cases[] = {
        {"app", true},
        {"team/app", true},
        {"a/b/c/d", true},
        {"team/.github", true},
        {"~user/app", true},
        {"Team_1/app.git", true},
        {"te\xc3\xa4m/app", true},
        {NULL, false},
        {"", false},
        {"-x", false},
        {"/app", false},
        {"app/", false},
        {"a//b", false},
        {"..", false},
        {"a/../b", false},
        {"a..b", false},
        {".", false},
        {"a/./b", false},
        {"a b", false},
        {"a\nb", false},
        {"a\x7f", false},
        {"a\xc2\x9b", false},
        {"a\\b", false},
        {"a?b", false},
        {"a#b", false},
        {"a%2fb", false},
        {"a:b", false},
        {"a*", false},
        {"<a>", false},
        {"a|b", false},
        {"a\"b", false},
        {"$HOME", false},
        {"--upload-pack=x", false},
    };
    check_names(event_project_ok, cases, ARRAY_LEN(cases));
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    assert_true(event_project_ok(repeated(&a, 'a', LIMIT_PROJECT)));
    assert_false(event_project_ok(repeated(&a, 'a', LIMIT_PROJECT + 1)));
}

static void refs(void **state)
{
    (void)state;
    static const struct name_case cases[] = {
        {"main", true},    {"v1.2.3", true},     {"stable/1.0", true}, {"a@b", true},
        {"a.lockx", true}, {"a-b", true},        {"\xc3\xa4", true},   {"%41", true},
        {NULL, false},     {"", false},          {"-d", false},        {"@", false},
        {"a@{1}", false},  {"a..b", false},      {".a", false},        {"a/.b", false},
        {"a.lock", false}, {"a.lock/b", false},  {"a/", false},        {"/a", false},
        {"a//b", false},   {"a.", false},        {"a b", false},       {"a~1", false},
        {"a^", false},     {"a:b", false},       {"a?", false},        {"a*", false},
        {"a[b", false},    {"a\\b", false},      {"a\tb", false},      {"a\x1b[0m", false},
        {"a\x7f", false},  {"a\xc2\x9b", false},
    };
    check_names(event_ref_ok, cases, ARRAY_LEN(cases));
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    assert_true(event_ref_ok(repeated(&a, 'a', LIMIT_REF)));
    assert_false(event_ref_ok(repeated(&a, 'a', LIMIT_REF + 1)));
}

static void commits_and_changes(void **state)
{
    (void)state;
    static const struct name_case commits[] = {
        {SHA1, true},
        {SHA256, true},
        {ZEROS, true},
        {NULL, false},
        {"", false},
        {"0123456", false},
        {SHA1 "0", false},
        {SHA1 " ", false},
        {"HEAD", false},
        {"0123456789ABCDEF0123456789ABCDEF01234567", false},
        {"g123456789abcdef0123456789abcdef01234567", false},
    };
    static const struct name_case changes[] = {
        {"1", true},
        {"1234567", true},
        {"999999999999999999", true},
        {NULL, false},
        {"", false},
        {"0", false},
        {"007", false},
        {"-1", false},
        {"1a", false},
        {" 1", false},
        {"1000000000000000000", false},
        {"1.0", false},
    };
    static const struct name_case zeros[] = {
        {ZEROS, true}, {ZEROS ZEROS, false}, {SHA1, false},
        {NULL, false}, {"0", false},         {"", false},
    };
    check_names(event_commit_ok, commits, ARRAY_LEN(commits));
    check_names(event_change_ok, changes, ARRAY_LEN(changes));
    check_names(event_commit_is_zero, zeros, ARRAY_LEN(zeros));
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    assert_true(event_commit_is_zero(repeated(&a, '0', 64)));
}

static void urls_and_run_ids(void **state)
{
    (void)state;
    static const struct name_case urls[] = {
        {"https://review.example.org/c/7", true},
        {"http://h/?a=b&c=%20#d", true},
        {NULL, false},
        {"", false},
        {"javascript:alert(1)", false},
        {"ftp://h/", false},
        {"https://h/a b", false},
        {"https://h/\"onclick", false},
        {"https://h/<b>", false},
        {"https://h/\n", false},
        {"https://h/\xc3\xa4", false},
        {"//h/", false},
    };
    static const struct name_case run_ids[] = {
        {"81f0", true}, {"github/1234/5", true}, {"a:b@c", true}, {NULL, false}, {"", false},
        {"a b", false}, {"a\"", false},          {"a\n", false},  {"<", false},
    };
    check_names(event_url_ok, urls, ARRAY_LEN(urls));
    check_names(event_run_id_ok, run_ids, ARRAY_LEN(run_ids));
}

static void kinds(void **state)
{
    (void)state;
    for (int i = 0; i < EVENT__MAX; i++) {
        enum event_kind back = EVENT__MAX;
        assert_true(event_kind_from_name(event_kind_name((enum event_kind)i), &back));
        assert_int_equal(back, i);
    }
    enum event_kind kind;
    assert_false(event_kind_from_name("Merged", &kind));
    assert_false(event_kind_from_name(NULL, &kind));
    assert_string_equal(event_kind_name(EVENT__MAX), "unknown");
}

static void set_ref(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct event e = {0};
    assert_true(event_set_ref(&e, &a, "refs/heads/main"));
    assert_string_equal(e.branch, "main");
    assert_null(e.tag);
    e = (struct event){0};
    assert_true(event_set_ref(&e, &a, "refs/tags/main"));
    assert_string_equal(e.tag, "main");
    assert_null(e.branch);
    static const char *const others[] = {"refs/heads/",  "refs/tags/",       "refs/changes/01/1/1",
                                         "main",         "refs/meta/config", "",
                                         "refs/headsx/a"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        e = (struct event){0};
        assert_false(event_set_ref(&e, &a, others[i]));
        assert_null(e.branch);
        assert_null(e.tag);
    }
    assert_false(event_set_ref(&e, &a, NULL));
}

static void texts(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    assert_null(event_text(&a, NULL));
    assert_string_equal(event_text(&a, "a\nb\tc\x1b[0m\x7f\xc2\x9bx\xc2\xa0"),
                        "a b c [0m   x\xc2\xa0");
    char *s = repeated(&a, 'a', LIMIT_EVENT_TEXT + 40);
    assert_int_equal(strlen(event_text(&a, s)), LIMIT_EVENT_TEXT);
    static const char euro[3] = {'\xe2', '\x82', '\xac'};
    memcpy(s + LIMIT_EVENT_TEXT - 1, euro, sizeof euro);
    assert_int_equal(strlen(event_text(&a, s)), LIMIT_EVENT_TEXT - 1);
    struct event e = {.title = event_text(&a, s)};
    assert_int_equal(event_validate(&e, NULL), 0);
}

static struct event full_event(struct arena *a)
{
    struct event e = {
        .kind = EVENT_STAGED,
        .forge = "review",
        .project = "team/app",
        .branch = "stable/1.0",
        .tag = "v1.0.0",
        .change = "7",
        .patchset = "2",
        .change_url = "https://review.example.org/7",
        .order_commit = SHA1,
        .list_commit = SHA256,
        .staged_commit = SHA1,
        .tree = SHA1,
        .run_id = "81f0",
        .default_branch = "main",
        .title = "Say \"hello\" \xe2\x82\xac",
        .actor = "Jo",
        .happened_at = 1795538410,
        .confirm = true,
        .of_task = 12,
        .target = "reg.example.org/team/app:latest",
        .hold = "broken login",
    };
    *list_push(a, &e.images) =
        (struct event_image){"reg.example.org/team/app", "change_7_x", DIGEST};
    *list_push(a, &e.images) = (struct event_image){"reg.example.org:5000/t", "change_7_y", DIGEST};
    return e;
}

static void json_is_lossless(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct event e = full_event(&a), back;
    const char *text = event_to_json(&e, &a);
    assert_non_null(strstr(text, "\"v\":1"));
    assert_int_equal(event_from_json(text, &a, &back, &err), 0);
    assert_string_equal(event_to_json(&back, &a), text);
    assert_int_equal(back.kind, EVENT_STAGED);
    assert_string_equal(back.title, e.title);
    assert_string_equal(back.order_commit, SHA1);
    assert_string_equal(back.list_commit, SHA256);
    assert_int_equal(back.happened_at, 1795538410);
    assert_int_equal(back.of_task, 12);
    assert_string_equal(back.target, e.target);
    assert_string_equal(back.hold, e.hold);
    assert_true(back.confirm);
    assert_int_equal(back.images.n, 2);
    assert_string_equal(back.images.at[1].repository, "reg.example.org:5000/t");

    struct event bare = {.kind = EVENT_TAG_DELETED};
    assert_int_equal(event_from_json(event_to_json(&bare, &a), &a, &back, &err), 0);
    assert_int_equal(back.kind, EVENT_TAG_DELETED);
    assert_null(back.project);
    assert_null(back.title);
    assert_false(back.confirm);
    assert_int_equal(back.images.n, 0);
}

static void json_refusals(void **state)
{
    (void)state;
    static const char *const texts_of[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"v\":1}",
        "{\"v\":0,\"kind\":\"merged\"}",
        "{\"v\":2,\"kind\":\"merged\"}",
        "{\"v\":\"1\",\"kind\":\"merged\"}",
        "{\"v\":1,\"kind\":\"fused\"}",
        "{\"v\":1,\"kind\":7}",
        "{\"v\":1,\"kind\":\"merged\",\"project\":7}",
        "{\"v\":1,\"kind\":\"merged\",\"project\":null}",
        "{\"v\":1,\"kind\":\"merged\",\"happened_at\":\"now\"}",
        "{\"v\":1,\"kind\":\"rollback\",\"of_task\":\"2\"}",
        "{\"v\":1,\"kind\":\"rollback\",\"of_task\":-2}",
        "{\"v\":1,\"kind\":\"merged\",\"images\":{}}",
        "{\"v\":1,\"kind\":\"merged\",\"images\":[7]}",
        "{\"v\":1,\"kind\":\"merged\",\"images\":[{\"tag\":7}]}",
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(texts_of); i++) {
        struct err err = ERR_INIT;
        struct event e;
        if (event_from_json(texts_of[i], &a, &e, &err) == 0)
            fail_msg("accepted: %s", texts_of[i]);
        assert_int_equal(err.kind, ERR_PERM);
        assert_true(*err.text);
    }
}

static void validation(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct event good = full_event(&a);
    assert_int_equal(event_validate(&good, &err), 0);
    static const struct {
        size_t offset;
        const char *value, *named;
    } cases[] = {
        {offsetof(struct event, forge), "a/b", "forge"},
        {offsetof(struct event, project), "../x", "project"},
        {offsetof(struct event, branch), "-x", "branch"},
        {offsetof(struct event, tag), "a b", "tag"},
        {offsetof(struct event, change), "x", "change"},
        {offsetof(struct event, change), "", "change"},
        {offsetof(struct event, patchset), "HEAD", "patchset"},
        {offsetof(struct event, change_url), "file:///x", "change_url"},
        {offsetof(struct event, order_commit), ZEROS, "order_commit"},
        {offsetof(struct event, list_commit), "abc", "list_commit"},
        {offsetof(struct event, staged_commit), "--x", "staged_commit"},
        {offsetof(struct event, tree), "", "tree"},
        {offsetof(struct event, run_id), "a b", "run_id"},
        {offsetof(struct event, default_branch), "..", "default_branch"},
        {offsetof(struct event, title), "a\nb", "title"},
        {offsetof(struct event, actor), "\x1b", "actor"},
        {offsetof(struct event, target), "reg.example.org/a b:c", "target"},
        {offsetof(struct event, hold), "\n", "hold"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event e = good;
        *(const char **)((char *)&e + cases[i].offset) = cases[i].value;
        assert_int_equal(event_validate(&e, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        if (!strstr(err.text, cases[i].named))
            fail_msg("\"%s\" does not name %s", err.text, cases[i].named);
    }
    struct event late = good, early = good, odd = good;
    late.happened_at = INT64_MAX;
    early.happened_at = -1;
    odd.kind = EVENT__MAX;
    assert_int_equal(event_validate(&late, &err), -1);
    assert_int_equal(event_validate(&early, &err), -1);
    assert_int_equal(event_validate(&odd, &err), -1);
}

static void validation_of_images(void **state)
{
    (void)state;
    static const struct event_image cases[] = {
        {NULL, "t", DIGEST},
        {"r.example.org/a", NULL, DIGEST},
        {"r.example.org/a", "t", NULL},
        {"r.example.org", "t", DIGEST},
        {"r.example.org/", "t", DIGEST},
        {"/a", "t", DIGEST},
        {"r.example.org/A", "t", DIGEST},
        {"r.example.org/../a", "t", DIGEST},
        {"r.example.org/a", "t/../x", DIGEST},
        {"r.example.org/a", "", DIGEST},
        {"r.example.org/a", "t", "sha256:abc"},
        {"r.example.org/a", "t", SHA256},
        {"r.example.org/a", "t", "sha256:../../../../etc/passwd"},
        {"r.example.org@evil/a", "t", DIGEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        struct event e = full_event(&a);
        *list_push(&a, &e.images) = cases[i];
        if (event_validate(&e, &err) == 0)
            fail_msg("accepted image %zu", i);
        assert_non_null(strstr(err.text, "image 3"));
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct event e = full_event(&a);
    while (e.images.n < LIMIT_IMAGES)
        *list_push(&a, &e.images) = e.images.at[0];
    assert_int_equal(event_validate(&e, NULL), 0);
    *list_push(&a, &e.images) = e.images.at[0];
    assert_int_equal(event_validate(&e, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projects),
        cmocka_unit_test(refs),
        cmocka_unit_test(commits_and_changes),
        cmocka_unit_test(urls_and_run_ids),
        cmocka_unit_test(kinds),
        cmocka_unit_test(set_ref),
        cmocka_unit_test(texts),
        cmocka_unit_test(json_is_lossless),
        cmocka_unit_test(json_refusals),
        cmocka_unit_test(validation),
        cmocka_unit_test(validation_of_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
