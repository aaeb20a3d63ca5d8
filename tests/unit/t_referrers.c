#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/registry/referrers.h"
#include "tests/unit/copy_help.h"

/* Who refers to whom, against a fake whose manners each test sets. */

static struct made artifact(const struct endpoint *e, struct arena *a, const char *seed,
                            const struct made *subject)
{
    return make_one(e, a, MANIFEST_OCI, seed, 1, subject_of(a, subject));
}

static int list(const struct endpoint *e, struct arena *a, const char *digest, const char *type,
                struct descriptors *out, struct err *err)
{
    const struct registry_access access = {.read_only = true};
    *err = (struct err)ERR_INIT;
    int rc = referrers_list(e->registry, a, e->host, e->name, &access, digest, type, out, err);
    if (rc < 0)
        print_message("%s\n", err->text);
    return rc;
}

static bool holds(const struct descriptors *d, const char *digest)
{
    for (size_t i = 0; i < d->n; i++)
        if (str_eq(d->at[i].digest, digest))
            return true;
    return false;
}

static void test_api(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 2, "");
    struct made refs[5];
    struct descriptors out;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(refs); i++)
        refs[i] = artifact(&e, &a, arena_printf(&a, "ref%zu", i), &image);
    for (int page = 0; page < 3; page++) {
        control(&s->a, "config", arena_printf(&a, "{\"referrers_page\":%d}", page));
        (void)asked(&a, &s->a);
        assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
        assert_int_equal(out.n, 5);
        for (size_t i = 0; i < ARRAY_LEN(refs); i++)
            assert_true(holds(&out, refs[i].digest));
        assert_int_equal(times(asked(&a, &s->a), "GET", "/referrers/"),
                         page ? (5 + page - 1) / page : 1);
    }
    assert_int_equal(list(&e, &a, refs[0].digest, NULL, &out, &err), 0);
    assert_int_equal(out.n, 0);
    assert_null(strstr(asked(&a, &s->a), "/manifests/"));
}

static void test_filter(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct descriptors out;
    struct err err;
    (void)artifact(&e, &a, "one", &image);
    static const char *const filters[] = {"true", "false"};
    for (size_t i = 0; i < 2; i++) {
        control(&s->a, "config", arena_printf(&a, "{\"referrers_filter\":%s}", filters[i]));
        assert_int_equal(list(&e, &a, image.digest, "application/x.test", &out, &err), 0);
        assert_int_equal(out.n, 1);
        assert_int_equal(list(&e, &a, image.digest, "application/x.other+json", &out, &err), 0);
        assert_int_equal(out.n, 0);
    }
    assert_int_equal(times(asked(&a, &s->a), "GET", "artifactType=application%2Fx.other%2Bjson"),
                     2);
}

/* What a registry without the API may say, and what is no such answer. */
static void test_no_api(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct made one = artifact(&e, &a, "one", &image);
    struct made index = make_list(&a, MANIFEST_OCI_INDEX, &one, 1);
    struct descriptors out;
    struct err err;
    make_put(&e, &a, &index, imageref_fallback_tag(image.digest, &a));
    const char *const none[] = {
        "\"status\":404,\"body\":\"404 page not found\"",
        "\"status\":405",
        "\"status\":400,\"body\":\"{}\"",
        "\"status\":501",
        "\"status\":303,\"headers\":[[\"Location\",\"https://example.org/x\"]]",
        "\"status\":303,\"headers\":[[\"Location\",\"http://10.0.0.1/x\"]]",
        "\"status\":302",
        "\"status\":200,\"headers\":[[\"Content-Type\",\"text/html\"]],\"body\":\"<html>\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        control(&s->a, "rule", arena_printf(&a, "{\"path\":\"/referrers/\",%s}", none[i]));
        assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
        assert_int_equal(out.n, 1);
        assert_string_equal(out.at[0].digest, one.digest);
    }
    static const char *const faults[] = {
        "\"status\":403",
        "\"status\":500",
        "\"status\":200,\"body\":\"{}\"",
        "\"status\":200,\"body\":\"not JSON\"",
        "\"status\":200,\"headers\":[[\"Link\",\"<https://example.org/next>; rel=next\"]],"
        "\"body\":\"{\\\"schemaVersion\\\":2,\\\"manifests\\\":[]}\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        control(&s->a, "rule", arena_printf(&a, "{\"path\":\"/referrers/\",%s}", faults[i]));
        assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), -1);
        assert_int_equal(out.n, 0);
    }
    /* A list that goes in circles. */
    control(&s->a, "rule",
            arena_printf(&a,
                         "{\"path\":\"/referrers/\",\"times\":100000,\"status\":200,\"headers\":"
                         "[[\"Link\",\"</v2/" NAME "/referrers/%s>; rel=\\\"next\\\"\"]],\"body\":"
                         "\"{\\\"schemaVersion\\\":2,\\\"manifests\\\":[]}\"}",
                         image.digest));
    assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), -1);
    assert_non_null(strstr(err.text, "does not end"));
}

