/*
 * types.h - the descriptors that forge.c puts into its table, and the generic form of a body, which
 * every source accepts for image.staged. Private to core/forge.
 */
#ifndef SLIPWAY_FORGE_TYPES_H
#define SLIPWAY_FORGE_TYPES_H

#include "core/forge/forge.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"

extern const struct forge forge_github, forge_gerrit, forge_generic;

/* github_api.c and gerrit_api.c */
enum forge_step github_confirm(struct forge_dialogue *d, const struct http_resp *last,
                               struct http_req *next, struct err *err);
enum forge_step github_file(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err);
enum forge_step github_tree(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err);
enum forge_step github_ancestry(struct forge_dialogue *d, const struct http_resp *last,
                                struct http_req *next, struct err *err);
enum forge_step github_change(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err);
enum forge_step gerrit_confirm(struct forge_dialogue *d, const struct http_resp *last,
                               struct http_req *next, struct err *err);
enum forge_step gerrit_head(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err);
enum forge_step gerrit_file(struct forge_dialogue *d, const struct http_resp *last,
                            struct http_req *next, struct err *err);
enum forge_step gerrit_change(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err);

/* github_report.c and gerrit_report.c */
enum forge_step github_report(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err);
enum forge_step gerrit_report(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err);

/* What they share with the other dialogues: a GET of <api>/repos/<owner>/<name>/<rest>, of
 * <api>[/a]/<rest>; a refusal, with the wait that GitHub's own header asks for. */
#define GITHUB_ACCEPT "application/vnd.github+json"
enum forge_step github_ask(struct forge_dialogue *d, int stage, const char *rest,
                           const char *accept, struct http_req *next, struct err *err);
enum forge_step github_refused(const struct forge_dialogue *d, const struct http_resp *last,
                               struct err *err);
enum forge_step gerrit_ask(struct forge_dialogue *d, int stage, const char *rest, bool json,
                           struct http_req *next);

/* Answers FORGE_USE_GIT. */
enum forge_step forge_use_git(struct forge_dialogue *d, const struct http_resp *last,
                              struct http_req *next, struct err *err);

/* generic.c: parses a body in our own form. With staged_only every kind but image.staged and ping
 * is ignored. */
int generic_parse_body(const struct forge_conf *conf, const struct http_req *req, bool staged_only,
                       struct arena *a, struct event_list *events, const char **ignored,
                       struct err *err);

/* A body in our own form, signed with Standard Webhooks; e NULL makes a ping. */
int generic_sample(const struct forge_conf *conf, const struct event *e, int64_t now_s,
                   struct arena *a, struct http_req *out, struct err *err);

/* A JSON body as a POST to the source's hook: returns the body's text. The digest, from time and
 * body, is what the sample's delivery id is made of. */
const char *forge_sample_post(const struct forge_conf *conf, const struct js *v, int64_t now_s,
                              struct arena *a, char digest[CRYPT_SHA256_HEX], struct http_req *out);

/* The first secret of a source; NULL with ERR_CONFIG when it has none. */
const char *forge_secret(const struct forge_conf *conf, struct err *err);

#endif
