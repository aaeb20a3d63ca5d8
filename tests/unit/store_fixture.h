/*
 * store_fixture.h - a store in a directory of its own, and rows to put into it.
 */
#ifndef SLIPWAY_TESTS_STORE_FIXTURE_H
#define SLIPWAY_TESTS_STORE_FIXTURE_H

#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/store/store.h"
#include "core/store/store_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    char url[128];
    struct store *s;
    struct arena a;
    struct err err;
};

/* Asserts that a call of the store succeeded, and shows its error when it did not. */
#define ok(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (f)->err.text);                                              \
    } while (0)

#define fails(f, call, kind_, code_)                                                               \
    do {                                                                                           \
        assert_int_equal((call), -1);                                                              \
        if ((f)->err.kind != (kind_) || (f)->err.code != (code_))                                  \
            fail_msg("%s: %s %d: %s", #call, err_kind_name((f)->err.kind), (f)->err.code,          \
                     (f)->err.text);                                                               \
    } while (0)

static UNUSED void fixture_open(struct fixture *f)
{
    struct store_opts opts = {.url = f->url, .may_create = true};
    ok(f, store_open(&opts, &f->s, &f->err));
}

static UNUSED void fixture_reopen(struct fixture *f)
{
    store_close(f->s);
    f->s = NULL;
    fixture_open(f);
}

static UNUSED int fixture_dir(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/t_store.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->url, sizeof f->url, "sqlite:%s/s.db", f->dir);
    *state = f;
    return 0;
}

static UNUSED int fixture_setup(void **state)
{
    (void)fixture_dir(state);
    fixture_open(*state);
    return 0;
}

static UNUSED int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    arena_release(&f->a);
    (void)fs_remove_tree(f->dir, NULL);
    free(f);
    return 0;
}

/* Keeps a delivery with this body; returns its id. */
static UNUSED int64_t fixture_put(struct fixture *f, const char *body, bool *repeat)
{
    bool again = false;
    struct delivery d = {
        .source = "forge", .received_at = clock_now_ms(), .body = body, .body_len = strlen(body)};
    ok(f, store_delivery_put(f->s, &d, &again, &f->err));
    if (repeat)
        *repeat = again;
    else
        assert_false(again);
    return d.id;
}

static UNUSED struct task fixture_task(const char *key, int64_t delivery)
{
    return (struct task){
        .delivery = delivery,
        .forge = "forge",
        .project = "team/app",
        .pipeline = "promote",
        .lane = "main",
        .key = key,
        .ref = "change/7",
        .event = "{}",
        .order = {.project = "forge/team/app", .commit = "c1", .happened_at = 5, .seq = delivery},
        .received_at = 1000,
        .run_at = 1000,
    };
}

#define REG "registry.example.org"

/* A journal of n tags a, b, c ... of one repository, all moved to a digest. */
struct journal {
    struct step step[8];
    struct step_list steps;
    struct target expected[8];
};

static UNUSED void journal_make(struct fixture *f, struct journal *p, const char *tags,
                                const char *digest)
{
    *p = (struct journal){0};
    size_t n = strlen(tags);
    for (size_t i = 0; i < n; i++) {
        p->step[i] = (struct step){
            .registry = REG,
            .name = "team/app",
            .tag = arena_printf(&f->a, "%c", tags[i]),
            .staged_tag = arena_printf(&f->a, "change_7_%c", tags[i]),
            .new_digest = digest,
            .new_type = "type",
            .former_digest = i ? "sha256:former" : NULL,
        };
        p->expected[i] =
            (struct target){.registry = REG, .name = "team/app", .tag = p->step[i].tag};
    }
    p->steps = (struct step_list){.at = p->step, .n = n};
    ok(f, store_targets_get(f->s, p->expected, n, &f->a, &f->err));
}

static UNUSED int journal_begin(struct fixture *f, struct task *t, struct journal *p, bool *repeat)
{
    struct kept_manifest kept[] = {
        {.digest = p->step[0].new_digest, .media_type = "type", .bytes = "new", .len = 3},
        {.digest = "sha256:former", .media_type = "type", .bytes = "old\0", .len = 4},
    };
    struct kept_manifest_list list = {.at = kept, .n = ARRAY_LEN(kept)};
    return store_journal_begin(f->s, t, &p->steps, p->expected, &list, repeat, &f->err);
}

static UNUSED void journal_states(struct journal *p, enum step_state state)
{
    for (size_t i = 0; i < p->steps.n; i++)
        p->step[i].state = state;
}

static UNUSED int journal_end(struct fixture *f, struct task *t, struct journal *p,
                              enum task_state state)
{
    t->state = state;
    return store_journal_end(f->s, t, &p->steps, NULL, &f->err);
}

#endif
