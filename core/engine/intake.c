#include "core/engine/intake.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#include <errno.h>

enum { DIALOGUE_STEPS_MAX = 12 };

/* The forge and its configuration for an event; ERR_CONFIG when it was taken out. */
static int find_forge(const struct engine *e, const struct event *event,
                      const struct forge_conf **conf, const struct forge **forge, struct err *err)
{
    *conf = engine_forge(e, event->forge);
    if (!*conf)
        return err_set(err, ERR_CONFIG, 0, "forge '%s' is not configured (any more)", event->forge);
    *forge = forge_find((*conf)->type);
    if (!*forge)
        return err_set(err, ERR_BUG, 0, "forge '%s' has unknown type '%s'", event->forge,
                       (*conf)->type);
    return 0;
}

static struct git_remote remote_of(const struct forge_conf *conf, const struct forge *forge,
                                   const struct event *event, struct arena *a)
{
    return (struct git_remote){
        .url = forge_git_url(conf, event->project, a),
        .username = conf->username || !conf->token ? conf->username : forge->git_username,
        .password = conf->password ? conf->password : conf->token,
        .ca_file = conf->ca_file,
    };
}

/* Drives one dialogue to its end. Returns FORGE_DONE, FORGE_USE_GIT or FORGE_FAILED. */
static enum forge_step converse(const struct engine *e, forge_step_fn *step,
                                struct forge_dialogue *d, struct err *err)
{
    if (!step)
        return FORGE_USE_GIT;
    struct http_call call = {0};
    const struct http_resp *last = NULL;
    for (int i = 0; i < DIALOGUE_STEPS_MAX; i++) {
        struct http_req next = {0};
        enum forge_step result = step(d, last, &next, err);
        if (result != FORGE_MORE)
            return result;
        call = (struct http_call){
            .req = next, .max_body = LIMIT_RESPONSE, .ca_file = d->conf->ca_file};
        if (http_do(e->http, d->arena, &call, err) < 0) {
            (void)err_wrap(err, "asking forge '%s'", d->conf->name);
            return FORGE_FAILED;
        }
        last = &call.resp;
        d->now_s = clock_now_ms() / 1000;
    }
    (void)err_set(err, ERR_BUG, 0, "the dialogue with forge '%s' does not end", d->conf->name);
    return FORGE_FAILED;
}

static int git_confirm(const struct engine *e, const struct forge_conf *conf,
                       const struct forge *forge, struct event *event, struct arena *a,
                       struct err *err)
{
    struct git_remote remote = remote_of(conf, forge, event, a);
    const char *commit = NULL;
    if (event->kind != EVENT_TAG)
        return 0;
    if (git_resolve_tag(e->git, &remote, event->tag, a, &commit, err) < 0)
        return -1;
    if (!commit)
        return err_set(err, ERR_PERM, ENOENT, "tag '%s' is not in %s any more", event->tag,
                       event->project);
    event->order_commit = event->list_commit = event->staged_commit = commit;
    return 0;
}

int intake_confirm(const struct engine *e, struct event *event, struct arena *a, struct err *err)
{
    if (!event->confirm)
        return 0;
    const struct forge_conf *conf;
    const struct forge *forge;
    if (find_forge(e, event, &conf, &forge, err) < 0)
        return -1;
    struct forge_dialogue d = {
        .conf = conf, .arena = a, .event = event, .now_s = clock_now_ms() / 1000};
    enum forge_step result = converse(e, forge->confirm, &d, err);
    if (result == FORGE_USE_GIT && git_confirm(e, conf, forge, event, a, err) < 0)
        return -1;
    if (result == FORGE_FAILED)
        return -1;
    event->confirm = false;
    return event_validate(event, err);
}

static int read_bytes(const struct engine *e, const struct event *event, struct arena *a,
                      const char **content, size_t *len, bool *missing, struct err *err)
{
    const struct forge_conf *conf;
    const struct forge *forge;
    if (find_forge(e, event, &conf, &forge, err) < 0)
        return -1;
    struct event copy = *event;
    struct forge_dialogue d = {.conf = conf,
                               .arena = a,
                               .event = &copy,
                               .path = IMAGEFILE_NAME,
                               .now_s = clock_now_ms() / 1000};
    switch (converse(e, forge->file, &d, err)) {
    case FORGE_DONE:
        *content = d.content;
        *len = d.content_len;
        *missing = d.missing;
        return 0;
    case FORGE_USE_GIT: {
        struct git_remote remote = remote_of(conf, forge, event, a);
        return git_read_file(e->git, &remote, event->list_commit, IMAGEFILE_NAME, a, content, len,
                             missing, err);
    }
    default:
        return -1;
    }
}

int intake_list(const struct engine *e, const struct event *event, struct arena *a,
                const struct imagefile **file, struct err *err)
{
    const char *content;
    size_t len;
    bool missing = false;
    *file = NULL;
    if (read_bytes(e, event, a, &content, &len, &missing, err) < 0)
        return err_wrap(err, "reading %s of %s at %.12s", IMAGEFILE_NAME, event->project,
                        event->list_commit);
    if (missing)
        return 0;
    struct diags diags = {.arena = a};
    *file = imagefile_parse(IMAGEFILE_NAME, content, len, &diags);
    if (*file)
        return 0;
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    diag_format(&diags, &text);
    for (size_t i = 0; i < text.len; i++)
        if (text.buf[i] == '\n')
            text.buf[i] = i + 1 < text.len ? ';' : '\0';
    return err_set(err, ERR_CONFIG, 0, "%s at %.12s: %zu error%s: %s", event->project,
                   event->list_commit, diags.errors, diags.errors == 1 ? "" : "s", text.buf);
}

