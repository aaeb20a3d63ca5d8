#include "core/base/base.h"

#include "config/secret.h"
#include "config/settings.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/fs.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/*
 * valid/x.yaml must give the warnings and the values in x.expect, invalid/x.yaml the errors in
 * x.expect; a folder holds slipway.yaml and conf.d/. The first line names the roles. With
 * UPDATE_EXPECT=1 in the environment the texts are written instead: read them before keeping them.
 */
#define FIXTURES "tests/fixtures/settings"
#define SECRET "hunter2hunter2"
#define OTHER "correct horse battery"
#define HOOK "what the review hook knows"
/* {user "puller", password SECRET} at a registry; indented, as podman writes it. */
#define PULL "cHVsbGVyOmh1bnRlcjJodW50ZXIy"
#define PULL_FILE                                                                                  \
    "{\n\t\"auths\": {\n\t\t\"registry.example.org\": {\n\t\t\t\"auth\": \"" PULL                  \
    "\"\n\t\t},\n\t\t\"https://index.docker.io/v1/\": {},\n\t\t\"quay.io/team\": {\"auth\": "      \
    "\"" PULL "\"}\n\t}\n}\n"

static void without_folder(struct strbuf *text, const char *dir)
{
    size_t len = strlen(dir);
    for (char *p = text->buf; (p = strstr(p, dir));)
        memmove(p, p + len, strlen(p + len) + 1);
    text->len = strlen(text->buf);
}

static unsigned roles_of(const char *path)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct err err = ERR_INIT;
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    assert_true(str_starts(text.buf, "# roles: "));
    *strchr(text.buf, '\n') = '\0';
    return (strstr(text.buf, "serve") ? SETTINGS_SERVE : 0U) |
           (strstr(text.buf, "work") ? SETTINGS_WORK : 0U);
}

/* What people are told about a file: findings, then values. */
static bool load(const char *path, unsigned roles, struct strbuf *out)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct settings *s = settings_load(path, roles, &diags);
    assert_int_equal(s == NULL, diags.errors > 0);
    diag_format(&diags, out);
    if (s)
        settings_print(s, out);
    settings_free(s);
    assert_false(out->full);
    return s != NULL;
}

static void compare(const char *path, const char *expect, const struct strbuf *got)
{
    struct err err = ERR_INIT;
    struct strbuf want CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    if (getenv("UPDATE_EXPECT")) {
        assert_int_equal(fs_replace_file(expect, got->buf, got->len, 0644, &err), 0);
        return;
    }
    if (fs_read_file(expect, &want, &err) < 0)
        fail_msg("%s", err.text);
    if (!str_eq(want.buf, got->buf))
        fail_msg("%s\n--- want\n%s--- got\n%s---", path, want.buf, got->buf);
}

static void check_fixture(const char *dir, const char *name, bool valid)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf got CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    bool file = str_ends(name, ".yaml");
    const char *path = file ? arena_printf(&a, "%s/%s", dir, name)
                            : arena_printf(&a, "%s/%s/slipway.yaml", dir, name);
    const char *base = arena_strndup(&a, name, strlen(name) - (file ? strlen(".yaml") : 0));
    bool ok = load(path, roles_of(path), &got);
    without_folder(&got, arena_printf(&a, "%s/", dir));
    if (ok != valid)
        fail_msg("%s is %s\n%s", path, ok ? "valid" : "invalid", got.buf);
    if (strstr(got.buf, SECRET) || strstr(got.buf, OTHER) || strstr(got.buf, HOOK) ||
        strstr(got.buf, PULL) || strstr(got.buf, "puller") || strstr(got.buf, "1234567890"))
        fail_msg("%s: a secret is shown\n%s", path, got.buf);
    compare(path, arena_printf(&a, "%s/%s.expect", dir, base), &got);
}

