#include "core/registry/signature.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/bundle.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"
#include "core/domain/simplesigning.h"
#include "core/registry/blob.h"
#include "core/registry/referrers.h"

#include <errno.h>
#include <stdarg.h>

#define ARTIFACT_SIGNATURE "application/vnd.dev.cosign.artifact.sig.v1+json"
#define TYPE_EMPTY "application/vnd.oci.empty.v1+json"

/* Why a signature does not count; the last ones tell most. */
enum defect {
    DEFECT_NONE,    /* there is nothing */
    DEFECT_ODD,     /* it can't be read */
    DEFECT_FOREIGN, /* none of the keys made it */
    DEFECT_OTHER    /* one of the keys made it, for something else */
};

struct search {
    struct registry *registry;
    struct endpoint at;
    const char *digest;
    const struct crypt_key *const *keys;
    size_t n_keys;

    const char *where;    /* what is being looked at, for messages */
    size_t looked;        /* signatures */
    enum defect defect;   /* of the most telling one */
    char why[512];        /* and what it is */
    struct err could_not; /* the first temporary trouble */
    bool found;
};

static void doubt(struct search *s, enum defect defect, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void doubt(struct search *s, enum defect defect, const char *fmt, ...)
{
    if (defect <= s->defect)
        return;
    va_list ap;
    va_start(ap, fmt);
    s->defect = defect;
    int n = snprintf(s->why, sizeof s->why, "%s: ", s->where);
    (void)vsnprintf(s->why + n, sizeof s->why - (size_t)n, fmt, ap);
    va_end(ap);
}

static void trouble(struct search *s, const struct err *err)
{
    if (err->kind != ERR_TEMP)
        doubt(s, DEFECT_ODD, "%s", err->text);
    else if (s->could_not.kind == ERR_NONE)
        s->could_not = *err;
}

/* One of the keys made this signature over these bytes. */
static bool is_ours(struct search *s, const void *data, size_t len, const unsigned char *signature,
                    size_t signature_len)
{
    for (size_t i = 0; i < s->n_keys; i++)
        if (crypt_verify(s->keys[i], data, len, signature, signature_len))
            return true;
    doubt(s, DEFECT_FOREIGN,
          "the signature is not by a key that counts, or what it signs was "
          "altered");
    return false;
}

static void look_at_simple(struct search *s, struct arena *a, const struct descriptor *layer)
{
    struct err err = ERR_INIT;
    const void *payload;
    size_t len, signature_len = 0;
    if (!layer->cosign_signature || strlen(layer->cosign_signature) > LIMIT_SIGNATURE) {
        doubt(s, DEFECT_ODD, "a layer has no signature in its annotations, or a monstrous one");
        return;
    }
    const unsigned char *signature = crypt_unbase64(a, layer->cosign_signature, &signature_len);
    if (!signature) {
        doubt(s, DEFECT_ODD, "a signature is not base64");
        return;
    }
    if (blob_read(&s->at, layer->digest, LIMIT_SIGNED_SIMPLE, a, &payload, &len, &err) < 0) {
        trouble(s, &err);
        return;
    }
    if (!is_ours(s, payload, len, signature, signature_len))
        return;
    if (simplesigning_check(payload, len, s->digest, &err) < 0)
        doubt(s, DEFECT_OTHER, "signed by a key that counts, but %s", err.text);
    else
        s->found = true;
}

static void look_at_bundle(struct search *s, struct arena *a, const struct descriptor *layer)
{
    struct err err = ERR_INIT;
    const void *bytes;
    size_t len;
    struct bundle b;
    if (blob_read(&s->at, layer->digest, LIMIT_SIGNED, a, &bytes, &len, &err) < 0) {
        trouble(s, &err);
        return;
    }
    if (bundle_read(bytes, len, a, &b, &err) < 0) {
        doubt(s, DEFECT_ODD, "%s", err.text);
        return;
    }
    /* A key may sign files by the dozen, whose content others choose. */
    if (b.kind != BUNDLE_DSSE) {
        doubt(s, DEFECT_ODD, "it signs a file, and does not say that an image was signed");
        return;
    }
    const void *pae = bundle_pae(&b, a, &len);
    if (!is_ours(s, pae, len, b.signature, b.signature_len))
        return;
    if (bundle_check(&b, s->digest, BUNDLE_COSIGN_SIGN, &err) < 0)
        doubt(s, DEFECT_OTHER, "signed by a key that counts, but %s", err.text);
    else
        s->found = true;
}

static void look_at_layers(struct search *s, struct arena *a, const struct manifest *m)
{
    bool any = false;
    list_each (const struct descriptor, layer, &m->layers) {
        bool simple = str_eq(layer->media_type, SIMPLESIGNING_LAYER);
        if (!simple && !bundle_type_ok(layer->media_type))
            continue;
        any = true;
        if (s->found || s->looked == LIMIT_SIGNATURE_LAYERS)
            return;
        s->looked++;
        if (simple)
            look_at_simple(s, a, layer);
        else
            look_at_bundle(s, a, layer);
    }
    if (!any)
        doubt(s, DEFECT_ODD, "there is no signature in it");
}

/* Fetches a manifest that may hold signatures. */
static void look_at(struct search *s, const char *ref)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct manifest m;
    struct registry_op op = {.verb = REGISTRY_GET,
                             .host = s->at.host,
                             .name = s->at.name,
                             .ref = ref,
                             .access = s->at.access};
    s->where = ref;
    (void)registry_all(s->registry, &scratch, &op, 1);
    if (op.failed)
        trouble(s, &op.err);
    else if (op.absent)
        return;
    else if (manifest_parse(op.bytes, op.len, op.media_type, &scratch, &m, &err) < 0)
        doubt(s, DEFECT_ODD, "%s", err.text);
    else if (m.is_index)
        doubt(s, DEFECT_ODD, "this is an index, no signature");
    else
        look_at_layers(s, &scratch, &m);
}

