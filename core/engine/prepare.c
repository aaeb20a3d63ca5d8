#include "core/engine/prepare.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/engine/locks.h"
#include "core/engine/provenance.h"
#include "core/engine/zuul.h"
#include "core/os/clock.h"
#include "core/registry/copy.h"
#include "core/registry/vendor.h"

#include <errno.h>

/* ---- the right to push ----------------------------------------------------------------------- */

static struct endpoint target_of(const struct engine *e, const struct plan_tag *t)
{
    return (struct endpoint){.registry = e->registry, .host = t->registry, .name = t->name};
}

static const char *repository_of(const struct plan_tag *t, struct arena *a)
{
    return arena_printf(a, "%s/%s", t->registry, t->name);
}

/* Reference: ensure-quay-repo acts where the first three are written. */
static int make_repository(const struct engine *e, const struct plan_tag *t, struct arena *a,
                           struct err *err)
{
    const struct image *image = t->image;
    struct err why = ERR_INIT;
    bool made = false;
    if (!image->namespace_ || !image->repo_shortname || !image->repo_description)
        return 0;
    const struct vendor_repository as = {.namespace_ = image->namespace_,
                                         .shortname = image->repo_shortname,
                                         .description = image->repo_description,
                                         .is_public = !str_eq(image->visibility, "private")};
    if (vendor_create(e->registry, a, t->registry, t->name, &as, &made, &why) == 0)
        return 0;
    /* Other vendors make a repository with the first push; there the keys say nothing. */
    if (why.kind == ERR_PERM && why.code == EOPNOTSUPP)
        return 0;
    *err = why;
    return err_wrap(err, "making repository %s", repository_of(t, a));
}

int prepare_prove(const struct engine *e, const struct plan *plan, struct arena *a, struct err *err)
{
    struct str_list seen = {0};
    int64_t now = clock_monotonic_ms();
    list_each (const struct plan_tag, t, &plan->tags) {
        const char *repository = repository_of(t, a);
        struct endpoint to = target_of(e, t);
        if (str_in(repository, &seen))
            continue;
        *list_push(a, &seen) = repository;
        if (push_proofs_has(e->proofs, repository, now))
            continue;
        /* An empty blob that nothing refers to; the registry's own collection takes it. */
        if (make_repository(e, t, a, err) < 0 ||
            blob_put(&to, MANIFEST_EMPTY_CONFIG, strlen(MANIFEST_EMPTY_CONFIG),
                     MANIFEST_EMPTY_CONFIG_DIGEST, err) < 0)
            return err_wrap(err, "proving the right to push to %s", repository);
        push_proofs_add(e->proofs, repository, now);
    }
    return 0;
}

/* ---- what was built -------------------------------------------------------------------------- */

static const struct built *built_of(const struct built_list *list, const struct plan *plan,
                                    const struct plan_tag *t)
{
    const struct image *image = plan->builds.at[t->build].image;
    list_each (const struct built, b, list)
        if (b->image == image)
            return b;
    return NULL;
}

/* One repository that gets one built image. */
struct push {
    const struct built *built;
    const struct plan_tag *to;
    const char *repository;
    struct copy *copies; /* one a layout */
    const char *digest;  /* of what the tags will show */
};

struct pushes {
    struct push *at;
    size_t n;
    size_t cap;
    size_t copies;
};

static struct push *push_for(struct pushes *list, const struct built *built,
                             const struct plan_tag *t, struct arena *a)
{
    const char *repository = repository_of(t, a);
    list_each (struct push, p, list)
        if (p->built == built && str_eq(p->repository, repository))
            return p;
    struct push *p = list_push(a, list);
    *p = (struct push){.built = built, .to = t, .repository = repository};
    list->copies += built->layouts.n;
    return p;
}

static int open_layouts(const struct engine *e, struct pushes *list, struct copy *copies,
                        struct err *err)
{
    size_t n = 0;
    list_each (struct push, p, list) {
        p->copies = &copies[n];
        list_each (const struct build_layout, l, &p->built->layouts) {
            copies[n] = (struct copy){
                .to = target_of(e, p->to), .expected = l->digest, .no_companions = true};
            copies[n].from.layout = layout_open(l->path, false, err);
            if (!copies[n++].from.layout)
                return -1;
        }
    }
    return 0;
}

