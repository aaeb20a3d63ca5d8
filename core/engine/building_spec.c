#include "core/engine/building_spec.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/template.h"
#include "core/lib/json.h"

struct work {
    const struct building_input *in;
    struct template_vars vars;
    struct arena *arena;
};

static int refuse(const struct plan_build *b, const char *why, struct err *err)
{
    (void)err_set(err, ERR_CONFIG, 0, "image %s: %s", b->label, why);
    return b->at.file ? err_wrap(err, "%s:%u", b->at.file, b->at.line) : -1;
}

/* Of one image alone: what is wrong names it already. */
static int check_alone(const struct build_spec *spec, const struct plan_build *b, size_t index,
                       struct arena *a, struct err *err)
{
    struct build_spec alone = *spec;
    alone.images = (struct build_images){&spec->images.at[index], 1, 1};
    if (build_spec_check(&alone, a, err) == 0)
        return 0;
    err->kind = ERR_CONFIG;
    return b->at.file ? err_wrap(err, "%s:%u", b->at.file, b->at.line) : -1;
}

static int expand(const struct work *w, const struct plan_build *b, const char *what,
                  const char *text, const char **out, struct err *err)
{
    struct diags diags = {.arena = w->arena};
    struct template_vars vars = w->vars;
    vars.own = b->vars ? &b->vars->own : NULL;
    *out = text;
    if (!text)
        return 0;
    switch (template_expand(text, b->at, &vars, &diags, out)) {
    case TEMPLATE_OK:
        return 0;
    case TEMPLATE_UNDEFINED:
        return refuse(
            b, arena_printf(w->arena, "%s asks for %s, which this event does not have", what, *out),
            err);
    default:
        return refuse(b, diags.n ? diags.at[0].text : "a template is not understood", err);
    }
}

/* The seed's roles hand arguments to a shell, so that people quote them once more. */
static const char *unquote(const char *text, struct arena *a)
{
    size_t len = strlen(text);
    char quote = *text;
    if (len >= 2 && (quote == '"' || quote == '\'') && text[len - 1] == quote &&
        !memchr(text + 1, quote, len - 2))
        return arena_strndup(a, text + 1, len - 2);
    const char *value = strchr(text, '=');
    if (!value++)
        return text;
    len = strlen(value);
    if (len < 2 || (*value != '"' && *value != '\'') || value[len - 1] != *value ||
        memchr(value + 1, *value, len - 2))
        return text;
    return arena_printf(a, "%.*s%.*s", (int)(value - text), text, (int)(len - 2), value + 1);
}

static int expand_list(const struct work *w, const struct plan_build *b, const char *what,
                       const struct str_list *from, struct str_list *to, struct err *err)
{
    for (size_t i = 0; i < from->n; i++) {
        const char *text;
        if (expand(w, b, what, from->at[i], &text, err) < 0)
            return -1;
        *list_push(w->arena, to) = unquote(text, w->arena);
    }
    return 0;
}

/* Without empty parts and "."; ".." stays, to be refused. */
static const char *tidy(const char *path, struct arena *a)
{
    struct str_list parts = str_split(a, path, '/');
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(LIMIT_YAML_SCALAR * 2);
    for (size_t i = 0; i < parts.n; i++)
        if (*parts.at[i] && !str_eq(parts.at[i], "."))
            (void)strbuf_addf(&out, "%s%s", out.len ? "/" : "", parts.at[i]);
    return out.len ? strbuf_to_arena(&out, a) : ".";
}

/* "{{ zuul.project.src_dir }}/x" is x: where the source is, is ours to say. */
static const char *work_dir(const char *text)
{
    const char *rest = text ? str_after(text, "{{") : NULL;
    rest = rest ? str_after(rest + strspn(rest, " "), "zuul.project.src_dir") : NULL;
    rest = rest ? str_after(rest + strspn(rest, " "), "}}") : NULL;
    if (!rest || (*rest && *rest != '/'))
        return text ? text : "";
    return rest + strspn(rest, "/");
}

static void add_labels(const struct work *w, struct build_image *out)
{
    const struct event *e = w->in->event;
    if (w->vars.change)
        *list_push(w->arena, &out->labels) =
            arena_printf(w->arena, "org.zuul-ci.change=%s", w->vars.change);
    if (!str_empty(e->change_url))
        *list_push(w->arena, &out->labels) =
            arena_printf(w->arena, "org.zuul-ci.change_url=%s", e->change_url);
}

