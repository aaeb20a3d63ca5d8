#include "core/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/report.h"
#include "core/engine/reporter.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "tests/unit/peer.h"

#include <pthread.h>

#define OLD "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEAD "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PASSWORD "word-of-the-reviewer"
#define TOKEN "token-of-the-hub"

/* Reports to real servers, tests/fakes/forge_fake.py, through a real store. */
struct scene {
    struct peer hub, review;
    char dir[64];
    struct arena arena;
    struct forge_conf forges[4];
    atomic_bool stop;
    struct engine engine;
    size_t seen[2]; /* bytes of what each fake has told so far */
};

static const struct event change_event = {.kind = EVENT_OPENED,
                                          .forge = "hub",
                                          .project = "team/app",
                                          .change = "7",
                                          .patchset = "1",
                                          .staged_commit = HEAD};

static void start_fake(struct peer *p, const char *kind, const char *user, const char *password)
{
    const char *const argv[] = {
        "/usr/bin/python3", "tests/fakes/forge_fake.py", kind, user, password, NULL};
    peer_dir(p);
    peer_start(p, argv, "out", "port=");
}

static int set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    struct err err = ERR_INIT;
    start_fake(&s->hub, "github", TOKEN, NULL);
    start_fake(&s->review, "gerrit", "ci", PASSWORD);
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/t_report.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    struct store_opts opts = {.url = arena_printf(&s->arena, "sqlite:%s/s.db", s->dir),
                              .may_create = true};
    assert_int_equal(store_open(&opts, &s->engine.store, &err), 0);
    s->engine.http = http_client_new(NULL, &err);
    s->forges[0] = (struct forge_conf){.name = "hub",
                                       .type = "github",
                                       .url = "https://github.com",
                                       .api = arena_printf(&s->arena, "http://%s", s->hub.host),
                                       .token = TOKEN,
                                       .report = true};
    s->forges[1] = (struct forge_conf){.name = "review",
                                       .type = "gerrit",
                                       .url = arena_printf(&s->arena, "http://%s", s->review.host),
                                       .username = "ci",
                                       .password = PASSWORD,
                                       .vote = "Verified",
                                       .report = true};
    s->forges[2] = (struct forge_conf){
        .name = "plain", .type = "git", .url = "https://git.example.org", .report = true};
    /* Takes the connection and never answers. */
    s->forges[3] = s->forges[0];
    s->forges[3].name = "quiet";
    s->engine.forges = s->forges;
    s->engine.n_forges = ARRAY_LEN(s->forges);
    s->engine.stop = &s->stop;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    http_client_free(s->engine.http);
    store_close(s->engine.store);
    (void)fs_remove_tree(s->dir, NULL);
    peer_stop(&s->hub);
    peer_stop(&s->review);
    arena_release(&s->arena);
    free(s);
    return 0;
}

static void queue(struct scene *s, const struct event *event, enum report_state state,
                  const char *summary, const char *body)
{
    const struct report r = {.state = state, .pipeline = "check", .summary = summary, .body = body};
    report_queue(&s->engine, event, 42, &r);
}

static struct report_rows rows_of(struct scene *s)
{
    struct report_rows rows = {0};
    struct err err = ERR_INIT;
    int64_t next;
    assert_int_equal(
        store_reports_due(s->engine.store, INT64_MAX, LIMIT_ROWS, &s->arena, &rows, &next, &err),
        0);
    return rows;
}

/* What a fake was asked since the last look, one a line; that it broke no rule is made sure of. */
static const char *told(struct scene *s, struct peer *p)
{
    size_t *seen = &s->seen[p == &s->review];
    char *text = peer_read(&s->arena, p, "out");
    char *from = strstr(text, "port=") ? strchr(text, '\n') + 1 : text;
    if (*seen)
        from = text + *seen;
    *seen = strlen(text);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    struct str_list lines = str_split(&s->arena, from, '\n');
    for (size_t i = 0; i + 1 < lines.n; i++) {
        struct err err = ERR_INIT;
        struct js *v CLEANUP_JS = js_parse(lines.at[i], strlen(lines.at[i]), &err);
        if (!v || js_len(js_get(v, "violations")))
            fail_msg("%s", lines.at[i]);
        (void)strbuf_addf(&out, "%s%s %s %d %s", i ? "\n" : "", js_str(v, "method"),
                          js_str(v, "target"), (int)js_int(v, "status", 0), js_str(v, "body"));
    }
    return strbuf_to_arena(&out, &s->arena);
}

