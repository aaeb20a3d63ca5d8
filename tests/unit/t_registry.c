#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/registry_help.h"

#include <errno.h>

/* Against Debian's docker-registry 2.8.2: with deletion, without it, and with Basic auth. */
struct fixture {
    struct peer on, off, basic;
    struct client con, coff;
    size_t log_seen; /* bytes of the access log of `on` that were counted */
};

/* The methods of the requests since the last look, "PUT DELETE HEAD", from the access log. */
static const char *requests(struct arena *a, const struct peer *p, size_t *seen)
{
    size_t before = 0;
    char *log = peer_read(a, p, "out");
    for (int calm = 0; calm < 3; calm++) {
        peer_pause(40);
        log = peer_read(a, p, "out");
        if (strlen(log) != before)
            calm = 0;
        before = strlen(log);
    }
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(4096);
    for (char *line = log + *seen; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *quote = strchr(line, '"'), *end = strchr(line, '\n');
        if (end && quote && quote < end)
            (void)strbuf_addf(&out, "%s%.*s", out.len ? " " : "", (int)strcspn(quote + 1, " "),
                              quote + 1);
    }
    *seen = before;
    return strbuf_to_arena(&out, a);
}

static void test_index_verbatim(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->con;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_op one =
        put(c, &a, "team/app", NULL, MANIFEST_OCI, make_image(c, &a, "team/app", "amd64"));
    struct registry_op two =
        put(c, &a, "team/app", NULL, MANIFEST_OCI, make_image(c, &a, "team/app", "arm64"));
    assert_false(one.failed || two.failed);
    const char *index = arena_printf(
        &a,
        "{\"schemaVersion\":2,\n\n\t\"mediaType\":\"%s\",\"manifests\":[\n"
        "{\"mediaType\":\"%s\",\"size\":%zu,\"digest\":\"%s\",\"platform\":{\"architecture\":"
        "\"amd64\",\"os\":\"linux\"}},\n"
        "{\"mediaType\":\"%s\",\"size\":%zu,\"digest\":\"%s\",\"platform\":{\"architecture\":"
        "\"arm64\",\"os\":\"linux\"}}\n],\"annotations\":{\"\\u00e4\":\"\xc3\xa4\"} }  \n",
        MANIFEST_OCI_INDEX, MANIFEST_OCI, one.len, one.digest, MANIFEST_OCI, two.len, two.digest);
    struct registry_op pushed =
        put(c, &a, "team/app", "change_7_latest", MANIFEST_OCI_INDEX, index);
    assert_false(pushed.failed);
    struct registry_op got = ask(c, &a, REGISTRY_GET, "team/app", "change_7_latest");
    assert_false(got.failed || got.absent);
    assert_string_equal(got.digest, pushed.digest);
    assert_string_equal(got.media_type, MANIFEST_OCI_INDEX);
    assert_int_equal(got.len, strlen(index));
    assert_memory_equal(got.bytes, index, got.len);
    /* What was got is put elsewhere as it is. */
    got.verb = REGISTRY_PUT;
    got.ref = "latest";
    assert_int_equal(registry_all(c->registry, &a, &got, 1), 0);
    struct registry_op seen = ask(c, &a, REGISTRY_HEAD, "team/app", "latest");
    assert_string_equal(seen.digest, pushed.digest);
    assert_string_equal(seen.media_type, MANIFEST_OCI_INDEX);
    assert_null(seen.bytes);
    struct registry_op by_digest = ask(c, &a, REGISTRY_GET, "team/app", pushed.digest);
    assert_memory_equal(by_digest.bytes, index, strlen(index));
}

static void test_absent(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"team/app", "no/such/repository"};
    static const char *const refs[] = {
        "no-such-tag", "sha256:0000000000000000000000000000000000000000000000000000000000000000"};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            struct arena a CLEANUP(arena_release) = ARENA_INIT;
            struct registry_op get = ask(&f->con, &a, REGISTRY_GET, names[i], refs[k]);
            struct registry_op head = ask(&f->con, &a, REGISTRY_HEAD, names[i], refs[k]);
            assert_true(get.absent && head.absent);
            assert_false(get.failed || head.failed);
        }
}

