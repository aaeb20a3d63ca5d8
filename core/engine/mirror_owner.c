#include "core/engine/mirror_owner.h"

#include "core/base/str.h"

#include <errno.h>

int mirror_check_owner(struct store *s, const char *host, const char *name, const char *tag,
                       struct arena *a, struct err *err)
{
    struct target row = {.registry = host, .name = name, .tag = tag};
    if (store_targets_get(s, &row, 1, a, err) < 0)
        return -1;
    const char *whose = row.order.project ? row.order.project : "a project";
    if (row.held)
        return err_set(err, ERR_PERM, EPERM,
                       "this tag is pinned (%.200s) and is published from %s: a mirror does not "
                       "move it",
                       row.held, whose);
    if (row.applied)
        return err_set(err, ERR_PERM, 0, "this tag is published from %s: a mirror does not move it",
                       whose);
    if (row.locked_by)
        return err_set(err, ERR_TEMP, 0, "this tag is just being published");
    return 0;
}
