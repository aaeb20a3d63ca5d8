#include "core/engine/rolling.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/domain/imageref.h"
#include "core/engine/presence.h"

#include <errno.h>
#include <inttypes.h>

/* ---- which tags ------------------------------------------------------------------------------ */

static struct spot *add_spot(struct rolling *r, const struct step *step, int64_t task)
{
    struct spot *s = list_push(r->arena, r);
    s->was = *step;
    s->task = task;
    s->repository = arena_printf(r->arena, "%s/%s", step->registry, step->name);
    s->full = arena_printf(r->arena, "%s:%s", s->repository, step->tag);
    s->target = (struct target){.registry = step->registry, .name = step->name, .tag = step->tag};
    *list_push(r->arena, &r->names) = s->full;
    return s;
}

static int find_task(struct rolling *r, int64_t id, struct step_list *steps, struct err *err)
{
    struct task t;
    if (store_task_get(r->engine->store, id, r->arena, &t, err) < 0)
        return -1;
    if (!t.id)
        return err_set(err, ERR_PERM, ENOENT, "there is no task %" PRId64, id);
    if (t.open_journal)
        return err_set(err, ERR_TEMP, EBUSY, "task %" PRId64 " is still at work on its tags", id);
    if (store_steps_get(r->engine->store, id, r->arena, steps, err) < 0)
        return -1;
    if (!steps->n)
        return err_set(err, ERR_PERM, ENOENT,
                       "task %" PRId64 " (%s) has moved no tag: there is nothing to put back", id,
                       task_state_name(t.state));
    r->forge = t.forge;
    r->project = t.project;
    r->task = id;
    return 0;
}

/* What was put back already is not put back again: that would be forth. */
static void add_back(struct rolling *r, const struct step *step, const struct target *t)
{
    struct spot *s = add_spot(r, step, t->rolled_back);
    s->back = true;
    s->was.former_digest = t->applied;
    s->was.new_digest = NULL;
}

static int find_ref(struct rolling *r, int64_t task, const char *text, struct err *err)
{
    struct imageref ref;
    struct step_list steps = {0};
    if (imageref_parse(text, NULL, r->arena, &ref, err) < 0)
        return -1;
    if (!ref.tag || ref.digest)
        return err_set(err, ERR_CONFIG, EINVAL, "%s: name a tag, and no digest", text);
    struct target t = {.registry = ref.host, .name = ref.name, .tag = ref.tag};
    if (store_targets_get(r->engine->store, &t, 1, r->arena, err) < 0)
        return -1;
    if (!t.moved_by)
        return err_set(err, ERR_PERM, ENOENT, "this store knows of no task that moved %s", text);
    if (find_task(r, task ? task : t.moved_by, &steps, err) < 0)
        return -1;
    list_each (const struct step, step, &steps) {
        if (!str_eq(step->registry, ref.host) || !str_eq(step->name, ref.name) ||
            !str_eq(step->tag, ref.tag))
            continue;
        if (t.rolled_back)
            add_back(r, step, &t);
        else
            (void)add_spot(r, step, r->task);
        return 0;
    }
    return err_set(err, ERR_PERM, ENOENT, "task %" PRId64 " has not moved %s", r->task, text);
}

int rolling_find(struct rolling *r, int64_t task, const char *ref, struct err *err)
{
    struct step_list steps = {0};
    if (ref)
        return find_ref(r, task, ref, err);
    if (find_task(r, task, &steps, err) < 0)
        return -1;
    list_each (const struct step, step, &steps)
        (void)add_spot(r, step, task);
    return 0;
}

/* ---- what the values say --------------------------------------------------------------------- */

/* A tag that could not be restored shows what its task wrote, and the store knows that it should
 * not. */
static bool moved_since(const struct spot *s, struct arena *a, const char **reason)
{
    const struct target *t = &s->target;
    if (s->back) {
        *reason = arena_printf(a, "task %" PRId64 " put it back to %s, but somebody else moved it",
                               s->task, s->was.former_digest);
        return true;
    }
    bool stuck = s->was.state == STEP_STUCK;
    if (t->moved_by && t->moved_by != s->task && !stuck)
        *reason = arena_printf(a, "task %" PRId64 " has moved it since", t->moved_by);
    else if (!str_eq(t->applied, stuck ? s->was.former_digest : s->was.new_digest))
        *reason =
            arena_printf(a, "Slipway last published %s there", t->applied ? t->applied : "nothing");
    else if (!str_eq(s->shows, s->was.new_digest))
        *reason = arena_printf(a, "it shows %s, which Slipway did not put there",
                               s->shows ? s->shows : "nothing");
    else
        return false;
    return true;
}

enum rollback_state rolling_judge(const struct spot *s, struct arena *a, const char **reason)
{
    *reason = NULL;
    if (str_eq(s->shows, s->was.former_digest)) {
        if (s->back)
            *reason = arena_printf(a,
                                   "task %" PRId64 " has put it back already; `slipway rollback "
                                   "%" PRId64 "` takes that back",
                                   s->task, s->task);
        else if (s->target.held)
            *reason = arena_printf(a, "pinned: %s", s->target.held);
        return ROLLBACK_SAME;
    }
    if (moved_since(s, a, reason))
        return ROLLBACK_MOVED;
    if (!s->was.former_digest) {
        *reason = "there was no such tag before: only its removal would bring that back";
        return ROLLBACK_ABSENT;
    }
    if (s->target.held) {
        *reason = arena_printf(a, "it is pinned (%s): `slipway rollback --release %s` first",
                               s->target.held, s->full);
        return ROLLBACK_FAILED;
    }
    return ROLLBACK_WOULD;
}

