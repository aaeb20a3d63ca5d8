/*
 * registry_help.h - what the tests of the registry client share: asking for manifests, pushing a
 * small image with nothing but HTTP, making clients with various credentials.
 */
#ifndef SLIPWAY_TESTS_REGISTRY_HELP_H
#define SLIPWAY_TESTS_REGISTRY_HELP_H

#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"
#include "core/registry/blob.h"
#include "core/registry/registry.h"
#include "tests/unit/peer.h"

#define PASSWORD "geheim-wort"

/* A client with one configured registry. */
struct client {
    struct http_client *http;
    struct registry_conf conf;
    struct registry_confs confs;
    struct registry *registry;
};

static UNUSED void client_open(struct client *c, const char *host, const char *user,
                               const char *password)
{
    struct err err = ERR_INIT;
    *c = (struct client){.http = http_client_new(NULL, &err),
                         .conf = {.host = host,
                                  .username = user,
                                  .password = password,
                                  .type = "auto",
                                  .plain_http = true}};
    c->confs = (struct registry_confs){.at = &c->conf, .n = 1};
    c->registry = registry_new(c->http, &c->confs, NULL);
}

static UNUSED void client_close(struct client *c)
{
    registry_free(c->registry);
    http_client_free(c->http);
}

static UNUSED struct registry_op ask(struct client *c, struct arena *a, enum registry_verb verb,
                                     const char *name, const char *ref)
{
    struct registry_op op = {.verb = verb, .host = c->conf.host, .name = name, .ref = ref};
    (void)registry_all(c->registry, a, &op, 1);
    return op;
}

static UNUSED struct registry_op put(struct client *c, struct arena *a, const char *name,
                                     const char *ref, const char *type, const char *bytes)
{
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(bytes, strlen(bytes), digest);
    struct registry_op op = {.verb = REGISTRY_PUT,
                             .host = c->conf.host,
                             .name = name,
                             .ref = ref ? ref : arena_strdup(a, digest),
                             .media_type = type,
                             .bytes = bytes,
                             .len = strlen(bytes),
                             .digest = arena_strdup(a, digest)};
    (void)registry_all(c->registry, a, &op, 1);
    if (op.failed)
        print_message("%s\n", op.err.text);
    return op;
}

static UNUSED const char *authorization(const struct client *c, struct arena *a)
{
    if (!c->conf.username)
        return NULL;
    const char *both = arena_printf(a, "%s:%s", c->conf.username, c->conf.password);
    return arena_printf(a, "Basic %s", crypt_base64(a, both, strlen(both)));
}

static UNUSED struct http_resp raw(const struct client *c, struct arena *a, const char *method,
                                   const char *url, const char *body)
{
    struct http_call call = {.req = {.method = method, .url = url}, .max_body = MIB(1)};
    struct err err = ERR_INIT;
    if (authorization(c, a))
        http_header_add(a, &call.req.headers, "Authorization", authorization(c, a));
    if (body) {
        call.req.body = body;
        call.req.body_len = strlen(body);
        http_header_add(a, &call.req.headers, "Content-Type", "application/octet-stream");
    }
    assert_int_equal(http_do(c->http, a, &call, &err), 0);
    return call.resp;
}

static UNUSED const char *push_blob(const struct client *c, struct arena *a, const char *name,
                                    const char *bytes)
{
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(bytes, strlen(bytes), digest);
    const char *url = arena_printf(a, "http://%s/v2/%s/blobs/uploads/", c->conf.host, name);
    struct http_resp resp = raw(c, a, "POST", url, NULL);
    assert_int_equal(resp.status, 202);
    url = http_join(a, url, http_header(&resp.headers, "Location"));
    url = arena_printf(a, "%s%cdigest=%s", url, strchr(url, '?') ? '&' : '?', digest);
    assert_int_equal(raw(c, a, "PUT", url, bytes).status, 201);
    return arena_strdup(a, digest);
}

/* The manifest of a small image whose blobs are pushed; the seed makes it another image. */
static UNUSED const char *make_image(const struct client *c, struct arena *a, const char *name,
                                     const char *seed)
{
    const char *config = arena_printf(a, "{\"os\":\"linux\",\"seed\":\"%s\"}", seed);
    const char *layer = arena_printf(a, "layer of %s", seed);
    return arena_printf(
        a,
        "{ \"schemaVersion\": 2, \"mediaType\": \"%s\", \"config\": {\"mediaType\": "
        "\"application/vnd.oci.image.config.v1+json\", \"digest\": \"%s\", \"size\": %zu},\n"
        "  \"layers\": [{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\", \"digest\": "
        "\"%s\", \"size\": %zu}] }\n",
        MANIFEST_OCI, push_blob(c, a, name, config), strlen(config), push_blob(c, a, name, layer),
        strlen(layer));
}

static UNUSED int read_blob(const struct client *c, struct arena *a, const char *name,
                            const char *digest, size_t max, const void **bytes, size_t *len,
                            struct err *err)
{
    const struct endpoint from = {.registry = c->registry, .host = c->conf.host, .name = name};
    return blob_read(&from, digest, max, a, bytes, len, err);
}

static UNUSED int remove_tag(struct client *c, struct arena *a, const char *name, const char *tag,
                             const char *expected, bool fresh, const char *kept,
                             const char *kept_digest, enum registry_removal *out, struct err *err)
{
    *err = (struct err)ERR_INIT;
    *out = (enum registry_removal)99;
    int rc = registry_remove_tag(c->registry, a, c->conf.host, name, tag, expected, fresh, kept,
                                 kept_digest, out, err);
    print_message("removal of %s: %d, %d %s\n", tag, rc, (int)*out, err->text);
    return rc;
}

#endif
