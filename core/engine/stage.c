#include "core/engine/stage.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/ask.h"
#include "core/engine/closed.h"
#include "core/os/clock.h"

#include <errno.h>

/* One staged tag on its way. */
struct mark {
    const struct plan_tag *tag;
    struct registry_op bytes; /* GET by digest; shared by tags of one digest and repository */
    bool written;
    bool seen;
};

struct staging {
    const struct engine *engine;
    struct arena *arena;
    struct mark *marks;
    size_t n;
};

static const char *full_name(const struct plan_tag *t, struct arena *a)
{
    return arena_printf(a, "%s/%s:%s", t->registry, t->name, t->tag);
}

struct event stage_event(const struct event *of, const struct plan *plan, const char *run_id,
                         const char *tree, int64_t now_s, struct arena *a)
{
    struct event e = {.kind = EVENT_STAGED,
                      .forge = of->forge,
                      .project = of->project,
                      .branch = of->branch,
                      .change = of->change,
                      .patchset = of->patchset,
                      .change_url = of->change_url,
                      .list_commit = of->list_commit,
                      .staged_commit = of->staged_commit ? of->staged_commit : of->list_commit,
                      .tree = tree,
                      .run_id = run_id,
                      .happened_at = now_s};
    list_each (const struct plan_tag, t, &plan->tags)
        *list_push(a, &e.images) =
            (struct event_image){.repository = arena_printf(a, "%s/%s", t->registry, t->name),
                                 .tag = t->tag,
                                 .digest = t->prepared};
    return e;
}

static int check_owners(const struct staging *s, const struct event *event, struct err *err)
{
    for (size_t i = 0; i < s->n && s->engine->store; i++) {
        const struct plan_tag *t = s->marks[i].tag;
        const char *owner = NULL;
        const char *repository = arena_printf(s->arena, "%s/%s", t->registry, t->name);
        if (store_staged_owner(s->engine->store, repository, t->tag, event->forge, event->project,
                               s->arena, &owner, err) < 0)
            return -1;
        if (owner)
            return err_set(err, ERR_PERM, EEXIST,
                           "%s belongs to %s, which has not promoted it: change numbers of two "
                           "projects meet in one repository; give each its own",
                           full_name(t, s->arena), owner);
    }
    return 0;
}

static struct registry_op op_of(const struct plan_tag *t, enum registry_verb verb, const char *ref)
{
    return (struct registry_op){.verb = verb,
                                .host = t->registry,
                                .name = t->name,
                                .ref = ref,
                                .access = {.patient = true}};
}

static int fetch(struct staging *s, struct err *err)
{
    struct registry_op *ops = arena_alloc(s->arena, s->n * sizeof *ops);
    for (size_t i = 0; i < s->n; i++)
        ops[i] = op_of(s->marks[i].tag, REGISTRY_GET, s->marks[i].tag->prepared);
    (void)registry_all(s->engine->registry, s->arena, ops, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const char *name = full_name(s->marks[i].tag, s->arena);
        if (ops[i].failed) {
            *err = ops[i].err;
            return err_wrap(err, "reading what %s is to show", name);
        }
        if (ops[i].absent)
            return err_set(err, ERR_TEMP, 0, "%s is to show %s, which the registry lost", name,
                           s->marks[i].tag->prepared);
        s->marks[i].bytes = ops[i];
    }
    return 0;
}

static int write_all(struct staging *s, struct err *err)
{
    struct registry_op *ops = arena_alloc(s->arena, s->n * sizeof *ops);
    int rc = 0;
    for (size_t i = 0; i < s->n; i++) {
        ops[i] = op_of(s->marks[i].tag, REGISTRY_PUT, s->marks[i].tag->tag);
        ops[i].bytes = s->marks[i].bytes.bytes;
        ops[i].len = s->marks[i].bytes.len;
        ops[i].media_type = s->marks[i].bytes.media_type;
        ops[i].digest = s->marks[i].tag->prepared;
    }
    (void)registry_all(s->engine->registry, s->arena, ops, s->n);
    for (size_t i = 0; i < s->n; i++) {
        s->marks[i].written = !ops[i].failed;
        if (!ops[i].failed || rc < 0)
            continue;
        *err = ops[i].err;
        rc = err_wrap(err, "writing %s", full_name(s->marks[i].tag, s->arena));
    }
    return rc;
}

/* One look at what has not been seen yet; returns how many are left. */
static size_t look(struct staging *s, struct err *err)
{
    size_t left = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct mark *m = &s->marks[i];
        struct registry_op op = op_of(m->tag, REGISTRY_HEAD, m->tag->tag);
        if (m->seen)
            continue;
        (void)registry_all(s->engine->registry, s->arena, &op, 1);
        m->seen = !op.failed && !op.absent && str_eq(op.digest, m->tag->prepared);
        if (m->seen)
            continue;
        left++;
        if (op.failed)
            *err = op.err;
        else
            (void)err_set(err, ERR_TEMP, 0,
                          "%s was written and shows %s: the registry lags behind, or somebody "
                          "else wrote it",
                          full_name(m->tag, s->arena), op.absent ? "nothing" : op.digest);
    }
    return left;
}

static int read_back(struct staging *s, struct err *err)
{
    for (int i = 0;; i++) {
        if (look(s, err) == 0)
            return 0;
        if (i + 1 == LIMIT_READBACK_TRIES)
            return -1;
        clock_sleep_ms((int64_t)LIMIT_READBACK_PAUSE_MS << i);
    }
}

/* A run that did not come to its end leaves no tags that look as if it had. */
static void take_back(const struct staging *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct plan_tag *t = s->marks[i].tag;
        struct err why = ERR_INIT;
        enum registry_removal removal = REMOVAL_NO_WAY;
        if (!s->marks[i].written)
            continue;
        (void)registry_remove_tag(s->engine->registry, s->arena, t->registry, t->name, t->tag,
                                  t->prepared, false, NULL, NULL, &removal, &why);
        if (why.kind != ERR_NONE || removal == REMOVAL_NO_WAY)
            log_warn("a staged tag of a run that failed stays; nothing recorded it", "tag",
                     full_name(t, s->arena), "reason", why.text, NULL);
    }
}

static int record(const struct engine *e, const struct task *t, const struct event *event,
                  const struct plan *plan, struct arena *a, struct err *err)
{
    const char *tree = event->tree; /* who built from a working tree knows it */
    int64_t now = clock_now_ms();
    if (!e->store)
        return 0;
    if (!tree && ask_tree(e, event, a, &tree, err) < 0)
        return err_wrap(err, "asking for the git tree that was built");
    const struct event staged = stage_event(event, plan, event->run_id, tree, now / 1000, a);
    return store_staged_record(e->store, &staged, t->delivery, now, err);
}

int stage_run(const struct engine *e, const struct task *t, const struct event *event,
              const struct plan *plan, struct arena *a, struct err *err)
{
    struct staging s = {.engine = e, .arena = a, .n = plan->tags.n};
    s.marks = arena_alloc(a, s.n * sizeof *s.marks);
    for (size_t i = 0; i < s.n; i++)
        s.marks[i].tag = &plan->tags.at[i];
    if (check_owners(&s, event, err) < 0 || fetch(&s, err) < 0)
        return -1;
    if (write_all(&s, err) == 0 && read_back(&s, err) == 0 &&
        record(e, t, event, plan, a, err) == 0) {
        if (!closed_since(e, t))
            return 0;
        (void)err_set(err, ERR_PERM, ECANCELED, "change %s was closed meanwhile", event->change);
    }
    take_back(&s);
    return -1;
}
