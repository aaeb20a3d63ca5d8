#include "core/domain/imagefile.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imagefile_part.h"
#include "core/domain/mirror.h"
#include "core/lib/pattern.h"

struct default_row {
    enum pipeline pipeline;
    enum job_kind job;
};

/* What a file means that names no pipelines (DESIGN section 7). */
static const struct default_row default_rows[] = {
    {PIPELINE_CHECK, JOB_BUILD}, {PIPELINE_GATE, JOB_UPLOAD},    {PIPELINE_PROMOTE, JOB_PROMOTE},
    {PIPELINE_TAG, JOB_UPLOAD},  {PIPELINE_RELEASE, JOB_UPLOAD},
};

static const char *const keys[] = {
    "container_images", "docker_images", "branches",
    "pipelines",        "vars",          "mirror_container_images_images",
};

/* A pipeline whose events carry no change has nothing to name a staged tag after. */
static bool has_change(enum pipeline p)
{
    return p == PIPELINE_CHECK || p == PIPELINE_GATE || p == PIPELINE_PROMOTE;
}

static bool is_direct(const struct imagefile_vars *vars, enum pipeline p)
{
    return vars->upload_promote_given ? !vars->upload_promote : !has_change(p);
}

static struct imagefile_job *add_job(const struct imagefile *file, enum pipeline pipeline,
                                     enum job_kind kind, struct place at, struct imagefile_row *row,
                                     struct arena *a)
{
    struct imagefile_job *job = list_push(a, &row->jobs);
    job->kind = kind;
    job->at = at;
    job->images = file->images;
    job->mirrors = file->mirrors;
    job->vars = file->vars;
    job->method = file->vars.method;
    job->direct = is_direct(&job->vars, pipeline);
    return job;
}

static void fill_defaults(struct imagefile *file, struct arena *a)
{
    for (size_t i = 0; i < ARRAY_LEN(default_rows); i++) {
        struct imagefile_row *row = &file->pipelines[default_rows[i].pipeline];
        if (row->given)
            continue;
        row->at = (struct place){file->file, 0, 0};
        (void)add_job(file, default_rows[i].pipeline, default_rows[i].job, row->at, row, a);
    }
}

static void check_branches(const struct image_texts *branches, struct diags *diags)
{
    list_each (const struct image_text, branch, branches) {
        struct err err = ERR_INIT;
        struct pattern *p = pattern_compile(branch->text, &err);
        if (!p)
            diag_error(diags, branch->at, "%s", err.text);
        pattern_free(p);
    }
}

/* Finds the job's kind; reports an unknown name. */
static bool read_job_name(const struct yml_node *n, enum job_kind *kind, struct diags *diags)
{
    const char *name;
    if (!yml_want_str(n, "a job", false, &name, diags))
        return false;
    if (job_from_name(name, kind))
        return true;
    const char *names[JOB__MAX];
    for (size_t i = 0; i < JOB__MAX; i++)
        names[i] = job_name((enum job_kind)i);
    const char *nearest = str_nearest(name, names, JOB__MAX);
    if (nearest)
        diag_error(diags, n->at, "unknown job '%.80s'; did you mean '%s'?", name, nearest);
    else
        diag_error(diags, n->at, "unknown job '%.80s'; there are %s, %s, %s and %s", name, names[0],
                   names[1], names[2], names[3]);
    return false;
}

/* The file's images, with the job's own container file for those that name none. */
static void inherit_images(struct imagefile_job *job, const char *file_default, struct arena *a)
{
    const char *own = job->vars.container_filename;
    if (str_eq(own, file_default))
        return;
    job->images.at = arena_memdup(a, job->images.at, job->images.n * sizeof *job->images.at);
    list_each (struct image, image, &job->images)
        if (image->container_filename == file_default)
            image->container_filename = own;
}

/* Lays a job's own variables over what it inherited from the file. */
static void read_job_vars(const struct yml_node *map, const struct imagefile *file,
                          enum pipeline pipeline, struct imagefile_job *job, struct diags *diags)
{
    imagefile_read_vars(map, true, &job->vars, diags);
    job->method = job->vars.method;
    job->direct = is_direct(&job->vars, pipeline);
    const char *key;
    const struct yml_node *images = imagefile_images(map, &key);
    if (images) {
        job->images = (struct image_list){0};
        imagefile_read_images(images, key, job->vars.container_filename, &job->images, diags);
    } else {
        inherit_images(job, file->vars.container_filename, diags->arena);
    }
    const struct yml_node *mirrors = yml_get(map, "mirror_container_images_images");
    if (mirrors) {
        job->mirrors = (struct imagefile_mirrors){0};
        mirror_read(mirrors, &job->mirrors, diags);
    }
}

