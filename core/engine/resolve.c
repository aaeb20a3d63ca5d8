#include "core/engine/publishing.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/domain/template.h"
#include "core/engine/provenance.h"
#include "core/os/clock.h"

#include <errno.h>

/* The requests of the first round, and which flip each belongs to. */
struct round {
    struct registry_op *ops;
    size_t *owner;
    bool *staged; /* the staged tag's, else the final tag's */
    size_t n;
};

static void round_add(struct round *r, struct registry_op op, size_t owner, bool staged)
{
    r->ops[r->n] = op;
    r->owner[r->n] = owner;
    r->staged[r->n] = staged;
    r->n++;
}

/* The first staged tag of an image is fetched, the others are only asked for their digest: they
 * are nearly always the same. */
static bool is_first_of_image(const struct publishing *p, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (!p->flips[j].stale && p->flips[j].plan->image == p->flips[i].plan->image &&
            str_eq(p->flips[j].repository, p->flips[i].repository))
            return false;
    return true;
}

static void first_round(struct publishing *p, struct round *r)
{
    struct arena *a = p->arena;
    r->ops = arena_alloc(a, 2 * p->n * sizeof *r->ops);
    r->owner = arena_alloc(a, 2 * p->n * sizeof *r->owner);
    r->staged = arena_alloc(a, 2 * p->n * sizeof *r->staged);
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        bool fetch = !f->stale && is_first_of_image(p, i);
        if (f->step.staged_tag && f->recorded && !fetch && !f->stale) {
            /* The record says what is published; what the tag shows only matters to its removal,
             * which looks itself. */
            f->staged_digest = f->recorded;
        } else if (f->step.staged_tag) {
            round_add(r, publishing_op(f, fetch ? REGISTRY_GET : REGISTRY_HEAD, f->step.staged_tag),
                      i, true);
        }
        /* What we applied ourselves is kept with its bytes: its digest is enough. */
        if (!f->stale)
            round_add(
                r, publishing_op(f, f->target.applied ? REGISTRY_HEAD : REGISTRY_GET, f->step.tag),
                i, false);
    }
}

static int take_answer(struct publishing *p, const struct registry_op *op, struct flip *f,
                       bool staged, struct err *err)
{
    /* A stale tag is only asked about for the sake of cleaning up, which fails no publication. */
    if (op->failed && f->stale)
        return 0;
    if (op->failed) {
        *err = op->err;
        return err_wrap(err, "reading %s:%s", f->repository, op->ref);
    }
    if (staged)
        f->staged_seen_ms = clock_monotonic_ms();
    if (op->absent)
        return 0;
    if (staged) {
        f->staged_digest = op->digest;
        f->staged_type = op->media_type;
    } else {
        f->former_digest = op->digest;
        f->former_type = op->media_type;
    }
    if (op->verb == REGISTRY_GET)
        publishing_keep(p, op->digest, op->media_type, op->bytes, op->len);
    return 0;
}

/* Fetches by digest what is not at hand; a digest that the registry does not have stays missing. */
static int fetch_digests(struct publishing *p, const struct str_list *digests, const size_t *owner,
                         struct err *err)
{
    struct registry_op *ops = arena_alloc(p->arena, digests->n * sizeof *ops);
    for (size_t i = 0; i < digests->n; i++)
        ops[i] = publishing_op(&p->flips[owner[i]], REGISTRY_GET, digests->at[i]);
    (void)registry_all(p->engine->registry, p->arena, ops, digests->n);
    for (size_t i = 0; i < digests->n; i++) {
        if (ops[i].failed) {
            *err = ops[i].err;
            return err_wrap(err, "reading %s@%s", p->flips[owner[i]].repository, digests->at[i]);
        }
        if (!ops[i].absent)
            publishing_keep(p, ops[i].digest, ops[i].media_type, ops[i].bytes, ops[i].len);
    }
    return 0;
}

static void want_digest(struct publishing *p, struct str_list *digests, size_t *owner, size_t flip,
                        const char *digest)
{
    if (!digest || publishing_bytes(p, digest) || str_in(digest, digests))
        return;
    owner[digests->n] = flip;
    *list_push(p->arena, digests) = digest;
}

