#include "core/domain/zuul_builds.h"

#include "core/base/httpmsg.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#define CONTAINER_IMAGE "container_image"
#define VAR_API "promote_container_image_api"
#define VAR_PIPELINE "promote_container_image_pipeline"
#define VAR_JOB "promote_container_image_job"
#define VAR_QUERY "promote_container_image_query"
#define TENANT "zuul.tenant"

enum { SHOWN = 120, FORM_NAME = 64, UUID_MOST = 64 };

/* ---- {{ name }} ---- */

/* The text behind "{{ name }}", which begins at s; the name goes to `name`. NULL when it does not
 * end, or holds anything but one name. */
static const char *form_end(const char *s, char name[FORM_NAME])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_.";
    s += strlen("{{");
    s += strspn(s, " ");
    size_t len = strspn(s, letters);
    if (!len || len >= FORM_NAME)
        return NULL;
    memcpy(name, s, len);
    name[len] = '\0';
    s += len;
    return str_after(s + strspn(s, " "), "}}");
}

/* What a form stands for; `known` false when it is none of the forms. */
static const char *value_of(const struct zuul_query *q, const char *name, bool *known)
{
    const struct {
        const char *name, *value;
    } forms[] = {
        {"zuul.change", q->change},
        {"zuul.patchset", q->patchset},
        {"zuul.project.name", q->project},
        {VAR_PIPELINE, q->pipeline},
        {VAR_JOB, q->job},
    };
    *known = true;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (str_eq(forms[i].name, name))
            return forms[i].value;
    *known = false;
    return NULL;
}

static int unknown_form(const char *at, struct err *err)
{
    const char *end = strstr(at, "}}");
    size_t len = end ? (size_t)(end + 2 - at) : strlen(at);
    return err_set(err, ERR_CONFIG, 0,
                   VAR_QUERY ": '%.*s' is not a form that can stand here; known are "
                             "{{ zuul.change }}, {{ zuul.patchset }}, {{ zuul.project.name }}, "
                             "{{ " VAR_PIPELINE " }} and {{ " VAR_JOB " }}",
                   (int)(len < SHOWN ? len : SHOWN), at);
}

/* Of the text between forms. */
static int check_literal(const char *s, size_t len, struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] <= ' ' || s[i] >= 127)
            return err_set(err, ERR_CONFIG, 0,
                           VAR_QUERY " must be visible ASCII: write others as %%XX, a blank as "
                                     "%%20");
        if (s[i] == '#')
            return err_set(err, ERR_CONFIG, 0,
                           VAR_QUERY " must not hold '#': nothing behind it would be sent");
    }
    return 0;
}

/* q NULL: only looks whether the text is all right; else *out gets the text. */
static int expand(const char *text, const struct zuul_query *q, struct strbuf *out, struct err *err)
{
    static const struct zuul_query nothing;
    while (*text) {
        const char *open = strstr(text, "{{");
        size_t len = open ? (size_t)(open - text) : strlen(text);
        char name[FORM_NAME];
        bool known = false;
        if (check_literal(text, len, err) < 0)
            return -1;
        if (memmem(text, len, "{%", 2))
            return unknown_form(strstr(text, "{%"), err);
        (void)strbuf_add(out, text, len);
        if (!open)
            break;
        text = form_end(open, name);
        const char *value = text ? value_of(q ? q : &nothing, name, &known) : NULL;
        if (!text || !known)
            return unknown_form(open, err);
        if (q && str_empty(value))
            return err_set(err, ERR_CONFIG, 0, VAR_QUERY ": %s is not known for this event", name);
        if (q)
            str_urlencode(out, value, false);
    }
    return 0;
}

int zuul_query_check(const char *text, struct err *err)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(LIMIT_ZUUL_QUERY);
    if (strlen(text) > LIMIT_ZUUL_QUERY)
        return err_set(err, ERR_CONFIG, 0, VAR_QUERY " is longer than %zu bytes", LIMIT_ZUUL_QUERY);
    return expand(text, NULL, &out, err);
}