/* ---- what the registry says ------------------------------------------------------------------ */

const struct kept_manifest *rolling_bytes(const struct rolling *r, const char *digest)
{
    for (size_t i = 0; i < r->kept.n; i++)
        if (str_eq(r->kept.at[i].digest, digest))
            return &r->kept.at[i];
    return NULL;
}

static void keep(struct rolling *r, const char *digest, const char *media_type, const void *bytes,
                 size_t len)
{
    if (!rolling_bytes(r, digest))
        *list_push(r->arena, &r->kept) = (struct kept_manifest){
            .digest = digest, .media_type = media_type, .bytes = bytes, .len = len};
}

static enum rollback_state unasked(struct rolling *r, const struct err *err, const char **reason)
{
    *reason = arena_strdup(r->arena, err->text);
    if (err->kind == ERR_TEMP) {
        r->temporary = true;
        r->trouble = *reason;
    }
    return ROLLBACK_FAILED;
}

/* What was found out about an image: tags that share one are told the same. */
struct finding {
    enum rollback_state state;
    const char *reason;
};

static void look_for_image(struct rolling *r, struct presence_search *search, const struct spot *s,
                           struct finding *out)
{
    struct err err = ERR_INIT;
    struct presence p;
    out->state = ROLLBACK_WOULD;
    if (presence_find(search, s->was.registry, s->was.name, s->was.former_digest, &p, &err) < 0) {
        out->state = unasked(r, &err, &out->reason);
        return;
    }
    if (p.missing) {
        out->state = ROLLBACK_MISSING;
        out->reason =
            arena_printf(r->arena, "the registry does not have its %s any more", p.missing);
    }
    if (p.digest)
        keep(r, p.digest, p.media_type, p.bytes, p.len);
}

static void look_for_images(struct rolling *r)
{
    struct strset findings = {0};
    struct presence_search search = {
        .registry = r->engine->registry, .access = r->access, .arena = r->arena};
    list_each (struct spot, s, r) {
        if (s->state != ROLLBACK_WOULD)
            continue;
        const char *name = arena_printf(r->arena, "%s@%s", s->repository, s->was.former_digest);
        void **known = strset_at(&findings, r->arena, name);
        if (!*known) {
            struct finding *f = arena_alloc(r->arena, sizeof *f);
            look_for_image(r, &search, s, f);
            *known = f;
        }
        const struct finding *f = *known;
        const struct kept_manifest *m = rolling_bytes(r, s->was.former_digest);
        s->state = f->state;
        s->reason = f->reason;
        s->to_type = m ? m->media_type : NULL;
    }
}

/* What each tag shows, with its bytes: an undo would need them. */
static void look_at_tags(struct rolling *r)
{
    struct registry_op *ops = arena_alloc(r->arena, (r->n + 1) * sizeof *ops);
    for (size_t i = 0; i < r->n; i++)
        ops[i] = (struct registry_op){.verb = REGISTRY_GET,
                                      .host = r->at[i].was.registry,
                                      .name = r->at[i].was.name,
                                      .ref = r->at[i].was.tag,
                                      .access = r->access};
    (void)registry_all(r->engine->registry, r->arena, ops, r->n);
    for (size_t i = 0; i < r->n; i++) {
        struct spot *s = &r->at[i];
        if (ops[i].failed) {
            s->state = unasked(r, &ops[i].err, &s->reason);
            continue;
        }
        if (!ops[i].absent) {
            s->shows = ops[i].digest;
            s->shows_type = ops[i].media_type;
            keep(r, ops[i].digest, ops[i].media_type, ops[i].bytes, ops[i].len);
        }
        s->state = rolling_judge(s, r->arena, &s->reason);
    }
}

static int read_targets(struct rolling *r, struct err *err)
{
    struct target *rows = arena_alloc(r->arena, (r->n + 1) * sizeof *rows);
    for (size_t i = 0; i < r->n; i++)
        rows[i] = r->at[i].target;
    if (store_targets_get(r->engine->store, rows, r->n, r->arena, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n; i++)
        r->at[i].target = rows[i];
    return 0;
}

int rolling_look(struct rolling *r, struct err *err)
{
    if (read_targets(r, err) < 0)
        return -1;
    look_at_tags(r);
    look_for_images(r);
    return 0;
}

/* ---- all of them together -------------------------------------------------------------------- */

bool rolling_blocked(const struct rolling *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].state == ROLLBACK_MISSING || r->at[i].state == ROLLBACK_FAILED)
            return true;
    return false;
}

bool rolling_pins(const struct rolling *r, const struct spot *s)
{
    return r->hold && s->state == ROLLBACK_SAME && s->shows && !s->target.held;
}

bool rolling_wanted(const struct rolling *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].state == ROLLBACK_WOULD || rolling_pins(r, &r->at[i]))
            return true;
    return false;
}

const char *rolling_list(const struct rolling *r, enum rollback_state one,
                         enum rollback_state other)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(2000);
    for (size_t i = 0; i < r->n; i++) {
        const struct spot *s = &r->at[i];
        if (s->state == one || s->state == other)
            (void)strbuf_addf(&text, "%s%s: %s", text.len ? "; " : "", s->full,
                              s->reason ? s->reason : rollback_state_name(s->state));
    }
    return strbuf_to_arena(&text, r->arena);
}
