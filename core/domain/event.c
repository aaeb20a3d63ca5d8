#include "core/domain/event.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#define EVENT_VERSION 1
#define EVENT_LAST_SECOND 253402300799 /* 9999-12-31T23:59:59Z */

static const char *const kind_names[EVENT__MAX] = {
    [EVENT_OPENED] = "opened",     [EVENT_GATED] = "gated",
    [EVENT_MERGED] = "merged",     [EVENT_CLOSED] = "closed",
    [EVENT_BRANCH] = "branch",     [EVENT_BRANCH_DELETED] = "branch-deleted",
    [EVENT_TAG] = "tag",           [EVENT_TAG_DELETED] = "tag-deleted",
    [EVENT_STAGED] = "staged",     [EVENT_TIMER] = "timer",
    [EVENT_ROLLBACK] = "rollback",
};

const char *event_kind_name(enum event_kind kind)
{
    return (unsigned)kind < EVENT__MAX ? kind_names[kind] : "unknown";
}

bool event_kind_from_name(const char *name, enum event_kind *out)
{
    for (size_t i = 0; i < EVENT__MAX; i++)
        if (str_eq(name, kind_names[i])) {
            *out = (enum event_kind)i;
            return true;
        }
    return false;
}

/* At most max bytes, no control byte and, unless blank_ok, no blank; none of the bytes in `not`. */
static bool bytes_ok(const char *s, size_t max, bool blank_ok, const char * not )
{
    size_t len = s ? strlen(s) : 0;
    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (str_control(s + i) || (s[i] == ' ' && !blank_ok) || strchr(not, s[i]))
            return false;
    }
    return true;
}

static bool ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s > 0x7e)
            return false;
    return true;
}

bool event_project_ok(const char *s)
{
    if (!bytes_ok(s, LIMIT_PROJECT, false, "\\?#%*:<>|\"$") || *s == '-' || strstr(s, ".."))
        return false;
    for (const char *part = s;; part++) {
        size_t len = strcspn(part, "/");
        if (len == 0 || (len == 1 && *part == '.'))
            return false;
        part += len;
        if (!*part)
            return true;
    }
}

bool event_ref_ok(const char *s)
{
    if (!bytes_ok(s, LIMIT_REF, false, "~^:?*[\\") || *s == '-' || strstr(s, "..") ||
        strstr(s, "@{") || str_eq(s, "@") || str_ends(s, "."))
        return false;
    for (const char *part = s;; part++) {
        size_t len = strcspn(part, "/");
        if (len == 0 || *part == '.' || (len >= 5 && memcmp(part + len - 5, ".lock", 5) == 0))
            return false;
        part += len;
        if (!*part)
            return true;
    }
}

bool event_commit_ok(const char *s)
{
    return str_is_hex(s, 40) || str_is_hex(s, 64);
}

bool event_commit_is_zero(const char *s)
{
    return event_commit_ok(s) && s[strspn(s, "0")] == '\0';
}

bool event_change_ok(const char *s)
{
    uint64_t number;
    return s && *s != '0' && strlen(s) <= 18 && str_to_u64(s, &number);
}

bool event_url_ok(const char *s)
{
    return (str_starts(s, "https://") || str_starts(s, "http://")) &&
           bytes_ok(s, LIMIT_EVENT_URL, false, "\"'<>\\`") && ascii(s);
}

bool event_run_id_ok(const char *s)
{
    return bytes_ok(s, LIMIT_RUN_ID, false, "\"'<>\\`") && ascii(s);
}

const char *event_text(struct arena *a, const char *s)
{
    if (!s)
        return NULL;
    size_t len = strlen(s);
    if (len > LIMIT_EVENT_TEXT) {
        len = LIMIT_EVENT_TEXT;
        while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
            len--;
    }
    char *text = arena_strndup(a, s, len);
    for (char *p = text; *p; p++)
        for (size_t n = str_control(p); n; n--)
            p[n - 1] = ' ';
    return text;
}

