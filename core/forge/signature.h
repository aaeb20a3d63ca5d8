/*
 * signature.h - proofs that a request comes from where it says: GitHub's HMAC, Standard Webhooks
 * 1.0.0, and a plain token for senders that can do no better. All compare in constant time, try
 * every active secret, and are false without one. Pure.
 */
#ifndef SLIPWAY_SIGNATURE_H
#define SLIPWAY_SIGNATURE_H

#include "core/base/err.h"
#include "core/base/httpmsg.h"
#include "core/base/mem.h"

/* X-Hub-Signature-256: "sha256=" and exactly 64 hex digits of either case, over the raw body. The
 * SHA-1 header is never looked at. */
bool signature_github_ok(const struct http_req *req, const struct str_list *secrets);
const char *signature_github(const char *secret, const void *body, size_t len, struct arena *a);

/* Does the request carry a Standard Webhooks id (webhook-id, or svix-id)? Then that scheme alone
 * proves it and its body is in our own generic form, whatever the source's type. Deciding on the id
 * makes sure that what was verified is also what is parsed: the id is signed and stored. */
bool signature_is_standard(const struct http_req *req);
/* That id, NULL when there is none. Borrowed. */
const char *signature_standard_id(const struct http_req *req);

/*
 * Standard Webhooks: v1 only, any of the listed signatures, a time stamp within
 * LIMIT_WEBHOOK_SKEW_S, a body of at most LIMIT_STANDARD_BODY. A secret is "whsec_" and base64 of
 * 24 to 64 bytes, or raw text of at least LIMIT_HOOK_SECRET bytes; other secrets never match. The
 * id holds letters, digits and `_-:=+@/~` only, at most LIMIT_WEBHOOK_ID: with a full stop in it,
 * parts of the signed text could change places.
 */
bool signature_standard_ok(const struct http_req *req, const struct str_list *secrets,
                           int64_t now_s);
/* What a Standard Webhooks request lacks before any secret is looked at; NULL: nothing, or it is
 * none. */
const char *signature_standard_doubt(const struct http_req *req, int64_t now_s);
/* The three headers for a body; ERR_CONFIG when the secret is unfit. */
int signature_standard_add(struct http_headers *headers, const char *secret, const char *id,
                           int64_t now_s, const void *body, size_t len, struct arena *a,
                           struct err *err);

/* Is the text one of the secrets? Secrets shorter than LIMIT_HOOK_SECRET never match. */
bool signature_token_ok(const char *text, const struct str_list *secrets);

#endif
