/* The pure half of core/git: names, argument lists, answers. */
#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/git/git.h"
#include "core/git/git_argv.h"

static void checks_urls(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://review.example.org/team/app",
        "https://h:8443/p.git",
        "http://127.0.0.1:8080/x",
        "ssh://git@example.org:29418/team/app",
        "ssh://example.org/~u/x",
        "file:///srv/git/x.git",
        "https://[::1]:3000/x",
        "https://h/-dash/--x",
        "https://h/a%20b",
    };
    static const char *const bad[] = {
        "",
        "-x",
        "--upload-pack=x",
        "ext::sh -c touch% /tmp/x",
        "git://h/x",
        "ftp://h/x",
        "/srv/git/x",
        "git@h:x",
        "https://user:secret@h/x",
        "https://token@h/x",
        "ssh://git:secret@h/x",
        "ssh://-oProxyCommand=x/y",
        "ssh://-x@h/y",
        "ssh://@h/y",
        "https:///x",
        "https://h",
        "https://h/a b",
        "https://h/a\"b",
        "https://h/a\nb",
        "https://h\\x/y",
        "https://*.org/x",
        "file://",
        "HTTPS://h/x",
    };
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (git_check_url(good[i], &err) < 0)
            fail_msg("%s: %s", good[i], err.text);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (git_check_url(bad[i], &err) == 0)
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(strstr(err.text, "secret"));
    }
    assert_int_equal(git_check_url(NULL, &err), -1);
}

static void reads_answers(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *text;
        enum git_trouble trouble;
    } cases[] = {
        {"fatal: remote error: upload-pack: not our ref 0123", GIT_TROUBLE_GONE},
        {"fatal: remote error: want 0123 not valid", GIT_TROUBLE_REFUSED},
        {"error: Server does not allow request for unadvertised object 0", GIT_TROUBLE_REFUSED},
        {"fatal: couldn't find remote ref refs/heads/x", GIT_TROUBLE_NO_REF},
        {"fatal: Authentication failed for 'https://h/x/'", GIT_TROUBLE_ACCESS},
        {"fatal: repository 'https://h/x/' not found", GIT_TROUBLE_ACCESS},
        {"fatal: unable to access 'https://h/': The requested URL returned error: 503",
         GIT_TROUBLE_NETWORK},
        {"fatal: unable to access 'https://h/': Could not resolve host: h", GIT_TROUBLE_NETWORK},
        {"fatal: unable to access 'https://h/': SSL certificate problem: x", GIT_TROUBLE_TRUST},
        {"", GIT_TROUBLE_NETWORK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(git_classify(cases[i].text), cases[i].trouble);
    char brief[16];
    git_brief("warning: x\nfatal: a\x1b[31mlong line here\n", brief, sizeof brief);
    assert_string_equal(brief, "fatal: a?[31mlo");

    /* Cut-off and hostile batch answers. */
    static const char *const cut[] = {"", "abc",
                                      "0123456789012345678901234567890123456789 blob 5\nab",
                                      "0123456789012345678901234567890123456789 blob 5\nabcde"};
    for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
        const char *at = cut[i];
        size_t left = strlen(at);
        struct git_object o;
        assert_false(git_batch_next(&a, &at, &left, &o));
    }
    const char *at = "x 1 missing\n0123456789012345678901234567890123456789 blob "
                     "99999999999999999999\n";
    size_t left = strlen(at);
    struct git_object o;
    assert_true(git_batch_next(&a, &at, &left, &o));
    assert_null(o.type);
    assert_true(git_batch_next(&a, &at, &left, &o));
    assert_null(o.type);
    /* Raw trees: cut in the middle of a name, of a hash. */
    struct git_object tree = {.type = "tree", .data = "100644 a", .len = 8};
    assert_int_equal(git_tree_mode(&tree, "a", 20), 0);
    tree = (struct git_object){.type = "tree", .data = "100644 a\0xxxx", .len = 13};
    assert_int_equal(git_tree_mode(&tree, "a", 20), 0);
}

