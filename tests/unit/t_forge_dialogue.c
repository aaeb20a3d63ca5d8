#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/forge/forge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/*
 * tests/fixtures/dialogue/<type> holds scenes:
 *
 *     == name
 *     confirm|file|tree|ancestry|change <kind of event> [claimed=<its list commit>]
 *     > <the request's URL behind the API's base>
 *     < <status of the answer> [Header: value]
 *       <its body, \n is a line's end>
 *     = done [order= list= staged= patchset= at= missing= tree= related= content=<to the end>]
 *     = status open|closed|unknown, or merged <commit> <time>
 *     = failed <kind> <code, "again" (EAGAIN) or "any"> <part of the text>
 *
 * $HEAD, $MERGE, $TAG and $OTHER stand for commits.
 */
#define FIXTURES "tests/fixtures/dialogue"

#define HEAD "5f1c2d3e4b5a69788796a5b4c3d2e1f001122334"
#define MERGE "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"
#define TAGOBJ "c3499c2729730a7f807efb8676a92dcb6f8a3f8f"
#define OTHER "2e7d2c03a9507ae265ecf5b5356885a53393a202"
#define NOW 1795452010 /* 2026-11-23 16:40:10 */

/* How a source is configured, and what its requests must look like. */
struct stage {
    struct forge_conf conf;
    const char *base;
    const char *authorization;
};

struct scene {
    struct arena arena;
    const struct stage *on;
    const char *name;
    forge_step_fn *step;
    struct event event;
    struct forge_dialogue d;
    struct http_req next;
    struct http_resp resp;
    enum forge_step result;
    struct err err;
};

/* Replaces names of commits and "\n". */
static const char *expand(struct arena *a, const char *text)
{
    static const char *const names[][2] = {
        {"$HEAD", HEAD}, {"$MERGE", MERGE}, {"$TAG", TAGOBJ}, {"$OTHER", OTHER}, {"\\n", "\n"}};
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    while (*text) {
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !str_starts(text, names[i][0]))
            i++;
        if (i < ARRAY_LEN(names)) {
            (void)strbuf_addstr(&out, names[i][1]);
            text += strlen(names[i][0]);
        } else {
            (void)strbuf_addch(&out, *text++);
        }
    }
    return strbuf_to_arena(&out, a);
}

/* "merged claimed=<commit>" */
static struct event event_of(struct arena *a, const char *words)
{
    struct event e = {.forge = "src",
                      .project = "team/app",
                      .patchset = "3",
                      .staged_commit = HEAD,
                      .order_commit = HEAD,
                      .list_commit = MERGE,
                      .happened_at = 5,
                      .confirm = true};
    struct str_list parts = str_split(a, words, ' ');
    assert_true(event_kind_from_name(parts.at[0], &e.kind));
    if (parts.n > 1)
        e.list_commit = str_after(parts.at[1], "claimed=");
    if (e.kind == EVENT_TAG || e.kind == EVENT_TAG_DELETED) {
        e.tag = "rel/1.0";
    } else {
        e.branch = "stable/1.0";
        e.change = "7";
    }
    return e;
}

