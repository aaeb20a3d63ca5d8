/*
 * log.h - one logfmt line an event on standard error:
 *
 *     time=2026-11-23T16:40:10.123Z level=info msg="tag is live" task=7 tag=latest
 *
 * Values are quoted where needed, control bytes escaped, and every registered secret is replaced
 * by *** wherever it appears. Thread-safe; a line is one write(2).
 */
#ifndef SLIPWAY_LOG_H
#define SLIPWAY_LOG_H

#include "core/base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
void log_set_role(const char *role); /* "serve", "work": printed in each line; a literal */

/* Never print this string again, nor its base64 or percent-encoded form. Secrets shorter than
 * 4 bytes are not registered. */
void log_secret(const char *secret);

/* Replaces registered secrets in a text that goes elsewhere (the store, a reply): returns true
 * when something was replaced. Same length or shorter. */
bool log_redact(char *text);

/* log_at(LOG_LEVEL_INFO, "tag is live", "task", "7", "tag", tag, NULL): pairs of key and value,
 * ended by a NULL key. A NULL value prints as "-". */
void log_at(enum log_level level, const char *msg, ...) __attribute__((sentinel));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
