#include "core/domain/zuulfile.h"

#include "core/base/limits.h"
#include "core/base/str.h"

/* ---- which files ----------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_paths(struct str_list *list)
{
    if (list->n)
        qsort(list->at, list->n, sizeof *list->at, by_text);
}

/* The last of a sorted list that does not come after the text; NULL: all do. */
static const char *last_before(const struct str_list *sorted, const char *text)
{
    size_t low = 0, high = sorted->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(sorted->at[middle], text) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? sorted->at[low - 1] : NULL;
}

/* The folders to pass over, as "zuul.d/x/", sorted. None is in another, so that of a path below one
 * of them it is that one which sorts last before it. */
static struct str_list ignored_folders(const struct str_list *paths, struct arena *a)
{
    struct str_list all = {0}, outer = {0};
    for (size_t i = 0; i < paths->n; i++) {
        const char *slash = strrchr(paths->at[i], '/');
        if (slash && str_eq(slash, "/.zuul.ignore"))
            *list_push(a, &all) =
                arena_strndup(a, paths->at[i], (size_t)(slash + 1 - paths->at[i]));
    }
    sort_paths(&all);
    for (size_t i = 0; i < all.n; i++)
        if (!outer.n || !str_starts(all.at[i], outer.at[outer.n - 1]))
            *list_push(a, &outer) = all.at[i];
    return outer;
}

static bool is_chosen(const char *path, const char *root, const struct str_list *ignored)
{
    if (!str_ends(root, "/"))
        return str_eq(path, root);
    if (!str_starts(path, root) || !str_ends(path, ".yaml"))
        return false;
    const char *folder = last_before(ignored, path);
    return !folder || !str_starts(path, folder);
}

