#include "core/build/build_argv.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/fs.h"

#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* One command being made. */
struct making {
    const struct build_spec *spec;
    const struct build_place *place;
    const struct build_image *image;
    const char *platform;
    struct arena *a;
    struct str_list argv;
};

static void add(struct making *m, const char *word)
{
    *list_push(m->a, &m->argv) = word;
}

/* Flag and value are one word, so that no value can be taken for a flag. */
static void add_flag(struct making *m, const char *flag, const char *value)
{
    if (value)
        add(m, arena_printf(m->a, "%s=%s", flag, value));
}

static void add_flags(struct making *m, const char *flag, const struct str_list *values)
{
    for (size_t i = 0; i < values->n; i++)
        add_flag(m, flag, values->at[i]);
}

static const char *joined_siblings(const struct build_image *image, struct arena *a)
{
    const char *all = NULL;
    for (size_t i = 0; i < image->siblings.n; i++)
        all = arena_printf(a, "%s%s.zuul-siblings/%s", all ? all : "", all ? " " : "",
                           image->siblings.at[i]);
    return all;
}

/* What all builders call the same. */
static void add_image(struct making *m, const char *filename)
{
    add_flag(m, "--file", filename);
    add_flag(m, "--target", m->image->target);
    add_flags(m, "--build-arg", &m->image->build_args);
    const char *siblings = joined_siblings(m->image, m->a);
    if (siblings)
        add_flag(m, "--build-arg", arena_printf(m->a, "ZUUL_SIBLINGS=%s", siblings));
    add_flags(m, "--label", &m->image->labels);
    add_flag(m, "--platform", m->platform);
}

static void add_store(struct making *m)
{
    const struct build_place *p = m->place;
    add_flag(m, "--root", p->store);
    add_flag(m, "--runroot", p->run);
    add_flag(m, "--storage-driver", p->driver);
}

static void begin_buildah(struct making *m)
{
    const struct build_place *p = m->place;
    add(m, "buildah");
    add_store(m);
    add_flag(m, "--registries-conf", p->registries_conf);
    /* Nothing from the machine's own drop-in files. */
    add_flag(m, "--registries-conf-dir", arena_printf(m->a, "%s/none", p->home));
}

static void begin_podman(struct making *m)
{
    const struct build_place *p = m->place;
    add(m, "podman");
    add_store(m);
    add_flag(m, "--tmpdir", arena_printf(m->a, "%s/libpod", p->run));
    add_flag(m, "--cgroup-manager", "cgroupfs");
    add_flag(m, "--events-backend", "none");
}

static void build_with_containers(struct making *m, const char *context, const char *filename,
                                  const char *layout)
{
    (void)layout;
    const struct build_place *p = m->place;
    add(m, "build");
    add_flag(m, "--isolation", p->isolation);
    add_flag(m, "--format", m->spec->format == BUILD_OCI ? "oci" : "docker");
    add_flag(m, "--layers", "false");
    add_flag(m, "--pull", "missing"); /* what the job built goes before what is published */
    add_flag(m, "--identity-label", "false");
    add_flag(m, "--authfile", p->auth_file);
    add_flag(m, "--signature-policy", p->policy);
    add_flag(m, "--tag", build_local_name(m->image, m->platform, m->a));
    add_flags(m, "--tag", &m->image->refs);
    add_image(m, filename);
    add(m, "--");
    add(m, context);
}

static void begin_docker(struct making *m)
{
    add(m, "docker");
    add(m, "buildx");
}

/* Earlier images of the list take the place of what is published under their names. */
static void add_earlier_layouts(struct making *m)
{
    for (const struct build_image *i = m->spec->images.at; i < m->image; i++) {
        bool same = !m->platform && !i->platforms.n;
        same = same || (m->platform && str_in(m->platform, &i->platforms));
        if (!same || !i->refs.n)
            continue;
        const char *tag = strrchr(i->refs.at[0], ':') + 1;
        for (size_t r = 0; r < i->refs.n; r++)
            add_flag(m, "--build-context",
                     arena_printf(m->a, "%s=oci-layout://%s/%s:%s", i->refs.at[r], m->spec->out,
                                  build_layout_name(i->name, m->platform, m->a), tag));
    }
}

