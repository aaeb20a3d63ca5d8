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
    enum registry_answer may_delete;
    int64_t no_until; /* may_delete == ANSWER_NO: asked again afterwards */
    char why_not[300];
};

/* A Bearer token, by what it was asked for. */
struct registry_token {
    struct registry_token *next;
    char *name;
    char *with; /* NULL: for `name` alone */
    bool read_only;
    char *origin;  /* of the credentials that it was given for, NULL */
    char *more;    /* rights that the registry asked for beyond the usual ones, NULL */
    char *token;   /* NULL: there is none */
    int64_t until; /* clock_monotonic_ms */
};

struct vendor;

/* What is remembered of the ways in which a host removes tags, and of its vendor's API (vendor.h).
 * vendor_forget releases it. */
struct registry_vendor {
    const struct vendor *found; /* by a probe; NULL: none, or not probed */
    bool probed;
    enum registry_answer api;       /* the vendor's own API removed a tag */
    enum registry_answer reference; /* GitLab's DELETE of tags/reference/<tag> */
    bool wants_image;               /* it refuses an empty index as a placeholder */
    char *token;                    /* of a sign-in at the API */
    int64_t token_until;            /* clock_monotonic_ms */
};

/* Each configured host has two entries, side by side: one that is entered with credentials, and
 * an anonymous twin with tokens of its own. The host's pace is kept in the first of them. */
struct registry_host {
    const struct registry_conf *conf;
    bool anonymous;
    struct registry_rate rate;
    int64_t quiet_until; /* clock_monotonic_ms: the host asked to be left alone (pace.h) */
    int troubles;        /* in a row, for the growing back-off */
    bool heard;          /* it has answered before */
    enum registry_auth auth;
    bool no_token_post; /* the token service takes no POST: refresh tokens go by GET */
    char *realm;
    char *service;                   /* NULL when the challenge named none */
    enum registry_answer tag_delete; /* OCI deletion of one tag */
    struct registry_vendor vendor;
    struct registry_repo *repos; /* newest first, at most LIMIT_REPOSITORIES */
    size_t repos_n;
    struct registry_token *tokens; /* newest first, at most LIMIT_REPOSITORIES */
    size_t tokens_n;
};

struct registry {
    struct http_client *http;
    struct credentials *credentials;
    struct credentials *own; /* the same when the caller gave none: for helpers */
    pthread_mutex_t lock;    /* guards everything below but conf */
    pthread_cond_t stopped;
    bool stopping; /* nobody waits any more (registry_stop) */
    struct registry_host *hosts;
    size_t n;
    uint64_t *warnings; /* hashes of what was logged once */
    size_t warnings_n;
};

void registry_lock(struct registry *r);
void registry_unlock(struct registry *r);

/* NULL when the operator did not configure it. */
struct registry_host *registry_find(const struct registry *r, const char *host, bool anonymous);

/* Made when it is not there. Call with the lock held; valid as long as it is held. */
struct registry_repo *registry_repo(struct registry_host *h, const char *name);

/* The token entry for what is asked; made when it is not there. As registry_repo. */
struct registry_token *registry_token(struct registry_host *h, const char *name,
                                      const struct registry_access *access);

/* "https://host[:port]" that requests go to; Docker Hub's differs from its name. */
const char *registry_base(const struct registry_host *h, struct arena *a);

/* One request for something of a repository. */
struct exchange {
    struct registry_host *host;
    const char *name;
    struct registry_access access;
    const char *method;
    const char *path; /* behind "/v2/<name>/" */
    const char *url; /* instead of path: an address that the registry named itself (Location, Link).
                        Of its own origin: credentials go along. Of another: they do not, and it
                        must be listed in the conf's `storage`, or be https and public */
    const char *accept;
    const char *content_type;
    struct http_headers headers; /* more of them: Range, Content-Range */
    const void *body;
    size_t body_len;
    const struct http_source *source; /* instead of body: then a 401 is not answered by a second */
    const struct http_sink *sink;     /* attempt, and patience ends with the first byte */
    size_t max_body;
    int64_t timeout_ms; /* 0: LIMIT_REQUEST_MS; access.until may make it shorter */
    bool safe; /* may be repeated: GET, HEAD, DELETE and PUT of a manifest are anyway; a mount */
    struct http_resp resp; /* out: any status, a 401 too when signing in did not help */
    const char *sent;      /* out: the Authorization sent last, NULL when there was none */
    const char *origin;    /* out: where its credentials are from, NULL when there were none */
    bool signed_in;        /* out: a 401 made it sign in */
    bool failed;           /* out: no answer, or no way to sign in: err is set */
    struct err err;
};

/* The earlier one of a time (clock_monotonic_ms) and the end that the access sets. */
static inline int64_t registry_until(const struct registry_access *access, int64_t ms)
{
    return access->until && access->until < ms ? access->until : ms;
}

/* Sends all at once, signs in where asked and sends those again, once. Keeps the host's pace:
 * nothing is sent while it asked to be left alone, Retry-After and rate limits are noted. */
void exchange_all(struct registry *r, struct arena *a, struct exchange *x, size_t n);

/* For transfers that are flown by hand (blob.c): the call of an exchange with everything set but
 * source and sink, signed in ahead as far as the host is known to want it. -1: x->err is set. */
int exchange_prepare(struct registry *r, struct arena *a, struct exchange *x,
                     struct http_call *call);
/* Takes over the answer of such a call (after http_land), and notes what it means for the host's
 * pace. */
void exchange_note(struct registry *r, struct exchange *x, const struct http_call *call);
/* Such a call was answered by 401: signs in. True: exchange_prepare would now send something
 * better. Else x->err is set when x->failed, or the 401 stands. */
bool exchange_sign_in(struct registry *r, struct arena *a, struct exchange *x);

/* How a server is reached whose address the registry named itself: without our certificate, and
 * unless paired trusted as any public server and connected to at public addresses only. */
struct http_via exchange_foreign_via(const struct registry_host *h, bool paired);

/* May this address, which the registry named itself, be called? ERR_PERM when not. *own: it is of
 * the registry's origin, so credentials go along; else the call must be public_only unless
 * *paired. */
int exchange_check_url(const struct registry_host *h, const char *url, struct arena *a, bool *own,
                       bool *paired, struct err *err);

/* Says in *err what an answer that was not hoped for means: "host refused to <verb> <what>: 403
 * DENIED: ...". Kind by status, Retry-After kept, secrets never. Returns -1. */
int exchange_refused(const struct exchange *x, const char *verb, const char *what, struct err *err);

/* What to do about credentials that were refused: "; no credentials are configured for that
 * registry". */
const char *refusal_advice(const struct registry_host *h, const char *origin, struct arena *a);
/* The same where it is entered without credentials on purpose. */
#define REFUSAL_NOT_PUBLIC                                                                         \
    "it is not public, and policy lets this project read it only without credentials (may_read)"

/* Puts "***" in the place of each occurrence of a secret, unless that is too short to be one; NULL
 * hides nothing. */
void refusal_hide(char *text, const char *secret);

/* Does the body hold errors[] with one of the codes that mean "there is no such thing"? */
bool exchange_says_unknown(const struct exchange *x);
/* Does the body hold any errors[] at all? */
bool exchange_has_errors(const struct exchange *x);

#endif
