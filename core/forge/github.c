#include "core/forge/types.h"

#include "core/base/str.h"
#include "core/forge/payload.h"
#include "core/forge/signature.h"
#include "core/lib/crypt.h"

#define QUEUE_PREFIX "gh-readonly-queue/"

static bool github_verify(const struct forge_conf *conf, const struct http_req *req,
                          const char *path_rest, int64_t now_s)
{
    if (!str_empty(path_rest))
        return false;
    if (signature_is_standard(req))
        return signature_standard_ok(req, &conf->hook_secrets, now_s);
    return signature_github_ok(req, &conf->hook_secrets);
}

/* All that is known of one delivery while it is being parsed. */
struct github_payload {
    const struct js *v;
    struct arena *a;
    struct event event; /* forge, project and default branch are filled in */
    struct event_list *events;
    const char **ignored;
};

static int github_ignore(struct github_payload *p, const char *why)
{
    *p->ignored = why;
    return 0;
}

static int github_add(struct github_payload *p, struct err *err)
{
    return payload_add(p->events, &p->event, p->a, err);
}

static int pull_closed(struct github_payload *p, struct err *err)
{
    struct event *e = &p->event;
    if (!js_get(p->v, "pull_request.merged"))
        return err_set(err, ERR_INPUT, 0, "the field \"pull_request.merged\" is missing");
    if (!js_bool(p->v, "pull_request.merged")) {
        /* merge_commit_sha is set here as well: it names a trial merge, never to be used. */
        e->kind = EVENT_CLOSED;
        e->happened_at = payload_time(p->v, "pull_request.closed_at");
        return github_add(p, err);
    }
    e->kind = EVENT_MERGED;
    e->order_commit = payload_text(p->v, "pull_request.merge_commit_sha", p->a);
    e->list_commit = e->order_commit;
    e->happened_at = payload_time(p->v, "pull_request.merged_at");
    e->confirm = !e->order_commit || !e->happened_at;
    const char *by = js_str(p->v, "pull_request.merged_by.login");
    if (by)
        e->actor = event_text(p->a, by);
    return github_add(p, err);
}

static int parse_pull(struct github_payload *p, struct err *err)
{
    struct event *e = &p->event;
    const char *action = payload_need(p->v, "action", p->a, err);
    if (!action)
        return -1;
    bool closed = str_eq(action, "closed");
    if (!closed && !str_eq(action, "opened") && !str_eq(action, "synchronize") &&
        !str_eq(action, "reopened"))
        return github_ignore(p, arena_printf(p->a, "pull_request: action \"%s\" means nothing here",
                                             event_text(p->a, action)));
    e->change = payload_need(p->v, "pull_request.number", p->a, err);
    if (!e->change)
        return -1;
    e->branch = payload_need(p->v, "pull_request.base.ref", p->a, err);
    if (!e->branch)
        return -1;
    e->staged_commit = payload_need(p->v, "pull_request.head.sha", p->a, err);
    if (!e->staged_commit)
        return -1;
    e->patchset = e->staged_commit;
    e->title = event_text(p->a, js_str(p->v, "pull_request.title"));
    e->change_url = payload_url(p->v, "pull_request.html_url", p->a);
    if (closed)
        return pull_closed(p, err);
    e->kind = EVENT_OPENED;
    e->order_commit = e->list_commit = e->staged_commit;
    return github_add(p, err);
}

static int push_deleted(struct github_payload *p, struct err *err)
{
    struct event *e = &p->event;
    e->kind = e->tag ? EVENT_TAG_DELETED : EVENT_BRANCH_DELETED;
    return github_add(p, err);
}