static void build_with_docker(struct making *m, const char *context, const char *filename,
                              const char *layout)
{
    add(m, "build");
    add_flag(m, "--output",
             arena_printf(m->a, "type=oci,tar=false,oci-mediatypes=%s,dest=%s",
                          m->spec->format == BUILD_OCI ? "true" : "false", layout));
    add_flag(m, "--provenance", "false");
    add_flag(m, "--sbom", "false");
    add_flag(m, "--progress", "plain");
    /* One name: the exporter writes an entry for each, and a layout of ours has one root. */
    add_flag(m, "--tag", m->image->refs.n ? m->image->refs.at[0] : NULL);
    add_earlier_layouts(m);
    add_image(m, filename);
    add(m, "--");
    add(m, context);
}

struct builder {
    void (*begin)(struct making *m);
    void (*build)(struct making *m, const char *context, const char *filename, const char *layout);
    bool keeps_store;     /* images lie in our store until they are exported */
    const char *compress; /* by itself podman exports layers as they lie in its store */
};

static const struct builder builders[] = {
    [BUILD_PODMAN] = {begin_podman, build_with_containers, true, "--compress"},
    [BUILD_BUILDAH] = {begin_buildah, build_with_containers, true, NULL},
    [BUILD_DOCKER] = {begin_docker, build_with_docker, false, NULL},
};

static struct making begin(const struct build_spec *spec, const struct build_place *place,
                           const struct build_image *image, const char *platform, struct arena *a)
{
    struct making m = {.spec = spec, .place = place, .image = image, .platform = platform, .a = a};
    for (size_t i = 0; i < place->wrap.n; i++)
        add(&m, place->wrap.at[i]);
    builders[spec->tool].begin(&m);
    return m;
}

const char *build_local_name(const struct build_image *image, const char *platform, struct arena *a)
{
    return arena_printf(a, "localhost/slipway/%s:job", build_layout_name(image->name, platform, a));
}

struct str_list build_argv(const struct build_spec *spec, const struct build_place *place,
                           const struct build_image *image, const char *platform,
                           const char *context, const char *filename, const char *layout,
                           struct arena *a)
{
    struct making m = begin(spec, place, image, platform, a);
    builders[spec->tool].build(&m, context, filename, layout);
    return m.argv;
}

struct str_list build_export_argv(const struct build_spec *spec, const struct build_place *place,
                                  const struct build_image *image, const char *platform,
                                  const char *raw, struct arena *a)
{
    if (!builders[spec->tool].keeps_store)
        return (struct str_list){0};
    struct making m = begin(spec, place, image, platform, a);
    add(&m, "push");
    add_flag(&m, "--format", spec->format == BUILD_OCI ? "oci" : "v2s2");
    if (builders[spec->tool].compress)
        add(&m, builders[spec->tool].compress);
    add_flag(&m, "--authfile", place->auth_file);
    add_flag(&m, "--signature-policy", place->policy);
    add(&m, "--");
    add(&m, build_local_name(image, platform, a));
    add(&m, arena_printf(a, "dir:%s", raw));
    return m.argv;
}

struct str_list build_import_argv(const struct build_spec *spec, const struct build_place *place,
                                  const char *layout, struct arena *a)
{
    if (!builders[spec->tool].keeps_store)
        return (struct str_list){0};
    struct making m = begin(spec, place, NULL, NULL, a);
    add(&m, "pull");
    add(&m, "--quiet");
    add_flag(&m, "--authfile", place->auth_file);
    add_flag(&m, "--signature-policy", place->policy);
    add(&m, "--");
    add(&m, arena_printf(a, "oci:%s", layout));
    return m.argv;
}

