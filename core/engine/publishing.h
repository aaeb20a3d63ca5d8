/*
 * publishing.h - the state of one publication on its way, shared by the files that move it along:
 * resolve.c (where from), attest.c (is it signed), flip.c (there and back), retire.c (which staged
 * tags go), publish.c (the order of things). Private to those.
 */
#ifndef SLIPWAY_PUBLISHING_H
#define SLIPWAY_PUBLISHING_H

#include "core/domain/order.h"
#include "core/domain/plan.h"
#include "core/engine/engine.h"

/* One final tag. */
struct flip {
    const struct plan_tag *plan; /* NULL when resumed from a journal */
    const char *repository;      /* "host/name" */
    const char *full;            /* "host/name:tag" */
    struct step step;            /* names, digests and state: what the journal holds */
    struct target target;        /* the store's row as it was read */
    enum ancestry ancestry;
    bool stale;                /* something newer is applied: this tag is left */
    const char *recorded;      /* digest that the gate recorded, NULL: none */
    const char *staged_digest; /* what the staged tag shows, NULL: it is absent */
    const char *staged_type;
    int64_t staged_seen_ms;    /* when that was seen, monotonic; 0: never */
    bool ours;                 /* stale: the labels of what the staged tag shows were looked at */
    const char *former_digest; /* what the final tag shows before us, NULL: absent */
    const char *former_type;
    bool written;    /* PUT and not read back yet */
    int overwritten; /* how often a stranger moved it and we wrote again */
};

struct publishing {
    const struct engine *engine;
    struct task *task;
    const struct event *event;
    const struct policy_project *policy; /* NULL: taken out since (only when resumed) */
    struct arena *arena;
    struct flip *flips;
    size_t n;
    const char *rebuilt;            /* of the plan */
    struct str_list names;          /* what target_locks hold */
    struct kept_manifest_list kept; /* bytes by digest: new and former ones */
    struct strbuf notes;            /* for people, joined by "; " */
};

/* What a stage says. */
enum stage {
    STAGE_GO,    /* on to the next one */
    STAGE_WAIT,  /* nothing is staged yet */
    STAGE_FAILED /* err is set */
};

/* The bytes of a digest, NULL when they are not at hand. */
const struct kept_manifest *publishing_bytes(const struct publishing *p, const char *digest);
void publishing_keep(struct publishing *p, const char *digest, const char *type, const void *bytes,
                     size_t len);
void publishing_note(struct publishing *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Fills in what follows from the step's names, and notes the one that is locked. */
void publishing_name(struct publishing *p, struct flip *f);
struct registry_op publishing_op(const struct flip *f, enum registry_verb verb, const char *ref);

/* publish.c: journals all flips that are not stale, with the locks of p->names held, and moves
 * them; what cannot be moved is undone. Steps, digests, targets and bytes are filled in. True: *out
 * is the outcome, and when *settled is set the store has it; false: a target was moved meanwhile,
 * look again. */
bool publishing_commit(struct publishing *p, struct outcome *out, bool *settled);

/* resolve.c: fills new digest and bytes, former digest and bytes of every flip that is not stale.
 * STAGE_WAIT: *err says what is missing; err->code is ENOENT when nothing at all is staged. */
enum stage publishing_resolve(struct publishing *p, struct err *err);

/* flip.c: writes and reads back. 0: every step is settled (done, same or foreign). -1: ERR_TEMP
 * leaves steps planned; anything else means undo. */
int publishing_forward(struct publishing *p, struct err *err);
/* Before going on with what a crash or a former run left: what does each tag show now? A stranger
 * may have been there meanwhile. -1: could not ask, ERR_TEMP. */
int publishing_look(struct publishing *p, struct err *err);
/* Puts back what was there, and reads it back. 0: every step is settled (restored, foreign or
 * stuck). -1: ERR_TEMP. */
int publishing_back(struct publishing *p, struct err *err);
/* Proves the right to push to every repository before the first of several flips. */
int publishing_prove(struct publishing *p, struct err *err);

/* attest.c: where the policy asks for signatures, every digest that will be published is signed.
 * -1: ERR_PERM names the image and what is missing; ERR_TEMP: could not ask. */
int publishing_attest(struct publishing *p, struct err *err);

/* retire.c: staged tags that may go: seen with the digest that is live now, or superseded. */
struct cleanup_list retire_list(struct publishing *p);

#endif
