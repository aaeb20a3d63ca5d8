#include "core/forge/dialogue.h"
#include "core/forge/types.h"

#include "core/base/limits.h"
#include "core/base/str.h"

enum { STAGE_STATUS = 1, STAGE_COMMENTS, STAGE_COMMENT };

#define STATUS_RIGHT "a token that may write statuses: repo:status, or Commit statuses: write"
#define COMMENT_RIGHT "a token that may comment: repo, or Issues or Pull requests: write"

/* At most n characters of UTF-8, with "..." where something is left out. */
static const char *cut(struct arena *a, const char *text, size_t n)
{
    size_t chars = 0, len = 0, kept = 0;
    for (; text[len]; len++) {
        bool starts = ((unsigned char)text[len] & 0xc0) != 0x80;
        if (starts && chars == n - 3)
            kept = len;
        if (starts && ++chars > n)
            return arena_printf(a, "%.*s...", (int)kept, text);
    }
    return text;
}

static enum forge_step set_status(struct forge_dialogue *d, struct http_req *next, struct err *err)
{
    const struct forge_report *r = d->report;
    enum forge_step step =
        github_ask(d, STAGE_STATUS, arena_printf(d->arena, "statuses/%s", d->event->staged_commit),
                   GITHUB_ACCEPT, next, err);
    if (step != FORGE_MORE)
        return step;
    CLEANUP_JS struct js *body = js_object();
    js_put_str(body, "state", r->state);
    js_put_str(body, "context", r->context);
    js_put_str(body, "description", cut(d->arena, r->summary, LIMIT_GITHUB_DESCRIPTION));
    js_put_str(body, "target_url", r->url);
    dialogue_post(d, body, next);
    return FORGE_MORE;
}

/* Not shown, but found again in the comment's source. */
static const char *mark(struct forge_dialogue *d)
{
    return arena_printf(d->arena, "<!-- slipway %s %s %s -->", d->report->context,
                        d->event->staged_commit, d->report->id);
}

/* Comments of the last days: a report is not tried for longer. */
static enum forge_step ask_comments(struct forge_dialogue *d, struct http_req *next,
                                    struct err *err)
{
    char since[32];
    str_rfc3339(d->now_s - 2 * LIMIT_REPORT_S, since);
    return github_ask(d, STAGE_COMMENTS,
                      arena_printf(d->arena, "issues/%s/comments?per_page=50&since=%s",
                                   d->event->change, dialogue_escape(d->arena, since, false)),
                      GITHUB_ACCEPT, next, err);
}

static bool is_said(struct forge_dialogue *d, const struct http_resp *last)
{
    CLEANUP_JS struct js *list = js_parse(last->body, last->body_len, NULL);
    const char *marked = mark(d);
    for (size_t i = 0; i < js_len(list); i++) {
        const char *body = js_str(js_at(list, i), "body");
        if (body && strstr(body, marked))
            return true;
    }
    return false;
}

/* A fence that no run of backticks in the text can end: inside it nothing is markup, a mention or a
 * reference. */
static const char *fence_for(struct arena *a, const char *text)
{
    size_t longest = 0, run = 0;
    for (; text && *text; text++) {
        run = *text == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    size_t len = longest < 3 ? 3 : longest + 1;
    char *fence = arena_alloc(a, len + 1);
    memset(fence, '`', len);
    return fence;
}

static enum forge_step comment(struct forge_dialogue *d, struct http_req *next, struct err *err)
{
    const struct forge_report *r = d->report;
    const char *text = arena_printf(d->arena, "%s\n\n%s", r->summary, r->body);
    const char *fence = fence_for(d->arena, text);
    const char *link = r->url ? arena_printf(d->arena, "\n<%s>\n", r->url) : "";
    enum forge_step step =
        github_ask(d, STAGE_COMMENT, arena_printf(d->arena, "issues/%s/comments", d->event->change),
                   GITHUB_ACCEPT, next, err);
    if (step != FORGE_MORE)
        return step;
    CLEANUP_JS struct js *body = js_object();
    js_put_str(body, "body",
               arena_printf(d->arena, "**%s** at %.12s: %s\n\n%stext\n%s\n%s\n%s%s%s", r->context,
                            d->event->staged_commit, r->state, fence, text, fence, link,
                            r->id ? "\n" : "", r->id ? mark(d) : ""));
    dialogue_post(d, body, next);
    return FORGE_MORE;
}

static bool wants_comment(const struct forge_dialogue *d)
{
    return str_eq(d->report->state, "failure") && d->report->body &&
           event_change_ok(d->event->change);
}

enum forge_step github_report(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err)
{
    if (!event_commit_ok(d->event->staged_commit))
        return dialogue_never(err, "the report names no commit");
    if (!last)
        return set_status(d, next, err);
    bool status = d->stage == STAGE_STATUS;
    const char *what = status ? arena_printf(d->arena, "the status of %.12s in %s",
                                             d->event->staged_commit, d->event->project)
                              : arena_printf(d->arena, "a comment on pull request %s of %s",
                                             d->event->change, d->event->project);
    if (!dialogue_taken(last, what, status ? STATUS_RIGHT : COMMENT_RIGHT, err))
        return github_refused(d, last, err);
    if (d->stage == STAGE_COMMENT || !wants_comment(d))
        return FORGE_DONE;
    if (status && d->report->id)
        return ask_comments(d, next, err);
    if (!status && is_said(d, last))
        return FORGE_DONE;
    return comment(d, next, err);
}
