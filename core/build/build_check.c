#include "core/build/build.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/domain/imageref.h"

#define LONGEST_NAME 128

static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

static bool made_of(const char *s, const char *letters, const char *others)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!strchr(letters, *s) && !strchr(others, *s))
            return false;
    return true;
}

/* What may ride in an argument: one line of text of a bounded length. */
static bool plain(const char *s)
{
    size_t len = strlen(s);
    for (const char *p = s; *p; p++)
        if (str_control(p))
            return false;
    return len && len <= LIMIT_BUILD_TEXT;
}

static bool name_ok(const char *s)
{
    return s && made_of(s, lower, "-") && *s != '-' && strlen(s) <= LONGEST_NAME;
}

static bool absolute_ok(const char *s)
{
    return s && *s == '/' && plain(s) && strlen(s) <= LIMIT_LAYOUT_PATH;
}

static bool segment_ok(const char *s, size_t len)
{
    return len && !(len == 2 && s[0] == '.' && s[1] == '.');
}

/* Below where it starts from, as far as the text can tell. */
static bool relative_ok(const char *s)
{
    if (!plain(s) || *s == '/' || *s == '-' || strlen(s) > LIMIT_LAYOUT_PATH)
        return false;
    for (;;) {
        size_t len = strcspn(s, "/");
        if (!s[len])
            return !len || segment_ok(s, len); /* a '/' at the end is harmless */
        if (!segment_ok(s, len))
            return false;
        s += len + 1;
    }
}

static bool filename_ok(const char *s)
{
    return relative_ok(s) && !str_ends(s, "/");
}

static bool target_ok(const char *s)
{
    return made_of(s, word, ".-") && *s != '-' && strlen(s) <= LIMIT_NAME;
}

/* Without '=' the tools take the value from their environment. */
static bool arg_ok(const char *s)
{
    size_t len = strcspn(s, "=");
    for (size_t i = 0; i < len; i++)
        if (!strchr(word, s[i]) && s[i] != '.' && s[i] != '-')
            return false;
    return plain(s) && len && s[len] && *s != '-';
}

static bool label_ok(const char *s)
{
    size_t len = strcspn(s, "=");
    return plain(s) && len && s[len] && *s != '-' && strcspn(s, " ") >= len;
}

/* host/name, each part an ordinary name of a directory. */
static bool sibling_ok(const char *s)
{
    if (strlen(s) > LIMIT_PROJECT || !made_of(s, word, ".-+~@:/"))
        return false;
    for (;;) {
        size_t len = strcspn(s, "/");
        if (!segment_ok(s, len) || *s == '-' || (len == 1 && *s == '.'))
            return false;
        if (!s[len])
            return true;
        s += len + 1;
    }
}

static bool platform_ok(const char *s)
{
    size_t slashes = 0;
    if (!made_of(s, lower, "_./") || strlen(s) > LONGEST_NAME)
        return false;
    for (const char *p = s; *p; p++)
        slashes += *p == '/';
    return slashes >= 1 && slashes <= 2 && *s != '/' && !str_ends(s, "/") && !strstr(s, "//") &&
           !strstr(s, "..");
}

static bool ref_ok(const char *s)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct imageref ref;
    return plain(s) && imageref_parse(s, NULL, &a, &ref, NULL) == 0 && ref.tag && !ref.digest;
}

struct rule {
    const char *what;
    bool (*ok)(const char *s);
    const char *want;
};

/* buildah and podman run cpp over such a file, outside of any step: it may include what it likes.
 */
static bool container_file_ok(const char *s)
{
    return filename_ok(s) && !str_ends(s, ".in");
}

static const struct rule contexts = {
    "context", relative_ok,
    "a path below the source is wanted, without '..' and no '-' at its start"};
static const struct rule paths = {
    "path", relative_ok,
    "a path below the context is wanted, without '..' and no '-' at its start"};
static const struct rule filenames = {
    "container_filename", container_file_ok,
    "a path below the context is wanted, without '..', no '-' at its start and no .in at its end"};
static const struct rule targets = {"target", target_ok, "the name of a stage is wanted"};
static const struct rule names = {"name", name_ok, "lower-case letters, digits and '-' are wanted"};
static const struct rule build_args = {"build_args", arg_ok, "NAME=value on one line is wanted"};
static const struct rule labels = {"labels", label_ok, "name=value on one line is wanted"};
static const struct rule siblings = {"siblings", sibling_ok,
                                     "a canonical project name (host/name) is wanted"};
static const struct rule platforms = {"arch", platform_ok, "os/arch or os/arch/variant is wanted"};
static const struct rule refs = {"refs", ref_ok, "host/name:tag is wanted"};
static const struct rule hosts = {"insecure", imageref_host_ok, "host or host:port is wanted"};
static const struct rule env_values = {"env", plain, "one line of text is wanted"};

static int check_text(const struct rule *rule, const char *s, struct arena *a, struct err *err)
{
    if (!s || rule->ok(s))
        return 0;
    return err_set(err, ERR_INPUT, 0, "%s: \"%.120s\": %s", rule->what, str_printable(a, s),
                   rule->want);
}