static void check_all(const char *dir, bool valid)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    struct err err = ERR_INIT;
    assert_int_equal(fs_list(dir, "", &a, &names, &err), 0);
    size_t n = 0;
    for (size_t i = 0; i < names.n; i++) {
        if (str_ends(names.at[i], ".expect"))
            continue;
        check_fixture(dir, names.at[i], valid);
        n++;
    }
    assert_true(n > 2);
}

static void test_valid(void **state)
{
    (void)state;
    check_all(FIXTURES "/valid", true);
}

static void test_invalid(void **state)
{
    (void)state;
    check_all(FIXTURES "/invalid", false);
}

static void test_example(void **state)
{
    (void)state;
    struct strbuf got CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    if (!load("config/slipway.example.yaml", SETTINGS_NONE, &got))
        fail_msg("%s", got.buf);
    assert_null(strstr(got.buf, "warning"));
}

static void test_values(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct settings *s =
        settings_load(FIXTURES "/valid/everything.yaml", SETTINGS_SERVE | SETTINGS_WORK, &diags);
    assert_non_null(s);
    assert_string_equal(s->base_path, "/ci/slipway");
    assert_string_equal(s->store, "sqlite:" FIXTURES "/valid/state/slipway.db");
    assert_string_equal(s->listen, FIXTURES "/valid/slipway.sock");
    assert_int_equal(s->body_max, 512 * 1024);
    assert_int_equal(s->keep_ignored_s, 36 * 3600);
    const struct forge_conf *f = settings_forge(s, "review");
    assert_non_null(f);
    assert_string_equal(f->url, "https://review.example.org/r");
    assert_string_equal(f->git, "ssh://ci@review.example.org:29418");
    assert_int_equal(f->hook_secrets.n, 2);
    assert_string_equal(f->hook_secrets.at[0], HOOK);
    assert_string_equal(f->hook_secrets.at[1], OTHER);
    assert_string_equal(f->password, SECRET);
    assert_string_equal(settings_forge(s, "github")->token, OTHER);
    assert_null(settings_forge(s, "nobody"));
    assert_int_equal(s->registries.n, 5);
    assert_string_equal(s->registries.at[1].password, OTHER); /* by `<<` */
    assert_int_equal(s->registries.at[0].realms.n, 2);
    assert_string_equal(s->registries.at[3].api_password, SECRET);
    assert_int_equal(s->registries.at[3].chunk, MIB(4));
    assert_string_equal(s->auth_file, "user");
    assert_int_equal(s->zuuls.n, 2);
    assert_string_equal(s->zuuls.at[0].name, "main");
    assert_string_equal(s->zuuls.at[0].api, "https://zuul.example.org/api/tenant/t");
    assert_string_equal(s->zuuls.at[0].intermediate, "other.example.org:5000");
    assert_true(str_ends(s->zuuls.at[0].ca_file, "/certs.d/certs.example.org/ca.crt"));
    assert_null(s->zuuls.at[1].intermediate);
    const struct policy_project *p = policy_find(&s->policy, "review", "team/app");
    assert_ptr_equal(p, &s->policy.at[0]);
    assert_true(p->anywhere && p->may_build[PIPELINE_GATE] && p->may_build[PIPELINE_TAG]);
    assert_false(p->may_build[PIPELINE_PROMOTE]);
    assert_int_equal(p->wait_for_staged_s, 1200);
    assert_int_equal(p->mode, POLICY_SHADOW);
    assert_true(policy_may_publish(p, "localhost:5000/a/b"));
    assert_false(policy_may_publish(p, "registry.example.org/team/a/b"));
    assert_int_equal(p->require_signature.n, 2);
    assert_non_null(p->require_signature.at[1].key);
    assert_string_equal(p->build_pull, PULL_FILE);
    char shown[] = "the builder said " PULL;
    assert_true(log_redact(shown));
    assert_null(strstr(shown, PULL));
    p = policy_find(&s->policy, "review", "team/app/x");
    assert_int_equal(p->require_signature.n, 0);
    assert_ptr_equal(p, &s->policy.at[1]);
    assert_true(p->immutable_given && !p->immutable.n);
    assert_true(p->may_build[PIPELINE_PROMOTE] && !p->may_build[PIPELINE_GATE]);
    assert_int_equal(p->wait_for_staged_s, LIMIT_WAIT_STAGED_S);
    settings_free(s);
}