/* Where nobody said which branch is the default one, the forge or the remote's HEAD does. Only
 * asked when the image list leaves it open. */
static int default_branch(const struct engine *e, const struct event *event,
                          const struct imagefile *file, struct arena *a, const char **branch,
                          struct err *err)
{
    *branch = event->default_branch;
    if (*branch || !event->branch || !file || file->branches.n)
        return 0;
    const struct forge_conf *conf;
    const struct forge *forge;
    if (find_forge(e, event, &conf, &forge, err) < 0)
        return -1;
    struct event copy = *event;
    struct forge_dialogue d = {
        .conf = conf, .arena = a, .event = &copy, .now_s = clock_now_ms() / 1000};
    struct git_remote remote = remote_of(conf, forge, event, a);
    switch (converse(e, forge->head, &d, err)) {
    case FORGE_DONE:
        *branch = d.head;
        return 0;
    case FORGE_USE_GIT:
        return git_default_branch(e->git, &remote, a, branch, err);
    default:
        return -1;
    }
}

/* A literal pattern names one branch; the tagged commit may also be on the default branch. */
static int tag_is_on_branch(const struct engine *e, const struct forge_conf *conf,
                            const struct forge *forge, const struct event *event,
                            const struct policy_project *policy, struct arena *a, bool *on,
                            struct err *err)
{
    struct git_remote remote = remote_of(conf, forge, event, a);
    struct str_list names = {0};
    const char *head = event->default_branch;
    if (!head && git_default_branch(e->git, &remote, a, &head, err) < 0)
        return -1;
    if (head && policy_matches(&policy->branches, head, true))
        *list_push(a, &names) = head;
    for (size_t i = 0; i < policy->branches.n; i++) {
        const char *text = pattern_text(policy->branches.at[i]);
        if (!strpbrk(text, "*?^") && !str_eq(text, head))
            *list_push(a, &names) = text;
    }
    *on = false;
    for (size_t i = 0; i < names.n && !*on; i++)
        if (git_on_branch(e->git, &remote, event->list_commit, names.at[i], on, err) < 0)
            return -1;
    return 0;
}

/* Policy lets a git tag publish only from an allowed branch, unless it says `anywhere`. */
static int check_tag(const struct engine *e, const struct event *event,
                     const struct policy_project *policy, struct arena *a, struct plan *plan,
                     struct err *err)
{
    if (event->kind != EVENT_TAG || !policy || policy->anywhere || plan->verdict != PLAN_GO)
        return 0;
    const struct forge_conf *conf;
    const struct forge *forge;
    bool on;
    if (find_forge(e, event, &conf, &forge, err) < 0 ||
        tag_is_on_branch(e, conf, forge, event, policy, a, &on, err) < 0)
        return -1;
    if (on)
        return 0;
    plan->verdict = PLAN_REFUSED;
    plan->reason = arena_printf(a, "tag '%s' is on no branch that the policy allows", event->tag);
    struct plan_note *note = list_push(a, &plan->refused);
    note->at = policy->at;
    note->what = event->tag;
    note->why = "its commit is on no allowed branch; the policy may say `anywhere: true`";
    return 0;
}

int intake_plan(const struct engine *e, struct event *event, struct arena *a, struct plan *plan,
                struct err *err)
{
    const struct policy_project *policy = policy_find(e->policy, event->forge, event->project);
    struct plan_input in = {.event = event,
                            .policy = policy,
                            .knows_registry = engine_knows_registry,
                            .ctx = e->registry};
    enum pipeline pipeline;
    if (policy && plan_pipeline(event->kind, &pipeline)) {
        if (intake_confirm(e, event, a, err) < 0 || intake_list(e, event, a, &in.file, err) < 0 ||
            default_branch(e, event, in.file, a, &in.default_branch, err) < 0)
            return -1;
    }
    plan_make(&in, a, plan);
    return check_tag(e, event, policy, a, plan, err);
}

int intake_tree(const struct engine *e, const struct event *event, struct arena *a,
                const char **tree, struct err *err)
{
    const struct forge_conf *conf;
    const struct forge *forge;
    if (find_forge(e, event, &conf, &forge, err) < 0)
        return -1;
    struct event copy = *event;
    struct forge_dialogue d = {
        .conf = conf, .arena = a, .event = &copy, .now_s = clock_now_ms() / 1000};
    struct git_remote remote = remote_of(conf, forge, event, a);
    switch (converse(e, forge->tree, &d, err)) {
    case FORGE_DONE:
        *tree = d.tree;
        return 0;
    case FORGE_USE_GIT:
        return git_tree(e->git, &remote, event->list_commit, a, tree, err);
    default:
        return -1;
    }
}

int intake_ancestry(const struct engine *e, const struct event *event, const struct order_key *mine,
                    const struct order_key *applied, enum ancestry *out, struct err *err)
{
    const struct forge_conf *conf;
    const struct forge *forge;
    *out = ANCESTRY_NOT_ASKED;
    if (find_forge(e, event, &conf, &forge, err) < 0)
        return -1;
    if (forge->own_clock && mine->happened_at && applied->happened_at &&
        mine->happened_at != applied->happened_at)
        return 0;
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct event copy = *event;
    struct forge_dialogue d = {.conf = conf,
                               .arena = &a,
                               .event = &copy,
                               .mine = mine->commit,
                               .applied = applied->commit,
                               .now_s = clock_now_ms() / 1000};
    struct git_remote remote = remote_of(conf, forge, event, &a);
    switch (converse(e, forge->ancestry, &d, err)) {
    case FORGE_DONE:
        *out = d.related;
        return 0;
    case FORGE_USE_GIT:
        return git_ancestry(e->git, &remote, mine->commit, applied->commit, out, err);
    default:
        return -1;
    }
}
