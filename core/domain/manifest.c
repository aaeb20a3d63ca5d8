#include "core/domain/manifest.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#define EMPTY_CONFIG "application/vnd.oci.empty.v1+json"

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

/* What proxies and file servers say for want of anything better. */
static bool says_nothing(const char *type)
{
    static const char *const types[] = {"application/json", "application/octet-stream",
                                        "binary/octet-stream", "text/plain"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, types[i]))
            return true;
    return false;
}

static int pick_type(const char *sent, const char *own, int64_t schema, struct manifest *m,
                     struct err *err)
{
    char show[100];
    if (own && says_nothing(sent))
        sent = NULL;
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
    if (str_empty(os) || str_empty(arch) || strlen(os) + strlen(arch) > LIMIT_NAME ||
        (variant && strlen(variant) > LIMIT_NAME))
        return NULL;
    return arena_printf(a, "%s/%s%s%s", os, arch, str_empty(variant) ? "" : "/",
                        variant ? variant : "");
}

/* A text that is kept, and so not of any length: a longer one is of no use to anybody. */
static const char *keep(const char *text, size_t max, struct arena *a)
{
    return text && strlen(text) <= max ? arena_strdup(a, text) : NULL;
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
    if (str_empty(type) || strlen(type) > LIMIT_MEDIA_TYPE)
        return err_set(err, ERR_PERM, 0, "the manifest's %s has no %smediaType", what,
                       str_empty(type) ? "" : "valid ");
    if (size < 0 || size > LIMIT_BLOB_BYTES)
        return err_set(err, ERR_PERM, 0, "the manifest's %s has no valid size", what);
    const struct js *annotations = js_get(d, "annotations");
    const char *signature = js_member_str(annotations, "dev.cosignproject.cosign/signature");
    *out = (struct descriptor){
        .media_type = arena_strdup(a, type),
        .digest = arena_strdup(a, digest),
        .size = size,
        .platform = read_platform(d, a),
        .artifact_type = keep(js_str(d, "artifactType"), LIMIT_MEDIA_TYPE, a),
        .ref_name =
            keep(js_member_str(annotations, "org.opencontainers.image.ref.name"), KIB(1), a),
        .image_name = keep(js_member_str(annotations, "io.containerd.image.name"), KIB(1), a),
        .has_urls = js_len(js_get(d, "urls")) > 0,
        .nondistributable = manifest_type_nondistributable(type),
    };
    if (signature && strlen(signature) <= LIMIT_SIGNATURE)
        out->cosign_signature = arena_strdup(a, signature);
    return 0;
}

bool manifest_type_nondistributable(const char *media_type)
{
    return str_starts(media_type, "application/vnd.oci.image.layer.nondistributable.v1.") ||
           str_starts(media_type, "application/vnd.docker.image.rootfs.foreign.diff.");
}

static int read_descriptors(const struct js *list, const char *what, struct arena *a,
                            struct descriptors *out, struct err *err)
{
    if (js_len(list) > LIMIT_DESCRIPTORS)
        return err_set(err, ERR_PERM, 0, "the manifest's list of %s has %zu entries; at most %d",
                       what, js_len(list), LIMIT_DESCRIPTORS);
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
    if (!js_is_array(children) && !js_is_null(children))
        return err_set(err, ERR_PERM, 0, "the index has no list called manifests");
    return read_descriptors(children, "manifests", a, &m->children, err);
}

/* Go's programs write an empty list as null; artifacts may be all manifest. */
static bool layers_ok(const struct js *doc, const struct manifest *m)
{
    const struct js *layers = js_get(doc, "layers");
    if (layers)
        return js_is_array(layers) || js_is_null(layers);
    return str_eq(m->media_type, MANIFEST_OCI) &&
           (m->artifact_type || str_eq(m->config.media_type, EMPTY_CONFIG));
}

