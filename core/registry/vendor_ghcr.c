/*
 * GitHub's container registry: docs.github.com/en/rest/packages/packages (list package versions
 * and delete a package version, for an organization and for a user; the last tagged version of a
 * package cannot be deleted). A version is a manifest: its name is the digest, and all its tags go
 * with it, so a tag is isolated on a placeholder first, and only a version that has this one tag
 * is deleted. The token needs read:packages and delete:packages.
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#define PAGE 100
#define NEWEST_PAGES 10 /* a version that was just made is among the newest */

static const char *const owners[] = {"orgs", "users"};

/* "/orgs/O/packages/container/P/versions"; NULL when the name has no owner. */
static const char *versions_path(const struct vendor_job *j, const char *owner, struct err *err)
{
    const char *slash = strchr(j->name, '/');
    if (!slash) {
        (void)err_set(err, ERR_PERM, 0, "\"%s\" has no owner: here an image is called owner/name",
                      j->name);
        return NULL;
    }
    return arena_printf(j->a, "/%s/%.*s/packages/container/%s/versions", owner,
                        (int)(slash - j->name), j->name, vendor_escape(j->a, slash + 1, false));
}

/* One page of versions; *path NULL: first finds out whether an organization or a user owns it. */
static int read_page(struct vendor_job *j, const char **path, int page, struct js **doc, bool *more,
                     struct err *err)
{
    struct http_headers headers = {0};
    vendor_bearer(j);
    for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
        const char *versions = *path ? *path : versions_path(j, owners[i], err);
        if (!versions)
            return -1;
        const char *query = arena_printf(j->a, "%s?per_page=%d&page=%d", versions, PAGE, page);
        if (vendor_get(j, query, j->name, doc, &headers, err) == 0) {
            *path = versions;
            *more = vendor_goes_on(j, &headers, js_len(*doc), PAGE);
            return 0;
        }
        if (*path || err->code != 404)
            return -1;
    }
    return -1;
}

static enum vendor_step may_delete(struct vendor_job *j, struct err *err)
{
    struct js *doc CLEANUP_JS = NULL;
    const char *path = NULL;
    bool more;
    if (!j->base || str_empty(j->password)) {
        (void)err_set(err, ERR_PERM, 0,
                      "%s deletes by GitHub's API only: give it a token with delete:packages as "
                      "api_password",
                      j->host->conf->host);
        return VENDOR_NO_WAY;
    }
    if (read_page(j, &path, 1, &doc, &more, err) == 0)
        return VENDOR_DONE;
    return err->kind == ERR_TEMP ? VENDOR_FAILED : VENDOR_NO_WAY;
}

/* Is it the version of that digest, with that tag and no other? */
static bool is_isolated(const struct js *version, const char *tag, const char *digest)
{
    const struct js *tags = js_get(version, "metadata.container.tags");
    return str_eq(js_str(version, "name"), digest) && js_len(tags) == 1 &&
           str_eq(js_str(js_at(tags, 0), ""), tag);
}

/* The URL's path of the version; NULL with no error: it is not listed (yet). */
static const char *find_version(struct vendor_job *j, const char *tag, const char *digest,
                                bool *failed, struct err *err)
{
    const char *path = NULL;
    *failed = false;
    for (int page = 1; page <= NEWEST_PAGES; page++) {
        struct js *doc CLEANUP_JS = NULL;
        bool more;
        if (read_page(j, &path, page, &doc, &more, err) < 0) {
            *failed = true;
            return NULL;
        }
        for (size_t i = 0; i < js_len(doc); i++) {
            int64_t id = js_int(js_at(doc, i), "id", 0);
            if (id > 0 && is_isolated(js_at(doc, i), tag, digest))
                return arena_printf(j->a, "%s/%lld", path, (long long)id);
        }
        if (!more)
            break;
    }
    return NULL;
}

static enum vendor_step delete_version(struct vendor_job *j, const char *tag, const char *digest,
                                       struct err *err)
{
    const char *what = arena_printf(j->a, "the placeholder of %s:%s", j->name, tag);
    const char *path = NULL;
    bool failed = false;
    for (int i = 0; i < LIMIT_READBACK_TRIES && !path && !failed; i++) {
        if (i > 0)
            clock_sleep_ms((int64_t)LIMIT_READBACK_PAUSE_MS << (i - 1));
        path = find_version(j, tag, digest, &failed, err);
    }
    if (failed)
        return err->kind == ERR_TEMP ? VENDOR_FAILED : VENDOR_NO_WAY;
    if (!path) {
        (void)err_set(err, ERR_TEMP, 0, "GitHub's API for %s does not list %s yet",
                      j->host->conf->host, what);
        return VENDOR_FAILED;
    }
    struct vendor_query q = {.method = "DELETE", .path = path};
    if (vendor_ask(j, &q, err) < 0)
        return VENDOR_FAILED;
    return vendor_judge(j, &q.resp, "delete", what, err);
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    const char *path = NULL;
    (void)wanted;
    for (int page = 1; page <= LIMIT_TAG_LIST / PAGE + 1; page++) {
        struct js *doc CLEANUP_JS = NULL;
        bool more;
        if (read_page(j, &path, page, &doc, &more, err) < 0)
            return -1;
        for (size_t i = 0; i < js_len(doc); i++) {
            const struct js *version = js_at(doc, i);
            const struct js *tags = js_get(version, "metadata.container.tags");
            const char *time = js_str(version, "updated_at");
            if (!time)
                time = js_str(version, "created_at");
            for (size_t k = 0; k < js_len(tags); k++)
                if (vendor_add_tag(j, out, js_str(js_at(tags, k), ""), time, err) < 0)
                    return -1;
        }
        if (!more)
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "GitHub's list of versions has no end");
}

static const char *const hosts[] = {"ghcr.io", NULL};

const struct vendor vendor_ghcr = {
    .type = "ghcr",
    .title = "GitHub",
    .hosts = hosts,
    .api = "https://api.github.com",
    .one_account = true,
    .not_by_oci = "GitHub's registry deletes no single tag",
    .may_delete = may_delete,
    .drop = delete_version,
    .times = tag_times,
};
