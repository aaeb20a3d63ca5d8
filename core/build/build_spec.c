#include "core/build/build.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/json.h"

#include <errno.h>

#define VERSION 1

static const char *const tools[] = {
    [BUILD_PODMAN] = "podman", [BUILD_BUILDAH] = "buildah", [BUILD_DOCKER] = "docker"};
static const char *const formats[] = {[BUILD_OCI] = "oci", [BUILD_DOCKER_FORMAT] = "docker"};

const char *build_tool_name(enum build_tool tool)
{
    return tools[tool];
}

static bool find_name(const char *const *names, size_t n, const char *name, int *out)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(names[i], name)) {
            *out = (int)i;
            return true;
        }
    }
    return false;
}

bool build_tool_from_name(const char *name, enum build_tool *out)
{
    int found;
    if (!find_name(tools, ARRAY_LEN(tools), name, &found))
        return false;
    *out = (enum build_tool)found;
    return true;
}

const char *build_layout_name(const char *image, const char *platform, struct arena *a)
{
    if (!platform)
        return arena_strdup(a, image);
    char *name = arena_printf(a, "%s-%s", image, platform);
    for (char *p = name; *p; p++)
        if (*p == '/')
            *p = '-';
    return name;
}

static struct js *strings_to_js(const struct str_list *list)
{
    struct js *array = js_array();
    for (size_t i = 0; i < list->n; i++)
        js_push_str(array, list->at[i]);
    return array;
}

/* Members of an image, by what they hold, for both directions. */
struct text_field {
    const char *key;
    size_t offset;
};

#define FIELD(type, name)                                                                          \
    {                                                                                              \
#        name, offsetof(struct type, name)                                                         \
    }

static const struct text_field image_texts[] = {
    FIELD(build_image, name), FIELD(build_image, label),    FIELD(build_image, context),
    FIELD(build_image, path), FIELD(build_image, filename), FIELD(build_image, target),
};
static const struct text_field image_lists[] = {
    FIELD(build_image, build_args), FIELD(build_image, labels), FIELD(build_image, siblings),
    FIELD(build_image, platforms),  FIELD(build_image, refs),
};
static const struct text_field spec_texts[] = {
    FIELD(build_spec, source), FIELD(build_spec, out),       FIELD(build_spec, siblings),
    FIELD(build_spec, pull),   FIELD(build_spec, isolation),
};
static const struct text_field spec_numbers[] = {
    FIELD(build_spec, timeout_s),
    FIELD(build_spec, disk_max),
    FIELD(build_spec, log_max),
};

static void put_texts(struct js *object, const void *from, const struct text_field *fields,
                      size_t n)
{
    for (size_t i = 0; i < n; i++)
        js_put_str(object, fields[i].key,
                   *(const char *const *)((const char *)from + fields[i].offset));
}

static struct js *image_to_js(const struct build_image *image)
{
    struct js *object = js_object();
    put_texts(object, image, image_texts, ARRAY_LEN(image_texts));
    for (size_t i = 0; i < ARRAY_LEN(image_lists); i++)
        js_put(object, image_lists[i].key,
               strings_to_js((const void *)((const char *)image + image_lists[i].offset)));
    return object;
}

const char *build_spec_to_json(const struct build_spec *spec, struct arena *a)
{
    struct js *object CLEANUP_JS = js_object();
    js_put_int(object, "version", VERSION);
    js_put_str(object, "tool", build_tool_name(spec->tool));
    js_put_str(object, "format", formats[spec->format]);
    put_texts(object, spec, spec_texts, ARRAY_LEN(spec_texts));
    js_put(object, "insecure", strings_to_js(&spec->insecure));
    struct js *env = js_object();
    for (size_t i = 0; i < spec->env.n; i++)
        js_put_str(env, spec->env.at[i].name, spec->env.at[i].value);
    js_put(object, "env", env);
    for (size_t i = 0; i < ARRAY_LEN(spec_numbers); i++)
        js_put_int(object, spec_numbers[i].key,
                   *(const int64_t *)((const char *)spec + spec_numbers[i].offset));
    struct js *images = js_array();
    for (size_t i = 0; i < spec->images.n; i++)
        js_push(images, image_to_js(&spec->images.at[i]));
    js_put(object, "images", images);
    return js_dump(object, a);
}

static int wrong_type(const char *key, const char *want, struct err *err)
{
    return err_set(err, ERR_INPUT, 0, "%s: %s is wanted", key, want);
}

static int get_texts(const struct js *object, const struct text_field *fields, size_t n,
                     struct arena *a, void *into, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct js *value = js_member(object, fields[i].key);
        const char *text = js_member_str(object, fields[i].key);
        if (value && !text)
            return wrong_type(fields[i].key, "a text", err);
        *(const char **)((char *)into + fields[i].offset) = arena_strdup(a, text);
    }
    return 0;
}

static int get_strings(const struct js *object, const char *key, struct arena *a,
                       struct str_list *out, struct err *err)
{
    const struct js *array = js_member(object, key);
    if (array && !js_is_array(array))
        return wrong_type(key, "a list of texts", err);
    for (size_t i = 0; array && i < js_len(array); i++) {
        const char *text = js_str(js_at(array, i), "");
        if (!text)
            return wrong_type(key, "a list of texts", err);
        *list_push(a, out) = arena_strdup(a, text);
    }
    return 0;
}

