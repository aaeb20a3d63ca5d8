#include "core/registry/referrers.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/link.h"
#include "core/lib/crypt.h"
#include "core/registry/redirect.h"
#include "core/registry/registry_internal.h"

#include <errno.h>
#include <strings.h>

/* Each may hold a manifest of any size. */
enum { TAGS_AT_ONCE = 4 };

/* The repository that is asked, and what of it is wanted. */
struct asking {
    struct registry *r;
    struct arena *a; /* of what is found */
    struct registry_host *host;
    const char *name;
    struct registry_access access;
    const char *artifact_type;
    bool *unknown; /* out, by the API: there is no such repository; NULL: nobody asks */
};

static int begin(struct asking *q, struct registry *r, struct arena *a, const char *host,
                 const char *name, const struct registry_access *access, struct err *err)
{
    *q = (struct asking){.r = r, .a = a, .name = name};
    if (access)
        q->access = *access;
    q->host = registry_find(r, host, q->access.anonymous);
    if (!q->host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name))
        return err_set(err, ERR_BUG, 0, "a question for referrers without a legal name");
    return 0;
}

/* --- lists ------------------------------------------------------------------------------------ */

static struct descriptor kept(const struct descriptor *d, struct arena *a)
{
    struct descriptor out = *d;
    const char **texts[] = {&out.media_type,      &out.digest,   &out.platform,
                            &out.artifact_type,   &out.ref_name, &out.image_name,
                            &out.cosign_signature};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = arena_strdup(a, *texts[i]);
    return out;
}

/* Filtered here whatever the registry says (OCI-Filters-Applied): it costs nothing. */
static int take_list(const struct asking *q, const void *bytes, size_t len,
                     struct referrers_ask *ask, struct err *err)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct manifest index;
    if (manifest_parse(bytes, len, MANIFEST_OCI_INDEX, &scratch, &index, err) < 0)
        return -1;
    list_each (const struct descriptor, d, &index.children) {
        if (q->artifact_type && !str_eq(d->artifact_type, q->artifact_type))
            continue;
        bool known = false;
        for (size_t i = 0; i < ask->out.n && !known; i++)
            known = str_eq(ask->out.at[i].digest, d->digest);
        if (known)
            continue;
        if (ask->out.n == LIMIT_REFERRERS)
            return err_set(err, ERR_PERM, 0, "more than %d manifests refer to it", LIMIT_REFERRERS);
        *list_push(q->a, &ask->out) = kept(d, q->a);
    }
    return 0;
}

/* Reference: registries without the API answer 404, or like any unknown or unsupported path. */
static bool means_no_api(const struct exchange *x)
{
    static const int none[] = {400, 404, 405, 406, 410, 415, 501};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (x->resp.status == none[i])
            return true;
    const char *type = http_header(&x->resp.headers, "Content-Type");
    return x->resp.status == 200 && type && strncasecmp(type, "text/", 5) == 0;
}

/* Pages of one digest's list, each with the address it was asked at. */
struct paging {
    struct exchange x;
    const char *at;
    size_t bytes; /* of all pages */
    int redirects;
    bool ended;
};

static void page_begin(const struct asking *q, const char *digest, struct paging *p)
{
    struct strbuf path CLEANUP_STRBUF = STRBUF_INIT(LIMIT_LINK);
    (void)strbuf_addf(&path, "referrers/%s", digest);
    if (q->artifact_type) {
        (void)strbuf_addstr(&path, "?artifactType=");
        str_urlencode(&path, q->artifact_type, false);
    }
    *p = (struct paging){.x = {.host = q->host,
                               .name = q->name,
                               .access = q->access,
                               .method = "GET",
                               .path = strbuf_to_arena(&path, q->a),
                               .accept = MANIFEST_OCI_INDEX,
                               .max_body = LIMIT_MANIFEST}};
    p->at = arena_printf(q->a, "%s/v2/%s/%s", registry_base(q->host, q->a), q->name, p->x.path);
}

