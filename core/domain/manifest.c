#include "core/domain/manifest.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#define REMOVING_KEY "org.slipway.removing"

static const struct {
    const char *media_type;
    bool is_index;
} known_types[] = {
    {MANIFEST_OCI_INDEX, true},
    {MANIFEST_OCI, false},
    {MANIFEST_DOCKER_LIST, true},
    {MANIFEST_DOCKER, false},
};

/* Text from strangers goes into messages cut short and without control bytes. */
static const char *shown(const char *text, char out[100])
{
    size_t i = 0;
    for (; text && text[i] && i < 96; i++)
        out[i] = text[i] > ' ' && text[i] < 127 ? text[i] : '?';
    (void)snprintf(out + i, 100 - i, "%s", text && text[i] ? "..." : "");
    return out;
}

/* "type/subtype; charset=utf-8" without its parameters, in lower case; NULL when empty. */
static const char *bare_type(const char *content_type, struct arena *a)
{
    if (!content_type)
        return NULL;
    content_type += strspn(content_type, " \t");
    size_t len = strcspn(content_type, "; \t,");
    if (len == 0)
        return NULL;
    char *out = arena_strndup(a, content_type, len);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return out;
}

static int pick_type(const char *sent, const char *own, int64_t schema, struct manifest *m,
                     struct err *err)
{
    char show[100];
    const char *type = sent ? sent : own;
    if (schema == 1 || str_starts(type, "application/vnd.docker.distribution.manifest.v1"))
        return err_set(err, ERR_PERM, 0,
                       "this is a schema 1 image, which is out of use: push it again with a "
                       "current client");
    if (!type)
        return err_set(err, ERR_PERM, 0, "the manifest has no media type");
    if (sent && own && !str_eq(sent, own))
        return err_set(err, ERR_PERM, 0,
                       "the manifest calls itself \"%s\" but was sent as another type",
                       shown(own, show));
    for (size_t i = 0; i < ARRAY_LEN(known_types); i++)
        if (str_eq(type, known_types[i].media_type)) {
            m->media_type = known_types[i].media_type;
            m->is_index = known_types[i].is_index;
            return 0;
        }
    return err_set(err, ERR_PERM, 0, "\"%s\" is no type of an image manifest or index",
                   shown(type, show));
}

static const char *read_platform(const struct js *d, struct arena *a)
{
    const char *os = js_str(d, "platform.os"), *arch = js_str(d, "platform.architecture");
    const char *variant = js_str(d, "platform.variant");
    if (str_empty(os) || str_empty(arch))
        return NULL;
    return arena_printf(a, "%s/%s%s%s", os, arch, str_empty(variant) ? "" : "/",
                        variant ? variant : "");
}

static int read_descriptor(const struct js *d, const char *what, struct arena *a,
                           struct descriptor *out, struct err *err)
{
    const char *type = js_str(d, "mediaType"), *digest = js_str(d, "digest");
    int64_t size = js_int(d, "size", -1);
    if (!js_is_object(d))
        return err_set(err, ERR_PERM, 0, "the manifest's %s is no descriptor", what);
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_PERM, 0, "the manifest's %s has no valid digest", what);
    if (str_empty(type))
        return err_set(err, ERR_PERM, 0, "the manifest's %s has no mediaType", what);
    if (size < 0)
        return err_set(err, ERR_PERM, 0, "the manifest's %s has no valid size", what);
    out->media_type = arena_strdup(a, type);
    out->digest = arena_strdup(a, digest);
    out->size = size;
    out->platform = read_platform(d, a);
    return 0;
}

static int read_descriptors(const struct js *list, const char *what, struct arena *a,
                            struct descriptors *out, struct err *err)
{
    for (size_t i = 0; i < js_len(list); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s entry %zu", what, i);
        if (read_descriptor(js_at(list, i), name, a, list_push(a, out), err) < 0)
            return -1;
    }
    return 0;
}

static int read_index(const struct js *doc, struct arena *a, struct manifest *m, struct err *err)
{
    const struct js *children = js_get(doc, "manifests");
    if (js_get(doc, "layers") || js_get(doc, "config") || js_get(doc, "fsLayers"))
        return err_set(err, ERR_PERM, 0,
                       "the index has entries of an image too: such a document means different "
                       "things to different programs");
    if (!js_is_array(children))
        return err_set(err, ERR_PERM, 0, "the index has no list called manifests");
    return read_descriptors(children, "manifests", a, &m->children, err);
}

static int read_image(const struct js *doc, struct arena *a, struct manifest *m, struct err *err)
{
    const struct js *layers = js_get(doc, "layers");
    if (js_get(doc, "manifests") || js_get(doc, "fsLayers"))
        return err_set(err, ERR_PERM, 0,
                       "the image manifest has entries of another kind too: such a document means "
                       "different things to different programs");
    if (!js_is_array(layers))
        return err_set(err, ERR_PERM, 0, "the image manifest has no list called layers");
    if (read_descriptor(js_get(doc, "config"), "config", a, &m->config, err) < 0)
        return -1;
    return read_descriptors(layers, "layers", a, &m->layers, err);
}

int manifest_parse(const void *bytes, size_t len, const char *content_type, struct arena *a,
                   struct manifest *out, struct err *err)
{
    struct manifest m = {0};
    if (len > LIMIT_MANIFEST)
        return err_set(err, ERR_PERM, 0, "the manifest has %zu bytes; at most %zu are read", len,
                       LIMIT_MANIFEST);
    struct js *doc CLEANUP_JS = js_parse(bytes, len, err);
    if (!doc) {
        if (err)
            err->kind = ERR_PERM;
        return err_wrap(err, "the manifest is no valid JSON");
    }
    if (!js_is_object(doc))
        return err_set(err, ERR_PERM, 0, "the manifest is no JSON object");
    if (js_get(doc, "mediaType") && !js_str(doc, "mediaType"))
        return err_set(err, ERR_PERM, 0, "the manifest's mediaType is no text");
    int64_t schema = js_int(doc, "schemaVersion", 0);
    if (pick_type(bare_type(content_type, a), js_str(doc, "mediaType"), schema, &m, err) < 0)
        return -1;
    if (schema != 2)
        return err_set(err, ERR_PERM, 0, "the manifest's schemaVersion is not 2");
    if ((m.is_index ? read_index : read_image)(doc, a, &m, err) < 0)
        return -1;
    if (js_get(doc, "subject")) {
        struct descriptor subject = {0};
        if (read_descriptor(js_get(doc, "subject"), "subject", a, &subject, err) < 0)
            return -1;
        m.subject = subject.digest;
    }
    *out = m;
    return 0;
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

bool manifest_is_placeholder(const void *bytes, size_t len)
{
    struct js *doc CLEANUP_JS = js_parse(bytes, len, NULL);
    if (!doc || !str_eq(js_str(doc, "mediaType"), MANIFEST_OCI_INDEX))
        return false;
    /* A path cannot reach the annotation: its name holds dots. Its exact text decides. */
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct str_list keys = {0}, names = {0};
    const struct js *annotations = js_get(doc, "annotations");
    if (!js_is_array(js_get(doc, "manifests")) || js_len(js_get(doc, "manifests")) != 0 ||
        !js_is_object(annotations))
        return false;
    (void)js_keys(doc, &scratch, &keys);
    (void)js_keys(annotations, &scratch, &names);
    return keys.n == 4 && names.n == 1 && str_eq(names.at[0], REMOVING_KEY);
}