static bool text_ok(const char *s)
{
    return !*s || bytes_ok(s, LIMIT_EVENT_TEXT, true, "");
}

static bool forge_ok(const char *s)
{
    return bytes_ok(s, LIMIT_NAME, false, "/\\\"'<>");
}

static bool commit_set_ok(const char *s)
{
    return event_commit_ok(s) && !event_commit_is_zero(s);
}

/* Gerrit counts patchsets, others name them by the head's commit. */
static bool patchset_ok(const char *s)
{
    return event_change_ok(s) || commit_set_ok(s);
}

static bool target_ok(const char *s)
{
    return bytes_ok(s, LIMIT_NAME + LIMIT_TAG + 1, false, "\"'<>\\`") && ascii(s);
}

/* Every text field: its name in JSON and in messages, its place, its rule. */
static const struct field {
    const char *name;
    size_t offset;
    bool (*ok)(const char *s);
} fields[] = {
    {"forge", offsetof(struct event, forge), forge_ok},
    {"project", offsetof(struct event, project), event_project_ok},
    {"branch", offsetof(struct event, branch), event_ref_ok},
    {"tag", offsetof(struct event, tag), event_ref_ok},
    {"change", offsetof(struct event, change), event_change_ok},
    {"patchset", offsetof(struct event, patchset), patchset_ok},
    {"change_url", offsetof(struct event, change_url), event_url_ok},
    {"order_commit", offsetof(struct event, order_commit), commit_set_ok},
    {"list_commit", offsetof(struct event, list_commit), commit_set_ok},
    {"staged_commit", offsetof(struct event, staged_commit), commit_set_ok},
    {"tree", offsetof(struct event, tree), commit_set_ok},
    {"run_id", offsetof(struct event, run_id), event_run_id_ok},
    {"default_branch", offsetof(struct event, default_branch), event_ref_ok},
    {"title", offsetof(struct event, title), text_ok},
    {"actor", offsetof(struct event, actor), text_ok},
    {"target", offsetof(struct event, target), target_ok},
    {"hold", offsetof(struct event, hold), text_ok},
};

static const char **field_of(struct event *e, const struct field *f)
{
    return (const char **)((char *)e + f->offset);
}

static const char *field_get(const struct event *e, const struct field *f)
{
    return *(const char *const *)((const char *)e + f->offset);
}

const char *event_to_json(const struct event *e, struct arena *a)
{
    CLEANUP_JS struct js *v = js_object();
    js_put_int(v, "v", EVENT_VERSION);
    js_put_str(v, "kind", event_kind_name(e->kind));
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        js_put_str(v, fields[i].name, field_get(e, &fields[i]));
    if (e->happened_at)
        js_put_int(v, "happened_at", e->happened_at);
    if (e->confirm)
        js_put_bool(v, "confirm", true);
    if (e->of_task)
        js_put_int(v, "of_task", e->of_task);
    if (e->images.n) {
        struct js *images = js_array();
        list_each (struct event_image, image, &e->images) {
            struct js *item = js_object();
            js_put_str(item, "repository", image->repository);
            js_put_str(item, "tag", image->tag);
            js_put_str(item, "digest", image->digest);
            js_push(images, item);
        }
        js_put(v, "images", images);
    }
    return js_dump(v, a);
}

static int stored_wrong(struct err *err, const char *field)
{
    return err_set(err, ERR_PERM, 0, "the stored event is damaged: \"%s\" is missing or wrong",
                   field);
}

/* A member that is absent stays NULL; one that is no string is an error. */
static int read_text(const struct js *v, const char *name, struct arena *a, const char **out,
                     struct err *err)
{
    if (!js_get(v, name))
        return 0;
    const char *text = js_str(v, name);
    if (!text)
        return stored_wrong(err, name);
    *out = arena_strdup(a, text);
    return 0;
}

