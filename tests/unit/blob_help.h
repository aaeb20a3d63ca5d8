/*
 * blob_help.h - what the tests of blobs share: two fakes, a client that knows both, blobs of any
 * size in the first, and what was asked of each.
 */
#ifndef SLIPWAY_TESTS_BLOB_HELP_H
#define SLIPWAY_TESTS_BLOB_HELP_H

#include "tests/unit/fake_help.h"

#include <errno.h>
#include <stdatomic.h>

struct fakes {
    struct peer source, target;
    struct http_client *http;
    struct registry_conf confs[2];
    struct registry_confs list;
    struct registry *registry;
    const char *storages[2];
    struct arena arena;
};

struct moved {
    _Atomic int64_t bytes;
};

static UNUSED void on_moved(void *user, int64_t bytes)
{
    (void)atomic_fetch_add(&((struct moved *)user)->bytes, bytes);
}

static UNUSED struct http_resp fake_ask(struct arena *a, const struct peer *p, const char *what)
{
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/%s", p->host, what)},
        .max_body = MIB(1)};
    assert_int_equal(http_do(http, a, &call, &err), 0);
    http_client_free(http);
    return call.resp;
}

/* "HEAD:404 token:200 POST:202 PUT:201" since the last look. A request of which the end is still
 * to come (a connection that was hung up on) is waited for. */
static UNUSED const char *fake_log(struct arena *a, const struct peer *p)
{
    peer_pause(30);
    struct http_resp resp = fake_ask(a, p, "log");
    struct js *lines CLEANUP_JS = js_parse(resp.body, resp.body_len, NULL);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    for (size_t i = 0; i < js_len(lines); i++) {
        const struct js *line = js_at(lines, i);
        bool token = str_after(js_str(line, "path"), "/token") != NULL;
        (void)strbuf_addf(&out, "%s%s:%d", i ? " " : "", token ? "token" : js_str(line, "method"),
                          (int)js_int(line, "status", 0));
        if (str_eq(js_str(line, "server"), "storage"))
            assert_string_equal(js_str(line, "authorization"), "");
    }
    return strbuf_to_arena(&out, a);
}

static UNUSED const char *fake_dump(struct arena *a, const struct peer *p)
{
    return fake_ask(a, p, "dump").body;
}

static UNUSED void fake_manners(const struct peer *p, const char *config, const char *rule)
{
    if (config)
        control(p, "config", config);
    if (rule)
        control(p, "rule", rule);
}

/* A blob of that size in the source's repository. */
static UNUSED struct descriptor fake_blob(struct fakes *f, struct arena *a, const char *name,
                                          size_t size)
{
    char *bytes CLEANUP(cleanup_free) = xmalloc(size + 1);
    char digest[CRYPT_DIGEST_TEXT];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    crypt_digest(bytes, size, digest);
    control(
        &f->source, "blob",
        arena_printf(a, "{\"name\":\"%s\",\"body64\":\"%s\"}", name, crypt_base64(a, bytes, size)));
    return (struct descriptor){.digest = arena_strdup(a, digest), .size = (int64_t)size};
}

static UNUSED struct endpoint fake_endpoint(const struct fakes *f, int which, const char *name)
{
    return (struct endpoint){.registry = f->registry, .host = f->confs[which].host, .name = name};
}

/* A client that knows nothing yet, and two empty registries with good manners. */
static UNUSED void fakes_open(struct fakes *f, bool paired)
{
    struct err err = ERR_INIT;
    struct peer *peers[] = {&f->source, &f->target};
    f->http = http_client_new(NULL, &err);
    for (int i = 0; i < 2; i++) {
        control(peers[i], "reset", "{}");
        control(peers[i], "config", "{\"user\":\"ci\",\"password\":\"" PASSWORD "\"}");
        f->confs[i] = (struct registry_conf){.host = peers[i]->host,
                                             .username = "ci",
                                             .password = PASSWORD,
                                             .type = "auto",
                                             .plain_http = true};
        struct http_resp resp = fake_ask(&f->arena, peers[i], "ports");
        struct js *ports CLEANUP_JS = js_parse(resp.body, resp.body_len, NULL);
        f->storages[i] =
            arena_printf(&f->arena, "http://127.0.0.1:%d", (int)js_int(ports, "storage", 0));
        if (paired)
            f->confs[i].storage = (struct str_list){.at = &f->storages[i], .n = 1};
        (void)fake_ask(&f->arena, peers[i], "log");
    }
    f->list = (struct registry_confs){.at = f->confs, .n = 2};
    f->registry = registry_new(f->http, &f->list, NULL);
}

static UNUSED void fakes_close(struct fakes *f)
{
    registry_free(f->registry);
    http_client_free(f->http);
    arena_release(&f->arena);
}

static UNUSED int fakes_start(void **state)
{
    struct fakes *f = xcalloc(1, sizeof *f);
    peer_fake(&f->source, NULL, NULL);
    peer_fake(&f->target, NULL, NULL);
    *state = f;
    return 0;
}

static UNUSED int fakes_stop(void **state)
{
    struct fakes *f = *state;
    peer_stop(&f->source);
    peer_stop(&f->target);
    free(f);
    return 0;
}

#endif