static void argv_hides_behind_end_of_options(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct git_call call = {.git_dir = "/c", .auth_fd = 7, .filter = GIT_FILTER_BLOBS};
    const char *spec = "+x:y";
    struct str_list specs = {&spec, 1, 1};
    struct str_list argv = git_argv_fetch(&a, &call, true, false, &specs);
    assert_string_equal(argv.at[argv.n - 3], "--end-of-options");
    assert_string_equal(argv.at[argv.n - 2], "origin");
    assert_true(str_in("include.path=/proc/self/fd/7", &argv));
    assert_true(str_in("--depth=1", &argv));
    assert_true(str_in("credential.helper=", &argv));
    struct strbuf b CLEANUP_STRBUF = STRBUF_INIT(1000);
    git_auth_config(&b, git_url_origin(&a, "https://h:1/a/b"), "Zm9v");
    assert_string_equal(b.buf,
                        "[http \"https://h:1/\"]\n\textraHeader = \"Authorization: Basic Zm9v\"\n");
    assert_null(git_url_origin(&a, "ssh://h/x"));
}

static const char some[] = "0123456789012345678901234567890123456789";

static void expect_refused(struct git *g, const struct git_remote *r, const char *commit,
                           const char *path, enum err_kind kind)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *content;
    size_t len;
    bool missing;
    assert_int_equal(git_read_file(g, r, commit, path, &a, &content, &len, &missing, &err), -1);
    assert_int_equal(err.kind, kind);
}

/* Refused before anything is touched: there is no such cache and no such repository. */
static void refuses_hostile_names(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct git_remote r = {.url = "file:///nonexistent/repo"};
    struct git_opts opts = {.cache_dir = "/nonexistent/cache"};
    struct git *g = git_new(&opts, &err);
    assert_non_null(g);
    const char *text = NULL;
    static const char *const urls[] = {"ext::sh -c exit", "--upload-pack=x", "https://u:p@h/x", ""};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct git_remote bad = {.url = urls[i]};
        expect_refused(g, &bad, some, "x", ERR_CONFIG);
    }
    static const char *const refs[] = {"-v",     "--upload-pack=touch /tmp/x",
                                       "a..b",   "a b",
                                       "a\nb",   "",
                                       "a.lock", "/a",
                                       "a//b",   "a/",
                                       "x^{}",   "*",
                                       "@",      "a@{1}",
                                       ".a",     "b/.a",
                                       "a.",     "a~1",
                                       "a:b",    "a\\b",
                                       "a\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        assert_int_equal(git_resolve_tag(g, &r, refs[i], &a, &text, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        bool on;
        assert_int_equal(git_on_branch(g, &r, some, refs[i], &on, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    static const char *const paths[] = {"",   "/etc/passwd", "../x", "a/../b", "a//b",
                                        "a/", "./a",         "a\nb", "a/."};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        expect_refused(g, &r, some, paths[i], ERR_INPUT);
    }
    static const char *const objects[] = {"",
                                          "HEAD",
                                          "main",
                                          "-x",
                                          "abc123",
                                          "0123456789012345678901234567890123456789 ",
                                          "--output=/tmp/x0123456789012345678901234",
                                          "ABCDEF6789012345678901234567890123456789"};
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        expect_refused(g, &r, objects[i], "x", ERR_INPUT);
        enum ancestry out;
        assert_int_equal(git_ancestry(g, &r, some, objects[i], &out, &err), -1);
        assert_int_equal(git_peel(g, &r, objects[i], &a, &text, &err), -1);
    }
    git_free(g);
    opts.cache_dir = "relative";
    assert_null(git_new(&opts, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_urls),
        cmocka_unit_test(refuses_hostile_names),
        cmocka_unit_test(reads_answers),
        cmocka_unit_test(argv_hides_behind_end_of_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
