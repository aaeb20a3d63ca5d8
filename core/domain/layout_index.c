#include "core/domain/layout_index.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/index_write.h"
#include "core/lib/json.h"

#include <errno.h>

#define REF_NAME "org.opencontainers.image.ref.name"

int layout_index_version(const void *bytes, size_t len, struct err *err)
{
    if (len > LIMIT_ERROR_BODY)
        return err_set(err, ERR_CONFIG, 0, LAYOUT_VERSION_FILE " is too long for what it is");
    struct js *doc CLEANUP_JS = js_parse(bytes, len, err);
    if (!doc) {
        if (err)
            err->kind = ERR_CONFIG;
        return err_wrap(err, LAYOUT_VERSION_FILE " is no valid JSON");
    }
    const char *version = js_str(doc, "imageLayoutVersion");
    if (!version)
        return err_set(err, ERR_CONFIG, 0, LAYOUT_VERSION_FILE " has no imageLayoutVersion");
    if (!str_eq(version, "1.0.0"))
        return err_set(err, ERR_CONFIG, 0,
                       LAYOUT_VERSION_FILE
                       " is of a version that is not known; 1.0.0 is what there is");
    return 0;
}

int layout_index_parse(const void *bytes, size_t len, struct arena *a, struct manifest *out,
                       struct err *err)
{
    if (manifest_parse(bytes, len, MANIFEST_OCI_INDEX, a, out, err) == 0)
        return 0;
    if (err)
        err->kind = ERR_CONFIG;
    return err_wrap(err, LAYOUT_INDEX_FILE " of the OCI layout");
}

static bool is_manifest(const struct descriptor *d)
{
    static const char *const types[] = {MANIFEST_OCI_INDEX, MANIFEST_OCI, MANIFEST_DOCKER_LIST,
                                        MANIFEST_DOCKER};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(d->media_type, types[i]))
            return true;
    return false;
}

static bool by_ref_name(const struct descriptor *d, const char *wanted)
{
    return str_eq(d->ref_name, wanted);
}

/* containerd's name is a whole reference: "docker.io/library/app:latest". */
static bool by_image_name(const struct descriptor *d, const char *wanted)
{
    if (!d->image_name)
        return false;
    const char *slash = strrchr(d->image_name, '/');
    const char *colon = strchr(slash ? slash : d->image_name, ':');
    return str_eq(d->image_name, wanted) || (colon && str_eq(colon + 1, wanted));
}

static bool by_nothing(const struct descriptor *d, const char *wanted)
{
    (void)d;
    (void)wanted;
    return true;
}

/* How many different images pass; the first of them. */
static size_t count_roots(const struct manifest *index, const char *wanted,
                          bool (*is)(const struct descriptor *, const char *),
                          const struct descriptor **first)
{
    size_t n = 0;
    list_each (const struct descriptor, d, &index->children) {
        if (!is_manifest(d) || !is(d, wanted))
            continue;
        if (n == 0)
            *first = d;
        n += n == 0 || !str_eq(d->digest, (*first)->digest);
    }
    return n;
}

/* Adds bytes of a name to a message, without control bytes. */
static void add_shown(struct strbuf *out, const char *name)
{
    for (size_t i = 0; i < 80 && name[i]; i++)
        (void)strbuf_addch(out, name[i] > ' ' && name[i] < 127 ? name[i] : '?');
}

static void list_names(const struct manifest *index, struct strbuf *out)
{
    enum { SHOWN = 8 };
    size_t n = 0;
    list_each (const struct descriptor, d, &index->children) {
        if (!is_manifest(d))
            continue;
        if (n++ >= SHOWN)
            continue;
        (void)strbuf_addstr(out, n == 1 ? "" : ", ");
        add_shown(out, d->ref_name ? d->ref_name : d->image_name ? d->image_name : d->digest);
    }
    if (n > SHOWN)
        (void)strbuf_addf(out, " and %zu more", n - SHOWN);
    if (n == 0)
        (void)strbuf_addstr(out, "no image at all");
}

