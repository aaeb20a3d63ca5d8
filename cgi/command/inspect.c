#include "cgi/command.h"

#include "cgi/command/by_hand.h"
#include "cgi/copy_print.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/registry/referrers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

enum { LABELS_SHOWN = 50, CHILDREN_SEEN = 100 };

struct inspect_flags {
    struct by_hand_flags by_hand;
    const char *format;
    bool raw, config, tags;
};

/* One manifest as it was found. */
struct sight {
    const char *ref;
    const char *digest;
    const void *bytes;
    size_t len;
    struct manifest m;
};

/* What was found out of a child. */
struct child {
    enum { CHILD_NOT_SEEN, CHILD_ABSENT, CHILD_THERE } is;
    int64_t bytes; /* of its blobs */
};

struct inspection {
    struct endpoint at;
    struct arena *arena;
    struct sight root;
    struct child *children;  /* of an index, root.m.children.n of them */
    const struct js *config; /* of an image, NULL when it has none that is JSON */
    struct str_list cosign;  /* tags */
    struct descriptors referrers;
    struct registry_rate rate;
};

/* ---- asking ---------------------------------------------------------------------------------- */

static int absent(const struct inspection *in, const char *ref, struct err *err)
{
    return err_set(err, ERR_PERM, 404, "%s: there is no such image",
                   copy_end(&in->at, ref, in->arena));
}

static int get_from_registry(const struct inspection *in, struct sight *s, struct err *err)
{
    struct registry_op op = {.verb = REGISTRY_GET,
                             .host = in->at.host,
                             .name = in->at.name,
                             .ref = s->ref,
                             .access = in->at.access};
    if (registry_all(in->at.registry, in->arena, &op, 1) > 0) {
        *err = op.err;
        return -1;
    }
    if (op.absent)
        return absent(in, s->ref, err);
    s->digest = op.digest;
    s->bytes = op.bytes;
    s->len = op.len;
    return manifest_parse(op.bytes, op.len, op.media_type, in->arena, &s->m, err);
}

static int get_from_layout(const struct inspection *in, struct sight *s, struct err *err)
{
    struct descriptor root = {.digest = s->ref};
    bool gone = false;
    if ((!s->ref || !imageref_digest_ok(s->ref)) &&
        layout_root(in->at.layout, s->ref, in->arena, &root, &gone, err) < 0) {
        err->code = gone ? 404 : err->code;
        return -1;
    }
    if (gone || layout_read(in->at.layout, root.digest, LIMIT_MANIFEST, in->arena, &s->bytes,
                            &s->len, &gone, err) < 0)
        return gone ? absent(in, s->ref, err) : -1;
    if (gone)
        return absent(in, root.digest, err);
    s->digest = root.digest;
    return manifest_parse(s->bytes, s->len, root.media_type, in->arena, &s->m, err);
}

static int get_manifest(const struct inspection *in, struct sight *s, struct err *err)
{
    return (in->at.layout ? get_from_layout : get_from_registry)(in, s, err);
}

static int get_child(const struct inspection *in, const char *digest, struct child *out,
                     struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct inspection one = {.at = in->at, .arena = &a};
    struct sight s = {.ref = digest};
    bool there = get_manifest(&one, &s, err) == 0;
    if (!there && err->kind == ERR_TEMP)
        return -1;
    *out = (struct child){there ? CHILD_THERE : CHILD_ABSENT, there ? s.m.bytes : 0};
    return 0;
}

static const struct child *seen_before(const struct inspection *in, size_t n)
{
    const struct descriptor *all = in->root.m.children.at;
    for (size_t i = 0; i < n; i++)
        if (str_eq(all[i].digest, all[n].digest))
            return &in->children[i];
    return NULL;
}

/* A child that is not there is shown as such: an index may be whole without it elsewhere. */
static int get_children(struct inspection *in, struct err *err)
{
    size_t n = in->root.m.children.n;
    in->children = arena_alloc(in->arena, n * sizeof *in->children);
    for (size_t i = 0; i < n && i < CHILDREN_SEEN; i++) {
        const struct child *before = seen_before(in, i);
        if (before)
            in->children[i] = *before;
        else if (get_child(in, in->root.m.children.at[i].digest, &in->children[i], err) < 0)
            return -1;
    }
    return 0;
}

