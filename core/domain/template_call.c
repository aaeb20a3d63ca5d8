/* Filters, methods and functions: what each does with values. */
#include "core/domain/template_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <time.h>

static enum template_result fail(struct evaluation *e, const char *why)
{
    if (!e->why)
        e->why = why;
    return TEMPLATE_ERROR;
}

/* A number is as good as its digits. */
static enum template_result want_text(struct evaluation *e, const struct tnode *n, const char *who,
                                      const char **out)
{
    struct tvalue v = {0};
    enum template_result rc = template_evaluate(e, n, &v);
    if (rc != TEMPLATE_OK)
        return rc;
    if (v.type != TVALUE_TEXT && v.type != TVALUE_NUMBER)
        return fail(e, arena_printf(e->arena, "%s wants a text", who));
    *out = v.type == TVALUE_TEXT ? v.text : arena_printf(e->arena, "%ld", v.number);
    return TEMPLATE_OK;
}

static enum template_result give(struct evaluation *e, const struct strbuf *text,
                                 struct tvalue *out)
{
    if (text->full)
        return fail(e, arena_printf(e->arena, "it grows beyond %zu bytes", LIMIT_TEMPLATE));
    *out = (struct tvalue){.type = TVALUE_TEXT, .text = strbuf_to_arena(text, e->arena)};
    return TEMPLATE_OK;
}

static enum template_result call_default(struct evaluation *e, const struct tnode *n,
                                         struct tvalue *out)
{
    struct tvalue also_empty = {0};
    enum template_result rc = template_evaluate(e, n->kids.at[0], out);
    if (rc == TEMPLATE_OK && n->kids.n > 2)
        rc = template_evaluate(e, n->kids.at[2], &also_empty);
    bool empty = (out->type == TVALUE_TEXT && str_empty(out->text)) ||
                 (out->type == TVALUE_LIST && !out->list.n);
    if (rc == TEMPLATE_UNDEFINED ||
        (rc == TEMPLATE_OK && empty && also_empty.type == TVALUE_FLAG && also_empty.number))
        return template_evaluate(e, n->kids.at[1], out);
    return rc;
}

static enum template_result call_replace(struct evaluation *e, const struct tnode *n,
                                         struct tvalue *out)
{
    CLEANUP_STRBUF struct strbuf text = STRBUF_INIT(LIMIT_TEMPLATE);
    const char *of = "", *from = "", *to = "";
    const char **const texts[] = {&of, &from, &to};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        enum template_result rc = want_text(e, n->kids.at[i], "replace", texts[i]);
        if (rc != TEMPLATE_OK)
            return rc;
    }
    if (!*from)
        return fail(e, "replace wants something to look for");
    for (const char *hit; (hit = strstr(of, from)) != NULL; of = hit + strlen(from)) {
        (void)strbuf_add(&text, of, (size_t)(hit - of));
        (void)strbuf_addstr(&text, to);
    }
    (void)strbuf_addstr(&text, of);
    return give(e, &text, out);
}

static enum template_result call_split(struct evaluation *e, const struct tnode *n,
                                       struct tvalue *out)
{
    const char *of = NULL, *by = NULL;
    enum template_result rc = want_text(e, n->kids.at[0], "split", &of);
    if (rc == TEMPLATE_OK)
        rc = want_text(e, n->kids.at[1], "split", &by);
    if (rc != TEMPLATE_OK)
        return rc;
    if (!*by)
        return fail(e, "split wants something to split at");
    *out = (struct tvalue){.type = TVALUE_LIST};
    for (const char *hit; of; of = hit ? hit + strlen(by) : NULL) {
        hit = strstr(of, by);
        if (out->list.n >= LIMIT_TEMPLATE_ITEMS)
            return fail(
                e, arena_printf(e->arena, "split gives more than %d parts", LIMIT_TEMPLATE_ITEMS));
        *list_push(e->arena, &out->list) =
            arena_strndup(e->arena, of, hit ? (size_t)(hit - of) : strlen(of));
    }
    return TEMPLATE_OK;
}