int layout_index_root(const struct manifest *index, const char *ref_name,
                      const struct descriptor **out, struct err *err)
{
    const struct descriptor *root = NULL;
    size_t n = count_roots(index, ref_name, ref_name ? by_ref_name : by_nothing, &root);
    if (n == 0 && ref_name)
        n = count_roots(index, ref_name, by_image_name, &root);
    if (n == 1) {
        *out = root;
        return 0;
    }
    struct strbuf names CLEANUP_STRBUF = STRBUF_INIT(KIB(1));
    struct strbuf wanted CLEANUP_STRBUF = STRBUF_INIT(KIB(1));
    list_names(index, &names);
    if (!ref_name)
        return err_set(err, ERR_CONFIG, 0,
                       "the OCI layout must hold one image, or say which: it has %s", names.buf);
    add_shown(&wanted, ref_name);
    return err_set(err, ERR_CONFIG, n ? 0 : ENOENT,
                   "the OCI layout has %s image called \"%s\": it has %s",
                   n ? "more than one" : "no", wanted.buf, names.buf);
}

/* Does an entry stay when `user` is put in? */
static bool stays(const struct js *entry, const void *user)
{
    const struct descriptor *add = user;
    const char *name = js_member_str(js_get(entry, "annotations"), REF_NAME);
    if (add->ref_name)
        return !str_eq(name, add->ref_name);
    return name || !str_eq(js_str(entry, "digest"), add->digest);
}

/* "linux/arm64/v8" as image-spec has it. */
static struct js *platform_of(const char *platform, struct arena *a)
{
    if (!platform)
        return NULL;
    static const char *const names[] = {"os", "architecture", "variant"};
    struct str_list parts = str_split(a, platform, '/');
    if (parts.n < 2 || parts.n > ARRAY_LEN(names))
        return NULL;
    struct js *out = js_object();
    for (size_t i = 0; i < parts.n; i++)
        js_put_str(out, names[i], parts.at[i]);
    return out;
}

const char *layout_index_put(const void *present, size_t len, const struct descriptor *add,
                             struct arena *a, struct err *err)
{
    struct js *doc CLEANUP_JS = NULL;
    struct manifest m;
    if (add->ref_name && !layout_index_ref_ok(add->ref_name)) {
        struct strbuf name CLEANUP_STRBUF = STRBUF_INIT(KIB(1));
        add_shown(&name, add->ref_name);
        (void)err_set(err, ERR_CONFIG, 0, "\"%s\" is no name for an image of an OCI layout",
                      name.buf);
        return NULL;
    }
    if (str_empty(add->media_type) || !add->digest || !imageref_digest_ok(add->digest) ||
        add->size < 0) {
        (void)err_set(err, ERR_BUG, 0, "what is to be put into the OCI layout is no descriptor");
        return NULL;
    }
    if (present) {
        if (layout_index_parse(present, len, a, &m, err) < 0)
            return NULL;
        doc = js_parse(present, len, NULL);
    }
    struct js *entry = index_entry(add->media_type, add->digest, add->size, add->artifact_type);
    js_put(entry, "platform", platform_of(add->platform, a));
    if (add->ref_name) {
        struct js *annotations = js_object();
        js_put_str(annotations, REF_NAME, add->ref_name);
        js_put(entry, "annotations", annotations);
    }
    const char *text = index_write(doc, stays, add, entry, a, err);
    if (!text && err)
        err->kind = ERR_CONFIG;
    return text;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool layout_index_ref_ok(const char *s)
{
    if (str_empty(s) || strlen(s) > LIMIT_NAME)
        return false;
    if (imageref_tag_ok(s))
        return true;
    for (;;) {
        if (!is_alnum(*s))
            return false;
        while (is_alnum(*s))
            s++;
        if (*s == '\0')
            return true;
        if (s[0] == '-' && s[1] == '-')
            s += 2;
        else if (strchr("-._:@+/", *s))
            s++;
        else
            return false;
    }
}
