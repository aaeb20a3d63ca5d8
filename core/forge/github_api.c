#include "core/forge/types.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/forge/dialogue.h"
#include "core/forge/payload.h"

#define ACCEPT_RAW "application/vnd.github.raw+json"
#define API_VERSION "2022-11-28"

static const char *api_base(const struct forge_conf *conf, struct arena *a)
{
    if (conf->api)
        return dialogue_base(a, conf->api);
    const char *url = dialogue_base(a, conf->url);
    if (str_empty(url) || str_caseeq(url, "https://github.com"))
        return "https://api.github.com";
    return arena_printf(a, "%s/api/v3", url);
}

/* Asks for <api>/repos/<owner>/<repository>/<rest>. */
enum forge_step github_ask(struct forge_dialogue *d, int stage, const char *rest,
                           const char *accept, struct http_req *next, struct err *err)
{
    const char *project = d->event->project;
    const char *slash = project ? strchr(project, '/') : NULL;
    if (!slash || strchr(slash + 1, '/') || !event_project_ok(project))
        return dialogue_never(err, "\"%s\" is no GitHub repository: it is written owner/name",
                              project ? project : "");
    const char *url = arena_printf(d->arena, "%s/repos/%s/%s", api_base(d->conf, d->arena),
                                   dialogue_escape(d->arena, project, true), rest);
    (void)dialogue_get(d, stage, url, next);
    http_header_add(d->arena, &next->headers, "Accept", accept);
    http_header_add(d->arena, &next->headers, "X-GitHub-Api-Version", API_VERSION);
    http_header_add(d->arena, &next->headers, "User-Agent", "slipway");
    if (!str_empty(d->conf->token))
        http_header_add(d->arena, &next->headers, "Authorization",
                        arena_printf(d->arena, "Bearer %s", d->conf->token));
    else
        dialogue_basic(d, next);
    return FORGE_MORE;
}

/* A refusal, with the wait that GitHub's own header asks for. */
enum forge_step github_refused(const struct forge_dialogue *d, const struct http_resp *last,
                               struct err *err)
{
    uint64_t reset;
    const char *text = http_header(&last->headers, "X-RateLimit-Reset");
    if (err && err->kind == ERR_TEMP && !err->retry_after && str_to_u64(text, &reset) &&
        str_eq(http_header(&last->headers, "X-RateLimit-Remaining"), "0") && d->now_s > 0 &&
        reset > (uint64_t)d->now_s) {
        uint64_t wait = reset - (uint64_t)d->now_s;
        err->retry_after = wait > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (int64_t)wait;
    }
    return FORGE_FAILED;
}

/* The pull request as it is now: merged, and then all that the event must know. */
static enum forge_step read_pull(struct forge_dialogue *d, const struct js *v, const char *what,
                                 struct err *err)
{
    struct event *e = d->event;
    const char *number = payload_text(v, "number", d->arena);
    const char *branch = payload_text(v, "base.ref", d->arena);
    if (!str_eq(number, e->change))
        return dialogue_not_yet(err, "%s: the answer is about another pull request", what);
    if (!js_bool(v, "merged"))
        return dialogue_not_yet(err, "%s: the event says merged, the forge does not yet", what);
    if (!str_eq(branch, e->branch))
        return dialogue_never(err, "%s: it was merged into \"%s\", the event says \"%s\"", what,
                              branch ? event_text(d->arena, branch) : "",
                              e->branch ? e->branch : "");
    const char *commit = dialogue_commit(d, v, "merge_commit_sha", what, err);
    const char *head = commit ? dialogue_commit(d, v, "head.sha", what, err) : NULL;
    if (!head)
        return FORGE_FAILED;
    int64_t at = payload_time(v, "merged_at");
    if (!at)
        return dialogue_not_yet(err, "%s: the answer has no \"merged_at\"", what);
    e->order_commit = e->list_commit = commit;
    e->staged_commit = e->patchset = head;
    e->happened_at = at;
    e->confirm = false;
    return FORGE_DONE;
}

static enum forge_step confirm_pull(struct forge_dialogue *d, const struct http_resp *last,
                                    struct http_req *next, struct err *err)
{
    if (!event_change_ok(d->event->change))
        return dialogue_never(err, "the event names no pull request");
    if (!last)
        return github_ask(d, 1, arena_printf(d->arena, "pulls/%s", d->event->change), GITHUB_ACCEPT,
                          next, err);
    const char *what =
        arena_printf(d->arena, "pull request %s of %s", d->event->change, d->event->project);
    CLEANUP_JS struct js *v = dialogue_json(last, NULL, what, err);
    return v ? read_pull(d, v, what, err) : github_refused(d, last, err);
}