static void test_nothing(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct descriptors out;
    struct err err;
    control(&s->a, "config", "{\"referrers\":\"404\"}");
    assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
    assert_int_equal(out.n, 0);
    /* An image that stands where the index would. */
    make_put(&e, &a, &image, imageref_fallback_tag(image.digest, &a));
    assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(list(&e, &a, "sha256:12", NULL, &out, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    e.host = "other.example.org";
    assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

static int push(const struct endpoint *e, struct arena *a, const struct made *m, struct err *err)
{
    struct manifest parsed;
    *err = (struct err)ERR_INIT;
    assert_int_equal(manifest_parse(m->bytes, strlen(m->bytes), m->type, a, &parsed, err), 0);
    int rc = referrers_push(e->registry, a, e->host, e->name, &e->access, &parsed, m->bytes,
                            strlen(m->bytes), m->digest, err);
    if (rc < 0)
        print_message("%s\n", err->text);
    return rc;
}

static void test_push(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME), elsewhere = at(s, &s->b, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct made one = artifact(&elsewhere, &a, "one", &image);
    struct made two = artifact(&elsewhere, &a, "two", &image);
    struct descriptors out;
    struct err err;
    (void)asked(&a, &s->a);
    assert_int_equal(push(&e, &a, &one, &err), 0);
    assert_string_equal(asked(&a, &s->a),
                        arena_printf(&a, "PUT /v2/" NAME "/manifests/%s\n", one.digest));
    control(&s->a, "config", "{\"referrers\":\"404\"}");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(push(&e, &a, &one, &err), 0);
        assert_int_equal(push(&e, &a, &two, &err), 0);
        assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
        assert_int_equal(out.n, 2);
        assert_true(holds(&out, one.digest) && holds(&out, two.digest));
        assert_string_equal(out.at[0].artifact_type, "application/x.test");
    }
    /* Nothing is written when it is listed already. */
    (void)asked(&a, &s->a);
    assert_int_equal(push(&e, &a, &two, &err), 0);
    const char *log = asked(&a, &s->a);
    assert_int_equal(times(log, "PUT", "/manifests/"), 1);
    assert_int_equal(times(log, "GET", "/manifests/sha256-"), 1);
}

/* Somebody else's write is always in between: the entry is lost again and again. */
static void test_push_race(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME), elsewhere = at(s, &s->b, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct made one = artifact(&elsewhere, &a, "one", &image);
    struct err err;
    struct descriptors out;
    control(&s->a, "config", "{\"referrers\":\"404\"}");
    const char *lost = "{\"method\":\"PUT\",\"path\":\"/manifests/sha256-\",\"status\":201}";
    control(&s->a, "rule", lost);
    assert_int_equal(push(&e, &a, &one, &err), 0);
    assert_int_equal(list(&e, &a, image.digest, NULL, &out, &err), 0);
    assert_int_equal(out.n, 1);
    struct made two = artifact(&elsewhere, &a, "two", &image);
    control(&s->a, "rule",
            "{\"method\":\"PUT\",\"path\":\"/manifests/sha256-\",\"status\":201,\"times\":100}");
    assert_int_equal(push(&e, &a, &two, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
}

static void test_push_refused(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint e = at(s, &s->a, NAME), elsewhere = at(s, &s->b, NAME);
    struct made image = make_one(&e, &a, MANIFEST_OCI, "image", 1, "");
    struct made one = artifact(&elsewhere, &a, "one", &image);
    struct err err;
    control(&s->a, "rule", "{\"method\":\"PUT\",\"path\":\"/manifests/sha256:\",\"status\":403}");
    assert_int_equal(push(&e, &a, &one, &err), -1);
    assert_int_equal(err.code, 403);
    control(&s->a, "config",
            "{\"put_digest\":\"sha256:"
            "00000000000000000000000000000000000000000000000000000000000000aa\"}");
    assert_int_equal(push(&e, &a, &one, &err), -1);
    assert_non_null(strstr(err.text, "wrong bytes"));
    control(&s->a, "config", "{\"put_digest\":\"\",\"referrers\":\"404\"}");
    make_put(&e, &a, &image, imageref_fallback_tag(image.digest, &a));
    assert_int_equal(push(&e, &a, &one, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(push(&e, &a, &image, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_api, scene_fresh),
        cmocka_unit_test_setup(test_filter, scene_fresh),
        cmocka_unit_test_setup(test_no_api, scene_fresh),
        cmocka_unit_test_setup(test_nothing, scene_fresh),
        cmocka_unit_test_setup(test_push, scene_fresh),
        cmocka_unit_test_setup(test_push_race, scene_fresh),
        cmocka_unit_test_setup(test_push_refused, scene_fresh),
    };
    return cmocka_run_group_tests(tests, scene_set_up, scene_tear_down);
}