static int get_config(struct inspection *in, const void **bytes, size_t *len, struct err *err)
{
    const struct descriptor *config = &in->root.m.config;
    if (!config->digest)
        return err_set(err, ERR_PERM, 0, "an index has no config; name one of its children");
    return blob_read(&in->at, config->digest, LIMIT_MANIFEST, in->arena, bytes, len, err);
}

static bool has_companion(const struct inspection *in, const char *tag)
{
    struct registry_op op = {.verb = REGISTRY_HEAD,
                             .host = in->at.host,
                             .name = in->at.name,
                             .ref = tag,
                             .access = in->at.access};
    return tag && registry_all(in->at.registry, in->arena, &op, 1) == 0 && !op.absent;
}

static int get_companions(struct inspection *in, struct err *err)
{
    static const char *const suffixes[] = {"sig", "att", "sbom"};
    if (!in->at.registry)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        const char *tag = imageref_cosign_tag(in->root.digest, suffixes[i], in->arena);
        if (has_companion(in, tag))
            *list_push(in->arena, &in->cosign) = tag;
    }
    return referrers_list(in->at.registry, in->arena, in->at.host, in->at.name, &in->at.access,
                          in->root.digest, NULL, &in->referrers, err);
}

/* ---- showing --------------------------------------------------------------------------------- */

static void say(struct arena *a, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct arena *a, const char *name, const char *fmt, ...)
{
    struct strbuf line CLEANUP_STRBUF = STRBUF_INIT(KIB(8));
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)strbuf_addstr(&line, text);
    (void)printf("%-11s %s\n", name, str_printable(a, line.buf));
}

static void show_config(const struct inspection *in)
{
    struct arena *a = in->arena;
    struct str_list labels = {0};
    if (!in->config)
        return;
    const char *os = js_str(in->config, "os"), *arch = js_str(in->config, "architecture");
    if (os && arch)
        say(a, "platform", "%s/%s", os, arch);
    if (js_str(in->config, "created"))
        say(a, "created", "%s", js_str(in->config, "created"));
    const struct js *map = js_get(in->config, "config.Labels");
    if (js_is_object(map))
        (void)js_keys(map, a, &labels);
    for (size_t i = 0; i < labels.n && i < LABELS_SHOWN; i++)
        say(a, i ? "" : "labels", "%s=%s", labels.at[i],
            js_member_str(map, labels.at[i]) ? js_member_str(map, labels.at[i]) : "");
}

static const char *child_text(const struct inspection *in, const struct child *c)
{
    return c->is == CHILD_THERE    ? bytes_text(c->bytes, in->arena)
           : c->is == CHILD_ABSENT ? "is not here"
                                   : "not looked at";
}

static void show_children(const struct inspection *in)
{
    for (size_t i = 0; i < in->root.m.children.n; i++) {
        const struct descriptor *d = &in->root.m.children.at[i];
        say(in->arena, i ? "" : "children", "%s  %s  %s", d->digest,
            d->platform        ? d->platform
            : d->artifact_type ? d->artifact_type
                               : "-",
            child_text(in, &in->children[i]));
    }
}

static void show_layers(const struct inspection *in)
{
    const struct manifest *m = &in->root.m;
    for (size_t i = 0; i < m->layers.n; i++)
        say(in->arena, i ? "" : "layers", "%s  %s%s", m->layers.at[i].digest,
            bytes_text(m->layers.at[i].size, in->arena),
            m->layers.at[i].nondistributable ? "  (not distributable)" : "");
}

static void show_text(const struct inspection *in, const char *name)
{
    struct arena *a = in->arena;
    const struct manifest *m = &in->root.m;
    say(a, "image", "%s", name);
    say(a, "digest", "%s", in->root.digest);
    say(a, "type", "%s", m->media_type);
    if (m->artifact_type)
        say(a, "artifact", "%s", m->artifact_type);
    if (m->subject)
        say(a, "subject", "%s", m->subject);
    if (!m->is_index)
        say(a, "size", "%s", bytes_text(m->bytes, a));
    show_config(in);
    show_children(in);
    show_layers(in);
    for (size_t i = 0; i < in->cosign.n; i++)
        say(a, i ? "" : "signed", "%s", in->cosign.at[i]);
    for (size_t i = 0; i < in->referrers.n; i++)
        say(a, i ? "" : "referrers", "%s  %s", in->referrers.at[i].digest,
            in->referrers.at[i].artifact_type ? in->referrers.at[i].artifact_type : "-");
    if (in->rate.remaining >= 0)
        say(a, "rate limit", "%" PRId64 " of %" PRId64 " left in %" PRId64 " s", in->rate.remaining,
            in->rate.limit, in->rate.window_s);
}

