/*
 * GitLab: docs.gitlab.com/api/container_registry (list registry repositories of a project, details
 * and deletion of one tag, by PRIVATE-TOKEN). Its registry deletes a tag by the OCI call since
 * 16.4; from 12.8 to 17.0 by DELETE /v2/<name>/tags/reference/<tag> (gitlab-org/container-registry,
 * docs/spec/api.md; issues 1094 and 1095 there).
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define PAGE 100
#define DEEPER 2 /* names that may follow a project's own */

static enum registry_answer reference_known(struct vendor_job *j, enum registry_answer set)
{
    registry_lock(j->r);
    if (set != ANSWER_UNKNOWN)
        j->host->vendor.reference = set;
    enum registry_answer known = j->host->vendor.reference;
    registry_unlock(j->r);
    return known;
}

static enum vendor_step remove_reference(struct vendor_job *j, const char *tag, struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    struct exchange x = {.host = j->host,
                         .name = j->name,
                         .method = "DELETE",
                         .path = arena_printf(j->a, "tags/reference/%s", tag),
                         .max_body = LIMIT_ERROR_BODY};
    if (reference_known(j, ANSWER_UNKNOWN) == ANSWER_NO)
        return VENDOR_REFUSED;
    exchange_all(j->r, j->a, &x, 1);
    if (x.failed) {
        *err = x.err;
        return VENDOR_FAILED;
    }
    int status = x.resp.status;
    if (status == 200 || status == 202 || status == 204) {
        (void)reference_known(j, ANSWER_YES);
        return VENDOR_DONE;
    }
    (void)exchange_refused(&x, "remove", what, err);
    if (err->kind == ERR_TEMP)
        return VENDOR_FAILED;
    if (status != 404 && status != 405)
        return VENDOR_REFUSED;
    /* Without the call, from 17.0 on, a 404 is not about the tag. */
    if (status == 404 && reference_known(j, ANSWER_UNKNOWN) == ANSWER_YES)
        return VENDOR_GONE;
    (void)reference_known(j, ANSWER_NO);
    return VENDOR_REFUSED;
}

static int64_t repository_in(struct vendor_job *j, const char *project, struct err *err)
{
    for (int page = 1; page <= LIMIT_REPOSITORIES / PAGE; page++) {
        struct js *doc CLEANUP_JS = NULL;
        struct http_headers headers = {0};
        const char *path =
            arena_printf(j->a, "/api/v4/projects/%s/registry/repositories?per_page=%d&page=%d",
                         vendor_escape(j->a, project, false), PAGE, page);
        if (vendor_get(j, path, project, &doc, &headers, err) < 0)
            return err->code == 404 ? 0 : -1;
        for (size_t i = 0; i < js_len(doc); i++)
            if (str_eq(js_str(js_at(doc, i), "path"), j->name))
                return js_int(js_at(doc, i), "id", 0);
        if (!vendor_goes_on(j, &headers, js_len(doc), PAGE))
            return 0;
    }
    return 0;
}

/* "/api/v4/projects/P/registry/repositories/ID/tags/" of the image's repository, which may be
 * called as its project or up to two names deeper. NULL: err is set. */
static const char *tags_path(struct vendor_job *j, struct err *err)
{
    char *project = arena_strdup(j->a, j->name);
    j->header = "PRIVATE-TOKEN";
    j->proof = j->password;
    for (int i = 0; i <= DEEPER && strchr(project, '/'); i++) {
        int64_t id = repository_in(j, project, err);
        if (id < 0)
            return NULL;
        if (id > 0)
            return arena_printf(j->a, "/api/v4/projects/%s/registry/repositories/%lld/tags/",
                                vendor_escape(j->a, project, false), (long long)id);
        *strrchr(project, '/') = '\0';
    }
    (void)err_set(err, ERR_PERM, 404, "GitLab's API for %s shows no project with the repository %s",
                  j->host->conf->host, j->name);
    return NULL;
}

static enum vendor_step remove_tag(struct vendor_job *j, const char *tag, const char *digest,
                                   struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    enum vendor_step step = remove_reference(j, tag, err);
    (void)digest;
    if (step != VENDOR_REFUSED || !j->base || str_empty(j->password))
        return step;
    const char *tags = tags_path(j, err);
    if (!tags)
        return err->kind == ERR_TEMP ? VENDOR_FAILED : VENDOR_NO_WAY;
    struct vendor_query q = {.method = "DELETE",
                             .path =
                                 arena_printf(j->a, "%s%s", tags, vendor_escape(j->a, tag, false))};
    if (vendor_ask(j, &q, err) < 0)
        return VENDOR_FAILED;
    return vendor_judge(j, &q.resp, "remove", what, err);
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    if (str_empty(j->password) || !wanted)
        return 0;
    const char *tags = tags_path(j, err);
    if (!tags)
        return -1;
    for (size_t i = 0; i < wanted->n && i < LIMIT_TAG_DETAILS; i++) {
        struct js *doc CLEANUP_JS = NULL;
        const char *path =
            arena_printf(j->a, "%s%s", tags, vendor_escape(j->a, wanted->at[i], false));
        if (vendor_get(j, path, wanted->at[i], &doc, NULL, err) < 0) {
            if (err->code == 404)
                continue;
            return -1;
        }
        if (vendor_add_tag(j, out, js_str(doc, "name"), js_str(doc, "created_at"), err) < 0)
            return -1;
    }
    return 0;
}

static const char *const hosts[] = {"registry.gitlab.com", NULL};

const struct vendor vendor_gitlab = {
    .type = "gitlab",
    .title = "GitLab",
    .hosts = hosts,
    .api = "https://gitlab.com",
    .token_only = true,
    .oci_first = true,
    .remove = remove_tag,
    .times = tag_times,
};
