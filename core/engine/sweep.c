#include "core/engine/sweep.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/domain/plan.h"
#include "core/engine/locks.h"
#include "core/engine/sweeping.h"
#include "core/os/random.h"

#include <inttypes.h>

const char *sweep_state_name(enum sweep_state s)
{
    static const char *const names[] = {"removed", "would-remove", "kept", "left", "failed"};
    return s < SWEEP__MAX ? names[s] : "?";
}

bool sweeping_stopped(const struct sweeping *s)
{
    return s->e->stop && atomic_load(s->e->stop);
}

/* Nobody waits for a sweep: it can be patient. */
struct registry_access sweeping_access(const struct sweeping *s)
{
    return (struct registry_access){.read_only = s->opts->dry_run, .patient = true};
}

int sweeping_look(const struct sweeping *s, const struct leftover *l, struct arena *a,
                  const char **digest, struct err *err)
{
    struct registry_op op = {.verb = REGISTRY_HEAD,
                             .host = l->final.registry,
                             .name = l->final.name,
                             .ref = l->final.tag,
                             .access = sweeping_access(s)};
    if (registry_all(s->e->registry, a, &op, 1)) {
        *err = op.err;
        return -1;
    }
    *digest = op.absent ? NULL : op.digest;
    return 0;
}

bool sweep_concerns(const struct engine *e, const struct sweep_opts *opts, const char *repository)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    list_each (const struct policy_project, p, e->policy)
        if (p->mode == POLICY_PUBLISH &&
            (policy_may_publish(p, repository) || policy_behind(p, repository, &scratch)) &&
            (!opts->forge || str_eq(p->forge, opts->forge)) &&
            (!opts->project || pattern_match(p->match, opts->project)))
            return true;
    return false;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void add_row(struct sweeping *s, const struct sweep_row *row)
{
    struct sweep_row *to = list_push(s->arena, s->out);
    *to = *row;
    to->repository = arena_strdup(s->arena, row->repository);
    to->tag = arena_strdup(s->arena, row->tag);
    to->digest = arena_strdup(s->arena, row->digest);
    to->change = arena_strdup(s->arena, row->change);
    to->reason = arena_strdup(s->arena, row->reason);
    s->out->count[row->state]++;
    if (row->unsure || row->state == SWEEP_FAILED) {
        s->out->temporary |= row->temporary;
        s->out->permanent |= !row->temporary;
    }
}

static void add_failed_repository(struct sweeping *s, const struct err *err)
{
    add_row(s, &(struct sweep_row){.state = SWEEP_FAILED,
                                   .repository = s->repository,
                                   .age_s = -1,
                                   .reason = err->text,
                                   .temporary = err->kind == ERR_TEMP});
}

static void settle(struct sweeping *s, struct leftover *l, enum sweep_state state,
                   const char *reason)
{
    l->settled = true;
    l->row.state = state;
    l->row.reason = arena_strdup(s->here, reason);
}

static void settle_failed(struct sweeping *s, struct leftover *l, const struct err *err)
{
    settle(s, l, SWEEP_FAILED, err->text);
    l->row.temporary = err->kind == ERR_TEMP;
}

/* ---- removal --------------------------------------------------------------------------------- */

/* A publication by another process may have moved the final tag just then: that is its right. */
static bool is_of_a_publication(struct sweeping *s, struct leftover *l, struct arena *a)
{
    struct err err = ERR_INIT;
    const char *shown = NULL;
    struct target row = {.registry = s->host, .name = s->name, .tag = l->c.tag.final};
    if (sweeping_look(s, l, a, &shown, &err) < 0 || !shown ||
        store_targets_get(s->e->store, &row, 1, a, &err) < 0)
        return false;
    return str_eq(shown, row.applied) || str_eq(shown, row.desired);
}