struct str_list build_tag_argv(const struct build_spec *spec, const struct build_place *place,
                               const struct build_image *image, const char *platform,
                               const char *id, struct arena *a)
{
    if (!builders[spec->tool].keeps_store)
        return (struct str_list){0};
    struct making m = begin(spec, place, image, platform, a);
    add(&m, "tag");
    add(&m, "--");
    add(&m, id);
    add(&m, build_local_name(image, platform, a));
    for (size_t i = 0; i < image->refs.n; i++)
        add(&m, image->refs.at[i]);
    return m.argv;
}

/* What would change where a tool looks for programs, credentials, registries or its store; names of
 * variables as globs. A proxy would see what credentials say to hosts that speak plain http. */
static const char *const closed[] = {
    "LD_*",
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_*",
    "*_AUTH_FILE",
    "CONTAINER*",
    "_CONTAINERS*",
    "STORAGE_*",
    "REGISTRY_*",
    "REGISTRIES_*",
    "DOCKER_*",
    "BUILDAH_RUNTIME",
    "BUILDAH_ISOLATION",
    "BUILDX_*",
    "PODMAN_*",
    "GODEBUG",
    "SSL_CERT_*",
    "*_PROXY",
    "*_proxy",
    "LISTEN_*",
    "NOTIFY_*",
    "GLIBC_*",
    "GCONV_PATH",
    "NETAVARK_*",
    "GIT_*",
    "BASH_ENV",
    "ENV",
    "PYTHON*",
    "PERL*",
    "TAR_OPTIONS",
    "DBUS_*",
    "LC_*",
    "LANG",
    "LANGUAGE",
    "SHELL",
};
/* Harmless after all, and in use. */
static const char *const open_names[] = {"DOCKER_BUILDKIT"};

static bool is_closed(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(open_names); i++)
        if (str_eq(name, open_names[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(closed); i++)
        if (str_glob(closed[i], name))
            return true;
    return false;
}

int build_environment(const struct build_spec *spec, const struct build_place *place,
                      struct arena *a, const char *const **out, struct err *err)
{
    struct str_list env = {0};
    const struct {
        const char *name;
        const char *value;
    } own[] = {
        {"PATH", place->path ? place->path : USUAL_PATH},
        {"HOME", place->home},
        {"LANG", "C.UTF-8"},
        {"TMPDIR", arena_printf(a, "%s/tmp", place->home)},
        {"XDG_RUNTIME_DIR", arena_printf(a, "%s/run", place->home)},
        {"XDG_CONFIG_HOME", arena_printf(a, "%s/config", place->home)},
        {"XDG_DATA_HOME", arena_printf(a, "%s/data", place->home)},
        {"XDG_CACHE_HOME", arena_printf(a, "%s/cache", place->home)},
        {"CONTAINERS_REGISTRIES_CONF", place->registries_conf},
        {"CONTAINERS_CONF", arena_printf(a, "%s/" BUILD_CONTAINERS_CONF, place->home)},
        {"CONTAINERS_STORAGE_CONF", arena_printf(a, "%s/" BUILD_STORAGE_CONF, place->home)},
        {"DOCKER_CONFIG", place->auth_file ? fs_dirname(a, place->auth_file) : place->home},
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        *list_push(a, &env) = arena_printf(a, "%s=%s", own[i].name, own[i].value);
    for (size_t i = 0; i < spec->env.n; i++) {
        const struct build_env *more = &spec->env.at[i];
        if (is_closed(more->name))
            return err_set(err, ERR_INPUT, 0,
                           "container_build_extra_env: %.64s is not for a repository to set",
                           more->name);
        *list_push(a, &env) = arena_printf(a, "%s=%s", more->name, more->value);
    }
    *list_push(a, &env) = NULL;
    *out = env.at;
    return 0;
}
