/*
 * order.h - which of two events is the newer one for a final tag (promise P2). Pure: whoever calls
 * has asked for ancestry where that is possible.
 */
#ifndef SLIPWAY_ORDER_H
#define SLIPWAY_ORDER_H

#include "core/base/base.h"

struct order_key {
    const char *project; /* "<forge>/<project>"; NULL: nothing was ever applied */
    const char *commit;  /* the order commit; NULL when unknown */
    int64_t happened_at; /* forge's own time of the merge, seconds; 0: not known */
    int64_t seq;         /* receive sequence: the delivery's id */
    const char *version; /* the git tag, of an event about one; NULL: none */
};

enum ancestry {
    ANCESTRY_NOT_ASKED,
    ANCESTRY_SAME,
    ANCESTRY_DESCENDANT, /* mine comes after applied */
    ANCESTRY_ANCESTOR,   /* mine comes before applied */
    ANCESTRY_DIVERGED    /* neither contains the other */
};

enum order { ORDER_NEWER, ORDER_SAME, ORDER_STALE };

/* Would ancestry decide? Same project, two different known commits, no two versions. */
bool order_wants_ancestry(const struct order_key *mine, const struct order_key *applied);

/* Compares the event's key with the one applied to a tag. Of two git tags of one project that are
 * versions (Semantic Versioning 2.0.0, also v1.2.3, 1.2 and 1.2.3.4) the higher is the newer one,
 * whenever it was made. Else ancestry decides, then times when both are known and differ, then
 * the receive sequence. Never an author's or committer's date. */
enum order order_compare(const struct order_key *mine, const struct order_key *applied,
                         enum ancestry ancestry);

/* One phrase for people: "team/app a1b2c3 merged at ... is older than ...". */
void order_explain(const struct order_key *mine, const struct order_key *applied,
                   enum ancestry ancestry, char *out, size_t size);

#endif
