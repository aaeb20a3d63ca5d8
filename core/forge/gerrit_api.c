#include "core/forge/types.h"

#include "core/base/str.h"
#include "core/forge/dialogue.h"
#include "core/forge/payload.h"
#include "core/lib/crypt.h"

/* Stands before every JSON answer, so that no web page can load it as a script. */
#define XSSI_PREFIX ")]}'\n"

/* Asks for <api>[/a]/<rest>: below /a/ Gerrit wants credentials, elsewhere it ignores them. */
enum forge_step gerrit_ask(struct forge_dialogue *d, int stage, const char *rest, bool json,
                           struct http_req *next)
{
    const struct forge_conf *conf = d->conf;
    bool proven = !str_empty(conf->username) && !str_empty(conf->password);
    const char *base = dialogue_base(d->arena, conf->api ? conf->api : conf->url);
    if (!base)
        base = "";
    const char *url = arena_printf(d->arena, "%s%s/%s", base, proven ? "/a" : "", rest);
    (void)dialogue_get(d, stage, url, next);
    if (json)
        http_header_add(d->arena, &next->headers, "Accept", "application/json");
    http_header_add(d->arena, &next->headers, "User-Agent", "slipway");
    dialogue_basic(d, next);
    return FORGE_MORE;
}

static const char *escaped_project(struct forge_dialogue *d)
{
    return dialogue_escape(d->arena, d->event->project ? d->event->project : "", false);
}

enum { STAGE_FIRST = 1, STAGE_INCLUDED, STAGE_COMMIT };

/* Does a branch hold the commit? An event is unsigned, so a commit that it names might be one that
 * nobody has reviewed. */
static enum forge_step ask_included(struct forge_dialogue *d, struct http_req *next)
{
    return gerrit_ask(d, STAGE_INCLUDED,
                      arena_printf(d->arena, "projects/%s/commits/%s/in", escaped_project(d),
                                   d->event->list_commit),
                      true, next);
}

static enum forge_step read_included(struct forge_dialogue *d, const struct http_resp *last,
                                     struct err *err)
{
    struct event *e = d->event;
    const char *what =
        arena_printf(d->arena, "branches of %s that hold %.12s", e->project, e->list_commit);
    if (last->status == 404)
        return dialogue_not_yet(err, "%s: the commit is not visible yet, or may not be read", what);
    CLEANUP_JS struct js *v = dialogue_json(last, XSSI_PREFIX, what, err);
    if (!v)
        return FORGE_FAILED;
    const struct js *branches = js_get(v, "branches");
    for (size_t i = 0; i < js_len(branches); i++) {
        const char *name = js_str(js_at(branches, i), "");
        if (name &&
            (str_eq(name, e->branch) || str_eq(str_after(name, "refs/heads/"), e->branch))) {
            e->confirm = false;
            return FORGE_DONE;
        }
    }
    return dialogue_not_yet(err, "%s: \"%s\" is not among them yet", what,
                            e->branch ? e->branch : "");
}

/* The revision with the highest number below `limit`; NULL when there is none. */
static const char *revision_below(const struct js *revisions, int64_t limit, struct arena *a,
                                  int64_t *number)
{
    struct str_list names = {0};
    const char *best = NULL;
    (void)js_keys(revisions, a, &names);
    *number = 0;
    for (size_t i = 0; i < names.n; i++) {
        int64_t n = js_int(js_get(revisions, names.at[i]), "_number", 0);
        if (event_commit_ok(names.at[i]) && n < limit && n > *number) {
            *number = n;
            best = names.at[i];
        }
    }
    return best ? arena_strdup(a, best) : NULL;
}

/* Kinds that a submit by rebase or cherry-pick gives to the patchset it makes. */
static bool is_submit_kind(const char *kind)
{
    static const char *const kinds[] = {"TRIVIAL_REBASE", "TRIVIAL_REBASE_WITH_MESSAGE_UPDATE",
                                        "NO_CODE_CHANGE", "NO_CHANGE"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(kind, kinds[i]))
            return true;
    return false;
}