/* Goes on at another address of the same registry; false when it is none. */
static bool page_move(const struct asking *q, struct paging *p, const char *to)
{
    const char *url = redirect_own(q->host, p->at, to, q->a);
    if (!url)
        return false;
    p->x.url = p->at = url;
    return true;
}

/* Takes one answer. *no_api: there is none here. */
static int page_take(const struct asking *q, struct paging *p, struct referrers_ask *ask,
                     bool *no_api, struct err *err)
{
    const char *what = arena_printf(q->a, "the referrers of %s@%s", q->name, ask->digest);
    p->ended = true;
    if (p->x.failed) {
        *err = p->x.err;
        return err_wrap(err, "%s: %s", q->host->conf->host, what);
    }
    if (redirect_is(p->x.resp.status)) {
        p->ended = ++p->redirects > LIMIT_REDIRECTS ||
                   !page_move(q, p, http_header(&p->x.resp.headers, "Location"));
        *no_api = p->ended;
        return 0;
    }
    if (means_no_api(&p->x)) {
        *no_api = true;
        if (q->unknown)
            *q->unknown = exchange_says_unknown(&p->x);
        return 0;
    }
    if (p->x.resp.status != 200)
        return exchange_refused(&p->x, "list", what, err);
    p->bytes += p->x.resp.body_len;
    if (p->bytes > LIMIT_REFERRERS_LIST)
        return err_set(err, ERR_PERM, 0, "%s: %s: the list has more than %zu bytes",
                       q->host->conf->host, what, LIMIT_REFERRERS_LIST);
    if (take_list(q, p->x.resp.body, p->x.resp.body_len, ask, err) < 0)
        return err_wrap(err, "%s: %s", q->host->conf->host, what);
    const char *next;
    if (!link_next(&p->x.resp.headers, &next, q->a))
        return 0;
    if (!page_move(q, p, next))
        return err_set(err, ERR_PERM, 0,
                       "%s: %s: the next page is elsewhere, which is not followed",
                       q->host->conf->host, what);
    p->ended = false;
    return 0;
}

/* One page of each of these. Many lists at once get little room each, as they are short; one that
 * is longer is asked for again, alone. */
static int turn_pages(const struct asking *q, struct paging *const *pages,
                      struct referrers_ask *const *asks, size_t n, bool *no_api, struct err *err)
{
    struct arena all CLEANUP(arena_release) = ARENA_INIT;
    struct exchange *xs = arena_alloc(&all, n * sizeof *xs);
    for (size_t i = 0; i < n; i++) {
        xs[i] = pages[i]->x;
        xs[i].max_body = LIMIT_MANIFEST / n;
    }
    exchange_all(q->r, &all, xs, n);
    for (size_t i = 0; i < n; i++) {
        struct arena one CLEANUP(arena_release) = ARENA_INIT;
        struct exchange plain = pages[i]->x;
        pages[i]->x = xs[i];
        if (n > 1 && xs[i].failed && xs[i].err.code == EFBIG) {
            pages[i]->x = plain;
            exchange_all(q->r, &one, &pages[i]->x, 1);
        }
        if (page_take(q, pages[i], asks[i], no_api, err) < 0)
            return -1;
        pages[i]->x.resp = (struct http_resp){0};
        pages[i]->x.max_body = LIMIT_MANIFEST;
    }
    return 0;
}

/* A registry that turned out to have no API in the midst of it is one without. */
static int by_api(const struct asking *q, struct referrers_ask *asks, size_t n, bool *no_api,
                  struct err *err)
{
    struct paging *pages = arena_alloc(q->a, n * sizeof *pages);
    struct paging **open = arena_alloc(q->a, n * sizeof(struct paging *));
    struct referrers_ask **of = arena_alloc(q->a, n * sizeof(struct referrers_ask *));
    *no_api = false;
    for (size_t i = 0; i < n; i++)
        page_begin(q, asks[i].digest, &pages[i]);
    /* Every page but the last of an honest list brings something, so this many are enough. */
    for (size_t round = 0; round <= LIMIT_REFERRERS + LIMIT_REDIRECTS; round++) {
        size_t left = 0;
        for (size_t i = 0; i < n; i++)
            if (!pages[i].ended) {
                open[left] = &pages[i];
                of[left++] = &asks[i];
            }
        if (left == 0)
            return 0;
        if (turn_pages(q, open, of, left, no_api, err) < 0)
            return -1;
        if (*no_api)
            return 0;
    }
    return err_set(err, ERR_PERM, 0, "%s/%s: the list of referrers does not end",
                   q->host->conf->host, q->name);
}

