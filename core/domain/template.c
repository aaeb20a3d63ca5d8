#include "core/domain/template.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/base/strbuf.h"

#define BLANKS " \t\r\n"

struct variable {
    const char *name;
    size_t offset; /* in struct template_vars */
};

static const struct variable variables[] = {
    {"zuul.branch", offsetof(struct template_vars, branch)},
    {"zuul.tag", offsetof(struct template_vars, tag)},
    {"zuul.change", offsetof(struct template_vars, change)},
    {"zuul.commit_id", offsetof(struct template_vars, commit_id)},
    {"zuul.project.name", offsetof(struct template_vars, project_name)},
    {"zuul.project.short_name", offsetof(struct template_vars, project_short_name)},
};

#define KNOWN_FORMS                                                                                \
    "{{ zuul.branch }}, {{ zuul.tag }}, {{ zuul.change }}, {{ zuul.commit_id }}, "                 \
    "{{ zuul.project.name }}, {{ zuul.project.short_name }}, each also with | default('text')"

/* One piece of a text: literal, or a variable with or without a default. */
struct piece {
    const char *literal;
    size_t literal_len;
    const struct variable *variable; /* NULL: only the literal */
    const char *fallback;            /* NULL: no default */
    size_t fallback_len;
};

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, BLANKS);
}

static const struct variable *find_variable(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (strlen(variables[i].name) == len && memcmp(variables[i].name, name, len) == 0)
            return &variables[i];
    return NULL;
}

/* Reads "| default('text')" at s if there is a bar. Returns what follows, NULL when malformed. */
static const char *read_default(const char *s, struct piece *out)
{
    if (*s != '|')
        return s;
    s = str_after(skip_blanks(s + 1), "default");
    if (!s)
        return NULL;
    s = skip_blanks(s);
    if (*s != '(')
        return NULL;
    s = skip_blanks(s + 1);
    char quote = *s;
    if (quote != '\'' && quote != '"')
        return NULL;
    const char *end = strchr(++s, quote);
    /* Jinja has escapes here; what would need one is no part of an image's name. */
    if (!end || memchr(s, '\\', (size_t)(end - s)))
        return NULL;
    out->fallback = s;
    out->fallback_len = (size_t)(end - s);
    s = skip_blanks(end + 1);
    return *s == ')' ? skip_blanks(s + 1) : NULL;
}

/* Reads the expression behind "{{". Returns what follows its "}}", NULL when it is no known form.
 */
static const char *read_expression(const char *s, struct piece *out)
{
    s = skip_blanks(s);
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz_.");
    out->variable = find_variable(s, len);
    if (!out->variable)
        return NULL;
    s = read_default(skip_blanks(s + len), out);
    return s ? str_after(s, "}}") : NULL;
}

/* The next "{{", "{%" or "{#", or the end of the text. */
static const char *find_opening(const char *s)
{
    for (s = strchrnul(s, '{'); *s; s = strchrnul(s + 1, '{'))
        if (s[1] == '{' || s[1] == '%' || s[1] == '#')
            break;
    return s;
}

/* Takes the next piece off *text. 1: there was one, 0: the end, -1: *text is at a malformed one. */
static int next_piece(const char **text, struct piece *out)
{
    if (**text == '\0')
        return 0;
    *out = (struct piece){.literal = *text};
    const char *opening = find_opening(*text);
    out->literal_len = (size_t)(opening - *text);
    *text = opening;
    if (*opening == '\0')
        return 1;
    const char *rest = opening[1] == '{' ? read_expression(opening + 2, out) : NULL;
    if (!rest)
        return -1;
    *text = rest;
    return 1;
}

static void report_form(const char *at_form, struct place at, struct diags *diags)
{
    const char *end = strstr(at_form, at_form[1] == '{' ? "}}" : at_form[1] == '%' ? "%}" : "#}");
    if (!end && at_form[1] == '{') {
        diag_error(diags, at, "'%.80s' has no closing '}}'", at_form);
        return;
    }
    int len = end && end - at_form < 120 ? (int)(end + 2 - at_form) : 120;
    diag_error(diags, at, "'%.*s' is not a form Slipway knows; known are " KNOWN_FORMS, len,
               at_form);
}

/* Goes through all pieces first: what is malformed is an error on every event. */
bool template_check(const char *text, struct place at, struct diags *diags)
{
    if (strlen(text) > LIMIT_TEMPLATE) {
        diag_error(diags, at, "a text with templates is longer than %zu bytes", LIMIT_TEMPLATE);
        return false;
    }
    struct piece piece;
    int rc;
    while ((rc = next_piece(&text, &piece)) > 0)
        ;
    if (rc < 0)
        report_form(text, at, diags);
    return rc == 0;
}

static const char *value_of(const struct variable *v, const struct template_vars *vars)
{
    return *(const char *const *)((const char *)vars + v->offset);
}

enum template_result template_expand(const char *text, struct place at,
                                     const struct template_vars *vars, struct diags *diags,
                                     const char **out)
{
    if (!template_check(text, at, diags))
        return TEMPLATE_ERROR;
    CLEANUP_STRBUF struct strbuf result = STRBUF_INIT(LIMIT_TEMPLATE);
    struct piece piece;
    while (next_piece(&text, &piece) > 0) {
        (void)strbuf_add(&result, piece.literal, piece.literal_len);
        if (!piece.variable)
            continue;
        const char *value = value_of(piece.variable, vars);
        if (value) {
            (void)strbuf_addstr(&result, value);
        } else if (piece.fallback) {
            (void)strbuf_add(&result, piece.fallback, piece.fallback_len);
        } else {
            *out = piece.variable->name;
            return TEMPLATE_UNDEFINED;
        }
    }
    if (result.full) {
        diag_error(diags, at, "the text expands to more than %zu bytes", LIMIT_TEMPLATE);
        return TEMPLATE_ERROR;
    }
    *out = strbuf_to_arena(&result, diags->arena);
    return TEMPLATE_OK;
}

bool template_uses(const char *text, const char *variable)
{
    struct piece piece;
    while (next_piece(&text, &piece) > 0)
        if (piece.variable && str_eq(piece.variable->name, variable))
            return true;
    return false;
}