/*
 * Which patchset did the gate build? The newest one that somebody uploaded. Submitting by rebase or
 * cherry-pick makes one more, in the same second as the submission and without new content: then it
 * is the one before. All else is taken as uploaded.
 */
static void set_built(struct forge_dialogue *d, const struct js *v, const char *current)
{
    struct event *e = d->event;
    const struct js *revisions = js_get(v, "revisions"), *now = js_get(revisions, current);
    int64_t number = js_int(now, "_number", 0), before = 0;
    int64_t created = payload_time(now, "created"), submitted = payload_time(v, "submitted");
    e->staged_commit = current;
    if (is_submit_kind(js_str(now, "kind")) && created && submitted && created >= submitted) {
        const char *built = revision_below(revisions, number, d->arena, &before);
        if (built) {
            e->staged_commit = built;
            number = before;
        }
    }
    e->patchset = number > 0 ? arena_printf(d->arena, "%lld", (long long)number) : e->patchset;
}

static enum forge_step read_merged(struct forge_dialogue *d, const struct js *v, const char *what,
                                   struct http_req *next, struct err *err)
{
    struct event *e = d->event;
    const char *status = js_str(v, "status");
    if (str_eq(status, "ABANDONED"))
        return dialogue_never(err, "%s: it was abandoned, not merged", what);
    if (!str_eq(status, "MERGED"))
        return dialogue_not_yet(err, "%s: the event says merged, Gerrit does not yet", what);
    const char *current = dialogue_commit(d, v, "current_revision", what, err);
    if (!current)
        return FORGE_FAILED;
    e->order_commit = current;
    set_built(d, v, current);
    int64_t submitted = payload_time(v, "submitted");
    if (submitted)
        e->happened_at = submitted;
    if (!e->list_commit || str_eq(e->list_commit, current)) {
        e->list_commit = current;
        e->confirm = false;
        return FORGE_DONE;
    }
    return ask_included(d, next);
}

static enum forge_step read_abandoned(struct forge_dialogue *d, const struct js *v,
                                      const char *what, struct http_req *next, struct err *err)
{
    (void)next;
    const char *status = js_str(v, "status");
    if (str_eq(status, "MERGED"))
        return dialogue_never(err, "%s: it was merged, not abandoned", what);
    if (!str_eq(status, "ABANDONED"))
        return dialogue_not_yet(err, "%s: the event says abandoned, Gerrit does not", what);
    d->event->confirm = false;
    return FORGE_DONE;
}

static enum forge_step read_opened(struct forge_dialogue *d, const struct js *v, const char *what,
                                   struct http_req *next, struct err *err)
{
    (void)next;
    struct event *e = d->event;
    const char *status = js_str(v, "status");
    if (!str_eq(status, "NEW"))
        return dialogue_never(err, "%s: it is not open any more", what);
    const struct js *revision =
        e->staged_commit ? js_get(js_get(v, "revisions"), e->staged_commit) : NULL;
    if (!revision)
        return dialogue_not_yet(err, "%s: it has no such patchset yet", what);
    e->patchset = payload_text(revision, "_number", d->arena);
    e->order_commit = e->list_commit = e->staged_commit;
    e->confirm = false;
    return FORGE_DONE;
}

/* Is the answer about the change, project and branch that the event names? */
static bool is_same_change(const struct event *e, const struct js *v, const char *what,
                           struct arena *a, struct err *err)
{
    const char *branch = js_str(v, "branch");
    if (branch && str_starts(branch, "refs/heads/"))
        branch = str_after(branch, "refs/heads/");
    if (str_eq(payload_text(v, "_number", a), e->change) &&
        str_eq(js_str(v, "project"), e->project) && str_eq(branch, e->branch))
        return true;
    (void)dialogue_never(err, "%s: Gerrit knows it with another number, project or branch", what);
    return false;
}