/* A job name, or a map of one job name to its variables. */
static void read_job(const struct yml_node *item, const struct yml_node *root,
                     const struct imagefile *file, enum pipeline pipeline,
                     struct imagefile_row *row, struct diags *diags)
{
    const struct yml_node *name = item, *vars = NULL;
    if (item->type == YML_MAP) {
        if (item->n != 1) {
            diag_error(diags, item->at, "one job in each item of the list, but here are %zu",
                       item->n);
            return;
        }
        name = item->pairs[0].key;
        vars = item->pairs[0].value;
    }
    enum job_kind kind;
    if (!read_job_name(name, &kind, diags))
        return;
    struct imagefile_job *job = add_job(file, pipeline, kind, name->at, row, diags->arena);
    if (vars && !yml_is_null(vars))
        read_job_vars(vars, file, pipeline, job, diags);
    const char *list = "mirror_container_images_images";
    const struct yml_node *given = kind == JOB_MIRROR ? yml_get(root, list) : NULL;
    if (kind == JOB_MIRROR)
        given = given ? given : yml_get(vars, list);
    else if (!(given = imagefile_images(root, &list)))
        given = imagefile_images(vars, &list);
    if (!given)
        diag_error(diags, name->at, "%s needs %s, here or at the top of the file", job_name(kind),
                   list);
}

static void read_row(const struct yml_node *list, const struct yml_node *root,
                     struct imagefile *file, enum pipeline pipeline, struct diags *diags)
{
    struct imagefile_row *row = &file->pipelines[pipeline];
    const char *what = arena_printf(diags->arena, "pipeline %s", pipeline_name(pipeline));
    row->given = true;
    row->at = list->at;
    if (!yml_want_seq(list, what, diags))
        return;
    if (list->n > LIMIT_JOBS)
        diag_error(diags, list->items[LIMIT_JOBS]->at, "%s has more than %d jobs", what,
                   LIMIT_JOBS);
    for (size_t i = 0; i < list->n && i < LIMIT_JOBS; i++)
        read_job(list->items[i], root, file, pipeline, row, diags);
}

static void read_pipelines(const struct yml_node *map, const struct yml_node *root,
                           struct imagefile *file, struct diags *diags)
{
    if (!yml_want_map(map, "pipelines", diags))
        return;
    const char *names[PIPELINE__MAX];
    for (size_t i = 0; i < PIPELINE__MAX; i++)
        names[i] = pipeline_name((enum pipeline)i);
    yml_check_keys(map, names, PIPELINE__MAX, diags);
    for (size_t i = 0; i < PIPELINE__MAX; i++) {
        const struct yml_node *list = yml_get(map, names[i]);
        if (list)
            read_row(list, root, file, (enum pipeline)i, diags);
    }
}

/* Unknown keys, but for those that only hold anchors. */
static void check_keys(const struct yml_node *root, struct diags *diags)
{
    LIST(struct yml_pair) checked = {0};
    for (size_t i = 0; i < root->n; i++)
        if (!str_starts(root->pairs[i].key->text, "x-"))
            *list_push(diags->arena, &checked) = root->pairs[i];
    struct yml_node without = *root;
    without.pairs = checked.at;
    without.n = checked.n;
    yml_check_keys(&without, keys, ARRAY_LEN(keys), diags);
}

/* No default row mirrors anything, so that a list alone would be forgotten silently. */
static void check_mirrors_used(const struct imagefile *file, const struct yml_node *list,
                               struct diags *diags)
{
    for (size_t i = 0; i < PIPELINE__MAX; i++)
        list_each (const struct imagefile_job, job, &file->pipelines[i].jobs)
            if (job->kind == JOB_MIRROR)
                return;
    if (file->mirrors.n)
        diag_warn(diags, list->at,
                  "no pipeline runs mirror-container-images, so that nothing is "
                  "mirrored; name it in pipelines");
}

static void read_file(const struct yml_node *root, struct imagefile *file, struct diags *diags)
{
    check_keys(root, diags);
    const struct yml_node *vars = yml_get(root, "vars");
    if (vars)
        imagefile_read_vars(vars, false, &file->vars, diags);
    file->container_command = file->vars.container_command;
    const char *key;
    const struct yml_node *images = imagefile_images(root, &key);
    imagefile_read_images(images, key, file->vars.container_filename, &file->images, diags);
    if (yml_get(root, "docker_images") && yml_get(root, "docker_images") != images)
        diag_error(diags, yml_get(root, "docker_images")->at,
                   "docker_images is the older name of container_images: keep one of them");
    mirror_read(yml_get(root, "mirror_container_images_images"), &file->mirrors, diags);
    (void)imagefile_texts(yml_get(root, "branches"), "branches", RULE_LINE, LIMIT_BRANCHES,
                          &file->branches, diags);
    check_branches(&file->branches, diags);
    const struct yml_node *pipelines = yml_get(root, "pipelines");
    if (pipelines)
        read_pipelines(pipelines, root, file, diags);
    else if (!images)
        diag_error(diags, root->at, "container_images is missing: the list of images to publish");
    fill_defaults(file, diags->arena);
    check_mirrors_used(file, yml_get(root, "mirror_container_images_images"), diags);
}

const struct imagefile *imagefile_parse(const char *file, const void *text, size_t len,
                                        struct diags *diags)
{
    const struct yml_node *root = yml_parse(file, text, len, diags);
    if (!root)
        return NULL;
    /* A list of its own, so that what diags already holds does not count. */
    struct diags found = {.arena = diags->arena};
    struct imagefile *out = arena_alloc(diags->arena, sizeof *out);
    out->file = file;
    if (yml_want_map(root, "the file", &found))
        read_file(root, out, &found);
    diag_append(diags, &found);
    return found.errors ? NULL : out;
}