static void remove_locked(struct sweeping *s, struct leftover *l, const char *why, struct arena *a)
{
    struct err err = ERR_INIT;
    const char *kept = NULL;
    enum registry_removal removal;
    if (!l->run && sweeping_look(s, l, a, &kept, &err) < 0) {
        settle_failed(s, l, &err);
        return;
    }
    int rc = registry_remove_tag(s->e->registry, a, s->host, s->name, l->tag, l->digest, false,
                                 kept ? l->c.tag.final : NULL, kept, &removal, &err);
    if (rc < 0 && err.kind == ERR_BUG && kept && is_of_a_publication(s, l, a)) {
        rc = 0;
        removal = REMOVAL_DONE;
    }
    if (rc < 0)
        settle_failed(s, l, &err);
    else if (removal == REMOVAL_DONE)
        settle(s, l, SWEEP_REMOVED, why);
    else if (removal == REMOVAL_GONE)
        l->skip = true;
    else if (removal == REMOVAL_CHANGED)
        settle(s, l, SWEEP_KEPT, "it was staged again just now");
    else
        settle(s, l, SWEEP_LEFT,
               arena_printf(a, "%s; its registry has no safe way to remove it: %s", why, err.text));
}

/*
 * Under the lock of the final tag, so that no publication of this process moves it, or cleans up as
 * well, meanwhile. Another process does not see that lock; but the tag goes only while it shows the
 * judged digest, only the tag goes, and a publication that has begun has the bytes by then.
 */
static void remove_tag(struct sweeping *s, struct leftover *l, const char *why)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    if (s->opts->dry_run) {
        settle(s, l, SWEEP_WOULD_REMOVE, why);
        return;
    }
    *list_push(&scratch, &names) =
        arena_printf(&scratch, "%s/%s:%s", l->final.registry, l->final.name, l->final.tag);
    target_locks_take(s->e->locks, &names);
    remove_locked(s, l, why, &scratch);
    target_locks_drop(s->e->locks, &names);
}

/* ---- judgement ------------------------------------------------------------------------------- */

static void judge(struct sweeping *s, struct leftover *l)
{
    if (l->skip || l->settled)
        return;
    struct sweep_decision d = sweep_decide(&l->c, s->here);
    if (l->c.age == SWEEP_AGE_KNOWN) {
        l->row.age_s = l->c.age_s;
        l->row.age_of = l->c.age_of;
    }
    switch (d.verdict) {
    case SWEEP_WANTS_AGE:
        return;
    case SWEEP_GOES:
        remove_tag(s, l, d.reason);
        return;
    case SWEEP_STAYS:
        settle(s, l, SWEEP_KEPT, d.reason);
        l->row.unsure = d.unsure;
        l->row.temporary = d.temporary;
        return;
    }
}

static void inspect(struct sweeping *s, struct leftover *l, const struct registry_op *op)
{
    struct err err = ERR_INIT;
    if (op->failed) {
        settle(s, l, SWEEP_KEPT, arena_printf(s->here, "could not be read: %s", op->err.text));
        l->row.unsure = true;
        l->row.temporary = op->err.kind == ERR_TEMP;
        return;
    }
    if (op->absent) {
        l->skip = true;
        return;
    }
    l->digest = l->row.digest = arena_strdup(s->here, op->digest);
    if (l->run && !str_eq(l->digest, l->run->digest)) {
        settle(s, l, SWEEP_KEPT, "it does not show what its run recorded: somebody moved it");
        return;
    }
    if (sweeping_answers(s, l, &err) < 0)
        settle_failed(s, l, &err);
    judge(s, l);
}

/* From `first` on, around the end: a sweep that stops half-way begins elsewhere the next time. */
static void inspect_all(struct sweeping *s, size_t first)
{
    size_t n = s->list.n;
    for (size_t done = 0; done < n && !sweeping_stopped(s);) {
        struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
        struct registry_op ops[LIMIT_SWEEP_BATCH] = {0};
        size_t batch = n - done < ARRAY_LEN(ops) ? n - done : ARRAY_LEN(ops);
        for (size_t i = 0; i < batch; i++)
            ops[i] = (struct registry_op){.verb = REGISTRY_HEAD,
                                          .host = s->host,
                                          .name = s->name,
                                          .ref = s->list.at[(first + done + i) % n].tag,
                                          .access = sweeping_access(s)};
        (void)registry_all(s->e->registry, &scratch, ops, batch);
        for (size_t i = 0; i < batch && !sweeping_stopped(s); i++)
            inspect(s, &s->list.at[(first + done + i) % n], &ops[i]);
        done += batch;
    }
}