static void scene_start(struct scene *s, const char *line)
{
    const struct forge *forge = forge_find(s->on->conf.type);
    const struct {
        const char *word;
        forge_step_fn *step;
    } steps[] = {{"confirm ", forge->confirm},
                 {"file ", forge->file},
                 {"tree ", forge->tree},
                 {"ancestry ", forge->ancestry},
                 {"change ", forge->change}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (str_starts(line, steps[i].word)) {
            s->step = steps[i].step;
            s->event = event_of(&s->arena, line + strlen(steps[i].word));
        }
    assert_non_null(s->step);
    s->d = (struct forge_dialogue){.conf = &s->on->conf,
                                   .arena = &s->arena,
                                   .event = &s->event,
                                   .path = "dir/.slipway.yaml",
                                   .now_s = NOW,
                                   .mine = MERGE,
                                   .applied = OTHER,
                                   .change = "7"};
    s->result = s->step(&s->d, NULL, &s->next, &s->err);
}

static void scene_request(struct scene *s, const char *path)
{
    if (s->result != FORGE_MORE)
        fail_msg("%s: ends before it asks %s: %s", s->name, path, s->err.text);
    if (!str_eq(str_after(s->next.url, s->on->base), path))
        fail_msg("%s: asks %s, not %s%s", s->name, s->next.url, s->on->base, path);
    assert_string_equal(s->next.method, "GET");
    const char *authorization = http_header(&s->next.headers, "Authorization");
    if (!str_eq(authorization, s->on->authorization))
        fail_msg("%s: authorization %s", s->name, authorization ? authorization : "(none)");
    assert_non_null(http_header(&s->next.headers, "User-Agent"));
}

static void scene_answer(struct scene *s, const char *line, const char *body)
{
    char *end;
    s->resp = (struct http_resp){.status = (int)strtol(line, &end, 10), .body = body};
    s->resp.body_len = strlen(body);
    const char *colon = strstr(end, ": ");
    if (colon)
        http_header_add(&s->arena, &s->resp.headers,
                        arena_strndup(&s->arena, end + 1, (size_t)(colon - end - 1)), colon + 2);
    s->next = (struct http_req){0};
    s->result = s->step(&s->d, &s->resp, &s->next, &s->err);
}

/* "<kind> <code> <part of the text>" */
static void scene_failed(struct scene *s, const char *line)
{
    struct str_list parts = str_split(&s->arena, line, ' ');
    assert_true(parts.n >= 3);
    const char *says = line + strlen(parts.at[0]) + strlen(parts.at[1]) + 2;
    int64_t code = s->err.code;
    if (str_eq(parts.at[1], "again"))
        code = EAGAIN;
    else if (!str_eq(parts.at[1], "any"))
        assert_true(str_to_i64(parts.at[1], &code));
    if (s->result != FORGE_FAILED || !str_eq(err_kind_name(s->err.kind), parts.at[0]) ||
        s->err.code != code || !strstr(s->err.text, says))
        fail_msg("%s: ends with %d, %s error %d: %s", s->name, s->result,
                 err_kind_name(s->err.kind), s->err.code, s->err.text);
    assert_true(s->event.confirm);
    if (strpbrk(s->err.text, "\n\r\x1b"))
        fail_msg("%s: more than a line: %s", s->name, s->err.text);
}

static void expect_text(const struct scene *s, const char *what, const char *got, const char *want)
{
    if (!str_eq(got, want))
        fail_msg("%s: %s is %s, not %s", s->name, what, got ? got : "NULL", want);
}

static void scene_done(struct scene *s, const char *line)
{
    if (s->result != FORGE_DONE)
        fail_msg("%s: ends with %d: %s", s->name, s->result, s->err.text);
    const struct event *e = &s->event;
    char at[32], related[32];
    (void)snprintf(at, sizeof at, "%lld", (long long)e->happened_at);
    (void)snprintf(related, sizeof related, "%d", (int)s->d.related);
    const struct {
        const char *name, *got;
    } values[] = {{"order=", e->order_commit},
                  {"list=", e->list_commit},
                  {"staged=", e->staged_commit},
                  {"patchset=", e->patchset},
                  {"at=", at},
                  {"missing=", s->d.missing ? "1" : "0"},
                  {"tree=", s->d.tree},
                  {"related=", related}};
    bool missing = false;
    const char *content = strstr(line, " content=");
    if (content)
        expect_text(s, "content", s->d.content, content + strlen(" content="));
    const char *plain =
        arena_strndup(&s->arena, line, content ? (size_t)(content - line) : strlen(line));
    struct str_list parts = str_split(&s->arena, plain, ' ');
    for (size_t i = 0; i < parts.n; i++)
        for (size_t j = 0; j < ARRAY_LEN(values); j++)
            if (str_starts(parts.at[i], values[j].name)) {
                expect_text(s, values[j].name, values[j].got,
                            str_after(parts.at[i], values[j].name));
                missing |= str_eq(values[j].name, "missing=");
            }
    assert_int_equal(s->d.missing, missing);
    assert_int_equal(e->confirm, s->step != forge_find(s->on->conf.type)->confirm);
    assert_int_equal(event_validate(e, NULL), 0);
}

static void scene_status(struct scene *s, const char *line)
{
    static const char *const names[] = {"unasked", "unknown", "open", "merged", "closed"};
    const struct change_status *status = &s->d.status;
    if (s->result != FORGE_DONE)
        fail_msg("%s: ends with %d: %s", s->name, s->result, s->err.text);
    const char *got = names[status->state];
    if (status->state == CHANGE_MERGED)
        got =
            arena_printf(&s->arena, "merged %s %lld", status->commit, (long long)status->merged_at);
    expect_text(s, "status", got, line);
    assert_true(s->event.confirm); /* the event is not touched */
}

static void scene_end(struct scene *s, const char *line)
{
    if (s->result == FORGE_MORE)
        fail_msg("%s: asks once more: %s", s->name, s->next.url);
    if (str_starts(line, "failed "))
        scene_failed(s, line + strlen("failed "));
    else if (str_starts(line, "status "))
        scene_status(s, line + strlen("status "));
    else
        scene_done(s, line);
}

static void scene_release(struct scene *s)
{
    arena_release(&s->arena);
}

/* Plays one scene from its lines; returns how many were read. */
static size_t play(const struct stage *on, const struct str_list *lines, size_t first)
{
    struct scene s CLEANUP(scene_release) = {.on = on, .name = lines->at[first] + 3};
    size_t i = first + 1;
    scene_start(&s, expand(&s.arena, lines->at[i++]));
    for (; i < lines->n; i++) {
        const char *line = expand(&s.arena, lines->at[i]);
        if (str_starts(line, "> ")) {
            scene_request(&s, line + 2);
        } else if (str_starts(line, "< ")) {
            const char *body = i + 1 < lines->n ? str_after(lines->at[i + 1], "  ") : NULL;
            scene_answer(&s, line + 2, body ? expand(&s.arena, body) : "");
            i += body != NULL;
        } else if (str_starts(line, "= ")) {
            scene_end(&s, line + 2);
            return i + 1 - first;
        } else {
            fail_msg("%s: odd line: %s", s.name, line);
        }
    }
    fail_msg("%s: has no end", s.name);
    return 0;
}

static size_t play_all(const struct stage *on)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    FILE *f CLEANUP(cleanup_file) = fopen(arena_printf(&a, FIXTURES "/%s", on->conf.type), "rb");
    if (!f)
        fail_msg(FIXTURES "/%s cannot be opened: tests run at the top of the tree", on->conf.type);
    char *text = arena_alloc(&a, MIB(1));
    assert_true(fread(text, 1, MIB(1) - 1, f) > 0);
    struct str_list lines = str_split(&a, text, '\n');
    size_t scenes = 0;
    for (size_t i = 0; i < lines.n;) {
        if (!str_starts(lines.at[i], "== ")) {
            assert_string_equal(lines.at[i++], "");
            continue;
        }
        i += play(on, &lines, i);
        scenes++;
    }
    return scenes;
}

