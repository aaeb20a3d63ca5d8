/*
 * signature_help.h - signatures for the tests, made by the openssl command and laid out in the
 * registry fake as cosign lays them out.
 */
#ifndef SLIPWAY_TESTS_SIGNATURE_HELP_H
#define SLIPWAY_TESTS_SIGNATURE_HELP_H

#include "core/domain/bundle.h"
#include "core/domain/simplesigning.h"
#include "core/os/proc.h"
#include "tests/unit/fake_help.h"

#define COSIGN_TYPE "cosign container image signature"
#define IN_TOTO "application/vnd.in-toto+json"
#define STATEMENT "https://in-toto.io/Statement/v1"
#define ARTIFACT_SIGNATURE "application/vnd.dev.cosign.artifact.sig.v1+json"

enum { OURS, THEIRS };

/* What openssl made: two key pairs, and a client of the fake that looks for signatures. */
static struct {
    struct fixture *f;
    struct client client;
    char dir[64];
    struct crypt_key *keys[2];
    int images;
} t;

/* ---- signing, by the openssl command ---- */

static UNUSED const char *openssl(struct arena *a, const char *const *argv, const void *input,
                                  size_t len, size_t *out_len)
{
    struct err err = ERR_INIT;
    struct proc_result r;
    proc_result_init(&r, KIB(16));
    const struct proc_opts opts = {.argv = argv, .cwd = t.dir, .input = input, .input_len = len};
    if (proc_run(&opts, &r, &err) < 0 || r.status != 0)
        fail_msg("openssl: %s %s", err.text, r.err.buf);
    *out_len = r.out.len;
    const char *out = strbuf_to_arena(&r.out, a);
    proc_result_release(&r);
    return out;
}

static UNUSED void make_key(int which)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    size_t len;
    const char *file = which == OURS ? "ours.key" : "theirs.key";
    const char *const gen[] = {"openssl", "genpkey",  "-algorithm",
                               "EC",      "-pkeyopt", "ec_paramgen_curve:P-256",
                               "-out",    file,       NULL};
    const char *const pub[] = {"openssl", "pkey", "-in", file, "-pubout", NULL};
    (void)openssl(&a, gen, NULL, 0, &len);
    const char *pem = openssl(&a, pub, NULL, 0, &len);
    t.keys[which] = crypt_public_key(pem, len, &err);
    if (!t.keys[which])
        fail_msg("%s", err.text);
}

/* DER */
static UNUSED const char *sign_der(struct arena *a, int who, const char *text, size_t *len)
{
    const char *const argv[] = {
        "openssl", "dgst", "-sha256", "-sign", who == OURS ? "ours.key" : "theirs.key", NULL};
    return openssl(a, argv, text, strlen(text), len);
}

static UNUSED const char *sign(struct arena *a, int who, const char *text)
{
    size_t len;
    const char *der = sign_der(a, who, text, &len);
    return crypt_base64(a, der, len);
}

/* ---- what is put into the registry ---- */

/* The digest of one more image. Nobody looks at the image itself. */
static UNUSED const char *new_image(struct arena *a)
{
    char digest[CRYPT_DIGEST_TEXT];
    const char *name = arena_printf(a, "image %d", ++t.images);
    crypt_digest(name, strlen(name), digest);
    return arena_strdup(a, digest);
}

static UNUSED const char *put_item(struct arena *a, const char *what, const char *ref,
                                   const char *type, const char *body)
{
    char digest[CRYPT_DIGEST_TEXT];
    struct js *item CLEANUP_JS = js_object();
    js_put_str(item, "name", NAME);
    js_put_str(item, "ref", ref);
    js_put_str(item, "type", type);
    js_put_str(item, "body", body);
    control(&t.f->fake, what, js_dump(item, a));
    crypt_digest(body, strlen(body), digest);
    return arena_strdup(a, digest);
}

static UNUSED const char *put_blob(struct arena *a, const char *body)
{
    return put_item(a, "blob", NULL, NULL, body);
}

