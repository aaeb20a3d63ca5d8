#include "core/forge/signature.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"

#define GITHUB_PREFIX "sha256="
#define STANDARD_PREFIX "whsec_"
#define STANDARD_KEY_MIN 24
#define STANDARD_KEY_MAX 64
#define STANDARD_HEADER_MAX 4096
#define V1_CHARS 44 /* base64 of 32 bytes */

bool signature_github_ok(const struct http_req *req, const struct str_list *secrets)
{
    const char *hex = str_after(http_header(&req->headers, "X-Hub-Signature-256"), GITHUB_PREFIX);
    unsigned char given[CRYPT_SHA256_BYTES], expected[CRYPT_SHA256_BYTES];
    if (!hex || !str_unhex(hex, given, sizeof given))
        return false;
    bool ok = false;
    for (size_t i = 0; i < secrets->n; i++) {
        if (str_empty(secrets->at[i]))
            continue;
        crypt_hmac_sha256(secrets->at[i], strlen(secrets->at[i]), req->body, req->body_len,
                          expected);
        ok |= crypt_equal(given, sizeof given, expected, sizeof expected);
    }
    crypt_wipe(expected, sizeof expected);
    return ok;
}

const char *signature_github(const char *secret, const void *body, size_t len, struct arena *a)
{
    unsigned char mac[CRYPT_SHA256_BYTES];
    char hex[CRYPT_SHA256_HEX];
    crypt_hmac_sha256(secret, strlen(secret), body, len, mac);
    str_hex(mac, sizeof mac, hex);
    return arena_printf(a, GITHUB_PREFIX "%s", hex);
}

/* The two families of names for the same three headers. */
static const struct standard_names {
    const char *id;
    const char *timestamp;
    const char *signature;
} families[] = {
    {"webhook-id", "webhook-timestamp", "webhook-signature"},
    {"svix-id", "svix-timestamp", "svix-signature"},
};

static const struct standard_names *family_of(const struct http_req *req)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (http_header(&req->headers, families[i].id))
            return &families[i];
    return NULL;
}

bool signature_is_standard(const struct http_req *req)
{
    return family_of(req) != NULL;
}

const char *signature_standard_id(const struct http_req *req)
{
    const struct standard_names *names = family_of(req);
    return names ? http_header(&req->headers, names->id) : NULL;
}

static bool id_ok(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len <= LIMIT_WEBHOOK_ID &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                      "_-:=+@/~") == len;
}

static bool timestamp_ok(const char *text, int64_t now_s)
{
    uint64_t stamp;
    if (!text || strlen(text) > 15 || !str_to_u64(text, &stamp) || now_s < 0)
        return false;
    uint64_t now = (uint64_t)now_s;
    return (stamp > now ? stamp - now : now - stamp) <= LIMIT_WEBHOOK_SKEW_S;
}

const char *signature_standard_doubt(const struct http_req *req, int64_t now_s)
{
    const struct standard_names *names = family_of(req);
    if (!names)
        return NULL;
    if (!http_header(&req->headers, names->signature))
        return "it carries no webhook-signature";
    if (!timestamp_ok(http_header(&req->headers, names->timestamp), now_s))
        return "its webhook-timestamp is missing or too far from this machine's clock";
    return NULL;
}

/* The key of a secret; NULL when it is unfit. Whoever asks wipes it. */
static unsigned char *standard_key(const char *secret, struct arena *a, size_t *len)
{
    const char *encoded = str_after(secret, STANDARD_PREFIX);
    if (encoded) {
        unsigned char *key = crypt_unbase64(a, encoded, len);
        return key && *len >= STANDARD_KEY_MIN && *len <= STANDARD_KEY_MAX ? key : NULL;
    }
    *len = secret ? strlen(secret) : 0;
    return *len >= LIMIT_HOOK_SECRET ? arena_memdup(a, secret, *len) : NULL;
}

/* What is signed: id.timestamp.body */
struct signed_text {
    const char *bytes;
    size_t len;
};

static struct signed_text standard_text(const char *id, const char *timestamp, const void *body,
                                        size_t len, struct arena *a)
{
    size_t head = strlen(id) + strlen(timestamp) + 2;
    char *bytes = arena_alloc(a, head + len + 1);
    (void)snprintf(bytes, head + 1, "%s.%s.", id, timestamp);
    if (len)
        memcpy(bytes + head, body, len);
    return (struct signed_text){bytes, head + len};
}

/* The base64 that a header must show; NULL when the secret is unfit. */
static const char *standard_v1(const char *secret, struct signed_text text, struct arena *a)
{
    size_t len;
    unsigned char *key = standard_key(secret, a, &len), mac[CRYPT_SHA256_BYTES];
    if (!key)
        return NULL;
    crypt_hmac_sha256(key, len, text.bytes, text.len, mac);
    crypt_wipe(key, len);
    return crypt_base64(a, mac, sizeof mac);
}

/* Is the expected text among the listed "v1,<base64>"? All are compared, none is cut or padded. */
static bool listed(const char *header, const char *expected)
{
    bool ok = false;
    size_t n = 0;
    for (const char *p = header; *p && n < LIMIT_SIGNATURES; n++) {
        size_t len = strcspn(p, " ");
        if (len == 3 + V1_CHARS && memcmp(p, "v1,", 3) == 0)
            ok |= crypt_equal(p + 3, V1_CHARS, expected, strlen(expected));
        p += len;
        p += strspn(p, " ");
    }
    return ok;
}

bool signature_standard_ok(const struct http_req *req, const struct str_list *secrets,
                           int64_t now_s)
{
    const struct standard_names *names = family_of(req);
    if (!names)
        return false;
    const char *id = http_header(&req->headers, names->id);
    const char *timestamp = http_header(&req->headers, names->timestamp);
    const char *signature = http_header(&req->headers, names->signature);
    if (!id_ok(id) || !timestamp_ok(timestamp, now_s) || str_empty(signature) ||
        strlen(signature) > STANDARD_HEADER_MAX || req->body_len > LIMIT_STANDARD_BODY)
        return false;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct signed_text text = standard_text(id, timestamp, req->body, req->body_len, &a);
    bool ok = false;
    for (size_t i = 0; i < secrets->n; i++) {
        const char *expected = standard_v1(secrets->at[i], text, &a);
        if (expected)
            ok |= listed(signature, expected);
    }
    return ok;
}

int signature_standard_add(struct http_headers *headers, const char *secret, const char *id,
                           int64_t now_s, const void *body, size_t len, struct arena *a,
                           struct err *err)
{
    const char *timestamp = arena_printf(a, "%lld", (long long)now_s);
    const char *v1 = standard_v1(secret, standard_text(id, timestamp, body, len, a), a);
    if (!v1)
        return err_set(err, ERR_CONFIG, 0,
                       "the hook secret is unfit for Standard Webhooks: use whsec_ and base64 of "
                       "%d to %d bytes, or at least %d characters of text",
                       STANDARD_KEY_MIN, STANDARD_KEY_MAX, LIMIT_HOOK_SECRET);
    http_header_add(a, headers, families[0].id, id);
    http_header_add(a, headers, families[0].timestamp, timestamp);
    http_header_add(a, headers, families[0].signature, arena_printf(a, "v1,%s", v1));
    return 0;
}

bool signature_token_ok(const char *text, const struct str_list *secrets)
{
    bool ok = false;
    if (str_empty(text))
        return false;
    for (size_t i = 0; i < secrets->n; i++)
        if (secrets->at[i] && strlen(secrets->at[i]) >= LIMIT_HOOK_SECRET)
            ok |= crypt_equal_text(text, secrets->at[i]);
    return ok;
}