static void github(void **state)
{
    (void)state;
    static const struct stage stages[] = {
        {{.name = "src", .type = "github", .url = "https://github.com", .token = "t0ken"},
         "https://api.github.com",
         "Bearer t0ken"},
        {{.name = "src", .type = "github", .url = "https://github.com"},
         "https://api.github.com",
         NULL},
        {{.name = "src", .type = "github", .url = "https://git.example.org/", .token = ""},
         "https://git.example.org/api/v3",
         NULL},
        {{.name = "src",
          .type = "github",
          .url = "https://git.example.org",
          .api = "http://127.0.0.1:8080/",
          .username = "ci",
          .password = "pw"},
         "http://127.0.0.1:8080",
         "Basic Y2k6cHc="},
    };
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        assert_true(play_all(&stages[i]) >= 40);
}

/* The headers that GitHub documents; its own wait; and projects that are no owner/name. */
static void github_details(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct forge_conf conf = {.name = "src", .type = "github", .url = "https://github.com"};
    const struct forge *forge = forge_find("github");
    struct err err = ERR_INIT;
    struct event e = {.kind = EVENT_MERGED, .project = "t/a", .change = "7", .list_commit = MERGE};
    struct forge_dialogue d = {
        .conf = &conf, .arena = &a, .event = &e, .path = "a b#?%.yaml", .now_s = NOW};
    struct http_req next = {0};
    assert_int_equal(forge->file(&d, NULL, &next, &err), FORGE_MORE);
    assert_string_equal(http_header(&next.headers, "Accept"), "application/vnd.github.raw+json");
    assert_string_equal(http_header(&next.headers, "X-GitHub-Api-Version"), "2022-11-28");
    assert_non_null(strstr(next.url, "/contents/a%20b%23%3F%25.yaml?ref=" MERGE));
    assert_int_equal(forge->confirm(&d, NULL, &next, &err), FORGE_MORE);
    assert_string_equal(http_header(&next.headers, "Accept"), "application/vnd.github+json");

    struct http_resp resp = {.status = 403, .body = ""};
    http_header_add(&a, &resp.headers, "X-RateLimit-Remaining", "0");
    http_header_add(&a, &resp.headers, "X-RateLimit-Reset", "1795452070");
    assert_int_equal(forge->confirm(&d, &resp, &next, &err), FORGE_FAILED);
    assert_int_equal(err.retry_after, 60);
    resp.headers.at[1].value = "9999999999";
    assert_int_equal(forge->confirm(&d, &resp, &next, &err), FORGE_FAILED);
    assert_int_equal(err.retry_after, LIMIT_RETRY_AFTER_S);
    resp.headers.at[1].value = "1";
    assert_int_equal(forge->confirm(&d, &resp, &next, &err), FORGE_FAILED);
    assert_int_equal(err.retry_after, 0);

    static const char *const projects[] = {"app", "a/b/c", "a/../b", "", NULL, "a/b?c"};
    for (size_t i = 0; i < ARRAY_LEN(projects); i++) {
        e.project = projects[i];
        assert_int_equal(forge->confirm(&d, NULL, &next, &err), FORGE_FAILED);
        assert_int_equal(err.kind, ERR_PERM);
    }
    e = (struct event){.kind = EVENT_MERGED, .project = "t/a", .change = "7/../8"};
    assert_int_equal(forge->confirm(&d, NULL, &next, &err), FORGE_FAILED);
    e = (struct event){.kind = EVENT_TAG, .project = "t/a", .tag = "../x"};
    assert_int_equal(forge->confirm(&d, NULL, &next, &err), FORGE_FAILED);
    d.mine = "main";
    d.applied = OTHER;
    assert_int_equal(forge->ancestry(&d, NULL, &next, &err), FORGE_FAILED);
}