/* Each role gets its own secrets and nothing else. */
static void test_roles(void **state)
{
    (void)state;
    static const unsigned roles[] = {SETTINGS_NONE, SETTINGS_SERVE, SETTINGS_WORK};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct diags diags = {.arena = &a};
        const struct settings *s =
            settings_load(FIXTURES "/valid/everything.yaml", roles[i], &diags);
        assert_non_null(s);
        bool serve = roles[i] == SETTINGS_SERVE, work = roles[i] == SETTINGS_WORK;
        const struct forge_conf *f = settings_forge(s, "review");
        assert_int_equal(f->hook_secrets.n, serve ? 2 : 0);
        assert_int_equal(f->password != NULL, work);
        assert_int_equal(f->username != NULL, work);
        assert_int_equal(settings_forge(s, "github")->token != NULL, work);
        assert_int_equal(s->registries.at[0].password != NULL, work);
        assert_int_equal(s->registries.at[0].username != NULL, work);
        assert_int_equal(s->registries.at[3].api_password != NULL, work);
        assert_int_equal(s->registries.at[3].api_username != NULL, work);
        assert_int_equal(s->registries.at[3].credential_helper != NULL, work);
        assert_int_equal(s->registries.at[4].via.client_key != NULL, work);
        assert_int_equal(s->auth_file != NULL, work);
        assert_int_equal(s->policy.at[0].build_pull != NULL, work);
        assert_null(s->policy.at[1].build_pull);
        assert_int_equal(s->policy.at[0].require_signature.n, 2);
        assert_int_equal(s->policy.at[0].require_signature.at[0].key != NULL, work);
        settings_free(s);
    }
}

/* ---- secrets in files ---- */

static char folder[] = "/tmp/slipway-t-settings-XXXXXX";

static const struct {
    const char *content;
    size_t len;
    mode_t mode;
    const char *want; /* NULL: an error */
    const char *says; /* of the error */
} files[] = {
    {"topsecret\n", 10, 0600, "topsecret", NULL},
    {"topsecret", 9, 0640, "topsecret", NULL},
    {"topsecret\r\n", 11, 0400, "topsecret", NULL},
    {" top secret ", 12, 0600, " top secret ", NULL},
    {"", 0, 0600, NULL, "is empty"},
    {"\n", 1, 0600, NULL, "is empty"},
    {"topsecret\n", 10, 0644, NULL, "is open to everybody (mode 0644)"},
    {"topsecret\n", 10, 0602, NULL, "is open to everybody (mode 0602)"},
    {"topsecret\n", 10, 0601, NULL, "is open to everybody (mode 0601)"},
    {"topsecret\n\n", 11, 0600, NULL, "line break"},
    {"top\0secret\n", 11, 0600, NULL, "control character"},
};

static void write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    struct err err = ERR_INIT;
    assert_int_equal(fs_replace_file(path, data, len, mode, &err), 0);
}

static int read_back(const char *text, struct arena *a, const char **out, struct err *err)
{
    const char *ref;
    if (secret_check(text, folder, a, &ref, err) < 0)
        return -1;
    return secret_read(ref, a, out, err);
}

