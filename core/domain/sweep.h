/*
 * sweep.h - may a staged tag that was left behind go? (promise P5) Pure: whoever calls has asked
 * the forges, the store and the registry.
 */
#ifndef SLIPWAY_SWEEP_H
#define SLIPWAY_SWEEP_H

#include "core/base/mem.h"
#include "core/domain/change.h"
#include "core/domain/order.h"

/* The parts of change_<number>_<final tag>. */
struct sweep_tag {
    const char *change; /* a number as forges write it: 1 to 18 digits, no leading zero */
    const char *final;  /* a legal tag */
};

/* False: it is no staged tag (`change_859940`, `change_007_x`, `change_1_.x`), so it stays. */
bool sweep_tag_parse(const char *tag, struct arena *a, struct sweep_tag *out);

/* What one project that may own the tag says of its change. */
struct sweep_answer {
    const char *forge;
    const char *project;
    const char *change;
    struct change_status status;
    const char *trouble; /* could not ask: why; NULL: the status counts */
    bool temporary;      /* of the trouble: it may pass */
    bool promoted;       /* CHANGE_MERGED: our own record of this digest says so */
    bool superseded;     /* CHANGE_MERGED: see sweep_superseded */
    const char *doubt;   /* CHANGE_MERGED, not superseded: what could not be found out; NULL */
    int64_t pending;     /* a task of ours about the change that is not at its end; 0: none */
};

struct sweep_answers {
    struct sweep_answer *at;
    size_t n;
    size_t cap;
};

enum sweep_age {
    SWEEP_AGE_UNASKED,
    SWEEP_AGE_KNOWN,
    SWEEP_AGE_UNKNOWN, /* nobody can tell */
    SWEEP_AGE_TROUBLE  /* somebody could, but not now */
};

struct sweep_case {
    struct sweep_tag tag;
    bool published;   /* a final tag of ours has this very name */
    bool final_shows; /* the final tag shows the same digest */
    struct sweep_answers answers;
    enum sweep_age age;
    int64_t age_s;
    const char *age_of;      /* for people: "recorded", "pushed", "built" */
    const char *age_trouble; /* SWEEP_AGE_TROUBLE, and for SWEEP_AGE_UNKNOWN: why */
    int64_t limit_s;         /* older ones go where no forge can be asked; 0: never by age alone */
};

enum sweep_verdict {
    SWEEP_STAYS,
    SWEEP_GOES,
    SWEEP_WANTS_AGE, /* decide again once the age was looked for */
};

struct sweep_decision {
    enum sweep_verdict verdict;
    const char *reason; /* for people */
    bool unsure;        /* it stays because somebody could not be asked */
    bool temporary;     /* of that: it may pass */
};

/*
 * A tag goes when all projects that know the change agree: it is closed, or merged and promoted or
 * superseded. When none knows it, or one of them cannot be asked, its age decides.
 */
struct sweep_decision sweep_decide(const struct sweep_case *c, struct arena *a);

/* Is what was applied to the final tag certainly not older than the merge? Like order_compare, but
 * what neither ancestry nor the forge's times decide is no. */
bool sweep_superseded(const struct order_key *mine, const struct order_key *applied,
                      enum ancestry ancestry);

/* "90s", "10m", "2h", "14d", or "never" and "0" (0). False: none of these, a number without its
 * unit, or over ten years. */
bool sweep_parse_age(const char *text, int64_t *seconds);

/* "14 days", "3 hours": rounded down. */
const char *sweep_show_age(int64_t seconds, struct arena *a);

#endif
