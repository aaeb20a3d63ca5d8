#include "core/domain/template_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <limits.h>

#define BLANKS " \t\r\n"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define DIGITS "0123456789"

struct parser {
    const char *s;
    struct arena *arena;
    const char *why; /* the first thing that is wrong */
    unsigned depth;
};

static const struct tnode *read_expression(struct parser *p);

static const struct tnode *fail(struct parser *p, const char *why)
{
    if (!p->why)
        p->why = why;
    return NULL;
}

static void skip_blanks(struct parser *p)
{
    p->s += strspn(p->s, BLANKS);
}

static bool take(struct parser *p, const char *what)
{
    skip_blanks(p);
    const char *behind = str_after(p->s, what);
    if (!behind)
        return false;
    p->s = behind;
    return true;
}

/* A word is not the beginning of a longer one. */
static bool take_word(struct parser *p, const char *word)
{
    skip_blanks(p);
    const char *behind = str_after(p->s, word);
    if (!behind || strspn(behind, LETTERS DIGITS))
        return false;
    p->s = behind;
    return true;
}

static struct tnode *new_node(struct parser *p, enum tnode_kind kind)
{
    struct tnode *n = arena_alloc(p->arena, sizeof *n);
    n->kind = kind;
    return n;
}

static void adopt(struct parser *p, struct tnode *n, const struct tnode *kid)
{
    *list_push(p->arena, &n->kids) = kid;
}

/* What is wrong with a name, NULL when nothing is: one without dots may be the repository's own. */
static const char *wrong_name(struct parser *p, const char *name)
{
    if (template_known(name) || !strchr(name, '.'))
        return NULL;
    return arena_printf(p->arena, "there is no variable %.60s; there are %s", name,
                        template_variables(p->arena));
}

/* ---- what stands by itself ------------------------------------------------------------------ */

static const struct tnode *read_text(struct parser *p)
{
    char quote = *p->s;
    const char *start = p->s + 1, *end = strchr(start, quote);
    /* Jinja has escapes here; what would need one is no part of an image's name. */
    if (!end || memchr(start, '\\', (size_t)(end - start)))
        return fail(p, end ? "a text with '\\' in it" : "a text without its closing quote");
    struct tnode *n = new_node(p, TNODE_TEXT);
    n->text = arena_strndup(p->arena, start, (size_t)(end - start));
    p->s = end + 1;
    return n;
}

static bool read_number(struct parser *p, long *out)
{
    skip_blanks(p);
    bool minus = *p->s == '-';
    const char *digits = p->s + minus;
    size_t len = strspn(digits, DIGITS);
    if (len < 1 || len > 6)
        return false;
    *out = strtol(p->s, NULL, 10);
    p->s = digits + len;
    return true;
}

/* Items up to the closing bracket, which is taken. */
static bool read_items(struct parser *p, char closing, struct tnode *into)
{
    const char end[] = {closing, '\0'};
    if (take(p, end))
        return true;
    do {
        const struct tnode *item = read_expression(p);
        if (!item)
            return false;
        if (into->kids.n >= LIMIT_TEMPLATE_ITEMS)
            return fail(p, "too many items");
        adopt(p, into, item);
    } while (take(p, ","));
    return take(p, end) || fail(p, arena_printf(p->arena, "a missing '%c'", closing));
}

/* ---- calls ---------------------------------------------------------------------------------- */

static const struct tnode *finish_call(struct parser *p, struct tnode *n, const char *name,
                                       enum template_style style)
{
    static const char *const kinds[] = {
        [STYLE_FILTER] = "filter", [STYLE_METHOD] = "method", [STYLE_FUNCTION] = "function"};
    size_t given = n->kids.n - (style != STYLE_FUNCTION);
    n->call = template_call(name, style);
    n->text = name;
    if (!n->call)
        return fail(p, arena_printf(p->arena, "there is no %s %.40s; there are %s", kinds[style],
                                    name, template_calls(style, p->arena)));
    if (given < n->call->min || given > n->call->max)
        return fail(p, arena_printf(p->arena, "%s with %zu argument%s", name, given,
                                    given == 1 ? "" : "s"));
    return n;
}

