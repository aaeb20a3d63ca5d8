#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/registry/pace.h"
#include "core/registry/referrers.h"
#include "tests/unit/copy_help.h"

/* Manners of real registries that no other test meets. */

/* Registries that serve everything from elsewhere (registry.k8s.io, lscr.io) redirect manifests and
 * lists too. */
static void test_moved(void **state)
{
    struct scene *s = *state;
    static const struct {
        enum registry_verb verb;
        bool paired;
        const char *error; /* NULL: it works */
    } table[] = {
        {REGISTRY_GET, true, NULL},
        {REGISTRY_HEAD, true, NULL},
        {REGISTRY_GET, false, "not followed"},
        {REGISTRY_HEAD, false, "not followed"},
        {REGISTRY_PUT, true, "redirects are not followed"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *origin = arena_printf(&a, "http://%s", s->b.host);
    struct endpoint real = at(s, &s->b, "real/app");
    struct made m = make_one(&real, &a, MANIFEST_OCI, "x", 1, "");
    make_put(&real, &a, &m, "latest");
    control(&s->a, "config", "{\"auth\":\"basic\",\"password\":\"" PASSWORD "\"}");
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        scene_client_close(s);
        scene_client(s, "ci");
        s->conf[0].storage = (struct str_list){.at = &origin, .n = table[i].paired};
        control(&s->a, "rules",
                arena_printf(&a,
                             "[{\"path\":\"manifests/latest\",\"status\":307,\"times\":9,"
                             "\"headers\":[[\"Location\",\"%s/v2/real/app/manifests/latest\"]]}]",
                             origin));
        struct registry_op op = {.verb = table[i].verb,
                                 .host = s->a.host,
                                 .name = NAME,
                                 .ref = "latest",
                                 .media_type = m.type,
                                 .bytes = m.bytes,
                                 .len = strlen(m.bytes),
                                 .digest = m.digest};
        (void)registry_all(s->registry, &a, &op, 1);
        print_message("%zu: %s\n", i, op.err.text);
        assert_int_equal(op.failed, table[i].error != NULL);
        if (table[i].error)
            assert_non_null(strstr(op.err.text, table[i].error));
        else
            assert_string_equal(op.digest, m.digest);
    }
    /* Our credentials are for the first alone. */
    struct http_client *http = http_client_new(NULL, NULL);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(&a, "%s/_ctl/log", origin)},
        .max_body = MIB(1)};
    assert_int_equal(http_do(http, &a, &call, NULL), 0);
    assert_null(strstr(call.resp.body, "Basic "));
    http_client_free(http);
}

static void test_moved_list(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct str_list tags;
    bool absent;
    const char *origin = arena_printf(&a, "http://%s", s->b.host);
    struct endpoint real = at(s, &s->b, "real/app");
    struct made m = make_one(&real, &a, MANIFEST_OCI, "x", 1, "");
    make_put(&real, &a, &m, "one");
    make_put(&real, &a, &m, "two");
    make_put(&real, &a, &m, "three");
    control(&s->b, "config", "{\"page_cap\":2}");
    scene_client_close(s);
    scene_client(s, NULL);
    s->conf[0].storage = (struct str_list){.at = &origin, .n = 1};
    control(&s->a, "rules",
            arena_printf(&a,
                         "[{\"path\":\"tags/list\",\"status\":307,\"times\":9,\"headers\":"
                         "[[\"Location\",\"%s/v2/real/app/tags/list?n=1000\"]]}]",
                         origin));
    const struct registry_access access = {0};
    assert_int_equal(registry_tags(s->registry, &a, s->a.host, NAME, &access, &tags, &absent, &err),
                     0);
    assert_false(absent);
    assert_int_equal(tags.n, 3);
}

/* Proxies and old servers say nothing of the type; the document does. */
static void test_plain_types(void **state)
{
    struct scene *s = *state;
    static const char *const types[] = {"application/json", "text/plain; charset=utf-8",
                                        "application/octet-stream"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2], m = make_two(&from, &a, "x", false, "latest", children);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        control(&s->b, "reset", "{}");
        control(&s->a, "config", arena_printf(&a, "{\"content_type\":\"%s\"}", types[i]));
        struct copy c = copy_of(from, "latest", to, &a, "latest");
        copy_well(&c, &a);
        assert_string_equal(c.digest, m.digest);
        assert_string_equal(c.media_type, MANIFEST_OCI_INDEX);
        copy_well(&c, &a);
        assert_true(c.same);
    }
}