const char *zuul_query_expand(const char *text, const struct zuul_query *q, struct arena *a,
                              struct err *err)
{
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(LIMIT_ZUUL_QUERY);
    if (expand(text, q, &out, err) < 0)
        return NULL;
    if (out.full) {
        (void)err_set(err, ERR_CONFIG, 0, VAR_QUERY " is longer than %zu bytes", LIMIT_ZUUL_QUERY);
        return NULL;
    }
    return strbuf_to_arena(&out, a);
}

/* ---- which Zuul, and what it is asked ---- */

/* {{ zuul.tenant }}, which the roles' own example has, stands for one part of the path. */
static bool api_means(const char *asked, size_t len, const char *conf)
{
    char name[FORM_NAME];
    const char *open = memmem(asked, len, "{{", 2);
    size_t conf_len = strlen(conf);
    if (!open)
        return conf_len == len && memcmp(conf, asked, len) == 0;
    const char *behind = form_end(open, name);
    if (!behind || behind > asked + len || !str_eq(name, TENANT))
        return false;
    size_t before = (size_t)(open - asked), after = (size_t)(asked + len - behind);
    return conf_len > before + after && memcmp(conf, asked, before) == 0 &&
           memcmp(conf + conf_len - after, behind, after) == 0 &&
           !memchr(conf + before, '/', conf_len - before - after);
}

static size_t without_slashes(const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    return len;
}

const struct zuul_conf *zuul_select(const struct zuul_confs *confs, const char *api,
                                    struct err *err)
{
    const struct zuul_conf *found = NULL;
    struct strbuf names CLEANUP_STRBUF = STRBUF_INIT(600);
    size_t n = 0;
    if (!confs || !confs->n) {
        (void)err_set(err, ERR_CONFIG, 0,
                      "the service's configuration has no entry under `zuul`, so no Zuul is asked");
        return NULL;
    }
    list_each (const struct zuul_conf, conf, confs) {
        (void)strbuf_addf(&names, "%s%s (%s)", names.len ? ", " : "", conf->name, conf->api);
        if (api && !api_means(api, without_slashes(api), conf->api))
            continue;
        found = conf;
        n++;
    }
    if (n == 1)
        return found;
    if (!api)
        (void)err_set(err, ERR_CONFIG, 0, VAR_API " is missing; it selects one of: %s", names.buf);
    else
        (void)err_set(err, ERR_CONFIG, 0, VAR_API " '%.*s' %s: %s", SHOWN, api,
                      n ? "means several of the entries under `zuul`"
                        : "is none of the entries under `zuul`",
                      names.buf);
    return NULL;
}

static int add_param(struct strbuf *url, const char *key, const char *value, const char *what,
                     struct err *err)
{
    if (str_empty(value))
        return err_set(err, ERR_CONFIG, 0, "Zuul can't be asked: %s is %s", what,
                       str_starts(what, "promote_") ? "missing" : "not known for this event");
    (void)strbuf_addf(url, "&%s=", key);
    str_urlencode(url, value, false);
    return 0;
}

/* A query of the repository's own asks for its own project, like every other. */
static int add_custom(struct strbuf *url, const struct zuul_query *q, struct arena *a,
                      struct err *err)
{
    const char *project = http_query_param(a, q->custom, "project");
    if (check_literal(q->custom, strlen(q->custom), err) < 0)
        return -1;
    if (project && !str_eq(project, q->project))
        return err_set(err, ERR_CONFIG, 0,
                       VAR_QUERY " asks for builds of '%.*s'; only those of %s may be taken", SHOWN,
                       project, q->project);
    if (*q->custom)
        (void)strbuf_addf(url, "&%s", q->custom);
    return 0;
}

const char *zuul_builds_url(const struct zuul_conf *conf, const struct zuul_query *q,
                            struct arena *a, struct err *err)
{
    struct strbuf url CLEANUP_STRBUF = STRBUF_INIT(2 * LIMIT_ZUUL_QUERY);
    (void)strbuf_addf(&url, "%s/builds?result=SUCCESS", conf->api);
    if (add_param(&url, "project", q->project, "the project", err) < 0)
        return NULL;
    if (q->custom) {
        if (add_custom(&url, q, a, err) < 0)
            return NULL;
    } else if (add_param(&url, "change", q->change, "the change", err) < 0 ||
               (q->patchset && add_param(&url, "patchset", q->patchset, "patchset", err) < 0) ||
               add_param(&url, "pipeline", q->pipeline, VAR_PIPELINE, err) < 0 ||
               add_param(&url, "job_name", q->job, VAR_JOB, err) < 0) {
        return NULL;
    }
    if (url.full) {
        (void)err_set(err, ERR_CONFIG, 0, "the question to Zuul is longer than %zu bytes", url.max);
        return NULL;
    }
    return strbuf_to_arena(&url, a);
}

