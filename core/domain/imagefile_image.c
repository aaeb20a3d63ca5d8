#include "core/domain/imagefile_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/template.h"

static bool has_control(const char *s, bool lines)
{
    for (; *s; s++)
        if (str_control(s) && !(lines && (*s == '\n' || *s == '\t')))
            return true;
    return false;
}

static bool goes_up(const char *path)
{
    while (path) {
        if (path[0] == '.' && path[1] == '.' && (path[2] == '/' || path[2] == '\0'))
            return true;
        path = strchr(path, '/');
        path = path ? path + 1 : NULL;
    }
    return false;
}

/* What is wrong with a text by these rules, NULL when nothing is. */
static const char *broken_rule(const char *text, unsigned rules)
{
    if (has_control(text, rules & RULE_LINES))
        return "must not hold control characters";
    if (*text == '\0' && !(rules & RULE_LINES))
        return "must not be empty";
    if ((rules & RULE_PATH) && (*text == '/' || *text == '-' || goes_up(text)))
        return "must be a path below the repository: relative, without '..', not beginning with "
               "'-'";
    if ((rules & RULE_HOST) && strchr(text, '/') && !strstr(text, "{{"))
        return "must be a host such as registry.example.org:5000, without a scheme or a path";
    return NULL;
}

bool imagefile_text(const struct yml_node *n, const char *what, unsigned rules, const char **out,
                    struct diags *diags)
{
    const char *text;
    if (!n || !yml_want_str(n, what, true, &text, diags))
        return false;
    const char *wrong = broken_rule(text, rules);
    if (wrong) {
        diag_error(diags, n->at, "%s %s", what, wrong);
        return false;
    }
    if ((rules & RULE_TEMPLATE) && !template_check(text, n->at, diags))
        return false;
    *out = text;
    return true;
}

static void add_text(const struct yml_node *n, const char *what, unsigned rules,
                     struct image_texts *out, struct diags *diags)
{
    const char *text;
    if (!imagefile_text(n, what, rules, &text, diags))
        return;
    list_each (const struct image_text, known, out) {
        if (str_eq(known->text, text)) {
            diag_warn(diags, n->at, "'%.80s' is %s twice", text, what);
            return;
        }
    }
    struct image_text *added = list_push(diags->arena, out);
    added->text = text;
    added->at = n->at;
}

bool imagefile_texts(const struct yml_node *n, const char *what, unsigned rules, size_t max,
                     struct image_texts *out, struct diags *diags)
{
    size_t before = diags->errors;
    if (!n)
        return false;
    if (n->type == YML_SCALAR && !yml_is_null(n)) {
        add_text(n, what, rules, out, diags);
    } else if (yml_want_seq(n, what, diags)) {
        if (n->n > max)
            diag_error(diags, n->items[max]->at, "%s has more than %zu items", what, max);
        const char *item = arena_printf(diags->arena, "an item of %s", what);
        for (size_t i = 0; i < n->n && i < max; i++)
            add_text(n->items[i], item, rules, out, diags);
    }
    return diags->errors == before;
}

struct field;
typedef void read_field(const struct field *f, const struct yml_node *n, struct image *image,
                        struct diags *diags);

struct field {
    const char *key;
    read_field *read;
    size_t offset; /* in struct image */
    unsigned rules;
};

static void *member(const struct field *f, struct image *image)
{
    return (char *)image + f->offset;
}

static void read_placed(const struct field *f, const struct yml_node *n, struct image *image,
                        struct diags *diags)
{
    struct image_text *out = member(f, image);
    if (imagefile_text(n, f->key, f->rules, &out->text, diags))
        out->at = n->at;
}

static void read_text(const struct field *f, const struct yml_node *n, struct image *image,
                      struct diags *diags)
{
    const char **out = member(f, image);
    (void)imagefile_text(n, f->key, f->rules, out, diags);
}

/* Duplicates stay: a build argument may be given twice, the last one counts. */
static void read_list(const struct field *f, const struct yml_node *n, struct image *image,
                      struct diags *diags)
{
    struct str_list *out = member(f, image);
    const char *text;
    if (n->type == YML_SCALAR && !yml_is_null(n)) {
        if (imagefile_text(n, f->key, f->rules, &text, diags))
            *list_push(diags->arena, out) = text;
        return;
    }
    if (!yml_want_seq(n, f->key, diags))
        return;
    if (n->n > LIMIT_TAGS)
        diag_error(diags, n->at, "%s has more than %d items", f->key, LIMIT_TAGS);
    const char *item = arena_printf(diags->arena, "an item of %s", f->key);
    for (size_t i = 0; i < n->n && i < LIMIT_TAGS; i++)
        if (imagefile_text(n->items[i], item, f->rules, &text, diags))
            *list_push(diags->arena, out) = text;
}

static void read_tags(const struct field *f, const struct yml_node *n, struct image *image,
                      struct diags *diags)
{
    if (imagefile_texts(n, f->key, f->rules, LIMIT_TAGS, &image->tags, diags))
        image->no_tags = image->tags.n == 0;
}