/* An older builder must not build less than a newer asker has asked for. */
static int only_known(const struct js *object, const char *const *known, size_t n, struct arena *a,
                      struct err *err)
{
    struct str_list keys = {0};
    (void)js_keys(object, a, &keys);
    for (size_t i = 0; i < keys.n; i++) {
        int found;
        if (!find_name(known, n, keys.at[i], &found))
            return err_set(err, ERR_INPUT, 0, "%.64s: not known to this builder",
                           str_printable(a, keys.at[i]));
    }
    return 0;
}

static int get_image(const struct js *object, struct arena *a, struct build_image *out,
                     struct err *err)
{
    static const char *const known[] = {"name",      "label",  "context",   "path",
                                        "filename",  "target", "labels",    "siblings",
                                        "platforms", "refs",   "build_args"};
    if (!js_is_object(object))
        return wrong_type("images", "a list of objects", err);
    if (only_known(object, known, ARRAY_LEN(known), a, err) < 0 ||
        get_texts(object, image_texts, ARRAY_LEN(image_texts), a, out, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(image_lists); i++)
        if (get_strings(object, image_lists[i].key, a,
                        (void *)((char *)out + image_lists[i].offset), err) < 0)
            return -1;
    return 0;
}

static int get_env(const struct js *spec, struct arena *a, struct build_envs *out, struct err *err)
{
    const struct js *env = js_member(spec, "env");
    if (env && !js_is_object(env))
        return wrong_type("env", "an object", err);
    struct str_list names = {0};
    (void)js_keys(env, a, &names);
    for (size_t i = 0; i < names.n; i++) {
        const char *value = js_member_str(env, names.at[i]);
        if (!value)
            return wrong_type("env", "an object of texts", err);
        *list_push(a, out) =
            (struct build_env){arena_strdup(a, names.at[i]), arena_strdup(a, value)};
    }
    return 0;
}

static int get_choices(const struct js *object, struct build_spec *out, struct err *err)
{
    int tool, format;
    if (js_int(object, "version", 0) != VERSION)
        return err_set(err, ERR_INPUT, 0, "version: %d is wanted: asker and builder must be alike",
                       VERSION);
    if (!find_name(tools, ARRAY_LEN(tools), js_member_str(object, "tool"), &tool))
        return wrong_type("tool", "podman, buildah or docker", err);
    if (!find_name(formats, ARRAY_LEN(formats), js_member_str(object, "format"), &format))
        return wrong_type("format", "oci or docker", err);
    out->tool = (enum build_tool)tool;
    out->format = (enum build_format)format;
    return 0;
}

static int get_numbers(const struct js *object, struct build_spec *out, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(spec_numbers); i++) {
        const char *key = spec_numbers[i].key;
        int64_t value = js_int(object, key, -1);
        if (value < 0 && js_member(object, key))
            return wrong_type(key, "a number that is not negative", err);
        *(int64_t *)((char *)out + spec_numbers[i].offset) = value < 0 ? 0 : value;
    }
    return 0;
}

static int get_spec(const struct js *object, struct arena *a, struct build_spec *out,
                    struct err *err)
{
    static const char *const known[] = {"version",  "tool",   "format",    "source",   "out",
                                        "siblings", "pull",   "isolation", "insecure", "env",
                                        "log_max",  "images", "timeout_s", "disk_max"};
    if (!js_is_object(object))
        return err_set(err, ERR_INPUT, 0, "an object is wanted");
    if (get_choices(object, out, err) < 0 ||
        only_known(object, known, ARRAY_LEN(known), a, err) < 0 ||
        get_texts(object, spec_texts, ARRAY_LEN(spec_texts), a, out, err) < 0 ||
        get_strings(object, "insecure", a, &out->insecure, err) < 0 ||
        get_env(object, a, &out->env, err) < 0 || get_numbers(object, out, err) < 0)
        return -1;
    const struct js *images = js_member(object, "images");
    if (!js_is_array(images))
        return wrong_type("images", "a list", err);
    for (size_t i = 0; i < js_len(images); i++)
        if (get_image(js_at(images, i), a, list_push(a, &out->images), err) < 0)
            return err_wrap(err, "image %zu", i + 1);
    return build_spec_check(out, a, err);
}

int build_spec_from_json(const char *text, size_t len, struct arena *a, struct build_spec *out,
                         struct err *err)
{
    if (len > LIMIT_BUILD_SPEC)
        return err_set(err, ERR_INPUT, EMSGSIZE, "build: the request has more than %zu bytes",
                       LIMIT_BUILD_SPEC);
    struct js *object CLEANUP_JS = js_parse(text, len, err);
    struct build_spec spec = {0};
    if (!object || get_spec(object, a, &spec, err) < 0) {
        if (err)
            err->kind = ERR_INPUT;
        return err_wrap(err, "build");
    }
    *out = spec;
    return 0;
}