struct str_list zuulfile_choose(const struct str_list *paths, struct arena *a)
{
    static const char *const roots[] = {"zuul.yaml", "zuul.d/", ".zuul.yaml", ".zuul.d/"};
    struct str_list found = {0}, ignored = ignored_folders(paths, a);
    for (size_t r = 0; r < ARRAY_LEN(roots) && !found.n; r++)
        for (size_t i = 0; i < paths->n; i++)
            if (is_chosen(paths->at[i], roots[r], &ignored))
                *list_push(a, &found) = paths->at[i];
    sort_paths(&found);
    return found;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A key that is there and null is as good as absent. */
static const struct yml_node *member(const struct yml_node *map, const char *key)
{
    const struct yml_node *n = yml_get(map, key);
    return n && yml_is_null(n) ? NULL : n;
}

/* Readers tell by their result, not by the number of findings: an alias of what was reported is
 * reported only once, and no better for it. */
static bool read_text(const struct yml_node *n, const char *what, const char **out,
                      struct diags *diags)
{
    *out = n->type == YML_SCALAR ? zuulfile_text(n, diags->arena) : NULL;
    if (!*out)
        diag_error(diags, n->at, "%s must be a text", what);
    return *out != NULL;
}

static bool read_name(const struct yml_node *n, const char *what, const char **out,
                      struct diags *diags)
{
    if (!read_text(n, what, out, diags))
        return false;
    if (!**out)
        diag_error(diags, n->at, "%s must not be empty", what);
    return **out != '\0';
}

static bool read_flag(const struct yml_node *n, const char *what, bool *out, struct diags *diags)
{
    return !n || yml_want_bool(n, what, out, diags);
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

/* {regex: text, negate: flag} and nothing else. */
static bool read_matcher_map(const struct yml_node *n, const char *what, struct zuul_matcher *out,
                             struct diags *diags)
{
    static const char *const keys[] = {"regex", "negate"};
    const struct yml_node *regex = member(n, "regex");
    if (!regex) {
        diag_error(diags, n->at, "%s must be a regular expression, or a map with `regex`", what);
        return false;
    }
    yml_check_keys(n, keys, ARRAY_LEN(keys), diags);
    bool known = n->n == 1 + (size_t)(yml_get(n, "negate") != NULL);
    bool ok = read_flag(member(n, "negate"), "negate", &out->negate, diags);
    return read_text(regex, what, &out->regex, diags) && ok && known;
}

static bool read_matchers(const struct yml_node *map, const char *key, struct zuul_matchers *out,
                          struct diags *diags)
{
    const struct yml_node *n = member(map, key);
    bool ok = true;
    if (!n)
        return true;
    out->given = true;
    /* To Python an empty text is as false as an empty list. */
    if (n->type == YML_SCALAR && !n->len)
        return true;
    for (size_t i = 0; i < count_items(n); i++) {
        const struct yml_node *item = item_at(n, i);
        struct zuul_matcher m = {.at = item->at};
        if (item->type == YML_MAP ? read_matcher_map(item, key, &m, diags)
                                  : read_text(item, key, &m.regex, diags))
            *list_push(diags->arena, out) = m;
        else
            ok = false;
    }
    return ok;
}

static bool read_vars(const struct yml_node *map, const struct yml_node **out, struct diags *diags)
{
    *out = member(map, "vars");
    return !*out || yml_want_map(*out, "vars", diags);
}

/* ---- stanzas --------------------------------------------------------------------------------- */

static bool read_job_parts(const struct yml_node *map, struct zuul_job_stanza *job,
                           struct diags *diags)
{
    const struct yml_node *parent = yml_get(map, "parent");
    bool ok = !parent || yml_is_null(parent) || read_text(parent, "parent", &job->parent, diags);
    job->has_parent = parent != NULL;
    ok = read_flag(member(map, "abstract"), "abstract", &job->abstract, diags) && ok;
    ok = read_matchers(map, "branches", &job->branches, diags) && ok;
    ok = read_matchers(map, "files", &job->files, diags) && ok;
    ok = read_matchers(map, "irrelevant-files", &job->irrelevant_files, diags) && ok;
    return read_vars(map, &job->vars, diags) && ok;
}

static void read_job(const struct yml_node *map, const char *branch, struct zuulfile *out,
                     struct diags *diags)
{
    struct zuul_job_stanza job = {.at = map->at, .branch = branch};
    const struct yml_node *name = member(map, "name");
    if (!name)
        diag_error(diags, map->at, "a job needs a name");
    bool ok = name && read_name(name, "name", &job.name, diags);
    if (read_job_parts(map, &job, diags) && ok)
        *list_push(diags->arena, &out->jobs) = job;
}

/* An item of a pipeline's jobs: a name, or a map of one name to what is different there. */
static void read_entry(const struct yml_node *item, const char *branch,
                       struct zuul_job_stanzas *out, struct diags *diags)
{
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
    bool ok = read_name(name, "a job's name", &job.name, diags);
    if (parts)
        ok = yml_want_map(parts, "what a job is given", diags) &&
             read_job_parts(parts, &job, diags) && ok;
    if (ok)
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

static bool read_templates(const struct yml_node *map, struct str_list *out, struct diags *diags)
{
    const struct yml_node *n = member(map, "templates");
    bool ok = true;
    for (size_t i = 0; n && i < count_items(n); i++) {
        const char *text;
        if (read_name(item_at(n, i), "a template's name", &text, diags))
            *list_push(diags->arena, out) = text;
        else
            ok = false;
    }
    return ok;
}

static void read_project(const struct yml_node *map, const char *branch,
                         struct zuul_project_stanzas *out, struct diags *diags)
{
    struct zuul_project_stanza project = {.at = map->at, .branch = branch};
    const struct yml_node *name = member(map, "name");
    bool ok = !name || read_text(name, "name", &project.name, diags);
    if (str_empty(project.name))
        project.name = NULL;
    ok = read_templates(map, &project.templates, diags) && ok;
    ok = read_vars(map, &project.vars, diags) && ok;
    /* Every other key with jobs below it is a pipeline, however the site calls it. */
    for (size_t i = 0; i < map->n; i++)
        if (map->pairs[i].value->type == YML_MAP && !str_eq(map->pairs[i].key->text, "vars"))
            read_pipeline(&map->pairs[i], branch, &project.pipelines, diags);
    if (ok)
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

bool zuulfile_read(const char *path, const char *branch, const void *text, size_t len,
                   struct zuulfile *out, struct diags *diags)
{
    size_t errors = diags->errors;
    const char *file = arena_strdup(diags->arena, path);
    const struct yml_node *root = yml_parse_last(file, text, len, diags);
    if (!root || yml_is_null(root))
        return root != NULL;
    if (!yml_want_seq(root, "the file", diags))
        return false;
    branch = arena_strdup(diags->arena, branch);
    for (size_t i = 0; i < root->n; i++)
        read_stanza(root->items[i], branch, out, diags);
    return diags->errors == errors;
}