/* Old versions of cosign list their bundles under the type of the empty config. */
static bool may_be_signature(const struct descriptor *d)
{
    return !d->artifact_type || bundle_type_ok(d->artifact_type) ||
           str_eq(d->artifact_type, ARTIFACT_SIGNATURE) || str_eq(d->artifact_type, TYPE_EMPTY);
}

static void look_at_referrers(struct search *s, struct arena *a)
{
    struct err err = ERR_INIT;
    struct descriptors list = {0};
    size_t fetched = 0;
    s->where = "referrers";
    if (referrers_list(s->registry, a, s->at.host, s->at.name, &s->at.access, s->digest, NULL,
                       &list, &err) < 0) {
        trouble(s, &err);
        return;
    }
    list_each (const struct descriptor, d, &list)
        if (!s->found && may_be_signature(d) && fetched++ < LIMIT_SIGNATURE_LAYERS)
            look_at(s, d->digest);
}

int signature_verify(struct registry *r, struct arena *a, const char *host, const char *name,
                     const struct registry_access *access, const char *digest,
                     const struct crypt_key *const *keys, size_t n_keys, struct err *err)
{
    struct search s = {.registry = r,
                       .at = {.registry = r, .host = host, .name = name, .access = *access},
                       .digest = digest,
                       .keys = keys,
                       .n_keys = n_keys};
    if (!n_keys)
        return err_set(err, ERR_BUG, 0, "a signature was asked for without a key");
    const char *tag = imageref_cosign_tag(digest, "sig", a);
    if (tag)
        look_at(&s, tag);
    if (!s.found)
        look_at_referrers(&s, a);
    if (s.found)
        return 0;
    if (s.could_not.kind != ERR_NONE) {
        *err = s.could_not;
        return err_wrap(err, "looking for signatures of %s/%s@%s", host, name, digest);
    }
    if (s.defect == DEFECT_NONE)
        return err_set(err, ERR_PERM, ENOENT,
                       "%s/%s@%s is not signed: there is neither the tag %s nor a referrer that "
                       "holds a signature",
                       host, name, digest, tag ? tag : "of a signature");
    return err_set(
        err, ERR_PERM, 0, "no signature of %s/%s@%s counts: %s%s", host, name, digest, s.why,
        s.looked == LIMIT_SIGNATURE_LAYERS ? " (there may be more than were looked at)" : "");
}