/* ---- the answer ---- */

/* What a build is about stands below `ref`; up to Zuul 9 beside it, where `ref` was a name. */
static const char *about(const struct js *build, const char *key, struct arena *a)
{
    const struct js *ref = js_member(build, "ref");
    return js_text(js_is_object(ref) ? ref : build, key, a);
}

/* Zuul takes `*` for anything in some parameters; what it found is then what was asked for. */
static bool fits(const char *asked, const char *found)
{
    return !asked || !found || strchr(asked, '*') || str_eq(asked, found);
}

static bool is_wanted(const struct js *build, const struct zuul_query *q, struct arena *a)
{
    const struct js *final = js_member(build, "final");
    if (!str_eq(js_member_str(build, "result"), "SUCCESS") ||
        (final && !js_is_null(final) && !js_bool(final, "")) ||
        !str_eq(about(build, "project", a), q->project))
        return false;
    const char *change = about(build, "change", a), *patchset = about(build, "patchset", a);
    if (q->change && change && !str_eq(q->change, change))
        return false;
    return q->custom || ((!q->patchset || !patchset || str_eq(q->patchset, patchset)) &&
                         fits(q->pipeline, js_member_str(build, "pipeline")) &&
                         fits(q->job, js_member_str(build, "job_name")));
}

static bool has_images(const struct js *build)
{
    const struct js *artifacts = js_member(build, "artifacts");
    for (size_t i = 0; i < js_len(artifacts); i++)
        if (str_eq(js_str(js_at(artifacts, i), "metadata.type"), CONTAINER_IMAGE))
            return true;
    return false;
}

/* By Zuul's own count, else by time; where neither says, the list has the newest first. */
static bool is_newer(const struct js *build, const struct js *than)
{
    int64_t mine = js_int(build, "_id", 0), other = js_int(than, "_id", 0);
    if (mine > 0 && other > 0)
        return mine > other;
    const char *ended = js_str(build, "end_time"), *then = js_str(than, "end_time");
    return ended && then && strcmp(ended, then) > 0;
}

static bool uuid_ok(const char *s)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
    return !str_empty(s) && strlen(s) <= UUID_MOST && s[strspn(s, letters)] == '\0';
}

/* "host/name", or the bare name as some lists have it. *path is the part behind the host. */
static const char *read_repository(const char *text, struct arena *a, const char **path)
{
    struct imageref ref;
    struct err unused = ERR_INIT;
    *path = text;
    if (imageref_parse(text, NULL, a, &ref, &unused) < 0)
        return imageref_name_ok(text) ? arena_strdup(a, text) : NULL;
    if (ref.tag || ref.digest)
        return NULL;
    *path = strchr(text, '/') + 1;
    return imageref_repository(&ref, a);
}

/* A build writes <repository>:<its uuid>_<tag> below whatever the registry puts before; what lies
 * elsewhere may be another project's. */
static bool is_own(const struct imageref *ref, const char *path, const char *uuid, const char *tag,
                   struct arena *a)
{
    const char *own = arena_printf(a, "%s_%s", uuid, tag);
    return (str_eq(ref->name, path) || str_ends(ref->name, arena_printf(a, "/%s", path))) &&
           (ref->tag || ref->digest) && (!ref->tag || str_eq(ref->tag, own));
}

static int bad_artifact(struct err *err, const struct js *artifact, const char *uuid,
                        struct arena *a, const char *why)
{
    const char *name = js_member_str(artifact, "name");
    return err_set(err, ERR_PERM, 0, "artifact '%.*s' of Zuul's build %s %s", SHOWN,
                   name ? str_printable(a, name) : "", uuid, why);
}

