#include "core/forge/types.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/forge/dialogue.h"
#include "core/forge/payload.h"
#include "core/forge/signature.h"

/*
 * The webhooks plugin signs nothing and can set no header: a long secret in the URL is all that a
 * request can show, so every event that starts work is confirmed by asking Gerrit.
 */
static bool gerrit_verify(const struct forge_conf *conf, const struct http_req *req,
                          const char *path_rest, int64_t now_s)
{
    if (signature_is_standard(req))
        return signature_standard_ok(req, &conf->hook_secrets, now_s);
    static const char *const names[] = {"secret", "token"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    bool ok = signature_token_ok(path_rest, &conf->hook_secrets);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ok |= signature_token_ok(http_query_param(&a, req->query, names[i]), &conf->hook_secrets);
    return ok;
}

static enum forge_class gerrit_classify(const struct http_req *req)
{
    (void)req;
    return FORGE_STORE;
}

/* Gerrit numbers no delivery. */
static const char *gerrit_delivery_id(const struct http_req *req)
{
    return signature_standard_id(req);
}

struct gerrit_payload {
    const struct js *v;
    struct arena *a;
    struct event event; /* forge and time are filled in */
    struct event_list *events;
    const char **ignored;
};

static int gerrit_ignore(struct gerrit_payload *p, const char *why)
{
    if (!p->events->n)
        *p->ignored = why;
    return 0;
}

/* A project is a name, or an object around it: the plugin serialises it without the adapter that
 * other streams use. */
static const char *project_at(const struct js *v, const char *path, struct arena *a)
{
    const char *name = payload_text(v, path, a);
    return name ? name : payload_text(v, arena_printf(a, "%s.name", path), a);
}

static int need_project(struct gerrit_payload *p, const char *path, struct err *err)
{
    p->event.project = project_at(p->v, path, p->a);
    if (!p->event.project)
        p->event.project = project_at(p->v, "project", p->a);
    return p->event.project ? 0 : err_set(err, ERR_INPUT, 0, "the field \"%s\" is missing", path);
}

static const char *short_branch(const char *name)
{
    const char *rest = str_after(name, "refs/heads/");
    return rest ? rest : name;
}

static int parse_change(struct gerrit_payload *p, enum event_kind kind, struct err *err)
{
    struct event *e = &p->event;
    if (need_project(p, "change.project", err) != 0)
        return -1;
    e->change = payload_need(p->v, "change.number", p->a, err);
    if (!e->change)
        return -1;
    e->branch = payload_need(p->v, "change.branch", p->a, err);
    if (!e->branch)
        return -1;
    e->branch = short_branch(e->branch);
    e->kind = kind;
    e->confirm = true;
    e->patchset = payload_text(p->v, "patchSet.number", p->a);
    e->staged_commit = payload_text(p->v, "patchSet.revision", p->a);
    e->change_url = payload_url(p->v, "change.url", p->a);
    e->title = event_text(p->a, js_str(p->v, "change.subject"));
    if (kind != EVENT_CLOSED) {
        e->order_commit = e->staged_commit;
        e->list_commit = kind == EVENT_MERGED ? payload_text(p->v, "newRev", p->a) : NULL;
        if (!e->list_commit)
            e->list_commit = e->staged_commit;
    }
    return payload_add(p->events, e, p->a, err);
}

static const char *person(struct gerrit_payload *p, const char *role)
{
    const char *name = js_str(p->v, arena_printf(p->a, "%s.username", role));
    if (!name)
        name = js_str(p->v, arena_printf(p->a, "%s.name", role));
    return event_text(p->a, name);
}

static int parse_merged(struct gerrit_payload *p, struct err *err)
{
    p->event.actor = person(p, "submitter");
    return parse_change(p, EVENT_MERGED, err);
}

static int parse_created(struct gerrit_payload *p, struct err *err)
{
    p->event.actor = person(p, "uploader");
    return parse_change(p, EVENT_OPENED, err);
}

static int parse_abandoned(struct gerrit_payload *p, struct err *err)
{
    p->event.actor = person(p, "abandoner");
    return parse_change(p, EVENT_CLOSED, err);
}

/* One moved ref. Old versions name branches without refs/heads/. Deletions are not confirmed: a
 * ref that was made again in between would hide one, and it only reopens what the ref did. */
static int parse_ref(struct gerrit_payload *p, const struct js *update, struct err *err)
{
    struct event e = p->event;
    const char *ref = payload_need(update, "refName", p->a, err);
    if (!ref)
        return -1;
    if (str_starts(ref, "refs/") ? !event_set_ref(&e, p->a, ref) : str_eq(ref, "HEAD"))
        return gerrit_ignore(p, "ref-updated: the ref is neither a branch nor a tag");
    if (!e.tag)
        e.branch = short_branch(ref);
    e.project = project_at(update, "project", p->a);
    if (!e.project)
        e.project = project_at(p->v, "project", p->a);
    if (!e.project)
        return err_set(err, ERR_INPUT, 0, "the field \"refUpdate.project\" is missing");
    const char *commit = payload_need(update, "newRev", p->a, err);
    if (!commit)
        return -1;
    bool deleted = event_commit_is_zero(commit);
    if (deleted) {
        e.kind = e.tag ? EVENT_TAG_DELETED : EVENT_BRANCH_DELETED;
    } else {
        e.kind = e.tag ? EVENT_TAG : EVENT_BRANCH;
        e.confirm = true;
        e.order_commit = e.list_commit = e.staged_commit = commit;
    }
    e.actor = person(p, "submitter");
    return payload_add(p->events, &e, p->a, err);
}

static int parse_ref_updated(struct gerrit_payload *p, struct err *err)
{
    const struct js *update = js_get(p->v, "refUpdate");
    if (!js_is_object(update))
        return err_set(err, ERR_INPUT, 0, "the field \"refUpdate\" is missing or no object");
    return parse_ref(p, update, err);
}

static int parse_batch(struct gerrit_payload *p, struct err *err)
{
    const struct js *updates = js_get(p->v, "refUpdates");
    if (!js_is_array(updates))
        return err_set(err, ERR_INPUT, 0, "the field \"refUpdates\" is missing or no list");
    if (js_len(updates) > LIMIT_EVENTS)
        return err_set(err, ERR_INPUT, 0, "the field \"refUpdates\" has more than %d entries",
                       LIMIT_EVENTS);
    *p->ignored = "batch-ref-updated: no ref in it";
    for (size_t i = 0; i < js_len(updates); i++)
        if (parse_ref(p, js_at(updates, i), err) != 0)
            return err_wrap(err, "refUpdates, entry %zu", i + 1);
    if (p->events->n)
        *p->ignored = NULL;
    return 0;
}

static const struct gerrit_kind {
    const char *type;
    int (*parse)(struct gerrit_payload *p, struct err *err);
} kinds[] = {
    {"change-merged", parse_merged},       {"patchset-created", parse_created},
    {"change-abandoned", parse_abandoned}, {"ref-updated", parse_ref_updated},
    {"batch-ref-updated", parse_batch},
};

static int gerrit_parse(const struct forge_conf *conf, const struct http_req *req, struct arena *a,
                        struct event_list *events, const char **ignored, struct err *err)
{
    if (signature_is_standard(req))
        return generic_parse_body(conf, req, true, a, events, ignored, err);
    CLEANUP_JS struct js *v = payload_json(req, err);
    if (!v)
        return -1;
    struct gerrit_payload p = {.v = v, .a = a, .events = events, .ignored = ignored};
    p.event.forge = conf->name;
    p.event.happened_at = payload_time(v, "eventCreatedOn");
    const char *type = payload_need(v, "type", a, err);
    if (!type)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(type, kinds[i].type))
            return kinds[i].parse(&p, err);
    return gerrit_ignore(
        &p, arena_printf(a, "the event \"%s\" means nothing here", event_text(a, type)));
}

