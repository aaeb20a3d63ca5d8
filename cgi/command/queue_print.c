#include "cgi/command/queue_print.h"

#include "core/base/str.h"
#include "core/lib/json.h"

#include <inttypes.h>

static const char *plain(struct arena *a, const char *text)
{
    return str_empty(text) ? "-" : str_printable(a, text);
}

static const char *age(struct arena *a, int64_t now_ms, int64_t then_ms)
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
    int64_t s = now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (s >= 2 * units[i].seconds)
            return arena_printf(a, "%" PRId64 "%c", s / units[i].seconds, units[i].unit);
    return arena_printf(a, "%" PRId64 "s", s);
}

static const char *when(struct arena *a, int64_t ms)
{
    char text[32];
    str_rfc3339(ms / 1000, text);
    return arena_strdup(a, text);
}

static void put_time(struct js *o, const char *key, int64_t ms)
{
    char text[32];
    str_rfc3339(ms / 1000, text);
    if (ms)
        js_put_str(o, key, text);
}

/* ---- tables ---- */

enum { COLUMNS = 7 };

struct table {
    struct arena *a;
    LIST(const char *) cells;
};

static void table_add(struct table *t, const char *text)
{
    *list_push(t->a, &t->cells) = plain(t->a, text);
}

/* The last column is as long as it likes. */
static void table_print(const struct table *t)
{
    size_t width[COLUMNS] = {0};
    for (size_t i = 0; i < t->cells.n; i++) {
        size_t len = strlen(t->cells.at[i]);
        if (len > width[i % COLUMNS])
            width[i % COLUMNS] = len;
    }
    for (size_t i = 0; i < t->cells.n; i++)
        if (i % COLUMNS == COLUMNS - 1)
            (void)printf("%s\n", t->cells.at[i]);
        else
            (void)printf("%-*s  ", (int)width[i % COLUMNS], t->cells.at[i]);
}

static void table_head(struct table *t, const struct queue_out *out, const char *const *names)
{
    for (size_t i = 0; out->rows == 0 && i < COLUMNS; i++)
        table_add(t, names[i]);
}

/* ---- lists ---- */

void queue_begin(struct queue_out *out)
{
    if (out->json)
        (void)printf("{\"version\":1,\"%s\":[", out->name);
}

void queue_end(struct queue_out *out)
{
    if (out->json)
        (void)puts(out->rows ? "\n]}" : "]}");
}

static void print_json_row(struct queue_out *out, struct js *row, struct arena *a)
{
    (void)printf("%s\n%s", out->rows ? "," : "", js_dump(row, a));
    out->rows++;
    js_free(row);
}

static struct js *task_js(const struct task *t)
{
    struct js *o = js_object();
    js_put_int(o, "id", t->id);
    js_put_str(o, "state", task_state_name(t->state));
    js_put_str(o, "forge", t->forge);
    js_put_str(o, "project", t->project);
    js_put_str(o, "pipeline", t->pipeline);
    js_put_str(o, "ref", t->ref);
    js_put_str(o, "lane", t->lane);
    js_put_str(o, "commit", t->order.commit);
    js_put_int(o, "attempt", t->attempt);
    js_put_bool(o, "unfinished_steps", t->open_journal);
    js_put_str(o, "reason", t->reason);
    if (t->delivery)
        js_put_int(o, "delivery", t->delivery);
    if (t->superseded_by)
        js_put_int(o, "superseded_by", t->superseded_by);
    put_time(o, "received_at", t->received_at);
    put_time(o, "run_at", t->run_at);
    put_time(o, "updated_at", t->updated_at);
    put_time(o, "live_at", t->live_at);
    return o;
}

void queue_tasks(struct queue_out *out, const struct task_list *list)
{
    static const char *const head[COLUMNS] = {"ID",  "STATE", "PROJECT", "PIPELINE",
                                              "REF", "AGE",   "REASON"};
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct table table = {.a = &a};
    if (!out->json)
        table_head(&table, out, head);
    list_each (const struct task, t, list) {
        if (out->json) {
            print_json_row(out, task_js(t), &a);
            continue;
        }
        out->rows++;
        table_add(&table, arena_printf(&a, "%" PRId64, t->id));
        table_add(&table, task_state_name(t->state));
        table_add(&table, t->project);
        table_add(&table, t->pipeline);
        table_add(&table, t->ref);
        table_add(&table, age(&a, out->now_ms, t->received_at));
        table_add(&table, t->reason);
    }
    table_print(&table);
}

