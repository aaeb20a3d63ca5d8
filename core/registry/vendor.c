#include "core/registry/vendor.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/link.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/registry/auth.h"
#include "core/registry/vendor_internal.h"

#include <errno.h>

static const struct vendor *const vendors[] = {
    &vendor_dockerhub, &vendor_quay, &vendor_harbor, &vendor_ghcr, &vendor_gitlab, &vendor_acr,
};

/* --- which vendor --------------------------------------------------------------------------------
 */

static bool names_host(const struct vendor *v, const char *host)
{
    for (const char *const *name = v->hosts; *name; name++) {
        const char *below = str_after(*name, "*");
        size_t len = strlen(host), end = below ? strlen(below) : 0;
        if (below ? len > end && str_caseeq(host + len - end, below) : str_caseeq(host, *name))
            return true;
    }
    return false;
}

static bool is_auto(const struct registry_conf *conf)
{
    return str_empty(conf->type) || str_eq(conf->type, "auto");
}

const struct vendor *vendor_of(const struct registry_conf *conf)
{
    for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
        if (is_auto(conf) ? names_host(vendors[i], conf->host)
                          : str_eq(conf->type, vendors[i]->type))
            return vendors[i];
    return NULL;
}

const char *vendor_name(const struct vendor *v)
{
    return v->type;
}

const char *const *vendor_types(void)
{
    static const char *const types[] = {"auto", "oci",    "dockerhub", "quay", "harbor",
                                        "ghcr", "gitlab", "acr",       NULL};
    return types;
}

/* Asks every vendor's probe; *asked false when one could not be asked, so that it is tried anew. */
static const struct vendor *probe_all(struct registry *r, struct arena *a, struct registry_host *h,
                                      bool *asked)
{
    *asked = true;
    for (size_t i = 0; i < ARRAY_LEN(vendors); i++) {
        struct vendor_job j;
        if (!vendors[i]->probe || vendor_job_init(&j, r, a, h, vendors[i], NULL, NULL) < 0)
            continue;
        enum registry_answer answer = vendors[i]->probe(&j);
        if (answer == ANSWER_YES)
            return vendors[i];
        if (answer == ANSWER_UNKNOWN)
            *asked = false;
    }
    return NULL;
}

const struct vendor *vendor_known(struct registry *r, struct arena *a, struct registry_host *h,
                                  bool probe)
{
    const struct vendor *v = vendor_of(h->conf);
    if (v || !is_auto(h->conf))
        return v;
    registry_lock(r);
    v = h->vendor.found;
    bool probed = h->vendor.probed;
    registry_unlock(r);
    if (v || probed || !probe)
        return v;
    v = probe_all(r, a, h, &probed);
    registry_lock(r);
    h->vendor.found = v;
    h->vendor.probed = v || probed;
    registry_unlock(r);
    return v;
}

void vendor_forget(struct registry_vendor *memory)
{
    if (memory->token)
        crypt_wipe(memory->token, strlen(memory->token));
    free(memory->token);
    *memory = (struct registry_vendor){0};
}

/* --- a job: where the API is and who we are there ------------------------------------------------
 */

static const char *without_slash(struct arena *a, const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    return arena_strndup(a, url, len);
}

static int own_login(struct vendor_job *j, struct err *err)
{
    struct credential found = {0};
    j->own_login = true;
    if (auth_credential(j->r, j->a, j->host, j->name, &found, err) < 0)
        return -1;
    j->username = found.username;
    j->password = found.password;
    return 0;
}

int vendor_job_init(struct vendor_job *out, struct registry *r, struct arena *a,
                    struct registry_host *h, const struct vendor *v, const char *name,
                    struct err *err)
{
    const struct registry_conf *conf = h->conf;
    bool paired = conf->api || names_host(v, conf->host);
    *out =
        (struct vendor_job){.r = r, .a = a, .host = h, .vendor = v, .name = name, .via = conf->via};
    out->via.public_only = false;
    if (conf->api)
        out->base = without_slash(a, conf->api);
    else if (!v->api)
        out->base = registry_base(h, a);
    else if (paired)
        out->base = v->api;
    const char *origin = out->base ? http_origin(a, out->base) : NULL;
    bool same = origin && str_eq(origin, http_origin(a, registry_base(h, a)));
    out->own_origin = same;
    if (!same)
        out->via.client_cert = out->via.client_key = NULL;
    if (!origin) {
        out->base = NULL;
        return 0;
    }
    if (str_empty(conf->api_password)) {
        /* Our registry password goes to another server only where both are one account. */
        if (v->token_only || !(same || (v->one_account && paired)))
            return 0;
        if (str_starts(origin, "http:") && !conf->plain_http)
            return 0;
        return own_login(out, err);
    }
    out->username = conf->api_username ? conf->api_username : conf->username;
    out->password = conf->api_password;
    return 0;
}

