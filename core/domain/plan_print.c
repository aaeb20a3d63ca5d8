#include "core/domain/plan.h"

#include "core/base/str.h"
#include "core/lib/json.h"

static const char *const verdict_names[] = {
    [PLAN_GO] = "go", [PLAN_NOTHING] = "nothing", [PLAN_REFUSED] = "refused"};
static const char *const source_names[] = {[PLAN_FROM_STAGED] = "staged",
                                           [PLAN_FROM_PUBLISHED] = "published",
                                           [PLAN_FROM_BUILD] = "build",
                                           [PLAN_FROM_INTERMEDIATE] = "intermediate"};

static bool has_pipeline(const struct event *e)
{
    enum pipeline p;
    return plan_pipeline(e->kind, &p);
}

static void print_head(const struct plan *p, const struct event *e, struct strbuf *out)
{
    const char *ref = e->kind == EVENT_TAG ? e->tag : e->branch;
    (void)strbuf_addf(out, "%s %s: %s", e->forge ? e->forge : "-", e->project ? e->project : "-",
                      event_kind_name(e->kind));
    if (e->change && e->kind != EVENT_TAG && e->kind != EVENT_BRANCH)
        (void)strbuf_addf(out, " change %s", e->change);
    if (ref)
        (void)strbuf_addf(out, " %s %s", e->kind == EVENT_TAG ? "tag" : "branch", ref);
    if (e->list_commit)
        (void)strbuf_addf(out, " at %.12s", e->list_commit);
    if (has_pipeline(e))
        (void)strbuf_addf(out, ", pipeline %s", pipeline_name(p->pipeline));
    (void)strbuf_addf(out, "\n%s: %s\n", verdict_names[p->verdict], p->reason);
    if (p->shadow && p->verdict == PLAN_GO)
        (void)strbuf_addstr(out, "mode shadow: recorded only, nothing is written\n");
}

/* The left-hand column of a tag's line, in the arena. */
static const char *source_text(const struct plan_tag *t, struct arena *a)
{
    switch (t->source) {
    case PLAN_FROM_STAGED:
        return arena_printf(a, "%s/%s:%s", t->registry, t->name, t->staged_tag);
    case PLAN_FROM_PUBLISHED:
        return "what is published for this commit";
    case PLAN_FROM_INTERMEDIATE:
        return arena_printf(a, "%s in the intermediate registry", t->wanted);
    case PLAN_FROM_BUILD:
        break;
    }
    return arena_printf(a, "build of %s", t->image->context.text ? t->image->context.text : "-");
}

static void print_tags(const struct plan *p, struct strbuf *out)
{
    struct arena arena = ARENA_INIT;
    int width = 0;
    list_each (const struct plan_tag, t, &p->tags) {
        int len = (int)strlen(source_text(t, &arena));
        width = len > width ? len : width;
    }
    (void)strbuf_addf(out, "\n%s:\n",
                      p->verdict == PLAN_REFUSED ? "not published"
                      : p->tags.at[0].staging    ? "stage"
                                                 : "publish");
    list_each (const struct plan_tag, t, &p->tags)
        (void)strbuf_addf(out, "  %-*s -> %s/%s:%s%s\n", width, source_text(t, &arena), t->registry,
                          t->name, t->tag, t->immutable ? " (immutable)" : "");
    arena_release(&arena);
}

/* What is built only to be looked at, and what is built on the way, in this order. */
static void print_builds(const struct plan_builds *builds, struct strbuf *out)
{
    if (builds->n)
        (void)strbuf_addstr(out, "\nbuild:\n");
    list_each (const struct plan_build, b, builds) {
        (void)strbuf_addf(out, "  %s", b->label);
        if (b->image->context.text && !str_eq(b->label, b->image->context.text))
            (void)strbuf_addf(out, " from %s", b->image->context.text);
        for (size_t i = 0; i < b->image->arch.n; i++)
            (void)strbuf_addf(out, "%s%s", i ? ", " : " for ", b->image->arch.at[i]);
        (void)strbuf_addch(out, '\n');
    }
}

static void print_mirrors(const struct mirror_entries *mirrors, struct strbuf *out)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    if (mirrors->n)
        (void)strbuf_addstr(out, "\nmirror:\n");
    list_each (const struct mirror_entry, e, mirrors)
        list_each (const struct mirror_target, t, &e->targets)
            (void)strbuf_addf(out, "  %s -> %s/%s%s%s%s\n", mirror_source(e, &a), t->host, t->name,
                              e->item->dest_tag ? ":" : "",
                              e->item->dest_tag ? e->item->dest_tag : "",
                              e->anonymous ? " (read without credentials)" : "");
}

static void print_signers(const struct str_list *signers, struct strbuf *out)
{
    for (size_t i = 0; i < signers->n; i++)
        (void)strbuf_addf(out, "%s%s", i ? " or " : "\neach needs a signature by ", signers->at[i]);
    if (signers->n)
        (void)strbuf_addch(out, '\n');
}

