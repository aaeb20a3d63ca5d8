/*
 * flow.h - one blob's bytes on their way: from a download or a file, through a small ring, to an
 * upload or a file, counted and hashed as they pass. The last byte is handed on only once size and
 * digest are known to be right; otherwise the upload is stopped short, so that it can't complete.
 *
 * The callbacks run in the thread of the HTTP loop; everything else is called by the thread that
 * moves the blob, at any time.
 */
#ifndef SLIPWAY_REGISTRY_FLOW_H
#define SLIPWAY_REGISTRY_FLOW_H

#include "core/base/err.h"
#include "core/lib/http.h"
#include "core/registry/blob.h"

struct flow;

/* Digest (well-formed) and size are what must come out; both and `progress` (may be NULL) are
 * borrowed. Up to `window` bytes that were handed on are kept for flow_rewind (0: none). */
struct flow *flow_new(struct http_client *http, const char *digest, int64_t size,
                      const struct blob_progress *progress, size_t window);
void flow_free(struct flow *f); /* both flights have landed */

/* In place of a download: the file that is read, from its start. Borrowed. */
void flow_from_file(struct flow *f, int fd, const char *shown);
/* In place of an upload: the file that is written. Borrowed. */
void flow_to_file(struct flow *f, int fd, const char *shown);

/* Both ends for http_start. */
struct http_sink flow_sink(struct flow *f);
struct http_source flow_source(struct flow *f);

/* Where a download goes on: what was received so far. The next answer is expected to begin there
 * (206), or at 0 (200: the known part is passed over). */
int64_t flow_expect(struct flow *f);

/* Who is to be woken when there are bytes again, or room. NULL before it is landed. */
void flow_download_is(struct flow *f, struct http_flight *flight);
void flow_upload_is(struct flow *f, struct http_flight *flight);

/* Everything came, and it is what it must be. */
bool flow_whole(struct flow *f);
/* The download has ended as it should: was that all? -1: ERR_PERM, too short. */
int flow_check_end(struct flow *f, struct err *err);

/* Was it stopped for good: wrong bytes, an unusable answer, a full disk? *err says why. */
bool flow_failed(struct flow *f, struct err *err);

int64_t flow_sent(struct flow *f);
/* What was handed on so far has arrived, and need not be kept. */
void flow_arrived(struct flow *f);
/* Hands on again from `offset`. False when that is not kept any more, or was never handed on. */
bool flow_rewind(struct flow *f, int64_t offset);

/* Takes back what was told as progress: the blob is begun anew. */
void flow_untell(struct flow *f);

#endif
