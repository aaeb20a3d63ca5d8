#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/forge/forge.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/*
 * tests/fixtures/webhook/<type>/<case>/: `headers` (a line each), `body.json` (the bytes),
 * `expect`: a line an event ("event <its JSON>"), or "ignored <reason>", or "malformed <part of the
 * text>".
 */
#define FIXTURES "tests/fixtures/webhook"

static const char *const types[] = {"github", "gerrit", "git"};

struct fixture {
    const char *name; /* "github/merged" */
    struct http_req req;
    const char *expect;
};

static char *slurp(struct arena *a, const char *path, size_t *len)
{
    char *bytes = arena_alloc(a, MIB(1));
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    *len = fread(bytes, 1, MIB(1) - 1, f);
    (void)fclose(f);
    return bytes;
}

static void load(struct arena *a, const char *type, const char *name, struct fixture *out)
{
    size_t len;
    const char *dir = arena_printf(a, FIXTURES "/%s/%s", type, name);
    *out = (struct fixture){.name = arena_printf(a, "%s/%s", type, name)};
    out->req = (struct http_req){.method = "POST", .url = "/hooks/src", .query = ""};
    struct str_list lines = str_split(a, slurp(a, arena_printf(a, "%s/headers", dir), &len), '\n');
    for (size_t i = 0; i < lines.n; i++) {
        const char *value = strstr(lines.at[i], ": ");
        if (value)
            http_header_add(a, &out->req.headers,
                            arena_strndup(a, lines.at[i], (size_t)(value - lines.at[i])),
                            value + 2);
    }
    out->req.body = slurp(a, arena_printf(a, "%s/body.json", dir), &out->req.body_len);
    out->expect = slurp(a, arena_printf(a, "%s/expect", dir), &len);
}

/* What parsing gives, in the words of `expect`. */
static const char *parsed(struct arena *a, const char *type, const struct http_req *req)
{
    const struct forge_conf conf = {.name = "src", .type = type, .url = "https://x.example.org"};
    struct event_list events = {0};
    const char *ignored = NULL;
    struct err err = ERR_INIT;
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    if (forge_find(type)->parse(&conf, req, a, &events, &ignored, &err) != 0) {
        assert_int_equal(err.kind, ERR_INPUT);
        return arena_printf(a, "malformed %s\n", err.text);
    }
    if (!events.n) {
        assert_non_null(ignored);
        return arena_printf(a, "ignored %s\n", ignored);
    }
    assert_null(ignored);
    list_each (struct event, e, &events) {
        assert_int_equal(event_validate(e, &err), 0);
        (void)strbuf_addf(&out, "event %s\n", event_to_json(e, a));
    }
    return strbuf_to_arena(&out, a);
}

static bool as_expected(const char *got, const char *expect)
{
    const char *part = str_after(expect, "malformed "), *text = str_after(got, "malformed ");
    if (!part || !text)
        return str_eq(got, expect);
    char wanted[256];
    (void)snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(part, "\n"), part);
    return *wanted && strstr(text, wanted) != NULL;
}

/* Calls check for every fixture of a type; how many there were. */
static size_t each_fixture(const char *type,
                           void (*check)(const char *, struct fixture *, struct arena *))
{
    char path[256];
    (void)snprintf(path, sizeof path, FIXTURES "/%s", type);
    DIR *dir = opendir(path);
    if (!dir) {
        fail_msg("%s cannot be opened: tests run at the top of the tree", path);
        return 0;
    }
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct fixture fixture;
        load(&a, type, entry->d_name, &fixture);
        check(type, &fixture, &a);
        n++;
    }
    (void)closedir(dir);
    return n;
}

static void check_parse(const char *type, struct fixture *f, struct arena *a)
{
    const char *got = parsed(a, type, &f->req);
    if (!as_expected(got, f->expect))
        fail_msg("%s\n  got      %s  expected %s", f->name, got, f->expect);
}

static void fixtures(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        assert_true(each_fixture(types[i], check_parse) >= 50);
}

/* The same body as a form means the same. */
static void check_form(const char *type, struct fixture *f, struct arena *a)
{
    struct strbuf form CLEANUP_STRBUF = STRBUF_INIT(MIB(4));
    struct http_req req = f->req;
    req.headers = (struct http_headers){0};
    http_header_add(a, &req.headers, "Content-Type",
                    "Application/x-www-form-urlencoded; charset=utf-8");
    for (size_t i = 0; i < f->req.headers.n; i++)
        if (!str_caseeq(f->req.headers.at[i].name, "Content-Type"))
            http_header_add(a, &req.headers, f->req.headers.at[i].name, f->req.headers.at[i].value);
    (void)strbuf_addstr(&form, "payload=");
    str_urlencode(&form, f->req.body, false);
    (void)strbuf_addstr(&form, "&a=b");
    req.body = form.buf;
    req.body_len = form.len;
    const char *got = parsed(a, type, &req);
    if (!as_expected(got, f->expect))
        fail_msg("%s as a form\n  got      %s  expected %s", f->name, got, f->expect);
}

