#include "core/engine/report.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/retry.h"
#include "core/engine/ask.h"
#include "core/os/clock.h"
#include "core/os/random.h"
#include "core/os/wake.h"

#include <errno.h>
#include <inttypes.h>

#define CONTEXT "slipway/"

enum { STORE_TROUBLE_MS = 1000, ESCAPE = 0x1b, BELL = 0x07 };

/* ---- texts ----------------------------------------------------------------------------------- */

/* What follows an escape sequence of a terminal: colours, titles, moves of the cursor. */
static const char *after_escape(const char *p)
{
    char kind = p[1];
    if (!kind)
        return p + 1;
    if (kind != '[' && kind != ']')
        return p + 2;
    for (p += 2; *p && *p != '\n'; p++)
        if (kind == '[' ? *p >= 0x40 && *p <= 0x7e : *p == BELL || *p == ESCAPE)
            return *p == ESCAPE && p[1] ? p + 2 : p + 1;
    return p;
}

/* Marks that turn the order of what is shown around. */
static bool is_turning(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return u[0] == 0xe2 && ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
                            (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9));
}

/* One character that may be shown; returns what follows. */
static const char *add_character(struct strbuf *out, const char *p, bool lines)
{
    size_t control = str_control(p), n = str_utf8(p);
    if (*p == ESCAPE)
        return after_escape(p);
    if (*p == '\r' && p[1] == '\n')
        return p + 1;
    if (*p == '\n' || *p == '\r')
        (void)strbuf_addch(out, lines ? '\n' : ' ');
    else if (*p == '\t')
        (void)strbuf_addch(out, lines ? '\t' : ' ');
    else if (control || !n || is_turning(p))
        (void)strbuf_addch(out, '?');
    else
        (void)strbuf_add(out, p, n);
    return p + (control ? control : n ? n : 1);
}

/* Printable and without secrets. They are looked for twice: what was taken out may have stood in
 * the midst of one. */
static char *clean(struct arena *a, const char *text, bool lines)
{
    char *raw = arena_strdup(a, text ? text : "");
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(strlen(raw) + 1);
    (void)log_redact(raw);
    for (const char *p = raw; *p;)
        p = add_character(&out, p, lines);
    while (out.len && strchr(" \n\t", out.buf[out.len - 1]))
        out.buf[--out.len] = '\0';
    char *cleaned = strbuf_to_arena(&out, a);
    (void)log_redact(cleaned);
    return cleaned;
}

