/* Any bytes as a Zuul file, and as a list of paths: either findings, or values that keep what the
 * header promises. */
#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/zuulfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static size_t visit(const struct yml_node *n, size_t depth, struct arena *a)
{
    size_t seen = 1;
    require(depth <= LIMIT_YAML_DEPTH && n->at.line);
    if (n->type == YML_SCALAR) {
        const char *text = zuulfile_text(n, a);
        require((text == NULL) == (yml_is_null(n) && n->plain && !n->tag));
        /* The longest that grows is a float: "9.0e+15". */
        require(!text || strlen(text) <= n->len + 32 || n->len > 1000);
        return 1;
    }
    for (size_t i = 0; i < n->n; i++)
        seen += n->type == YML_SEQ ? visit(n->items[i], depth + 1, a)
                                   : 1 + visit(n->pairs[i].value, depth + 1, a);
    for (size_t i = 1; n->type == YML_MAP && i < n->n; i++)
        require(!str_eq(n->pairs[i].key->text, n->pairs[i - 1].key->text));
    return seen;
}

static void check_matchers(const struct zuul_matchers *list)
{
    require(list->given || !list->n);
    list_each (const struct zuul_matcher, m, list)
        require(m->regex && m->at.line);
}

static void check_jobs(const struct zuul_job_stanzas *jobs, struct arena *a)
{
    list_each (const struct zuul_job_stanza, job, jobs) {
        require(!str_empty(job->name) && job->at.line && str_eq(job->branch, "main"));
        require(job->has_parent || !job->parent);
        require(!job->vars || job->vars->type == YML_MAP);
        check_matchers(&job->branches);
        check_matchers(&job->files);
        check_matchers(&job->irrelevant_files);
        if (job->vars && jobs->n < 100)
            require(visit(job->vars, 0, a) <= LIMIT_YAML_NODES);
    }
}

static void check_projects(const struct zuul_project_stanzas *projects, bool named, struct arena *a)
{
    list_each (const struct zuul_project_stanza, project, projects) {
        require(project->at.line && (!named || project->name));
        require(!project->name || *project->name);
        require(!project->vars || project->vars->type == YML_MAP);
        for (size_t i = 0; i < project->templates.n; i++)
            require(!str_empty(project->templates.at[i]));
        list_each (const struct zuul_pipeline, pipeline, &project->pipelines) {
            require(pipeline->name && !str_eq(pipeline->name, "vars"));
            check_jobs(&pipeline->jobs, a);
        }
    }
}

static void check_file(const char *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a}, strict = {.arena = &a};
    struct zuulfile file = {0};
    bool ok = zuulfile_read("fuzz", "main", data, size, &file, &diags);
    require(ok == (diags.errors == 0));
    check_jobs(&file.jobs, &a);
    check_projects(&file.projects, false, &a);
    check_projects(&file.templates, true, &a);
    /* What is right for the strict reader means the same to the lenient one. */
    const struct yml_node *one = yml_parse("fuzz", data, size, &strict);
    const struct yml_node *other = one ? yml_parse_last("fuzz", data, size, &strict) : NULL;
    require((one == NULL) == (other == NULL));
    require(!one || visit(one, 0, &a) == visit(other, 0, &a));
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(1));
    diag_format(&diags, &out);
    arena_release(&a);
}

/* Lines as paths. */
static void check_choice(const char *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct str_list paths = str_split(&a, arena_strndup(&a, data, size), '\n');
    struct str_list got = zuulfile_choose(&paths, &a);
    for (size_t i = 0; i < got.n; i++) {
        require(str_in(got.at[i], &paths) && str_ends(got.at[i], ".yaml"));
        require(i == 0 || strcmp(got.at[i - 1], got.at[i]) <= 0);
        for (size_t p = 0; p < paths.n; p++) {
            const char *slash = strrchr(paths.at[p], '/');
            bool ignores = slash && str_eq(slash, "/.zuul.ignore");
            size_t len = ignores ? (size_t)(slash + 1 - paths.at[p]) : 0;
            require(!ignores || strncmp(got.at[i], paths.at[p], len) != 0);
        }
    }
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file((const char *)data, size);
    if (size <= KIB(4))
        check_choice((const char *)data, size);
    return 0;
}