static struct js *descriptors_json(const struct descriptors *list)
{
    struct js *array = js_array();
    list_each (const struct descriptor, d, list) {
        struct js *o = js_object();
        js_put_str(o, "digest", d->digest);
        js_put_str(o, "media_type", d->media_type);
        js_put_int(o, "size", d->size);
        js_put_str(o, "platform", d->platform);
        js_put_str(o, "artifact_type", d->artifact_type);
        js_push(array, o);
    }
    return array;
}

static void show_json(const struct inspection *in, const char *name)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *cosign = js_array(), *labels = js_object();
    const struct manifest *m = &in->root.m;
    const struct js *map = in->config ? js_get(in->config, "config.Labels") : NULL;
    struct str_list keys = {0};
    js_put_int(doc, "schema", 1);
    js_put_str(doc, "image", name);
    js_put_str(doc, "digest", in->root.digest);
    js_put_str(doc, "media_type", m->media_type);
    js_put_int(doc, "manifest_size", (int64_t)in->root.len);
    js_put_int(doc, "size", m->bytes);
    js_put_str(doc, "artifact_type", m->artifact_type);
    js_put_str(doc, "subject", m->subject);
    js_put_str(doc, "os", in->config ? js_str(in->config, "os") : NULL);
    js_put_str(doc, "architecture", in->config ? js_str(in->config, "architecture") : NULL);
    js_put_str(doc, "created", in->config ? js_str(in->config, "created") : NULL);
    if (js_is_object(map))
        (void)js_keys(map, in->arena, &keys);
    for (size_t i = 0; i < keys.n; i++)
        js_put_str(labels, keys.at[i], js_member_str(map, keys.at[i]));
    js_put(doc, "labels", labels);
    js_put(doc, "children", descriptors_json(&m->children));
    js_put(doc, "layers", descriptors_json(&m->layers));
    for (size_t i = 0; i < in->cosign.n; i++)
        js_push_str(cosign, in->cosign.at[i]);
    js_put(doc, "cosign_tags", cosign);
    js_put(doc, "referrers", descriptors_json(&in->referrers));
    if (in->rate.remaining >= 0) {
        struct js *rate = js_object();
        js_put_int(rate, "limit", in->rate.limit);
        js_put_int(rate, "remaining", in->rate.remaining);
        js_put_int(rate, "window_s", in->rate.window_s);
        js_put(doc, "rate_limit", rate);
    }
    (void)printf("%s\n", js_pretty(doc, in->arena));
}

/* ---- the command ----------------------------------------------------------------------------- */