int referrers_by_api(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *artifact_type,
                     enum referrers_api *api, struct referrers_ask *asks, size_t n, struct err *err)
{
    struct asking q;
    bool no_api = false, unknown = false;
    if (begin(&q, r, a, host, name, access, err) < 0)
        return -1;
    q.artifact_type = artifact_type;
    q.unknown = &unknown;
    for (size_t i = 0; i < n; i++) {
        asks[i].out = (struct descriptors){0};
        if (!imageref_digest_ok(asks[i].digest))
            return err_set(err, ERR_BUG, 0, "a question for referrers without a legal digest");
    }
    size_t ahead = n && *api == REFERRERS_NOT_ASKED ? 1 : 0;
    if (n == 0 || *api == REFERRERS_NO_API)
        return 0;
    if (ahead && by_api(&q, asks, 1, &no_api, err) < 0)
        return -1;
    if (!no_api && n > ahead && by_api(&q, asks + ahead, n - ahead, &no_api, err) < 0)
        return -1;
    *api = !no_api ? REFERRERS_API : unknown ? REFERRERS_NOT_ASKED : REFERRERS_NO_API;
    for (size_t i = 0; i < n && no_api; i++)
        asks[i].out = (struct descriptors){0};
    return 0;
}

/* The fallback tags of a few digests. */
static int some_tags(const struct asking *q, struct referrers_ask *asks, size_t n, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct registry_op *ops = arena_alloc(&a, n * sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        const char *tag = imageref_fallback_tag(asks[i].digest, &a);
        if (!tag)
            return err_set(err, ERR_BUG, 0, "a question for referrers without a legal digest");
        asks[i].out = (struct descriptors){0};
        ops[i] = (struct registry_op){.verb = REGISTRY_GET,
                                      .host = q->host->conf->host,
                                      .name = q->name,
                                      .ref = tag,
                                      .access = q->access};
    }
    (void)registry_all(q->r, &a, ops, n);
    for (size_t i = 0; i < n; i++) {
        if (ops[i].failed) {
            *err = ops[i].err;
            return -1;
        }
        /* What is no index is somebody's image that has taken the name. */
        if (ops[i].absent || !str_eq(ops[i].media_type, MANIFEST_OCI_INDEX))
            continue;
        if (take_list(q, ops[i].bytes, ops[i].len, &asks[i], err) < 0)
            return err_wrap(err, "%s/%s:%s", ops[i].host, ops[i].name, ops[i].ref);
    }
    return 0;
}

int referrers_by_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *artifact_type,
                     struct referrers_ask *asks, size_t n, struct err *err)
{
    struct asking q;
    if (begin(&q, r, a, host, name, access, err) < 0)
        return -1;
    q.artifact_type = artifact_type;
    for (size_t i = 0; i < n; i += TAGS_AT_ONCE) {
        size_t few = n - i < TAGS_AT_ONCE ? n - i : TAGS_AT_ONCE;
        if (some_tags(&q, asks + i, few, err) < 0)
            return -1;
    }
    return 0;
}

int referrers_list(struct registry *r, struct arena *a, const char *host, const char *name,
                   const struct registry_access *access, const char *digest,
                   const char *artifact_type, struct descriptors *out, struct err *err)
{
    struct err own = ERR_INIT;
    enum referrers_api api = REFERRERS_NOT_ASKED;
    struct referrers_ask ask = {.digest = digest};
    if (!err)
        err = &own;
    *out = (struct descriptors){0};
    if (referrers_by_api(r, a, host, name, access, artifact_type, &api, &ask, 1, err) < 0)
        return -1;
    if (api != REFERRERS_API &&
        referrers_by_tag(r, a, host, name, access, artifact_type, &ask, 1, err) < 0)
        return -1;
    *out = ask.out;
    return 0;
}

