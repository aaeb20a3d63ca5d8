#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/registry/copy.h"
#include "tests/unit/copy_help.h"

#include <errno.h>

/* What is visible when, what is told on the way, and how many blobs move at once. */

static void test_dry_run(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    (void)make_two(&from, &a, "one", false, "latest", children);
    (void)make_one(&from, &a, MANIFEST_OCI, "signature", 1, subject_of(&a, &children[0]));
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    c.dry_run = true;
    copy_well(&c, &a);
    assert_int_equal(c.companions, 1);
    const char *log = asked(&a, &s->b);
    assert_int_equal(times(log, "P", ""), 0);
    struct copy real = copy_of(from, "latest", to, &a, "latest");
    copy_well(&real, &a);
    assert_int_equal(c.blobs, real.blobs);
    assert_int_equal(c.blobs_moved, real.blobs_moved);
    assert_int_equal(c.bytes_moved, real.bytes_moved);
    assert_int_equal(c.manifests_put, real.manifests_put);
    copy_well(&c, &a);
    assert_true(c.same);
}

/* --- tags ---------------------------------------------------------------------------------------
 */

static void test_read_back(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    make_put(&from, &a, &one, "latest");
    /* A registry that lags is waited for. */
    control(&s->b, "config", "{\"lag\":2}");
    struct copy c = copy_of(from, "latest", to, &a, "lags");
    copy_well(&c, &a);
    control(&s->b, "config", "{\"lag\":0,\"put_moves\":false}");
    c = copy_of(from, "latest", to, &a, "nothing");
    copy_now(&c, &a);
    assert_true(c.failed);
    assert_int_equal(c.err.kind, ERR_TEMP);
    assert_non_null(strstr(c.err.text, "shows nothing"));
}

static void test_stop(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 2, "");
    make_put(&from, &a, &one, "latest");
    (void)asked(&a, &s->a);
    atomic_bool stop = true;
    const struct copy_opts opts = {.stop = &stop};
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    assert_int_equal(copy_all(&a, &c, 1, &opts), 1);
    assert_int_equal(c.err.kind, ERR_TEMP);
    assert_int_equal(c.err.code, ECANCELED);
    assert_string_equal(asked(&a, &s->a), "");
    assert_int_equal(copy_all(&a, NULL, 0, &opts), 0);
}

struct seen {
    int64_t planned, moved;
    size_t blobs;
    int ended, late;
    atomic_bool *stop;
};

static void on_planned(void *user, const struct copy *c, int64_t bytes, size_t blobs)
{
    struct seen *seen = user;
    (void)c;
    seen->planned = bytes;
    seen->blobs = blobs;
    seen->late += seen->ended;
}

static void on_moved(void *user, const struct copy *c, int64_t bytes)
{
    struct seen *seen = user;
    (void)c;
    seen->moved += bytes;
    seen->late += seen->ended;
    if (seen->stop)
        atomic_store(seen->stop, true);
}

static void on_ended(void *user, const struct copy *c)
{
    struct seen *seen = user;
    (void)c;
    seen->ended++;
}

static void test_watch(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    (void)make_two(&from, &a, "one", false, "latest", children);
    (void)make_blob(&to, &a, "the base layer");
    struct seen seen = {0};
    const struct copy_watch watch = {on_planned, on_moved, on_ended, &seen};
    struct copy_opts opts = {.watch = &watch};
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    assert_int_equal(copy_all(&a, &c, 1, &opts), 0);
    assert_int_equal(seen.moved, c.bytes_moved);
    assert_int_equal(seen.planned, c.bytes_moved);
    assert_int_equal(seen.blobs, c.blobs_moved);
    assert_int_equal(c.bytes_total - c.bytes_moved, strlen("the base layer"));
    assert_int_equal(seen.ended, 1);
    assert_int_equal(seen.late, 0);
    /* Stopped in the midst: no tag, and the next one goes on. */
    atomic_bool stop = false;
    seen = (struct seen){.stop = &stop};
    opts.stop = &stop;
    (void)make_two(&from, &a, "two", false, "two", children);
    c = copy_of(from, "two", to, &a, "two");
    assert_int_equal(copy_all(&a, &c, 1, &opts), 1);
    assert_int_equal(c.err.code, ECANCELED);
    assert_null(shown(&to, &a, "two"));
    assert_int_equal(seen.late, 0);
}

/* Looks at the target all the while: whenever the tag is there, all below it is. */
struct witness {
    struct scene *s;
    atomic_bool stop;
    int looks, partial;
};

static void *watch_target(void *user)
{
    struct witness *w = user;
    while (!atomic_load(&w->stop)) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct endpoint to = at(w->s, &w->s->b, NAME);
        struct registry_op op = {
            .verb = REGISTRY_GET, .host = to.host, .name = to.name, .ref = "latest"};
        (void)registry_all(to.registry, &a, &op, 1);
        w->looks++;
        struct manifest m;
        if (op.failed || op.absent ||
            manifest_parse(op.bytes, op.len, op.media_type, &a, &m, NULL) < 0)
            continue;
        for (size_t i = 0; i < m.children.n; i++)
            w->partial += shown(&to, &a, m.children.at[i].digest) == NULL;
    }
    return NULL;
}