static void print_list(const struct str_list *list, const char *format, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *array = js_array();
    for (size_t i = 0; i < list->n; i++) {
        js_push_str(array, list->at[i]);
        if (!str_eq(format, "json"))
            (void)printf("%s\n", str_printable(a, list->at[i]));
    }
    js_put_int(doc, "schema", 1);
    js_put(doc, "tags", array);
    if (str_eq(format, "json"))
        (void)printf("%s\n", js_pretty(doc, a));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int list_tags(struct inspection *in, const char *format, struct err *err)
{
    struct str_list tags = {0};
    bool gone = false;
    int rc = in->at.layout ? layout_names(in->at.layout, in->arena, &tags, err)
                           : registry_tags(in->at.registry, in->arena, in->at.host, in->at.name,
                                           &in->at.access, &tags, &gone, err);
    if (rc == 0 && gone)
        return err_set(err, ERR_PERM, 404, "%s: there is no such repository",
                       copy_end(&in->at, NULL, in->arena));
    if (rc == 0 && tags.n)
        qsort(tags.at, tags.n, sizeof *tags.at, by_name);
    if (rc == 0)
        print_list(&tags, format, in->arena);
    return rc;
}

static int show_raw(struct inspection *in, bool config, struct err *err)
{
    const void *bytes = in->root.bytes;
    size_t len = in->root.len;
    if (config && get_config(in, &bytes, &len, err) < 0)
        return -1;
    if (fwrite(bytes, 1, len, stdout) != len)
        return err_set(err, ERR_TEMP, 0, "standard output took not all of it");
    return 0;
}

static int inspect(struct inspection *in, const struct inspect_flags *f, struct err *err)
{
    const void *bytes;
    size_t len;
    if (f->tags)
        return list_tags(in, f->format, err);
    if (get_manifest(in, &in->root, err) < 0)
        return -1;
    if (f->raw || f->config)
        return show_raw(in, f->config, err);
    if (get_children(in, err) < 0 || get_companions(in, err) < 0)
        return -1;
    struct js *config CLEANUP_JS = NULL;
    if (in->root.m.config.digest && get_config(in, &bytes, &len, err) == 0)
        config = js_parse(bytes, len, NULL);
    in->config = config;
    if (in->at.registry)
        in->rate = registry_rate(in->at.registry, in->at.host, in->at.access.anonymous);
    else
        in->rate.remaining = -1;
    const char *name = copy_end(&in->at, in->root.ref, in->arena);
    (str_eq(f->format, "json") ? show_json : show_text)(in, name);
    return 0;
}

static int exit_code(const struct err *err)
{
    int code = by_hand_failed(err);
    if (err->code == 404)
        return EXIT_NOT_FOUND;
    return err->code == 401 || err->code == 403 ? EXIT_DENIED : code;
}

static int inspect_place(const struct inspect_flags *f, const char *word, struct arena *a)
{
    struct err err = ERR_INIT;
    struct by_hand b;
    struct imageref_place place;
    struct str_list hosts = {0};
    struct inspection in = {.arena = a};
    if (imageref_parse_transport(word, NULL, a, &place, &err) < 0)
        return command_failed(&err);
    if (place.kind == IMAGEREF_REGISTRY)
        *list_push(a, &hosts) = place.ref.host;
    int code = by_hand_setup(&b, &f->by_hand, &hosts, a);
    if (code != EXIT_DONE)
        return code;
    in.root.ref = place.kind == IMAGEREF_LAYOUT ? place.ref_name
                  : place.ref.digest            ? place.ref.digest
                  : place.ref.tag               ? place.ref.tag
                                                : "latest";
    if (by_hand_endpoint(&b, &place, BY_HAND_READ, &in.at, &err) < 0) {
        code = by_hand_failed(&err);
        code = err.code == ENOENT ? EXIT_NOT_FOUND : code;
    } else {
        in.at.access.read_only = true;
        code = inspect(&in, f, &err) < 0 ? exit_code(&err) : EXIT_DONE;
        by_hand_close(&in.at);
    }
    by_hand_release(&b);
    return code;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct inspect_flags f = {.format = "text"};
    const struct flag flags[] = {
        BY_HAND_FLAGS(f.by_hand),
        {"raw", 0, FLAG_BOOL, &f.raw},
        {"image-config", 0, FLAG_BOOL, &f.config},
        {"tags", 0, FLAG_BOOL, &f.tags},
        {"format", 0, FLAG_STR, &f.format},
    };
    int positional;
    int code = flags_parse(&command_inspect, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional != 1)
        return command_usage(&command_inspect, "it takes one image");
    if (!str_eq(f.format, "text") && !str_eq(f.format, "json"))
        return command_usage(&command_inspect, "--format is text or json, not \"%s\"", f.format);
    if (f.raw + f.config + f.tags > 1)
        return command_usage(&command_inspect, "--raw, --image-config and --tags exclude another");
    return inspect_place(&f, argv[1], &a);
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "show what an image is: digest, platforms, layers, labels, signatures",
    .help = "Examples:\n"
            "  slipway inspect registry.example.org/team/app:latest\n"
            "  slipway inspect --tags registry.example.org/team/app\n"
            "  slipway inspect --raw oci:/srv/images:app\n"
            "\n"
            "An image is docker://host/name:tag (docker:// may be left out; no tag: latest),\n"
            "host/name@digest, or oci:PATH[:NAME]. What is read is checked against its digest.\n"
            "\n"
            "Flags:\n" BY_HAND_HELP "      --raw                the manifest's own bytes\n"
            "      --image-config       the bytes of an image's config\n"
            "      --tags               the tags of the repository (a layout: its names)\n"
            "      --format text|json\n"
            "\n"
            "Exit status: 0 done, 1 failed, 2 usage or configuration, 4 no such image, 5 denied,\n"
            "75 try later.\n",
    .run = run,
};
