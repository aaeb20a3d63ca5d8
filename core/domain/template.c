#include "core/domain/template.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/template_part.h"

#include <limits.h>

/* ---- variables ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    size_t offset; /* in struct template_vars */
} variables[] = {
    {"zuul.branch", offsetof(struct template_vars, branch)},
    {"zuul.tag", offsetof(struct template_vars, tag)},
    {"zuul.change", offsetof(struct template_vars, change)},
    {"zuul.patchset", offsetof(struct template_vars, patchset)},
    {"zuul.commit_id", offsetof(struct template_vars, commit_id)},
    {"zuul.pipeline", offsetof(struct template_vars, pipeline)},
    {"zuul.project.name", offsetof(struct template_vars, project_name)},
    {"zuul.project.short_name", offsetof(struct template_vars, project_short_name)},
};

bool template_known(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (str_eq(variables[i].name, name))
            return true;
    return false;
}

const char *template_variables(struct arena *a)
{
    const char *names = "";
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        names = arena_printf(a, "%s%s%s", names, i ? ", " : "", variables[i].name);
    return names;
}

const char *template_value(const char *name, const struct template_vars *vars)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (str_eq(variables[i].name, name))
            return *(const char *const *)((const char *)vars + variables[i].offset);
    return NULL;
}

static const struct template_own *find_own(const char *name, const struct template_owns *owns)
{
    for (size_t i = owns ? owns->n : 0; i > 0; i--)
        if (str_eq(owns->at[i - 1].name, name))
            return &owns->at[i - 1];
    return NULL;
}

/* ---- the value of a node -------------------------------------------------------------------- */

static enum template_result fail(struct evaluation *e, const char *why)
{
    if (!e->why)
        e->why = why;
    return TEMPLATE_ERROR;
}

static enum template_result value_of_name(struct evaluation *e, const char *name,
                                          struct tvalue *out)
{
    if (template_known(name)) {
        *out = (struct tvalue){.text = template_value(name, e->vars)};
        e->missing = name;
        return out->text ? TEMPLATE_OK : TEMPLATE_UNDEFINED;
    }
    const struct template_own *own = find_own(name, e->vars->own);
    if (!own)
        return fail(e, arena_printf(e->arena, "nothing defines the variable %.60s", name));
    if (e->depth >= LIMIT_TEMPLATE_DEPTH)
        return fail(e, arena_printf(e->arena, "the variable %.60s stands for itself", name));
    e->depth++;
    enum template_result rc = template_text(e, own->text, out);
    e->depth--;
    return rc;
}

static enum template_result value_of_list(struct evaluation *e, const struct tnode *n,
                                          struct tvalue *out)
{
    *out = (struct tvalue){.type = TVALUE_LIST};
    for (size_t i = 0; i < n->kids.n; i++) {
        struct tvalue item = {0};
        enum template_result rc = template_evaluate(e, n->kids.at[i], &item);
        if (rc != TEMPLATE_OK)
            return rc;
        if (item.type == TVALUE_NUMBER)
            item.text = arena_printf(e->arena, "%ld", item.number);
        else if (item.type != TVALUE_TEXT)
            return fail(e, "an item of a list must be a text");
        *list_push(e->arena, &out->list) = item.text;
    }
    return TEMPLATE_OK;
}

/* Python's reading: from the end when negative, and a slice is cut to what is there. */
static long place_in(long number, size_t n)
{
    long size = (long)n, at = number < 0 && number >= -size ? number + size : number;
    return at < 0 ? -1 : at > size ? size : at;
}