static enum forge_step confirm_change(struct forge_dialogue *d, const struct http_resp *last,
                                      struct http_req *next, struct err *err)
{
    struct event *e = d->event;
    if (!event_change_ok(e->change) || !event_project_ok(e->project))
        return dialogue_never(err, "the event names no change");
    if (!last)
        return gerrit_ask(
            d, STAGE_FIRST,
            arena_printf(d->arena, "changes/%s~%s?o=ALL_REVISIONS", escaped_project(d), e->change),
            true, next);
    const char *what = arena_printf(d->arena, "change %s of %s", e->change, e->project);
    CLEANUP_JS struct js *v = dialogue_json(last, XSSI_PREFIX, what, err);
    if (!v || !is_same_change(e, v, what, d->arena, err))
        return FORGE_FAILED;
    return e->kind == EVENT_MERGED   ? read_merged(d, v, what, next, err)
           : e->kind == EVENT_CLOSED ? read_abandoned(d, v, what, next, err)
                                     : read_opened(d, v, what, next, err);
}

static enum forge_step confirm_tag(struct forge_dialogue *d, const struct http_resp *last,
                                   struct http_req *next, struct err *err)
{
    struct event *e = d->event;
    if (!e->tag || !event_ref_ok(e->tag) || !event_project_ok(e->project))
        return dialogue_never(err, "the event names no tag");
    if (!last)
        return gerrit_ask(d, STAGE_FIRST,
                          arena_printf(d->arena, "projects/%s/tags/%s", escaped_project(d),
                                       dialogue_escape(d->arena, e->tag, false)),
                          true, next);
    const char *what = arena_printf(d->arena, "tag %s of %s", e->tag, e->project);
    if (last->status == 404)
        return dialogue_never(err, "%s is not there any more, or may not be read", what);
    CLEANUP_JS struct js *v = dialogue_json(last, XSSI_PREFIX, what, err);
    if (!v)
        return FORGE_FAILED;
    if (!str_eq(str_after(js_str(v, "ref"), "refs/tags/"), e->tag))
        return dialogue_never(err, "%s: the answer is about another ref", what);
    /* Of an annotated tag `revision` is the tag object and `object` what it names. */
    const char *field = js_get(v, "object") ? "object" : "revision";
    const char *commit = dialogue_commit(d, v, field, what, err);
    if (!commit)
        return FORGE_FAILED;
    e->order_commit = e->list_commit = e->staged_commit = commit;
    e->confirm = false;
    return FORGE_DONE;
}

enum forge_step gerrit_confirm(struct forge_dialogue *d, const struct http_resp *last,
                               struct http_req *next, struct err *err)
{
    if (last && d->stage == STAGE_INCLUDED)
        return read_included(d, last, err);
    switch (d->event->kind) {
    case EVENT_MERGED:
    case EVENT_CLOSED:
    case EVENT_OPENED:
        return confirm_change(d, last, next, err);
    case EVENT_TAG:
        return confirm_tag(d, last, next, err);
    case EVENT_BRANCH:
        if (!event_commit_ok(d->event->list_commit) || !event_project_ok(d->event->project))
            return dialogue_never(err, "the event names no commit");
        return ask_included(d, next);
    default:
        d->event->confirm = false;
        return FORGE_DONE;
    }
}

/* The content comes as base64. */
static enum forge_step read_content(struct forge_dialogue *d, const struct http_resp *last,
                                    const char *what, struct http_req *next, struct err *err)
{
    if (last->status == 404)
        return gerrit_ask(d, STAGE_COMMIT,
                          arena_printf(d->arena, "projects/%s/commits/%s", escaped_project(d),
                                       d->event->list_commit),
                          true, next);
    if (!dialogue_ok(last, what, err))
        return FORGE_FAILED;
    unsigned char *content = strlen(last->body) == last->body_len
                                 ? crypt_unbase64(d->arena, last->body, &d->content_len)
                                 : NULL;
    if (!content) {
        (void)err_set(err, ERR_TEMP, 0, "%s: the answer is no base64", what);
        return FORGE_FAILED;
    }
    d->content = (const char *)content;
    return FORGE_DONE;
}