static UNUSED const char *quoted(struct arena *a, const char *text)
{
    struct js *list CLEANUP_JS = js_array();
    js_push_str(list, text);
    const char *dump = js_dump(list, a);
    return arena_strndup(a, dump + 1, strlen(dump) - 2);
}

/* A layer of a signature manifest; its blob is stored. signature NULL: without the annotation. */
static UNUSED const char *layer(struct arena *a, const char *type, const char *body,
                                const char *signature)
{
    const char *notes =
        signature ? arena_printf(a, ",\"annotations\":{\"dev.cosignproject.cosign/signature\":%s}",
                                 quoted(a, signature))
                  : "";
    return arena_printf(a, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", type,
                        put_blob(a, body), strlen(body), notes);
}

static UNUSED const char *manifest(struct arena *a, const char *layers, const char *more)
{
    return arena_printf(
        a,
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":"
        "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":2},"
        "\"layers\":[%s]%s}",
        MANIFEST_OCI, put_blob(a, "{}"), layers, more);
}

static UNUSED const char *tag_of(struct arena *a, const char *digest, const char *suffix)
{
    return arena_printf(a, "sha256-%s%s", digest + strlen("sha256:"), suffix);
}

static UNUSED void put_tag(struct arena *a, const char *digest, const char *layers)
{
    (void)put_item(a, "store", tag_of(a, digest, ".sig"), MANIFEST_OCI, manifest(a, layers, ""));
}

static UNUSED const char *payload(struct arena *a, const char *digest, const char *type)
{
    return arena_printf(a,
                        "{\"critical\":{\"identity\":{\"docker-reference\":\"example.org/x\"},"
                        "\"image\":{\"docker-manifest-digest\":\"%s\"},\"type\":\"%s\"},"
                        "\"optional\":null}",
                        digest, type);
}

static UNUSED const char *simple_layer(struct arena *a, int who, const char *digest)
{
    const char *text = payload(a, digest, COSIGN_TYPE);
    return layer(a, SIMPLESIGNING_LAYER, text, sign(a, who, text));
}

/* A referrer, where a registry without the API lists it. */
static UNUSED void put_referrer(struct arena *a, const char *digest, const char *manifest_type,
                                const char *listed_type, const char *layers)
{
    const char *more = arena_printf(
        a,
        ",\"artifactType\":\"%s\",\"subject\":{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":7}",
        manifest_type, MANIFEST_OCI, digest);
    const char *text = manifest(a, layers, more);
    const char *ref = put_item(a, "store", "made", MANIFEST_OCI, text);
    const char *type = listed_type ? arena_printf(a, ",\"artifactType\":\"%s\"", listed_type) : "";
    (void)put_item(a, "store", tag_of(a, digest, ""), MANIFEST_OCI_INDEX,
                   arena_printf(a,
                                "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[{"
                                "\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}]}",
                                MANIFEST_OCI_INDEX, MANIFEST_OCI, ref, strlen(text), type));
}

static UNUSED const char *statement(struct arena *a, const char *type, const char *digest,
                                    const char *predicate)
{
    return arena_printf(a,
                        "{\"_type\":\"%s\",\"subject\":[{\"name\":\"x\",\"digest\":{\"sha256\":"
                        "\"%s\"}}],\"predicateType\":\"%s\",\"predicate\":{}}",
                        type, digest + strlen("sha256:"), predicate);
}

/* Signed as of `pae_type`, said to be of `payload_type`. */
static UNUSED const char *bundle(struct arena *a, int who, const char *pae_type,
                                 const char *payload_type, const char *text)
{
    const char *pae =
        arena_printf(a, "DSSEv1 %zu %s %zu %s", strlen(pae_type), pae_type, strlen(text), text);
    return arena_printf(
        a,
        "{\"mediaType\":\"" BUNDLE_TYPE "\",\"verificationMaterial\":{\"publicKey\":{\"hint\":"
        "\"x\"},\"tlogEntries\":[]},\"dsseEnvelope\":{\"payload\":\"%s\",\"payloadType\":\"%s\","
        "\"signatures\":[{\"sig\":\"%s\"}]}}",
        crypt_base64(a, text, strlen(text)), payload_type, sign(a, who, pae));
}

#endif