static int put_index(const struct engine *e, struct push *p, struct arena *a, struct err *err)
{
    const struct build_layouts *layouts = &p->built->layouts;
    struct manifest_child *children = arena_alloc(a, layouts->n * sizeof *children);
    for (size_t i = 0; i < layouts->n; i++) {
        struct descriptor root;
        bool absent = false;
        if (layout_root(p->copies[i].from.layout, NULL, a, &root, &absent, err) < 0)
            return -1;
        children[i] = (struct manifest_child){.media_type = p->copies[i].media_type,
                                              .digest = p->copies[i].digest,
                                              .size = root.size,
                                              .platform = layouts->at[i].platform};
    }
    const char *text = manifest_platform_index(children, layouts->n, a, err);
    if (!text)
        return -1;
    char *digest = arena_alloc(a, CRYPT_DIGEST_TEXT);
    crypt_digest(text, strlen(text), digest);
    struct registry_op op = {.verb = REGISTRY_PUT,
                             .host = p->to->registry,
                             .name = p->to->name,
                             .ref = digest,
                             .digest = digest,
                             .media_type = MANIFEST_OCI_INDEX,
                             .bytes = text,
                             .len = strlen(text),
                             .access = {.patient = true}};
    if (registry_all(e->registry, a, &op, 1) > 0) {
        *err = op.err;
        return err_wrap(err, "pushing the index of %s", p->repository);
    }
    p->digest = digest;
    return 0;
}

static int push_all(const struct engine *e, struct pushes *list, struct copy *copies, size_t n,
                    struct arena *a, struct err *err)
{
    const struct copy_opts opts = {.stop = e->stop};
    (void)copy_all(a, copies, n, &opts);
    list_each (struct push, p, list) {
        for (size_t i = 0; i < p->built->layouts.n; i++)
            if (p->copies[i].failed) {
                *err = p->copies[i].err;
                return err_wrap(err, "pushing to %s", p->repository);
            }
        if (p->built->layouts.n == 1 && !p->built->layouts.at[0].platform)
            p->digest = p->copies[0].digest;
        else if (put_index(e, p, a, err) < 0)
            return -1;
    }
    return 0;
}

int prepare_built(const struct engine *e, struct plan *plan, const struct built_list *built,
                  struct arena *a, struct err *err)
{
    struct pushes list = {0};
    list_each (const struct plan_tag, t, &plan->tags) {
        const struct built *b = t->source == PLAN_FROM_BUILD ? built_of(built, plan, t) : NULL;
        if (t->source == PLAN_FROM_BUILD && !b)
            return err_set(err, ERR_BUG, 0, "nothing was built for %s:%s", repository_of(t, a),
                           t->tag);
        if (b)
            (void)push_for(&list, b, t, a);
    }
    struct copy *copies = arena_alloc(a, (list.copies + 1) * sizeof *copies);
    int rc = open_layouts(e, &list, copies, err);
    if (rc == 0)
        rc = push_all(e, &list, copies, list.copies, a, err);
    for (size_t i = 0; i < list.copies; i++)
        if (copies[i].from.layout)
            layout_close(copies[i].from.layout);
    list_each (struct plan_tag, t, &plan->tags)
        if (rc == 0 && t->source == PLAN_FROM_BUILD)
            t->prepared = push_for(&list, built_of(built, plan, t), t, a)->digest;
    return rc;
}

/* ---- the intermediate registry --------------------------------------------------------------- */

/* Where the images of one change are: recorded with us, or in one of Zuul's builds. */
struct origin {
    const struct staged *row; /* NULL: not recorded */
    struct zuul_build build;
};

static const struct event_image *recorded(const struct staged *row, const char *repository,
                                          const char *wanted, struct arena *a)
{
    const char *tag = arena_printf(a, "%s_%s", row->run_id ? row->run_id : "", wanted);
    list_each (const struct event_image, i, &row->images)
        if (str_eq(i->repository, repository) && str_eq(i->tag, tag))
            return i;
    return NULL;
}

static int find_recorded(const struct engine *e, const struct policy_project *policy,
                         struct plan_tag *t, const struct staged *row, struct copy *c,
                         struct arena *a, struct err *err)
{
    const char *host, *name;
    if (!policy->intermediate)
        return err_set(err, ERR_CONFIG, 0,
                       "the operator's policy names no `intermediate` registry for this project");
    (void)plan_intermediate(policy->intermediate, repository_of(t, a), a, &host, &name);
    const char *repository = arena_printf(a, "%s/%s", host, name);
    const struct event_image *image = recorded(row, repository, t->wanted, a);
    if (!image)
        return err_set(err, ERR_PERM, ENOENT,
                       "the gate recorded run %s, which left no %s:%s_%s in the intermediate "
                       "registry: gate the change again",
                       row->run_id ? row->run_id : "-", repository, row->run_id ? row->run_id : "-",
                       t->wanted);
    c->from = (struct endpoint){.registry = e->registry, .host = host, .name = name};
    c->from_ref = c->expected = image->digest;
    t->spent = (struct plan_spent){host, name, image->tag, image->digest};
    return 0;
}

/* Where the operator named the registry of a Zuul, its artifacts are in it; where not, Zuul's word
 * selects no repository that the project may not read. */