static enum template_result value_of_part(struct evaluation *e, const struct tnode *n,
                                          struct tvalue *out)
{
    struct tvalue of = {0};
    enum template_result rc = template_evaluate(e, n->kids.at[0], &of);
    if (rc != TEMPLATE_OK)
        return rc;
    if (of.type != TVALUE_LIST)
        return fail(e, "'[ ]' wants a list in front of it");
    long from = place_in(n->number, of.list.n);
    if (n->kind == TNODE_ITEM) {
        if (from < 0 || from >= (long)of.list.n)
            return fail(e, arena_printf(e->arena, "there is no item %ld: %zu in the list",
                                        n->number, of.list.n));
        *out = (struct tvalue){.type = TVALUE_TEXT, .text = of.list.at[from]};
        return TEMPLATE_OK;
    }
    *out = (struct tvalue){.type = TVALUE_LIST};
    for (long i = from < 0 ? 0 : from; i < place_in(n->to, of.list.n); i++)
        *list_push(e->arena, &out->list) = of.list.at[i];
    return TEMPLATE_OK;
}

static enum template_result value_of_if(struct evaluation *e, const struct tnode *n,
                                        struct tvalue *out)
{
    struct tvalue condition = {0};
    enum template_result rc = template_evaluate(e, n->kids.at[0], &condition);
    if (rc != TEMPLATE_OK)
        return rc;
    if (condition.type != TVALUE_FLAG)
        return fail(e, "`if` wants a condition, such as `zuul.tag is defined`");
    return template_evaluate(e, n->kids.at[condition.number ? 1 : 2], out);
}

static enum template_result value_of_not(struct evaluation *e, const struct tnode *n,
                                         struct tvalue *out)
{
    enum template_result rc = template_evaluate(e, n->kids.at[0], out);
    if (rc != TEMPLATE_OK)
        return rc;
    if (out->type != TVALUE_FLAG)
        return fail(e, "`not` wants a condition");
    out->number = !out->number;
    return TEMPLATE_OK;
}

static enum template_result value_of_defined(struct evaluation *e, const struct tnode *n,
                                             struct tvalue *out)
{
    const char *name = n->kids.at[0]->text;
    *out = (struct tvalue){.type = TVALUE_FLAG,
                           .number = template_known(name) ? template_value(name, e->vars) != NULL
                                                          : find_own(name, e->vars->own) != NULL};
    return TEMPLATE_OK;
}

static enum template_result value_of_equal(struct evaluation *e, const struct tnode *n,
                                           struct tvalue *out)
{
    struct tvalue left = {0}, right = {0};
    enum template_result rc = template_evaluate(e, n->kids.at[0], &left);
    if (rc == TEMPLATE_OK)
        rc = template_evaluate(e, n->kids.at[1], &right);
    if (rc != TEMPLATE_OK)
        return rc;
    if (left.type == TVALUE_LIST || right.type == TVALUE_LIST)
        return fail(e, "lists cannot be compared");
    bool equal =
        left.type == right.type && left.number == right.number && str_eq(left.text, right.text);
    *out = (struct tvalue){.type = TVALUE_FLAG, .number = equal};
    return TEMPLATE_OK;
}

enum template_result template_evaluate(struct evaluation *e, const struct tnode *n,
                                       struct tvalue *out)
{
    static enum template_result (*const compound[])(struct evaluation *, const struct tnode *,
                                                    struct tvalue *) = {
        [TNODE_LIST] = value_of_list,   [TNODE_ITEM] = value_of_part,
        [TNODE_SLICE] = value_of_part,  [TNODE_IF] = value_of_if,
        [TNODE_NOT] = value_of_not,     [TNODE_DEFINED] = value_of_defined,
        [TNODE_EQUAL] = value_of_equal,
    };
    if (++e->steps > LIMIT_TEMPLATE_STEPS)
        return fail(e, "it takes too many steps");
    switch (n->kind) {
    case TNODE_TEXT:
        *out = (struct tvalue){.type = TVALUE_TEXT, .text = n->text};
        return TEMPLATE_OK;
    case TNODE_NUMBER:
    case TNODE_FLAG:
        *out = (struct tvalue){.type = n->kind == TNODE_FLAG ? TVALUE_FLAG : TVALUE_NUMBER,
                               .number = n->number};
        return TEMPLATE_OK;
    case TNODE_NAME:
        return value_of_name(e, n->text, out);
    case TNODE_CALL:
        return n->call->value(e, n, out);
    default:
        return compound[n->kind](e, n, out);
    }
}