static struct js *delivery_js(const struct delivery *d)
{
    struct js *o = js_object();
    js_put_int(o, "id", d->id);
    js_put_str(o, "verdict", delivery_verdict_name(d->verdict));
    js_put_str(o, "source", d->source);
    js_put_str(o, "forge_id", d->forge_id);
    js_put_str(o, "reason", d->reason);
    put_time(o, "received_at", d->received_at);
    return o;
}

void queue_deliveries(struct queue_out *out, const struct delivery_list *list)
{
    static const char *const head[COLUMNS] = {"ID",          "VERDICT", "SOURCE", "FORGE'S ID",
                                              "RECEIVED AT", "AGE",     "REASON"};
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct table table = {.a = &a};
    if (!out->json)
        table_head(&table, out, head);
    list_each (const struct delivery, d, list) {
        if (out->json) {
            print_json_row(out, delivery_js(d), &a);
            continue;
        }
        out->rows++;
        table_add(&table, arena_printf(&a, "%" PRId64, d->id));
        table_add(&table, delivery_verdict_name(d->verdict));
        table_add(&table, d->source);
        table_add(&table, d->forge_id);
        table_add(&table, when(&a, d->received_at));
        table_add(&table, age(&a, out->now_ms, d->received_at));
        table_add(&table, d->reason);
    }
    table_print(&table);
}

static struct js *cleanup_row(const struct cleanup *c)
{
    struct js *o = js_object();
    js_put_int(o, "id", c->id);
    js_put_str(o, "registry", c->registry);
    js_put_str(o, "repository", c->name);
    js_put_str(o, "tag", c->tag);
    js_put_str(o, "digest", c->digest);
    js_put_int(o, "task", c->task);
    js_put_int(o, "attempt", c->attempt);
    js_put_bool(o, "left", c->left);
    js_put_str(o, "reason", c->reason);
    put_time(o, "run_at", c->run_at);
    return o;
}

void queue_cleanups(struct queue_out *out, const struct cleanup_list *list)
{
    static const char *const head[COLUMNS] = {"ID",       "TASK", "TAG",   "NEXT TRY",
                                              "ATTEMPTS", "LEFT", "REASON"};
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    struct table table = {.a = &a};
    if (!out->json)
        table_head(&table, out, head);
    list_each (const struct cleanup, c, list) {
        if (out->json) {
            print_json_row(out, cleanup_row(c), &a);
            continue;
        }
        out->rows++;
        table_add(&table, arena_printf(&a, "%" PRId64, c->id));
        table_add(&table, arena_printf(&a, "%" PRId64, c->task));
        table_add(&table, arena_printf(&a, "%s/%s:%s", c->registry, c->name, c->tag));
        table_add(&table, when(&a, c->run_at));
        table_add(&table, arena_printf(&a, "%d", c->attempt));
        table_add(&table, c->left ? "yes" : "no");
        table_add(&table, c->reason);
    }
    table_print(&table);
}

/* ---- one task ---- */

static struct js *step_js(const struct step *s)
{
    struct js *o = js_object();
    js_put_str(o, "registry", s->registry);
    js_put_str(o, "repository", s->name);
    js_put_str(o, "tag", s->tag);
    js_put_str(o, "staged_tag", s->staged_tag);
    js_put_str(o, "state", step_state_name(s->state));
    js_put_str(o, "new_digest", s->new_digest);
    js_put_str(o, "former_digest", s->former_digest);
    js_put_str(o, "note", s->note);
    return o;
}

