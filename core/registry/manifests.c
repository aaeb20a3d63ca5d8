#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"
#include "core/lib/crypt.h"
#include "core/registry/redirect.h"
#include "core/registry/registry_internal.h"

enum { GETS_AT_ONCE = 4 };

static int op_fail(struct registry_op *op, enum err_kind kind, const char *why)
{
    op->failed = true;
    return err_set(&op->err, kind, 0, "%s/%s %s: %s", op->host, op->name, op->ref, why);
}

/* "team/app:latest" or "team/app@sha256:...". */
static const char *op_what(const struct registry_op *op, struct arena *a)
{
    return arena_printf(a, "%s%c%s", op->name, imageref_digest_ok(op->ref) ? '@' : ':', op->ref);
}

/* What no caller may ask for: a name that would change the path, bytes under a wrong digest. */
static int op_check(const struct registry *r, struct registry_op *op)
{
    op->failed = op->absent = op->subject_seen = false;
    if (!op->host || !op->name || !op->ref || !imageref_name_ok(op->name) ||
        !(imageref_tag_ok(op->ref) || imageref_digest_ok(op->ref))) {
        op->failed = true;
        return err_set(&op->err, ERR_BUG, 0, "a request for a manifest without a legal name");
    }
    if (!registry_knows(r, op->host))
        return op_fail(op, ERR_CONFIG, "this registry is not configured");
    if (str_starts(op->ref, "sha512:"))
        return op_fail(op, ERR_PERM, "sha512 digests are not supported");
    if (op->verb != REGISTRY_PUT)
        return 0;
    if (op->len > LIMIT_MANIFEST)
        return op_fail(op, ERR_PERM, "the manifest is larger than registries must take");
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(op->bytes, op->len, digest);
    if (!str_eq(digest, op->digest) || str_empty(op->media_type))
        return op_fail(op, ERR_BUG, "the bytes to push are not those of the digest");
    if (imageref_digest_ok(op->ref) && !str_eq(op->ref, op->digest))
        return op_fail(op, ERR_BUG, "the digest to push at is not that of the bytes");
    return 0;
}

static void op_exchange(const struct registry *r, struct arena *a, const struct registry_op *op,
                        bool as_get, struct exchange *x)
{
    *x = (struct exchange){.host = registry_find(r, op->host, op->access.anonymous),
                           .name = op->name,
                           .access = op->access,
                           .path = arena_printf(a, "manifests/%s", op->ref)};
    if (op->verb == REGISTRY_PUT) {
        x->method = "PUT";
        x->content_type = op->media_type;
        x->body = op->bytes;
        x->body_len = op->len;
        x->max_body = LIMIT_ERROR_BODY;
        return;
    }
    bool head = op->verb == REGISTRY_HEAD && !as_get;
    x->method = head ? "HEAD" : "GET";
    x->accept = MANIFEST_ACCEPT;
    x->max_body = op->max && op->max < LIMIT_MANIFEST ? op->max : LIMIT_MANIFEST;
}

/* The digest that the answer names, when it is of the kind that is computed here. */
static const char *told_digest(const struct http_resp *resp)
{
    const char *digest = http_header(&resp->headers, "Docker-Content-Digest");
    return digest && str_starts(digest, "sha256:") && imageref_digest_ok(digest) ? digest : NULL;
}

static int wrong_bytes(struct registry_op *op, struct arena *a, const char *found)
{
    op->failed = true;
    return err_set(&op->err, ERR_PERM, 0,
                   "%s/%s: wrong bytes: the registry's answer has the digest %s", op->host,
                   op_what(op, a), found);
}

static int take_bytes(struct registry_op *op, struct arena *a, const struct http_resp *resp)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(resp->body, resp->body_len, digest);
    const char *told = told_digest(resp);
    if ((told && !str_eq(told, digest)) ||
        (imageref_digest_ok(op->ref) && !str_eq(op->ref, digest)))
        return wrong_bytes(op, a, digest);
    struct manifest m;
    if (manifest_parse(resp->body, resp->body_len, http_header(&resp->headers, "Content-Type"),
                       &scratch, &m, &op->err) < 0) {
        op->failed = true;
        return err_wrap(&op->err, "%s/%s", op->host, op_what(op, a));
    }
    op->digest = arena_strdup(a, digest);
    op->media_type = m.media_type;
    if (op->verb == REGISTRY_GET) {
        op->bytes = resp->body;
        op->len = resp->body_len;
    }
    return 0;
}

