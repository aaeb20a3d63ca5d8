#include "core/engine/labels.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/lib/json.h"
#include "core/registry/blob.h"

void labels_of_config(const void *config, size_t len, struct arena *a, struct labels *out)
{
    struct js *doc CLEANUP_JS = js_parse(config, len, NULL);
    const struct js *part = doc ? js_get(doc, "config") : NULL;
    const struct js *labels = part ? js_get(part, "Labels") : NULL;
    struct str_list keys = {0};
    *out = (struct labels){0};
    if (!labels)
        return;
    (void)js_keys(labels, a, &keys);
    /* The label names hold dots, which js_get takes for steps of a path. */
    for (size_t i = 0; i < keys.n; i++) {
        const char *value = js_member_str(labels, keys.at[i]);
        const char *kept = value ? arena_strdup(a, value) : NULL;
        if (str_eq(keys.at[i], "org.zuul-ci.change"))
            out->change = kept;
        else if (str_eq(keys.at[i], "org.zuul-ci.change_url"))
            out->change_url = kept;
    }
}

/* The manifest that ref shows, of an index the first child's. *out is without a config digest when
 * there is none. */
static int read_manifest(const struct engine *e, const char *host, const char *name,
                         const char *ref, struct arena *a, struct manifest *out, struct err *err)
{
    *out = (struct manifest){0};
    for (int depth = 0; ref; depth++) {
        struct registry_op op = {.verb = REGISTRY_GET,
                                 .host = host,
                                 .name = name,
                                 .ref = ref,
                                 .access = {.read_only = true, .patient = true}};
        *out = (struct manifest){0};
        if (registry_all(e->registry, a, &op, 1) > 0) {
            *err = op.err;
            return err_wrap(err, "reading %s/%s %s", host, name, ref);
        }
        if (op.absent)
            return 0;
        if (manifest_parse(op.bytes, op.len, op.media_type, a, out, err) < 0)
            return -1;
        ref = out->is_index && out->children.n && depth < LIMIT_DEPTH_INDEX
                  ? out->children.at[0].digest
                  : NULL;
    }
    return 0;
}

int labels_read(const struct engine *e, const char *host, const char *name, const char *ref,
                struct arena *a, struct labels *out, struct err *err)
{
    const struct endpoint from = {.registry = e->registry,
                                  .host = host,
                                  .name = name,
                                  .access = {.read_only = true, .patient = true}};
    struct manifest m;
    const void *bytes;
    size_t len;
    *out = (struct labels){0};
    if (read_manifest(e, host, name, ref, a, &m, err) < 0)
        return -1;
    if (m.is_index || !m.config.digest)
        return 0;
    if (blob_read(&from, m.config.digest, LABELS_CONFIG_MAX, a, &bytes, &len, err) < 0)
        return err_wrap(err, "reading the labels of %s/%s:%s", host, name, ref);
    labels_of_config(bytes, len, a, out);
    return 0;
}

/* Whole parts of the path count: team/app is not team/app-tools. */
bool labels_url_fits(const char *url, const struct event *event)
{
    const char *path = strstr(url, "://");
    path = path ? strchr(path + 3, '/') : NULL;
    if (str_eq(url, event->change_url) || !path || !strchr(path + 1, '/'))
        return true;
    size_t len = strlen(event->project);
    for (const char *p = path; (p = strstr(p, event->project)); p++)
        if (p[-1] == '/' && (p[len] == '/' || p[len] == '\0'))
            return true;
    return false;
}
