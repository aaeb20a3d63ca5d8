/*
 * build_wire.h - the lines that build_ask and build_answer exchange (build_ask.h), made and read.
 * No I/O.
 */
#ifndef SLIPWAY_BUILD_WIRE_H
#define SLIPWAY_BUILD_WIRE_H

#include "core/base/strbuf.h"
#include "core/build/build.h"

/* So much log text at most goes into one line. */
#define WIRE_LOG_PIECE KIB(16)

/* A character of UTF-8 that the end of a piece cut waits here for its rest. */
struct wire_log {
    char held[4];
    size_t n;
};

/* Appends the line {"log": "..."} for a piece of log, nothing when there is no whole character in
 * it. Bytes that are no UTF-8, and NUL, become U+FFFD; other control characters stay, escaped. */
void wire_log(struct wire_log *w, const char *text, size_t len, struct strbuf *out);
/* What is held at the end of the log is no character any more. */
void wire_log_end(struct wire_log *w, struct strbuf *out);

/* The last line, with its newline. */
const char *wire_result(const struct build_layouts *layouts, struct arena *a);
const char *wire_failure(const struct err *failure, struct arena *a);

enum wire_kind { WIRE_LOG, WIRE_RESULT, WIRE_FAILURE };

struct wire_line {
    enum wire_kind kind;
    const char *log;
    size_t log_len;
    struct build_layouts layouts;
    struct err failure;
};

/* Reads one line without its newline; ERR_INPUT when it is none of ours. Strings live in the
 * arena. */
int wire_read(const char *line, size_t len, struct arena *a, struct wire_line *out,
              struct err *err);

#endif
