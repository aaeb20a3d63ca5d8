#include "core/domain/imagefile_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuul_builds.h"

#define METHOD "promote_container_image_method"
#define METHOD_ALIAS "promote_container_method" /* what the job's own page calls it */

struct var;
typedef void read_var(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                      struct diags *diags);

struct var {
    const char *key;
    read_var *read;
    size_t offset; /* in struct imagefile_vars */
    unsigned rules;
};

static void read_text(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                      struct diags *diags)
{
    const char **out = (void *)((char *)vars + v->offset);
    (void)imagefile_text(n, v->key, v->rules, out, diags);
}

static void read_method(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                        struct diags *diags)
{
    const char *text;
    if (!imagefile_text(n, v->key, RULE_LINE, &text, diags))
        return;
    if (str_eq(text, "tag"))
        vars->method = PROMOTE_BY_TAG;
    else if (str_eq(text, "intermediate-registry"))
        vars->method = PROMOTE_INTERMEDIATE;
    else
        diag_error(diags, n->at, "%s must be tag or intermediate-registry, not '%.80s'", v->key,
                   text);
}

static void read_command(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                         struct diags *diags)
{
    const char *text;
    if (!imagefile_text(n, v->key, RULE_LINE, &text, diags))
        return;
    if (str_eq(text, "podman") || str_eq(text, "docker") || str_eq(text, "buildah"))
        vars->container_command = text;
    else
        diag_error(diags, n->at, "%s must be podman, docker or buildah, not '%.80s'", v->key, text);
}

static void read_format(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                        struct diags *diags)
{
    const char *text;
    if (!imagefile_text(n, v->key, RULE_LINE, &text, diags))
        return;
    if (str_eq(text, "oci") || str_eq(text, "docker"))
        vars->format = text;
    else
        diag_error(diags, n->at, "%s must be oci or docker, not '%.80s'", v->key, text);
}

static void read_flag(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                      struct diags *diags)
{
    bool *out = (void *)((char *)vars + v->offset);
    (void)yml_want_bool(n, v->key, out, diags);
}

static void read_query(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                       struct diags *diags)
{
    struct err err = ERR_INIT;
    const char *text;
    if (!imagefile_text(n, v->key, RULE_LINE, &text, diags))
        return;
    if (zuul_query_check(text, &err) == 0)
        vars->promote_query = text;
    else
        diag_error(diags, n->at, "%s", err.text);
}

static void read_promote(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                         struct diags *diags)
{
    if (yml_want_bool(n, v->key, &vars->upload_promote, diags))
        vars->upload_promote_given = true;
}