static void forms(void **state)
{
    (void)state;
    (void)each_fixture("github", check_form);
}

static void bad_forms(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
    } cases[] = {
        {"{\"zen\":\"x\"}", 11},   {"payload", 7},      {"payload=", 8},
        {"Payload=%7B%7D", 14},    {"payload=%7B", 11}, {"a=b&payload=%7B%7D", 18},
        {"payload=%7B%7D\0x", 16}, {"payload=[]", 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct http_req req = {.method = "POST", .body = cases[i].body, .body_len = cases[i].len};
        http_header_add(&a, &req.headers, "Content-Type", "application/x-www-form-urlencoded");
        http_header_add(&a, &req.headers, "X-GitHub-Event", "ping");
        if (!str_starts(parsed(&a, "github", &req), "malformed "))
            fail_msg("accepted: %s", cases[i].body);
    }
}

/* A cut body is refused; a changed one never gives an event with an unfit name (parsed checks). */
static void check_damaged(const char *type, struct fixture *f, struct arena *a)
{
    struct http_req req = f->req;
    size_t whole = f->req.body_len;
    while (whole && strchr(" \n", ((const char *)f->req.body)[whole - 1]))
        whole--;
    size_t step = whole / 60 + 1;
    for (size_t len = 0; len < whole; len += step) {
        struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
        req.body = arena_memdup(&scratch, f->req.body, len);
        req.body_len = len;
        const char *got = parsed(&scratch, type, &req);
        if (str_starts(got, "event ") && str_starts(f->expect, "event "))
            fail_msg("%s cut to %zu bytes gave %s", f->name, len, got);
    }
    for (size_t at = 0; at < whole; at += step) {
        struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
        char *body = arena_memdup(&scratch, f->req.body, whole);
        body[at] ^= 0x15;
        req.body = body;
        req.body_len = whole;
        (void)parsed(&scratch, type, &req);
    }
    (void)a;
}

static void damaged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        (void)each_fixture(types[i], check_damaged);
}

#define COMMIT "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"
#define STAGED "5f1c2d3e4b5a69788796a5b4c3d2e1f001122334"
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define NOW 1795452010

static struct event sample_event(enum event_kind kind, struct arena *a)
{
    bool tag = kind == EVENT_TAG || kind == EVENT_TAG_DELETED;
    bool change = kind <= EVENT_CLOSED || kind == EVENT_STAGED;
    struct event e = {.kind = kind,
                      .project = "team/app",
                      .branch = tag ? NULL : "main",
                      .tag = tag ? "v1.0.0" : NULL,
                      .change = change ? "7" : NULL,
                      .patchset = change ? "2" : NULL,
                      .order_commit = COMMIT,
                      .list_commit = COMMIT,
                      .staged_commit = STAGED};
    if (kind == EVENT_STAGED)
        *list_push(a, &e.images) = (struct event_image){
            "reg.example.org/team/app", "change_7_latest",
            "sha256:4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce"};
    return e;
}

/* Splits the url of a sample as the receiver does. */
static const char *rest_of(struct arena *a, const char *url)
{
    const char *rest = str_after(url, "/hooks/src");
    assert_non_null(rest);
    /* The receiver decodes the path; in a query the same decoding is at hand here. */
    return *rest ? http_query_param(a, arena_printf(a, "x=%s", rest + 1), "x") : "";
}