static int check_artifact(const struct engine *e, const struct policy_project *policy,
                          const struct plan_tag *t, const struct zuul_artifact *found,
                          struct arena *a, struct err *err)
{
    const struct zuul_conf *conf = zuul_select(e->zuuls, t->vars->promote_api, err);
    const char *from = arena_printf(a, "%s/%s", found->host, found->name);
    if (!conf)
        return -1;
    if (conf->intermediate || policy_may_read(policy, from))
        return 0;
    return err_set(err, ERR_PERM, EACCES,
                   "the artifact of %s:%s lies at %s, which policy does not let this project read "
                   "(`may_read`), and zuul.%s names no `intermediate` registry",
                   repository_of(t, a), t->wanted, from, conf->name);
}

static int find_artifact(const struct engine *e, const struct policy_project *policy,
                         const struct plan_tag *t, const struct zuul_build *build, struct copy *c,
                         struct arena *a, struct err *err)
{
    const char *repository = repository_of(t, a);
    const struct zuul_artifact *found = zuul_artifact_find(build, repository, t->wanted);
    if (!found)
        return err_set(err, ERR_PERM, ENOENT, "Zuul's build %s made no artifact for %s:%s",
                       build->uuid, repository, t->wanted);
    if (!registry_knows(e->registry, found->host))
        return err_set(err, ERR_CONFIG, 0,
                       "the artifact of %s:%s lies at %s, which is not one of the operator's "
                       "`registries`",
                       repository, t->wanted, found->host);
    if (check_artifact(e, policy, t, found, a, err) < 0)
        return -1;
    c->from = (struct endpoint){.registry = e->registry, .host = found->host, .name = found->name};
    c->from_ref = found->ref;
    return 0;
}

static int find_origin(const struct engine *e, const struct event *event,
                       const struct policy_project *policy, const struct plan_tag *t,
                       struct origin *out, struct arena *a, struct err *err)
{
    if (provenance_row(e, event, policy, a, &out->row, err) < 0)
        return -1;
    if (out->row)
        return 0;
    bool asks_zuul = t->vars->promote_api || t->vars->promote_job || t->vars->promote_query;
    if (asks_zuul) {
        if (zuul_ask(e, event, t->vars, a, &out->build, err) == 0)
            return 0;
        if (err->kind == ERR_TEMP && err->code == EAGAIN)
            err->code = ENOENT;
        return -1;
    }
    return err_set(err, ERR_TEMP, ENOENT,
                   "no gate recorded an upload of change %s to the intermediate registry",
                   event->change);
}

/* What was promoted once may be gone from where it came; at the target it needs no copy. Leaves the
 * others at the front, and returns how many they are. */
static size_t pass_over(const struct engine *e, struct copy *copies, struct plan_tag **of, size_t n,
                        struct arena *a)
{
    struct registry_op *ops = arena_alloc(a, (n + 1) * sizeof *ops);
    size_t known = 0, left = 0;
    for (size_t i = 0; i < n; i++)
        if (copies[i].expected)
            ops[known++] = (struct registry_op){.verb = REGISTRY_HEAD,
                                                .host = copies[i].to.host,
                                                .name = copies[i].to.name,
                                                .ref = copies[i].expected,
                                                .access = {.patient = true}};
    (void)registry_all(e->registry, a, ops, known);
    known = 0;
    for (size_t i = 0; i < n; i++) {
        const struct registry_op *op = copies[i].expected ? &ops[known++] : NULL;
        if (op && !op->failed && !op->absent) {
            of[i]->prepared = copies[i].expected;
            continue;
        }
        of[left] = of[i];
        copies[left++] = copies[i];
    }
    return left;
}

int prepare_intermediate(const struct engine *e, const struct event *event, struct plan *plan,
                         const struct policy_project *policy, struct arena *a, struct err *err)
{
    struct copy *copies = arena_alloc(a, (plan->tags.n + 1) * sizeof *copies);
    struct plan_tag **of = arena_alloc(a, (plan->tags.n + 1) * sizeof(struct plan_tag *));
    const struct copy_opts opts = {.stop = e->stop};
    const struct imagefile_vars *asked = NULL;
    struct origin origin = {0};
    size_t n = 0;
    list_each (struct plan_tag, t, &plan->tags) {
        if (t->source != PLAN_FROM_INTERMEDIATE)
            continue;
        if ((!asked || t->vars != asked) && find_origin(e, event, policy, t, &origin, a, err) < 0)
            return -1;
        asked = t->vars;
        copies[n] = (struct copy){.to = target_of(e, t)};
        if ((origin.row ? find_recorded(e, policy, t, origin.row, &copies[n], a, err)
                        : find_artifact(e, policy, t, &origin.build, &copies[n], a, err)) < 0)
            return -1;
        of[n++] = t;
    }
    n = pass_over(e, copies, of, n, a);
    (void)copy_all(a, copies, n, &opts);
    for (size_t i = 0; i < n; i++) {
        if (copies[i].failed) {
            *err = copies[i].err;
            return err_wrap(err, "copying to %s:%s", repository_of(of[i], a), of[i]->tag);
        }
        of[i]->prepared = copies[i].digest;
    }
    return 0;
}