static void test_our_mistakes(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const struct {
        const char *host, *name, *ref;
        enum err_kind kind;
    } table[] = {
        {"other.example.org", "team/app", "latest", ERR_CONFIG},
        {NULL, "team/../app", "latest", ERR_BUG},
        {NULL, "team/app", "la/test", ERR_BUG},
        {NULL, "team/app", "", ERR_BUG},
        {NULL, "team/app?x", "latest", ERR_BUG},
        {NULL, "team/app", "sha256:12", ERR_BUG},
    };
    (void)requests(&a, &f->on, &f->log_seen);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct registry_op op = {.verb = REGISTRY_GET,
                                 .host = table[i].host ? table[i].host : f->on.host,
                                 .name = table[i].name,
                                 .ref = table[i].ref};
        assert_int_equal(registry_all(f->con.registry, &a, &op, 1), 1);
        assert_true(op.failed);
        assert_int_equal(op.err.kind, table[i].kind);
    }
    struct registry_op op = {.verb = REGISTRY_PUT,
                             .host = f->on.host,
                             .name = "team/app",
                             .ref = "latest",
                             .media_type = MANIFEST_OCI,
                             .bytes = "{}",
                             .len = 2,
                             .digest = "sha256:0000000000000000000000000000000000000000000000000000"
                                       "000000000000"};
    assert_int_equal(registry_all(f->con.registry, &a, &op, 1), 1);
    assert_int_equal(op.err.kind, ERR_BUG);
    assert_string_equal(requests(&a, &f->on, &f->log_seen), "");
}

static void test_refused_push(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *image = arena_printf(
        &a,
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"x\",\"digest\":"
        "\"sha256:%064d\",\"size\":1},\"layers\":[]}",
        MANIFEST_OCI, 7);
    struct registry_op op = put(&f->con, &a, "team/app", "broken", MANIFEST_OCI, image);
    assert_true(op.failed);
    assert_int_equal(op.err.kind, ERR_PERM);
    assert_int_equal(op.err.code, 400);
    assert_non_null(strstr(op.err.text, "could not push team/app:broken: 400"));
    assert_non_null(strstr(op.err.text, "BLOB_UNKNOWN"));
    assert_true(ask(&f->con, &a, REGISTRY_HEAD, "team/app", "broken").absent);
}

static void test_basic(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    size_t seen = 0;
    client_open(&c, f->basic.host, "ci", PASSWORD);
    const char *image = make_image(&c, &a, "team/app", "x");
    (void)requests(&a, &f->basic, &seen);
    assert_false(put(&c, &a, "team/app", "v1", MANIFEST_OCI, image).failed);
    assert_string_equal(requests(&a, &f->basic, &seen), "PUT PUT"); /* 401, then with credentials */
    assert_false(ask(&c, &a, REGISTRY_GET, "team/app", "v1").failed);
    assert_true(ask(&c, &a, REGISTRY_HEAD, "team/other", "v1").absent);
    assert_string_equal(requests(&a, &f->basic, &seen), "GET HEAD");
    client_close(&c);

    client_open(&c, f->basic.host, "ci", "wrong-password");
    struct registry_op op = ask(&c, &a, REGISTRY_HEAD, "team/app", "v1");
    assert_true(op.failed && !op.absent);
    assert_int_equal(op.err.kind, ERR_PERM);
    assert_int_equal(op.err.code, 401);
    assert_non_null(strstr(op.err.text, "refused to look at team/app:v1: 401"));
    assert_non_null(strstr(op.err.text, "check the credentials"));
    assert_null(strstr(op.err.text, "wrong-password"));
    assert_string_equal(requests(&a, &f->basic, &seen), "HEAD HEAD");
    op = put(&c, &a, "team/app", "v1", MANIFEST_OCI, image);
    assert_non_null(strstr(op.err.text, "refused to push team/app:v1: 401 UNAUTHORIZED"));
    assert_string_equal(requests(&a, &f->basic, &seen), "PUT"); /* no better to send */
    client_close(&c);

    client_open(&c, f->basic.host, NULL, NULL);
    op = ask(&c, &a, REGISTRY_GET, "team/app", "v1");
    assert_int_equal(op.err.kind, ERR_CONFIG);
    assert_non_null(strstr(op.err.text, "none are configured"));
    client_close(&c);
}

