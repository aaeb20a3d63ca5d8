/*
 * secret.h - references to secrets in the configuration: file:PATH, credential:NAME (systemd's
 * $CREDENTIALS_DIRECTORY) and env:NAME. A secret itself is never written there, and no error text
 * repeats what was written in the place of a reference.
 */
#ifndef SLIPWAY_SECRET_H
#define SLIPWAY_SECRET_H

#include "core/base/err.h"
#include "core/base/mem.h"

/* Checks the form and completes a relative file: path with dir; ERR_CONFIG says what is wrong. */
int secret_check(const char *text, const char *dir, struct arena *a, const char **ref,
                 struct err *err);

/* Reads a checked reference, without the newline at its end, and registers it with log_secret. A
 * file must be a regular file that others can't read. Empty, longer than LIMIT_TOKEN, or with
 * control characters: an error that names the reference. */
int secret_read(const char *ref, struct arena *a, const char **out, struct err *err);

/* The same for a text of many lines (an auth.json): as it stands, at most LIMIT_AUTH_FILE, no NUL
 * byte in it. The caller registers the secrets in it. */
int secret_read_text(const char *ref, struct arena *a, const char **out, struct err *err);

#endif
