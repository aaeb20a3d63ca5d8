/*
 * store.h - the durable state (DESIGN section 5): one interface for several back ends. Every
 * function that changes something returns after the change is on disk. Thread-safe. All strings
 * handed out live in the caller's arena. Times are milliseconds since 1970 unless named _s.
 *
 * Errors: ERR_TEMP for a full or failing disk and a busy store, ERR_BUG for a broken invariant.
 */
#ifndef SLIPWAY_STORE_H
#define SLIPWAY_STORE_H

#include "core/base/err.h"
#include "core/base/httpmsg.h"
#include "core/base/mem.h"
#include "core/domain/event.h"
#include "core/domain/order.h"

struct store;

struct store_opts {
    const char *url; /* "sqlite:/path/slipway.db" */
    bool may_create; /* make the file and the schema when missing */
};

/* Opens, checks owner and mode, migrates the schema forward (refuses a newer one: ERR_CONFIG),
 * sets and reads back the pragmas. */
int store_open(const struct store_opts *opts, struct store **out, struct err *err);
void store_close(struct store *s);

/* Can it be written now? For /health/ready: a commit within the last second proves it, else one is
 * made. */
int store_ping(struct store *s, struct err *err);

/* True after an fsync failed: nothing can be trusted to reach the disk any more, the process must
 * end (a retried fsync may report success for lost pages). */
bool store_is_broken(const struct store *s);

/* Commits through this store so far. When a function below returns, the one that holds its change
 * is counted. */
int64_t store_commits(const struct store *s);

/* Path of the wake-up socket and of the worker's lock file beside this store, in the arena. */
const char *store_wake_path(const struct store *s, struct arena *a);
const char *store_work_lock_path(const struct store *s, struct arena *a);

/* ---- deliveries ---- */

enum delivery_verdict {
    DELIVERY_NEW,       /* not looked at yet */
    DELIVERY_TAKEN,     /* became tasks or a record */
    DELIVERY_IGNORED,   /* verified, nothing to do: `reason` */
    DELIVERY_MALFORMED, /* verified, not understood: `reason` */
    DELIVERY_REPEAT,    /* says what a task in hand says already */
    DELIVERY__MAX
};

const char *delivery_verdict_name(enum delivery_verdict v);

struct delivery {
    int64_t id;           /* receive sequence */
    const char *source;   /* name of the configured forge */
    const char *forge_id; /* the forge's own delivery id, NULL */
    int64_t received_at;
    struct http_headers headers; /* allow-listed */
    const void *body;
    size_t body_len;
    enum delivery_verdict verdict;
    const char *reason;
};

struct delivery_list {
    struct delivery *at;
    size_t n;
    size_t cap;
};

/*
 * Keeps a delivery: 0 means that it is on disk. Concurrent calls share one commit, each under its
 * own savepoint, so a bad row fails alone and a failed commit fails its whole group. *repeat is
 * set, and nothing is stored, when the same source sent the same body (or the same forge id)
 * before and that delivery is still new, or recorded what a gate staged, or its task is queued,
 * waiting, running, failed, held or done and was not reopened. d->id is set: to the earlier one for
 * a repeat.
 */
int store_delivery_put(struct store *s, struct delivery *d, bool *repeat, struct err *err);

/* New deliveries with id > after, oldest first, at most max; fewer when their bodies together pass
 * LIMIT_BODIES_IN_FLIGHT. */
int store_deliveries_new(struct store *s, int64_t after, size_t max, struct arena *a,
                         struct delivery_list *out, struct err *err);

int store_delivery_settle(struct store *s, int64_t id, enum delivery_verdict verdict,
                          const char *reason, struct err *err);

/* For people: newest first, id < before (0: from the end), bodies left out; verdict
 * DELIVERY__MAX: all. */
int store_deliveries_list(struct store *s, enum delivery_verdict verdict, int64_t before,
                          size_t max, struct arena *a, struct delivery_list *out, struct err *err);

