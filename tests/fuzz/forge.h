/*
 * forge.h - one fuzz target for every type of forge. The first byte chooses what is tried: parsing
 * (and under which event name), verification, or a dialogue whose answers are the input.
 */
#ifndef SLIPWAY_FUZZ_FORGE_H
#define SLIPWAY_FUZZ_FORGE_H

#include "core/base/base.h"

#include "core/base/str.h"
#include "core/forge/forge.h"

#define FUZZ_BASE "https://forge.example.org"
#define FUZZ_COMMIT "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"
#define FUZZ_STEPS 12

static inline void fuzz_require(bool ok, const char *what, const char *text)
{
    if (ok)
        return;
    (void)fprintf(stderr, "broken: %s: %s\n", what, text ? text : "(NULL)");
    abort();
}

/* Messages are one line for people. */
static inline void fuzz_plain(const char *text)
{
    fuzz_require(text && *text, "a message is empty", text);
    for (const char *p = text; *p; p++)
        fuzz_require((unsigned char)*p >= 0x20 && *p != 0x7f, "a message has control bytes", text);
}

static inline void fuzz_event(const struct event *e, struct arena *a)
{
    struct event back;
    struct err err = ERR_INIT;
    fuzz_require(event_validate(e, &err) == 0, "an event is unfit", err.text);
    const char *text = event_to_json(e, a);
    fuzz_require(event_from_json(text, a, &back, &err) == 0, "not read back", err.text);
    fuzz_require(str_eq(event_to_json(&back, a), text), "not lossless", text);
}

static inline void fuzz_parse(const struct forge *forge, const struct forge_conf *conf,
                              struct http_req *req, struct arena *a)
{
    struct event_list events = {0};
    const char *ignored = NULL;
    struct err err = ERR_INIT;
    if (forge->parse(conf, req, a, &events, &ignored, &err) != 0) {
        fuzz_require(err.kind == ERR_INPUT, "kind of a refusal", err.text);
        fuzz_plain(err.text);
        return;
    }
    if (!events.n)
        fuzz_plain(ignored);
    list_each (struct event, e, &events)
        fuzz_event(e, a);
}

/* The input is header lines, an empty line and the body. Nobody guesses the secrets. */
static inline void fuzz_verify(const struct forge *forge, struct forge_conf *conf,
                               struct http_req *req, struct arena *a)
{
    const char *text = arena_strndup(a, req->body, req->body_len);
    *list_push(a, &conf->hook_secrets) = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    *list_push(a, &conf->hook_secrets) = "";
    while (*text && *text != '\n') {
        size_t len = strcspn(text, "\n");
        const char *line = arena_strndup(a, text, len), *colon = strstr(line, ": ");
        if (colon)
            http_header_add(a, &req->headers, arena_strndup(a, line, (size_t)(colon - line)),
                            colon + 2);
        text += len + (text[len] == '\n');
    }
    req->query = text;
    req->body = text;
    req->body_len = strlen(text);
    fuzz_require(!forge->verify(conf, req, text, 1614265330), "a forgery passed", text);
    (void)forge->classify(req);
    (void)forge->delivery_id(req);
}

/* The input is answers, each a status byte and a body up to the next byte 0. */
static inline void fuzz_dialogue(forge_step_fn *step, const struct forge_conf *conf,
                                 enum event_kind kind, const char *p, size_t left, struct arena *a)
{
    static const int statuses[] = {200, 404, 403, 500, 301, 200, 200, 0};
    bool tag = kind == EVENT_TAG;
    struct event e = {.kind = kind,
                      .forge = "src",
                      .project = "team/app",
                      .branch = tag ? NULL : "main",
                      .tag = tag ? "v1" : NULL,
                      .change = tag ? NULL : "7",
                      .list_commit = FUZZ_COMMIT,
                      .staged_commit = FUZZ_COMMIT,
                      .confirm = true};
    struct forge_dialogue d = {.conf = conf,
                               .arena = a,
                               .event = &e,
                               .path = ".slipway.yaml",
                               .mine = FUZZ_COMMIT,
                               .applied = "2e7d2c03a9507ae265ecf5b5356885a53393a202"};
    struct http_resp resp;
    struct err err = ERR_INIT;
    enum forge_step result = FORGE_MORE;
    for (int i = 0; result == FORGE_MORE; i++) {
        struct http_req next = {0};
        result = step(&d, i ? &resp : NULL, &next, &err);
        fuzz_require(i < FUZZ_STEPS, "a dialogue does not end", next.url);
        fuzz_require(result != FORGE_MORE || str_starts(next.url, FUZZ_BASE "/"),
                     "a request leaves the forge", next.url);
        size_t len = left ? strnlen(p + 1, left - 1) : 0;
        resp = (struct http_resp){.status = left ? statuses[(unsigned char)*p % ARRAY_LEN(statuses)]
                                                 : 404,
                                  .body = left ? arena_strndup(a, p + 1, len) : "",
                                  .body_len = len};
        size_t used = len + 2 < left ? len + 2 : left;
        p += used;
        left -= used;
    }
    if (result == FORGE_FAILED)
        fuzz_plain(err.text);
    else if (result == FORGE_DONE)
        fuzz_event(&e, a);
}

static inline int fuzz_forge(const char *type, const char *const *names, size_t n,
                             const uint8_t *data, size_t size)
{
    static const enum event_kind kinds[] = {EVENT_MERGED, EVENT_TAG, EVENT_CLOSED, EVENT_OPENED,
                                            EVENT_BRANCH};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct forge *forge = forge_find(type);
    struct forge_conf conf = {.name = "src", .type = type, .url = FUZZ_BASE, .api = FUZZ_BASE};
    if (size == 0)
        return 0;
    unsigned mode = data[0] & 3, choice = data[0] >> 2;
    struct http_req req = {.method = "POST", .url = "/hooks/src", .query = ""};
    req.body = arena_strndup(&a, (const char *)data + 1, size - 1);
    req.body_len = size - 1;
    if (mode == 0) {
        fuzz_verify(forge, &conf, &req, &a);
    } else if (mode == 1) {
        forge_step_fn *const steps[] = {forge->confirm, forge->file, forge->tree, forge->ancestry};
        forge_step_fn *step = steps[choice % ARRAY_LEN(steps)];
        if (step)
            fuzz_dialogue(step, &conf, kinds[choice / ARRAY_LEN(steps) % ARRAY_LEN(kinds)],
                          req.body, req.body_len, &a);
    } else {
        http_header_add(&a, &req.headers, "X-GitHub-Event", names[choice % n]);
        if (choice / n % 4 == 3)
            http_header_add(&a, &req.headers, "webhook-id", "msg_1");
        if (choice / n % 4 == 2)
            http_header_add(&a, &req.headers, "Content-Type", "application/x-www-form-urlencoded");
        fuzz_parse(forge, &conf, &req, &a);
    }
    return 0;
}

#endif