static void gerrit(void **state)
{
    (void)state;
    static const struct stage stages[] = {
        {{.name = "src", .type = "gerrit", .url = "https://review.example.org"},
         "https://review.example.org",
         NULL},
        {{.name = "src",
          .type = "gerrit",
          .url = "https://review.example.org",
          .username = "ci",
          .password = "pw"},
         "https://review.example.org/a",
         "Basic Y2k6cHc="},
        {{.name = "src",
          .type = "gerrit",
          .url = "https://review.example.org",
          .api = "http://127.0.0.1:8080/r",
          .username = "ci"},
         "http://127.0.0.1:8080/r",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        assert_true(play_all(&stages[i]) >= 35);
}

#define MERGED                                                                                     \
    ")]}'\n{\"project\":\"team/app\",\"branch\":\"stable/"                                         \
    "1.0\",\"_number\":7,\"status\":\"MERGED\","                                                   \
    "\"current_revision\":\"" HEAD "\",\"revisions\":{\"" HEAD "\":{\"_number\":3}}}"
#define INCLUDED ")]}'\n{\"branches\":[\"stable/1.0\"]}"

/* A dialogue that failed may be played again with the event it left behind. */
static void again(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct forge_conf conf = {.name = "src", .type = "gerrit", .url = "https://r"};
    const struct forge *forge = forge_find("gerrit");
    struct event e = event_of(&a, "merged");
    struct err err = ERR_INIT;
    struct http_req next;
    for (int round = 0; round < 3; round++) {
        struct forge_dialogue d = {.conf = &conf, .arena = &a, .event = &e};
        struct http_resp change = {.status = 200, .body = MERGED};
        struct http_resp in = {.status = round < 2 ? 503 : 200, .body = INCLUDED};
        change.body_len = strlen(change.body);
        in.body_len = strlen(in.body);
        assert_int_equal(forge->confirm(&d, NULL, &next, &err), FORGE_MORE);
        assert_int_equal(forge->confirm(&d, &change, &next, &err), FORGE_MORE);
        assert_int_equal(forge->confirm(&d, &in, &next, &err),
                         round < 2 ? FORGE_FAILED : FORGE_DONE);
        assert_int_equal(e.confirm, round < 2);
    }
    assert_string_equal(e.list_commit, MERGE);
}

static void plain_git(void **state)
{
    (void)state;
    const struct forge *forge = forge_find("git");
    struct http_req next;
    struct err err = ERR_INIT;
    assert_int_equal(forge->confirm(NULL, NULL, &next, &err), FORGE_USE_GIT);
    assert_int_equal(forge->file(NULL, NULL, &next, &err), FORGE_USE_GIT);
    assert_int_equal(forge->tree(NULL, NULL, &next, &err), FORGE_USE_GIT);
    assert_null(forge->change);
    assert_int_equal(forge_find("gerrit")->tree(NULL, NULL, &next, &err), FORGE_USE_GIT);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err_kind kind;
    } cases[] = {{400, ERR_PERM}, {401, ERR_PERM}, {403, ERR_PERM}, {404, ERR_PERM},
                 {408, ERR_TEMP}, {409, ERR_PERM}, {425, ERR_TEMP}, {429, ERR_TEMP},
                 {500, ERR_TEMP}, {501, ERR_PERM}, {502, ERR_TEMP}, {504, ERR_TEMP}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        struct http_resp resp = {.status = cases[i].status, .body = "first\x1b[0m\nsecond"};
        assert_int_equal(forge_refused(&resp, "asking", &err), FORGE_FAILED);
        assert_int_equal(err.kind, cases[i].kind);
        assert_int_equal(err.code, cases[i].status);
        assert_non_null(strstr(err.text, "asking: HTTP"));
        assert_non_null(strstr(err.text, "first?[0m"));
        assert_null(strstr(err.text, "second"));
    }
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct http_resp resp = {.status = 503};
    http_header_add(&a, &resp.headers, "Retry-After", "99999999");
    (void)forge_refused(&resp, "asking", &err);
    assert_int_equal(err.retry_after, LIMIT_RETRY_AFTER_S);
    resp.headers.at[0].value = "Fri, 31 Dec 1999 23:59:59 GMT";
    (void)forge_refused(&resp, "asking", &err);
    assert_int_equal(err.retry_after, 0);
}

/* A forge may echo what it was sent; a secret that the cut goes through is hidden, too. */
static void secrets(void **state)
{
    (void)state;
    char body[300];
    log_secret("Tr0ub4dor-and-more");
    for (size_t at = 150; at < 205; at++) {
        struct err err = ERR_INIT;
        struct http_resp resp = {.status = 400, .body = body};
        (void)snprintf(body, sizeof body, "%0*dTr0ub4dor-and-more.", (int)at, 0);
        resp.body_len = strlen(body);
        (void)forge_refused(&resp, "asking", &err);
        if (strstr(err.text, "Tr"))
            fail_msg("at %zu: %s", at, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(github),  cmocka_unit_test(github_details), cmocka_unit_test(gerrit),
        cmocka_unit_test(again),   cmocka_unit_test(plain_git),      cmocka_unit_test(refusals),
        cmocka_unit_test(secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
