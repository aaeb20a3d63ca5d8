#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/registry/registry_internal.h"
#include "tests/unit/fake_help.h"

/* --- removal -------------------------------------------------------------------------------------
 */

static void test_removal_ways(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config;
        int rc;
        enum registry_removal out;
        bool tag_stays;            /* and shows the image again */
        const char *first, *again; /* requests; again: the next, warm, removal */
    } table[] = {
        {"{\"tag_delete\":202}", 0, REMOVAL_DONE, false, "DELETE HEAD HEAD", "DELETE HEAD"},
        {"{\"tag_delete\":400}", 0, REMOVAL_DONE, false, "DELETE GET DELETE PUT DELETE HEAD HEAD",
         "PUT DELETE HEAD"},
        /* What distribution 2.8 says: nobody looks for a vendor's API. */
        {"{\"tag_delete\":400,\"tag_delete_code\":\"DIGEST_INVALID\"}", 0, REMOVAL_DONE, false,
         "DELETE DELETE PUT DELETE HEAD HEAD", "PUT DELETE HEAD"},
        {"{\"tag_delete\":405}", 0, REMOVAL_DONE, false, "DELETE GET DELETE PUT DELETE HEAD HEAD",
         "PUT DELETE HEAD"},
        {"{\"tag_delete\":404}", 0, REMOVAL_DONE, false,
         "DELETE HEAD GET DELETE PUT DELETE HEAD HEAD", "PUT DELETE HEAD"},
        /* It says that the tag was deleted, and it was not. */
        {"{\"tag_delete\":202,\"tag_delete_removes\":false}", 0, REMOVAL_DONE, false,
         "DELETE HEAD GET DELETE PUT DELETE HEAD HEAD", "PUT DELETE HEAD"},
        {"{\"digest_header\":false}", 0, REMOVAL_DONE, false,
         "DELETE GET DELETE PUT HEAD GET DELETE HEAD HEAD GET", "PUT HEAD GET DELETE HEAD GET"},
        {"{\"digest_delete\":\"off\"}", 0, REMOVAL_NO_WAY, true, "DELETE GET DELETE", ""},
        {"{\"tag_delete\":404,\"digest_delete\":\"bare404\"}", 0, REMOVAL_NO_WAY, true,
         "DELETE HEAD GET DELETE", ""},
        {"{\"digest_delete\":\"absent202\"}", 0, REMOVAL_NO_WAY, true, "DELETE GET DELETE", ""},
        /* The right seemed to be there: everything is put back. */
        {"{\"digest_delete\":\"tagged403\"}", 0, REMOVAL_NO_WAY, true,
         "DELETE GET DELETE PUT DELETE HEAD GET PUT", ""},
        {"{\"digest_delete\":\"keeps_tags\"}", 0, REMOVAL_NO_WAY, true,
         "DELETE GET DELETE PUT DELETE HEAD HEAD GET PUT", ""},
        {"{\"put_digest\":\"sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000\"}",
         -1, 99, true, "DELETE GET DELETE PUT HEAD HEAD GET PUT", NULL},
        {"{\"tag_delete\":503}", -1, 99, true, "DELETE", NULL},
        {"{\"tag_delete\":429}", -1, 99, true, "DELETE", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = fresh(f, &a, table[i].config);
        client_open(&c, f->fake.host, NULL, NULL);
        print_message("%s\n", table[i].config);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
            table[i].rc);
        assert_int_equal(out, table[i].out);
        if (table[i].rc < 0 || out == REMOVAL_NO_WAY)
            assert_true(*err.text && err.kind == (table[i].rc < 0 ? ERR_TEMP : ERR_PERM));
        assert_string_equal(requests(&a, &f->fake), table[i].first);
        if (table[i].tag_stays) {
            (void)requests(&a, &f->fake);
            control(&f->fake, "config", "{\"digest_header\":true}");
            assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").digest, digest);
        }
        assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, digest);
        if (table[i].again) {
            (void)fresh(f, &a, table[i].config);
            assert_int_equal(
                remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), 0);
            assert_int_equal(out, table[i].out);
            assert_string_equal(requests(&a, &f->fake), table[i].again);
        }
        control(&f->fake, "config", USUAL);
        struct registry_op op = ask(&c, &a, REGISTRY_HEAD, NAME, "staged");
        if (table[i].tag_stays)
            assert_string_equal(op.digest, digest);
        else
            assert_true(op.absent);
        assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, digest);
        client_close(&c);
    }
}

