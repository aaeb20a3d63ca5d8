/* Whose staged tag is it, and what do they say? The middle part of sweeping.h. */
#include "core/engine/sweeping.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/event.h"
#include "core/engine/ask.h"

/* So many failures of a forge in a row, and it is left alone for the rest of the sweep: each one
 * may take half a minute. */
enum { FAILURES_MAX = 3 };

/* ---- owners ---------------------------------------------------------------------------------- */

static bool is_literal(const struct pattern *p)
{
    const char *text = pattern_text(p);
    return *text != '^' && !strpbrk(text, "*?");
}

/* The entry that lets a project publish here; NULL: it may not, so nothing here is its own. */
static const struct policy_project *entry_of(const struct sweeping *s, const char *forge,
                                             const char *project)
{
    const struct policy_project *p = policy_find(s->e->policy, forge, project);
    return p && p->mode == POLICY_PUBLISH && policy_may_publish(p, s->repository) ? p : NULL;
}

static void add_owner(struct sweeping *s, struct sweep_owners *list, const char *forge,
                      const char *project)
{
    const struct policy_project *p = entry_of(s, forge, project);
    list_each (const struct sweep_owner, o, list)
        if (str_eq(o->forge, forge) && str_eq(o->project, project))
            return;
    if (p)
        *list_push(s->here, list) =
            (struct sweep_owner){.forge = forge, .project = project, .policy = p};
}

/* "<forge>/<project>": names of forges have no slash. */
static bool add_recorded(struct sweeping *s, const char *full)
{
    size_t before = s->owners.n;
    const char *slash = strchr(full, '/');
    if (!slash)
        return false;
    add_owner(s, &s->owners, arena_strndup(s->here, full, (size_t)(slash - full)), slash + 1);
    return s->owners.n > before;
}

/*
 * Entries that name their project tell it. Entries with a pattern do not: there the projects count
 * that have published to this repository before. As long as none has, any project of the pattern
 * may own a tag, and then only age tells.
 */
int sweeping_owners(struct sweeping *s, struct err *err)
{
    struct str_list published = {0};
    bool known = false;
    s->owners = (struct sweep_owners){0};
    if (store_target_projects(s->e->store, s->host, s->name, s->here, &published, err) < 0)
        return -1;
    for (size_t i = 0; i < published.n; i++)
        known |= add_recorded(s, published.at[i]);
    list_each (const struct policy_project, p, s->e->policy) {
        const char *text = pattern_text(p->match);
        if (p->mode != POLICY_PUBLISH || !policy_may_publish(p, s->repository))
            continue;
        if (is_literal(p->match))
            add_owner(s, &s->owners, p->forge, text);
        else if (!known)
            *list_push(s->here, &s->owners) = (struct sweep_owner){
                .forge = p->forge, .project = text, .policy = p, .unknown = true};
    }
    return 0;
}

/* Who may own this tag: whoever recorded just this digest; without such a record whoever may own
 * anything here, and whoever recorded another digest of it. */
static struct sweep_owners owners_of(struct sweeping *s, struct leftover *l)
{
    struct sweep_owners certain = {0}, possible = {0};
    list_each (const struct staged_tag, r, &s->records) {
        if (!str_eq(r->tag, l->tag) || !entry_of(s, r->forge, r->project))
            continue;
        if (str_eq(r->digest, l->digest)) {
            add_owner(s, &certain, r->forge, r->project);
            if (!l->record)
                l->record = r;
        }
        add_owner(s, &possible, r->forge, r->project);
    }
    if (certain.n)
        return certain;
    list_each (const struct sweep_owner, o, &s->owners) {
        if (o->unknown)
            *list_push(s->here, &possible) = *o;
        else
            add_owner(s, &possible, o->forge, o->project);
    }
    return possible;
}

/* ---- questions ------------------------------------------------------------------------------- */

static bool has_failed_often(const struct sweeping *s, const char *forge)
{
    return s->failures >= FAILURES_MAX && str_eq(s->failing, forge);
}

static void count_failure(struct sweeping *s, const char *forge, bool failed)
{
    if (failed && str_eq(s->failing, forge)) {
        s->failures++;
    } else if (failed || str_eq(s->failing, forge)) {
        s->failing = failed ? forge : NULL;
        s->failures = failed;
    }
}

/* Each change is asked about once a sweep, however many tags it has. */
static const struct sweep_asked *ask(struct sweeping *s, const char *forge, const char *project,
                                     const char *change)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    list_each (const struct sweep_asked, a, &s->asked)
        if (str_eq(a->change, change) && str_eq(a->project, project) && str_eq(a->forge, forge))
            return a;
    struct sweep_asked *a = list_push(s->arena, &s->asked);
    *a = (struct sweep_asked){.forge = arena_strdup(s->arena, forge),
                              .project = arena_strdup(s->arena, project),
                              .change = arena_strdup(s->arena, change)};
    if (has_failed_often(s, forge)) {
        a->trouble = arena_printf(s->arena, "forge '%s' has failed too often in this sweep", forge);
        a->temporary = true;
        return a;
    }
    if (s->opts->max_asked && s->asked.n > s->opts->max_asked) {
        a->trouble = "many changes were asked about already; it is looked at in a later sweep";
        a->temporary = true;
        return a;
    }
    bool failed = ask_change(s->e, forge, project, change, &scratch, &a->status, &err) < 0;
    a->status.commit = arena_strdup(s->arena, a->status.commit);
    if (failed) {
        a->trouble = arena_strdup(s->arena, err.text);
        a->temporary = err.kind == ERR_TEMP;
    }
    count_failure(s, a->forge, failed);
    return a;
}

/* ---- merged: promoted, superseded? ----------------------------------------------------------- */

