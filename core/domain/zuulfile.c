#include "core/domain/zuulfile.h"

#include "core/base/limits.h"
#include "core/base/str.h"

/* ---- which files ----------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Is the file in or below a folder that asks to be passed over? */
static bool is_ignored(const char *path, const struct str_list *folders)
{
    for (size_t i = 0; i < folders->n; i++)
        if (str_starts(path, folders->at[i]))
            return true;
    return false;
}

struct str_list zuulfile_choose(const struct str_list *paths, struct arena *a)
{
    static const char *const roots[] = {"zuul.yaml", "zuul.d/", ".zuul.yaml", ".zuul.d/"};
    struct str_list found = {0}, ignored = {0};
    for (size_t i = 0; i < paths->n; i++) {
        const char *slash = strrchr(paths->at[i], '/');
        if (slash && str_eq(slash, "/.zuul.ignore"))
            *list_push(a, &ignored) =
                arena_strndup(a, paths->at[i], (size_t)(slash + 1 - paths->at[i]));
    }
    for (size_t r = 0; r < ARRAY_LEN(roots) && !found.n; r++) {
        bool is_folder = str_ends(roots[r], "/");
        for (size_t i = 0; i < paths->n; i++)
            if (is_folder ? str_starts(paths->at[i], roots[r]) && str_ends(paths->at[i], ".yaml") &&
                                !is_ignored(paths->at[i], &ignored)
                          : str_eq(paths->at[i], roots[r]))
                *list_push(a, &found) = paths->at[i];
    }
    if (found.n)
        qsort(found.at, found.n, sizeof *found.at, by_text);
    return found;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A key that is there and null is as good as absent. */
static const struct yml_node *member(const struct yml_node *map, const char *key)
{
    const struct yml_node *n = yml_get(map, key);
    return n && yml_is_null(n) ? NULL : n;
}

static const char *read_text(const struct yml_node *n, const char *what, struct diags *diags)
{
    const char *text = n->type == YML_SCALAR ? zuulfile_text(n, diags->arena) : NULL;
    if (!text)
        diag_error(diags, n->at, "%s must be a text", what);
    return text;
}

static void read_flag(const struct yml_node *n, const char *what, bool *out, struct diags *diags)
{
    if (n)
        (void)yml_want_bool(n, what, out, diags);
}

/* One item, or a list of them. */
static size_t count_items(const struct yml_node *n)
{
    return n->type == YML_SEQ ? n->n : 1;
}

static const struct yml_node *item_at(const struct yml_node *n, size_t i)
{
    return n->type == YML_SEQ ? n->items[i] : n;
}

static void read_matcher(const struct yml_node *n, const char *what, struct zuul_matchers *out,
                         struct diags *diags)
{
    struct zuul_matcher m = {.at = n->at};
    const struct yml_node *regex = n->type == YML_MAP ? member(n, "regex") : n;
    if (!regex) {
        diag_error(diags, n->at, "%s must be a regular expression, or a map with `regex`", what);
        return;
    }
    if (n->type == YML_MAP)
        read_flag(member(n, "negate"), "negate", &m.negate, diags);
    m.regex = read_text(regex, what, diags);
    if (m.regex)
        *list_push(diags->arena, out) = m;
}

static void read_matchers(const struct yml_node *map, const char *key, struct zuul_matchers *out,
                          struct diags *diags)
{
    const struct yml_node *n = member(map, key);
    if (!n)
        return;
    out->given = true;
    for (size_t i = 0; i < count_items(n); i++)
        read_matcher(item_at(n, i), key, out, diags);
}

static const struct yml_node *read_vars(const struct yml_node *map, struct diags *diags)
{
    const struct yml_node *vars = member(map, "vars");
    return vars && yml_want_map(vars, "vars", diags) ? vars : NULL;
}

/* ---- stanzas --------------------------------------------------------------------------------- */

static void read_job_parts(const struct yml_node *map, struct zuul_job_stanza *job,
                           struct diags *diags)
{
    const struct yml_node *parent = yml_get(map, "parent");
    job->has_parent = parent != NULL;
    if (parent && !yml_is_null(parent))
        job->parent = read_text(parent, "parent", diags);
    read_flag(member(map, "abstract"), "abstract", &job->abstract, diags);
    read_matchers(map, "branches", &job->branches, diags);
    read_matchers(map, "files", &job->files, diags);
    read_matchers(map, "irrelevant-files", &job->irrelevant_files, diags);
    job->vars = read_vars(map, diags);
}

static void read_job(const struct yml_node *map, const char *branch, struct zuulfile *out,
                     struct diags *diags)
{
    size_t errors = diags->errors;
    struct zuul_job_stanza job = {.at = map->at, .branch = branch};
    const struct yml_node *name = member(map, "name");
    if (!name)
        diag_error(diags, map->at, "a job needs a name");
    else
        job.name = read_text(name, "name", diags);
    read_job_parts(map, &job, diags);
    if (diags->errors == errors)
        *list_push(diags->arena, &out->jobs) = job;
}

/* An item of a pipeline's jobs: a name, or a map of one name to what is different there. */
static void read_entry(const struct yml_node *item, const char *branch,
                       struct zuul_job_stanzas *out, struct diags *diags)
{
    size_t errors = diags->errors;
    const struct yml_node *name = item, *parts = NULL;
    if (item->type == YML_MAP) {
        if (item->n != 1) {
            diag_error(diags, item->at, "one job in each item of `jobs`, but here are %zu",
                       item->n);
            return;
        }
        name = item->pairs[0].key;
        parts = yml_is_null(item->pairs[0].value) ? NULL : item->pairs[0].value;
    }
    struct zuul_job_stanza job = {.at = item->at, .branch = branch};
    job.name = read_text(name, "a job's name", diags);
    if (parts && yml_want_map(parts, "what a job is given", diags))
        read_job_parts(parts, &job, diags);
    if (diags->errors == errors)
        *list_push(diags->arena, out) = job;
}

static void read_pipeline(const struct yml_pair *pair, const char *branch,
                          struct zuul_pipelines *out, struct diags *diags)
{
    const struct yml_node *jobs = member(pair->value, "jobs");
    struct zuul_pipeline p = {.name = pair->key->text, .at = pair->key->at};
    if (!jobs)
        return;
    for (size_t i = 0; i < count_items(jobs); i++)
        read_entry(item_at(jobs, i), branch, &p.jobs, diags);
    *list_push(diags->arena, out) = p;
}

static void read_project(const struct yml_node *map, const char *branch,
                         struct zuul_project_stanzas *out, struct diags *diags)
{
    struct zuul_project_stanza project = {.at = map->at, .branch = branch};
    const struct yml_node *name = member(map, "name"), *templates = member(map, "templates");
    if (name)
        project.name = read_text(name, "name", diags);
    for (size_t i = 0; templates && i < count_items(templates); i++) {
        const char *text = read_text(item_at(templates, i), "a template's name", diags);
        if (text)
            *list_push(diags->arena, &project.templates) = text;
    }
    project.vars = read_vars(map, diags);
    /* Every other key with jobs below it is a pipeline, however the site calls it. */
    for (size_t i = 0; i < map->n; i++)
        if (map->pairs[i].value->type == YML_MAP && !str_eq(map->pairs[i].key->text, "vars"))
            read_pipeline(&map->pairs[i], branch, &project.pipelines, diags);
    *list_push(diags->arena, out) = project;
}

static void read_template(const struct yml_node *map, const char *branch, struct zuulfile *out,
                          struct diags *diags)
{
    if (member(map, "name"))
        read_project(map, branch, &out->templates, diags);
    else
        diag_error(diags, map->at, "a project-template needs a name");
}

static void read_stanza(const struct yml_node *item, const char *branch, struct zuulfile *out,
                        struct diags *diags)
{
    if (item->type != YML_MAP || item->n != 1) {
        diag_error(diags, item->at, "an item must be one stanza, such as `job:`");
        return;
    }
    const char *kind = item->pairs[0].key->text;
    const struct yml_node *map = item->pairs[0].value;
    bool is_job = str_eq(kind, "job"), is_project = str_eq(kind, "project");
    if (!is_job && !is_project && !str_eq(kind, "project-template"))
        return;
    /* `- project:` with nothing behind it says nothing. */
    if (yml_is_null(map) || !yml_want_map(map, kind, diags))
        return;
    if (is_job)
        read_job(map, branch, out, diags);
    else if (is_project)
        read_project(map, branch, &out->projects, diags);
    else
        read_template(map, branch, out, diags);
}

/* Only blanks and comments: Zuul takes that for a file that says nothing. */
static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '#')
            while (i < len && text[i] != '\n')
                i++;
        else if (!strchr(" \t\r\n", text[i]))
            return false;
    }
    return true;
}

bool zuulfile_read(const char *path, const char *branch, const void *text, size_t len,
                   struct zuulfile *out, struct diags *diags)
{
    size_t errors = diags->errors;
    if (is_blank(text, len))
        return true;
    const struct yml_node *root = yml_parse_last(path, text, len, diags);
    if (!root || yml_is_null(root))
        return root != NULL;
    if (!yml_want_seq(root, "the file", diags))
        return false;
    for (size_t i = 0; i < root->n; i++)
        read_stanza(root->items[i], branch, out, diags);
    return diags->errors == errors;
}