/* That a repository is not there yet says nothing about the registry. */
static void test_unknown_repository(void **state)
{
    struct scene *s = *state;
    static const char *const names[] = {"team/one", "team/two", "team/three"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct copy copies[ARRAY_LEN(names)];
    const struct copy_opts opts = {.images = 1};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct endpoint from = at(s, &s->a, names[i]);
        struct endpoint to = at(s, &s->a, arena_printf(&a, "new/%s", names[i]));
        struct made m = make_one(&from, &a, MANIFEST_OCI, names[i], 1, "");
        make_put(&from, &a, &m, "latest");
        (void)make_one(&from, &a, MANIFEST_OCI, arena_printf(&a, "of %s", names[i]), 1,
                       subject_of(&a, &m));
        copies[i] = copy_of(from, "latest", to, &a, "latest");
    }
    control(&s->a, "rule",
            "{\"path\":\"/v2/new/.*/referrers/\",\"times\":9,\"status\":404,\"body\":"
            "\"{\\\"errors\\\":[{\\\"code\\\":\\\"NAME_UNKNOWN\\\"}]}\"}");
    assert_int_equal(copy_all(&a, copies, ARRAY_LEN(names), &opts), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(copies[i].companions, 1);
}

/* ECR: what is there already may not be pushed again, not even by one whose first answer was lost.
 */
static void test_immutable_again(void **state)
{
    struct scene *s = *state;
    static const int statuses[] = {400, 409, 412};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2], m = make_two(&from, &a, "x", false, "latest", children);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        control(&s->b, "reset", "{}");
        control(&s->b, "config",
                arena_printf(&a,
                             "{\"immutable\":\".*\",\"immutable_same\":false,"
                             "\"immutable_status\":%d}",
                             statuses[i]));
        control(&s->b, "rule",
                "{\"method\":\"PUT\",\"path\":\"manifests/v1\",\"mangle\":{\"status\":502}}");
        struct copy c = copy_of(from, "latest", to, &a, "v1");
        copy_well(&c, &a);
        assert_string_equal(shown(&to, &a, "v1"), m.digest);
    }
    /* What shows something else stays refused. */
    struct made other = make_one(&from, &a, MANIFEST_OCI, "other", 1, "");
    make_put(&from, &a, &other, "other");
    struct copy c = copy_of(from, "other", to, &a, "v1");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_non_null(strstr(c.err.text, "immutable"));
    assert_string_equal(shown(&to, &a, "v1"), m.digest);
}

static const char *big_blob(struct scene *s, struct arena *a, size_t size)
{
    char *bytes = arena_alloc(a, size + 1);
    memset(bytes, 'b', size);
    const char *digest = digest_of(a, bytes);
    control(&s->a, "blob", arena_printf(a, "{\"name\":\"" NAME "\",\"body\":\"%s\"}", bytes));
    return digest;
}

static int move_blob(struct scene *s, struct arena *a, const struct descriptor *blob,
                     struct err *err)
{
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    enum blob_way way;
    (void)asked(a, &s->b);
    int rc = blob_copy(&from, &to, blob, false, NULL, &way, err);
    print_message("%d %s\n", rc, err->text);
    return rc;
}

/* A long upload outlives its token, more than once. */
static void test_tokens_expire(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct descriptor blob = {.digest = big_blob(s, &a, MIB(1)), .size = MIB(1)};
    scene_client_close(s);
    scene_client(s, "ci");
    s->conf[1].chunk = KIB(256);
    control(&s->b, "config", "{\"auth\":\"bearer\",\"password\":\"" PASSWORD "\"}");
    for (int i = 0; i < 3; i++)
        control(&s->b, "rule",
                arena_printf(&a,
                             "{\"method\":\"PATCH\",\"path\":\"/uploads/\",\"skip\":%d,"
                             "\"status\":401,\"headers\":[[\"WWW-Authenticate\",\"Bearer realm="
                             "\\\"http://127.0.0.1:{port}/token\\\",service=\\\"fake\\\"\"]]}",
                             i));
    assert_int_equal(move_blob(s, &a, &blob, &err), 0);
    assert_int_equal(times(asked(&a, &s->b), "PATCH", "/uploads/"), 7);
}

