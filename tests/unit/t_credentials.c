#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/registry/certs.h"
#include "core/registry/credentials.h"
#include "tests/unit/peer.h"

/* A folder with helpers, which is put before PATH, and files of credentials. */
struct fixture {
    struct peer folder;
};

static const struct fixture *variables_of;

static void helper(const struct fixture *f, const char *name, const char *script)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *file = arena_printf(&a, "docker-credential-%s", name);
    peer_write(&f->folder, file,
               arena_printf(&a, "#!/bin/sh\nread server\necho \"$1 $server\" >> %s/asked\n%s\n",
                            f->folder.dir, script));
    assert_int_equal(chmod(peer_path(&a, &f->folder, file), 0755), 0);
}

static int set_up(void **state)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct fixture *f = xcalloc(1, sizeof *f);
    peer_dir(&f->folder);
    helper(f, "good",
           "echo '{\"ServerURL\":\"x\",\"Username\":\"robot\",\"Secret\":\"s3cret-of-helper\"}'");
    helper(f, "identity",
           "echo '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"refresh-token\"}'");
    helper(f, "env",
           "echo \"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"${LEAK:-none}-$HOME\\\"}\"");
    helper(f, "none", "echo 'credentials not found in native keychain'; exit 1");
    helper(f, "failing", "echo 'my-secret is broken'; echo 'my-secret' >&2; exit 3");
    helper(f, "garbage", "echo nonsense-my-secret");
    helper(f, "chatty", "head -c 100000 /dev/zero | tr '\\0' x");
    helper(f, "hanging", "sleep 60");
    assert_int_equal(setenv("PATH", arena_printf(&a, "%s:%s", f->folder.dir, getenv("PATH")), 1),
                     0);
    assert_int_equal(setenv("HOME", "/home-of-test", 1), 0);
    assert_int_equal(setenv("LEAK", "my-secret", 1), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    f->folder.pid = fork(); /* peer_stop ends one */
    if (f->folder.pid == 0)
        _exit(0);
    peer_stop(&f->folder);
    free(f);
    return 0;
}

static void test_helpers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        enum err_kind kind;
        const char *username, *password, *identity, *says;
    } table[] = {
        {"good", ERR_NONE, "robot", "s3cret-of-helper", NULL, ""},
        {"identity", ERR_NONE, NULL, NULL, "refresh-token", ""},
        {"env", ERR_NONE, "u", "none-/home-of-test", NULL, ""},
        {"none", ERR_NONE, NULL, NULL, NULL, ""},
        {"failing", ERR_PERM, NULL, NULL, NULL, "ended with status 3"},
        {"garbage", ERR_CONFIG, NULL, NULL, NULL, "no JSON object"},
        {"chatty", ERR_PERM, NULL, NULL, NULL, "docker-credential-chatty"},
        {"absent", ERR_CONFIG, NULL, NULL, NULL, "not found"},
        {"../good", ERR_CONFIG, NULL, NULL, NULL, "letters"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct credentials *c = credentials_new();
        struct credential out;
        struct err err = ERR_INIT;
        peer_write(&f->folder, "asked", "");
        int rc =
            credentials_find(c, table[i].name, "r.example.org:5000", "team/app", &a, &out, &err);
        print_message("%s: %s\n", table[i].name, err.text);
        assert_int_equal(rc, table[i].kind == ERR_NONE ? 0 : -1);
        assert_int_equal(err.kind, table[i].kind);
        assert_non_null(strstr(err.text, table[i].says));
        assert_null(strstr(err.text, "my-secret"));
        assert_true(str_eq(out.username, table[i].username));
        assert_true(str_eq(out.password, table[i].password));
        assert_true(str_eq(out.identity_token, table[i].identity));
        assert_int_equal(out.origin != NULL, table[i].username || table[i].identity);
        /* Once asked, the answer is kept, be it good or bad. */
        (void)credentials_find(c, table[i].name, "r.example.org:5000", "team/other", &a, &out,
                               &err);
        if (table[i].kind == ERR_NONE)
            assert_string_equal(peer_read(&a, &f->folder, "asked"), "get r.example.org:5000\n");
        if (out.origin) {
            credentials_forget(c, out.origin);
            (void)credentials_find(c, table[i].name, "r.example.org:5000", NULL, &a, &out, &err);
            assert_string_equal(peer_read(&a, &f->folder, "asked"),
                                "get r.example.org:5000\nget r.example.org:5000\n");
        }
        credentials_free(c);
    }
}

