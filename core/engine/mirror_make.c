#include "core/engine/mirror_make.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/registry/vendor.h"

int mirror_make(struct registry *r, struct arena *a, const struct imagefile_mirror *item,
                const struct mirror_target *t, int64_t until, struct err *err)
{
    const struct registry_access access = {.patient = true, .until = until};
    struct str_list tags = {0};
    bool absent = false, made = false;
    if (registry_tags(r, a, t->host, t->name, &access, &tags, &absent, err) < 0)
        return -1;
    if (!absent)
        return 0;
    struct vendor_repository as = {.description = item->repo_description,
                                   .is_public = str_eq(item->visibility, "public")};
    if (vendor_create(r, a, t->host, t->name, &as, &made, err) < 0)
        return err_wrap(err, "making it %s", item->visibility);
    if (made)
        log_info("a repository is made", "registry", t->host, "repository", t->name, "visibility",
                 item->visibility, NULL);
    return 0;
}