static int read_artifact(const struct js *artifact, struct zuul_build *out, struct arena *a,
                         struct err *err)
{
    const char *repository = js_str(artifact, "metadata.repository"), *path;
    const char *tag = arena_strdup(a, js_text(artifact, "metadata.tag", a)),
               *url = js_member_str(artifact, "url");
    struct imageref_place place;
    struct err cause = ERR_INIT;
    if (!repository || !(repository = read_repository(repository, a, &path)))
        return bad_artifact(err, artifact, out->uuid, a, "names no repository in its metadata");
    if (!imageref_tag_ok(tag))
        return bad_artifact(err, artifact, out->uuid, a, "names no tag in its metadata");
    if (str_empty(url))
        return bad_artifact(err, artifact, out->uuid, a, "has no url");
    if (imageref_parse_transport(url, NULL, a, &place, &cause) < 0)
        return bad_artifact(err, artifact, out->uuid, a,
                            arena_printf(a, "has a url that is none: %s", cause.text));
    if (place.kind != IMAGEREF_REGISTRY || !is_own(&place.ref, path, out->uuid, tag, a))
        return bad_artifact(err, artifact, out->uuid, a,
                            arena_printf(a,
                                         "does not lie at .../%s:%s_%s, where a build leaves its "
                                         "own images, but at %.*s",
                                         path, out->uuid, tag, SHOWN, str_printable(a, url)));
    const struct zuul_artifact made = {.repository = repository,
                                       .tag = tag,
                                       .host = place.ref.host,
                                       .name = place.ref.name,
                                       .ref = place.ref.digest ? place.ref.digest : place.ref.tag};
    const struct zuul_artifact *same = zuul_artifact_find(out, repository, tag);
    if (!same || !str_eq(same->repository, repository))
        *list_push(a, out) = made;
    else if (!str_eq(same->host, made.host) || !str_eq(same->name, made.name) ||
             !str_eq(same->ref, made.ref))
        return bad_artifact(err, artifact, out->uuid, a, "is there twice, and means two images");
    return 0;
}

static int read_artifacts(const struct js *build, struct zuul_build *out, struct arena *a,
                          struct err *err)
{
    const struct js *artifacts = js_member(build, "artifacts");
    for (size_t i = 0; i < js_len(artifacts); i++) {
        const struct js *artifact = js_at(artifacts, i);
        if (!str_eq(js_str(artifact, "metadata.type"), CONTAINER_IMAGE))
            continue;
        if (out->n >= LIMIT_ZUUL_ARTIFACTS)
            return err_set(err, ERR_PERM, 0, "Zuul's build %s has more than %d images", out->uuid,
                           LIMIT_ZUUL_ARTIFACTS);
        if (read_artifact(artifact, out, a, err) < 0)
            return -1;
    }
    return 0;
}

int zuul_builds_pick(const char *text, size_t len, const struct zuul_query *q, struct arena *a,
                     struct zuul_build *out, struct err *err)
{
    struct err cause = ERR_INIT;
    struct js *list CLEANUP_JS = js_parse(text, len, &cause);
    const struct js *best = NULL;
    *out = (struct zuul_build){0};
    if (!list)
        return err_set(err, ERR_TEMP, 0, "Zuul's answer is no JSON: %s", cause.text);
    if (!js_is_array(list))
        return err_set(err, ERR_TEMP, 0, "Zuul's answer is no list of builds");
    for (size_t i = 0; i < js_len(list); i++) {
        const struct js *build = js_at(list, i);
        if (!js_is_object(build) || !uuid_ok(js_member_str(build, "uuid")))
            return err_set(err, ERR_TEMP, 0,
                           "Zuul's answer is no list of builds: item %zu has no uuid", i);
        if (is_wanted(build, q, a) && has_images(build) && (!best || is_newer(build, best)))
            best = build;
    }
    if (!best)
        return 0;
    out->uuid = arena_strdup(a, js_member_str(best, "uuid"));
    return read_artifacts(best, out, a, err);
}

const struct zuul_artifact *zuul_artifact_find(const struct zuul_build *b, const char *repository,
                                               const char *tag)
{
    const struct zuul_artifact *bare = NULL;
    const char *slash = strchr(repository, '/');
    list_each (const struct zuul_artifact, artifact, b) {
        if (!str_eq(artifact->tag, tag))
            continue;
        if (str_eq(artifact->repository, repository))
            return artifact;
        if (slash && str_eq(artifact->repository, slash + 1))
            bare = artifact;
    }
    return bare;
}
