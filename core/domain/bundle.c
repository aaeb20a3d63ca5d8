#include "core/domain/bundle.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"

#define IN_TOTO "application/vnd.in-toto+json"

bool bundle_type_ok(const char *media_type)
{
    static const char *const types[] = {
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        BUNDLE_TYPE,
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(media_type, types[i]))
            return true;
    return false;
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_PERM, 0, "the sigstore bundle is malformed: %s", what);
}

static int read_base64(const char *text, const char *what, struct arena *a,
                       const unsigned char **out, size_t *len, struct err *err)
{
    *out = crypt_unbase64(a, text, len);
    if (*out && *len)
        return 0;
    return err_set(err, ERR_PERM, 0, "the sigstore bundle is malformed: its %s is no base64", what);
}

static int read_message(const struct js *m, struct arena *a, struct bundle *out, struct err *err)
{
    const unsigned char *digest;
    size_t len;
    out->kind = BUNDLE_MESSAGE;
    if (!str_eq(js_str(m, "messageDigest.algorithm"), "SHA2_256"))
        return malformed(err, "the message's digest is not SHA2_256");
    if (read_base64(js_str(m, "messageDigest.digest"), "digest", a, &digest, &len, err) < 0)
        return -1;
    if (len != sizeof out->digest)
        return malformed(err, "the message's digest has a wrong length");
    memcpy(out->digest, digest, len);
    return read_base64(js_str(m, "signature"), "signature", a, &out->signature, &out->signature_len,
                       err);
}

static int read_dsse(const struct js *d, struct arena *a, struct bundle *out, struct err *err)
{
    const struct js *signatures = js_get(d, "signatures");
    const char *type = js_str(d, "payloadType");
    const unsigned char *payload;
    out->kind = BUNDLE_DSSE;
    if (str_empty(type))
        return malformed(err, "its envelope has no payloadType");
    if (js_len(signatures) != 1)
        return malformed(err, "its envelope must have one signature");
    if (read_base64(js_str(d, "payload"), "payload", a, &payload, &out->payload_len, err) < 0)
        return -1;
    out->payload = payload;
    out->payload_type = arena_strdup(a, type);
    return read_base64(js_str(js_at(signatures, 0), "sig"), "signature", a, &out->signature,
                       &out->signature_len, err);
}

int bundle_read(const void *bytes, size_t len, struct arena *a, struct bundle *out, struct err *err)
{
    if (len > LIMIT_SIGNED)
        return err_set(err, ERR_PERM, 0, "the sigstore bundle has %zu bytes; at most %zu are read",
                       len, LIMIT_SIGNED);
    struct js *doc CLEANUP_JS = js_parse(bytes, len, err);
    if (!doc) {
        if (err)
            err->kind = ERR_PERM;
        return err_wrap(err, "the sigstore bundle is no valid JSON");
    }
    if (!bundle_type_ok(js_str(doc, "mediaType")))
        return malformed(err, "its mediaType is none of a version that is known (0.1 to 0.3)");
    const struct js *dsse = js_get(doc, "dsseEnvelope");
    const struct js *message = js_get(doc, "messageSignature");
    if (!js_is_object(dsse) == !js_is_object(message))
        return malformed(err, "it must have one of dsseEnvelope and messageSignature");
    struct bundle b = {0};
    if ((js_is_object(dsse) ? read_dsse(dsse, a, &b, err) : read_message(message, a, &b, err)) < 0)
        return -1;
    *out = b;
    return 0;
}

const void *bundle_pae(const struct bundle *b, struct arena *a, size_t *len)
{
    const char *head = arena_printf(a, "DSSEv1 %zu %s %zu ", strlen(b->payload_type),
                                    b->payload_type, b->payload_len);
    size_t head_len = strlen(head);
    char *out = arena_alloc(a, head_len + b->payload_len + 1);
    memcpy(out, head, head_len);
    memcpy(out + head_len, b->payload, b->payload_len);
    *len = head_len + b->payload_len;
    return out;
}

static bool statement_type_ok(const char *type)
{
    return str_eq(type, "https://in-toto.io/Statement/v1") ||
           str_eq(type, "https://in-toto.io/Statement/v0.1");
}

static int check_statement(const struct bundle *b, const char *hex, const char *predicate_type,
                           struct err *err)
{
    if (!str_eq(b->payload_type, IN_TOTO))
        return err_set(err, ERR_PERM, 0, "what was signed is no in-toto statement");
    struct js *doc CLEANUP_JS = js_parse(b->payload, b->payload_len, err);
    if (!doc) {
        if (err)
            err->kind = ERR_PERM;
        return err_wrap(err, "the signed statement is no valid JSON");
    }
    if (!statement_type_ok(js_str(doc, "_type")))
        return err_set(err, ERR_PERM, 0, "what was signed is no in-toto statement of version 1");
    if (predicate_type && !str_eq(js_str(doc, "predicateType"), predicate_type))
        return err_set(err, ERR_PERM, 0, "the signed statement's predicateType is not %s",
                       predicate_type);
    const struct js *subjects = js_get(doc, "subject");
    for (size_t i = 0; i < js_len(subjects); i++)
        if (str_eq(js_str(js_at(subjects, i), "digest.sha256"), hex))
            return 0;
    return err_set(err, ERR_PERM, 0, "the signed statement has no subject sha256:%s", hex);
}

int bundle_check(const struct bundle *b, const char *digest, const char *predicate_type,
                 struct err *err)
{
    const char *hex = str_after(digest, "sha256:");
    unsigned char bytes[CRYPT_SHA256_BYTES];
    if (!hex || !str_is_hex(hex, 64) || !str_unhex(hex, bytes, sizeof bytes))
        return err_set(err, ERR_PERM, 0, "a sigstore bundle speaks of sha256 digests only");
    if (b->kind == BUNDLE_DSSE)
        return check_statement(b, hex, predicate_type, err);
    if (memcmp(bytes, b->digest, sizeof bytes) == 0)
        return 0;
    return err_set(err, ERR_PERM, 0, "what was signed is another digest than %s", digest);
}