/* The registry fails between the two steps: said, and finished the next time. */
static void test_removal_cut_short(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    struct err err;
    enum registry_removal out;
    const char *digest = fresh(f, &a, "{\"digest_delete\":\"broken\"}");
    client_open(&c, f->fake.host, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, i == 0, "latest", digest, &out, &err), -1);
        assert_int_equal(err.kind, ERR_TEMP);
        assert_non_null(strstr(err.text, "left a placeholder at"));
    }
    control(&f->fake, "config", "{\"digest_delete\":\"yes\"}");
    (void)requests(&a, &f->fake);
    assert_int_equal(
        remove_tag(&c, &a, NAME, "staged", digest, false, "latest", digest, &out, &err), 0);
    assert_int_equal(out, REMOVAL_DONE);
    assert_string_equal(requests(&a, &f->fake), "HEAD GET DELETE HEAD HEAD");
    assert_true(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").absent);
    assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, digest);
    client_close(&c);
}

/* A registry that takes no index without entries gets a dummy image, and is remembered for it. */
static void test_removal_by_dummy_image(void **state)
{
    struct fixture *f = *state;
    static const int statuses[] = {400, 404, 415, 422, 500};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = fresh(f, &a, "{\"tag_delete_code\":\"DIGEST_INVALID\"}");
        client_open(&c, f->fake.host, NULL, NULL);
        control(&f->fake, "rule",
                arena_printf(&a,
                             "{\"method\":\"PUT\",\"path\":\"/manifests/staged$\",\"times\":1,"
                             "\"status\":%d,\"body\":\"{\\\"errors\\\":[{\\\"code\\\":"
                             "\\\"MANIFEST_INVALID\\\"}]}\"}",
                             statuses[i]));
        for (int round = 0; round < 2; round++) {
            assert_int_equal(
                remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err), 0);
            assert_int_equal(out, REMOVAL_DONE);
            const char *sent = requests(&a, &f->fake);
            if (round == 0)
                assert_non_null(strstr(sent, "DELETE DELETE PUT "));
            else
                assert_null(strstr(sent, "DELETE DELETE"));
            assert_true(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").absent);
            assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, digest);
            (void)fresh(f, &a, "{\"tag_delete_code\":\"DIGEST_INVALID\"}");
        }
        client_close(&c);
    }
}

/* A dummy image that an earlier removal left is taken up; an image that looks alike is not. */
static void test_removal_takes_up_dummy(void **state)
{
    struct fixture *f = *state;
    for (int ours = 0; ours < 2; ours++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        const char *digest = fresh(f, &a, "{}");
        const char *dummy = manifest_dummy_image("0123", &a);
        if (!ours)
            dummy = arena_printf(&a, "%.*s,\"comment\":\"x\"}", (int)strlen(dummy) - 1, dummy);
        struct js *item CLEANUP_JS = js_object();
        js_put_str(item, "name", NAME);
        js_put_str(item, "ref", "staged");
        js_put_str(item, "type", MANIFEST_OCI);
        js_put_str(item, "body", dummy);
        control(&f->fake, "store", js_dump(item, &a));
        client_open(&c, f->fake.host, NULL, NULL);
        assert_int_equal(
            remove_tag(&c, &a, NAME, "staged", digest, false, "latest", digest, &out, &err), 0);
        assert_int_equal(out, ours ? REMOVAL_DONE : REMOVAL_CHANGED);
        assert_int_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").absent, ours);
        assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, digest);
        client_close(&c);
    }
}