static int check_list(const struct rule *rule, const struct str_list *list, struct arena *a,
                      struct err *err)
{
    for (size_t i = 0; i < list->n; i++)
        if (check_text(rule, list->at[i], a, err) < 0)
            return -1;
    return 0;
}

/* "app" for linux/arm64 and "app-linux-arm64" would share a folder. */
static int check_layouts(const struct build_image *image, struct strset *seen, struct arena *a,
                         struct err *err)
{
    size_t n = image->platforms.n ? image->platforms.n : 1;
    for (size_t i = 0; i < n; i++) {
        const char *platform = image->platforms.n ? image->platforms.at[i] : NULL;
        const char *layout = build_layout_name(image->name, platform, a);
        if (!strset_add(seen, a, layout))
            return err_set(err, ERR_INPUT, 0, "%s is named twice", layout);
    }
    return 0;
}

static int check_image(const struct build_spec *spec, const struct build_image *image,
                       struct strset *seen, struct arena *a, struct err *err)
{
    if (!image->name || !image->context)
        return err_set(err, ERR_INPUT, 0, "name and context are wanted");
    if (image->platforms.n > LIMIT_BUILD_PLATFORMS)
        return err_set(err, ERR_INPUT, 0, "arch: more than %d platforms", LIMIT_BUILD_PLATFORMS);
    if (check_text(&names, image->name, a, err) < 0 ||
        check_text(&contexts, image->context, a, err) < 0 ||
        check_text(&paths, image->path, a, err) < 0 ||
        check_text(&filenames, image->filename, a, err) < 0 ||
        check_text(&targets, image->target, a, err) < 0 ||
        check_list(&build_args, &image->build_args, a, err) < 0 ||
        check_list(&labels, &image->labels, a, err) < 0 ||
        check_list(&siblings, &image->siblings, a, err) < 0 ||
        check_list(&platforms, &image->platforms, a, err) < 0 ||
        check_list(&refs, &image->refs, a, err) < 0)
        return -1;
    if (image->siblings.n && !spec->siblings)
        return err_set(err, ERR_INPUT, 0,
                       "siblings: %s and others are asked for, but none are there",
                       image->siblings.at[0]);
    return check_layouts(image, seen, a, err);
}

static int check_env(const struct build_envs *env, struct arena *a, struct err *err)
{
    for (size_t i = 0; i < env->n; i++) {
        const char *name = env->at[i].name;
        if (!made_of(name, word, "") || strchr("0123456789", *name) || strlen(name) > LIMIT_NAME)
            return err_set(err, ERR_INPUT, 0, "env: \"%.64s\" is no name of a variable",
                           str_printable(a, name));
        if (*env->at[i].value && check_text(&env_values, env->at[i].value, a, err) < 0)
            return err_wrap(err, "%s", name);
    }
    return 0;
}

static int check_whole(const struct build_spec *spec, struct arena *a, struct err *err)
{
    /* These would end the folder's name in what the tools are told. */
    if (!absolute_ok(spec->source) || !absolute_ok(spec->out) || strpbrk(spec->out, ":,") ||
        (spec->siblings && !absolute_ok(spec->siblings)))
        return err_set(
            err, ERR_INPUT, 0,
            "source, out and siblings: absolute paths are wanted, out without ':' and ','");
    if (spec->isolation && !str_eq(spec->isolation, "chroot") &&
        !str_eq(spec->isolation, "rootless") && !str_eq(spec->isolation, "oci"))
        return err_set(err, ERR_INPUT, 0, "isolation: chroot, rootless or oci is wanted");
    if (spec->timeout_s < 0 || spec->timeout_s > LIMIT_BUILD_MOST_S || spec->disk_max < 0 ||
        spec->log_max < 0)
        return err_set(err, ERR_INPUT, 0,
                       "timeout_s, disk_max, log_max: not negative, and a time of at most %d s",
                       LIMIT_BUILD_MOST_S);
    if (spec->pull && strlen(spec->pull) > LIMIT_BUILD_PULL)
        return err_set(err, ERR_INPUT, 0, "pull: more than %zu bytes", LIMIT_BUILD_PULL);
    if (!spec->images.n || spec->images.n > LIMIT_BUILD_IMAGES)
        return err_set(err, ERR_INPUT, 0, "images: 1 to %d are wanted, not %zu", LIMIT_BUILD_IMAGES,
                       spec->images.n);
    if (check_list(&hosts, &spec->insecure, a, err) < 0)
        return -1;
    return check_env(&spec->env, a, err);
}

int build_spec_check(const struct build_spec *spec, struct arena *a, struct err *err)
{
    struct strset seen = {0};
    if (check_whole(spec, a, err) < 0)
        return -1;
    for (size_t i = 0; i < spec->images.n; i++) {
        const struct build_image *image = &spec->images.at[i];
        const char *called = !str_empty(image->label) ? image->label
                             : image->name            ? image->name
                                                      : "without a name";
        if (check_image(spec, image, &seen, a, err) < 0)
            return err_wrap(err, "image %.200s", str_printable(a, called));
    }
    return 0;
}