/* ---- a text of pieces ----------------------------------------------------------------------- */

/* The next "{{", "{%" or "{#", or the end of the text. */
static const char *find_opening(const char *s)
{
    for (s = strchrnul(s, '{'); *s; s = strchrnul(s + 1, '{'))
        if (s[1] == '{' || s[1] == '%' || s[1] == '#')
            break;
    return s;
}

int template_piece(const char **text, struct arena *a, const char **literal, size_t *len,
                   const struct tnode **node, const char **why)
{
    *node = NULL;
    if (**text == '\0')
        return 0;
    const char *opening = find_opening(*text), *rest = opening + 2;
    *literal = *text;
    *len = (size_t)(opening - *text);
    *text = opening;
    if (*opening == '\0')
        return 1;
    *why = "there are no '{%' and '{#'";
    *node = opening[1] == '{' ? template_parse(&rest, a, why) : NULL;
    if (!*node)
        return -1;
    *text = rest;
    return 1;
}

static enum template_result add_value(struct evaluation *e, const struct tvalue *value,
                                      struct strbuf *out)
{
    if (value->type == TVALUE_NUMBER)
        (void)strbuf_addf(out, "%ld", value->number);
    else if (value->type == TVALUE_TEXT)
        (void)strbuf_addstr(out, value->text);
    else
        return fail(e, value->type == TVALUE_LIST ? "a list within a text; join makes one of it"
                                                  : "a condition is no text");
    return TEMPLATE_OK;
}

enum template_result template_text(struct evaluation *e, const char *text, struct tvalue *out)
{
    CLEANUP_STRBUF struct strbuf result = STRBUF_INIT(LIMIT_TEMPLATE);
    const struct tnode *node;
    const char *literal;
    size_t len;
    int rc = 1;
    if (strlen(text) > LIMIT_TEMPLATE)
        return fail(e, "a variable's text is too long");
    for (bool first = true;
         (rc = template_piece(&text, e->arena, &literal, &len, &node, &e->why)) > 0;
         first = false) {
        (void)strbuf_add(&result, literal, len);
        if (!node)
            continue;
        enum template_result done = template_evaluate(e, node, out);
        if (done != TEMPLATE_OK || (first && !len && !*text))
            return done;
        if (add_value(e, out, &result) != TEMPLATE_OK)
            return TEMPLATE_ERROR;
    }
    if (rc < 0)
        return TEMPLATE_ERROR;
    e->why = NULL;
    if (result.full)
        return fail(e, arena_printf(e->arena, "it grows beyond %zu bytes", LIMIT_TEMPLATE));
    *out = (struct tvalue){.type = TVALUE_TEXT, .text = strbuf_to_arena(&result, e->arena)};
    return TEMPLATE_OK;
}

/* ---- for callers ---------------------------------------------------------------------------- */

static void report_form(const char *at_form, const char *why, struct place at, struct diags *diags)
{
    const char *end = strstr(at_form, at_form[1] == '{' ? "}}" : at_form[1] == '%' ? "%}" : "#}");
    if (!end && at_form[1] == '{') {
        diag_error(diags, at, "'%.80s' has no closing '}}'", at_form);
        return;
    }
    int len = end && end - at_form < 120 ? (int)(end + 2 - at_form) : 120;
    diag_error(diags, at, "'%.*s' is not a form Slipway knows: %s", len, at_form, why);
}

