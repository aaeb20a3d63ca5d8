/*
 * forge.h - code-review systems as const descriptors in one table: adding one is a file and a row.
 *
 * A forge takes and returns values: it verifies and parses requests that were handed to it, and it
 * builds requests that the engine sends. It never opens a connection, so tables of fixtures test
 * it whole. No URL from a payload is ever called: all are made from forge_conf.
 */
#ifndef SLIPWAY_FORGE_H
#define SLIPWAY_FORGE_H

#include "core/base/err.h"
#include "core/base/httpmsg.h"
#include "core/base/mem.h"
#include "core/domain/change.h"
#include "core/domain/event.h"
#include "core/domain/order.h"

/* One entry of the operator's `forges`. Secrets are resolved only in the role that needs them:
 * hook_secrets in `serve`, username, password and token in `work`; elsewhere NULL and empty. */
struct forge_conf {
    const char *name;     /* the source: POST /hooks/<name> */
    const char *type;     /* "github", "gerrit", "git" */
    const char *url;      /* web base, no trailing slash: "https://github.com" */
    const char *api;      /* REST base; NULL: derived from url, as the type does */
    const char *git;      /* base of clone URLs (https, ssh, file), NULL: derived from url;
                             "{project}" is replaced, else "/<project>" is appended */
    const char *username; /* REST and git, NULL: anonymous */
    const char *password;
    const char *token; /* GitHub: Bearer */
    const char *ca_file;
    struct str_list hook_secrets; /* all that are active now; never empty in `serve` */
    bool report;                  /* statuses and comments are sent: it has credentials for that */
    const char *vote; /* Gerrit: the label that a result votes on, "Verified"; NULL: none */
};

/* What headers alone tell about a verified request. */
enum forge_class {
    FORGE_STORE,  /* keep it for `work` */
    FORGE_PING,   /* the forge tries the connection: answer 200 */
    FORGE_BORING, /* verified, but never interesting: kept as ignored, answered 200 */
};

enum forge_step {
    FORGE_MORE,    /* *next is to be sent, its answer comes back */
    FORGE_DONE,    /* the dialogue's results are set */
    FORGE_USE_GIT, /* this forge has no API for that: use plain git */
    FORGE_FAILED   /* err is set; ERR_TEMP for "not yet", too */
};

/* What is said about event->staged_commit, and event->change where there is one. Texts are UTF-8
 * without control characters (but line ends and tabs in `body`) and secrets; whatever markup they
 * hold is the dialogue's business. */
struct forge_report {
    const char *state;   /* "pending", "success", "failure" */
    const char *context; /* "slipway/check" */
    const char *summary; /* one line */
    const char *body;    /* more lines, NULL */
    const char *url;     /* for people, NULL */
    const char *id;      /* one comment a failure of this id (visible ASCII, no blanks or "-->") */
    bool may_vote;       /* the change has not merged yet */
};

/* State and results of a dialogue. The engine fills the upper half and drives the steps. */
struct forge_dialogue {
    const struct forge_conf *conf;
    struct arena *arena;
    struct event *event; /* confirm: completed and corrected in place */
    const char *path;    /* file: what to read at event->list_commit */
    int64_t now_s;
    int stage; /* the dialogue's own; 0 at its start */

    const char *content; /* file: bytes, NUL-terminated behind content_len */
    size_t content_len;
    bool missing;     /* file: the commit is there, the file is not */
    const char *tree; /* tree: of event->list_commit */
    const char *head; /* head: the project's default branch, NULL when it has none */
    const char *mine; /* ancestry, set by the engine: two commits of event->project */
    const char *applied;
    enum ancestry related;             /* ancestry: how they are related */
    const char *change;                /* change, set by the engine: a number, of event->project */
    struct change_status status;       /* change: what became of it; never CHANGE_UNASKED */
    const struct forge_report *report; /* report, set by the engine */
};

/* last is NULL at the first call. Pure but for the dialogue and the arena. */
typedef enum forge_step forge_step_fn(struct forge_dialogue *d, const struct http_resp *last,
                                      struct http_req *next, struct err *err);

struct forge {
    const char *type;
    /* happened_at comes from the forge's own clock: which of two commits is newer is only asked
     * where their times do not tell. */
    bool own_clock;
    /* Whoever tells of a merge may never tell of the push that it is to its branch. */
    bool merge_is_push;
    const char *git_username; /* for git over https with conf->token; NULL: conf->username */
    const char *proof; /* the header that carries this forge's proof; NULL: the address does */
    /* What stands before "/<project>" in the clone URLs of callers with a user name, when they are
     * derived from conf->url; NULL: nothing. */
    const char *git_auth_path;

    /* Is the request proven to come from the configured source? `path_rest` is what follows
     * /hooks/<name>/ ("" when nothing does). Never true without a secret. Constant time. */
    bool (*verify)(const struct forge_conf *conf, const struct http_req *req, const char *path_rest,
                   int64_t now_s);
    enum forge_class (*classify)(const struct http_req *req);
    /* The forge's own id of this delivery, NULL when it has none. Borrowed from req. */
    const char *(*delivery_id)(const struct http_req *req);
    /* Names of the headers that are stored (an allow-list: others may carry secrets), NULL-ended.
     */
    const char *const *keep_headers;

    /* Events of a stored request. 0 with no event: *ignored says why. -1: ERR_INPUT, malformed. */
    int (*parse)(const struct forge_conf *conf, const struct http_req *req, struct arena *a,
                 struct event_list *events, const char **ignored, struct err *err);

    forge_step_fn *confirm;  /* completes an event with confirm set: re-reads the change, peels */
    forge_step_fn *file;     /* one file at event->list_commit */
    forge_step_fn *tree;     /* the git tree of event->list_commit */
    forge_step_fn *head;     /* the default branch; NULL: plain git knows */
    forge_step_fn *ancestry; /* relates d->mine to d->applied; a lost commit is DIVERGED */
    forge_step_fn *change;   /* the state of d->change; NULL: nobody can be asked */
    forge_step_fn *report;   /* says d->report; may be said again. NULL: it takes no reports */
    bool report_on_change;   /* report: there is no place for one about a commit without change */

    /* Makes and signs the request that this forge would send for an event: send-test-hook. e NULL
     * makes one that means nothing (a ping). The url is set to the path below the service's base:
     * "/hooks/<name>..."; what follows the name may be secret. ERR_CONFIG without a fit secret,
     * ERR_INPUT when the event lacks a field (it is named) or this forge has no such event. */
    int (*sample)(const struct forge_conf *conf, const struct event *e, int64_t now_s,
                  struct arena *a, struct http_req *out, struct err *err);
};

/* NULL when the type is unknown. */
const struct forge *forge_find(const char *type);
/* All of them, in the order of the table. */
const struct forge *const *forge_table(size_t *n);

/* Why a request was not proven, for the operator's log: what is missing, a clock that is off, or a
 * secret that does not match. Never says more than its sender knows. */
const char *forge_doubt(const struct forge *forge, const struct http_req *req, int64_t now_s);

/* The clone URL of a project, from conf->git or conf->url. */
const char *forge_git_url(const struct forge_conf *conf, const char *project, struct arena *a);

/* The project that a clone URL is of; NULL: it is none of this forge's. */
const char *forge_git_project(const struct forge_conf *conf, const char *url, struct arena *a);

/* An answer with status >= 400 as an error: kind by http status, text with what was asked and the
 * first line of the body; 404 keeps code 404. Returns FORGE_FAILED. */
enum forge_step forge_refused(const struct http_resp *resp, const char *what, struct err *err);

#endif