/* One with its body; out->id is 0 when there is none. */
int store_delivery_get(struct store *s, int64_t id, struct arena *a, struct delivery *out,
                       struct err *err);

/* Makes an ignored or malformed delivery new again (the configuration was mended); *done false
 * when it is neither. */
int store_delivery_reopen(struct store *s, int64_t id, bool *done, struct err *err);

/* Forgets ignored, malformed and repeated deliveries received before the given time. */
int store_deliveries_prune(struct store *s, int64_t before_ms, struct err *err);

/* ---- tasks ---- */

enum task_state {
    TASK_QUEUED,
    TASK_WAITING, /* for a staged image */
    TASK_RUNNING,
    TASK_UNDOING,
    TASK_DONE,
    TASK_SKIPPED,
    TASK_SUPERSEDED,
    TASK_FAILED, /* will be tried again at run_at */
    TASK_DEAD,
    TASK_PARTIAL,
    TASK_HELD,
    TASK_CANCELLED,
    TASK__MAX
};

const char *task_state_name(enum task_state s);
bool task_state_from_name(const char *name, enum task_state *out);

struct task {
    int64_t id;       /* 0: not stored yet */
    int64_t delivery; /* where it came from; 0: made by hand */
    enum task_state state;
    const char *forge;
    const char *project;
    const char *pipeline;   /* "promote" */
    const char *lane;       /* tasks of one lane run one after another */
    const char *key;        /* unique: says the same thing */
    const char *ref;        /* "refs/tags/v1", "change/7": what a deletion reopens */
    const char *event;      /* JSON (domain/event.h) */
    struct order_key order; /* project is "<forge>/<project>" */
    int64_t received_at;
    int64_t run_at;
    int64_t updated_at;
    int64_t live_at; /* when the last final tag was verified; 0: not yet */
    int attempt;
    int64_t fence;      /* counts claims: each write must carry the newest */
    bool open_journal;  /* there are steps to finish or to undo */
    const char *reason; /* for people; never NULL once it is not queued */
    int64_t superseded_by;
};

struct task_list {
    struct task *at;
    size_t n;
    size_t cap;
};

/*
 * Turns a delivery into queued tasks and settles it as taken (as a repeat when all of them are
 * repeats), in one commit. A task whose key is
 * there already is not made again: when the old one is skipped, dead or cancelled it is queued
 * again with the new delivery, else it counts as a repeat. tasks[i].id is set; *repeats counts.
 */
int store_tasks_enqueue(struct store *s, int64_t delivery, struct task *tasks, size_t n,
                        size_t *repeats, struct err *err);

/* The first claimable task of each lane, in order of id: queued, waiting or failed with run_at <=
 * now, no other running task or open journal in their lane. Uses a partial index: finished tasks
 * cost nothing. */
int store_tasks_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                    struct task_list *out, struct err *err);
/* When the next one is due; INT64_MAX when none waits. */
int store_tasks_next_due(struct store *s, int64_t *at_ms, struct err *err);
/* Tasks with an open journal, oldest first, at most LIMIT_ROWS: what a crash left (state running),
 * and those that are due (undoing, failed, or queued or waiting by an operator's order). */
int store_tasks_open(struct store *s, struct arena *a, struct task_list *out, struct err *err);

/*
 * Records what became of a task that publishes nothing now: state, reason, run_at, attempt. A task
 * with id 0 is inserted (and its delivery settled as taken) in the same commit; when its key is
 * there already the rules of store_tasks_enqueue hold and *repeat is set. repeat may be NULL for
 * stored tasks. Fails with ERR_BUG and code ESTALE when t->fence is not the newest: it was claimed
 * since, or an operator gave an order. With an open journal only failed, undoing, queued, waiting
 * and held are possible; running never is.
 */
int store_task_settle(struct store *s, struct task *t, bool *repeat, struct err *err);