static void fault(struct scene *s, struct peer *p, const char *json)
{
    struct err err = ERR_INIT;
    struct http_call call = {
        .req = {.method = "PUT",
                .url = arena_printf(&s->arena, "http://%s/_ctl/fault", p->host),
                .body = json,
                .body_len = strlen(json)},
        .max_body = KIB(1)};
    assert_int_equal(http_do(s->engine.http, &s->arena, &call, &err), 0);
    assert_int_equal(call.resp.status, 200);
}

static void test_what_is_queued_is_sent_once(void **state)
{
    struct scene *s = *state;
    s->engine.public_url = "https://ci.example.org/slipway";
    queue(s, &change_event, REPORT_PENDING, "it builds", NULL);
    queue(s, &change_event, REPORT_FAILURE, "the build failed", "STEP 2\nexit 1\n\n");
    assert_int_equal(rows_of(s).n, 1);
    assert_true(report_send_due(&s->engine) == INT64_MAX);
    assert_int_equal(rows_of(s).n, 0);
    const char *all = told(s, &s->hub);
    assert_non_null(strstr(all, "\"state\":\"failure\",\"context\":\"slipway/check\","
                                "\"description\":\"the build failed\",\"target_url\":"
                                "\"https://ci.example.org/slipway/tasks/42\"}"));
    assert_null(strstr(all, "pending"));
    assert_non_null(strstr(all, "```text\\nthe build failed\\n\\nSTEP 2\\nexit 1\\n```"));

    /* The same task fails again: a status, and no second comment. */
    queue(s, &change_event, REPORT_FAILURE, "the build failed", "STEP 2\nexit 1\n");
    (void)report_send_due(&s->engine);
    all = told(s, &s->hub);
    assert_non_null(strstr(all, "statuses"));
    assert_null(strstr(all, "STEP 2"));
}

static void test_gerrit_votes_before_the_merge_only(void **state)
{
    struct scene *s = *state;
    struct event event = change_event;
    event.forge = "review";
    queue(s, &event, REPORT_SUCCESS, "all is well", NULL);
    (void)report_send_due(&s->engine);
    assert_non_null(strstr(told(s, &s->review), "\"labels\":{\"Verified\":1}"));
    event.kind = EVENT_MERGED;
    event.staged_commit = OLD;
    event.order_commit = HEAD;
    const struct report r = {.state = REPORT_SUCCESS, .pipeline = "promote", .summary = "live"};
    report_queue(&s->engine, &event, 1, &r);
    (void)report_send_due(&s->engine);
    const char *all = told(s, &s->review);
    assert_non_null(strstr(all, " 200 {\"message\":\"slipway/promote: success"));
    assert_null(strstr(all, "labels"));
}

static void test_where_nothing_is_kept(void **state)
{
    struct scene *s = *state;
    struct event event = change_event;
    event.forge = "plain";
    queue(s, &event, REPORT_SUCCESS, "x", NULL);
    event.forge = "gone";
    queue(s, &event, REPORT_SUCCESS, "x", NULL);
    event.forge = "review"; /* Gerrit knows no commits outside of changes */
    event.change = NULL;
    queue(s, &event, REPORT_SUCCESS, "x", NULL);
    event.forge = "hub";
    event.staged_commit = NULL;
    queue(s, &event, REPORT_SUCCESS, "x", NULL);
    s->forges[0].report = false;
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    assert_int_equal(rows_of(s).n, 0);

    /* Turned off, or taken out, after it was kept. */
    s->forges[0].report = true;
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    s->forges[0].report = false;
    assert_true(report_send_due(&s->engine) == INT64_MAX);
    assert_int_equal(rows_of(s).n, 0);
    assert_string_equal(told(s, &s->hub), "");
    s->forges[0].report = true;
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    s->engine.n_forges = 0;
    assert_true(report_send_due(&s->engine) == INT64_MAX);
    assert_int_equal(rows_of(s).n, 0);
}