static int read_images(const struct js *v, struct arena *a, struct event_images *out,
                       struct err *err)
{
    const struct js *images = js_get(v, "images");
    if (images && !js_is_array(images))
        return stored_wrong(err, "images");
    for (size_t i = 0; i < js_len(images); i++) {
        const struct js *item = js_at(images, i);
        struct event_image *image = list_push(a, out);
        if (!js_is_object(item) || read_text(item, "repository", a, &image->repository, err) != 0 ||
            read_text(item, "tag", a, &image->tag, err) != 0 ||
            read_text(item, "digest", a, &image->digest, err) != 0)
            return stored_wrong(err, "images");
    }
    return 0;
}

int event_from_json(const char *text, struct arena *a, struct event *out, struct err *err)
{
    struct event e = {0};
    CLEANUP_JS struct js *v = js_parse(text, strlen(text), err);
    if (!v) {
        if (err)
            err->kind = ERR_PERM;
        return err_wrap(err, "the stored event is damaged");
    }
    int64_t version = js_int(v, "v", 0);
    if (version > EVENT_VERSION)
        return err_set(err, ERR_PERM, 0,
                       "the stored event has version %lld, this program knows %d: a newer slipway "
                       "wrote it",
                       (long long)version, EVENT_VERSION);
    if (version != EVENT_VERSION)
        return stored_wrong(err, "v");
    if (!event_kind_from_name(js_str(v, "kind"), &e.kind))
        return stored_wrong(err, "kind");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (read_text(v, fields[i].name, a, field_of(&e, &fields[i]), err) != 0)
            return -1;
    e.happened_at = js_int(v, "happened_at", 0);
    if (js_get(v, "happened_at") && e.happened_at == 0)
        return stored_wrong(err, "happened_at");
    e.confirm = js_bool(v, "confirm");
    e.of_task = js_int(v, "of_task", 0);
    if (e.of_task < 0 || (js_get(v, "of_task") && e.of_task == 0))
        return stored_wrong(err, "of_task");
    if (read_images(v, a, &e.images, err) != 0)
        return -1;
    *out = e;
    return 0;
}

static bool image_ok(const struct event_image *image)
{
    char host[LIMIT_NAME + 1];
    const char *slash = image->repository ? strchr(image->repository, '/') : NULL;
    if (!slash || (size_t)(slash - image->repository) >= sizeof host)
        return false;
    size_t len = (size_t)(slash - image->repository);
    memcpy(host, image->repository, len);
    host[len] = '\0';
    return strlen(image->repository) <= LIMIT_NAME && imageref_host_ok(host) &&
           imageref_name_ok(slash + 1) && image->tag && imageref_tag_ok(image->tag) &&
           image->digest && imageref_digest_ok(image->digest);
}

int event_validate(const struct event *e, struct err *err)
{
    if ((unsigned)e->kind >= EVENT__MAX)
        return err_set(err, ERR_INPUT, 0, "the event's kind is unknown");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *value = field_get(e, &fields[i]);
        if (value && !fields[i].ok(value))
            return err_set(err, ERR_INPUT, 0, "the event's %s is malformed", fields[i].name);
    }
    if (e->happened_at < 0 || e->happened_at > EVENT_LAST_SECOND)
        return err_set(err, ERR_INPUT, 0, "the event's time is out of range");
    if (e->of_task < 0)
        return err_set(err, ERR_INPUT, 0, "the event's of_task is no number of a task");
    if (e->images.n > LIMIT_IMAGES)
        return err_set(err, ERR_INPUT, 0, "the event names more than %d images", LIMIT_IMAGES);
    for (size_t i = 0; i < e->images.n; i++)
        if (!image_ok(&e->images.at[i]))
            return err_set(err, ERR_INPUT, 0,
                           "the event's image %zu is malformed: it needs a repository with its "
                           "registry in front, a tag and a digest",
                           i + 1);
    return 0;
}

bool event_set_ref(struct event *e, struct arena *a, const char *ref)
{
    const char *branch = str_after(ref, "refs/heads/"), *tag = str_after(ref, "refs/tags/");
    if (str_empty(branch) && str_empty(tag))
        return false;
    if (branch)
        e->branch = arena_strdup(a, branch);
    else
        e->tag = arena_strdup(a, tag);
    return true;
}
