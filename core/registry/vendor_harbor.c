/*
 * Harbor: its OpenAPI document, api/v2.0/swagger.yaml of goharbor/harbor, version 2.0 (deleteTag:
 * DELETE /projects/{project}/repositories/{repository}/artifacts/{reference}/tags/{tag}, a slash
 * in the repository's name encoded twice, 412 for a tag that an immutability rule keeps;
 * listArtifacts with with_tag, page and page_size; getPing, which needs no credentials).
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define PAGE 100

/* "/api/v2.0/projects/P/repositories/R"; NULL when the name has no project. */
static const char *repository_path(const struct vendor_job *j, struct err *err)
{
    const char *slash = strchr(j->name, '/');
    if (!slash) {
        (void)err_set(err, ERR_PERM, 0,
                      "\"%s\" has no project: on Harbor a repository is called "
                      "project/name",
                      j->name);
        return NULL;
    }
    const char *once = vendor_escape(j->a, slash + 1, false);
    return arena_printf(j->a, "/api/v2.0/projects/%.*s/repositories/%s", (int)(slash - j->name),
                        j->name, vendor_escape(j->a, once, false));
}

static enum vendor_step remove_tag(struct vendor_job *j, const char *tag, const char *digest,
                                   struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    const char *repository = repository_path(j, err);
    if (!repository)
        return VENDOR_NO_WAY;
    struct vendor_query q = {.method = "DELETE",
                             .path = arena_printf(j->a, "%s/artifacts/%s/tags/%s", repository,
                                                  digest ? digest : tag, tag)};
    vendor_basic(j);
    if (vendor_ask(j, &q, err) < 0)
        return VENDOR_FAILED;
    enum vendor_step step = vendor_judge(j, &q.resp, "remove", what, err);
    if (q.resp.status == 412)
        (void)err_wrap(err, "an immutability rule keeps it");
    return step;
}

static int add_artifact(struct vendor_job *j, const struct js *artifact, struct vendor_tags *out,
                        struct err *err)
{
    const struct js *tags = js_get(artifact, "tags");
    for (size_t i = 0; i < js_len(tags); i++) {
        const char *time = js_str(js_at(tags, i), "push_time");
        if (!time)
            time = js_str(artifact, "push_time");
        if (vendor_add_tag(j, out, js_str(js_at(tags, i), "name"), time, err) < 0)
            return -1;
    }
    return 0;
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    const char *repository = repository_path(j, err);
    (void)wanted;
    if (!repository)
        return -1;
    vendor_basic(j);
    for (int page = 1; page <= LIMIT_TAG_LIST / PAGE + 1; page++) {
        struct js *doc CLEANUP_JS = NULL;
        struct http_headers headers = {0};
        const char *path = arena_printf(j->a, "%s/artifacts?with_tag=true&page_size=%d&page=%d",
                                        repository, PAGE, page);
        if (vendor_get(j, path, j->name, &doc, &headers, err) < 0)
            return -1;
        for (size_t i = 0; i < js_len(doc); i++)
            if (add_artifact(j, js_at(doc, i), out, err) < 0)
                return -1;
        if (!vendor_goes_on(j, &headers, js_len(doc), PAGE))
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "Harbor's list of artifacts has no end");
}

static enum registry_answer probe(struct vendor_job *j)
{
    struct vendor_query q = {.method = "GET", .path = "/api/v2.0/ping", .accept = "text/plain"};
    if (vendor_ask(j, &q, NULL) < 0)
        return ANSWER_UNKNOWN;
    if (q.resp.status == 200)
        return str_starts(q.resp.body, "Pong") || str_starts(q.resp.body, "\"Pong") ? ANSWER_YES
                                                                                    : ANSWER_NO;
    return q.resp.status >= 400 && http_status_kind(q.resp.status) == ERR_TEMP ? ANSWER_UNKNOWN
                                                                               : ANSWER_NO;
}

static const char *const hosts[] = {"demo.goharbor.io", NULL};

const struct vendor vendor_harbor = {
    .type = "harbor",
    .title = "Harbor",
    .hosts = hosts,
    .one_account = true,
    .remove = remove_tag,
    .times = tag_times,
    .probe = probe,
};