/* Nothing is sent twice that arrived, though its answer was lost. */
static void test_answer_lost(void **state)
{
    struct scene *s = *state;
    static const struct {
        size_t chunk;
        const char *rule;
    } table[] = {
        {0, "{\"method\":\"PUT\",\"path\":\"/uploads/\",\"mangle\":{\"status\":504}}"},
        {0, "{\"method\":\"PUT\",\"path\":\"/uploads/\",\"mangle\":{\"status\":404}}"},
        {KIB(256), "{\"method\":\"PUT\",\"path\":\"/uploads/\",\"mangle\":{\"status\":504}}"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct descriptor blob = {.digest = big_blob(s, &a, MIB(1)), .size = MIB(1)};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        control(&s->b, "reset", "{}");
        scene_client_close(s);
        scene_client(s, NULL);
        s->conf[1].chunk = table[i].chunk;
        control(&s->b, "rule", table[i].rule);
        assert_int_equal(move_blob(s, &a, &blob, &err), 0);
        const char *log = asked(&a, &s->b);
        assert_int_equal(times(log, "POST", "/uploads/"), 1);
        assert_int_equal(times(log, "HEAD", "/blobs/"), 2);
    }
}

static void test_small_blobs(void **state)
{
    struct scene *s = *state;
    static const char *const rules[] = {
        /* 206 to a question for all of it. */
        "{\"method\":\"GET\",\"path\":\"/blobs/\",\"mangle\":{\"status\":206}}",
        /* A redirect within the registry, to an address that wants the credentials as well. */
        "{\"method\":\"GET\",\"path\":\"/v2/team/app/blobs/\",\"status\":307,\"headers\":"
        "[[\"Location\",\"/v2/team/other/blobs/sha256:"
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]]}",
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    control(&s->a, "blob", "{\"name\":\"" NAME "\",\"body\":\"abc\"}");
    control(&s->a, "blob", "{\"name\":\"team/other\",\"body\":\"abc\"}");
    control(&s->a, "config", "{\"auth\":\"basic\",\"password\":\"" PASSWORD "\"}");
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct err err = ERR_INIT;
        const void *bytes = NULL;
        size_t len = 0;
        scene_client_close(s);
        scene_client(s, "ci");
        struct endpoint from = at(s, &s->a, NAME);
        assert_string_equal(shown(&from, &a, "absent") ? "there" : "absent", "absent");
        control(&s->a, "rule", rules[i]);
        int rc = blob_read(&from, digest_of(&a, "abc"), 10, &a, &bytes, &len, &err);
        print_message("%d %s\n", rc, err.text);
        assert_int_equal(rc, 0);
        assert_int_equal(len, 3);
    }
}

/* A mount that is answered by a session without an address costs the session, not the copy. */
static void test_mount_without_address(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    enum blob_way way;
    control(&s->a, "blob", "{\"name\":\"" NAME "\",\"body\":\"abc\"}");
    control(&s->a, "config", "{\"mount\":202}");
    control(&s->a, "rule",
            "{\"method\":\"POST\",\"path\":\"mount=\",\"mangle\":{\"drop\":[\"Location\"]}}");
    struct descriptor blob = {.digest = digest_of(&a, "abc"), .size = 3};
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->a, "team/new");
    int rc = blob_copy(&from, &to, &blob, true, NULL, &way, &err);
    print_message("%d %s\n", rc, err.text);
    assert_int_equal(rc, 0);
    assert_int_equal(way, BLOB_MOVED);
}

/* Go's programs write an empty list as null. */
static void test_null_lists(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct descriptors out;
    control(&s->a, "rule",
            "{\"path\":\"/referrers/\",\"headers\":[[\"Content-Type\",\"" MANIFEST_OCI_INDEX
            "\"]],\"body\":\"{\\\"schemaVersion\\\":2,\\\"manifests\\\":null}\"}");
    const struct registry_access access = {0};
    int rc = referrers_list(s->registry, &a, s->a.host, NAME, &access, digest_of(&a, "x"), NULL,
                            &out, &err);
    print_message("%d %s\n", rc, err.text);
    assert_int_equal(rc, 0);
    assert_int_equal(out.n, 0);
}