static enum template_result join(struct evaluation *e, const struct tnode *items,
                                 const struct tnode *with, struct tvalue *out)
{
    CLEANUP_STRBUF struct strbuf text = STRBUF_INIT(LIMIT_TEMPLATE);
    const char *between = "";
    struct tvalue list = {0};
    enum template_result rc = template_evaluate(e, items, &list);
    if (rc == TEMPLATE_OK && with)
        rc = want_text(e, with, "join", &between);
    if (rc != TEMPLATE_OK)
        return rc;
    if (list.type != TVALUE_LIST)
        return fail(e, "join wants a list");
    for (size_t i = 0; i < list.list.n; i++) {
        (void)strbuf_addstr(&text, i ? between : "");
        (void)strbuf_addstr(&text, list.list.at[i]);
    }
    return give(e, &text, out);
}

static enum template_result call_join_method(struct evaluation *e, const struct tnode *n,
                                             struct tvalue *out)
{
    return join(e, n->kids.at[1], n->kids.at[0], out);
}

static enum template_result call_join_filter(struct evaluation *e, const struct tnode *n,
                                             struct tvalue *out)
{
    return join(e, n->kids.at[0], n->kids.n > 1 ? n->kids.at[1] : NULL, out);
}

static enum template_result call_ternary(struct evaluation *e, const struct tnode *n,
                                         struct tvalue *out)
{
    struct tvalue condition = {0};
    enum template_result rc = template_evaluate(e, n->kids.at[0], &condition);
    if (rc != TEMPLATE_OK)
        return rc;
    if (condition.type != TVALUE_FLAG)
        return fail(e, "ternary wants a condition in front of it, such as `zuul.tag is defined`");
    return template_evaluate(e, n->kids.at[condition.number ? 1 : 2], out);
}

bool template_format_ok(const char *format)
{
    for (; (format = strchr(format, '%')) != NULL; format += 2)
        if (!format[1] || !strchr("YmdHMSjy%", format[1]))
            return false;
    return true;
}

static void add_field(char letter, const struct tm *tm, struct strbuf *out)
{
    const struct {
        char letter;
        int width;
        int value;
    } fields[] = {{'Y', 4, tm->tm_year + 1900}, {'m', 2, tm->tm_mon + 1},   {'d', 2, tm->tm_mday},
                  {'H', 2, tm->tm_hour},        {'M', 2, tm->tm_min},       {'S', 2, tm->tm_sec},
                  {'j', 3, tm->tm_yday + 1},    {'y', 2, tm->tm_year % 100}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].letter == letter)
            (void)strbuf_addf(out, "%0*d", fields[i].width, fields[i].value);
    if (letter == '%')
        (void)strbuf_addch(out, '%');
}

static enum template_result call_now(struct evaluation *e, const struct tnode *n,
                                     struct tvalue *out)
{
    const char *format = n->kids.at[0]->text;
    time_t now = (time_t)e->vars->now_s;
    CLEANUP_STRBUF struct strbuf text = STRBUF_INIT(LIMIT_TEMPLATE);
    struct tm tm;
    if (!now) {
        e->missing = "the time of now()";
        return TEMPLATE_UNDEFINED;
    }
    if (!gmtime_r(&now, &tm))
        return fail(e, "now is no time");
    for (; *format; format++) {
        if (*format == '%')
            add_field(*++format, &tm, &text);
        else
            (void)strbuf_addch(&text, *format);
    }
    return give(e, &text, out);
}

static const struct template_call calls[] = {
    {"default", STYLE_FILTER, 1, 2, call_default},
    {"d", STYLE_FILTER, 1, 2, call_default},
    {"join", STYLE_FILTER, 0, 1, call_join_filter},
    {"join", STYLE_METHOD, 1, 1, call_join_method},
    {"now", STYLE_FUNCTION, 1, 1, call_now},
    {"replace", STYLE_FILTER | STYLE_METHOD, 2, 2, call_replace},
    {"split", STYLE_FILTER | STYLE_METHOD, 1, 1, call_split},
    {"ternary", STYLE_FILTER, 2, 2, call_ternary},
};

const struct template_call *template_call(const char *name, enum template_style style)
{
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if ((calls[i].style & style) && str_eq(calls[i].name, name))
            return &calls[i];
    return NULL;
}

const char *template_calls(enum template_style style, struct arena *a)
{
    const char *names = "";
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (calls[i].style & style)
            names = arena_printf(a, "%s%s%s", names, *names ? ", " : "", calls[i].name);
    return names;
}