/* What the ref, or a tag object, points to: the commit ends it, a tag object is asked for. */
static enum forge_step follow_tag(struct forge_dialogue *d, const struct js *v, const char *what,
                                  struct http_req *next, struct err *err)
{
    struct event *e = d->event;
    const char *type = js_str(v, "object.type");
    const char *sha = dialogue_commit(d, v, "object.sha", what, err);
    if (!sha)
        return FORGE_FAILED;
    if (str_eq(type, "commit")) {
        e->order_commit = e->list_commit = e->staged_commit = sha;
        e->confirm = false;
        return FORGE_DONE;
    }
    if (!str_eq(type, "tag"))
        return dialogue_never(err, "%s names no commit", what);
    if (d->stage > LIMIT_TAG_DEPTH)
        return dialogue_never(err, "%s: more than %d tag objects, one inside another", what,
                              LIMIT_TAG_DEPTH);
    return github_ask(d, d->stage + 1, arena_printf(d->arena, "git/tags/%s", sha), GITHUB_ACCEPT,
                      next, err);
}

static enum forge_step confirm_tag(struct forge_dialogue *d, const struct http_resp *last,
                                   struct http_req *next, struct err *err)
{
    if (!d->event->tag || !event_ref_ok(d->event->tag))
        return dialogue_never(err, "the event names no tag");
    if (!last)
        return github_ask(d, 1,
                          arena_printf(d->arena, "git/ref/tags/%s",
                                       dialogue_escape(d->arena, d->event->tag, true)),
                          GITHUB_ACCEPT, next, err);
    const char *what = arena_printf(d->arena, "tag %s of %s", d->event->tag, d->event->project);
    if (d->stage == 1 && last->status == 404)
        return dialogue_never(err, "%s is not there any more, or may not be read", what);
    CLEANUP_JS struct js *v = dialogue_json(last, NULL, what, err);
    if (!v)
        return github_refused(d, last, err);
    const char *ref = js_str(v, "ref");
    if (d->stage == 1 && !str_eq(str_after(ref, "refs/tags/"), d->event->tag))
        return dialogue_never(err, "%s: the answer is about another ref", what);
    return follow_tag(d, v, what, next, err);
}

enum forge_step github_confirm(struct forge_dialogue *d, const struct http_resp *last,
                               struct http_req *next, struct err *err)
{
    switch (d->event->kind) {
    case EVENT_MERGED:
        return confirm_pull(d, last, next, err);
    case EVENT_TAG:
        return confirm_tag(d, last, next, err);
    default:
        d->event->confirm = false;
        return FORGE_DONE;
    }
}

static enum forge_step ask_commit(struct forge_dialogue *d, int stage, struct http_req *next,
                                  struct err *err)
{
    return github_ask(d, stage, arena_printf(d->arena, "git/commits/%s", d->event->list_commit),
                      GITHUB_ACCEPT, next, err);
}

/* The content, or a 404 that has to be told apart: no such file, or no such commit (yet). */
static enum forge_step read_content(struct forge_dialogue *d, const struct http_resp *last,
                                    const char *what, struct http_req *next, struct err *err)
{
    const char *type = http_header(&last->headers, "Content-Type");
    if (last->status == 404)
        return ask_commit(d, 2, next, err);
    if (!dialogue_ok(last, what, err))
        return github_refused(d, last, err);
    if (type && str_starts(type, "application/json"))
        return dialogue_never(err, "%s is no file", what);
    d->content = last->body;
    d->content_len = last->body_len;
    return FORGE_DONE;
}

enum forge_step github_file(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err)
{
    if (!event_commit_ok(d->event->list_commit))
        return dialogue_never(err, "the event names no commit to read \"%s\" at", d->path);
    if (!last)
        return github_ask(d, 1,
                          arena_printf(d->arena, "contents/%s?ref=%s",
                                       dialogue_escape(d->arena, d->path, true),
                                       d->event->list_commit),
                          ACCEPT_RAW, next, err);
    const char *what = arena_printf(d->arena, "%s of %s at %.12s", d->path, d->event->project,
                                    d->event->list_commit);
    if (d->stage == 1)
        return read_content(d, last, what, next, err);
    if (last->status == 404 || last->status == 409 || last->status == 422)
        return dialogue_not_yet(err, "%s: the commit is not visible yet, or may not be read", what);
    if (!dialogue_ok(last, what, err))
        return github_refused(d, last, err);
    d->missing = true;
    return FORGE_DONE;
}

