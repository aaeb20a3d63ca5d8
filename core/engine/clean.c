#include "core/engine/clean.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/domain/retry.h"
#include "core/engine/locks.h"
#include "core/os/clock.h"
#include "core/os/random.h"

enum { SEEN_FRESH_MS = 2000, LEFT_AGAIN_MS = 6 * 3600 * 1000 };

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

static bool is_fresh(const struct cleanup *item)
{
    return item->seen_ms && clock_monotonic_ms() - item->seen_ms < SEEN_FRESH_MS;
}

int clean_run(const struct engine *e, struct cleanup *items, size_t n, struct arena *a,
              struct err *err)
{
    bool *done = arena_alloc(a, n * sizeof *done);
    for (size_t i = 0; i < n; i++)
        done[i] = clean_one(e, &items[i], is_fresh(&items[i]), a);
    return n ? store_cleanups_settle(e->store, items, done, n, err) : 0;
}

/* The final tag may have moved on since the clean-up was written down. */
static int refresh_kept(const struct engine *e, struct cleanup *item, struct arena *a,
                        struct err *err)
{
    struct target kept = {.registry = item->registry, .name = item->name, .tag = item->kept_tag};
    if (store_targets_get(e->store, &kept, 1, a, err) < 0)
        return -1;
    if (kept.applied)
        item->kept_digest = kept.applied;
    return 0;
}

/* Under the final tag's lock, so that no publication moves it, or cleans up as well, meanwhile. */
static int clean_locked(const struct engine *e, struct cleanup *item, bool *done, struct arena *a,
                        struct err *err)
{
    struct str_list names = {0};
    if (!item->kept_tag) {
        *done = clean_one(e, item, false, a);
        return 0;
    }
    *list_push(a, &names) = arena_printf(a, "%s/%s:%s", item->registry, item->name, item->kept_tag);
    target_locks_take(e->locks, &names);
    int rc = refresh_kept(e, item, a, err);
    if (rc == 0)
        *done = clean_one(e, item, false, a);
    target_locks_drop(e->locks, &names);
    return rc;
}

int clean_due(const struct engine *e, struct arena *a, struct err *err)
{
    struct cleanup_list due = {0};
    if (store_cleanups_due(e->store, clock_now_ms(), LIMIT_ROWS, a, &due, err) < 0)
        return -1;
    bool *done = arena_alloc(a, due.n * sizeof *done);
    for (size_t i = 0; i < due.n; i++)
        if (clean_locked(e, &due.at[i], &done[i], a, err) < 0)
            return -1;
    return due.n ? store_cleanups_settle(e->store, due.at, done, due.n, err) : 0;
}