/* --- pushing ---------------------------------------------------------------------------------- */

/* Puts the manifest by digest. *listed: the registry says that it has taken note of the subject. */
static int put_manifest(const struct asking *q, const struct manifest *m, const void *bytes,
                        size_t len, const char *digest, bool *listed, struct err *err)
{
    struct exchange x = {.host = q->host,
                         .name = q->name,
                         .access = q->access,
                         .method = "PUT",
                         .path = arena_printf(q->a, "manifests/%s", digest),
                         .content_type = m->media_type,
                         .body = bytes,
                         .body_len = len,
                         .max_body = LIMIT_ERROR_BODY};
    const char *what = arena_printf(q->a, "%s@%s", q->name, digest);
    exchange_all(q->r, q->a, &x, 1);
    if (x.failed) {
        *err = x.err;
        return err_wrap(err, "%s/%s", q->host->conf->host, what);
    }
    if (x.resp.status < 200 || x.resp.status > 204)
        return exchange_refused(&x, "push", what, err);
    const char *told = http_header(&x.resp.headers, "Docker-Content-Digest");
    if (told && str_starts(told, "sha256:") && !str_eq(told, digest))
        return err_set(err, ERR_PERM, 0,
                       "%s/%s: wrong bytes: the registry's answer has the digest %.80s",
                       q->host->conf->host, what, told);
    const char *subject = http_header(&x.resp.headers, "OCI-Subject");
    *listed = subject && str_eq(subject, m->subject);
    return 0;
}

/* Reads the fallback index and writes it with the referrer in it. *listed: it was there. */
static int complete(const struct asking *q, const char *tag, const struct referrer *add,
                    bool *listed, struct err *err)
{
    struct registry_op op = {.verb = REGISTRY_GET,
                             .host = q->host->conf->host,
                             .name = q->name,
                             .ref = tag,
                             .access = q->access};
    if (registry_all(q->r, q->a, &op, 1)) {
        *err = op.err;
        return -1;
    }
    const void *before = op.absent ? NULL : op.bytes;
    size_t len = op.absent ? 0 : op.len;
    const char *after = manifest_referrers_index(before, len, add, q->a, err);
    if (!after)
        return err_wrap(err, "%s/%s:%s, which lists what refers to an image", q->host->conf->host,
                        q->name, tag);
    *listed = before && strlen(after) == len && memcmp(after, before, len) == 0;
    if (*listed)
        return 0;
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(after, strlen(after), digest);
    op.verb = REGISTRY_PUT;
    op.media_type = MANIFEST_OCI_INDEX;
    op.bytes = after;
    op.len = strlen(after);
    op.digest = digest;
    if (registry_all(q->r, q->a, &op, 1)) {
        *err = op.err;
        return -1;
    }
    return 0;
}

int referrers_push(struct registry *r, struct arena *a, const char *host, const char *name,
                   const struct registry_access *access, const struct manifest *m,
                   const void *bytes, size_t len, const char *digest, struct err *err)
{
    struct err own = ERR_INIT;
    struct asking q;
    bool listed = false;
    if (!err)
        err = &own;
    if (begin(&q, r, a, host, name, access, err) < 0)
        return -1;
    const char *tag = m->subject ? imageref_fallback_tag(m->subject, a) : NULL;
    if (!tag)
        return err_set(err, ERR_BUG, 0, "%s/%s@%s refers to nothing", host, name, digest);
    if (put_manifest(&q, m, bytes, len, digest, &listed, err) < 0)
        return -1;
    const struct referrer add = manifest_referrer(m, digest, (int64_t)len);
    /* The look after the last write is what tells that no other writer came between. */
    for (int i = 0; i < LIMIT_READBACK_TRIES && !listed; i++)
        if (complete(&q, tag, &add, &listed, err) < 0)
            return -1;
    return listed ? 0
                  : err_set(err, ERR_TEMP, 0,
                            "%s/%s:%s does not keep the entry of %s: somebody else writes it at "
                            "the same time",
                            host, name, tag, digest);
}