static int parse_push(struct github_payload *p, struct err *err)
{
    struct event *e = &p->event;
    const char *ref = payload_need(p->v, "ref", p->a, err);
    if (!ref)
        return -1;
    if (!event_set_ref(e, p->a, ref))
        return github_ignore(p, "push: the ref is neither a branch nor a tag");
    if (e->branch && str_starts(e->branch, QUEUE_PREFIX))
        return github_ignore(p, "push: a merge queue's own branch");
    const char *after = payload_need(p->v, "after", p->a, err);
    if (!after)
        return -1;
    const char *pusher = js_str(p->v, "pusher.name");
    if (pusher)
        e->actor = event_text(p->a, pusher);
    e->happened_at = payload_time(p->v, "repository.pushed_at");
    if (js_bool(p->v, "deleted") || event_commit_is_zero(after))
        return push_deleted(p, err);
    e->kind = e->tag ? EVENT_TAG : EVENT_BRANCH;
    if (e->tag) {
        /* Of an annotated tag `after` is the tag object; the head commit is the peeled one. */
        const char *head = payload_text(p->v, "head_commit.id", p->a);
        e->confirm = !head;
        after = head ? head : after;
    }
    e->order_commit = e->list_commit = e->staged_commit = after;
    return github_add(p, err);
}

/* "refs/heads/gh-readonly-queue/main/pr-104-<commit>": 104. NULL when it looks otherwise. */
static const char *queue_change(const char *head_ref, struct arena *a)
{
    const char *last = head_ref ? strrchr(head_ref, '/') : NULL;
    const char *number = last ? str_after(last, "/pr-") : NULL;
    if (!number)
        return NULL;
    const char *change = arena_strndup(a, number, strcspn(number, "-"));
    return event_change_ok(change) ? change : NULL;
}

static int parse_merge_group(struct github_payload *p, struct err *err)
{
    struct event *e = &p->event;
    const char *action = payload_need(p->v, "action", p->a, err);
    if (!action)
        return -1;
    if (!str_eq(action, "checks_requested"))
        return github_ignore(p, "merge_group: the group was taken apart; a merge tells itself");
    const char *base = payload_need(p->v, "merge_group.base_ref", p->a, err);
    if (!base)
        return -1;
    if (!event_set_ref(e, p->a, base) || !e->branch)
        return err_set(err, ERR_INPUT, 0, "the field \"merge_group.base_ref\" names no branch");
    const char *head = payload_need(p->v, "merge_group.head_sha", p->a, err);
    if (!head)
        return -1;
    e->kind = EVENT_GATED;
    e->order_commit = e->list_commit = e->staged_commit = e->patchset = head;
    e->change = queue_change(js_str(p->v, "merge_group.head_ref"), p->a);
    return github_add(p, err);
}

static int parse_twice_told(struct github_payload *p, struct err *err)
{
    (void)err;
    return github_ignore(p, "the push event of the same ref says it already");
}

static int parse_ping(struct github_payload *p, struct err *err)
{
    (void)err;
    return github_ignore(p, "ping");
}

/* What X-GitHub-Event may say; everything else is boring. */
static const struct github_kind {
    const char *name;
    enum forge_class class;
    bool about_project; /* its body names a repository */
    int (*parse)(struct github_payload *p, struct err *err);
} kinds[] = {
    {"ping", FORGE_PING, false, parse_ping},
    {"pull_request", FORGE_STORE, true, parse_pull},
    {"push", FORGE_STORE, true, parse_push},
    {"merge_group", FORGE_STORE, true, parse_merge_group},
    {"create", FORGE_STORE, false, parse_twice_told},
    {"delete", FORGE_STORE, false, parse_twice_told},
    {"release", FORGE_STORE, false, parse_twice_told},
};

static const struct github_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

/* full_name; some senders of this form give its parts only. */
static const char *project_of(const struct js *v, struct arena *a, struct err *err)
{
    const char *name = payload_text(v, "repository.name", a);
    const char *owner = payload_text(v, "repository.owner.login", a);
    if (!js_get(v, "repository.full_name") && name && owner)
        return arena_printf(a, "%s/%s", owner, name);
    return payload_need(v, "repository.full_name", a, err);
}

