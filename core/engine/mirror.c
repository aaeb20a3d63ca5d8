#include "core/engine/mirror.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/tagselect.h"
#include "core/engine/locks.h"
#include "core/engine/mirror_make.h"
#include "core/engine/mirror_owner.h"
#include "core/os/clock.h"

#include <errno.h>
#include <inttypes.h>

enum { BATCH = 64, BATCH_SPARING = 8 };

/* What a host said of its limits counts for so long, then it is asked anew. */
#define RATE_FRESH_MS INT64_C(60000)
#define RATE_WINDOW_S 3600 /* where it does not say */

struct copy_list {
    struct copy *at;
    size_t n;
    size_t cap;
};

/* An entry and the tags of its source that are meant. */
struct pick {
    const struct mirror_entry *entry;
    struct tagselect *select; /* NULL: one literal tag */
    struct str_list tags;
};

struct mirror_work {
    const struct mirror_opts *opts;
    struct arena *arena;
    struct mirror_result *out;
    LIST(struct pick) picks;
    struct copy_list copies;
    int64_t until;         /* clock_monotonic_ms: the run ends */
    struct str_list asked; /* sources that were asked for their limits */
};

static const char *full_name(struct arena *a, const char *host, const char *name, const char *ref)
{
    return arena_printf(a, "%s/%s%s%s", host, name, imageref_digest_ok(ref) ? "@" : ":", ref);
}

static struct mirror_row *add_row(struct mirror_work *w, enum mirror_state state,
                                  const char *source, const char *target)
{
    struct mirror_row *row = list_push(w->arena, w->out);
    *row = (struct mirror_row){.state = state, .source = source, .target = target};
    w->out->count[state]++;
    return row;
}

static struct mirror_row *add_failure(struct mirror_work *w, const char *source, const char *target,
                                      const struct err *err)
{
    struct mirror_row *row = add_row(w, MIRROR_FAILED, source, target);
    row->reason = arena_strdup(w->arena, err->text);
    row->temporary = err->kind == ERR_TEMP;
    w->out->temporary = w->out->temporary || row->temporary;
    return row;
}

static bool is_stopped(const struct mirror_work *w)
{
    return (w->opts->stop && atomic_load(w->opts->stop)) || clock_monotonic_ms() >= w->until;
}

/* ---- what is to be copied -------------------------------------------------------------------- */

static struct endpoint source_of(const struct mirror_work *w, const struct mirror_entry *e)
{
    return (struct endpoint){
        .registry = w->opts->registry,
        .host = e->host,
        .name = e->name,
        .access = {.read_only = true,
                   .anonymous = e->anonymous,
                   .patient = true,
                   .until = w->until},
    };
}

static int check_owner(const struct mirror_work *w, const char *host, const char *name,
                       const char *tag, struct err *err)
{
    struct store *store = w->opts->store;
    return store ? mirror_check_owner(store, host, name, tag, w->arena, err) : 0;
}

static void add_copy(struct mirror_work *w, const struct mirror_entry *e,
                     const struct mirror_target *t, const char *tag)
{
    struct err err = ERR_INIT;
    const struct imagefile_mirror *item = e->item;
    const char *to = item->dest_tag ? item->dest_tag : tag;
    const char *source = full_name(w->arena, e->host, e->name, tag);
    const char *target = full_name(w->arena, t->host, t->name, to);
    const char *why = mirror_tag_refused(&w->opts->rules, to);
    if (why) {
        (void)err_set(&err, ERR_PERM, 0, "%s", why);
        add_failure(w, source, target, &err);
        return;
    }
    struct copy *c = list_push(w->arena, &w->copies);
    *c = (struct copy){
        .from = source_of(w, e),
        .from_ref = tag,
        .to = {.registry = w->opts->registry, .host = t->host, .name = t->name},
        .platforms = item->platforms,
        .no_companions = item->no_companions,
        .dry_run = w->opts->dry_run,
    };
    c->to.access = (struct registry_access){.patient = true, .until = w->until};
    *list_push(w->arena, &c->to_tags) = to;
}

/* The tags of the source that are meant. -1: the entry failed, a row says why. */
static int pick_tags(struct mirror_work *w, const struct mirror_entry *e,
                     const struct tagselect *select, struct str_list *picked)
{
    struct err err = ERR_INIT;
    struct str_list all = {0};
    bool absent = false;
    const char *name = arena_printf(w->arena, "%s/%s", e->host, e->name);
    struct endpoint from = source_of(w, e);
    if (tagselect_literal(select, w->arena, picked) && !e->item->prune && !w->opts->prune)
        return 0;
    *picked = (struct str_list){0};
    if (registry_tags(w->opts->registry, w->arena, e->host, e->name, &from.access, &all, &absent,
                      &err) == 0) {
        tagselect_pick(select, &all, w->arena, picked);
        if (picked->n)
            return 0;
        (void)err_set(&err, ERR_PERM, 404, "%s",
                      absent ? "there is no such repository"
                             : "none of its tags is meant by src_tags");
    }
    add_failure(w, name, NULL, &err);
    return -1;
}

