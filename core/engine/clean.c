#include "core/engine/clean.h"

#include "core/base/log.h"
#include "core/domain/retry.h"
#include "core/os/clock.h"
#include "core/os/random.h"

enum { LEFT_AGAIN_MS = 6 * 3600 * 1000 };

/* What is left is listed with its reason and tried again: soon after trouble, rarely where the
 * registry has no way. */
static void clean_later(struct cleanup *item, const struct err *err, bool no_way, struct arena *a)
{
    int64_t delay = LEFT_AGAIN_MS;
    item->attempt++;
    item->left = no_way;
    item->reason = arena_strdup(a, err->text);
    if (!no_way && retry_next(err, item->attempt, random_below(1000), &delay) == RETRY_NEVER)
        delay = LEFT_AGAIN_MS;
    item->run_at = clock_now_ms() + delay;
    log_warn("staged tag is left", "registry", item->registry, "repository", item->name, "tag",
             item->tag, "reason", item->reason, NULL);
}

/* True when the item is settled for good. */
static bool clean_one(const struct engine *e, struct cleanup *item, bool fresh, struct arena *a)
{
    struct err err = ERR_INIT;
    enum registry_removal removal;
    if (registry_remove_tag(e->registry, a, item->registry, item->name, item->tag, item->digest,
                            fresh, item->kept_tag, item->kept_digest, &removal, &err) < 0) {
        clean_later(item, &err, false, a);
        return false;
    }
    if (removal == REMOVAL_NO_WAY) {
        clean_later(item, &err, true, a);
        return false;
    }
    const char *what = removal == REMOVAL_DONE   ? "staged tag is removed"
                       : removal == REMOVAL_GONE ? "staged tag was gone already"
                                                 : "staged tag shows another digest now: left";
    log_info(what, "registry", item->registry, "repository", item->name, "tag", item->tag, NULL);
    return true;
}

int clean_run(const struct engine *e, struct cleanup *items, size_t n, bool fresh, struct arena *a,
              struct err *err)
{
    bool *done = arena_alloc(a, n * sizeof *done);
    for (size_t i = 0; i < n; i++)
        done[i] = clean_one(e, &items[i], fresh, a);
    return n ? store_cleanups_settle(e->store, items, done, n, err) : 0;
}