static int look_at_final(struct sweeping *s, const struct leftover *l, const char **digest,
                         struct err *err)
{
    const char *full =
        arena_printf(s->here, "%s/%s:%s", l->final.registry, l->final.name, l->final.tag);
    list_each (const struct sweep_seen, seen, &s->finals)
        if (str_eq(seen->full, full)) {
            *digest = seen->digest;
            return 0;
        }
    if (sweeping_look(s, l, s->here, digest, err) < 0)
        return -1;
    *list_push(s->here, &s->finals) = (struct sweep_seen){.full = full, .digest = *digest};
    return 0;
}

static void compare_orders(struct sweeping *s, struct leftover *l, struct sweep_answer *answer)
{
    struct err err = ERR_INIT;
    enum ancestry related = ANCESTRY_NOT_ASKED;
    const struct event event = {
        .kind = EVENT_MERGED, .forge = answer->forge, .project = answer->project};
    const struct order_key mine = {
        .project = arena_printf(s->here, "%s/%s", answer->forge, answer->project),
        .commit = answer->status.commit,
        .happened_at = answer->status.merged_at,
    };
    if (!l->final.applied || !l->final.order.project)
        return;
    if (order_wants_ancestry(&mine, &l->final.order) &&
        ask_ancestry(s->e, &event, &mine, &l->final.order, &related, &err) < 0) {
        answer->doubt = arena_strdup(s->here, err.text);
        answer->temporary = err.kind == ERR_TEMP;
        return;
    }
    answer->superseded = sweep_superseded(&mine, &l->final.order, related);
}

static void look_at_merged(struct sweeping *s, struct leftover *l, struct sweep_answer *answer)
{
    struct err err = ERR_INIT;
    const char *shown = NULL;
    const struct staged_tag *r = l->record;
    if (r && r->promoted && str_eq(r->forge, answer->forge) && str_eq(r->project, answer->project))
        answer->promoted = true;
    if (answer->promoted)
        return;
    if (look_at_final(s, l, &shown, &err) < 0) {
        answer->trouble = arena_strdup(s->here, err.text);
        answer->temporary = err.kind == ERR_TEMP;
        return;
    }
    l->c.final_shows = str_eq(shown, l->digest);
    if (!l->c.final_shows)
        compare_orders(s, l, answer);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int answer_of(struct sweeping *s, struct leftover *l, const struct sweep_owner *o,
                     struct err *err)
{
    struct sweep_answer *answer = list_push(s->here, &l->c.answers);
    const struct staged_tag *r = l->record;
    *answer =
        (struct sweep_answer){.forge = o->forge, .project = o->project, .change = l->c.tag.change};
    /* A gate may have no change; then nobody can be asked. */
    if (o->unknown || str_empty(answer->change))
        return 0;
    if (r && str_eq(r->forge, o->forge) && str_eq(r->project, o->project) &&
        event_change_ok(r->change))
        answer->change = r->change;
    const struct sweep_asked *asked = ask(s, o->forge, o->project, answer->change);
    answer->status = asked->status;
    answer->trouble = asked->trouble;
    answer->temporary = asked->temporary;
    if (answer->trouble)
        return 0;
    if (answer->status.state == CHANGE_MERGED)
        look_at_merged(s, l, answer);
    if (answer->status.state != CHANGE_UNASKED && answer->status.state != CHANGE_UNKNOWN)
        return 0;
    const char *ref = arena_printf(s->here, "change/%s", answer->change);
    return store_task_pending(s->e->store, o->forge, o->project, ref, &answer->pending, err);
}

/* A run's tag is its project's, as recorded. */
static struct sweep_owners owner_of_run(struct sweeping *s, struct leftover *l)
{
    struct sweep_owners one = {0};
    l->record = l->run;
    *list_push(s->here, &one) =
        (struct sweep_owner){.forge = l->run->forge,
                             .project = l->run->project,
                             .policy = policy_find(s->e->policy, l->run->forge, l->run->project)};
    return one;
}

static bool is_wanted(const struct sweeping *s, const struct sweep_owners *owners)
{
    const struct sweep_opts *opts = s->opts;
    if (!opts->forge && !opts->project)
        return true;
    list_each (const struct sweep_owner, o, owners)
        if ((!opts->forge || str_eq(o->forge, opts->forge)) &&
            (!opts->project || (o->unknown ? pattern_match(o->policy->match, opts->project)
                                           : str_eq(o->project, opts->project))))
            return true;
    return false;
}

/* Of several that may own it the one who waits longest; 0, never, is longest. */
static int64_t limit_of(const struct sweeping *s, const struct sweep_owners *owners)
{
    int64_t limit = LIMIT_SWEEP_AFTER_S;
    if (s->opts->older_than_s >= 0)
        return s->opts->older_than_s;
    list_each (const struct sweep_owner, o, owners) {
        int64_t mine = o->policy->sweep_after_s;
        bool first = o == owners->at;
        if (mine == 0)
            return 0;
        limit = first || mine > limit ? mine : limit;
    }
    return limit;
}

int sweeping_answers(struct sweeping *s, struct leftover *l, struct err *err)
{
    struct sweep_owners owners = l->run ? owner_of_run(s, l) : owners_of(s, l);
    l->skip = !is_wanted(s, &owners);
    l->c.limit_s = limit_of(s, &owners);
    if (owners.n == 1 && !owners.at[0].unknown)
        l->row.project = arena_printf(s->arena, "%s/%s", owners.at[0].forge, owners.at[0].project);
    if (l->skip || l->c.published)
        return 0;
    list_each (const struct sweep_owner, o, &owners)
        if (answer_of(s, l, o, err) < 0)
            return -1;
    return 0;
}