static struct js *sample_change(const struct event *e, const char *type)
{
    int64_t number = 0, patchset = 1;
    (void)str_to_i64(e->change, &number);
    (void)str_to_i64(e->patchset, &patchset);
    struct js *v = js_object(), *change = js_object(), *set = js_object(), *name = js_object();
    js_put_str(v, "type", type);
    js_put_str(change, "project", e->project);
    js_put_str(change, "branch", e->branch);
    js_put_int(change, "number", number);
    js_put_str(change, "subject", e->title ? e->title : "A test by slipway send-test-hook");
    js_put(v, "change", change);
    js_put_int(set, "number", patchset);
    js_put_str(set, "revision", e->order_commit ? e->order_commit : e->staged_commit);
    js_put(v, "patchSet", set);
    js_put_str(name, "name", e->project);
    js_put(v, "project", name);
    if (e->kind == EVENT_MERGED)
        js_put_str(v, "newRev", e->list_commit);
    return v;
}

static struct js *sample_ref(const struct event *e, struct arena *a)
{
    static const char zeros[] = "0000000000000000000000000000000000000000";
    bool deleted = e->kind == EVENT_TAG_DELETED || e->kind == EVENT_BRANCH_DELETED;
    struct js *v = js_object(), *update = js_object();
    js_put_str(v, "type", "ref-updated");
    js_put_str(update, "project", e->project);
    js_put_str(update, "refName",
               e->tag ? arena_printf(a, "refs/tags/%s", e->tag)
                      : arena_printf(a, "refs/heads/%s", e->branch));
    js_put_str(update, "oldRev", zeros);
    js_put_str(update, "newRev", deleted ? zeros : e->list_commit);
    js_put(v, "refUpdate", update);
    return v;
}

