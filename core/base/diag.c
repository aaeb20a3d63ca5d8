#include "core/base/diag.h"

#include "core/base/limits.h"

#include <stdarg.h>

static void diag_add(struct diags *d, enum diag_severity severity, struct place at,
                     const char *fmt, va_list ap)
{
    if (severity == DIAG_ERROR)
        d->errors++;
    if (d->n >= LIMIT_DIAGS) {
        d->dropped++;
        return;
    }
    char text[1024];
    (void)vsnprintf(text, sizeof text, fmt, ap);
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