/* ---- one repository -------------------------------------------------------------------------- */

static int read_store(struct sweeping *s, const struct str_list *tags, struct err *err)
{
    size_t n = s->list.n;
    struct target *rows = arena_alloc(s->here, 2 * n * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        rows[2 * i] =
            (struct target){.registry = s->host, .name = s->name, .tag = s->list.at[i].tag};
        rows[2 * i + 1] = s->list.at[i].final;
    }
    if (store_targets_get(s->e->store, rows, 2 * n, s->here, err) < 0 ||
        store_staged_tags(s->e->store, s->repository, tags, s->here, &s->records, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        s->list.at[i].c.published = rows[2 * i].desired || rows[2 * i].applied;
        s->list.at[i].final = rows[2 * i + 1];
    }
    return sweeping_owners(s, err);
}

/* For people: change 9 before change 10. */
static int compare_tags(const void *left, const void *right)
{
    const struct leftover *l = left, *r = right;
    return strverscmp(l->tag, r->tag);
}

static struct leftover *add_leftover(struct sweeping *s, const char *tag,
                                     const struct sweep_tag *parts)
{
    struct leftover *l = list_push(s->here, &s->list);
    l->tag = tag;
    l->c.tag = *parts;
    l->final = (struct target){.registry = s->host, .name = s->name, .tag = parts->final};
    l->row = (struct sweep_row){
        .repository = s->repository, .tag = tag, .change = parts->change, .age_s = -1};
    return l;
}

static bool is_of_change(const struct sweeping *s, const char *change)
{
    return !s->opts->change || str_eq(s->opts->change, change);
}

/* What a run left in an intermediate registry is known by its record alone: any other tag there is
 * somebody else's (Zuul's builds have such names, too). */
static void add_run(struct sweeping *s, const struct staged_tag *run)
{
    const struct policy_project *p = policy_find(s->e->policy, run->forge, run->project);
    const char *behind =
        p && p->mode == POLICY_PUBLISH ? policy_behind(p, s->repository, s->here) : NULL;
    const char *slash = behind ? strchr(behind, '/') : NULL;
    if (!slash || !is_of_change(s, run->change))
        return;
    const struct sweep_tag parts = {.change = run->change, .final = run->final};
    struct leftover *l = add_leftover(s, run->tag, &parts);
    l->run = run;
    l->final.registry = arena_strndup(s->here, behind, (size_t)(slash - behind));
    l->final.name = slash + 1;
    if (str_empty(run->change))
        l->row.change = NULL;
}

static void sort_tag(struct sweeping *s, const struct strset *runs, const char *tag,
                     struct str_list *staged)
{
    struct sweep_tag parts;
    void **run = strset_find(runs, tag);
    if (run) {
        add_run(s, *run);
        return;
    }
    if (!s->is_published || !sweep_tag_parse(tag, s->here, &parts) ||
        !is_of_change(s, parts.change))
        return;
    (void)add_leftover(s, tag, &parts);
    *list_push(s->here, staged) = tag;
}

static bool is_published(const struct sweeping *s)
{
    list_each (const struct policy_project, p, s->e->policy)
        if (p->mode == POLICY_PUBLISH && policy_may_publish(p, s->repository))
            return true;
    return false;
}

static int find_leftovers(struct sweeping *s, struct err *err)
{
    struct str_list tags = {0}, staged = {0};
    struct strset runs = {0};
    bool absent = false;
    struct registry_access access = sweeping_access(s);
    s->is_published = is_published(s);
    if (store_staged_runs(s->e->store, s->repository, s->here, &s->runs, err) < 0)
        return -1;
    if (!s->is_published && !s->runs.n)
        return 0;
    if (registry_tags(s->e->registry, s->here, s->host, s->name, &access, &tags, &absent, err) < 0)
        return -1;
    /* The newest record of a name is what it shows. */
    list_each (struct staged_tag, run, &s->runs) {
        void **place = strset_at(&runs, s->here, run->tag);
        *place = *place ? *place : run;
    }
    for (size_t i = 0; i < tags.n; i++)
        sort_tag(s, &runs, tags.at[i], &staged);
    if (!s->list.n)
        return 0;
    qsort(s->list.at, s->list.n, sizeof *s->list.at, compare_tags);
    return read_store(s, &staged, err);
}

static void sweep_one(struct sweeping *s)
{
    struct err err = ERR_INIT;
    if (find_leftovers(s, &err) < 0) {
        add_failed_repository(s, &err);
        return;
    }
    if (!s->list.n)
        return;
    inspect_all(s, s->opts->max_asked ? (size_t)random_below((int64_t)s->list.n) : 0);
    sweeping_ages(s);
    list_each (struct leftover, l, &s->list)
        if (!sweeping_stopped(s))
            judge(s, l);
    list_each (const struct leftover, l, &s->list)
        if (l->settled && !l->skip)
            add_row(s, &l->row);
}

void sweep_run(const struct engine *e, const struct sweep_opts *opts,
               const struct str_list *repositories, struct arena *a, struct sweep_result *out)
{
    struct sweeping s = {.e = e, .opts = opts, .arena = a, .out = out};
    *out = (struct sweep_result){0};
    if (opts->is_closed)
        *list_push(a, &s.asked) = (struct sweep_asked){.forge = opts->forge,
                                                       .project = opts->project,
                                                       .change = opts->change,
                                                       .status = {.state = CHANGE_CLOSED}};
    for (size_t i = 0; i < repositories->n && !sweeping_stopped(&s); i++) {
        struct arena here CLEANUP(arena_release) = ARENA_INIT;
        const char *slash = strchr(repositories->at[i], '/');
        if (!slash)
            continue;
        s.here = &here;
        s.repository = repositories->at[i];
        s.host = arena_strndup(&here, s.repository, (size_t)(slash - s.repository));
        s.name = slash + 1;
        s.owners = (struct sweep_owners){0};
        s.records = s.runs = (struct staged_tag_list){0};
        s.finals = (struct sweep_seen_list){0};
        s.list = (struct leftovers){0};
        sweep_one(&s);
    }
}

/* ---- as a part of promotion ------------------------------------------------------------------ */

static void log_row(const struct sweep_row *row)
{
    static const struct {
        enum log_level level;
        const char *text;
    } says[SWEEP__MAX] = {
        [SWEEP_REMOVED] = {LOG_LEVEL_INFO, "staged tag was left behind and is removed"},
        [SWEEP_WOULD_REMOVE] = {LOG_LEVEL_INFO, "staged tag was left behind"},
        [SWEEP_KEPT] = {LOG_LEVEL_DEBUG, "staged tag is kept"},
        [SWEEP_LEFT] = {LOG_LEVEL_WARN, "staged tag is left"},
        [SWEEP_FAILED] = {LOG_LEVEL_WARN, "staged tag could not be swept"},
    };
    log_at(says[row->state].level, says[row->state].text, "repository", row->repository, "tag",
           row->tag, "reason", row->reason, NULL);
}

/* Where runs may have left something of what is published there. */
static void add_between(const struct engine *e, const char *repository, struct arena *a,
                        struct str_list *out)
{
    list_each (const struct policy_project, p, e->policy) {
        const char *host, *name;
        if (p->mode != POLICY_PUBLISH || !p->intermediate || !policy_may_publish(p, repository) ||
            !plan_intermediate(p->intermediate, repository, a, &host, &name))
            continue;
        const char *between = arena_printf(a, "%s/%s", host, name);
        if (!str_in(between, out))
            *list_push(a, out) = between;
    }
}

void sweep_after_promotion(const struct engine *e, const char *repository)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct sweep_result result;
    struct sweep_opts opts = {.older_than_s = -1, .max_asked = LIMIT_SWEEP_ASKED};
    struct str_list places = {0};
    char removed[24], kept[24];
    if (!sweep_concerns(e, &opts, repository))
        return;
    *list_push(&a, &places) = repository;
    add_between(e, repository, &a, &places);
    sweep_run(e, &opts, &places, &a, &result);
    list_each (const struct sweep_row, row, &result)
        log_row(row);
    (void)snprintf(removed, sizeof removed, "%zu", result.count[SWEEP_REMOVED]);
    (void)snprintf(kept, sizeof kept, "%zu", result.count[SWEEP_KEPT]);
    log_info("swept", "repository", repository, "removed", removed, "kept", kept, NULL);
}