/* ---- copying --------------------------------------------------------------------------------- */

static const char *source_name(const struct mirror_work *w, const struct copy *c)
{
    return full_name(w->arena, c->from.host, c->from.name, c->from_ref);
}

static const char *target_name(const struct mirror_work *w, const struct copy *c)
{
    return full_name(w->arena, c->to.host, c->to.name, c->to_tags.at[0]);
}

/* What the source last said; when that was long ago, or never, one HEAD asks it, which the known
 * registries do not count. remaining -1: not known. */
static struct registry_rate rate_of(struct mirror_work *w, const struct copy *c)
{
    struct registry *r = w->opts->registry;
    bool anonymous = c->from.access.anonymous;
    struct registry_rate rate = registry_rate(r, c->from.host, anonymous);
    const char *who = arena_printf(w->arena, "%s %d", c->from.host, anonymous);
    if (rate.remaining >= 0 && clock_now_ms() - rate.seen_ms < RATE_FRESH_MS)
        return rate;
    if (!str_in(who, &w->asked)) {
        struct registry_op op = {.verb = REGISTRY_HEAD,
                                 .host = c->from.host,
                                 .name = c->from.name,
                                 .ref = c->from_ref,
                                 .access = c->from.access};
        *list_push(w->arena, &w->asked) = who;
        (void)registry_all(r, w->arena, &op, 1);
        rate = registry_rate(r, c->from.host, anonymous);
    }
    int64_t window_s = rate.window_s ? rate.window_s : RATE_WINDOW_S;
    if (clock_now_ms() - rate.seen_ms > window_s * 1000)
        rate.remaining = -1;
    return rate;
}

/* A source that is nearly out of requests is left for later: being refused costs more. */
static bool spare(struct mirror_work *w, const struct copy *c)
{
    if (w->opts->rate_min <= 0)
        return false;
    struct registry_rate rate = rate_of(w, c);
    if (rate.remaining < 0 || rate.remaining >= w->opts->rate_min)
        return false;
    struct err err = ERR_INIT;
    (void)err_set(&err, ERR_TEMP, 0,
                  "%s has %" PRId64 " of %" PRId64 " requests left, and rate_limit asks to leave "
                  "it %" PRId64,
                  c->from.host, rate.remaining, rate.limit, w->opts->rate_min);
    add_failure(w, source_name(w, c), target_name(w, c), &err);
    return true;
}

/* An immutable tag is made once: one that shows something else stays, and so does one of which
 * nobody can say what the source shows. */
static bool guard_immutable(struct mirror_work *w, struct copy *c)
{
    const struct policy_project *policy = w->opts->rules.policy;
    const char *tag = c->to_tags.at[0];
    if (!policy || !policy_tag_is_immutable(policy, tag))
        return false;
    struct err err = ERR_INIT;
    struct registry_op ops[] = {
        {.verb = REGISTRY_HEAD,
         .host = c->from.host,
         .name = c->from.name,
         .ref = c->from_ref,
         .access = c->from.access},
        {.verb = REGISTRY_HEAD,
         .host = c->to.host,
         .name = c->to.name,
         .ref = tag,
         .access = c->to.access},
    };
    (void)registry_all(w->opts->registry, w->arena, ops, ARRAY_LEN(ops));
    if (ops[1].failed || ops[0].failed) {
        err = ops[1].failed ? ops[1].err : ops[0].err;
    } else if (ops[0].absent || ops[1].absent) {
        return false;
    } else if (str_eq(ops[0].digest, ops[1].digest)) {
        c->expected = ops[1].digest;
        return false;
    } else {
        (void)err_set(&err, ERR_PERM, 0,
                      "policy says that this tag is immutable, and it shows "
                      "%s",
                      ops[1].digest);
    }
    add_failure(w, source_name(w, c), target_name(w, c), &err);
    return true;
}

static void take_copy(struct mirror_work *w, const struct copy *c)
{
    const char *source = source_name(w, c), *target = target_name(w, c);
    if (c->failed) {
        add_failure(w, source, target, &c->err)->watched = true;
        return;
    }
    enum mirror_state state = c->same      ? MIRROR_SAME
                              : c->dry_run ? MIRROR_WOULD_COPY
                                           : MIRROR_COPIED;
    struct mirror_row *row = add_row(w, state, source, target);
    row->watched = true;
    row->digest = c->digest;
    row->bytes_moved = c->bytes_moved;
}