#define ORAS "application/vnd.cncf.oras.artifact.manifest.v1+json"

/* Answers a path with this text. */
static void answer(const struct peer *p, struct arena *a, const char *path, const char *type,
                   const char *body)
{
    struct js *doc CLEANUP_JS = js_object();
    js_put_str(doc, "body", body);
    control(p, "rule",
            arena_printf(a,
                         "{\"path\":\"%s\",\"times\":9,\"headers\":[[\"Content-Type\",\"%s\"]],"
                         "%s",
                         path, type, js_dump(doc, a) + 1));
}

/* ACR lists artifact manifests of a kind that OCI gave up: what else refers to it is copied. */
static void test_referrer_of_unknown_type(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made m = make_one(&from, &a, MANIFEST_OCI, "x", 1, "");
    make_put(&from, &a, &m, "latest");
    struct made known = make_one(&from, &a, MANIFEST_OCI, "known", 1, subject_of(&a, &m));
    struct made odd = {.type = ORAS};
    odd.bytes = arena_printf(&a, "{\"mediaType\":\"" ORAS "\",%s\"blobs\":[]}", subject_of(&a, &m));
    odd.digest = digest_of(&a, odd.bytes);
    answer(&s->a, &a, arena_printf(&a, "manifests/%s", odd.digest), ORAS, odd.bytes);
    answer(&s->a, &a, arena_printf(&a, "referrers/%s", m.digest), MANIFEST_OCI_INDEX,
           arena_printf(&a, "{\"schemaVersion\":2,\"manifests\":[%s,%s]}",
                        make_entry(&a, ORAS, odd.bytes, ""),
                        make_entry(&a, MANIFEST_OCI, known.bytes, "")));
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    assert_int_equal(c.companions, 1);
    assert_non_null(shown(&to, &a, known.digest));
    bool noted = false;
    for (size_t i = 0; i < c.notes.n; i++)
        noted = noted || (strstr(c.notes.at[i], odd.digest) &&
                          strstr(c.notes.at[i], "left out: its type " ORAS " is not known"));
    assert_true(noted);
}

/* A refusal is no empty list. */
static void test_referrers_denied(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made m = make_one(&from, &a, MANIFEST_OCI, "x", 1, "");
    make_put(&from, &a, &m, "latest");
    control(&s->a, "rule", "{\"path\":\"/referrers/\",\"times\":9,\"status\":403}");
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_int_equal(c.err.kind, ERR_PERM);
    assert_non_null(strstr(c.err.text, "refused to list"));
    assert_non_null(strstr(c.err.text, "--no-companions"));
    c = copy_of(from, "latest", to, &a, "latest");
    c.no_companions = true;
    copy_well(&c, &a);
}

/* A registry behind a proxy that ends TLS may believe that it is spoken to by plain http. */
static void test_hidden_https(void **state)
{
    (void)state;
    static const struct {
        const char *host, *url;
        bool proxy;
    } table[] = {
        {"registry.example", "http://registry.example/v2/x/blobs/uploads/1?s=hidden", true},
        {"registry.example:5443", "http://registry.example:5443/v2/x", true},
        {"registry.example", "http://registry.example:8080/v2/x", true},
        {"[2001:db8::1]:5000", "http://[2001:db8::1]/v2/x", true},
        {"registry.example", "http://other.example/v2/x", false},
        {"registry.example", "http://registry.example.org/v2/x", false},
        {"registry.example", "https://10.0.0.1/v2/x", false},
        {"[2001:db8::1]", "http://[2001:db8::2]/v2/x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct err err = ERR_INIT;
        bool own, paired;
        const struct registry_conf conf = {.host = table[i].host};
        const struct registry_host h = {.conf = &conf};
        assert_int_equal(exchange_check_url(&h, table[i].url, &a, &own, &paired, &err), -1);
        print_message("%s\n", err.text);
        assert_int_equal(err.kind, ERR_PERM);
        assert_int_equal(strstr(err.text, "X-Forwarded-Proto") != NULL, table[i].proxy);
        assert_non_null(strstr(err.text, "`storage`"));
        assert_null(strstr(err.text, "hidden"));
    }
}

static const char *storage_of(const struct peer *p, struct arena *a)
{
    struct http_client *http = http_client_new(NULL, NULL);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/ports", p->host)},
        .max_body = KIB(4)};
    assert_int_equal(http_do(http, a, &call, NULL), 0);
    http_client_free(http);
    struct js *ports CLEANUP_JS = js_parse(call.resp.body, call.resp.body_len, NULL);
    return arena_printf(a, "http://127.0.0.1:%d", (int)js_int(ports, "storage", 0));
}

