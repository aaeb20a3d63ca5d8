/*
 * Any sender: a JSON body of our own, signed as Standard Webhooks 1.0.0 asks (headers webhook-id,
 * webhook-timestamp, webhook-signature). Git alone answers what the body leaves open.
 *
 *     {"kind": "change.merged", "project": "team/app", "branch": "main", "change": "7",
 *      "commit": "<merged commit>", "staged_commit": "<what the gate built>", "patchset": "2",
 *      "merged_at": "2026-11-23T16:40:10Z", "url": "https://...", "default_branch": "main"}
 *     {"kind": "tag.pushed", "project": "team/app", "ref": "refs/tags/v1.0.0",
 *      "commit": "<commit or tag object>"}
 *     {"kind": "image.staged", "project": "team/app", "change": "7", "commit": "<built commit>",
 *      "tree": "<its git tree>", "run_id": "81f0", "images": [{"repository":
 *      "registry.example.org/team/app", "tag": "change_7_latest", "digest": "sha256:..."}]}
 *
 * Kinds and what each needs besides project:
 *     change.merged   change, branch (or ref), commit
 *     change.opened   change, branch (or ref), commit; also change.gated
 *     change.closed   change
 *     tag.pushed      ref (or tag), commit
 *     tag.deleted     ref (or tag)
 *     branch.pushed   ref (or branch), commit; zeros mean that it was deleted. A change.merged of
 *                     the same commit says the same: whoever sends that may leave this out
 *     image.staged    change, commit, images; accepted by sources of every type
 *     ping            nothing, and means nothing
 * Numbers may be written as numbers or texts, times as RFC 3339 or seconds, commits in full.
 * Members that are not named here are left alone; an unknown kind is ignored.
 */
#include "core/forge/types.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/forge/payload.h"
#include "core/forge/signature.h"
#include "core/lib/crypt.h"

/* What a kind cannot do without. */
enum need { NEED_CHANGE = 1, NEED_BRANCH = 2, NEED_TAG = 4, NEED_COMMIT = 8, NEED_IMAGES = 16 };

static const struct generic_kind {
    const char *name;
    enum event_kind kind;
    unsigned needs;
} kinds[] = {
    {"change.opened", EVENT_OPENED, NEED_CHANGE | NEED_BRANCH | NEED_COMMIT},
    {"change.gated", EVENT_GATED, NEED_CHANGE | NEED_BRANCH | NEED_COMMIT},
    {"change.merged", EVENT_MERGED, NEED_CHANGE | NEED_BRANCH | NEED_COMMIT},
    {"change.closed", EVENT_CLOSED, NEED_CHANGE},
    {"tag.pushed", EVENT_TAG, NEED_TAG | NEED_COMMIT},
    {"tag.deleted", EVENT_TAG_DELETED, NEED_TAG},
    {"branch.pushed", EVENT_BRANCH, NEED_BRANCH | NEED_COMMIT},
    {"image.staged", EVENT_STAGED, NEED_CHANGE | NEED_COMMIT | NEED_IMAGES},
};

/* Text members: where they go, and whether a number is welcome. */
static const struct generic_field {
    const char *name;
    size_t offset;
    bool number;
} fields[] = {
    {"project", offsetof(struct event, project), false},
    {"branch", offsetof(struct event, branch), false},
    {"tag", offsetof(struct event, tag), false},
    {"change", offsetof(struct event, change), true},
    {"patchset", offsetof(struct event, patchset), true},
    {"commit", offsetof(struct event, list_commit), false},
    {"order_commit", offsetof(struct event, order_commit), false},
    {"staged_commit", offsetof(struct event, staged_commit), false},
    {"tree", offsetof(struct event, tree), false},
    {"run_id", offsetof(struct event, run_id), true},
    {"default_branch", offsetof(struct event, default_branch), false},
    {"url", offsetof(struct event, change_url), false},
};

static int wrong(struct err *err, const char *field)
{
    return err_set(err, ERR_INPUT, 0, "the field \"%s\" is missing, empty or of a wrong type",
                   field);
}

/* Some senders write null for what they do not know. */
static bool is_absent(const struct js *member, struct arena *a)
{
    return !member ||
           (!js_is_object(member) && !js_is_array(member) && str_eq(js_dump(member, a), "null"));
}

/* Reads a member if it is there. */
static int read_field(const struct js *v, const struct generic_field *f, struct arena *a,
                      struct event *e, struct err *err)
{
    const struct js *member = js_get(v, f->name);
    if (is_absent(member, a))
        return 0;
    const char *text = f->number ? js_text(member, "", a) : js_str(member, "");
    if (str_empty(text))
        return wrong(err, f->name);
    *(const char **)((char *)e + f->offset) = arena_strdup(a, text);
    return 0;
}