static void test_texts_are_made_harmless(void **state)
{
    struct scene *s = *state;
    struct strbuf log CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    log_secret("the-pull-password");
    for (int i = 0; i < 2000; i++)
        (void)strbuf_addf(&log, "line %d \xc3\xa4\n", i);
    (void)strbuf_addstr(&log, "\x1b[31mred\x1b[0m \x1b]0;title\x07rest\r\nthe-pull-\x1b[1mpassword"
                              "\nbell\x07 bad\xff turned\xe2\x80\xae about\x1b");
    queue(s, &change_event, REPORT_FAILURE,
          "two\nlines the-pull-password \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", log.buf);
    struct report_rows rows = rows_of(s);
    assert_int_equal(rows.n, 1);
    assert_true(str_starts(rows.at[0].summary, "two lines *"));
    assert_true(str_ends(rows.at[0].summary, "\xc3\xa4\xc3\xa4"));
    const char *body = rows.at[0].body;
    assert_in_range(strlen(body), LIMIT_REPORT_BODY - 40, LIMIT_REPORT_BODY);
    assert_true(str_starts(body, "...\nline "));
    assert_non_null(strstr(body, "\nred rest\n*"));
    assert_null(strstr(body, "password"));
    assert_true(str_ends(body, "\nbell? bad? turned? about"));

    /* One line without an end, and nothing at all. */
    struct strbuf wide CLEANUP_STRBUF = STRBUF_INIT(MIB(1));
    for (int i = 0; i < 20000; i++)
        (void)strbuf_addstr(&wide, "\xe2\x82\xac");
    queue(s, &change_event, REPORT_FAILURE, wide.buf, wide.buf);
    rows = rows_of(s);
    assert_in_range(strlen(rows.at[0].summary), LIMIT_REPORT_SUMMARY - 4, LIMIT_REPORT_SUMMARY);
    assert_in_range(strlen(rows.at[0].body), LIMIT_REPORT_BODY - 4, LIMIT_REPORT_BODY);
    assert_true(str_starts(rows.at[0].body, "...\n\xe2\x82\xac"));
    queue(s, &change_event, REPORT_FAILURE, "", " \n\t\n");
    rows = rows_of(s);
    assert_null(rows.at[0].body);
    assert_int_not_equal(strlen(rows.at[0].summary), 0);
}

static void test_what_passes_is_tried_again(void **state)
{
    struct scene *s = *state;
    int64_t now = clock_now_ms();
    fault(s, &s->hub, "{\"pattern\":\"statuses\",\"status\":502}");
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    int64_t next = report_send_due(&s->engine);
    assert_in_range(next - now, 900, 10000);
    struct report_rows rows = rows_of(s);
    assert_int_equal(rows.n, 1);
    assert_int_equal(rows.at[0].attempt, 1);
    assert_non_null(strstr(rows.at[0].reason, "HTTP 502"));
    assert_true(rows.at[0].run_at == next);
    clock_sleep_ms(next - clock_now_ms() + 1);
    assert_true(report_send_due(&s->engine) == INT64_MAX);
    assert_int_equal(rows_of(s).n, 0);

    /* For a day, however often. */
    struct err err = ERR_INIT;
    struct report_row row = {.forge = "hub",
                             .project = "team/app",
                             .commit = HEAD,
                             .context = "slipway/check",
                             .state = "success",
                             .summary = "x",
                             .made_at = now - (LIMIT_REPORT_S - 3600) * INT64_C(1000),
                             .attempt = 200,
                             .run_at = now};
    for (int late = 0; late < 2; late++) {
        fault(s, &s->hub, "{\"pattern\":\"statuses\",\"status\":502}");
        assert_int_equal(store_report_put(s->engine.store, &row, &err), 0);
        (void)report_send_due(&s->engine);
        rows = rows_of(s);
        assert_int_equal(rows.n, late ? 0 : 1);
        if (!late)
            assert_in_range(rows.at[0].run_at - now, 300000, 400000);
        row.made_at -= 3600 * INT64_C(1000);
    }
}