/* Both kinds of placeholder against a real registry. */
static void test_removal_at_docker_registry(void **state)
{
    (void)state;
    struct peer p = {0};
    peer_docker_registry(&p, true, false);
    for (int by_image = 0; by_image < 2; by_image++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err;
        enum registry_removal out;
        client_open(&c, p.host, NULL, NULL);
        registry_find(c.registry, p.host, false)->vendor.wants_image = by_image;
        const char *bytes = make_image(&c, &a, NAME, "real");
        struct registry_op staged = put(&c, &a, NAME, "staged", MANIFEST_OCI, bytes);
        assert_false(staged.failed);
        assert_false(put(&c, &a, NAME, "latest", MANIFEST_OCI, bytes).failed);
        assert_int_equal(remove_tag(&c, &a, NAME, "staged", staged.digest, false, "latest",
                                    staged.digest, &out, &err),
                         0);
        assert_int_equal(out, REMOVAL_DONE);
        assert_true(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").absent);
        assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "latest").digest, staged.digest);
        client_close(&c);
    }
    peer_stop(&p);
}

static void test_removal_refused_by_rights(void **state)
{
    struct fixture *f = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct client c;
    struct err err;
    enum registry_removal out;
    const char *digest =
        fresh(f, &a, "{\"auth\":\"bearer\",\"grants\":\"pull,push\",\"tag_delete\":202}");
    client_open(&c, f->fake.host, "ci", PASSWORD);
    assert_int_equal(
        remove_tag(&c, &a, NAME, "staged", digest, false, "latest", digest, &out, &err), 0);
    assert_int_equal(out, REMOVAL_NO_WAY);
    assert_non_null(strstr(err.text, "check the credentials"));
    assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").digest, digest);
    /* Docker Hub would keep the placeholder: it is not even asked. */
    c.conf.type = "dockerhub";
    control(&f->fake, "config", "{\"grants\":\"pull,push,delete\",\"tag_delete\":403}");
    client_close(&c);
    client_open(&c, f->fake.host, "ci", PASSWORD);
    c.conf.type = "dockerhub";
    (void)requests(&a, &f->fake);
    assert_int_equal(remove_tag(&c, &a, NAME, "staged", digest, true, "latest", digest, &out, &err),
                     0);
    assert_int_equal(out, REMOVAL_NO_WAY);
    assert_string_equal(requests(&a, &f->fake), "DELETE token DELETE");
    client_close(&c);
}

/* A final tag is untied by its name or not at all: no placeholder is ever put there. */
static void test_untag(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config, *tag;
        int rc;
        enum registry_removal out;
        const char *requests;
        bool stays;
    } table[] = {
        {"{\"tag_delete\":202}", "latest", 0, REMOVAL_DONE, "DELETE HEAD", false},
        {"{\"tag_delete\":202}", "absent", 0, REMOVAL_GONE, "DELETE HEAD", false},
        {"{\"tag_delete\":400}", "latest", 0, REMOVAL_NO_WAY, "DELETE GET", true},
        {"{\"tag_delete\":405}", "latest", 0, REMOVAL_NO_WAY, "DELETE GET", true},
        {"{\"tag_delete\":404}", "latest", 0, REMOVAL_NO_WAY, "DELETE HEAD GET", true},
        {"{\"tag_delete\":202,\"tag_delete_removes\":false}", "latest", 0, REMOVAL_NO_WAY,
         "DELETE HEAD GET", true},
        {"{\"tag_delete\":503}", "latest", -1, 99, "DELETE", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct client c;
        struct err err = ERR_INIT;
        enum registry_removal out = (enum registry_removal)99;
        const char *digest = fresh(f, &a, table[i].config);
        client_open(&c, f->fake.host, NULL, NULL);
        print_message("%s %s\n", table[i].config, table[i].tag);
        assert_int_equal(
            registry_untag(c.registry, &a, f->fake.host, NAME, table[i].tag, &out, &err),
            table[i].rc);
        assert_int_equal(out, table[i].out);
        assert_string_equal(requests(&a, &f->fake), table[i].requests);
        struct registry_op op = ask(&c, &a, REGISTRY_HEAD, NAME, table[i].tag);
        assert_int_equal(op.absent, !table[i].stays);
        assert_string_equal(ask(&c, &a, REGISTRY_HEAD, NAME, "staged").digest, digest);
        client_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removal_ways),
        cmocka_unit_test(test_removal_cut_short),
        cmocka_unit_test(test_removal_by_dummy_image),
        cmocka_unit_test(test_removal_takes_up_dummy),
        cmocka_unit_test(test_removal_at_docker_registry),
        cmocka_unit_test(test_removal_refused_by_rights),
        cmocka_unit_test(test_untag),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