/* Former bytes that a former run of ours kept need no request. */
static int recall(struct publishing *p, const char *digest, struct err *err)
{
    struct kept_manifest kept = {0};
    if (publishing_bytes(p, digest))
        return 0;
    if (store_manifest_get(p->engine->store, digest, p->arena, &kept, err) < 0)
        return -1;
    if (kept.bytes)
        publishing_keep(p, kept.digest, kept.media_type, kept.bytes, kept.len);
    return 0;
}

static int second_round(struct publishing *p, struct err *err)
{
    struct str_list digests = {0};
    size_t *owner = arena_alloc(p->arena, 2 * p->n * sizeof *owner);
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        if (f->stale)
            continue;
        want_digest(p, &digests, owner, i, f->step.new_digest);
        if (!f->former_digest || str_eq(f->former_digest, f->step.new_digest))
            continue;
        if (recall(p, f->former_digest, err) < 0)
            return -1;
        want_digest(p, &digests, owner, i, f->former_digest);
    }
    return digests.n ? fetch_digests(p, &digests, owner, err) : 0;
}

/* What a removal puts at a staged tag for a moment, or leaves there in trouble, is no image. Which
 * of the unrecorded ones it is, only the bytes tell; those are wanted anyway. */
static int drop_placeholders(struct publishing *p, struct err *err)
{
    struct str_list digests = {0};
    size_t *owner = arena_alloc(p->arena, p->n * sizeof *owner);
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        if (!f->stale && !f->recorded && str_eq(f->staged_type, MANIFEST_OCI_INDEX))
            want_digest(p, &digests, owner, i, f->staged_digest);
    }
    if (digests.n && fetch_digests(p, &digests, owner, err) < 0)
        return -1;
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        const struct kept_manifest *m = publishing_bytes(p, f->staged_digest);
        if (!f->recorded && m && manifest_is_placeholder(m->bytes, m->len))
            f->staged_digest = NULL;
    }
    return 0;
}

/* The tags that a merge gives an image, as far as they can be known here. *all is false when one of
 * them depends on what only the merge's own event says. */
static struct str_list tags_of_image(struct publishing *p, const struct plan_tag *t, bool *all)
{
    struct str_list tags = {0};
    struct diags diags = {.arena = p->arena};
    const struct event merge = {.kind = EVENT_MERGED,
                                .branch = p->event->branch,
                                .change = p->event->change,
                                .list_commit = p->event->list_commit,
                                .project = p->event->project};
    struct template_vars vars = plan_variables(&merge);
    vars.own = t->vars ? &t->vars->own : NULL;
    *all = true;
    list_each (const struct image_text, text, &t->image->tags) {
        struct str_list some;
        const char *missing = NULL;
        if (template_expand_list(text->text, text->at, &vars, &diags, &some, &missing) !=
            TEMPLATE_OK)
            *all = *all && str_eq(missing, "zuul.tag");
        for (size_t i = 0; i < some.n; i++)
            *list_push(p->arena, &tags) = some.at[i];
    }
    return tags;
}

/* Images that share a repository are told apart by their tags; where those cannot be known, there
 * must be but one digest and one image. */
static const char *published_digest(struct publishing *p, const struct flip *f,
                                    const struct step_list *steps)
{
    bool all;
    const struct str_list tags = tags_of_image(p, f->plan, &all);
    list_each (const struct step, step, steps)
        if (str_eq(step->tag, f->step.tag) || str_in(step->tag, &tags))
            return step->new_digest;
    if (all || !steps->n)
        return NULL;
    for (size_t i = 0; i < p->n; i++)
        if (p->flips[i].plan->image != f->plan->image &&
            str_eq(p->flips[i].repository, f->repository))
            return NULL;
    list_each (const struct step, step, steps)
        if (!str_eq(step->new_digest, steps->at[0].new_digest))
            return NULL;
    return steps->at[0].new_digest;
}

/* What the commit's merge published, for a git tag; or an unrecorded image that is gone from its
 * staged tag and was published already by a run that somebody repeats by hand. */
static int published_before(struct publishing *p, struct flip *f, struct err *err)
{
    struct step_list steps = {0};
    if (store_published_steps(p->engine->store, p->task->order.project, p->task->order.commit,
                              f->step.registry, f->step.name, p->arena, &steps, err) < 0)
        return -1;
    f->step.new_digest = published_digest(p, f, &steps);
    return 0;
}