/* A request without the header is kept, so that its refusal is seen. */
static enum forge_class github_classify(const struct http_req *req)
{
    const char *name = http_header(&req->headers, "X-GitHub-Event");
    if (signature_is_standard(req) || !name)
        return FORGE_STORE;
    const struct github_kind *kind = find_kind(name);
    return kind ? kind->class : FORGE_BORING;
}

static const char *github_delivery_id(const struct http_req *req)
{
    return signature_is_standard(req) ? signature_standard_id(req)
                                      : http_header(&req->headers, "X-GitHub-Delivery");
}

static int github_parse(const struct forge_conf *conf, const struct http_req *req, struct arena *a,
                        struct event_list *events, const char **ignored, struct err *err)
{
    if (signature_is_standard(req))
        return generic_parse_body(conf, req, true, a, events, ignored, err);
    const char *name = http_header(&req->headers, "X-GitHub-Event");
    if (!name)
        return err_set(err, ERR_INPUT, 0, "the header X-GitHub-Event is missing");
    const struct github_kind *kind = find_kind(name);
    CLEANUP_JS struct js *v = payload_json(req, err);
    if (!v)
        return -1;
    struct github_payload p = {.v = v, .a = a, .events = events, .ignored = ignored};
    if (!kind)
        return github_ignore(
            &p, arena_printf(a, "the event \"%s\" means nothing here", event_text(a, name)));
    p.event.forge = conf->name;
    p.event.actor = event_text(a, js_str(v, "sender.login"));
    p.event.default_branch = payload_text(v, "repository.default_branch", a);
    if (kind->about_project) {
        p.event.project = project_of(v, a, err);
        if (!p.event.project)
            return -1;
    }
    return kind->parse(&p, err);
}

static struct js *sample_repository(const struct event *e, int64_t now_s)
{
    struct js *repository = js_object();
    js_put_str(repository, "full_name", e->project);
    js_put_str(repository, "default_branch", e->default_branch ? e->default_branch : "main");
    js_put_int(repository, "pushed_at", now_s);
    return repository;
}

static struct js *sample_pull(const struct event *e, int64_t now_s)
{
    bool merged = e->kind == EVENT_MERGED, closed = merged || e->kind == EVENT_CLOSED;
    int64_t number = 0;
    char when[32];
    str_rfc3339(e->happened_at ? e->happened_at : now_s, when);
    (void)str_to_i64(e->change, &number);
    struct js *v = js_object(), *pull = js_object(), *base = js_object(), *head = js_object();
    js_put_str(v, "action", closed ? "closed" : "opened");
    js_put_int(v, "number", number);
    js_put_int(pull, "number", number);
    js_put_str(pull, "title", e->title ? e->title : "A test by slipway send-test-hook");
    js_put_bool(pull, "merged", merged);
    if (merged)
        js_put_str(pull, "merge_commit_sha", e->order_commit);
    if (closed)
        js_put_str(pull, merged ? "merged_at" : "closed_at", when);
    js_put_str(base, "ref", e->branch);
    js_put(pull, "base", base);
    js_put_str(head, "sha", e->staged_commit);
    js_put(pull, "head", head);
    js_put(v, "pull_request", pull);
    return v;
}

static struct js *sample_push(const struct event *e, struct arena *a)
{
    bool deleted = e->kind == EVENT_TAG_DELETED || e->kind == EVENT_BRANCH_DELETED;
    const char *zeros = "0000000000000000000000000000000000000000";
    struct js *v = js_object();
    js_put_str(v, "ref",
               e->tag ? arena_printf(a, "refs/tags/%s", e->tag)
                      : arena_printf(a, "refs/heads/%s", e->branch));
    js_put_str(v, "before", zeros);
    js_put_str(v, "after", deleted ? zeros : e->list_commit);
    js_put_bool(v, "created", !deleted);
    js_put_bool(v, "deleted", deleted);
    if (!deleted) {
        struct js *head = js_object();
        js_put_str(head, "id", e->list_commit);
        js_put(v, "head_commit", head);
    }
    return v;
}

