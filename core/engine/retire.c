/* Which staged tags go once their publication is live: the last part of publishing.h. */
#include "core/engine/publishing.h"

#include "core/base/str.h"
#include "core/os/clock.h"

static void retire(struct publishing *p, const struct flip *f, struct cleanup_list *list,
                   const char *staged_tag, const char *shown, const char *kept)
{
    struct cleanup *c = list_push(p->arena, list);
    c->registry = f->step.registry;
    c->name = f->step.name;
    c->tag = staged_tag;
    c->digest = shown;
    c->kept_tag = f->step.tag;
    c->kept_digest = kept;
    c->task = p->task->id;
    c->run_at = clock_now_ms();
    c->seen_ms = f->staged_seen_ms;
}

struct cleanup_list retire_list(struct publishing *p)
{
    struct cleanup_list list = {0};
    for (size_t i = 0; i < p->n; i++) {
        const struct flip *f = &p->flips[i];
        bool live = f->step.state == STEP_DONE || f->step.state == STEP_SAME;
        if (live && !f->stale && f->plan && f->plan->outdated)
            retire(p, f, &list, f->plan->outdated, f->plan->outdated_digest, f->step.new_digest);
        const char *shown = f->plan ? f->staged_digest : f->step.new_digest;
        const char *kept = f->stale ? f->target.applied : f->step.new_digest;
        if (!f->step.staged_tag || !shown || !kept || !(f->stale || live) ||
            (!f->stale && !str_eq(shown, f->step.new_digest)) ||
            (f->recorded ? !str_eq(shown, f->recorded) : f->stale && !f->ours))
            continue;
        retire(p, f, &list, f->step.staged_tag, shown, kept);
    }
    return list;
}