/* What a storage asks for is not asked for by the registry. */
static void test_busy_storage(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *storage = storage_of(&s->b, &a);
    for (int own = 0; own <= 1; own++) {
        struct err err = ERR_INIT;
        control(&s->b, "reset", "{}");
        scene_client_close(s);
        scene_client(s, NULL);
        s->conf[1].storage = (struct str_list){.at = &storage, .n = 1};
        control(&s->b, "config",
                arena_printf(&a,
                             "{\"single_post\":202,\"upload_location\":\"%s/v2/{name}/blobs/"
                             "uploads/{id}?_state={state}\"}",
                             own ? "" : storage));
        control(&s->b, "rule",
                "{\"method\":\"PUT\",\"path\":\"/uploads/\",\"status\":503,"
                "\"retry_after\":\"seconds:60\"}");
        struct endpoint to = at(s, &s->b, NAME);
        assert_int_equal(blob_put(&to, "abc", 3, digest_of(&a, "abc"), &err), -1);
        print_message("%s\n", err.text);
        assert_non_null(strstr(err.text, "503"));
        struct registry_host *h = registry_find(s->registry, s->b.host, false);
        assert_int_equal(pace_quiet_ms(s->registry, h) > 0, own);
    }
}

/* A signed address is good for one method: HEAD there is refused, and GET would not be. */
static void test_storage_for_get_alone(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *origin = arena_printf(&a, "http://%s", s->b.host);
    static const int answers[] = {403, 404, 405};
    static const enum blob_sight sights[] = {BLOB_UNSURE, BLOB_ABSENT, BLOB_UNSURE};
    struct descriptor blob = {.digest = digest_of(&a, "abc"), .size = 3};
    const struct descriptor *const asked = &blob;
    scene_client_close(s);
    scene_client(s, NULL);
    s->conf[0].storage = (struct str_list){.at = &origin, .n = 1};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        enum blob_sight sight;
        bool there = true;
        control(&s->a, "rules",
                arena_printf(&a,
                             "[{\"path\":\"/blobs/\",\"status\":307,\"times\":2,"
                             "\"headers\":[[\"Location\",\"%s/v2/signed/blobs/x\"]]}]",
                             origin));
        control(
            &s->b, "rules",
            arena_printf(&a, "[{\"path\":\"/signed/\",\"status\":%d,\"times\":2}]", answers[i]));
        struct endpoint from = at(s, &s->a, NAME);
        assert_int_equal(blobs_look(&from, &asked, 1, &a, &sight, &err), 0);
        assert_int_equal(sight, sights[i]);
        assert_int_equal(blob_exists(&from, &blob, &a, &there, &err), 0);
        assert_false(there);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_moved, scene_fresh),
        cmocka_unit_test_setup(test_moved_list, scene_fresh),
        cmocka_unit_test_setup(test_plain_types, scene_fresh),
        cmocka_unit_test_setup(test_unknown_repository, scene_fresh),
        cmocka_unit_test_setup(test_immutable_again, scene_fresh),
        cmocka_unit_test_setup(test_tokens_expire, scene_fresh),
        cmocka_unit_test_setup(test_answer_lost, scene_fresh),
        cmocka_unit_test_setup(test_small_blobs, scene_fresh),
        cmocka_unit_test_setup(test_mount_without_address, scene_fresh),
        cmocka_unit_test_setup(test_null_lists, scene_fresh),
        cmocka_unit_test_setup(test_referrer_of_unknown_type, scene_fresh),
        cmocka_unit_test_setup(test_referrers_denied, scene_fresh),
        cmocka_unit_test(test_hidden_https),
        cmocka_unit_test_setup(test_busy_storage, scene_fresh),
        cmocka_unit_test_setup(test_storage_for_get_alone, scene_fresh),
    };
    return cmocka_run_group_tests(tests, scene_set_up, scene_tear_down);
}
