/*
 * sweeping.h - the state of one sweep, shared by the files that do it: sweep.c (what is there, and
 * off it goes), sweep_ask.c (whose is it, and what do they say), sweep_age.c (how old is it).
 * Private to those.
 */
#ifndef SLIPWAY_ENGINE_SWEEPING_H
#define SLIPWAY_ENGINE_SWEEPING_H

#include "core/domain/sweep.h"
#include "core/engine/sweep.h"

/* A staged tag that is there. */
struct leftover {
    const char *tag;
    struct sweep_case c;
    const char *digest;              /* NULL: gone meanwhile, or could not be read */
    const struct staged_tag *record; /* of this very digest; NULL: none */
    const struct staged_tag *run; /* it is a run's, in an intermediate registry; NULL: a change's,
                                     beside its final tag */
    struct target final;          /* the store's row of its final tag */
    bool skip;                    /* of no concern to this sweep, or gone */
    bool settled;                 /* the row says all */
    struct sweep_row row;
};

struct leftovers {
    struct leftover *at;
    size_t n;
    size_t cap;
};

/* A project that may own tags of the repository. */
struct sweep_owner {
    const char *forge;
    const char *project; /* a pattern where `unknown` */
    const struct policy_project *policy;
    bool unknown; /* some project of a pattern: nobody knows which */
};

struct sweep_owners {
    struct sweep_owner *at;
    size_t n;
    size_t cap;
};

/* What a forge said, or why it said nothing. */
struct sweep_asked {
    const char *forge;
    const char *project;
    const char *change;
    struct change_status status;
    const char *trouble;
    bool temporary;
};

struct sweep_asked_list {
    struct sweep_asked *at;
    size_t n;
    size_t cap;
};

/* A final tag as it was seen, for judging only. */
struct sweep_seen {
    const char *full;
    const char *digest; /* NULL: absent */
};

struct sweep_seen_list {
    struct sweep_seen *at;
    size_t n;
    size_t cap;
};

struct sweeping {
    const struct engine *e;
    const struct sweep_opts *opts;
    struct arena *arena; /* of the result, and of what was asked */
    struct sweep_result *out;
    struct sweep_asked_list asked;
    size_t failures;     /* of forges, one after another */
    const char *failing; /* which forge */
    /* of one repository: */
    struct arena *here;
    const char *repository;
    const char *host;
    const char *name;
    bool is_published; /* somebody may publish here: there may be staged tags of changes */
    struct sweep_owners owners;
    struct staged_tag_list records; /* of those */
    struct staged_tag_list runs;
    struct sweep_seen_list finals;
    struct leftovers list;
};

bool sweeping_stopped(const struct sweeping *s);
struct registry_access sweeping_access(const struct sweeping *s);
/* What the final tag of a leftover shows, NULL in *digest when it is absent. */
int sweeping_look(const struct sweeping *s, const struct leftover *l, struct arena *a,
                  const char **digest, struct err *err);

/* sweep_ask.c: who may own tags of the repository. */
int sweeping_owners(struct sweeping *s, struct err *err);
/* Puts the answers of those who may own the tag into its case, and the age that counts for them.
 * -1: the store could not be read. */
int sweeping_answers(struct sweeping *s, struct leftover *l, struct err *err);

/* sweep_age.c: finds the age of all that want it. */
void sweeping_ages(struct sweeping *s);

#endif