/* Stages an image and promotes it: both tags show one digest, which is returned. */
static const char *promote(struct client *c, struct arena *a, const char *name, const char *seed,
                           const char *staged)
{
    const char *image = make_image(c, a, name, seed);
    struct registry_op op = put(c, a, name, staged, MANIFEST_OCI, image);
    assert_false(op.failed);
    assert_false(put(c, a, name, "latest", MANIFEST_OCI, image).failed);
    return op.digest;
}

static void test_remove(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->con;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err;
    enum registry_removal out;
    const char *digest = promote(c, &a, "team/rm", "1", "change_1_latest");
    (void)requests(&a, &f->on, &f->log_seen);
    assert_int_equal(
        remove_tag(c, &a, "team/rm", "change_1_latest", digest, true, "latest", digest, &out, &err),
        0);
    assert_int_equal(out, REMOVAL_DONE);
    /* tag deletion refused, right proven, isolated, gone, kept. */
    assert_string_equal(requests(&a, &f->on, &f->log_seen), "DELETE DELETE PUT DELETE HEAD HEAD");
    assert_true(ask(c, &a, REGISTRY_HEAD, "team/rm", "change_1_latest").absent);
    assert_string_equal(ask(c, &a, REGISTRY_GET, "team/rm", "latest").digest, digest);

    digest = promote(c, &a, "team/rm", "2", "change_2_latest");
    (void)requests(&a, &f->on, &f->log_seen);
    assert_int_equal(
        remove_tag(c, &a, "team/rm", "change_2_latest", digest, true, "latest", digest, &out, &err),
        0);
    assert_int_equal(out, REMOVAL_DONE);
    assert_string_equal(requests(&a, &f->on, &f->log_seen), "PUT DELETE HEAD");
    assert_true(ask(c, &a, REGISTRY_HEAD, "team/rm", "change_2_latest").absent);

    assert_int_equal(remove_tag(c, &a, "team/rm", "change_2_latest", digest, false, "latest",
                                digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_GONE);
    const char *newer = promote(c, &a, "team/rm", "3", "change_2_latest");
    assert_int_equal(
        remove_tag(c, &a, "team/rm", "change_2_latest", digest, false, NULL, NULL, &out, &err), 0);
    assert_int_equal(out, REMOVAL_CHANGED);
    assert_string_equal(ask(c, &a, REGISTRY_HEAD, "team/rm", "change_2_latest").digest, newer);
    /* A final tag that does not show what it must is never passed over. */
    assert_int_equal(
        remove_tag(c, &a, "team/rm", "change_2_latest", newer, false, "latest", digest, &out, &err),
        -1);
    assert_int_equal(err.kind, ERR_BUG);
}

static void test_remove_resumes(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->con;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err;
    enum registry_removal out;
    const char *digest = promote(c, &a, "team/resume", "1", "change_1_latest");
    const char *dummy = manifest_empty_index("00", &a);
    assert_false(put(c, &a, "team/resume", "change_1_latest", MANIFEST_OCI_INDEX, dummy).failed);
    assert_int_equal(remove_tag(c, &a, "team/resume", "change_1_latest", digest, false, "latest",
                                digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_DONE);
    assert_true(ask(c, &a, REGISTRY_HEAD, "team/resume", "change_1_latest").absent);
    assert_string_equal(ask(c, &a, REGISTRY_HEAD, "team/resume", "latest").digest, digest);
    /* Somebody else's empty index is not ours to remove. */
    const char *other = arena_printf(
        &a, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[]}", MANIFEST_OCI_INDEX);
    assert_false(put(c, &a, "team/resume", "change_1_latest", MANIFEST_OCI_INDEX, other).failed);
    assert_int_equal(remove_tag(c, &a, "team/resume", "change_1_latest", digest, false, "latest",
                                digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_CHANGED);
    assert_false(ask(c, &a, REGISTRY_HEAD, "team/resume", "change_1_latest").absent);
}

static void test_remove_where_deletion_is_off(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->coff;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err;
    enum registry_removal out;
    size_t seen = 0;
    const char *digest = promote(c, &a, "team/app", "1", "change_1_latest");
    for (int i = 0; i < 2; i++) {
        (void)requests(&a, &f->off, &seen);
        assert_int_equal(remove_tag(c, &a, "team/app", "change_1_latest", digest, true, "latest",
                                    digest, &out, &err),
                         0);
        assert_int_equal(out, REMOVAL_NO_WAY);
        assert_non_null(strstr(err.text, "405"));
        assert_string_equal(requests(&a, &f->off, &seen), i == 0 ? "DELETE GET DELETE" : "");
        assert_string_equal(ask(c, &a, REGISTRY_HEAD, "team/app", "change_1_latest").digest,
                            digest);
    }
    assert_string_equal(ask(c, &a, REGISTRY_HEAD, "team/app", "latest").digest, digest);
}

static void test_many_at_once(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->con;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *image = make_image(c, &a, "team/many", "1");
    struct registry_op model = put(c, &a, "team/many", "t0", MANIFEST_OCI, image);
    struct registry_op ops[40];
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        ops[i] = model;
        ops[i].ref = arena_printf(&a, "t%zu", i);
    }
    ops[5].host = "unknown.example.org";
    assert_int_equal(registry_all(c->registry, &a, ops, ARRAY_LEN(ops)), 1);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        assert_int_equal(ops[i].failed, i == 5);
    assert_int_equal(registry_all(c->registry, &a, ops, 0), 0);
}

static void test_small_blob(void **state)
{
    struct fixture *f = *state;
    struct client *c = &f->con;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const void *bytes = NULL;
    size_t len = 0;
    const char *digest = push_blob(c, &a, "team/app", "some bytes");
    assert_int_equal(read_blob(c, &a, "team/app", digest, 10, &bytes, &len, &err), 0);
    assert_int_equal(len, 10);
    assert_memory_equal(bytes, "some bytes", 10);
    assert_int_equal(read_blob(c, &a, "team/app", digest, 9, &bytes, &len, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    const char *absent = arena_printf(&a, "sha256:%064d", 1);
    assert_int_equal(read_blob(c, &a, "team/app", absent, 9, &bytes, &len, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(err.code, ENOENT);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    peer_docker_registry(&f->on, true, false);
    peer_docker_registry(&f->off, false, false);
    peer_docker_registry(&f->basic, true, true);
    client_open(&f->con, f->on.host, NULL, NULL);
    client_open(&f->coff, f->off.host, NULL, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    client_close(&f->con);
    client_close(&f->coff);
    peer_stop(&f->on);
    peer_stop(&f->off);
    peer_stop(&f->basic);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_verbatim), cmocka_unit_test(test_absent),
        cmocka_unit_test(test_our_mistakes),   cmocka_unit_test(test_refused_push),
        cmocka_unit_test(test_basic),          cmocka_unit_test(test_remove),
        cmocka_unit_test(test_remove_resumes), cmocka_unit_test(test_remove_where_deletion_is_off),
        cmocka_unit_test(test_many_at_once),   cmocka_unit_test(test_small_blob),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