/* The place of the first character that begins at or behind this one. */
static size_t whole(const char *text, size_t at)
{
    while (((unsigned char)text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

/* Its beginning: the point of a line comes first. */
static const char *summary_of(struct arena *a, const struct report *r)
{
    char *text = clean(a, r->summary, false);
    size_t at = LIMIT_REPORT_SUMMARY - 3;
    if (strlen(text) <= LIMIT_REPORT_SUMMARY)
        return *text ? text : "no reason was given";
    while (((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return arena_printf(a, "%.*s...", (int)at, text);
}

/* Its end: the point of a log comes last. From the beginning of a line where one is near. */
static const char *body_of(struct arena *a, const struct report *r)
{
    const char *text = clean(a, r->body, true);
    size_t len = strlen(text);
    if (len <= LIMIT_REPORT_BODY)
        return *text ? text : NULL;
    text += whole(text, len - LIMIT_REPORT_BODY + sizeof "...\n");
    const char *line = strchr(text, '\n');
    if (line && strlen(line) > LIMIT_REPORT_BODY / 2)
        text = line + 1;
    return arena_printf(a, "...\n%s", text);
}

/* ---- queueing -------------------------------------------------------------------------------- */

/* What a report is about: what was proposed, else what has merged or was tagged. */
static const char *commit_of(const struct event *e)
{
    const char *built = e->staged_commit, *merged = e->order_commit;
    if (e->kind == EVENT_OPENED || e->kind == EVENT_GATED)
        return built ? built : e->list_commit;
    return merged ? merged : e->list_commit ? e->list_commit : built;
}

static bool is_taken(const struct engine *e, const struct event *event)
{
    const struct forge_conf *conf = event->forge ? engine_forge(e, event->forge) : NULL;
    const struct forge *forge = conf ? forge_find(conf->type) : NULL;
    return e->store && conf && conf->report && forge && forge->report && commit_of(event) &&
           (event->change || !forge->report_on_change);
}

static const char *state_name(enum report_state state)
{
    static const char *const names[] = {"pending", "success", "failure"};
    return names[state];
}

void report_queue(const struct engine *e, const struct event *event, int64_t task,
                  const struct report *r)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    int64_t now = clock_now_ms();
    if (!is_taken(e, event))
        return;
    const struct report_row row = {
        .forge = event->forge,
        .project = event->project,
        .change = event->change,
        .patchset = event->patchset,
        .commit = commit_of(event),
        .context = arena_printf(&a, CONTEXT "%s", r->pipeline),
        .state = state_name(r->state),
        .summary = summary_of(&a, r),
        .body = body_of(&a, r),
        .task = task,
        .made_at = now,
        .run_at = now,
    };
    if (store_report_put(e->store, &row, &err) < 0)
        log_warn("a report could not be kept", "forge", row.forge, "project", row.project,
                 "context", row.context, "reason", err.text, NULL);
    else
        wake_send(store_wake_path(e->store, &a));
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A forge that gives no answer is left alone for a while, so that others do not wait for it. */
struct silent {
    const char *forge;
    int64_t until;
};

struct pass {
    const struct engine *engine;
    struct arena arena;
    LIST(struct silent) silent;
};

static bool is_stopping(const struct engine *e)
{
    return e->stop && atomic_load(e->stop);
}

static int send_row(const struct engine *e, const struct report_row *row, struct arena *a,
                    struct err *err)
{
    const struct forge_conf *conf = engine_forge(e, row->forge);
    if (conf && !conf->report)
        return err_set(err, ERR_CONFIG, 0, "reports are turned off for forge '%s'", row->forge);
    const struct event event = {.kind = EVENT_OPENED,
                                .forge = row->forge,
                                .project = row->project,
                                .change = row->change,
                                .patchset = row->patchset,
                                .staged_commit = row->commit};
    const struct forge_report report = {
        .state = row->state,
        .context = row->context,
        .summary = row->summary,
        .body = row->body,
        .url = !e->public_url ? NULL
               : row->task    ? arena_printf(a, "%s/tasks/%" PRId64, e->public_url, row->task)
                              : e->public_url,
        .id = row->task ? arena_printf(a, "%" PRId64, row->task) : NULL,
        .may_vote = str_eq(row->context, CONTEXT "check") || str_eq(row->context, CONTEXT "gate"),
    };
    return ask_report(e, &event, &report, a, err);
}

static void log_row(const char *what, const struct report_row *row, const char *reason)
{
    if (reason)
        log_warn(what, "forge", row->forge, "project", row->project, "commit", row->commit,
                 "context", row->context, "state", row->state, "reason", reason, NULL);
    else
        log_info(what, "forge", row->forge, "project", row->project, "commit", row->commit,
                 "context", row->context, "state", row->state, NULL);
}

/* True when it is given up. */
static bool postpone(struct pass *p, struct report_row *row, const struct err *err)
{
    int64_t now = clock_now_ms(), delay;
    int attempt = ++row->attempt < LIMIT_ATTEMPTS ? row->attempt : LIMIT_ATTEMPTS - 1;
    row->reason = err->text;
    if (retry_next(err, attempt, random_below(1000), &delay) == RETRY_NEVER ||
        now + delay > row->made_at + LIMIT_REPORT_S * INT64_C(1000))
        return true;
    row->run_at = now + delay;
    /* Refusals are about one report, unless the forge says that we ask too much. */
    if (err->code < 400 || err->retry_after)
        *list_push(&p->arena, &p->silent) =
            (struct silent){arena_strdup(&p->arena, row->forge), row->run_at};
    return false;
}

static const struct silent *silent_find(const struct pass *p, const char *forge)
{
    list_each (const struct silent, s, &p->silent)
        if (str_eq(s->forge, forge))
            return s;
    return NULL;
}

/* Returns -1 when the pass is to end: the store is in trouble, or we are to stop. */
static int take_row(struct pass *p, struct report_row *row, struct arena *a, struct err *err)
{
    const struct silent *silent = silent_find(p, row->forge);
    struct err refusal = ERR_INIT;
    bool done = true;
    if (silent) {
        row->run_at = silent->until;
        return store_report_settle(p->engine->store, row, false, err);
    }
    if (send_row(p->engine, row, a, &refusal) == 0) {
        log_row("reported", row, NULL);
    } else if (is_stopping(p->engine)) {
        *err = refusal;
        return -1;
    } else {
        done = postpone(p, row, &refusal);
        log_row(done ? "a report is given up" : "a report is tried again", row, refusal.text);
    }
    return store_report_settle(p->engine->store, row, done, err);
}

int64_t report_send_due(const struct engine *e)
{
    struct pass pass = {.engine = e};
    struct err err = ERR_INIT;
    int64_t next = INT64_MAX;
    while (!is_stopping(e)) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        struct report_rows rows = {0};
        /* One at a time: what is replaced meanwhile is not sent any more. */
        if (store_reports_due(e->store, clock_now_ms(), 1, &a, &rows, &next, &err) < 0 ||
            (rows.n && take_row(&pass, rows.at, &a, &err) < 0)) {
            next = clock_now_ms() + STORE_TROUBLE_MS;
            if (!is_stopping(e))
                log_error("reports could not be read or settled; tried again", "reason", err.text,
                          NULL);
            break;
        }
        if (!rows.n)
            break;
    }
    arena_release(&pass.arena);
    return next;
}
