/*
 * copy_help.h - what the tests of the copy engine share: images of small parts made in a registry,
 * one client for two registries, what a fake was asked and holds.
 */
#ifndef SLIPWAY_TESTS_COPY_HELP_H
#define SLIPWAY_TESTS_COPY_HELP_H

#include "tests/unit/fake_help.h"

#include "core/domain/imageref.h"
#include "core/registry/copy.h"

#include <pthread.h>

struct scene {
    struct peer a, b;
    struct http_client *http;
    struct registry_conf conf[2];
    struct registry_confs confs;
    struct registry *registry;
};

static UNUSED void scene_client(struct scene *s, const char *user)
{
    struct err err = ERR_INIT;
    const struct peer *const peers[] = {&s->a, &s->b};
    s->http = http_client_new(NULL, &err);
    for (size_t i = 0; i < 2; i++)
        s->conf[i] = (struct registry_conf){.host = peers[i]->host,
                                            .username = user,
                                            .password = user ? PASSWORD : NULL,
                                            .type = "auto",
                                            .plain_http = true};
    s->confs = (struct registry_confs){.at = s->conf, .n = 2};
    s->registry = registry_new(s->http, &s->confs, NULL);
}

static UNUSED void scene_client_close(struct scene *s)
{
    registry_free(s->registry);
    http_client_free(s->http);
}

static UNUSED struct endpoint at(const struct scene *s, const struct peer *p, const char *name)
{
    return (struct endpoint){.registry = s->registry, .host = p->host, .name = name};
}

static UNUSED struct endpoint in_layout(struct layout *l)
{
    return (struct endpoint){.layout = l};
}

/* --- making images ------------------------------------------------------------------------------
 */

struct made {
    const char *type;
    const char *digest;
    const char *bytes;
    const char *platform; /* "amd64" */
};

static UNUSED const char *digest_of(struct arena *a, const char *bytes)
{
    char digest[CRYPT_DIGEST_TEXT];
    crypt_digest(bytes, strlen(bytes), digest);
    return arena_strdup(a, digest);
}

static UNUSED const char *make_blob(const struct endpoint *to, struct arena *a, const char *bytes)
{
    struct err err = ERR_INIT;
    const char *digest = digest_of(a, bytes);
    if (blob_put(to, bytes, strlen(bytes), digest, &err) < 0)
        fail_msg("%s", err.text);
    return digest;
}

static UNUSED void make_put(const struct endpoint *to, struct arena *a, const struct made *m,
                            const char *ref)
{
    struct registry_op op = {.verb = REGISTRY_PUT,
                             .host = to->host,
                             .name = to->name,
                             .ref = ref ? ref : m->digest,
                             .media_type = m->type,
                             .bytes = m->bytes,
                             .len = strlen(m->bytes),
                             .digest = m->digest};
    if (registry_all(to->registry, a, &op, 1))
        fail_msg("%s", op.err.text);
}

static UNUSED const char *make_entry(struct arena *a, const char *type, const char *bytes,
                                     const char *more)
{
    return arena_printf(a, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", type,
                        digest_of(a, bytes), strlen(bytes), more);
}

/* An image of `layers` layers; `more` are further members ("\"subject\":...,"). Layer 0 is the same
 * in all images. Pushed by digest. */
static UNUSED struct made make_one(const struct endpoint *to, struct arena *a, const char *type,
                                   const char *seed, int layers, const char *more)
{
    bool docker = str_eq(type, MANIFEST_DOCKER);
    struct strbuf list CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    const char *config = arena_printf(a, "{\"os\":\"linux\",\"seed\":\"%s\"}", seed);
    (void)make_blob(to, a, config);
    for (int i = 0; i < layers; i++) {
        const char *layer = i ? arena_printf(a, "layer %d of %s", i, seed) : "the base layer";
        (void)make_blob(to, a, layer);
        (void)strbuf_addf(&list, "%s%s", i ? "," : "",
                          make_entry(a,
                                     docker ? "application/vnd.docker.image.rootfs.diff.tar.gzip"
                                            : "application/vnd.oci.image.layer.v1.tar+gzip",
                                     layer, ""));
    }
    struct made m = {.type = type, .platform = seed};
    m.bytes = arena_printf(a,
                           "{ \"schemaVersion\":2,\"mediaType\":\"%s\",%s\"config\":%s,\n"
                           "  \"layers\":[%s] }\n",
                           type, more,
                           make_entry(a,
                                      docker ? "application/vnd.docker.container.image.v1+json"
                                             : "application/vnd.oci.image.config.v1+json",
                                      config, ""),
                           list.buf);
    m.digest = digest_of(a, m.bytes);
    make_put(to, a, &m, NULL);
    return m;
}

