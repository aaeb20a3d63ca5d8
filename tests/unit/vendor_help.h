/*
 * vendor_help.h - the tests' side of tests/fakes/vendor_fake.py: a registry with its vendor's own
 * interface, one fake for each vendor.
 */
#ifndef SLIPWAY_TESTS_VENDOR_HELP_H
#define SLIPWAY_TESTS_VENDOR_HELP_H

#include "core/registry/vendor.h"
#include "tests/unit/fake_help.h"

#define TOKEN "api-" PASSWORD

/* One fake for each vendor, and how a client enters its interface. */
static struct vendor_peer {
    const char *fake; /* of vendor_fake.py */
    const char *type;
    bool own_port;       /* the interface has another origin than the registry */
    bool own_login;      /* the registry's credentials are the interface's */
    const char *refused; /* what is said of a wrong login */
    struct peer peer;
    char api[64];
} peers[] = {
    {.fake = "hub",
     .type = "dockerhub",
     .own_port = true,
     .own_login = true,
     .refused = "Incorrect authentication credentials"},
    {.fake = "quay", .type = "quay", .refused = "Requires authentication"},
    {.fake = "harbor", .type = "harbor", .own_login = true, .refused = "unauthorized"},
    {.fake = "ghcr", .type = "ghcr", .own_port = true, .refused = "Bad credentials"},
    {.fake = "gitlab", .type = "gitlab", .own_port = true, .refused = "401 Unauthorized"},
    {.fake = "acr", .type = "acr", .own_login = true, .refused = "authentication required"},
};

static UNUSED struct vendor_peer *peer_of(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        if (str_eq(peers[i].type, type))
            return &peers[i];
    abort();
}

static UNUSED struct js *look(struct arena *a, const struct peer *p, const char *what)
{
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/%s", p->host, what)},
        .max_body = MIB(4)};
    assert_int_equal(http_do(http, a, &call, &err), 0);
    http_client_free(http);
    return js_parse(call.resp.body, call.resp.body_len, NULL);
}

static UNUSED int start_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        const char *const argv[] = {"/usr/bin/python3", "tests/fakes/vendor_fake.py", peers[i].fake,
                                    NULL};
        peer_dir(&peers[i].peer);
        peer_start(&peers[i].peer, argv, "out", "port=");
        struct js *ports CLEANUP_JS = look(&a, &peers[i].peer, "ports");
        (void)snprintf(peers[i].api, sizeof peers[i].api, "http://127.0.0.1:%d/",
                       (int)js_int(ports, "api", 0));
    }
    return 0;
}

static UNUSED int stop_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peer_stop(&peers[i].peer);
    return 0;
}

/* --- scenes --------------------------------------------------------------------------------------
 */

static UNUSED const char *image(struct arena *a, int seed)
{
    return arena_printf(a,
                        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"x\","
                        "\"digest\":\"sha256:%064d\",\"size\":1},\"layers\":[]}",
                        MANIFEST_OCI, seed);
}

static UNUSED const char *store(struct arena *a, const struct peer *p, const char *name,
                                const char *tag, int seed)
{
    char digest[CRYPT_DIGEST_TEXT];
    const char *bytes = image(a, seed);
    struct js *item CLEANUP_JS = js_object();
    js_put_str(item, "name", name);
    js_put_str(item, "ref", tag);
    js_put_str(item, "type", MANIFEST_OCI);
    js_put_str(item, "body", bytes);
    control(p, "store", js_dump(item, a));
    crypt_digest(bytes, strlen(bytes), digest);
    return arena_strdup(a, digest);
}

/* An empty fake with good manners and known secrets; "team/app" has staged and latest on one
 * digest. Returns it. */
static UNUSED const char *scene(struct arena *a, const struct vendor_peer *v, const char *config)
{
    control(&v->peer, "reset", "{}");
    control(&v->peer, "vendor",
            "{\"user\":\"ci\",\"password\":\"" PASSWORD "\",\"token\":\"" TOKEN
            "\",\"page_cap\":0,\"fail_times\":0}");
    control(&v->peer, "config", "{\"user\":\"ci\",\"password\":\"" PASSWORD "\"}");
    if (config)
        control(&v->peer, "config", config);
    (void)store(a, &v->peer, NAME, "latest", 7);
    const char *digest = store(a, &v->peer, NAME, "staged", 7);
    js_free(look(a, &v->peer, "log"));
    return digest;
}

/* A client as an operator would configure it. */
static UNUSED void enter(struct client *c, const struct vendor_peer *v)
{
    client_open(c, v->peer.host, "ci", PASSWORD);
    c->conf.type = v->type;
    if (v->own_port)
        c->conf.api = v->api;
    if (!v->own_login)
        c->conf.api_password = TOKEN;
}

/* How often a path of the interface was asked for. */
static UNUSED size_t count(struct arena *a, const struct vendor_peer *v, const char *method,
                           const char *part)
{
    struct js *log CLEANUP_JS = look(a, &v->peer, "log");
    size_t n = 0;
    for (size_t i = 0; i < js_len(log); i++)
        n += str_eq(js_str(js_at(log, i), "method"), method) &&
             strstr(js_str(js_at(log, i), "path"), part);
    return n;
}

static UNUSED void expect(struct client *c, struct arena *a, const char *tag, const char *digest)
{
    struct registry_op op = ask(c, a, REGISTRY_HEAD, NAME, tag);
    assert_false(op.failed);
    if (digest)
        assert_string_equal(op.digest, digest);
    else
        assert_true(op.absent);
}

#endif
