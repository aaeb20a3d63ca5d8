#include "core/domain/index_write.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"

#define REMOVING_KEY "org.slipway.removing"
#define REMOVING_TYPE "application/vnd.org.slipway.removing.v1"

/* A value that another document may own. */
static struct js *copy_of(const struct js *v, struct arena *a)
{
    const char *text = js_dump(v, a);
    return js_parse(text, strlen(text), NULL);
}

const char *index_write(const struct js *present, bool (*keep)(const struct js *, const void *),
                        const void *user, struct js *entry, struct arena *a, struct err *err)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *list = js_array();
    struct str_list keys = {0};
    const struct js *old = js_get(present, "manifests");
    for (size_t i = 0; i < js_len(old); i++)
        if (!keep || keep(js_at(old, i), user))
            js_push(list, copy_of(js_at(old, i), a));
    js_push(list, entry);
    size_t n = js_len(list);
    js_put_int(doc, "schemaVersion", 2);
    js_put_str(doc, "mediaType", MANIFEST_OCI_INDEX);
    js_put(doc, "manifests", list);
    (void)js_keys(present, a, &keys);
    for (size_t i = 0; i < keys.n; i++)
        if (!js_member(doc, keys.at[i]))
            js_put(doc, keys.at[i], copy_of(js_member(present, keys.at[i]), a));
    const char *text = js_dump(doc, a);
    if (n <= LIMIT_DESCRIPTORS && strlen(text) <= LIMIT_MANIFEST)
        return text;
    (void)err_set(err, ERR_PERM, 0,
                  "the index is full: with one more it has %zu entries and %zu bytes", n,
                  strlen(text));
    return NULL;
}

struct js *index_entry(const char *media_type, const char *digest, int64_t size,
                       const char *artifact_type)
{
    struct js *entry = js_object();
    js_put_str(entry, "mediaType", media_type);
    js_put_str(entry, "digest", digest);
    js_put_int(entry, "size", size);
    js_put_str(entry, "artifactType", str_empty(artifact_type) ? NULL : artifact_type);
    return entry;
}

struct referrer manifest_referrer(const struct manifest *m, const char *digest, int64_t size)
{
    return (struct referrer){
        .media_type = m->media_type,
        .digest = digest,
        .size = size,
        .artifact_type = m->artifact_type ? m->artifact_type : m->config.media_type,
        .annotations = m->annotations,
    };
}

static bool listed(const struct manifest *m, const char *digest)
{
    list_each (struct descriptor, d, &m->children)
        if (str_eq(d->digest, digest))
            return true;
    return false;
}

const char *manifest_referrers_index(const void *present, size_t len, const struct referrer *add,
                                     struct arena *a, struct err *err)
{
    struct js *doc CLEANUP_JS = NULL;
    struct js *annotations CLEANUP_JS = NULL;
    if (str_empty(add->media_type) || !add->digest || !imageref_digest_ok(add->digest) ||
        add->size < 0) {
        (void)err_set(err, ERR_BUG, 0, "what is to be listed as a referrer is no descriptor");
        return NULL;
    }
    if (present) {
        struct manifest m;
        if (manifest_parse(present, len, MANIFEST_OCI_INDEX, a, &m, err) < 0)
            return NULL;
        if (listed(&m, add->digest))
            return arena_strndup(a, present, len);
        doc = js_parse(present, len, NULL);
    }
    if (add->annotations) {
        annotations = js_parse(add->annotations, strlen(add->annotations), err);
        if (!js_is_object(annotations)) {
            (void)err_set(err, ERR_BUG, 0, "the annotations of a referrer are no JSON object");
            return NULL;
        }
    }
    struct js *entry = index_entry(add->media_type, add->digest, add->size, add->artifact_type);
    js_put(entry, "annotations", STEAL(annotations));
    return index_write(doc, NULL, NULL, entry, a, err);
}

