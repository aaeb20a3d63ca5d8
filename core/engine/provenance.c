#include "core/engine/provenance.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/engine/ask.h"
#include "core/engine/labels.h"
#include "core/registry/blob.h"

#include <errno.h>

static int check_owner(struct publishing *p, const struct flip *f, struct err *err)
{
    const char *owner = NULL;
    if (store_staged_owner(p->engine->store, f->repository, f->step.staged_tag, p->event->forge,
                           p->event->project, p->arena, &owner, err) < 0)
        return -1;
    if (!owner)
        return 0;
    return err_set(err, ERR_PERM, EEXIST,
                   "%s:%s was staged by %s: change numbers of two projects meet in one "
                   "repository; give each its own",
                   f->repository, f->step.staged_tag, owner);
}

/* The record must be of the patchset that merged: by any of the event's commits, else by number.
 * A record that names neither is taken. */
static bool is_of_event(const struct staged *row, const struct event *event)
{
    if (row->commit)
        return str_eq(row->commit, event->staged_commit) ||
               str_eq(row->commit, event->order_commit) || str_eq(row->commit, event->list_commit);
    return !row->patchset || !event->patchset || str_eq(row->patchset, event->patchset);
}

/* A gate that built another tree than the one that merged tested something else. */
static int check_tree(const struct engine *e, const struct event *event,
                      const struct policy_project *policy, const struct staged *row,
                      struct arena *a, struct err *err)
{
    if (!row->tree || policy->on_stale == STALE_PROMOTE || str_eq(row->commit, event->list_commit))
        return 0;
    const char *tree = NULL;
    if (ask_tree(e, event, a, &tree, err) < 0) {
        err->code = 0; /* not to be taken for a missing record */
        return err_wrap(err, "comparing the staged tree with the merged one");
    }
    if (str_eq(tree, row->tree))
        return 0;
    return err_set(err, ERR_PERM, ESTALE,
                   "what the gate built is not what merged: its tree is %.12s, that of %.12s is "
                   "%.12s; gate the change again, or set on_stale for this project",
                   row->tree, event->list_commit, tree);
}

int provenance_row(const struct engine *e, const struct event *event,
                   const struct policy_project *policy, struct arena *a, const struct staged **row,
                   struct err *err)
{
    struct staged *found = arena_alloc(a, sizeof *found);
    bool is_there = false;
    *row = NULL;
    if (store_staged_get(e->store, event->forge, event->project, event->change, a, found, &is_there,
                         err) < 0)
        return -1;
    if (!is_there)
        return 0;
    if (!is_of_event(found, event))
        return err_set(err, ERR_TEMP, ENOENT,
                       "the gate recorded commit %.12s (patchset %s) for change %s, but %.12s "
                       "merged; did the gate's upload job run for this patchset?",
                       found->commit ? found->commit : "-", found->patchset ? found->patchset : "-",
                       event->change, event->staged_commit ? event->staged_commit : "-");
    if (check_tree(e, event, policy, found, a, err) < 0)
        return -1;
    *row = found;
    return 0;
}

static const char *recorded_digest(const struct staged *row, const struct flip *f)
{
    list_each (const struct event_image, image, &row->images)
        if (str_eq(image->repository, f->repository) && str_eq(image->tag, f->step.staged_tag))
            return image->digest;
    return NULL;
}

int provenance_recorded(struct publishing *p, struct err *err)
{
    const struct staged *row = NULL;
    bool staged = false;
    for (size_t i = 0; i < p->n; i++)
        if (p->flips[i].step.staged_tag) {
            staged = true;
            if (check_owner(p, &p->flips[i], err) < 0)
                return -1;
        }
    if (!staged || !p->event->change)
        return 0;
    if (provenance_row(p->engine, p->event, p->policy, p->arena, &row, err) < 0)
        return -1;
    for (size_t i = 0; row && i < p->n; i++)
        if (p->flips[i].step.staged_tag)
            p->flips[i].recorded = recorded_digest(row, &p->flips[i]);
    return 0;
}