static void read_visibility(const struct field *f, const struct yml_node *n, struct image *image,
                            struct diags *diags)
{
    const char *text;
    if (!imagefile_text(n, f->key, RULE_LINE, &text, diags))
        return;
    if (str_eq(text, "public") || str_eq(text, "private"))
        image->visibility = text;
    else
        diag_error(diags, n->at, "visibility must be public or private, not '%.80s'", text);
}

#define DOCKER_IMAGES "docker_images"
#define DOCKERFILE "dockerfile"

static const struct field fields[] = {
    {"context", read_placed, offsetof(struct image, context), RULE_TEMPLATE | RULE_PATH},
    {"registry", read_placed, offsetof(struct image, registry), RULE_TEMPLATE | RULE_HOST},
    {"repository", read_placed, offsetof(struct image, repository), RULE_TEMPLATE},
    {"tags", read_tags, offsetof(struct image, tags), RULE_TEMPLATE},
    {"container_filename", read_text, offsetof(struct image, container_filename),
     RULE_TEMPLATE | RULE_PATH},
    {DOCKERFILE, read_text, offsetof(struct image, container_filename), RULE_TEMPLATE | RULE_PATH},
    {"path", read_text, offsetof(struct image, path), RULE_TEMPLATE | RULE_PATH},
    {"target", read_text, offsetof(struct image, target), RULE_TEMPLATE},
    {"build_args", read_list, offsetof(struct image, build_args), RULE_TEMPLATE},
    {"siblings", read_list, offsetof(struct image, siblings), RULE_PATH},
    {"labels", read_list, offsetof(struct image, labels), RULE_TEMPLATE},
    {"arch", read_list, offsetof(struct image, arch), RULE_LINE},
    {"namespace", read_text, offsetof(struct image, namespace_), RULE_LINE},
    {"repo_shortname", read_text, offsetof(struct image, repo_shortname), RULE_LINE},
    {"repo_description", read_text, offsetof(struct image, repo_description), RULE_LINES},
    {"visibility", read_visibility, offsetof(struct image, visibility), RULE_LINE},
};

/* Of the two names of the container file each family has its own. */
static void check_fields(const struct yml_node *item, bool docker, struct diags *diags)
{
    const char *other = docker ? "container_filename" : DOCKERFILE;
    const char *keys[ARRAY_LEN(fields)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (!str_eq(fields[i].key, other))
            keys[n++] = fields[i].key;
    yml_check_keys(item, keys, n, diags);
}

/* The first part of "host/name" if it looks like a host, as container tools decide it. */
static const char *host_of(const char *repository, struct arena *a)
{
    const char *slash = strchr(repository, '/');
    if (!slash || slash == repository)
        return NULL;
    const char *host = arena_strndup(a, repository, (size_t)(slash - repository));
    if (strstr(host, "{{"))
        return NULL;
    return strpbrk(host, ".:") || str_eq(host, "localhost") ? host : NULL;
}

/* What must be there, and what follows from the rest. A key that is there but wrong has been
 * reported by its reader. */
static void complete_image(const struct yml_node *item, bool docker, struct image *image,
                           struct diags *diags)
{
    if (!yml_get(item, "context"))
        diag_error(diags, item->at, "an image needs a context: the directory that it is built in");
    if (!yml_get(item, "tags")) {
        struct image_text *tag = list_push(diags->arena, &image->tags);
        tag->text = "latest";
        tag->at = item->at;
    }
    if (image->no_tags)
        return;
    if (!yml_get(item, "repository"))
        diag_error(diags, item->at,
                   "an image needs a repository, such as "
                   "registry.example.org/team/app (or `tags: []` to only build)");
    if (yml_get(item, "registry") || !image->repository.text)
        return;
    image->registry.text = host_of(image->repository.text, diags->arena);
    image->registry.at = image->repository.at;
    if (!image->registry.text && docker)
        image->registry.text = "docker.io";
    if (!image->registry.text)
        diag_error(diags, item->at,
                   "an image needs a registry: its repository '%.80s' does not begin with a host",
                   image->repository.text);
}

static void read_image(const struct yml_node *item, bool docker, const char *filename,
                       struct image *image, struct diags *diags)
{
    image->at = item->at;
    if (!yml_want_map(item, "an image", diags))
        return;
    check_fields(item, docker, diags);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct yml_node *value = yml_get(item, fields[i].key);
        if (value)
            fields[i].read(&fields[i], value, image, diags);
    }
    complete_image(item, docker, image, diags);
    if (!image->container_filename)
        image->container_filename = filename;
}

const struct yml_node *imagefile_images(const struct yml_node *map, const char **key)
{
    const struct yml_node *list = yml_get(map, "container_images");
    *key = list || !yml_get(map, DOCKER_IMAGES) ? "container_images" : DOCKER_IMAGES;
    return yml_get(map, *key);
}

void imagefile_read_images(const struct yml_node *list, const char *key, const char *filename,
                           struct image_list *out, struct diags *diags)
{
    if (!yml_want_seq(list, key, diags))
        return;
    if (list->n > LIMIT_IMAGES)
        diag_error(diags, list->items[LIMIT_IMAGES]->at, "%s has more than %d items", key,
                   LIMIT_IMAGES);
    for (size_t i = 0; i < list->n && i < LIMIT_IMAGES; i++)
        read_image(list->items[i], str_eq(key, DOCKER_IMAGES), filename,
                   list_push(diags->arena, out), diags);
}