static int read_time(const struct js *v, struct event *e, struct arena *a, struct err *err)
{
    const struct js *member = js_get(v, "merged_at");
    if (is_absent(member, a))
        return 0;
    e->happened_at = payload_time(v, "merged_at");
    return e->happened_at ? 0 : wrong(err, "merged_at");
}

static int read_ref(const struct js *v, struct event *e, struct arena *a, struct err *err)
{
    const struct js *member = js_get(v, "ref");
    if (is_absent(member, a))
        return 0;
    const char *ref = js_str(member, "");
    struct event named = {0};
    if (!ref || !event_set_ref(&named, a, ref))
        return err_set(err, ERR_INPUT, 0,
                       "the field \"ref\" must start with refs/heads/ or refs/tags/");
    if ((e->branch && named.branch && !str_eq(e->branch, named.branch)) ||
        (e->tag && named.tag && !str_eq(e->tag, named.tag)))
        return err_set(err, ERR_INPUT, 0, "the field \"ref\" contradicts \"%s\"",
                       named.tag ? "tag" : "branch");
    if (named.branch)
        e->branch = named.branch;
    else
        e->tag = named.tag;
    return 0;
}

static int read_image(const struct js *item, struct event_image *image, struct arena *a,
                      struct err *err)
{
    const struct {
        const char *name;
        const char **out;
    } members[] = {
        {"repository", &image->repository}, {"tag", &image->tag}, {"digest", &image->digest}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const char *text = js_str(item, members[i].name);
        if (str_empty(text))
            return wrong(err, arena_printf(a, "images.%s", members[i].name));
        *members[i].out = arena_strdup(a, text);
    }
    return 0;
}

/* What one run staged; two rows for one tag would make it a matter of luck. */
static int read_images(const struct js *v, struct event *e, struct arena *a, struct err *err)
{
    const struct js *images = js_get(v, "images");
    if (!js_is_array(images) || js_len(images) == 0)
        return wrong(err, "images");
    if (js_len(images) > LIMIT_IMAGES)
        return err_set(err, ERR_INPUT, 0, "the field \"images\" has more than %d entries",
                       LIMIT_IMAGES);
    for (size_t i = 0; i < js_len(images); i++) {
        struct event_image image = {0};
        if (read_image(js_at(images, i), &image, a, err) != 0)
            return -1;
        list_each (struct event_image, other, &e->images)
            if (str_eq(other->repository, image.repository) && str_eq(other->tag, image.tag))
                return err_set(err, ERR_INPUT, 0,
                               "the field \"images\" names one tag of one repository twice");
        *list_push(a, &e->images) = image;
    }
    return 0;
}

static int check_needs(const struct event *e, unsigned needs, struct err *err)
{
    if (!e->project)
        return wrong(err, "project");
    if ((needs & NEED_CHANGE) && !e->change)
        return wrong(err, "change");
    if ((needs & NEED_BRANCH) && !e->branch)
        return wrong(err, "branch");
    if ((needs & NEED_TAG) && !e->tag)
        return wrong(err, "tag");
    if ((needs & NEED_COMMIT) && !e->list_commit)
        return wrong(err, "commit");
    return 0;
}

/* A ref is a branch or a tag, never both: tags and branches of one name must not be confused. */
static void settle(struct event *e, unsigned needs)
{
    if (needs & NEED_TAG)
        e->branch = NULL;
    else
        e->tag = NULL;
    if (e->kind == EVENT_BRANCH && event_commit_is_zero(e->list_commit)) {
        e->kind = EVENT_BRANCH_DELETED;
        e->list_commit = e->order_commit = e->staged_commit = NULL;
        return;
    }
    if (!(needs & NEED_COMMIT)) {
        e->list_commit = e->order_commit = NULL;
        return;
    }
    if (!e->order_commit)
        e->order_commit = e->list_commit;
    if (!e->staged_commit)
        e->staged_commit = e->list_commit;
    /* The commit may be a tag object, which git peels. */
    e->confirm = e->kind == EVENT_TAG;
}

static int read_event(const struct js *v, const struct generic_kind *kind, struct event *e,
                      struct arena *a, struct err *err)
{
    e->kind = kind->kind;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (read_field(v, &fields[i], a, e, err) != 0)
            return -1;
    if (read_time(v, e, a, err) != 0 || read_ref(v, e, a, err) != 0 ||
        check_needs(e, kind->needs, err) != 0)
        return -1;
    if ((kind->needs & NEED_IMAGES) && read_images(v, e, a, err) != 0)
        return -1;
    e->title = event_text(a, js_str(v, "title"));
    e->actor = event_text(a, js_str(v, "actor"));
    settle(e, kind->needs);
    return 0;
}