static void print_notes(const char *title, const struct plan_notes *notes, struct strbuf *out)
{
    if (!notes->n)
        return;
    int width = 0;
    list_each (const struct plan_note, note, notes) {
        int len = (int)strlen(note->what);
        width = len > width ? len : width;
    }
    (void)strbuf_addf(out, "\n%s:\n", title);
    list_each (const struct plan_note, note, notes) {
        (void)strbuf_addf(out, "  %-*s  %s", width, note->what, note->why);
        if (note->at.line)
            (void)strbuf_addf(out, " [%s:%u:%u]", note->at.file ? note->at.file : "-",
                              note->at.line, note->at.column);
        (void)strbuf_addch(out, '\n');
    }
}

void plan_print(const struct plan *p, const struct event *e, struct strbuf *out)
{
    print_head(p, e, out);
    print_builds(&p->builds, out);
    if (p->tags.n)
        print_tags(p, out);
    print_signers(&p->signers, out);
    print_mirrors(&p->mirrors, out);
    print_notes("refused", &p->refused, out);
    print_notes("skipped", &p->skipped, out);
    print_notes("cleaned up afterwards", &p->cleaned, out);
}

static struct js *notes_to_json(const struct plan_notes *notes)
{
    struct js *list = js_array();
    list_each (const struct plan_note, note, notes) {
        struct js *item = js_object();
        js_put_str(item, "what", note->what);
        js_put_str(item, "why", note->why);
        if (note->at.line) {
            js_put_str(item, "file", note->at.file);
            js_put_int(item, "line", note->at.line);
            js_put_int(item, "column", note->at.column);
        }
        js_push(list, item);
    }
    return list;
}

static struct js *names_to_json(const struct str_list *names)
{
    struct js *list = js_array();
    for (size_t i = 0; i < names->n; i++)
        js_push_str(list, names->at[i]);
    return list;
}

static struct js *tags_to_json(const struct plan_tags *tags)
{
    struct js *list = js_array();
    list_each (const struct plan_tag, t, tags) {
        struct js *item = js_object();
        js_put_str(item, "source", source_names[t->source]);
        js_put_str(item, "registry", t->registry);
        js_put_str(item, "repository", t->name);
        js_put_str(item, "staged_tag", t->staged_tag);
        js_put_str(item, "tag", t->tag);
        js_put_str(item, "context", t->image->context.text);
        js_put_bool(item, "immutable", t->immutable);
        js_put_bool(item, "staging", t->staging);
        js_push(list, item);
    }
    return list;
}

static struct js *builds_to_json(const struct plan_builds *builds)
{
    struct js *list = js_array();
    list_each (const struct plan_build, b, builds) {
        struct js *item = js_object();
        js_put_str(item, "image", b->label);
        js_put_str(item, "context", b->image->context.text);
        js_put(item, "platforms", names_to_json(&b->image->arch));
        js_push(list, item);
    }
    return list;
}

static struct js *mirrors_to_json(const struct mirror_entries *mirrors, struct arena *a)
{
    struct js *list = js_array();
    list_each (const struct mirror_entry, e, mirrors) {
        struct js *item = js_object(), *targets = js_array();
        list_each (const struct mirror_target, t, &e->targets)
            js_push_str(targets, arena_printf(a, "%s/%s", t->host, t->name));
        js_put_str(item, "source", mirror_source(e, a));
        js_put(item, "targets", targets);
        js_put_str(item, "tag", e->item->dest_tag);
        js_put_bool(item, "anonymous", e->anonymous);
        js_push(list, item);
    }
    return list;
}

const char *plan_to_json(const struct plan *p, const struct event *e, struct arena *a)
{
    struct js *root CLEANUP_JS = js_object();
    js_put_int(root, "version", 1);
    js_put_str(root, "verdict", verdict_names[p->verdict]);
    js_put_str(root, "reason", p->reason);
    js_put_str(root, "forge", e->forge);
    js_put_str(root, "project", e->project);
    js_put_str(root, "event", event_kind_name(e->kind));
    js_put_str(root, "pipeline", has_pipeline(e) ? pipeline_name(p->pipeline) : NULL);
    js_put_str(root, "change", e->change);
    js_put_str(root, "branch", e->branch);
    js_put_str(root, "tag", e->tag);
    js_put_str(root, "commit", e->list_commit);
    js_put_bool(root, "shadow", p->shadow);
    js_put(root, "builds", builds_to_json(&p->builds));
    js_put(root, "tags", tags_to_json(&p->tags));
    js_put(root, "mirrors", mirrors_to_json(&p->mirrors, a));
    js_put(root, "require_signature", names_to_json(&p->signers));
    js_put(root, "refused", notes_to_json(&p->refused));
    js_put(root, "skipped", notes_to_json(&p->skipped));
    js_put(root, "cleaned", notes_to_json(&p->cleaned));
    return js_pretty(root, a);
}