static struct js *platform_member(const char *platform, struct arena *a)
{
    static const char *const keys[] = {"os", "architecture", "variant"};
    struct js *out = js_object();
    struct str_list parts = str_split(a, platform, '/');
    /* Alphabetical, as the image-spec's own examples have it. */
    static const size_t order[] = {1, 0, 2};
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (order[i] < parts.n)
            js_put_str(out, keys[order[i]], parts.at[order[i]]);
    return out;
}

const char *manifest_platform_index(const struct manifest_child *children, size_t n,
                                    struct arena *a, struct err *err)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *list = js_array();
    for (size_t i = 0; i < n; i++) {
        const struct manifest_child *c = &children[i];
        struct js *entry = index_entry(c->media_type, c->digest, c->size, NULL);
        js_put(entry, "platform", platform_member(c->platform, a));
        js_push(list, entry);
    }
    js_put_int(doc, "schemaVersion", 2);
    js_put_str(doc, "mediaType", MANIFEST_OCI_INDEX);
    js_put(doc, "manifests", list);
    const char *text = js_dump(doc, a);
    if (n <= LIMIT_DESCRIPTORS && strlen(text) <= LIMIT_MANIFEST)
        return text;
    (void)err_set(err, ERR_PERM, 0, "an index of %zu images is too large", n);
    return NULL;
}

const char *manifest_empty_index(const char *nonce, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *annotations = js_object();
    js_put_int(doc, "schemaVersion", 2);
    js_put_str(doc, "mediaType", MANIFEST_OCI_INDEX);
    js_put(doc, "manifests", js_array());
    js_put_str(annotations, REMOVING_KEY, nonce);
    js_put(doc, "annotations", annotations);
    return js_dump(doc, a);
}

static struct js *empty_descriptor(void)
{
    return index_entry(MANIFEST_EMPTY_TYPE, MANIFEST_EMPTY_CONFIG_DIGEST,
                       (int64_t)strlen(MANIFEST_EMPTY_CONFIG), NULL);
}

const char *manifest_dummy_image(const char *nonce, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *annotations = js_object(), *layers = js_array();
    js_push(layers, empty_descriptor());
    js_put_int(doc, "schemaVersion", 2);
    js_put_str(doc, "mediaType", MANIFEST_OCI);
    js_put_str(doc, "artifactType", REMOVING_TYPE);
    js_put(doc, "config", empty_descriptor());
    js_put(doc, "layers", layers);
    js_put_str(annotations, REMOVING_KEY, nonce);
    js_put(doc, "annotations", annotations);
    return js_dump(doc, a);
}

/* What every placeholder has beside its annotation, and nothing more. */
static bool is_dummy(const struct js *doc)
{
    const struct js *layers = js_get(doc, "layers");
    if (str_eq(js_str(doc, "mediaType"), MANIFEST_OCI_INDEX))
        return js_is_array(js_get(doc, "manifests")) && js_len(js_get(doc, "manifests")) == 0;
    return str_eq(js_str(doc, "mediaType"), MANIFEST_OCI) &&
           str_eq(js_str(doc, "artifactType"), REMOVING_TYPE) && js_len(layers) == 1 &&
           str_eq(js_str(js_at(layers, 0), "digest"), MANIFEST_EMPTY_CONFIG_DIGEST) &&
           str_eq(js_str(doc, "config.digest"), MANIFEST_EMPTY_CONFIG_DIGEST);
}

bool manifest_is_placeholder(const void *bytes, size_t len)
{
    struct js *doc CLEANUP_JS = js_parse(bytes, len, NULL);
    if (!doc || !is_dummy(doc))
        return false;
    /* A path cannot reach the annotation: its name holds dots. Its exact text decides. */
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct str_list keys = {0}, names = {0};
    const struct js *annotations = js_get(doc, "annotations");
    if (!js_is_object(annotations))
        return false;
    (void)js_keys(doc, &scratch, &keys);
    (void)js_keys(annotations, &scratch, &names);
    return keys.n == (js_get(doc, "layers") ? 6 : 4) && names.n == 1 &&
           str_eq(names.at[0], REMOVING_KEY);
}