/* Newest first, id < before (0: from the end); state TASK__MAX: all; project NULL: all. */
int store_tasks_list(struct store *s, enum task_state state, const char *project, int64_t before,
                     size_t max, struct arena *a, struct task_list *out, struct err *err);
int store_task_get(struct store *s, int64_t id, struct arena *a, struct task *out,
                   struct err *err); /* out->id is 0 when there is none */

/* By an operator. *done is false when the state does not allow it (a running task). */
int store_task_retry(struct store *s, int64_t id, bool *done, struct err *err);
int store_task_hold(struct store *s, int64_t id, const char *reason, bool *done, struct err *err);
int store_task_release(struct store *s, int64_t id, bool *done, struct err *err);
int store_task_cancel(struct store *s, int64_t id, const char *reason, bool *done, struct err *err);

/* A ref was deleted: tasks about it no longer make the same event a repeat. Settles the delivery
 * as taken, with the reason. */
int store_ref_deleted(struct store *s, int64_t delivery, const char *forge, const char *project,
                      const char *ref, struct err *err);

/* ---- journal, targets ---- */

enum step_state {
    STEP_PLANNED,  /* may or may not have been written */
    STEP_SAME,     /* the tag shows the new digest already: nothing to write */
    STEP_DONE,     /* written and verified */
    STEP_RESTORED, /* the former digest is back */
    STEP_FOREIGN,  /* somebody else moved the tag: left */
    STEP_STUCK,    /* could not be restored */
    STEP__MAX
};

const char *step_state_name(enum step_state s);

/* One final tag of a journal. */
struct step {
    const char *registry;
    const char *name;
    const char *tag;
    const char *staged_tag; /* NULL: not from a staged tag */
    const char *new_digest;
    const char *new_type;
    const char *former_digest; /* NULL: the tag was absent */
    const char *former_type;
    enum step_state state;
    const char *note; /* for people, NULL */
    bool keeps_order; /* a rollback: the target's order key stays as it is */
    const char *hold; /* store_journal_end only: pins the target (why) once it is done, in the same
                         commit; never read back */
};

struct step_list {
    struct step *at;
    size_t n;
    size_t cap;
};

/* Manifest bytes, kept by digest for as long as a journal or target needs them. */
struct kept_manifest {
    const char *digest;
    const char *media_type;
    const void *bytes;
    size_t len;
};

struct kept_manifest_list {
    struct kept_manifest *at;
    size_t n;
    size_t cap;
};

struct target {
    const char *registry;
    const char *name;
    const char *tag;
    const char *desired;    /* digest, NULL: never */
    const char *applied;    /* digest, NULL: never */
    struct order_key order; /* of what is applied */
    int64_t fence;
    int64_t locked_by;   /* task id, 0: free */
    const char *held;    /* why an operator pinned it; NULL: nobody did */
    int64_t moved_by;    /* the task that moved it last, 0: none */
    int64_t rolled_back; /* the rollback whose digest it still shows, 0: none. What has the same
                            place in the order as the target is no news then. Of its order the
                            version becomes that of what it shows again */
};

struct target_list {
    struct target *at;
    size_t n;
    size_t cap;
};

/* Rows for the given names (registry, name, tag set), in the same order; a name without a row
 * comes back with applied NULL and order.project NULL. */
int store_targets_get(struct store *s, struct target *targets, size_t n, struct arena *a,
                      struct err *err);

/* Pins a tag (why), or lets it go (NULL). *done false: there is no such target, or (letting go) it
 * was not pinned. store_journal_begin refuses steps of pinned targets (ERR_PERM, code EPERM). */
int store_target_hold(struct store *s, const char *registry, const char *name, const char *tag,
                      const char *why, bool *done, struct err *err);

