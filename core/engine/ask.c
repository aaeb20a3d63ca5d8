#include "core/engine/ask.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#include <errno.h>

enum { DIALOGUE_STEPS_MAX = 12, STOP_POLL_MS = 200 };

/* One question: who is asked, and what the dialogue works on. Not moved once begun. */
struct question {
    const struct engine *engine;
    const struct forge *forge;
    struct event event; /* a copy, so that only a confirmation changes the caller's */
    struct forge_dialogue dialogue;
    struct git_remote remote;
    int64_t timeout_ms; /* of one request; 0: the usual */
    bool may_stop;      /* given up when the engine is to stop */
};

/* ERR_CONFIG when the forge was taken out of the configuration. */
static int begin(struct question *q, const struct engine *e, const struct event *event,
                 struct arena *a, struct err *err)
{
    const struct forge_conf *conf = engine_forge(e, event->forge);
    if (!conf)
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured (any more)", event->forge);
    *q = (struct question){.engine = e, .event = *event};
    q->forge = forge_find(conf->type);
    if (!q->forge)
        return err_set(err, ERR_BUG, 0, "forge '%s' has unknown type '%s'", event->forge,
                       conf->type);
    q->dialogue = (struct forge_dialogue){
        .conf = conf, .arena = a, .event = &q->event, .now_s = clock_now_ms() / 1000};
    q->remote = (struct git_remote){
        .url = forge_git_url(conf, event->project, a),
        .username = conf->username || !conf->token ? conf->username : q->forge->git_username,
        .password = conf->password ? conf->password : conf->token,
        .ca_file = conf->ca_file,
    };
    return 0;
}

static bool is_stopping(const struct engine *e)
{
    return e->stop && atomic_load(e->stop);
}

/* One request, which ends with the engine where the question may be asked another time. */
static int put(const struct question *q, struct http_call *call, struct err *err)
{
    const struct engine *e = q->engine;
    call->timeout_ms = q->timeout_ms;
    if (!q->may_stop)
        return http_do(e->http, q->dialogue.arena, call, err);
    struct http_flight *flight = http_start(e->http, call);
    while (!is_stopping(e) && http_wait(e->http, &flight, 1, STOP_POLL_MS) != 0)
        continue;
    if (http_land(e->http, flight, q->dialogue.arena) == 0)
        return 0;
    *err = call->err;
    return is_stopping(e) ? err_set(err, ERR_TEMP, EINTR, "stopped while it was asked") : -1;
}

/* Drives the dialogue to its end. Returns FORGE_DONE, FORGE_USE_GIT or FORGE_FAILED. */
static enum forge_step converse(struct question *q, forge_step_fn *step, struct err *err)
{
    struct forge_dialogue *d = &q->dialogue;
    struct http_call call = {0};
    const struct http_resp *last = NULL;
    for (int i = 0; step && i < DIALOGUE_STEPS_MAX; i++) {
        struct http_req next = {0};
        enum forge_step result = step(d, last, &next, err);
        if (result != FORGE_MORE)
            return result;
        call = (struct http_call){
            .req = next, .max_body = LIMIT_RESPONSE, .via.ca_file = d->conf->ca_file};
        if (put(q, &call, err) < 0) {
            (void)err_wrap(err, "asking forge '%s'", d->conf->name);
            return FORGE_FAILED;
        }
        last = &call.resp;
        d->now_s = clock_now_ms() / 1000;
    }
    if (!step)
        return FORGE_USE_GIT;
    (void)err_set(err, ERR_BUG, 0, "the dialogue with forge '%s' does not end", d->conf->name);
    return FORGE_FAILED;
}

static int confirm_by_git(struct question *q, struct err *err)
{
    struct event *event = &q->event;
    const char *commit = NULL;
    if (event->kind != EVENT_TAG)
        return 0;
    if (git_resolve_tag(q->engine->git, &q->remote, event->tag, q->dialogue.arena, &commit, err) <
        0)
        return -1;
    if (!commit)
        return err_set(err, ERR_PERM, ENOENT, "tag '%s' is not in %s any more", event->tag,
                       event->project);
    event->order_commit = event->list_commit = event->staged_commit = commit;
    return 0;
}

int ask_remote(const struct engine *e, const char *forge, const char *project, struct arena *a,
               struct git_remote *out, struct err *err)
{
    struct question q;
    const struct event event = {.kind = EVENT_BRANCH, .forge = forge, .project = project};
    if (begin(&q, e, &event, a, err) < 0)
        return -1;
    *out = q.remote;
    return 0;
}