/* The type that tells each kind; "" for moved refs. */
static const char *const sample_types[EVENT__MAX] = {
    [EVENT_MERGED] = "change-merged",
    [EVENT_OPENED] = "patchset-created",
    [EVENT_CLOSED] = "change-abandoned",
    [EVENT_TAG] = "",
    [EVENT_TAG_DELETED] = "",
    [EVENT_BRANCH] = "",
    [EVENT_BRANCH_DELETED] = "",
};

static struct js *sample_body(const struct event *e, struct arena *a, struct err *err)
{
    const char *type = sample_types[e->kind];
    bool deleted = e->kind == EVENT_TAG_DELETED || e->kind == EVENT_BRANCH_DELETED;
    const char *missing = !type                                        ? "another kind"
                          : !e->project                                ? "a project"
                          : *type && !e->change                        ? "a change"
                          : !e->branch && (*type || !e->tag)           ? "a branch or a tag"
                          : !*type && !deleted && !e->list_commit      ? "a commit"
                          : e->kind == EVENT_MERGED && !e->list_commit ? "a commit"
                                                                       : NULL;
    if (!missing)
        return *type ? sample_change(e, type) : sample_ref(e, a);
    (void)err_set(err, ERR_INPUT, 0, "a Gerrit event of kind \"%s\" needs %s",
                  event_kind_name(e->kind), missing);
    return NULL;
}

static int gerrit_sample(const struct forge_conf *conf, const struct event *e, int64_t now_s,
                         struct arena *a, struct http_req *out, struct err *err)
{
    if (e && e->kind == EVENT_STAGED)
        return generic_sample(conf, e, now_s, a, out, err);
    const char *secret = forge_secret(conf, err);
    if (!secret)
        return -1;
    if (strlen(secret) < LIMIT_HOOK_SECRET)
        return err_set(err, ERR_CONFIG, 0,
                       "the hook secret of forge '%s' is shorter than %d characters", conf->name,
                       LIMIT_HOOK_SECRET);
    CLEANUP_JS struct js *v = NULL;
    if (e) {
        v = sample_body(e, a, err);
        if (!v)
            return -1;
    } else {
        v = js_object();
        js_put_str(v, "type", "ping");
    }
    js_put_int(v, "eventCreatedOn", e && e->happened_at ? e->happened_at : now_s);
    const char *body = js_dump(v, a);
    *out = (struct http_req){
        .method = "POST",
        .url = arena_printf(a, "/hooks/%s/%s", conf->name, dialogue_escape(a, secret, false)),
        .query = "",
        .body = body,
        .body_len = strlen(body)};
    http_header_add(a, &out->headers, "Content-Type", "application/json; charset=utf-8");
    http_header_add(a, &out->headers, "User-Agent", "slipway-send-test-hook");
    return 0;
}

static const char *const gerrit_headers[] = {
    "X-Origin-Url", "Content-Type", "User-Agent", "webhook-id", "svix-id", NULL,
};

const struct forge forge_gerrit = {
    .type = "gerrit",
    .own_clock = true,
    .git_auth_path = "/a",
    .verify = gerrit_verify,
    .classify = gerrit_classify,
    .delivery_id = gerrit_delivery_id,
    .keep_headers = gerrit_headers,
    .parse = gerrit_parse,
    .confirm = gerrit_confirm,
    .file = gerrit_file,
    .head = gerrit_head,
    .change = gerrit_change,
    .report = gerrit_report,
    .report_on_change = true,
    .tree = forge_use_git,
    .sample = gerrit_sample,
};