/* zuul.get('tag', '') is zuul.tag | default(''). */
static const struct tnode *read_get(struct parser *p)
{
    struct tnode *n = new_node(p, TNODE_CALL), *name = new_node(p, TNODE_NAME);
    if (!read_items(p, ')', n))
        return NULL;
    if (!n->kids.n || n->kids.n > 2 || n->kids.at[0]->kind != TNODE_TEXT)
        return fail(p, "zuul.get wants the name of a variable in quotes");
    name->text = arena_printf(p->arena, "zuul.%s", n->kids.at[0]->text);
    if (wrong_name(p, name->text))
        return fail(p, wrong_name(p, name->text));
    n->kids.at[0] = name;
    return n->kids.n == 1 ? name : finish_call(p, n, "default", STYLE_FILTER);
}

/* now(utc=true, fmt='...') in any order, or the same two without their names. */
static const struct tnode *read_now(struct parser *p)
{
    struct tnode *n = new_node(p, TNODE_CALL);
    const struct tnode *format = NULL;
    for (int place = 0; place < 2 && !take(p, ")"); place++) {
        bool is_format = take_word(p, "fmt"), is_utc = !is_format && take_word(p, "utc");
        if (place > 0 && !is_format && !is_utc)
            is_format = true;
        (void)take(p, "=");
        const struct tnode *item = read_expression(p);
        if (!item)
            return NULL;
        if (is_format)
            format = item;
        else if (item->kind != TNODE_FLAG)
            return fail(p, "now wants utc=true or utc=false");
        if (!take(p, ",") && !str_starts(p->s, ")"))
            return fail(p, "a missing ')'");
    }
    (void)take(p, ")");
    if (!format || format->kind != TNODE_TEXT || !template_format_ok(format->text))
        return fail(p, "now wants a format of %Y %m %d %H %M %S %j %y: "
                       "now(utc=true, fmt='%Y%m%d')");
    adopt(p, n, format);
    return finish_call(p, n, "now", STYLE_FUNCTION);
}

/* "(" was taken behind a name: its last part is a method of the rest. */
static const struct tnode *read_named_call(struct parser *p, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (str_eq(name, "zuul.get"))
        return read_get(p);
    if (str_eq(name, "now"))
        return read_now(p);
    if (!dot)
        return fail(p, arena_printf(p->arena, "there is no function %.40s", name));
    struct tnode *of = new_node(p, TNODE_NAME), *n = new_node(p, TNODE_CALL);
    of->text = arena_strndup(p->arena, name, (size_t)(dot - name));
    const char *wrong = wrong_name(p, of->text);
    if (wrong)
        return fail(p, wrong);
    adopt(p, n, of);
    return read_items(p, ')', n) ? finish_call(p, n, dot + 1, STYLE_METHOD) : NULL;
}

/* ---- names, brackets, what follows them ----------------------------------------------------- */

static const char *take_name(struct parser *p)
{
    size_t len = strspn(p->s, LETTERS);
    if (!len)
        return NULL;
    len += strspn(p->s + len, LETTERS DIGITS ".");
    const char *name = arena_strndup(p->arena, p->s, len);
    p->s += len;
    return name;
}

static const struct tnode *read_name(struct parser *p)
{
    static const char *const flags[] = {"False", "false", "True", "true"};
    const char *name = take_name(p);
    if (!name)
        return fail(p, *p->s == '\0' || str_starts(p->s, "}}")
                           ? "nothing where a value belongs"
                           : arena_printf(p->arena, "'%.1s' where a value belongs", p->s));
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (str_eq(name, flags[i])) {
            struct tnode *flag = new_node(p, TNODE_FLAG);
            flag->number = i >= 2;
            return flag;
        }
    if (take(p, "("))
        return read_named_call(p, name);
    const char *wrong = wrong_name(p, name);
    if (wrong)
        return fail(p, wrong);
    struct tnode *n = new_node(p, TNODE_NAME);
    n->text = name;
    return n;
}

static const struct tnode *read_primary(struct parser *p)
{
    skip_blanks(p);
    if (*p->s == '\'' || *p->s == '"')
        return read_text(p);
    struct tnode *n = new_node(p, *p->s == '[' ? TNODE_LIST : TNODE_NUMBER);
    if (take(p, "["))
        return read_items(p, ']', n) ? n : NULL;
    if (take(p, "(")) {
        const struct tnode *inner = read_expression(p);
        return inner && !take(p, ")") ? fail(p, "a missing ')'") : inner;
    }
    if (read_number(p, &n->number))
        return n;
    return read_name(p);
}