/* True when a GET has to tell what this HEAD did not. */
static bool take_head(struct registry_op *op, struct arena *a, const struct http_resp *resp)
{
    const char *digest = told_digest(resp);
    const char *type = http_header(&resp->headers, "Content-Type");
    if (!digest || str_empty(type))
        return true;
    if (imageref_digest_ok(op->ref) && !str_eq(op->ref, digest)) {
        (void)wrong_bytes(op, a, digest);
        return false;
    }
    op->digest = arena_strdup(a, digest);
    op->media_type = arena_strndup(a, type, strcspn(type, "; \t"));
    return false;
}

static void take_put(struct registry_op *op, struct arena *a, const struct http_resp *resp)
{
    const char *told = told_digest(resp);
    op->subject_seen = http_header(&resp->headers, "OCI-Subject") != NULL;
    if (told && !str_eq(told, op->digest))
        (void)wrong_bytes(op, a, told);
}

/* Settles an op from its answer; true when it has to be asked again as a GET. */
static bool op_take(struct registry_op *op, struct arena *a, const struct exchange *x)
{
    bool head = str_eq(x->method, "HEAD");
    int status = x->resp.status;
    if (x->failed) {
        op->failed = true;
        op->err = x->err;
        (void)err_wrap(&op->err, "%s/%s", op->host, op_what(op, a));
        return false;
    }
    if (op->verb == REGISTRY_PUT && status >= 200 && status <= 204) {
        take_put(op, a, &x->resp);
        return false;
    }
    if (op->verb != REGISTRY_PUT && status == 200) {
        if (head)
            return take_head(op, a, &x->resp);
        (void)take_bytes(op, a, &x->resp);
        return false;
    }
    if (head && (status == 405 || status == 501))
        return true;
    if (op->verb != REGISTRY_PUT && status == 404 &&
        (exchange_says_unknown(x) || !exchange_has_errors(x))) {
        op->absent = true;
        return false;
    }
    static const char *const verbs[] = {
        [REGISTRY_GET] = "pull", [REGISTRY_HEAD] = "look at", [REGISTRY_PUT] = "push"};
    op->failed = true;
    (void)exchange_refused(x, verbs[op->verb], op_what(op, a), &op->err);
    return false;
}

/* Some registries serve what is asked for by its name from elsewhere (registry.k8s.io). */
static void op_follow(struct registry *r, struct arena *a, const struct registry_op *op,
                      struct exchange *x)
{
    const char *moved;
    if (!x->failed && op->verb != REGISTRY_PUT)
        x->failed = redirect_follow(r, a, x, op_what(op, a), &moved, &x->err) < 0;
}

/* Performs the ops in `of` and keeps in it those to ask again; returns how many. */
static size_t ops_round(struct registry *r, struct arena *a, struct registry_op *ops, size_t *of,
                        size_t n)
{
    struct exchange *x = arena_alloc(a, n * sizeof *x);
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        op_exchange(r, a, &ops[of[i]], false, &x[i]);
    exchange_all(r, a, x, n);
    for (size_t i = 0; i < n; i++) {
        op_follow(r, a, &ops[of[i]], &x[i]);
        if (op_take(&ops[of[i]], a, &x[i]))
            of[left++] = of[i];
    }
    return left;
}

/* HEADs that did not tell, as GETs: few at once, as the bytes of each are read and not kept. */
static void ops_as_get(struct registry *r, struct arena *a, struct registry_op *ops,
                       const size_t *of, size_t n)
{
    for (size_t i = 0; i < n; i += GETS_AT_ONCE) {
        struct arena few CLEANUP(arena_release) = ARENA_INIT;
        struct exchange x[GETS_AT_ONCE];
        size_t k = 0;
        for (; k < GETS_AT_ONCE && i + k < n; k++)
            op_exchange(r, &few, &ops[of[i + k]], true, &x[k]);
        exchange_all(r, &few, x, k);
        for (size_t at = 0; at < k; at++)
            (void)op_take(&ops[of[i + at]], a, &x[at]);
    }
}

size_t registry_all(struct registry *r, struct arena *a, struct registry_op *ops, size_t n)
{
    size_t *of = arena_alloc(a, n * sizeof *of);
    size_t left = 0, failed = 0;
    for (size_t i = 0; i < n; i++)
        if (op_check(r, &ops[i]) == 0)
            of[left++] = i;
    left = ops_round(r, a, ops, of, left);
    ops_as_get(r, a, ops, of, left);
    for (size_t i = 0; i < n; i++)
        failed += ops[i].failed;
    return failed;
}