/* The config digest of an image, or of an index's first child. */
static int config_digest(struct publishing *p, const struct flip *f, const struct kept_manifest *m,
                         const char **digest, struct err *err)
{
    struct manifest doc;
    *digest = NULL;
    if (manifest_parse(m->bytes, m->len, m->media_type, p->arena, &doc, err) < 0)
        return -1;
    if (doc.is_index && doc.children.n) {
        struct registry_op op = publishing_op(f, REGISTRY_GET, doc.children.at[0].digest);
        (void)registry_all(p->engine->registry, p->arena, &op, 1);
        if (op.failed) {
            *err = op.err;
            return -1;
        }
        if (op.absent)
            return 0;
        if (manifest_parse(op.bytes, op.len, op.media_type, p->arena, &doc, err) < 0)
            return -1;
    }
    if (!doc.is_index)
        *digest = doc.config.digest;
    return 0;
}

static int check_labels(const struct publishing *p, const struct flip *f, const struct labels *l,
                        struct err *err)
{
    if (l->change && !str_eq(l->change, p->event->change))
        return err_set(err, ERR_PERM, 0, "%s:%s was built for change %s, not for %s", f->repository,
                       f->step.staged_tag, l->change, p->event->change);
    if (l->change_url && !labels_url_fits(l->change_url, p->event))
        return err_set(err, ERR_PERM, 0, "%s:%s was built for %s, which is not a change of %s",
                       f->repository, f->step.staged_tag, l->change_url, p->event->project);
    return 0;
}

static int check_config(struct publishing *p, const struct flip *f, const struct kept_manifest *m,
                        struct err *err)
{
    const char *digest;
    const void *bytes;
    size_t len;
    if (config_digest(p, f, m, &digest, err) < 0)
        return -1;
    if (!digest)
        return 0;
    const struct endpoint from = {
        .registry = p->engine->registry, .host = f->step.registry, .name = f->step.name};
    if (blob_read(&from, digest, LABELS_CONFIG_MAX, p->arena, &bytes, &len, err) < 0)
        return err_wrap(err, "reading the labels of %s:%s", f->repository, f->step.staged_tag);
    struct labels labels;
    labels_of_config(bytes, len, p->arena, &labels);
    return check_labels(p, f, &labels, err);
}

/* A tag that is never moved may exist with our digest, or as it was once made for this very commit:
 * then it stays. */
static int check_immutable(struct publishing *p, struct flip *f, struct err *err)
{
    if (!f->plan->immutable || !f->former_digest || f->step.state == STEP_SAME)
        return 0;
    if (str_eq(f->target.order.project, p->task->order.project) &&
        str_eq(f->target.order.commit, p->task->order.commit) &&
        str_eq(f->target.applied, f->former_digest)) {
        publishing_note(p, "%s was made for this commit already and stays", f->full);
        f->step.new_digest = f->former_digest;
        f->step.new_type = f->former_type;
        f->step.state = STEP_SAME;
        return 0;
    }
    return err_set(err, ERR_PERM, EEXIST,
                   "%s is immutable and shows %s already; use a new tag, or change the policy's "
                   "`immutable`",
                   f->full, f->former_digest);
}

/* May the staged tag of a stale change go? Not when its labels say that it is somebody else's, and
 * not when they could not be read: that fails nothing here. */
static bool is_ours(struct publishing *p, const struct flip *f)
{
    struct err ignored = ERR_INIT;
    struct registry_op op = publishing_op(f, REGISTRY_GET, f->staged_digest);
    (void)registry_all(p->engine->registry, p->arena, &op, 1);
    const struct kept_manifest m = {
        .digest = op.digest, .media_type = op.media_type, .bytes = op.bytes, .len = op.len};
    return !op.failed && !op.absent && check_config(p, f, &m, &ignored) == 0;
}

int provenance_check(struct publishing *p, struct err *err)
{
    struct str_list checked = {0};
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        if (f->stale) {
            f->ours = !f->recorded && f->staged_digest && is_ours(p, f);
            continue;
        }
        if (check_immutable(p, f, err) < 0)
            return -1;
        if (f->recorded || !f->staged_digest || str_in(f->step.new_digest, &checked))
            continue;
        *list_push(p->arena, &checked) = f->step.new_digest;
        if (check_config(p, f, publishing_bytes(p, f->step.new_digest), err) < 0)
            return -1;
    }
    return 0;
}
