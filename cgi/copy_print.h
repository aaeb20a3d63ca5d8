/*
 * copy_print.h - what is said of copies: names of both ends, one line for people, one JSON object
 * for programs. Texts from registries lose their control characters.
 */
#ifndef SLIPWAY_COPY_PRINT_H
#define SLIPWAY_COPY_PRINT_H

#include "core/lib/json.h"
#include "core/registry/copy.h"

/* "registry.example.org/team/app:latest", "oci:/srv/out:latest", with "@sha256:..." for a digest.
 * ref NULL: without. */
const char *copy_end(const struct endpoint *e, const char *ref, struct arena *a);
const char *copy_source(const struct copy *c, struct arena *a);
/* All targets, joined by ", ". */
const char *copy_target(const struct copy *c, struct arena *a);

/* "same", "copied", "would-copy" (dry run) or "failed". */
const char *copy_state(const struct copy *c);

/* A failure's text as commands by hand show it: what is in configuration keys also as flags, and
 * without the name before it that is said anyhow: `shown` (NULL: none), provided that the rest
 * names `host`, and any name that is there twice. */
const char *copy_reason(const char *text, const char *shown, const char *host, struct arena *a);

/* The column of states is as wide everywhere. */
#define STATE_COLUMN "%-12s  "

/* "copied quay.io/a/b:1 -> registry.example.org/b:1, 12.4 MiB in 3 of 5 blobs" without a line end.
 */
const char *copy_line(const struct copy *c, struct arena *a);

/* {"source", "targets", "state", "digest", "media_type", "bytes_total", "bytes_moved", "blobs",
 * "blobs_moved", "blobs_mounted", "companions", "notes", "reason"}; the caller owns it. */
struct js *copy_json(const struct copy *c, struct arena *a);

/* "12.4 MiB", "512 B". */
const char *bytes_text(int64_t bytes, struct arena *a);

/* The exit code for one, or for the worst of several. */
int copy_exit_code(const struct copy *copies, size_t n);

#endif
