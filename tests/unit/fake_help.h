/*
 * fake_help.h - the tests' side of tests/fakes/registry_fake.py: a registry whose manners and
 * faults each test sets.
 */
#ifndef SLIPWAY_TESTS_FAKE_HELP_H
#define SLIPWAY_TESTS_FAKE_HELP_H

#include "tests/unit/registry_help.h"

#define NAME "team/app"
#define USUAL                                                                                      \
    "{\"auth\":\"none\",\"challenge\":\"\",\"user\":\"ci\",\"password\":\"" PASSWORD "\","         \
    "\"anonymous_token\":false,\"refuse_scope\":\"\",\"token_body\":\"\",\"expires_in\":300,"      \
    "\"grants\":\"pull,push,delete\",\"tag_delete\":400,\"tag_delete_removes\":true,"              \
    "\"tag_delete_code\":\"UNSUPPORTED\","                                                         \
    "\"digest_delete\":\"yes\",\"digest_header\":true,\"put_moves\":true,\"put_digest\":\"\","     \
    "\"content_type\":\"\",\"corrupt\":false,\"blob_redirect\":\"\"}"

/* Against a registry whose manners and faults each test sets, and a second server that must never
 * see a credential. */
struct fixture {
    struct peer fake, thief;
};

static UNUSED void control(const struct peer *p, const char *what, const char *json)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {.req = {.method = "PUT",
                                     .url = arena_printf(&a, "http://%s/_ctl/%s", p->host, what),
                                     .body = json,
                                     .body_len = strlen(json)},
                             .max_body = KIB(64)};
    assert_int_equal(http_do(http, &a, &call, &err), 0);
    assert_int_equal(call.resp.status, 200);
    http_client_free(http);
}

/* The requests since the last look: "GET HEAD token PUT". */
static UNUSED const char *requests(struct arena *a, const struct peer *p)
{
    struct err err = ERR_INIT;
    struct http_client *http = http_client_new(NULL, &err);
    struct http_call call = {
        .req = {.method = "GET", .url = arena_printf(a, "http://%s/_ctl/log", p->host)},
        .max_body = MIB(1)};
    assert_int_equal(http_do(http, a, &call, &err), 0);
    http_client_free(http);
    struct js *lines CLEANUP_JS = js_parse(call.resp.body, call.resp.body_len, &err);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    for (size_t i = 0; i < js_len(lines); i++) {
        const char *path = js_str(js_at(lines, i), "path");
        (void)strbuf_addf(&out, "%s%s", i ? " " : "",
                          str_after(path, "/token") ? "token" : js_str(js_at(lines, i), "method"));
        if (*js_str(js_at(lines, i), "method") == 'G' && strstr(path, "/manifests/")) {
            const struct js *accept = js_get(js_at(lines, i), "accept");
            assert_int_equal(js_len(accept), 1);
            assert_string_equal(js_str(js_at(accept, 0), ""), MANIFEST_ACCEPT);
        }
    }
    return strbuf_to_arena(&out, a);
}

/* Back to good manners, with one image stored as staged and latest; returns its digest. */
static UNUSED const char *fresh(const struct fixture *f, struct arena *a, const char *config)
{
    char digest[CRYPT_DIGEST_TEXT];
    const char *image = arena_printf(
        a,
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"x\",\"digest\":"
        "\"sha256:%064d\",\"size\":1},\"layers\":[]}",
        MANIFEST_OCI, 7);
    static const char *const tags[] = {"staged", "latest"};
    control(&f->fake, "config", USUAL);
    control(&f->fake, "config", config);
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        struct js *item CLEANUP_JS = js_object();
        js_put_str(item, "name", NAME);
        js_put_str(item, "ref", tags[i]);
        js_put_str(item, "type", MANIFEST_OCI);
        js_put_str(item, "body", image);
        control(&f->fake, "store", js_dump(item, a));
    }
    crypt_digest(image, strlen(image), digest);
    (void)requests(a, &f->fake);
    (void)requests(a, &f->thief);
    return arena_strdup(a, digest);
}

static UNUSED int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    peer_fake(&f->fake, NULL, NULL);
    peer_fake(&f->thief, NULL, NULL);
    *state = f;
    return 0;
}

static UNUSED int tear_down(void **state)
{
    struct fixture *f = *state;
    peer_stop(&f->fake);
    peer_stop(&f->thief);
    free(f);
    return 0;
}

#endif