/* Decides which digest each final tag gets: the recorded one first. Counts what is missing. */
static int choose_digests(struct publishing *p, size_t *missing, size_t *wanted,
                          struct strbuf *names, struct err *err)
{
    bool refuse = p->policy->unrecorded == UNRECORDED_REFUSE;
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        if (f->stale)
            continue;
        ++*wanted;
        bool staged = f->plan->source == PLAN_FROM_STAGED;
        if (f->plan->prepared)
            f->step.new_digest = f->plan->prepared;
        else if (f->recorded)
            f->step.new_digest = f->recorded;
        else if (staged && f->staged_digest && !refuse)
            f->step.new_digest = f->staged_digest;
        else if (published_before(p, f, err) < 0)
            return -1;
        if (f->recorded && f->staged_digest && !str_eq(f->recorded, f->staged_digest))
            publishing_note(p,
                            "%s:%s shows another digest than the gate recorded; the recorded "
                            "one is published, the tag is left",
                            f->repository, f->step.staged_tag);
        if (f->step.new_digest)
            continue;
        ++*missing;
        (void)strbuf_addf(names, "%s%s:%s", names->len ? ", " : "", f->repository,
                          staged ? f->step.staged_tag : f->step.tag);
    }
    return 0;
}

static enum stage missing_sources(struct publishing *p, size_t missing, size_t wanted,
                                  const char *names, struct err *err)
{
    const char *hint = p->policy->unrecorded == UNRECORDED_REFUSE
                           ? "the policy takes only what a gate recorded (image.staged)"
                           : "did the gate's upload job run for this patchset?";
    if (p->event->kind == EVENT_TAG) {
        (void)err_set(err, ERR_PERM, 0,
                      "nothing was published for commit %.12s yet: %s; promote the change first",
                      p->event->order_commit, names);
        return STAGE_FAILED;
    }
    if (missing == wanted)
        (void)err_set(err, ERR_TEMP, ENOENT, "nothing is staged: %s is missing; %s", names, hint);
    else
        (void)err_set(err, ERR_TEMP, EAGAIN, "%zu of %zu images are not staged: %s; %s", missing,
                      wanted, names, hint);
    return STAGE_WAIT;
}

/* The bytes that will be written are at hand, or the publication ends here. */
static int check_bytes(struct publishing *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        if (f->stale)
            continue;
        const struct kept_manifest *m = publishing_bytes(p, f->step.new_digest);
        if (!m)
            return err_set(err, ERR_PERM, ENOENT,
                           "%s does not have %s any more, which %s for it; upload it again",
                           f->repository, f->step.new_digest,
                           f->recorded ? "the gate recorded" : "was published");
        f->step.new_type = m->media_type;
        f->step.former_digest = f->former_digest;
        f->step.former_type = f->former_type;
        f->step.state = str_eq(f->former_digest, f->step.new_digest) ? STEP_SAME : STEP_PLANNED;
    }
    return 0;
}

enum stage publishing_resolve(struct publishing *p, struct err *err)
{
    struct round round = {0};
    size_t missing = 0, wanted = 0;
    struct strbuf names CLEANUP_STRBUF = STRBUF_INIT(512);
    if (provenance_recorded(p, err) < 0)
        return err->kind == ERR_TEMP && err->code == ENOENT ? STAGE_WAIT : STAGE_FAILED;
    first_round(p, &round);
    (void)registry_all(p->engine->registry, p->arena, round.ops, round.n);
    for (size_t i = 0; i < round.n; i++)
        if (take_answer(p, &round.ops[i], &p->flips[round.owner[i]], round.staged[i], err) < 0)
            return STAGE_FAILED;
    if (drop_placeholders(p, err) < 0 || choose_digests(p, &missing, &wanted, &names, err) < 0)
        return STAGE_FAILED;
    if (missing)
        return missing_sources(p, missing, wanted, names.buf, err);
    if (second_round(p, err) < 0 || check_bytes(p, err) < 0 || provenance_check(p, err) < 0)
        return STAGE_FAILED;
    return STAGE_GO;
}