/*
 * The commit before the flip: inserts the task when its id is 0 (settling its delivery), or claims
 * it (fence + 1); state running; writes the steps, keeps the manifests, locks every target and
 * records desired digest and fence. All or nothing. A target that another task has locked fails it
 * with ERR_TEMP and code EBUSY; a target whose applied order key is no longer the one in
 * `expected` (same length and order as steps) fails with ERR_TEMP and code EAGAIN: look again.
 * *repeat as in store_task_settle.
 */
int store_journal_begin(struct store *s, struct task *t, const struct step_list *steps,
                        const struct target *expected, const struct kept_manifest_list *kept,
                        bool *repeat, struct err *err);

/* Marks an open journal as being undone (state undoing). */
int store_journal_undo(struct store *s, struct task *t, struct err *err);

struct cleanup {
    int64_t id; /* 0: not stored yet */
    const char *registry;
    const char *name;
    const char *tag;      /* the staged tag that goes */
    const char *digest;   /* only while it shows this */
    const char *kept_tag; /* a final tag of the repository that must survive */
    const char *kept_digest;
    int64_t seen_ms; /* not stored: when the tag was seen to show it, monotonic; 0: not lately */
    int64_t task;
    int64_t run_at;
    int attempt;
    bool left; /* no way to remove it: listed, tried again rarely */
    const char *reason;
};

struct cleanup_list {
    struct cleanup *at;
    size_t n;
    size_t cap;
};

/*
 * The commit after the flip: step states and notes, applied digest and order key of every target
 * whose step is done, same or (for a rollback) restored; locks released; task state and reason;
 * clean-ups queued (their ids are set); staged rows marked as promoted. The journal is closed. For
 * task state failed the journal stays open and the locks stay.
 */
int store_journal_end(struct store *s, struct task *t, const struct step_list *steps,
                      const struct cleanup_list *cleanups, struct err *err);

int store_steps_get(struct store *s, int64_t task, struct arena *a, struct step_list *out,
                    struct err *err);
/* bytes NULL when it is not kept. */
int store_manifest_get(struct store *s, const char *digest, struct arena *a,
                       struct kept_manifest *out, struct err *err);
/* What was published for a commit of "<forge>/<project>" in a repository: its done steps, newest
 * first. Several images may share a repository: the tags tell them apart. */
int store_published_steps(struct store *s, const char *project, const char *commit,
                          const char *registry, const char *name, struct arena *a,
                          struct step_list *out, struct err *err);

int store_cleanups_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                       struct cleanup_list *out, struct err *err);
/* Those not done yet, for people. */
int store_cleanups_list(struct store *s, struct arena *a, struct cleanup_list *out,
                        struct err *err);
/* One commit for several: done ones are removed, the others get run_at, attempt, left, reason. */
int store_cleanups_settle(struct store *s, const struct cleanup *items, const bool *done, size_t n,
                          struct err *err);

/* ---- what a gate staged ---- */

struct staged {
    const char *forge;
    const char *project;
    const char *change;
    const char *patchset;
    const char *commit;
    const char *tree;
    const char *run_id;
    int64_t recorded_at;
    bool promoted;
    struct event_images images;
};

/*
 * Records a complete upload run from an EVENT_STAGED event: replaces the row of the same forge,
 * project and change unless `at` (the delivery's id) is older; refuses (ERR_PERM, code EEXIST) a
 * staged tag that another project's open row owns. Settles the delivery, and makes waiting tasks
 * of that change due now.
 */
int store_staged_put(struct store *s, const struct event *e, int64_t delivery, int64_t now_ms,
                     struct err *err);
/* The same for what this process staged itself; seq: how new it is (its task's delivery). */
int store_staged_record(struct store *s, const struct event *e, int64_t seq, int64_t now_ms,
                        struct err *err);
/* The row of a change; *found false when there is none. */
int store_staged_get(struct store *s, const char *forge, const char *project, const char *change,
                     struct arena *a, struct staged *out, bool *found, struct err *err);
/* Which other project's open row owns a staged tag of a repository ("host/name")? NULL: none. */
int store_staged_owner(struct store *s, const char *repository, const char *tag, const char *forge,
                       const char *project, struct arena *a, const char **owner, struct err *err);