static int add_image(const struct work *w, const struct plan_build *b, size_t index,
                     struct build_image *out, struct err *err)
{
    const struct image *image = b->image;
    const char *context;
    *out = (struct build_image){
        .name = arena_printf(w->arena, "image-%zu", index),
        .label = b->label,
        .siblings = image->siblings,
        .platforms = image->arch,
        .refs = b->refs,
    };
    if (expand(w, b, "context", image->context.text, &context, err) < 0 ||
        expand(w, b, "path", image->path, &out->path, err) < 0 ||
        expand(w, b, "container_filename", image->container_filename, &out->filename, err) < 0 ||
        expand(w, b, "target", image->target, &out->target, err) < 0 ||
        expand_list(w, b, "build_args", &image->build_args, &out->build_args, err) < 0 ||
        expand_list(w, b, "labels", &image->labels, &out->labels, err) < 0)
        return -1;
    const char *below = work_dir(b->vars ? b->vars->work_dir : NULL);
    context = context ? context : ".";
    if (strstr(below, "{{"))
        return refuse(b,
                      "zuul_work_dir: of templates only {{ zuul.project.src_dir }} at its start "
                      "has a meaning here",
                      err);
    if (*below == '/' || *context == '/')
        return refuse(b, "context and zuul_work_dir must be relative", err);
    out->context = tidy(arena_printf(w->arena, "%s/%s", below, context), w->arena);
    out->path = out->path ? tidy(out->path, w->arena) : NULL;
    add_labels(w, out);
    return 0;
}

static int choose_tool(const struct work *w, const struct plan_build *b, bool first,
                       struct build_spec *out, struct err *err)
{
    enum build_tool tool = w->in->usual;
    const char *name = b->vars ? b->vars->container_command : NULL;
    if (name && !build_tool_from_name(name, &tool))
        return refuse(b,
                      arena_printf(w->arena,
                                   "container_command '%.64s' is none of podman, "
                                   "buildah and docker",
                                   str_printable(w->arena, name)),
                      err);
    const char *format = b->vars && b->vars->format ? b->vars->format : "oci";
    bool docker = str_eq(format, "docker");
    if (!docker && !str_eq(format, "oci"))
        return refuse(b, "container_image_format is neither oci nor docker", err);
    enum build_format chosen = docker ? BUILD_DOCKER_FORMAT : BUILD_OCI;
    if (!first && (out->tool != tool || out->format != chosen))
        return refuse(b,
                      "all jobs of one pipeline must name the same container_command and "
                      "container_image_format: their images are built in one go",
                      err);
    out->tool = tool;
    out->format = chosen;
    return 0;
}

static int add_env(const struct work *w, const struct plan_build *b, struct build_spec *out,
                   struct err *err)
{
    for (size_t i = 0; b->vars && i < b->vars->build_env.n; i++) {
        const struct imagefile_env *env = &b->vars->build_env.at[i];
        const struct build_env *same = NULL;
        list_each (const struct build_env, have, &out->env)
            if (str_eq(have->name, env->name))
                same = have;
        if (same && !str_eq(same->value, env->value))
            return refuse(b,
                          arena_printf(w->arena,
                                       "container_build_extra_env: two jobs of one "
                                       "pipeline give %.64s two values",
                                       env->name),
                          err);
        if (!same)
            *list_push(w->arena, &out->env) = (struct build_env){env->name, env->value};
    }
    return 0;
}

int building_spec(const struct building_input *in, struct arena *a, struct build_spec *out,
                  struct err *err)
{
    struct work w = {.in = in, .vars = plan_variables(in->event), .arena = a};
    struct build_spec spec = {
        .source = in->source,
        .out = in->out,
        .siblings = in->siblings,
        .pull = in->policy ? in->policy->build_pull : NULL,
        .insecure = in->insecure,
        .isolation = in->conf->isolation,
        .timeout_s = in->conf->timeout_s,
        .disk_max = in->conf->disk_max,
        .log_max = in->conf->log_max,
    };
    for (size_t i = 0; i < in->plan->builds.n; i++) {
        const struct plan_build *b = &in->plan->builds.at[i];
        if (choose_tool(&w, b, i == 0, &spec, err) < 0 || add_env(&w, b, &spec, err) < 0 ||
            add_image(&w, b, i, list_push(a, &spec.images), err) < 0 ||
            check_alone(&spec, b, i, a, err) < 0)
            return -1;
    }
    struct err wrong = ERR_INIT;
    if (build_spec_check(&spec, a, &wrong) < 0)
        return err_set(err, ERR_CONFIG, 0, "%s", wrong.text);
    *out = spec;
    return 0;
}