enum forge_step gerrit_file(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err)
{
    if (!event_commit_ok(d->event->list_commit) || !event_project_ok(d->event->project))
        return dialogue_never(err, "the event names no commit to read \"%s\" at", d->path);
    if (!last)
        return gerrit_ask(d, STAGE_FIRST,
                          arena_printf(d->arena, "projects/%s/commits/%s/files/%s/content",
                                       escaped_project(d), d->event->list_commit,
                                       dialogue_escape(d->arena, d->path, false)),
                          false, next);
    const char *what = arena_printf(d->arena, "%s of %s at %.12s", d->path, d->event->project,
                                    d->event->list_commit);
    if (d->stage == STAGE_FIRST)
        return read_content(d, last, what, next, err);
    if (last->status == 404)
        return dialogue_not_yet(err, "%s: the commit is not visible yet, or may not be read", what);
    CLEANUP_JS struct js *v = dialogue_json(last, XSSI_PREFIX, what, err);
    if (!v)
        return FORGE_FAILED;
    d->missing = true;
    return FORGE_DONE;
}

enum forge_step gerrit_head(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err)
{
    if (!event_project_ok(d->event->project))
        return dialogue_never(err, "the event names no project");
    if (!last)
        return gerrit_ask(d, STAGE_FIRST,
                          arena_printf(d->arena, "projects/%s/HEAD", escaped_project(d)), true,
                          next);
    const char *what = arena_printf(d->arena, "the default branch of %s", d->event->project);
    if (!dialogue_ok(last, what, err))
        return FORGE_FAILED;
    /* The answer is a bare JSON string, not an object. */
    const char *text = str_after(last->body, XSSI_PREFIX);
    CLEANUP_JS struct js *v = text ? js_parse(text, strlen(text), NULL) : NULL;
    const char *ref = js_str(v, "");
    if (!ref) {
        (void)err_set(err, ERR_TEMP, 0, "%s: the answer is not understood", what);
        return FORGE_FAILED;
    }
    const char *branch = str_after(ref, "refs/heads/");
    d->head = event_ref_ok(branch) ? arena_strdup(d->arena, branch) : NULL;
    return FORGE_DONE;
}

static enum forge_step read_status(struct forge_dialogue *d, const struct js *v, const char *what,
                                   struct err *err)
{
    static const struct {
        const char *status;
        enum change_state state;
    } states[] = {{"NEW", CHANGE_OPEN},
                  {"DRAFT", CHANGE_OPEN}, /* up to 2.14 */
                  {"MERGED", CHANGE_MERGED},
                  {"ABANDONED", CHANGE_CLOSED}};
    const char *status = js_str(v, "status");
    size_t i = 0;
    if (!str_eq(payload_text(v, "_number", d->arena), d->change) ||
        !str_eq(js_str(v, "project"), d->event->project))
        return dialogue_not_yet(err, "%s: the answer is about another change", what);
    while (i < ARRAY_LEN(states) && !str_eq(status, states[i].status))
        i++;
    if (i == ARRAY_LEN(states))
        return dialogue_not_yet(err, "%s: the answer has no known \"status\"", what);
    if (states[i].state == CHANGE_MERGED) {
        d->status.commit = dialogue_commit(d, v, "current_revision", what, err);
        if (!d->status.commit)
            return FORGE_FAILED;
        d->status.merged_at = payload_time(v, "submitted");
    }
    d->status.state = states[i].state;
    return FORGE_DONE;
}

enum forge_step gerrit_change(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err)
{
    if (!event_change_ok(d->change) || !event_project_ok(d->event->project))
        return dialogue_never(err, "this is no number of a change");
    if (!last)
        return gerrit_ask(d, STAGE_FIRST,
                          arena_printf(d->arena, "changes/%s~%s?o=CURRENT_REVISION",
                                       escaped_project(d), d->change),
                          true, next);
    const char *what = arena_printf(d->arena, "change %s of %s", d->change, d->event->project);
    if (last->status == 404) {
        d->status.state = CHANGE_UNKNOWN;
        return FORGE_DONE;
    }
    CLEANUP_JS struct js *v = dialogue_json(last, XSSI_PREFIX, what, err);
    return v ? read_status(d, v, what, err) : FORGE_FAILED;
}
