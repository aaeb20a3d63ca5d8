/*
 * dialogue.h - what the dialogues of all forges share: making requests from forge_conf alone, and
 * reading answers. Pure.
 */
#ifndef SLIPWAY_DIALOGUE_H
#define SLIPWAY_DIALOGUE_H

#include "core/forge/forge.h"
#include "core/lib/json.h"

/* %-encoded for a URL; '/' stays when keep_slash. */
const char *dialogue_escape(struct arena *a, const char *s, bool keep_slash);

/* A configured base without slashes at its end; NULL stays NULL. */
const char *dialogue_base(struct arena *a, const char *url);

/* Fills a GET; the dialogue goes on at `stage`. Returns FORGE_MORE. */
enum forge_step dialogue_get(struct forge_dialogue *d, int stage, const char *url,
                             struct http_req *next);

/* Makes a POST with a JSON body of the request that a GET has filled. */
void dialogue_post(struct forge_dialogue *d, const struct js *body, struct http_req *next);

/* Adds "Authorization: Basic" when both username and password are there. */
void dialogue_basic(struct forge_dialogue *d, struct http_req *next);

/* Is it a 200? Else err says what was asked and what came; 404 keeps its code. */
bool dialogue_ok(const struct http_resp *resp, const char *what, struct err *err);

/* Was a report taken (200 or 201)? Else err says so, and which right is missing where a refusal may
 * mean that one is. */
bool dialogue_taken(const struct http_resp *resp, const char *what, const char *right,
                    struct err *err);

/* The JSON object of a 200; `prefix` is skipped when not NULL, and must be there. NULL with err:
 * the kind of the status, ERR_TEMP for a body that is none (a proxy's page). */
struct js *dialogue_json(const struct http_resp *resp, const char *prefix, const char *what,
                         struct err *err);

/* A commit from an answer, copied; NULL with ERR_TEMP when it is none. */
const char *dialogue_commit(struct forge_dialogue *d, const struct js *v, const char *path,
                            const char *what, struct err *err);

/* err = ERR_TEMP with code EAGAIN: the forge does not show it yet. Returns FORGE_FAILED. */
enum forge_step dialogue_not_yet(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* err = ERR_PERM. Returns FORGE_FAILED. */
enum forge_step dialogue_never(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