/* One staged tag that a gate recorded, and for whom. */
struct staged_tag {
    const char *tag;
    const char *digest;
    const char *forge;
    const char *project;
    const char *change; /* "" for a gate without one */
    int64_t recorded_at;
    bool promoted;
    const char *final; /* store_staged_runs: the tag without its run; else NULL */
};

struct staged_tag_list {
    struct staged_tag *at;
    size_t n;
    size_t cap;
};

/* What is recorded of these tags of a repository ("host/name"), in their order; a tag may have
 * several rows, or none. */
int store_staged_tags(struct store *s, const char *repository, const struct str_list *tags,
                      struct arena *a, struct staged_tag_list *out, struct err *err);

/* The tags of runs ("<run id>_<tag>") that are recorded for a repository of an intermediate
 * registry, the newest record first. */
int store_staged_runs(struct store *s, const char *repository, struct arena *a,
                      struct staged_tag_list *out, struct err *err);

/* ---- reports ---- */

struct report_row {
    int64_t id;
    const char *forge;
    const char *project;
    const char *change;   /* NULL */
    const char *patchset; /* NULL */
    const char *commit;
    const char *context;
    const char *state; /* "pending", "success", "failure" */
    const char *summary;
    const char *body; /* NULL */
    int64_t task;
    int64_t made_at; /* it is given up a while after this */
    int64_t run_at;
    int attempt;
    const char *reason; /* of the last failure, NULL */
};

struct report_rows {
    struct report_row *at;
    size_t n;
    size_t cap;
};

/* Keeps it, in the place of one for the same forge, project, commit and context that was not sent
 * yet: that one's id is gone then, and the new one has another. */
int store_report_put(struct store *s, const struct report_row *r, struct err *err);
/* Those with run_at <= now, oldest first; *next: when the first of the others is due (INT64_MAX:
 * none). */
int store_reports_due(struct store *s, int64_t now_ms, size_t max, struct arena *a,
                      struct report_rows *out, int64_t *next, struct err *err);
/* Sent or given up (done): forgotten, unless it was replaced meanwhile; else kept with its run_at,
 * attempt and reason. */
int store_report_settle(struct store *s, const struct report_row *r, bool done, struct err *err);

/* ---- lanes ---- */

/* Queued, waiting or failed tasks of the lane that are newer (by id), newest first. */
int store_lane_newer(struct store *s, const char *lane, int64_t id, size_t max, struct arena *a,
                     struct task_list *out, struct err *err);
/* A task that ends as dead, partial, skipped or cancelled queues those again, in the same commit,
 * that it superseded (state superseded, superseded_by). */

/* ---- what a sweep wants to know ---- */

/* Every repository ("host/name") that targets or staged rows name, in order of name. */
int store_repositories(struct store *s, struct arena *a, struct str_list *out, struct err *err);
/* Whose events ("<forge>/<project>") moved final tags of a repository, in order of name. */
int store_target_projects(struct store *s, const char *registry, const char *name, struct arena *a,
                          struct str_list *out, struct err *err);
/* Is there a task of that key, whatever its state? */
int store_task_known(struct store *s, const char *key, bool *known, struct err *err);
/* The change was closed: whatever its check and gate had, the same commit may be asked for again.
 */
int store_tasks_retire(struct store *s, const char *forge, const char *project, const char *ref,
                       struct err *err);
/* The newest task of a pipeline about a ref that was told of after `seq` (a delivery's id),
 * whatever its state; 0: there is none. */
int store_task_since(struct store *s, const char *forge, const char *project, const char *ref,
                     const char *pipeline, int64_t seq, int64_t *id, struct err *err);
/* The newest task about a ref that is not at its end, nor dead; 0: there is none. */
int store_task_pending(struct store *s, const char *forge, const char *project, const char *ref,
                       int64_t *id, struct err *err);

#endif