static void test_hanging(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct credentials *c = credentials_new();
    struct credential out;
    struct err err = ERR_INIT;
    int64_t began = clock_monotonic_ms();
    assert_int_equal(credentials_find(c, "hanging", "r.example.org", NULL, &a, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_in_range(clock_monotonic_ms() - began, LIMIT_HELPER_MS - 500, LIMIT_HELPER_MS + 3000);
    /* Not again at once: many requests would wait one after another. */
    assert_int_equal(credentials_find(c, "hanging", "r.example.org", NULL, &a, &out, &err), -1);
    assert_true(clock_monotonic_ms() - began < 2 * LIMIT_HELPER_MS);
    credentials_free(c);
}

static void test_hub_key(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct credentials *c = credentials_new();
    struct credential out;
    struct err err = ERR_INIT;
    peer_write(&f->folder, "asked", "");
    assert_int_equal(credentials_find(c, "good", "docker.io", "library/x", &a, &out, &err), 0);
    assert_string_equal(peer_read(&a, &f->folder, "asked"), "get https://index.docker.io/v1/\n");
    credentials_free(c);
}

#define AUTH "\"auth\":\"dTp3b3J0LWluLWRlci1kYXRlaQ==\"" /* u:wort-in-der-datei */

static void test_file(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *host, *name, *username, *password, *identity, *registry;
    } table[] = {
        {"quay.io", "org/app", "robot", "s", NULL, NULL},
        {"quay.io", "org/other", "u", "wort-in-der-datei", NULL, NULL},
        {"quay.io", NULL, "u", "wort-in-der-datei", NULL, NULL},
        {"acr.example.org", "x", NULL, NULL, "refresh", NULL},
        {"reg.example.org", "x", NULL, NULL, NULL, "bearer-as-it-is"},
        {"helped.example.org", "x", "robot", "s3cret-of-helper", NULL, NULL},
        {"nobody.example.org", "x", NULL, NULL, NULL, NULL},
    };
    peer_write(&f->folder, "auth.json",
               "{\"auths\":{\"quay.io\":{" AUTH "},\"quay.io/org/app\":{\"auth\":\"cm9ib3Q6cw==\"},"
               "\"acr.example.org\":{\"identitytoken\":\"refresh\"},"
               "\"reg.example.org\":{\"registrytoken\":\"bearer-as-it-is\"}},"
               "\"credHelpers\":{\"helped.example.org\":\"good\"}}");
    struct err err = ERR_INIT;
    struct credentials *c = credentials_from_file(peer_path(&a, &f->folder, "auth.json"), &err);
    assert_non_null(c);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct credential out;
        assert_int_equal(credentials_find(c, NULL, table[i].host, table[i].name, &a, &out, &err),
                         0);
        print_message("%s/%s: %s\n", table[i].host, table[i].name, out.origin);
        assert_true(str_eq(out.username, table[i].username));
        assert_true(str_eq(out.password, table[i].password));
        assert_true(str_eq(out.identity_token, table[i].identity));
        assert_true(str_eq(out.registry_token, table[i].registry));
        if (!out.identity_token)
            continue;
        credentials_replace(c, out.origin, "newer");
        assert_int_equal(credentials_find(c, NULL, table[i].host, table[i].name, &a, &out, &err),
                         0);
        assert_string_equal(out.identity_token, "newer");
    }
    /* The operator's own helper goes first; when it has nothing, the file counts. */
    struct credential out;
    assert_int_equal(credentials_find(c, "good", "quay.io", "org/app", &a, &out, &err), 0);
    assert_string_equal(out.password, "s3cret-of-helper");
    assert_int_equal(credentials_find(c, "none", "quay.io", "org/app", &a, &out, &err), 0);
    assert_string_equal(out.password, "s");
    assert_int_equal(credentials_find(c, "failing", "quay.io", "org/app", &a, &out, &err), -1);
    credentials_free(c);
    peer_write(&f->folder, "bad.json", "{\"auths\": [");
    assert_null(credentials_from_file(peer_path(&a, &f->folder, "bad.json"), &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(credentials_from_file(peer_path(&a, &f->folder, "absent.json"), &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "absent.json"));
}

static const char *variable(const char *name)
{
    static char text[4][128];
    static const char *const names[] = {"XDG_RUNTIME_DIR", "HOME", "DOCKER_CONFIG"};
    static const char *const dirs[] = {"run", "home", "docker"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, names[i])) {
            (void)snprintf(text[i], sizeof text[i], "%s/%s", variables_of->folder.dir, dirs[i]);
            return text[i];
        }
    return NULL;
}

/* Each place counts for the hosts that no earlier one has something for. */
static void test_places(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    static const char *const files[][2] = {
        {"run/containers/auth.json", "one.example.org"},
        {"home/.config/containers/auth.json", "two.example.org"},
        {"docker/config.json", "three.example.org"},
        {"home/.docker/config.json", "never.example.org"}, /* DOCKER_CONFIG is set */
    };
    static const char *const dirs[] = {
        "run",          "run/containers", "home", "home/.config", "home/.config/containers",
        "home/.docker", "docker",
    };
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        assert_int_equal(mkdir(peer_path(&a, &f->folder, dirs[i]), 0700), 0);
    variables_of = f;
    struct credentials *c = credentials_of_user(variable, &err);
    assert_non_null(c); /* none of them is there yet */
    credentials_free(c);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        peer_write(&f->folder, files[i][0],
                   arena_printf(&a,
                                "{\"auths\":{\"%s\":{" AUTH "},\"all.example.org\":{"
                                "\"registrytoken\":\"%s\"}}}",
                                files[i][1], files[i][0]));
    c = credentials_of_user(variable, &err);
    assert_non_null(c);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct credential out;
        assert_int_equal(credentials_find(c, NULL, files[i][1], "x", &a, &out, &err), 0);
        assert_int_equal(out.username != NULL, i < 3);
        assert_int_equal(credentials_find(c, NULL, "all.example.org", "x", &a, &out, &err), 0);
        assert_string_equal(out.registry_token, files[0][0]);
    }
    credentials_free(c);
    peer_write(&f->folder, files[2][0], "nonsense");
    assert_null(credentials_of_user(variable, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "docker/config.json"));
}

static void test_certs(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct http_via via = {0};
    struct str_list dirs = {0};
    *list_push(&a, &dirs) = "/nonexistent";
    *list_push(&a, &dirs) = "tests/fixtures/settings/certs.d";
    assert_int_equal(certs_find(&dirs, "none.example.org", &a, &via, &err), 0);
    assert_null(via.ca_dir);
    assert_int_equal(certs_find(&dirs, "certs.example.org", &a, &via, &err), 0);
    assert_true(str_ends(via.ca_dir, "/certs.example.org"));
    assert_true(str_ends(via.client_cert, "/client.cert"));
    assert_true(str_ends(via.client_key, "/client.key"));
    via = (struct http_via){.ca_file = "own"};
    assert_int_equal(certs_find(&dirs, "certs.example.org", &a, &via, &err), 0);
    assert_null(via.ca_dir);
    via = (struct http_via){0};
    assert_int_equal(certs_find(&dirs, "half.example.org", &a, &via, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_helpers), cmocka_unit_test(test_hub_key),
        cmocka_unit_test(test_file),    cmocka_unit_test(test_places),
        cmocka_unit_test(test_certs),   cmocka_unit_test(test_hanging),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