static bool is_owned(struct mirror_work *w, const struct copy *c)
{
    struct err err = ERR_INIT;
    if (check_owner(w, c->to.host, c->to.name, c->to_tags.at[0], &err) == 0)
        return false;
    add_failure(w, source_name(w, c), target_name(w, c), &err);
    return true;
}

static void copy_batch(struct mirror_work *w, struct copy *copies, size_t n)
{
    struct copy_opts opts = {.watch = w->opts->watch, .stop = w->opts->stop, .until = w->until};
    struct copy *go = arena_alloc(w->arena, n * sizeof *go);
    struct str_list names = {0};
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        *list_push(w->arena, &names) = target_name(w, &copies[i]);
    bool locked = w->opts->locks && !w->opts->dry_run;
    if (locked)
        target_locks_take(w->opts->locks, &names);
    for (size_t i = 0; i < n; i++)
        if (!is_owned(w, &copies[i]) && !spare(w, &copies[i]) && !guard_immutable(w, &copies[i]))
            go[left++] = copies[i];
    (void)copy_all(w->arena, go, left, &opts);
    if (locked)
        target_locks_drop(w->opts->locks, &names);
    for (size_t i = 0; i < left; i++)
        take_copy(w, &go[i]);
}

/* ---- pruning --------------------------------------------------------------------------------- */