int generic_parse_body(const struct forge_conf *conf, const struct http_req *req, bool staged_only,
                       struct arena *a, struct event_list *events, const char **ignored,
                       struct err *err)
{
    CLEANUP_JS struct js *v = payload_json(req, err);
    if (!v)
        return -1;
    const char *name = js_str(v, "kind");
    if (str_empty(name))
        return wrong(err, "kind");
    if (str_eq(name, "ping")) {
        *ignored = "ping";
        return 0;
    }
    const struct generic_kind *kind = NULL;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(name, kinds[i].name))
            kind = &kinds[i];
    if (!kind || (staged_only && kind->kind != EVENT_STAGED)) {
        *ignored = arena_printf(a, "the kind \"%s\" means nothing %s", event_text(a, name),
                                kind ? "to a source of this type" : "here");
        return 0;
    }
    struct event e = {.forge = conf->name};
    if (read_event(v, kind, &e, a, err) != 0)
        return -1;
    return payload_add(events, &e, a, err);
}

static int generic_parse(const struct forge_conf *conf, const struct http_req *req, struct arena *a,
                         struct event_list *events, const char **ignored, struct err *err)
{
    return generic_parse_body(conf, req, false, a, events, ignored, err);
}

static bool generic_verify(const struct forge_conf *conf, const struct http_req *req,
                           const char *path_rest, int64_t now_s)
{
    return str_empty(path_rest) && signature_standard_ok(req, &conf->hook_secrets, now_s);
}

static enum forge_class generic_classify(const struct http_req *req)
{
    (void)req;
    return FORGE_STORE;
}

static struct js *sample_body(const struct event *e, int64_t now_s, struct arena *a,
                              struct err *err)
{
    const struct generic_kind *kind = NULL;
    for (size_t i = 0; e && i < ARRAY_LEN(kinds); i++)
        if (kinds[i].kind == e->kind)
            kind = &kinds[i];
    struct js *v = js_object();
    js_put_str(v, "kind", kind ? kind->name : "ping");
    for (size_t i = 0; e && i < ARRAY_LEN(fields); i++)
        js_put_str(v, fields[i].name, *(const char *const *)((const char *)e + fields[i].offset));
    if (!e)
        return v;
    js_put_int(v, "merged_at", e->happened_at ? e->happened_at : now_s);
    struct js *images = js_array();
    list_each (struct event_image, image, &e->images) {
        struct js *item = js_object();
        js_put_str(item, "repository", image->repository);
        js_put_str(item, "tag", image->tag);
        js_put_str(item, "digest", image->digest);
        js_push(images, item);
    }
    if (e->images.n)
        js_put(v, "images", images);
    else
        js_free(images);
    struct event checked = {0};
    if (!kind)
        (void)err_set(err, ERR_INPUT, 0, "there is no kind for \"%s\" in the generic form",
                      event_kind_name(e->kind));
    else if (read_event(v, kind, &checked, a, err) == 0 && event_validate(&checked, err) == 0)
        return v;
    js_free(v);
    return NULL;
}

int generic_sample(const struct forge_conf *conf, const struct event *e, int64_t now_s,
                   struct arena *a, struct http_req *out, struct err *err)
{
    const char *secret = forge_secret(conf, err);
    if (!secret)
        return -1;
    CLEANUP_JS struct js *v = sample_body(e, now_s, a, err);
    if (!v)
        return -1;
    char digest[CRYPT_SHA256_HEX];
    const char *body = forge_sample_post(conf, v, now_s, a, digest, out);
    return signature_standard_add(&out->headers, secret, arena_printf(a, "test_%.24s", digest),
                                  now_s, body, strlen(body), a, err);
}

static const char *const generic_headers[] = {
    "webhook-id",   "webhook-timestamp", "svix-id", "svix-timestamp",
    "Content-Type", "User-Agent",        NULL,
};

const struct forge forge_generic = {
    .type = "git",
    .merge_is_push = true,
    .proof = "webhook-signature",
    .verify = generic_verify,
    .classify = generic_classify,
    .delivery_id = signature_standard_id,
    .keep_headers = generic_headers,
    .parse = generic_parse,
    .confirm = forge_use_git,
    .file = forge_use_git,
    .tree = forge_use_git,
    .sample = generic_sample,
};