static void test_tag_last(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made children[2];
    struct made index = make_two(&from, &a, "one", false, "latest", children);
    control(&s->b, "config", "{\"check_blobs\":false}");
    struct witness w = {.s = s};
    pthread_t thread;
    control(&s->b, "rule",
            "{\"method\":\"PUT\",\"path\":\"/manifests/sha256:\",\"delay\":0.2,\"times\":9,"
            "\"mangle\":{}}");
    assert_int_equal(pthread_create(&thread, NULL, watch_target, &w), 0);
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    copy_well(&c, &a);
    peer_pause(50);
    atomic_store(&w.stop, true);
    (void)pthread_join(thread, NULL);
    assert_true(w.looks > 1);
    assert_int_equal(w.partial, 0);
    const char *log = asked(&a, &s->b);
    const char *tag = strstr(log, "PUT /v2/" NAME "/manifests/latest");
    assert_non_null(tag);
    assert_null(strstr(tag, "PUT /v2/" NAME "/manifests/sha256:"));
    assert_null(strstr(tag, "/blobs/"));
    assert_string_equal(shown(&to, &a, "latest"), index.digest);
}

/* --- one host's share ---------------------------------------------------------------------------
 */

static void test_other_source(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint good = at(s, &s->a, "good/app"), bad = at(s, &s->a, "bad/app");
    struct endpoint to = at(s, &s->b, NAME);
    struct made one = make_one(&good, &a, MANIFEST_OCI, "one", 2, "");
    (void)make_one(&bad, &a, MANIFEST_OCI, "one", 2, "");
    make_put(&good, &a, &one, "latest");
    make_put(&bad, &a, &one, "latest");
    control(&s->a, "rule",
            "{\"method\":\"GET\",\"path\":\"/bad/app/blobs/\",\"status\":403,\"times\":99}");
    struct copy copies[] = {copy_of(bad, "latest", to, &a, "bad"),
                            copy_of(good, "latest", to, &a, "good")};
    const struct copy_opts opts = {.images = 1};
    (void)copy_all(&a, copies, 2, &opts);
    assert_false(copies[1].failed);
    assert_string_equal(shown(&to, &a, "good"), one.digest);
}

static void test_transfers(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct endpoint from = at(s, &s->a, NAME), to = at(s, &s->b, NAME);
    struct made one = make_one(&from, &a, MANIFEST_OCI, "one", 8, "");
    make_put(&from, &a, &one, "latest");
    s->conf[1].transfers = 1;
    control(&s->a, "rule",
            "{\"method\":\"GET\",\"path\":\"/blobs/\",\"delay\":0.05,\"times\":99,\"mangle\":{}}");
    struct copy c = copy_of(from, "latest", to, &a, "latest");
    (void)asked(&a, &s->b);
    copy_well(&c, &a);
    s->conf[1].transfers = 0;
    /* One at a time: every upload ends before the next blob is asked for. */
    const char *log = asked(&a, &s->b);
    int open = 0;
    for (const char *line = log; *line; line = strchr(line, '\n') + 1) {
        if (str_starts(line, "POST"))
            open++;
        if (str_starts(line, "PUT") && strstr(line, "/blobs/uploads/"))
            open--;
        assert_in_range(open, 0, 1);
    }
}

/* A blob that one image could not get is nobody's any more once the next has given it up as well.
 */
static void test_given_up_twice(void **state)
{
    struct scene *s = *state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const names[] = {"team/one", "team/two"};
    const struct copy_opts opts = {.images = 1};
    struct copy copies[ARRAY_LEN(names)];
    scene_client_close(s);
    scene_client(s, NULL);
    s->conf[0].transfers = s->conf[1].transfers = 1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct endpoint from = at(s, &s->a, names[i]);
        struct made m = make_one(&from, &a, MANIFEST_OCI, names[i], i ? 3 : 1, "");
        make_put(&from, &a, &m, "latest");
        copies[i] = copy_of(from, "latest", at(s, &s->b, NAME), &a, i ? "second" : "first");
        copies[i].no_companions = true;
    }
    /* Who comes first is no matter of luck. */
    control(&s->b, "rule", "{\"method\":\"HEAD\",\"path\":\"/manifests/second\",\"delay\":0.5}");
    /* The first lacks the base layer; the second its own next one, and is slow at the last. */
    const char *base = digest_of(&a, "the base layer");
    const char *next = digest_of(&a, "layer 1 of team/two"),
               *slow = digest_of(&a, "layer 2 of team/two");
    const struct {
        const char *name, *digest, *how;
    } rules[] = {{names[0], base, "\"status\":404"},
                 {names[1], next, "\"status\":404"},
                 {names[1], slow, "\"delay\":0.5"}};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        control(&s->a, "rule",
                arena_printf(&a, "{\"method\":\"GET\",\"path\":\"%s/blobs/%s\",\"times\":9,%s}",
                             rules[i].name, rules[i].digest, rules[i].how));
    (void)asked(&a, &s->a);
    (void)copy_all(&a, copies, ARRAY_LEN(copies), &opts);
    assert_true(copies[0].failed && copies[1].failed);
    const char *log = asked(&a, &s->a);
    print_message("%s", log);
    assert_int_equal(times(log, "GET", slow), 1);
    assert_int_equal(times(log, "GET", arena_printf(&a, "%s/blobs/%s", names[1], base)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_dry_run, copy_fresh),
        cmocka_unit_test_setup(test_read_back, copy_fresh),
        cmocka_unit_test_setup(test_stop, copy_fresh),
        cmocka_unit_test_setup(test_watch, copy_fresh),
        cmocka_unit_test_setup(test_tag_last, copy_fresh),
        cmocka_unit_test_setup(test_other_source, copy_fresh),
        cmocka_unit_test_setup(test_transfers, copy_fresh),
        cmocka_unit_test_setup(test_given_up_twice, scene_fresh),
    };
    return cmocka_run_group_tests(tests, scene_set_up, scene_tear_down);
}
