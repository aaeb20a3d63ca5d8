/* Which staged tags go once their publication is live: the last part of publishing.h. */
#include "core/engine/publishing.h"

#include "core/base/str.h"
#include "core/os/clock.h"

static void retire(struct publishing *p, const struct flip *f, struct cleanup_list *list,
                   const struct plan_spent *spent, const char *kept)
{
    bool beside = str_eq(spent->registry, f->step.registry) && str_eq(spent->name, f->step.name);
    struct cleanup *c = list_push(p->arena, list);
    c->registry = spent->registry;
    c->name = spent->name;
    c->tag = spent->tag;
    c->digest = spent->digest;
    c->kept_tag = beside ? f->step.tag : NULL;
    c->kept_digest = beside ? kept : NULL;
    c->task = p->task->id;
    c->run_at = clock_now_ms();
    c->seen_ms = beside ? f->staged_seen_ms : 0;
}

struct cleanup_list retire_list(struct publishing *p)
{
    struct cleanup_list list = {0};
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        bool live = f->step.state == STEP_DONE || f->step.state == STEP_SAME;
        if ((live || f->stale) && f->plan && f->plan->spent.tag)
            retire(p, f, &list, &f->plan->spent, f->stale ? f->target.applied : f->step.new_digest);
        const char *shown = f->plan ? f->staged_digest : f->step.new_digest;
        const char *kept = f->stale ? f->target.applied : f->step.new_digest;
        if (!f->step.staged_tag || !shown || !kept || !(f->stale || live) ||
            (!f->stale && !str_eq(shown, f->step.new_digest)) ||
            (f->recorded ? !str_eq(shown, f->recorded) : f->stale && !f->ours))
            continue;
        const struct plan_spent spent = {f->step.registry, f->step.name, f->step.staged_tag, shown};
        retire(p, f, &list, &spent, kept);
    }
    return list;
}