static UNUSED struct made make_list(struct arena *a, const char *type, const struct made *children,
                                    size_t n)
{
    struct strbuf list CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (size_t i = 0; i < n; i++)
        (void)strbuf_addf(&list, "%s%s", i ? ",\n" : "",
                          make_entry(a, children[i].type, children[i].bytes,
                                     arena_printf(a,
                                                  ",\"platform\":{\"os\":\"linux\","
                                                  "\"architecture\":\"%s\"}",
                                                  children[i].platform)));
    struct made m = {.type = type};
    m.bytes = arena_printf(a, "{\"schemaVersion\":2, \"mediaType\":\"%s\",\"manifests\":[\n%s]}",
                           type, list.buf);
    m.digest = digest_of(a, m.bytes);
    return m;
}

/* An index of two images of three layers, of which all but the base layer are their own. */
static UNUSED struct made make_two(const struct endpoint *to, struct arena *a, const char *seed,
                                   bool docker, const char *tag, struct made children[2])
{
    const char *type = docker ? MANIFEST_DOCKER : MANIFEST_OCI;
    children[0] = make_one(to, a, type, arena_printf(a, "%s-amd64", seed), 3, "");
    children[1] = make_one(to, a, type, arena_printf(a, "%s-arm64", seed), 3, "");
    children[0].platform = "amd64";
    children[1].platform = "arm64";
    struct made m = make_list(a, docker ? MANIFEST_DOCKER_LIST : MANIFEST_OCI_INDEX, children, 2);
    make_put(to, a, &m, tag);
    return m;
}

static UNUSED const char *subject_of(struct arena *a, const struct made *m)
{
    return arena_printf(a, "\"artifactType\":\"application/x.test\",\"subject\":%s,",
                        make_entry(a, m->type, m->bytes, ""));
}

/* --- copying ------------------------------------------------------------------------------------
 */

static UNUSED struct copy copy_of(struct endpoint from, const char *ref, struct endpoint to,
                                  struct arena *a, const char *tag)
{
    struct copy c = {.from = from, .from_ref = ref, .to = to};
    if (tag)
        *list_push(a, &c.to_tags) = tag;
    return c;
}

static UNUSED void copy_now(struct copy *c, struct arena *a)
{
    (void)copy_all(a, c, 1, NULL);
    if (c->failed)
        print_message("copy: %s\n", c->err.text);
}

static UNUSED void copy_well(struct copy *c, struct arena *a)
{
    copy_now(c, a);
    assert_false(c->failed);
}

static UNUSED const char *shown(const struct endpoint *e, struct arena *a, const char *ref)
{
    struct registry_op op = {.verb = REGISTRY_GET, .host = e->host, .name = e->name, .ref = ref};
    if (registry_all(e->registry, a, &op, 1))
        fail_msg("%s", op.err.text);
    return op.absent ? NULL : op.digest;
}

static UNUSED bool has_blob(const struct endpoint *e, struct arena *a, const char *bytes)
{
    struct err err = ERR_INIT;
    bool there = false;
    const struct descriptor d = {.digest = digest_of(a, bytes), .size = (int64_t)strlen(bytes)};
    if (blob_exists(e, &d, a, &there, &err) < 0)
        fail_msg("%s", err.text);
    return there;
}

/* --- what a fake was asked ----------------------------------------------------------------------
 */

/* "METHOD path\n" of each request since the last look. */
static UNUSED const char *asked(struct arena *a, const struct peer *p)
{
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/log", p->host)},
        .max_body = MIB(4)};
    assert_int_equal(http_do(http, a, &call, &err), 0);
    http_client_free(http);
    struct js *lines CLEANUP_JS = js_parse(call.resp.body, call.resp.body_len, &err);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (size_t i = 0; i < js_len(lines); i++)
        (void)strbuf_addf(&out, "%s %s\n", js_str(js_at(lines, i), "method"),
                          js_str(js_at(lines, i), "path"));
    return strbuf_to_arena(&out, a);
}

/* How many of these lines begin so and hold this text. */
static UNUSED int times(const char *log, const char *method, const char *text)
{
    int n = 0;
    for (; *log; log = strchr(log, '\n') + 1) {
        char line[2048];
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(log, "\n"), log);
        n += str_starts(line, method) && strstr(line, text);
    }
    return n;
}

static UNUSED int scene_set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    peer_fake(&s->a, NULL, NULL);
    peer_fake(&s->b, NULL, NULL);
    scene_client(s, NULL);
    *state = s;
    return 0;
}

static UNUSED int scene_fresh(void **state)
{
    struct scene *s = *state;
    control(&s->a, "reset", "{}");
    control(&s->b, "reset", "{}");
    return 0;
}

/* Fakes that want every blob and child of a manifest to be there. */
static UNUSED int copy_fresh(void **state)
{
    struct scene *s = *state;
    (void)scene_fresh(state);
    control(&s->a, "config", "{\"check_blobs\":true,\"check_type\":true}");
    control(&s->b, "config", "{\"check_blobs\":true,\"check_type\":true}");
    return 0;
}

static UNUSED int scene_tear_down(void **state)
{
    struct scene *s = *state;
    scene_client_close(s);
    peer_stop(&s->a);
    peer_stop(&s->b);
    free(s);
    return 0;
}

#endif
