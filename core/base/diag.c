#include "core/base/diag.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <stdarg.h>

/* Texts quote what strangers wrote; a finding stays one line that no terminal interprets. */
static void diag_flatten(char *text)
{
    for (; *text; text++)
        for (size_t n = str_control(text); n; n--)
            text[n - 1] = '?';
}

/* A value that several YAML aliases lead to is visited several times, and reported once. */
static bool diag_is_known(const struct diags *d, struct place at, const char *text)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct diag *known = &d->at[i];
        if (known->line == at.line && known->column == at.column && known->file == at.file &&
            strcmp(known->text, text) == 0)
            return true;
    }
    return false;
}

static void diag_add(struct diags *d, enum diag_severity severity, struct place at, const char *fmt,
                     va_list ap)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    diag_flatten(text);
    if (diag_is_known(d, at, text))
        return;
    if (severity == DIAG_ERROR)
        d->errors++;
    if (d->n >= LIMIT_DIAGS) {
        d->dropped++;
        return;
    }
    struct diag *diag = list_push(d->arena, d);
    diag->severity = severity;
    diag->file = at.file;
    diag->line = at.line;
    diag->column = at.column;
    diag->text = arena_strdup(d->arena, text);
}

void diag_error(struct diags *d, struct place at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_add(d, DIAG_ERROR, at, fmt, ap);
    va_end(ap);
}

void diag_warn(struct diags *d, struct place at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_add(d, DIAG_WARNING, at, fmt, ap);
    va_end(ap);
}

void diag_append(struct diags *d, const struct diags *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct diag *one = &from->at[i];
        struct place at = {one->file, one->line, one->column};
        (one->severity == DIAG_ERROR ? diag_error : diag_warn)(d, at, "%s", one->text);
    }
    d->dropped += from->dropped;
}

static int diag_compare(const void *left, const void *right)
{
    const struct diag *a = left, *b = right;
    int by_file = strcmp(a->file ? a->file : "", b->file ? b->file : "");
    if (by_file)
        return by_file;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->column == b->column ? 0 : a->column < b->column ? -1 : 1;
}

void diag_format(const struct diags *d, struct strbuf *out)
{
    if (d->n)
        qsort(d->at, d->n, sizeof *d->at, diag_compare);
    for (size_t i = 0; i < d->n; i++) {
        const struct diag *diag = &d->at[i];
        (void)strbuf_addstr(out, diag->file ? diag->file : "-");
        if (diag->line)
            (void)strbuf_addf(out, ":%u:%u", diag->line, diag->column);
        (void)strbuf_addf(out, ": %s: %s\n", diag->severity == DIAG_ERROR ? "error" : "warning",
                          diag->text);
    }
    if (d->dropped)
        (void)strbuf_addf(out, "... and %zu more\n", d->dropped);
}