static int read_image(const struct js *doc, struct arena *a, struct manifest *m, struct err *err)
{
    if (js_get(doc, "manifests") || js_get(doc, "fsLayers"))
        return err_set(err, ERR_PERM, 0,
                       "the image manifest has entries of another kind too: such a document means "
                       "different things to different programs");
    if (read_descriptor(js_get(doc, "config"), "config", a, &m->config, err) < 0)
        return -1;
    if (!layers_ok(doc, m))
        return err_set(err, ERR_PERM, 0, "the image manifest has no list called layers");
    return read_descriptors(js_get(doc, "layers"), "layers", a, &m->layers, err);
}

/* What the document says of itself, beside its lists. */
static int read_rest(const struct js *doc, struct arena *a, struct manifest *m, struct err *err)
{
    const struct js *annotations = js_get(doc, "annotations"), *subject = js_get(doc, "subject");
    if (js_is_object(annotations))
        m->annotations = js_dump(annotations, a);
    if (subject && read_descriptor(subject, "subject", a, &m->subject_ref, err) < 0)
        return -1;
    m->subject = m->subject_ref.digest;
    m->bytes = m->config.size;
    const struct descriptors *lists[] = {&m->layers, &m->children};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_each (struct descriptor, d, lists[i])
            if (__builtin_add_overflow(m->bytes, d->size, &m->bytes))
                m->bytes = INT64_MAX;
    return 0;
}

int manifest_parse(const void *bytes, size_t len, const char *content_type, struct arena *a,
                   struct manifest *out, struct err *err)
{
    struct manifest m = {0};
    if (len > LIMIT_MANIFEST)
        return err_set(err, ERR_PERM, 0, "the manifest has %zu bytes; at most %zu are read", len,
                       LIMIT_MANIFEST);
    struct js *doc CLEANUP_JS = js_parse_within(bytes, len, LIMIT_MANIFEST_VALUES, err);
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
    if (!str_empty(js_str(doc, "artifactType")))
        m.artifact_type = arena_strdup(a, js_str(doc, "artifactType"));
    if ((m.is_index ? read_index : read_image)(doc, a, &m, err) < 0 ||
        read_rest(doc, a, &m, err) < 0)
        return -1;
    *out = m;
    return 0;
}

/* The variant that an architecture has when none is said. */
static const char *usual_variant(const char *arch, size_t len)
{
    static const struct {
        const char *arch, *variant;
    } usual[] = {{"amd64", "v1"}, {"arm", "v7"}, {"arm64", "v8"}};
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (strlen(usual[i].arch) == len && memcmp(usual[i].arch, arch, len) == 0)
            return usual[i].variant;
    return "";
}

struct platform {
    size_t base; /* bytes of "os/architecture" */
    const char *variant;
    bool said; /* the variant was written */
};

/* False when the text is no platform. */
static bool platform_split(const char *s, struct platform *out)
{
    const char *slash = s ? strchr(s, '/') : NULL;
    if (!slash)
        return false;
    const char *arch = slash + 1, *end = strchr(arch, '/');
    out->said = end != NULL;
    out->base = end ? (size_t)(end - s) : strlen(s);
    out->variant = end ? end + 1 : usual_variant(arch, strlen(arch));
    return true;
}

bool platform_ok(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t parts = 0;
    if (str_empty(s) || strlen(s) > LIMIT_NAME)
        return false;
    for (;;) {
        size_t len = strspn(s, letters);
        if (len == 0)
            return false;
        parts++;
        s += len;
        if (*s == '\0')
            return parts == 2 || parts == 3;
        if (*s++ != '/')
            return false;
    }
}

bool platform_matches(const char *platform, const char *wanted)
{
    struct platform have, want;
    if (!platform_split(platform, &have) || !platform_split(wanted, &want) ||
        have.base != want.base || memcmp(platform, wanted, have.base) != 0)
        return false;
    return !want.said || str_eq(have.variant, want.variant);
}

bool manifest_has_platform(const struct manifest *m, const char *wanted)
{
    list_each (struct descriptor, d, &m->children)
        if (platform_matches(d->platform, wanted))
            return true;
    return false;
}