static void check_sample(const char *type, enum event_kind kind, bool supported)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct forge_conf conf = {.name = "src", .type = type};
    *list_push(&a, &conf.hook_secrets) = SECRET;
    const struct forge *forge = forge_find(type);
    struct event e = sample_event(kind, &a);
    struct http_req req;
    struct err err = ERR_INIT;
    int rc = forge->sample(&conf, &e, NOW, &a, &req, &err);
    if (rc != (supported ? 0 : -1))
        fail_msg("%s %s: %s", type, event_kind_name(kind), err.text);
    if (!supported) {
        assert_int_equal(err.kind, ERR_INPUT);
        return;
    }
    assert_true(forge->verify(&conf, &req, rest_of(&a, req.url), NOW + 1));
    assert_int_equal(forge->classify(&req), FORGE_STORE);
    struct event_list events = {0};
    const char *ignored = NULL;
    if (forge->parse(&conf, &req, &a, &events, &ignored, &err) != 0 || events.n != 1)
        fail_msg("%s %s: %s", type, event_kind_name(kind), ignored ? ignored : err.text);
    const struct event *back = &events.at[0];
    assert_int_equal(back->kind, kind);
    assert_string_equal(back->project, "team/app");
    assert_true(str_eq(back->tag, e.tag));
    assert_true(str_eq(back->change, e.change));
    if (kind == EVENT_MERGED || kind == EVENT_STAGED || kind == EVENT_TAG)
        assert_string_equal(back->list_commit, COMMIT);
    if (kind == EVENT_MERGED && !str_eq(type, "gerrit"))
        assert_string_equal(back->staged_commit, STAGED);
    assert_int_equal(back->images.n, e.images.n);
    struct event nothing = {.kind = kind};
    assert_int_equal(forge->sample(&conf, &nothing, NOW, &a, &req, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    conf.hook_secrets.n = 0;
    assert_int_equal(forge->sample(&conf, &e, NOW, &a, &req, &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
}

static void samples(void **state)
{
    (void)state;
    static const bool supported[ARRAY_LEN(types)][EVENT__MAX] = {
        {true, false, true, true, true, true, true, true, true},
        {true, false, true, true, true, true, true, true, true},
        {true, true, true, true, true, false, true, true, true},
    };
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (int k = 0; k < EVENT__MAX; k++)
            check_sample(types[t], (enum event_kind)k, supported[t][k]);
}

static void pings(void **state)
{
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct forge_conf conf = {.name = "src", .type = types[t]};
        *list_push(&a, &conf.hook_secrets) = SECRET;
        struct http_req req;
        struct err err = ERR_INIT;
        const struct forge *forge = forge_find(types[t]);
        assert_int_equal(forge->sample(&conf, NULL, NOW, &a, &req, &err), 0);
        assert_true(forge->verify(&conf, &req, rest_of(&a, req.url), NOW));
        assert_int_equal(forge->classify(&req),
                         str_eq(types[t], "github") ? FORGE_PING : FORGE_STORE);
        assert_non_null(strstr(parsed(&a, types[t], &req), "ping"));
    }
}

static void git_urls(void **state)
{
    (void)state;
    static const struct {
        struct forge_conf conf;
        const char *project, *want;
    } cases[] = {
        {{.type = "github", .url = "https://github.com"}, "t/a", "https://github.com/t/a"},
        {{.type = "git", .url = "https://h/git/"}, "t/a", "https://h/git/t/a"},
        {{.type = "git", .git = "file:///srv/git"}, "t/a", "file:///srv/git/t/a"},
        {{.type = "git", .git = "/srv/g+t"}, "t/a+b", "/srv/g+t/t/a+b"},
        {{.type = "git", .git = "https://h"}, "t/a+b", "https://h/t/a%2Bb"},
        {{.type = "git", .git = "https://h/{project}.git"}, "t/a", "https://h/t/a.git"},
        {{.type = "git", .git = "ssh://git@h:29418/{project}"}, "t/a", "ssh://git@h:29418/t/a"},
        {{.type = "gerrit", .url = "https://r"}, "t/a", "https://r/t/a"},
        {{.type = "gerrit", .url = "https://r", .username = "ci"}, "t/a", "https://r/a/t/a"},
        {{.type = "gerrit", .url = "https://r", .git = "https://m", .username = "ci"},
         "t/a",
         "https://m/t/a"},
        {{.type = "github", .url = "https://h", .username = "ci"}, "t/a", "https://h/t/a"},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(forge_git_url(&cases[i].conf, cases[i].project, &a), cases[i].want);
    assert_null(forge_git_url(&(struct forge_conf){.type = "git"}, "t/a", &a));
    static const struct {
        const char *git, *url, *project;
    } back[] = {
        {"https://c.example.org", "https://c.example.org/team/lib", "team/lib"},
        {"https://c.example.org/", "https://c.example.org/team/lib.git/", "team/lib"},
        {"file:///srv/{project}.git", "file:///srv/team/lib.git", "team/lib"},
        {"file:///srv/{project}.git", "file:///srv/team/lib", "team/lib"},
        {"ssh://git@c.example.org/r/{project}/x", "ssh://git@c.example.org/r/a/x", "a"},
        {"https://c.example.org/git", "https://c.example.org/team/lib", NULL},
        {"https://c.example.org", "https://other.example.org/team/lib", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(back); i++) {
        const struct forge_conf conf = {.type = "git", .git = back[i].git};
        const char *got = forge_git_project(&conf, back[i].url, &a);
        if (!str_eq(got, back[i].project))
            fail_msg("%s: %s", back[i].url, got ? got : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures), cmocka_unit_test(forms),   cmocka_unit_test(bad_forms),
        cmocka_unit_test(damaged),  cmocka_unit_test(samples), cmocka_unit_test(pings),
        cmocka_unit_test(git_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