/* Which event tells each kind, and what it cannot do without. */
static const struct github_sample {
    const char *name;
    enum event_kind kind;
    bool change, ref, commit;
} samples[] = {
    {"pull_request", EVENT_MERGED, true, true, true},
    {"pull_request", EVENT_CLOSED, true, true, true},
    {"pull_request", EVENT_OPENED, true, true, true},
    {"push", EVENT_TAG, false, true, true},
    {"push", EVENT_TAG_DELETED, false, true, false},
    {"push", EVENT_BRANCH, false, true, true},
    {"push", EVENT_BRANCH_DELETED, false, true, false},
};

/* The event's body; NULL with ERR_INPUT that names what is missing. */
static struct js *sample_body(const struct event *e, int64_t now_s, struct arena *a,
                              const char **name, struct err *err)
{
    const struct github_sample *s = NULL;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        if (samples[i].kind == e->kind)
            s = &samples[i];
    const char *missing = !s                                            ? "another kind"
                          : !e->project                                 ? "a project"
                          : s->change && !e->change                     ? "a change"
                          : s->ref && !e->branch && !e->tag             ? "a branch or a tag"
                          : s->commit && s->change && !e->staged_commit ? "a staged commit"
                          : s->commit && e->kind != EVENT_CLOSED && !e->list_commit ? "a commit"
                                                                                    : NULL;
    if (missing) {
        (void)err_set(err, ERR_INPUT, 0, "a GitHub event of kind \"%s\" needs %s",
                      event_kind_name(e->kind), missing);
        return NULL;
    }
    *name = s->name;
    struct js *v = s->change ? sample_pull(e, now_s) : sample_push(e, a);
    js_put(v, "repository", sample_repository(e, now_s));
    return v;
}

static int github_sample(const struct forge_conf *conf, const struct event *e, int64_t now_s,
                         struct arena *a, struct http_req *out, struct err *err)
{
    if (e && e->kind == EVENT_STAGED)
        return generic_sample(conf, e, now_s, a, out, err);
    const char *secret = forge_secret(conf, err), *name = "ping";
    if (!secret)
        return -1;
    CLEANUP_JS struct js *v = NULL;
    if (e) {
        v = sample_body(e, now_s, a, &name, err);
        if (!v)
            return -1;
    } else {
        v = js_object();
        js_put_str(v, "zen", "A test by slipway send-test-hook.");
    }
    char digest[CRYPT_SHA256_HEX];
    const char *body = forge_sample_post(conf, v, now_s, a, digest, out);
    http_header_add(a, &out->headers, "X-GitHub-Event", name);
    http_header_add(a, &out->headers, "X-GitHub-Delivery",
                    arena_printf(a, "%.8s-%.4s-%.4s-%.4s-%.12s", digest, digest + 8, digest + 12,
                                 digest + 16, digest + 20));
    http_header_add(a, &out->headers, "X-Hub-Signature-256",
                    signature_github(secret, body, strlen(body), a));
    return 0;
}

static const char *const github_headers[] = {
    "X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-ID",
    "Content-Type",   "User-Agent",        "X-GitHub-Enterprise-Host",
    "webhook-id",     "svix-id",           NULL,
};

const struct forge forge_github = {
    .type = "github",
    .own_clock = true,
    .proof = "X-Hub-Signature-256",
    .git_username = "x-access-token",
    .verify = github_verify,
    .classify = github_classify,
    .delivery_id = github_delivery_id,
    .keep_headers = github_headers,
    .parse = github_parse,
    .confirm = github_confirm,
    .file = github_file,
    .tree = github_tree,
    .ancestry = github_ancestry,
    .change = github_change,
    .report = github_report,
    .sample = github_sample,
};
