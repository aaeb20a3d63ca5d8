/*
 * registry_internal.h - what the files of core/registry share: the state that is remembered of
 * each host and repository, and one authorised request.
 */
#ifndef SLIPWAY_REGISTRY_INTERNAL_H
#define SLIPWAY_REGISTRY_INTERNAL_H

#include "core/registry/registry.h"

#include <pthread.h>

/* What a host asked for in its last challenge. */
enum registry_auth { AUTH_NOT_ASKED, AUTH_BASIC, AUTH_BEARER };

enum registry_answer { ANSWER_UNKNOWN, ANSWER_YES, ANSWER_NO };

struct registry_repo {
    struct registry_repo *next;
    char *name;
    char *token;         /* Bearer, NULL when there is none */
    int64_t token_until; /* clock_monotonic_ms */
    enum registry_answer may_delete;
    int64_t no_until; /* may_delete == ANSWER_NO: asked again afterwards */
    char why_not[300];
};

struct registry_host {
    const struct registry_conf *conf;
    enum registry_auth auth;
    char *realm;
    char *service;                   /* NULL when the challenge named none */
    enum registry_answer tag_delete; /* OCI deletion of one tag */
    struct registry_repo *repos;     /* newest first, at most LIMIT_REPOSITORIES */
    size_t repos_n;
};

struct registry {
    struct http_client *http;
    pthread_mutex_t lock; /* guards everything in hosts but conf */
    struct registry_host *hosts;
    size_t n;
};

void registry_lock(struct registry *r);
void registry_unlock(struct registry *r);

/* NULL when the operator did not configure it. */
struct registry_host *registry_find(const struct registry *r, const char *host);

/* Made when it is not there. Call with the lock held; valid as long as it is held. */
struct registry_repo *registry_repo(struct registry_host *h, const char *name);

/* "https://host[:port]" that requests go to; Docker Hub's differs from its name. */
const char *registry_base(const struct registry_host *h, struct arena *a);

/* One request for something of a repository. */
struct exchange {
    struct registry_host *host;
    const char *name;
    const char *method;
    const char *path; /* behind "/v2/<name>/" */
    const char *accept;
    const char *content_type;
    const void *body;
    size_t body_len;
    size_t max_body;
    struct http_resp resp; /* out: any status, a 401 too when signing in did not help */
    const char *sent;      /* out: the Authorization sent last, NULL when there was none */
    bool signed_in;        /* out: a 401 made it sign in */
    bool failed;           /* out: no answer, or no way to sign in: err is set */
    struct err err;
};

/* Sends all at once, signs in where asked and sends those again, once. */
void exchange_all(struct registry *r, struct arena *a, struct exchange *x, size_t n);

/* Says in *err what an answer that was not hoped for means: "host refused to <verb> <what>: 403
 * DENIED: ...". Kind by status, Retry-After kept, secrets never. Returns -1. */
int exchange_refused(const struct exchange *x, const char *verb, const char *what, struct err *err);

/* Does the body hold errors[] with one of the codes that mean "there is no such thing"? */
bool exchange_says_unknown(const struct exchange *x);
/* Does the body hold any errors[] at all? */
bool exchange_has_errors(const struct exchange *x);

#endif
