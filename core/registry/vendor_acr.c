/*
 * Azure Container Registry: learn.microsoft.com/rest/api/containerregistry (tag - delete: DELETE
 * /acr/v1/{name}/_tags/{reference}; tag - get list: GET /acr/v1/{name}/_tags with n and last). The
 * registry's own credentials serve, by Basic or by the token that its challenge asks for (scope
 * repository:<name>:delete, metadata_read).
 */
#include "core/registry/vendor_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define PAGE 100

/* Through the registry's own sign-in; where its token does not reach so far, and for an account of
 * the API's own, with Basic credentials. */
static int ask(struct vendor_job *j, struct vendor_query *q, struct err *err)
{
    bool basic = !str_empty(j->username) && !str_empty(j->password);
    if (j->own_origin && (j->own_login || !basic)) {
        struct exchange x = {.host = j->host,
                             .name = j->name,
                             .method = q->method,
                             .url = arena_printf(j->a, "%s%s", j->base, q->path),
                             .accept = "application/json",
                             .max_body = LIMIT_RESPONSE};
        exchange_all(j->r, j->a, &x, 1);
        if (x.failed && (!basic || x.err.kind == ERR_TEMP)) {
            *err = x.err;
            return -1;
        }
        q->resp = x.resp;
        if (!x.failed && (!basic || (x.resp.status != 401 && x.resp.status != 403)))
            return 0;
    }
    vendor_basic(j);
    return vendor_ask(j, q, err);
}

static enum vendor_step remove_tag(struct vendor_job *j, const char *tag, const char *digest,
                                   struct err *err)
{
    const char *what = arena_printf(j->a, "%s:%s", j->name, tag);
    struct vendor_query q = {.method = "DELETE",
                             .path = arena_printf(j->a, "/acr/v1/%s/_tags/%s", j->name, tag)};
    (void)digest;
    if (ask(j, &q, err) < 0)
        return err->kind == ERR_TEMP ? VENDOR_FAILED : VENDOR_NO_WAY;
    enum vendor_step step = vendor_judge(j, &q.resp, "remove", what, err);
    /* 405 is a locked tag: nobody may get round that. */
    return q.resp.status == 405 ? VENDOR_NO_WAY : step;
}

static int tag_times(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                     struct err *err)
{
    const char *last = "";
    (void)wanted;
    for (int page = 0; page <= LIMIT_TAG_LIST / PAGE; page++) {
        struct vendor_query q = {.method = "GET",
                                 .path = arena_printf(j->a, "/acr/v1/%s/_tags?n=%d%s%s", j->name,
                                                      PAGE, *last ? "&last=" : "",
                                                      vendor_escape(j->a, last, false))};
        if (ask(j, &q, err) < 0)
            return -1;
        if (q.resp.status != 200)
            return vendor_refused(j, &q.resp, "read", j->name, err);
        struct js *doc CLEANUP_JS = js_parse(q.resp.body, q.resp.body_len, NULL);
        const struct js *list = doc ? js_get(doc, "tags") : NULL;
        for (size_t i = 0; i < js_len(list); i++) {
            const char *tag = js_str(js_at(list, i), "name");
            const char *time = js_str(js_at(list, i), "lastUpdateTime");
            if (vendor_add_tag(j, out, tag, time, err) < 0)
                return -1;
            if (tag)
                last = arena_strdup(j->a, tag);
        }
        if (!vendor_goes_on(j, &q.resp.headers, js_len(list), PAGE))
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "the registry's list of tags has no end");
}

static const char *const hosts[] = {"*.azurecr.io", "*.azurecr.cn", "*.azurecr.us", NULL};

const struct vendor vendor_acr = {
    .type = "acr",
    .title = "Azure",
    .hosts = hosts,
    .one_account = true,
    .not_by_oci = "Azure's registry may delete more than the tag",
    .remove = remove_tag,
    .times = tag_times,
};
