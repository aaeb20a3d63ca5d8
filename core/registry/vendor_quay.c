/*
 * Quay: docs.redhat.com, "Red Hat Quay API reference", chapters tag (deleteFullTag: DELETE
 * /api/v1/repository/{repository}/tag/{tag}; listRepoTags: GET /api/v1/repository/{repository}/tag/
 * with page, limit and onlyActiveTags, at most 100 a page), repository (createRepo: POST
 * /api/v1/repository) and discovery (GET /api/v1/discovery). They take an OAuth 2 access token;
 * robot accounts have none, and remove tags by the OCI protocol.
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define PAGE 100

static enum vendor_step remove_tag(struct vendor_job *j, const char *tag, const char *digest,
                                   struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    struct vendor_query q = {.method = "DELETE",
                             .path = arena_printf(j->a, "/api/v1/repository/%s/tag/%s", j->name,
                                                  vendor_escape(j->a, tag, false))};
    (void)digest;
    vendor_bearer(j);
    if (vendor_ask(j, &q, err) < 0)
        return VENDOR_FAILED;
    return vendor_judge(j, &q.resp, "remove", what, err);
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    (void)wanted;
    vendor_bearer(j);
    for (int page = 1; page <= LIMIT_TAG_LIST / PAGE + 1; page++) {
        struct js *doc CLEANUP_JS = NULL;
        const char *path =
            arena_printf(j->a, "/api/v1/repository/%s/tag/?onlyActiveTags=true&limit=%d&page=%d",
                         j->name, PAGE, page);
        if (vendor_get(j, path, j->name, &doc, NULL, err) < 0)
            return -1;
        const struct js *list = js_get(doc, "tags");
        for (size_t i = 0; i < js_len(list); i++) {
            char time[32];
            int64_t start = js_int(js_at(list, i), "start_ts", 0);
            bool sane = start > 0 && start < INT32_MAX * (int64_t)16;
            str_rfc3339(sane ? start : 0, time);
            if (vendor_add_tag(j, out, js_str(js_at(list, i), "name"), sane ? time : NULL, err) < 0)
                return -1;
        }
        if (!js_bool(doc, "has_additional") || js_len(list) == 0)
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "Quay's list of tags has no end");
}

static int check_names(const struct vendor_job *j, const struct vendor_repository *as,
                       struct err *err)
{
    const char *slash = strchr(j->name, '/');
    if (!slash)
        return err_set(err, ERR_CONFIG, 0,
                       "\"%s\" has no namespace: on Quay a repository is "
                       "called namespace/name",
                       j->name);
    const char *own = arena_strndup(j->a, j->name, (size_t)(slash - j->name));
    if ((as->namespace_ && !str_eq(as->namespace_, own)) ||
        (as->shortname && !str_eq(as->shortname, slash + 1)))
        return err_set(err, ERR_CONFIG, 0,
                       "the repository that is pushed to is %s, but the one to make is called "
                       "%.200s/%.200s",
                       j->name, as->namespace_ ? as->namespace_ : own,
                       as->shortname ? as->shortname : slash + 1);
    return 0;
}

static bool says_exists(const struct http_resp *resp)
{
    return resp->status == 409 ||
           (resp->status == 400 && strcasestr(resp->body, "already exists") != NULL);
}

static int create(struct vendor_job *j, const struct vendor_repository *as, bool *made,
                  struct err *err)
{
    if (check_names(j, as, err) < 0)
        return -1;
    if (str_empty(j->password))
        return err_set(err, ERR_CONFIG, 0,
                       "making %s/%s needs an OAuth token that may create repositories: give it as "
                       "api_password of that registry",
                       j->host->conf->host, j->name);
    const char *slash = strchr(j->name, '/');
    struct js *body CLEANUP_JS = js_object();
    js_put_str(body, "repo_kind", "image");
    js_put_str(body, "namespace", arena_strndup(j->a, j->name, (size_t)(slash - j->name)));
    js_put_str(body, "repository", slash + 1);
    js_put_str(body, "visibility", as->is_public ? "public" : "private");
    js_put_str(body, "description", as->description ? as->description : "");
    struct vendor_query q = {
        .method = "POST", .path = "/api/v1/repository", .json = js_dump(body, j->a)};
    vendor_bearer(j);
    if (vendor_ask(j, &q, err) < 0)
        return -1;
    *made = q.resp.status == 200 || q.resp.status == 201;
    return *made || says_exists(&q.resp) ? 0 : vendor_refused(j, &q.resp, "make", j->name, err);
}

/* Worth a question only when there is a token for the answer. */
static enum registry_answer probe(struct vendor_job *j)
{
    struct vendor_query q = {.method = "GET", .path = "/api/v1/discovery"};
    if (str_empty(j->host->conf->api_password))
        return ANSWER_NO;
    if (vendor_ask(j, &q, NULL) < 0)
        return ANSWER_UNKNOWN;
    if (q.resp.status != 200)
        return http_status_kind(q.resp.status) == ERR_TEMP ? ANSWER_UNKNOWN : ANSWER_NO;
    struct js *doc CLEANUP_JS = js_parse(q.resp.body, q.resp.body_len, NULL);
    struct str_list paths = {0};
    if (doc)
        (void)js_keys(js_get(doc, "paths"), j->a, &paths);
    return str_in("/api/v1/repository/{repository}/tag/{tag}", &paths) ? ANSWER_YES : ANSWER_NO;
}

static const char *const hosts[] = {"quay.io", NULL};

const struct vendor vendor_quay = {
    .type = "quay",
    .title = "Quay",
    .hosts = hosts,
    .token_only = true,
    .remove = remove_tag,
    .times = tag_times,
    .create = create,
    .probe = probe,
};