static void show_json(const struct queue_detail *d, struct arena *a)
{
    struct err err = ERR_INIT;
    struct js *o = js_object(), *steps = js_array(), *cleanups = js_array();
    struct js *event = js_parse(d->task.event, strlen(d->task.event), &err);
    js_put_int(o, "version", 1);
    js_put(o, "task", task_js(&d->task));
    if (event)
        js_put(o, "event", event);
    if (d->delivery.id)
        js_put(o, "delivery", delivery_js(&d->delivery));
    list_each (const struct step, s, &d->steps)
        js_push(steps, step_js(s));
    list_each (const struct cleanup, c, &d->cleanups)
        js_push(cleanups, cleanup_row(c));
    js_put(o, "steps", steps);
    js_put(o, "cleanups", cleanups);
    (void)puts(js_pretty(o, a));
    js_free(o);
}

static void line(struct arena *a, const char *name, const char *value)
{
    if (!str_empty(value))
        (void)printf("%-12s%s\n", name, plain(a, value));
}

static void show_event(struct arena *a, const char *text)
{
    struct event e = {0};
    struct err err = ERR_INIT;
    if (event_from_json(text, a, &e, &err)) {
        line(a, "event", text);
        return;
    }
    line(a, "event", event_kind_name(e.kind));
    line(a, "title", e.title);
    line(a, "branch", e.branch);
    line(a, "tag", e.tag);
    line(a, "change", e.change);
    line(a, "patchset", e.patchset);
    line(a, "link", e.change_url);
    line(a, "by", e.actor);
    line(a, "commit", e.order_commit);
    if (e.of_task)
        line(a, "rolls back", arena_printf(a, "task %" PRId64, e.of_task));
    line(a, "only", e.target);
    line(a, "pins", e.hold);
}

static void show_steps(struct arena *a, const struct step_list *steps)
{
    list_each (const struct step, s, steps) {
        (void)printf("\n%s  %s\n", plain(a, step_state_name(s->state)),
                     plain(a, arena_printf(a, "%s/%s:%s", s->registry, s->name, s->tag)));
        (void)printf("  new     %s\n", plain(a, s->new_digest));
        (void)printf("  former  %s\n", s->former_digest ? plain(a, s->former_digest) : "absent");
        if (s->staged_tag)
            (void)printf("  from    %s\n", plain(a, s->staged_tag));
        if (s->note)
            (void)printf("  note    %s\n", plain(a, s->note));
    }
}

static void show_text(const struct queue_out *out, const struct queue_detail *d, struct arena *a)
{
    const struct task *t = &d->task;
    line(a, "task", arena_printf(a, "%" PRId64, t->id));
    line(a, "state", task_state_name(t->state));
    line(a, "reason", t->reason);
    line(a, "project", arena_printf(a, "%s (%s)", t->project, t->forge));
    line(a, "pipeline", t->pipeline);
    line(a, "ref", t->ref);
    show_event(a, t->event);
    line(a, "received",
         arena_printf(a, "%s, %s ago", when(a, t->received_at),
                      age(a, out->now_ms, t->received_at)));
    if (t->state == TASK_FAILED || t->state == TASK_WAITING || t->state == TASK_QUEUED)
        line(a, "next try", when(a, t->run_at));
    if (t->live_at)
        line(a, "live",
             arena_printf(a, "%s, %" PRId64 " ms after it was received", when(a, t->live_at),
                          t->live_at - t->received_at));
    line(a, "attempts", arena_printf(a, "%d", t->attempt));
    if (t->superseded_by)
        line(a, "superseded", arena_printf(a, "by task %" PRId64, t->superseded_by));
    if (t->open_journal)
        line(a, "journal", "open: steps are left to finish or to undo");
    if (d->delivery.id)
        line(a, "delivery",
             arena_printf(a, "%" PRId64 " %s from %s%s%s", d->delivery.id,
                          delivery_verdict_name(d->delivery.verdict), d->delivery.source,
                          d->delivery.forge_id ? ", there " : "",
                          d->delivery.forge_id ? d->delivery.forge_id : ""));
    show_steps(a, &d->steps);
    list_each (const struct cleanup, c, &d->cleanups)
        (void)printf("\nto remove  %s%s%s\n",
                     plain(a, arena_printf(a, "%s/%s:%s", c->registry, c->name, c->tag)),
                     c->reason ? ": " : "", c->reason ? plain(a, c->reason) : "");
}

void queue_show(const struct queue_out *out, const struct queue_detail *d, struct arena *a)
{
    if (out->json)
        show_json(d, a);
    else
        show_text(out, d, a);
}