static bool is_env_name(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    size_t first = strspn(s, letters);
    return first > 0 &&
           s[first + strspn(s + first, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

/* A job's own environment stands in for the file's: maps of one name replace each other. */
static void read_env(const struct var *v, const struct yml_node *n, struct imagefile_vars *vars,
                     struct diags *diags)
{
    if (!yml_want_map(n, v->key, diags))
        return;
    if (n->n > LIMIT_TAGS)
        diag_error(diags, n->at, "%s has more than %d items", v->key, LIMIT_TAGS);
    vars->build_env.at = NULL;
    vars->build_env.n = vars->build_env.cap = 0;
    for (size_t i = 0; i < n->n && i < LIMIT_TAGS; i++) {
        const char *name = n->pairs[i].key->text, *value;
        if (!is_env_name(name)) {
            diag_error(diags, n->pairs[i].key->at,
                       "'%.80s' is no name of an environment variable (letters, digits and _)",
                       name);
            continue;
        }
        if (!imagefile_text(n->pairs[i].value, name, RULE_LINES, &value, diags))
            continue;
        struct imagefile_env *env = list_push(diags->arena, &vars->build_env);
        env->name = name;
        env->value = value;
    }
}

#define AT(member) offsetof(struct imagefile_vars, member)

static const struct var known_vars[] = {
    {METHOD, read_method, AT(method), RULE_LINE},
    {METHOD_ALIAS, read_method, AT(method), RULE_LINE},
    {"upload_container_image_promote", read_promote, AT(upload_promote), RULE_LINE},
    {"upload_docker_image_promote", read_promote, AT(upload_promote), RULE_LINE},
    {"container_command", read_command, AT(container_command), RULE_LINE},
    {"container_filename", read_text, AT(container_filename), RULE_PATH},
    {"docker_dockerfile", read_text, AT(container_filename), RULE_PATH},
    {"zuul_work_dir", read_text, AT(work_dir), RULE_PATH},
    {"container_build_extra_env", read_env, AT(build_env), RULE_LINE},
    {"promote_container_image_api", read_text, AT(promote_api), RULE_LINE},
    {"promote_container_image_pipeline", read_text, AT(promote_pipeline), RULE_LINE},
    {"promote_container_image_job", read_text, AT(promote_job), RULE_LINE},
    {"promote_container_image_query", read_query, AT(promote_query), RULE_LINE},
    {"submodules", read_flag, AT(submodules), RULE_LINE},
    {"lfs", read_flag, AT(lfs), RULE_LINE},
    {"container_image_format", read_format, AT(format), RULE_LINE},
};

static const char *const lists[] = {"container_images", "docker_images",
                                    "mirror_container_images_images"};

static bool is_list_name(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (str_eq(key, lists[i]))
            return true;
    return false;
}

/* The lists of the file and of its jobs are different ones: what is shared is copied first. */
static void add_own_var(const struct yml_pair *pair, struct template_owns *owns, struct arena *a)
{
    struct template_owns more = {0};
    list_each (const struct template_own, known, owns)
        *list_push(a, &more) = *known;
    *list_push(a, &more) =
        (struct template_own){pair->key->text, pair->value->text, pair->value->at};
    *owns = more;
}

/* A variable that is not one of ours: the repository's own, or a slip. */
static void read_own_var(const struct yml_pair *pair, bool in_job, struct imagefile_vars *vars,
                         struct diags *diags)
{
    const char *key = pair->key->text;
    if (is_list_name(key)) {
        if (!in_job)
            diag_error(diags, pair->key->at, "%s stands at the top of the file, not in vars", key);
        return;
    }
    const char *names[ARRAY_LEN(known_vars) + ARRAY_LEN(lists)];
    for (size_t i = 0; i < ARRAY_LEN(known_vars); i++)
        names[i] = known_vars[i].key;
    memcpy(names + ARRAY_LEN(known_vars), lists, sizeof lists);
    const char *nearest = str_nearest(key, names, ARRAY_LEN(names));
    if (nearest)
        diag_error(diags, pair->key->at, "unknown variable '%.80s'; did you mean '%s'?", key,
                   nearest);
    else if (pair->value->type != YML_SCALAR)
        diag_error(diags, pair->value->at,
                   "variable '%.80s' is none that Slipway reads, so it must be a single value",
                   key);
    else if (!yml_is_null(pair->value) && template_check(pair->value->text, pair->value->at, diags))
        add_own_var(pair, &vars->own, diags->arena);
}

static const struct var *find_var(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(known_vars); i++)
        if (str_eq(known_vars[i].key, key))
            return &known_vars[i];
    return NULL;
}

void imagefile_read_vars(const struct yml_node *map, bool in_job, struct imagefile_vars *vars,
                         struct diags *diags)
{
    if (!yml_want_map(map, in_job ? "what a job is given" : "vars", diags))
        return;
    if (yml_get(map, METHOD) && yml_get(map, METHOD_ALIAS))
        diag_error(diags, yml_get(map, METHOD_ALIAS)->at,
                   METHOD " is here a second time, under its other name " METHOD_ALIAS);
    for (size_t i = 0; i < map->n; i++) {
        const struct var *v = find_var(map->pairs[i].key->text);
        if (v)
            v->read(v, map->pairs[i].value, vars, diags);
        else
            read_own_var(&map->pairs[i], in_job, vars, diags);
    }
}