static void prune_tag(struct mirror_work *w, const struct mirror_target *t, const char *tag,
                      const char *target)
{
    struct err err = ERR_INIT;
    enum registry_removal removal;
    struct registry_op op = {.verb = REGISTRY_HEAD,
                             .host = t->host,
                             .name = t->name,
                             .ref = tag,
                             .access = {.patient = true, .until = w->until}};
    if (registry_all(w->opts->registry, w->arena, &op, 1) > 0) {
        add_failure(w, NULL, target, &op.err);
        return;
    }
    if (op.absent)
        return;
    if (check_owner(w, t->host, t->name, tag, &err) < 0) {
        add_failure(w, NULL, target, &err);
        return;
    }
    if (w->opts->dry_run || !w->opts->may_prune) {
        add_row(w, MIRROR_WOULD_PRUNE, NULL, target)->digest = op.digest;
        return;
    }
    if (registry_remove_tag(w->opts->registry, w->arena, t->host, t->name, tag, op.digest, true,
                            NULL, NULL, &removal, &err) < 0) {
        add_failure(w, NULL, target, &err);
        return;
    }
    struct mirror_row *row =
        add_row(w, removal == REMOVAL_NO_WAY ? MIRROR_LEFT : MIRROR_PRUNED, NULL, target);
    row->digest = op.digest;
    if (removal == REMOVAL_NO_WAY)
        row->reason = arena_strdup(w->arena, err.text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A copy in order, for bsearch: a repository may have very many tags. */
static struct str_list sorted(const struct str_list *list, struct arena *a)
{
    struct str_list out = {.n = list->n, .cap = list->n};
    out.at = arena_memdup(a, list->at, list->n * sizeof *list->at);
    qsort(out.at, out.n, sizeof *out.at, by_text);
    return out;
}

/* What src_tags mean at the target and the source has not. */
static void prune_target(struct mirror_work *w, const struct mirror_target *t,
                         const struct tagselect *select, const struct str_list *picked)
{
    struct err err = ERR_INIT;
    struct str_list all = {0}, meant = {0};
    struct registry_access access = {.patient = true, .until = w->until};
    bool absent = false;
    if (registry_tags(w->opts->registry, w->arena, t->host, t->name, &access, &all, &absent, &err) <
        0) {
        add_failure(w, NULL, arena_printf(w->arena, "%s/%s", t->host, t->name), &err);
        return;
    }
    tagselect_pick(select, &all, w->arena, &meant);
    const struct str_list there = sorted(picked, w->arena);
    bool locked = w->opts->locks && !w->opts->dry_run;
    for (size_t i = 0; i < meant.n && !is_stopped(w); i++) {
        const char *tag = meant.at[i], *target = full_name(w->arena, t->host, t->name, tag);
        struct str_list names = {.at = &target, .n = 1};
        if (bsearch(&tag, there.at, there.n, sizeof tag, by_text) || mirror_tag_is_kept(tag))
            continue;
        if (locked)
            target_locks_take(w->opts->locks, &names);
        prune_tag(w, t, tag, target);
        if (locked)
            target_locks_drop(w->opts->locks, &names);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* A copy's place in the list, by what it writes. */
struct twin {
    const char *target;
    size_t index;
};

static int by_target(const void *a, const void *b)
{
    const struct twin *x = a, *y = b;
    int order = strcmp(x->target, y->target);
    return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* Before the first push, which would make the repository private. */
static void make_targets(struct mirror_work *w, const struct mirror_entry *e)
{
    struct err err = ERR_INIT;
    list_each (const struct mirror_target, t, &e->targets)
        if (e->item->visibility && !w->opts->dry_run &&
            mirror_make(w->opts->registry, w->arena, e->item, t, w->until, &err) < 0)
            add_failure(w, NULL, arena_printf(w->arena, "%s/%s", t->host, t->name), &err);
}

static void plan_entry(struct mirror_work *w, const struct mirror_entry *e)
{
    struct err err = ERR_INIT;
    struct pick pick = {.entry = e};
    if (e->tag) {
        *list_push(w->arena, &pick.tags) = e->tag;
    } else {
        pick.select = tagselect_compile(&e->item->src_tags, &e->item->skip_tags, &err);
        if (!pick.select)
            add_failure(w, arena_printf(w->arena, "%s/%s", e->host, e->name), NULL, &err);
        if (!pick.select || pick_tags(w, e, pick.select, &pick.tags) < 0) {
            tagselect_free(pick.select);
            return;
        }
    }
    *list_push(w->arena, &w->picks) = pick;
    make_targets(w, e);
    list_each (const struct mirror_target, t, &e->targets)
        for (size_t i = 0; i < pick.tags.n; i++)
            add_copy(w, e, t, pick.tags.at[i]);
}

/* Which source would win where two write one tag is nobody's guess: the later one is refused. */
static void refuse_twins(struct mirror_work *w)
{
    struct twin *all = arena_alloc(w->arena, w->copies.n * sizeof *all);
    size_t n = 0;
    for (size_t i = 0; i < w->copies.n; i++)
        all[i] = (struct twin){target_name(w, &w->copies.at[i]), i};
    qsort(all, w->copies.n, sizeof *all, by_target);
    for (size_t i = 1; i < w->copies.n; i++)
        if (str_eq(all[i - 1].target, all[i].target))
            w->copies.at[all[i].index].failed = true;
    for (size_t i = 0; i < w->copies.n; i++) {
        struct copy *c = &w->copies.at[i];
        struct err err = ERR_INIT;
        if (!c->failed) {
            w->copies.at[n++] = *c;
            continue;
        }
        (void)err_set(&err, ERR_PERM, 0, "another item of the list writes this tag, too");
        add_failure(w, source_name(w, c), target_name(w, c), &err);
    }
    w->copies.n = n;
}

/* Last, so that a tag that was renamed is there under its new name first. */
static void prune_all(struct mirror_work *w)
{
    list_each (const struct pick, pick, &w->picks)
        if (pick->select && (pick->entry->item->prune || w->opts->prune))
            list_each (const struct mirror_target, t, &pick->entry->targets)
                prune_target(w, t, pick->select, &pick->tags);
}

static bool wants_prune(const struct mirror_work *w)
{
    list_each (const struct pick, pick, &w->picks)
        if (pick->select && (pick->entry->item->prune || w->opts->prune))
            return true;
    return false;
}

/* Why the rest of the list is left to the next run. */
static void add_rest(struct mirror_work *w, int64_t limit_s)
{
    struct err err = ERR_INIT;
    char limit[24];
    str_seconds(limit_s, limit);
    if (clock_monotonic_ms() >= w->until)
        (void)err_set(&err, ERR_TEMP, ETIMEDOUT,
                      "not done within %s, the time limit (timeout); the next run goes on", limit);
    else
        (void)err_set(&err, ERR_TEMP, ECANCELED, "stopped; the next run goes on");
    add_failure(w, NULL, NULL, &err);
}

void mirror_run(const struct mirror_opts *opts, const struct mirror_entries *entries,
                struct arena *a, struct mirror_result *out)
{
    int64_t limit_s = opts->timeout_s ? opts->timeout_s : LIMIT_COPY_S;
    struct mirror_work w = {
        .opts = opts, .arena = a, .out = out, .until = clock_monotonic_ms() + limit_s * 1000};
    size_t most = opts->rate_min > 0 ? BATCH_SPARING : BATCH, planned = 0, begun = 0;
    *out = (struct mirror_result){0};
    for (; planned < entries->n && !is_stopped(&w); planned++)
        plan_entry(&w, &entries->at[planned]);
    refuse_twins(&w);
    for (; begun < w.copies.n && !is_stopped(&w); begun += most) {
        size_t left = w.copies.n - begun;
        copy_batch(&w, &w.copies.at[begun], left < most ? left : most);
    }
    if (!is_stopped(&w))
        prune_all(&w);
    else if (planned < entries->n || begun < w.copies.n || wants_prune(&w))
        add_rest(&w, limit_s);
    list_each (const struct pick, pick, &w.picks)
        tagselect_free(pick->select);
}