/* Goes through all pieces first: what is malformed is an error on every event. */
bool template_check(const char *text, struct place at, struct diags *diags)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const struct tnode *node;
    const char *literal, *why = NULL;
    size_t len;
    int rc;
    if (strlen(text) > LIMIT_TEMPLATE) {
        diag_error(diags, at, "a text with templates is longer than %zu bytes", LIMIT_TEMPLATE);
        return false;
    }
    while ((rc = template_piece(&text, &a, &literal, &len, &node, &why)) > 0)
        ;
    if (rc < 0)
        report_form(text, why, at, diags);
    return rc == 0;
}

static enum template_result expand(const char *text, struct place at,
                                   const struct template_vars *vars, struct diags *diags,
                                   struct tvalue *out, const char **missing)
{
    if (!strchr(text, '{') && strlen(text) <= LIMIT_TEMPLATE) {
        *out = (struct tvalue){.type = TVALUE_TEXT, .text = text};
        return TEMPLATE_OK;
    }
    if (!template_check(text, at, diags))
        return TEMPLATE_ERROR;
    struct evaluation e = {.vars = vars, .arena = diags->arena};
    enum template_result rc = template_text(&e, text, out);
    if (rc == TEMPLATE_OK && out->type == TVALUE_NUMBER)
        *out = (struct tvalue){.text = arena_printf(e.arena, "%ld", out->number)};
    if (rc == TEMPLATE_OK && out->type == TVALUE_FLAG)
        rc = fail(&e, "a condition is no text");
    if (rc == TEMPLATE_ERROR)
        diag_error(diags, at, "'%.120s': %s", text, e.why);
    *missing = e.missing;
    return rc;
}

enum template_result template_expand(const char *text, struct place at,
                                     const struct template_vars *vars, struct diags *diags,
                                     const char **out)
{
    struct tvalue value = {0};
    enum template_result rc = expand(text, at, vars, diags, &value, out);
    if (rc != TEMPLATE_OK)
        return rc;
    if (value.type == TVALUE_LIST) {
        diag_error(diags, at, "'%.120s' is a list, where one text belongs", text);
        return TEMPLATE_ERROR;
    }
    *out = value.text;
    return TEMPLATE_OK;
}

enum template_result template_expand_list(const char *text, struct place at,
                                          const struct template_vars *vars, struct diags *diags,
                                          struct str_list *out, const char **missing)
{
    struct tvalue value = {0};
    enum template_result rc = expand(text, at, vars, diags, &value, missing);
    *out = (struct str_list){0};
    if (rc == TEMPLATE_OK && value.type == TVALUE_TEXT)
        *list_push(diags->arena, out) = value.text;
    for (size_t i = 0; rc == TEMPLATE_OK && i < value.list.n; i++)
        if (!str_in(value.list.at[i], out))
            *list_push(diags->arena, out) = value.list.at[i];
    return rc;
}

/* ---- which variables a text asks for -------------------------------------------------------- */

static bool text_uses(const char *text, const char *variable, const struct template_owns *own,
                      struct arena *a, unsigned *steps);

static bool node_uses(const struct tnode *n, const char *variable, const struct template_owns *own,
                      struct arena *a, unsigned *steps)
{
    if (++*steps > LIMIT_TEMPLATE_STEPS)
        return false;
    if (n->kind == TNODE_NAME) {
        const struct template_own *of = find_own(n->text, own);
        return str_eq(n->text, variable) || (of && text_uses(of->text, variable, own, a, steps));
    }
    for (size_t i = 0; i < n->kids.n; i++)
        if (node_uses(n->kids.at[i], variable, own, a, steps))
            return true;
    return false;
}

static bool text_uses(const char *text, const char *variable, const struct template_owns *own,
                      struct arena *a, unsigned *steps)
{
    const struct tnode *node;
    const char *literal, *why;
    size_t len;
    while (template_piece(&text, a, &literal, &len, &node, &why) > 0)
        if (node && node_uses(node, variable, own, a, steps))
            return true;
    return false;
}

bool template_uses(const char *text, const char *variable, const struct template_owns *own)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    unsigned steps = 0;
    return strchr(text, '{') && text_uses(text, variable, own, &a, &steps);
}