static void test_what_is_refused_is_dropped(void **state)
{
    struct scene *s = *state;
    static const int refusals[] = {401, 403, 404, 422};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        fault(s, &s->hub,
              arena_printf(&s->arena, "{\"pattern\":\"statuses\",\"status\":%d}", refusals[i]));
        queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
        assert_true(report_send_due(&s->engine) == INT64_MAX);
        assert_int_equal(rows_of(s).n, 0);
    }
    struct event unknown = change_event;
    unknown.staged_commit = "cccccccccccccccccccccccccccccccccccccccc";
    queue(s, &unknown, REPORT_SUCCESS, "x", NULL);
    assert_true(report_send_due(&s->engine) == INT64_MAX);
}

/* A forge that does not answer costs one wait, and the other forge none. */
static void test_a_silent_forge_keeps_nobody(void **state)
{
    struct scene *s = *state;
    struct event event = change_event;
    s->forges[3].api = "http://127.0.0.1:9";
    for (int i = 0; i < 5; i++) {
        event.forge = "quiet";
        event.staged_commit = i % 2 ? OLD : HEAD;
        const struct report r = {.state = REPORT_PENDING,
                                 .pipeline = arena_printf(&s->arena, "check%d", i),
                                 .summary = "x"};
        report_queue(&s->engine, &event, 1, &r);
    }
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    int64_t next = report_send_due(&s->engine);
    assert_true(next < INT64_MAX);
    struct report_rows rows = rows_of(s);
    assert_int_equal(rows.n, 5);
    int attempts = 0;
    list_each (struct report_row, row, &rows) {
        assert_string_equal(row->forge, "quiet");
        assert_true(row->run_at == next);
        attempts += row->attempt;
    }
    assert_int_equal(attempts, 1);
    assert_non_null(strstr(told(s, &s->hub), "POST"));
}

static void test_it_stops_in_the_midst(void **state)
{
    struct scene *s = *state;
    fault(s, &s->hub, "{\"pattern\":\"statuses\",\"delay\":20}");
    struct reporter *r = reporter_start(&s->engine);
    assert_non_null(r);
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    reporter_poke(r);
    clock_sleep_ms(300);
    int64_t before = clock_monotonic_ms();
    atomic_store(&s->stop, true);
    reporter_end(r, true);
    assert_in_range(clock_monotonic_ms() - before, 0, 2000);
    struct report_rows rows = rows_of(s);
    assert_int_equal(rows.n, 1);
    assert_int_equal(rows.at[0].attempt, 0);
    atomic_store(&s->stop, false);
}

static void test_the_thread_sends_what_it_is_poked_for(void **state)
{
    struct scene *s = *state;
    struct reporter *r = reporter_start(&s->engine);
    fault(s, &s->hub, "{\"pattern\":\"statuses\",\"status\":500}");
    queue(s, &change_event, REPORT_PENDING, "x", NULL);
    reporter_poke(r);
    for (int i = 0; i < 1000 && rows_of(s).n; i++)
        clock_sleep_ms(10); /* the second attempt needs no poke */
    assert_int_equal(rows_of(s).n, 0);
    reporter_end(r, false);
    r = reporter_start(&s->engine);
    clock_sleep_ms(50);
    queue(s, &change_event, REPORT_SUCCESS, "x", NULL);
    reporter_end(r, true);
    assert_int_equal(rows_of(s).n, 0);
    reporter_end(NULL, true);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_queued_is_sent_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gerrit_votes_before_the_merge_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_nothing_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_texts_are_made_harmless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_passes_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_refused_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_silent_forge_keeps_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_stops_in_the_midst, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_thread_sends_what_it_is_poked_for, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
