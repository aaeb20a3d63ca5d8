/*
 * diag.h - what is wrong with a file that people write: many findings with their places, so that
 * all errors of a file are shown at once. Pure data in an arena.
 */
#ifndef SLIPWAY_DIAG_H
#define SLIPWAY_DIAG_H

#include "core/base/base.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

enum diag_severity { DIAG_ERROR, DIAG_WARNING };

struct diag {
    enum diag_severity severity;
    const char *file;
    unsigned line;   /* from 1; 0: the file as a whole */
    unsigned column; /* from 1 */
    const char *text;
};

struct diags {
    struct arena *arena; /* set by the caller: findings live there */
    struct diag *at;
    size_t n;
    size_t cap;
    size_t errors;  /* how many of them are errors */
    size_t dropped; /* beyond LIMIT_DIAGS */
};

/* A place in a file; file must outlive the findings. */
struct place {
    const char *file;
    unsigned line;
    unsigned column;
};

/* Control characters in the text become '?'. The same text at the same place is kept once. */
void diag_error(struct diags *d, struct place at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void diag_warn(struct diags *d, struct place at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Adds the findings of another list (same arena), as if they had been reported to d. */
void diag_append(struct diags *d, const struct diags *from);

/* One line each, "file:line:column: error: text\n", in the order of the file. */
void diag_format(const struct diags *d, struct strbuf *out);

#endif