static void test_secret_files(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *path = arena_printf(&a, "%s/secret", folder), *got;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct err err = ERR_INIT;
        write_file(path, files[i].content, files[i].len, files[i].mode);
        int rc = read_back("file:secret", &a, &got, &err);
        if (files[i].want) {
            if (rc < 0)
                fail_msg("file %zu: %s", i, err.text);
            assert_string_equal(got, files[i].want);
            continue;
        }
        if (rc == 0 || !strstr(err.text, files[i].says) || strstr(err.text, "topsecret") ||
            !strstr(err.text, path) || err.kind != ERR_CONFIG)
            fail_msg("file %zu: %d %s", i, rc, err.text);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    struct err err = ERR_INIT;
    assert_int_equal(read_back("file:secret", &a, &got, &err), -1);
    assert_non_null(strstr(err.text, "is not a regular file"));
    assert_int_equal(unlink(path), 0);
}

static void test_long_secret(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *path = arena_printf(&a, "%s/secret", folder), *got;
    char *text CLEANUP(cleanup_free) = xmalloc(LIMIT_TOKEN + 1);
    memset(text, 'x', LIMIT_TOKEN + 1);
    write_file(path, text, LIMIT_TOKEN + 1, 0600);
    assert_int_equal(read_back("file:secret", &a, &got, &err), -1);
    assert_non_null(strstr(err.text, "longer than"));
    write_file(path, text, LIMIT_TOKEN, 0600);
    assert_int_equal(read_back(arena_printf(&a, "file:%s", path), &a, &got, &err), 0);
    assert_int_equal(strlen(got), LIMIT_TOKEN);
    assert_int_equal(unlink(path), 0);
}

static void test_credential(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *path = arena_printf(&a, "%s/hook", folder), *got;
    write_file(path, "topsecret\n", 10, 0444); /* systemd guards the folder */
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    assert_int_equal(read_back("credential:hook", &a, &got, &err), 0);
    assert_string_equal(got, "topsecret");
    assert_int_equal(read_back("credential:other", &a, &got, &err), -1);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(read_back("credential:hook", &a, &got, &err), -1);
    assert_non_null(strstr(err.text, "$CREDENTIALS_DIRECTORY is not set"));
    assert_int_equal(unlink(path), 0);
}

static void test_unreadable(void **state)
{
    (void)state;
    struct strbuf got CLEANUP_STRBUF = STRBUF_INIT(KIB(4));
    assert_false(load("/nonexistent/slipway.yaml", SETTINGS_NONE, &got));
    assert_string_equal(got.buf, "/nonexistent/slipway.yaml: error: can't be read: No such file or "
                                 "directory\n");
    strbuf_reset(&got);
    assert_false(load(folder, SETTINGS_NONE, &got));
    assert_non_null(strstr(got.buf, "not a regular file"));
}

static int setup(void **state)
{
    (void)state;
    (void)unsetenv("SLIPWAY_TEST_UNSET");
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    return setenv("SLIPWAY_TEST_SECRET", SECRET, 1) || setenv("SLIPWAY_TEST_HOOK", HOOK, 1) ||
           setenv("SLIPWAY_TEST_HOOK_2", HOOK " 2", 1) ||
           setenv("SLIPWAY_TEST_HOOK_3", HOOK " 3", 1) || setenv("SLIPWAY_TEST_OTHER", OTHER, 1) ||
           setenv("SLIPWAY_TEST_EMPTY", "", 1) || setenv("SLIPWAY_TEST_PULL", PULL_FILE, 1) ||
           setenv("SLIPWAY_TEST_PULL_HELPER", "{\"credsStore\": \"pass\", \"auths\": {}}", 1) ||
           setenv("SLIPWAY_TEST_PULL_BROKEN",
                  "{\"auths\": {\"r.example.org\": {\"auth\": \"hunter2hunter2!\"}}}", 1) ||
           setenv("SLIPWAY_TEST_PULL_EMPTY", "{\"auths\": {}}", 1) ||
           setenv("SLIPWAY_TEST_LINES", "hunter2\nhunter2", 1) || !mkdtemp(folder);
}

static int teardown(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    return fs_remove_tree(folder, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),       cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_example),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_roles),       cmocka_unit_test(test_secret_files),
        cmocka_unit_test(test_long_secret), cmocka_unit_test(test_credential),
        cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