int ask_confirm(const struct engine *e, struct event *event, struct arena *a, struct err *err)
{
    struct question q;
    if (!event->confirm)
        return 0;
    if (begin(&q, e, event, a, err) < 0)
        return -1;
    enum forge_step result = converse(&q, q.forge->confirm, err);
    if (result == FORGE_FAILED || (result == FORGE_USE_GIT && confirm_by_git(&q, err) < 0))
        return -1;
    *event = q.event;
    event->confirm = false;
    return event_validate(event, err);
}

int ask_file(const struct engine *e, const struct event *event, const char *path, struct arena *a,
             const char **content, size_t *len, bool *missing, struct err *err)
{
    struct question q;
    if (begin(&q, e, event, a, err) < 0)
        return -1;
    q.dialogue.path = path;
    switch (converse(&q, q.forge->file, err)) {
    case FORGE_DONE:
        *content = q.dialogue.content;
        *len = q.dialogue.content_len;
        *missing = q.dialogue.missing;
        return 0;
    case FORGE_USE_GIT:
        return git_read_file(e->git, &q.remote, event->list_commit, path, a, content, len, missing,
                             err);
    default:
        return -1;
    }
}

int ask_head(const struct engine *e, const struct event *event, struct arena *a,
             const char **branch, struct err *err)
{
    struct question q;
    if (begin(&q, e, event, a, err) < 0)
        return -1;
    switch (converse(&q, q.forge->head, err)) {
    case FORGE_DONE:
        *branch = q.dialogue.head;
        return 0;
    case FORGE_USE_GIT:
        return git_default_branch(e->git, &q.remote, a, branch, err);
    default:
        return -1;
    }
}

int ask_tree(const struct engine *e, const struct event *event, struct arena *a, const char **tree,
             struct err *err)
{
    struct question q;
    if (begin(&q, e, event, a, err) < 0)
        return -1;
    switch (converse(&q, q.forge->tree, err)) {
    case FORGE_DONE:
        *tree = q.dialogue.tree;
        return 0;
    case FORGE_USE_GIT:
        return git_tree(e->git, &q.remote, event->list_commit, a, tree, err);
    default:
        return -1;
    }
}

int ask_on_branch(const struct engine *e, const struct event *event, const char *branch, bool *on,
                  struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct question q;
    if (begin(&q, e, event, &a, err) < 0)
        return -1;
    return git_on_branch(e->git, &q.remote, event->list_commit, branch, on, err);
}

int ask_change(const struct engine *e, const char *forge, const char *project, const char *change,
               struct arena *a, struct change_status *out, struct err *err)
{
    struct question q;
    const struct event event = {.kind = EVENT_OPENED, .forge = forge, .project = project};
    *out = (struct change_status){.state = CHANGE_UNASKED};
    if (!engine_forge(e, forge))
        return 0;
    if (begin(&q, e, &event, a, err) < 0)
        return -1;
    if (!q.forge->change)
        return 0;
    q.dialogue.change = change;
    if (converse(&q, q.forge->change, err) != FORGE_DONE)
        return -1;
    *out = q.dialogue.status;
    return 0;
}

int ask_report(const struct engine *e, const struct event *event, const struct forge_report *report,
               struct arena *a, struct err *err)
{
    struct question q;
    if (begin(&q, e, event, a, err) < 0)
        return -1;
    q.timeout_ms = LIMIT_REPORT_MS;
    q.may_stop = true;
    q.dialogue.report = report;
    switch (converse(&q, q.forge->report, err)) {
    case FORGE_DONE:
        return 0;
    case FORGE_USE_GIT:
        return err_set(err, ERR_PERM, 0, "forge '%s' takes no reports", event->forge);
    default:
        return -1;
    }
}

int ask_ancestry(const struct engine *e, const struct event *event, const struct order_key *mine,
                 const struct order_key *applied, enum ancestry *out, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct question q;
    *out = ANCESTRY_NOT_ASKED;
    if (begin(&q, e, event, &a, err) < 0)
        return -1;
    if (q.forge->own_clock && mine->happened_at && applied->happened_at &&
        mine->happened_at != applied->happened_at)
        return 0;
    q.dialogue.mine = mine->commit;
    q.dialogue.applied = applied->commit;
    switch (converse(&q, q.forge->ancestry, err)) {
    case FORGE_DONE:
        *out = q.dialogue.related;
        return 0;
    case FORGE_USE_GIT:
        return git_ancestry(e->git, &q.remote, mine->commit, applied->commit, out, err);
    default:
        return -1;
    }
}