const char *building_identity(const struct build_spec *spec, const char *source, struct arena *a)
{
    struct build_spec bare = *spec;
    bare.pull = bare.isolation = NULL;
    bare.timeout_s = bare.disk_max = bare.log_max = 0;
    struct js *object CLEANUP_JS = js_object();
    js_put_str(object, "source", source);
    js_put_str(object, "spec", build_spec_to_json(&bare, a));
    return js_pretty(object, a);
}

struct str_list building_siblings(const struct plan *plan, struct arena *a)
{
    struct str_list names = {0};
    list_each (const struct plan_build, b, &plan->builds)
        for (size_t i = 0; i < b->image->siblings.n; i++)
            if (!str_in(b->image->siblings.at[i], &names))
                *list_push(a, &names) = b->image->siblings.at[i];
    return names;
}

const char *building_sibling_project(const char *canonical, const char *forge_url, struct arena *a)
{
    const char *host = forge_url ? strstr(forge_url, "://") : NULL;
    if (!host)
        return canonical;
    host += 3;
    size_t len = strcspn(host, "/");
    if (len == 0)
        return canonical;
    const char *with_port = arena_printf(a, "%.*s/", (int)len, host);
    const char *without = arena_printf(a, "%.*s/", (int)strcspn(host, ":/"), host);
    const char *rest = str_after(canonical, with_port);
    if (!rest && *without != '/')
        rest = str_after(canonical, without);
    return rest ? rest : canonical;
}

struct building_wants building_wants(const struct plan *plan)
{
    struct building_wants wants = {0};
    list_each (const struct plan_build, b, &plan->builds) {
        wants.submodules |= b->vars && b->vars->submodules;
        wants.lfs |= b->vars && b->vars->lfs;
    }
    return wants;
}

/* Only servers that hand out by ref are asked for it; others know the commit by its name. */
const char *building_ref(const struct event *event, const char *forge_type, struct arena *a)
{
    int64_t change, patchset;
    if (event->kind == EVENT_TAG && event->tag)
        return arena_printf(a, "refs/tags/%s", event->tag);
    bool proposed = event->kind == EVENT_OPENED || event->kind == EVENT_GATED;
    if (!proposed)
        return event->branch ? arena_printf(a, "refs/heads/%s", event->branch) : NULL;
    if (!event->change || !str_to_i64(event->change, &change))
        return NULL;
    if (str_eq(forge_type, "gerrit") && event->patchset && str_to_i64(event->patchset, &patchset))
        return arena_printf(a, "refs/changes/%02lld/%lld/%lld", (long long)(change % 100),
                            (long long)change, (long long)patchset);
    if (str_eq(forge_type, "github"))
        return arena_printf(a, "refs/pull/%lld/head", (long long)change);
    return NULL;
}

/* The length of an escape sequence of terminals, 0 where none begins. */
static size_t escape_len(const char *s)
{
    if (s[0] != '\x1b')
        return 0;
    if (s[1] != '[')
        return s[1] ? 2 : 1;
    size_t len = 2 + strspn(s + 2, "0123456789;?");
    return s[len] ? len + 1 : len;
}

const char *building_tail(const char *log, size_t len, struct arena *a)
{
    bool cut = len > LIMIT_BUILD_TAIL;
    const char *from = cut ? log + len - LIMIT_BUILD_TAIL : log;
    size_t left = cut ? LIMIT_BUILD_TAIL : len;
    const char *line = cut ? memchr(from, '\n', left) : NULL;
    if (line) {
        left -= (size_t)(line + 1 - from);
        from = line + 1;
    }
    char *text = arena_strndup(a, from, left), *out = text;
    for (const char *p = text; *p;) {
        size_t escape = escape_len(p), control = str_control(p);
        if (escape) {
            p += escape;
        } else if (*p == '\n' || *p == '\t' || !control) {
            *out++ = *p++;
        } else {
            if (*p != '\r')
                *out++ = '?';
            p += control;
        }
    }
    *out = '\0';
    (void)log_redact(text);
    return text;
}