void vendor_bearer(struct vendor_job *j)
{
    if (str_empty(j->password))
        return;
    j->header = "Authorization";
    j->proof = arena_printf(j->a, "Bearer %s", j->password);
}

void vendor_basic(struct vendor_job *j)
{
    if (str_empty(j->username) || str_empty(j->password))
        return;
    j->header = "Authorization";
    j->proof = auth_basic(j->a, j->username, j->password);
}

/* --- requests ------------------------------------------------------------------------------------
 */

const char *vendor_escape(struct arena *a, const char *text, bool keep_slash)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(KIB(16));
    str_urlencode(&out, text, keep_slash);
    return strbuf_to_arena(&out, a);
}

int vendor_ask(struct vendor_job *j, struct vendor_query *q, struct err *err)
{
    struct http_call call = {
        .req = {.method = q->method, .url = arena_printf(j->a, "%s%s", j->base, q->path)},
        .via = j->via,
        .max_body = LIMIT_RESPONSE};
    struct http_headers *headers = &call.req.headers;
    http_header_add(j->a, headers, "Accept", q->accept ? q->accept : "application/json");
    if (j->header)
        http_header_add(j->a, headers, j->header, j->proof);
    if (q->json) {
        call.req.body = q->json;
        call.req.body_len = strlen(q->json);
        http_header_add(j->a, headers, "Content-Type", "application/json");
    }
    if (http_do(j->r->http, j->a, &call, err) < 0)
        return err_wrap(err, "%s's API for %s", j->vendor->title, j->host->conf->host);
    q->resp = call.resp;
    return 0;
}

int vendor_get(struct vendor_job *j, const char *path, const char *what, struct js **doc,
               struct http_headers *headers, struct err *err)
{
    struct vendor_query q = {.method = "GET", .path = path};
    if (vendor_ask(j, &q, err) < 0)
        return -1;
    if (q.resp.status < 200 || q.resp.status > 299)
        return vendor_refused(j, &q.resp, "read", what, err);
    *doc = js_parse(q.resp.body, q.resp.body_len, NULL);
    if (!*doc)
        return err_set(err, ERR_TEMP, q.resp.status, "%s's API for %s answered without JSON to %s",
                       j->vendor->title, j->host->conf->host, what);
    if (headers)
        *headers = q.resp.headers;
    return 0;
}

bool vendor_goes_on(struct vendor_job *j, const struct http_headers *headers, size_t n, size_t page)
{
    const char *url;
    return n > 0 && (n >= page || link_next(headers, &url, j->a));
}

/* --- refusals ------------------------------------------------------------------------------------
 */