/* Behind "[": a number, or two around a colon of which each may be left out. */
static const struct tnode *read_bracket(struct parser *p, const struct tnode *of)
{
    struct tnode *n = new_node(p, TNODE_ITEM);
    adopt(p, n, of);
    bool first = read_number(p, &n->number);
    if (take(p, ":")) {
        n->kind = TNODE_SLICE;
        if (!read_number(p, &n->to))
            n->to = LONG_MAX;
    } else if (!first) {
        return fail(p, "a number belongs into '[ ]'");
    }
    return take(p, "]") ? n : fail(p, "a missing ']'");
}

static const struct tnode *read_postfix(struct parser *p)
{
    const struct tnode *n = read_primary(p);
    while (n) {
        if (take(p, "[")) {
            n = read_bracket(p, n);
        } else if (take(p, ".")) {
            const char *name = take_name(p);
            struct tnode *call = new_node(p, TNODE_CALL);
            if (!name || !take(p, "("))
                return fail(p, "'.' without a method behind it");
            adopt(p, call, n);
            n = read_items(p, ')', call) ? finish_call(p, call, name, STYLE_METHOD) : NULL;
        } else {
            break;
        }
    }
    return n;
}

/* ---- filters, tests, conditions ------------------------------------------------------------- */

static const struct tnode *negate(struct parser *p, const struct tnode *of)
{
    struct tnode *n = new_node(p, TNODE_NOT);
    adopt(p, n, of);
    return n;
}

static const struct tnode *read_filter(struct parser *p, const struct tnode *of)
{
    struct tnode *n = new_node(p, TNODE_CALL);
    adopt(p, n, of);
    skip_blanks(p);
    const char *name = take_name(p);
    if (!name)
        return fail(p, "'|' without a filter behind it");
    if (take(p, "(") && !read_items(p, ')', n))
        return NULL;
    return finish_call(p, n, name, STYLE_FILTER);
}

static const struct tnode *read_test(struct parser *p, const struct tnode *of)
{
    bool negative = take_word(p, "not");
    if (!take_word(p, "defined") || of->kind != TNODE_NAME)
        return fail(p, "of tests there is only `variable is defined`, `is not defined`");
    struct tnode *n = new_node(p, TNODE_DEFINED);
    adopt(p, n, of);
    return negative ? negate(p, n) : n;
}

static const struct tnode *read_piped(struct parser *p)
{
    const struct tnode *n = read_postfix(p);
    while (n) {
        if (take(p, "|"))
            n = read_filter(p, n);
        else if (take_word(p, "is"))
            n = read_test(p, n);
        else
            break;
    }
    return n;
}

static const struct tnode *read_condition(struct parser *p)
{
    if (take_word(p, "not")) {
        const struct tnode *of = read_condition(p);
        return of ? negate(p, of) : NULL;
    }
    const struct tnode *left = read_piped(p);
    bool equal = left && take(p, "==");
    if (!left || (!equal && !take(p, "!=")))
        return left;
    const struct tnode *right = read_piped(p);
    struct tnode *n = new_node(p, TNODE_EQUAL);
    if (!right)
        return NULL;
    adopt(p, n, left);
    adopt(p, n, right);
    return equal ? n : negate(p, n);
}

static const struct tnode *read_expression(struct parser *p)
{
    if (p->depth >= LIMIT_TEMPLATE_DEPTH)
        return fail(p, "too many brackets inside one another");
    p->depth++;
    const struct tnode *value = read_condition(p);
    if (value && take_word(p, "if")) {
        struct tnode *n = new_node(p, TNODE_IF);
        const struct tnode *condition = read_condition(p);
        const struct tnode *other =
            condition && (take_word(p, "else") || fail(p, "`if` without `else`"))
                ? read_expression(p)
                : NULL;
        adopt(p, n, condition);
        adopt(p, n, value);
        adopt(p, n, other);
        value = other ? n : NULL;
    }
    p->depth--;
    return value;
}

bool tnode_is_condition(const struct tnode *n)
{
    return n->kind == TNODE_FLAG || n->kind == TNODE_NOT || n->kind == TNODE_DEFINED ||
           n->kind == TNODE_EQUAL;
}

const struct tnode *template_parse(const char **s, struct arena *a, const char **why)
{
    struct parser p = {.s = *s, .arena = a};
    const struct tnode *n = read_expression(&p);
    skip_blanks(&p);
    if (n && !take(&p, "}}"))
        n = fail(&p, arena_printf(a, "what '%.12s' means there", p.s));
    else if (n && tnode_is_condition(n))
        n = fail(&p, "a condition is no text; `this if condition else that`");
    *why = p.why;
    *s = p.s;
    return n;
}