enum forge_step github_tree(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err)
{
    if (!event_commit_ok(d->event->list_commit))
        return dialogue_never(err, "the event names no commit");
    if (!last)
        return ask_commit(d, 1, next, err);
    const char *what =
        arena_printf(d->arena, "commit %.12s of %s", d->event->list_commit, d->event->project);
    if (last->status == 404)
        return dialogue_not_yet(err, "%s is not visible yet, or may not be read", what);
    CLEANUP_JS struct js *v = dialogue_json(last, NULL, what, err);
    if (!v)
        return github_refused(d, last, err);
    d->tree = dialogue_commit(d, v, "tree.sha", what, err);
    return d->tree ? FORGE_DONE : FORGE_FAILED;
}

enum forge_step github_ancestry(struct forge_dialogue *d, const struct http_resp *last,
                                struct http_req *next, struct err *err)
{
    static const struct {
        const char *status;
        enum ancestry related;
    } answers[] = {{"identical", ANCESTRY_SAME},
                   {"ahead", ANCESTRY_DESCENDANT},
                   {"behind", ANCESTRY_ANCESTOR},
                   {"diverged", ANCESTRY_DIVERGED}};
    if (!event_commit_ok(d->mine) || !event_commit_ok(d->applied))
        return dialogue_never(err, "two commits are needed to compare");
    /* Changed files, which may be long, are listed on the first page only. */
    if (!last)
        return github_ask(
            d, 1, arena_printf(d->arena, "compare/%s...%s?per_page=1&page=2", d->applied, d->mine),
            GITHUB_ACCEPT, next, err);
    const char *what = arena_printf(d->arena, "comparing %.12s with %.12s in %s", d->mine,
                                    d->applied, d->event->project);
    if (d->stage == 1 && last->status == 404)
        return github_ask(d, 2, arena_printf(d->arena, "git/commits/%s", d->mine), GITHUB_ACCEPT,
                          next, err);
    if (d->stage == 2 && last->status == 404)
        return dialogue_not_yet(err, "%s: the first is not visible yet", what);
    CLEANUP_JS struct js *v = dialogue_json(last, NULL, what, err);
    if (!v)
        return github_refused(d, last, err);
    if (d->stage == 2) { /* mine is there, so the other is lost, or they share no history */
        d->related = ANCESTRY_DIVERGED;
        return FORGE_DONE;
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        if (str_eq(js_str(v, "status"), answers[i].status)) {
            d->related = answers[i].related;
            return FORGE_DONE;
        }
    return dialogue_not_yet(err, "%s: the answer has no known \"status\"", what);
}

/* Closed is what nobody may conclude from an answer that says too little: `merged` has to be there,
 * and to agree with the rest. */
static enum forge_step read_status(struct forge_dialogue *d, const struct js *v, const char *what,
                                   struct err *err)
{
    const char *state = js_str(v, "state");
    const struct js *said = js_get(v, "merged"), *when = js_get(v, "merged_at");
    bool merged = js_bool(v, "merged");
    int64_t at = payload_time(v, "merged_at");
    if (!str_eq(payload_text(v, "number", d->arena), d->change))
        return dialogue_not_yet(err, "%s: the answer is about another pull request", what);
    if (str_eq(state, "open") && said && !merged) {
        d->status.state = CHANGE_OPEN;
        return FORGE_DONE;
    }
    if (!str_eq(state, "closed") || !said || js_is_null(said) ||
        (merged ? !at : when && !js_is_null(when)))
        return dialogue_not_yet(err, "%s: the answer does not say clearly what became of it", what);
    if (!merged) {
        d->status.state = CHANGE_CLOSED;
        return FORGE_DONE;
    }
    d->status.commit = dialogue_commit(d, v, "merge_commit_sha", what, err);
    if (!d->status.commit)
        return FORGE_FAILED;
    d->status.merged_at = at;
    d->status.state = CHANGE_MERGED;
    return FORGE_DONE;
}

enum forge_step github_change(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err)
{
    if (!event_change_ok(d->change))
        return dialogue_never(err, "this is no number of a pull request");
    if (!last)
        return github_ask(d, 1, arena_printf(d->arena, "pulls/%s", d->change), GITHUB_ACCEPT, next,
                          err);
    const char *what =
        arena_printf(d->arena, "pull request %s of %s", d->change, d->event->project);
    if (last->status == 404) {
        d->status.state = CHANGE_UNKNOWN;
        return FORGE_DONE;
    }
    CLEANUP_JS struct js *v = dialogue_json(last, NULL, what, err);
    return v ? read_status(d, v, what, err) : github_refused(d, last, err);
}