/* The API's own words, wherever this vendor puts them. */
static const char *told(const struct vendor_job *j, const struct http_resp *resp)
{
    static const char *const places[] = {"detail",  "error_message",     "message",
                                         "errinfo", "error_description", "error"};
    struct js *doc CLEANUP_JS = js_parse(resp->body, resp->body_len, NULL);
    const char *text = doc ? js_str(js_at(js_get(doc, "errors"), 0), "message") : NULL;
    for (size_t i = 0; doc && str_empty(text) && i < ARRAY_LEN(places); i++)
        text = js_str(doc, places[i]);
    if (str_empty(text))
        return "";
    char *shown = arena_strdup(j->a, text);
    refusal_hide(shown, j->proof && strchr(j->proof, ' ') ? strchr(j->proof, ' ') + 1 : j->proof);
    refusal_hide(shown, j->password);
    (void)log_redact(shown);
    size_t len = strnlen(shown, 300);
    while (len < strlen(shown) && len > 0 && ((unsigned char)shown[len] & 0xC0) == 0x80)
        len--;
    shown[len] = '\0';
    for (char *p = shown; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    return arena_printf(j->a, ": %s", shown);
}

/* GitHub says 403 when a limit is reached; seconds until it ends, 0: that is not it. */
static int64_t limited_for(const struct http_resp *resp, int64_t now_s)
{
    uint64_t reset = 0;
    if (resp->status != 403 || !str_eq(http_header(&resp->headers, "X-RateLimit-Remaining"), "0"))
        return 0;
    const char *text = http_header(&resp->headers, "X-RateLimit-Reset");
    bool says = text && str_to_u64(text, &reset) && reset > (uint64_t)now_s;
    uint64_t wait = says ? reset - (uint64_t)now_s : 60;
    return wait > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (int64_t)wait;
}

int vendor_refused(const struct vendor_job *j, const struct http_resp *resp, const char *verb,
                   const char *what, struct err *err)
{
    int status = resp->status;
    int64_t now_s = clock_now_ms() / 1000, limited = limited_for(resp, now_s);
    bool denied = !limited && (status == 401 || status == 403);
    const char *advice = "";
    if (denied && str_empty(j->password))
        advice = "; give that registry api_username and api_password";
    else if (denied)
        advice = j->own_login ? "; check the credentials of that registry"
                              : "; check api_username and api_password of that registry";
    else if (status >= 300 && status < 400)
        advice = "; redirects are not followed here: check `api` of that registry";
    enum err_kind kind = limited ? ERR_TEMP : status < 400 ? ERR_PERM : http_status_kind(status);
    (void)err_set(err, kind, status, "%s's API for %s %s %s %.300s: %d%s%s", j->vendor->title,
                  j->host->conf->host, denied ? "refused to" : "could not", verb, what, status,
                  told(j, resp), advice);
    if (err)
        err->retry_after = limited ? limited : http_retry_after(resp, now_s);
    return -1;
}

enum vendor_step vendor_judge(const struct vendor_job *j, const struct http_resp *resp,
                              const char *verb, const char *what, struct err *err)
{
    int status = resp->status;
    if (status == 200 || status == 202 || status == 204)
        return VENDOR_DONE;
    (void)vendor_refused(j, resp, verb, what, err);
    if (status == 404)
        return VENDOR_GONE;
    if (err->kind == ERR_TEMP)
        return VENDOR_FAILED;
    return status == 405 || status == 501 ? VENDOR_REFUSED : VENDOR_NO_WAY;
}

/* --- what everybody may call ---------------------------------------------------------------------
 */

int vendor_add_tag(struct vendor_job *j, struct vendor_tags *out, const char *tag, const char *time,
                   struct err *err)
{
    int64_t seconds = 0;
    if (str_empty(tag) || !imageref_tag_ok(tag))
        return 0;
    if (out->n == LIMIT_TAG_LIST)
        return err_set(err, ERR_PERM, 0, "%s/%s has more than %d tags", j->host->conf->host,
                       j->name, LIMIT_TAG_LIST);
    if (!time || !str_from_rfc3339(time, &seconds) || seconds < 0)
        seconds = 0;
    struct vendor_tag *added = list_push(j->a, out);
    added->tag = arena_strdup(j->a, tag);
    added->pushed_ms = seconds * 1000;
    return 0;
}

static int open_job(struct vendor_job *j, struct registry *r, struct arena *a, const char *host,
                    const char *name, bool probe, struct err *err)
{
    *j = (struct vendor_job){0};
    struct registry_host *h = registry_find(r, host, false);
    if (!h)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name))
        return err_set(err, ERR_BUG, 0, "a vendor's API without a legal name");
    const struct vendor *v = vendor_known(r, a, h, probe);
    return v ? vendor_job_init(j, r, a, h, v, name, err) : 0;
}

int vendor_tag_times(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct str_list *wanted, struct vendor_tags *out, bool *told_times,
                     struct err *err)
{
    struct vendor_job j;
    struct err own = ERR_INIT;
    err = err ? err : &own;
    *told_times = false;
    if (open_job(&j, r, a, host, name, false, err) < 0)
        return -1;
    if (!j.base || !j.vendor->times || (j.vendor->token_only && wanted && wanted->n == 0))
        return 0;
    if (j.vendor->times(&j, wanted, out, err) < 0)
        return err_wrap(err, "when the tags of %s/%s were pushed", host, name);
    *told_times = true;
    return 0;
}

int vendor_create(struct registry *r, struct arena *a, const char *host, const char *name,
                  const struct vendor_repository *as, bool *made, struct err *err)
{
    struct vendor_job j;
    struct err own = ERR_INIT;
    err = err ? err : &own;
    *made = false;
    if (open_job(&j, r, a, host, name, true, err) < 0)
        return -1;
    if (!j.base || !j.vendor->create)
        return err_set(err, ERR_PERM, EOPNOTSUPP, "%s has no call that makes a repository", host);
    return j.vendor->create(&j, as, made, err);
}
