#include "core/domain/order.h"

#include "core/base/str.h"
#include "core/domain/semver.h"

/* Do versions decide? *out is then < 0 or > 0. */
static bool versions_decide(const struct order_key *mine, const struct order_key *applied, int *out)
{
    struct semver a, b;
    if (str_empty(mine->project) || !str_eq(mine->project, applied->project) || !mine->version ||
        !applied->version || !semver_parse(mine->version, SEMVER_TAG, &a) ||
        !semver_parse(applied->version, SEMVER_TAG, &b))
        return false;
    *out = semver_compare(&a, &b);
    return *out != 0;
}

bool order_wants_ancestry(const struct order_key *mine, const struct order_key *applied)
{
    int versions;
    return !versions_decide(mine, applied, &versions) && !str_empty(mine->project) &&
           str_eq(mine->project, applied->project) && !str_empty(mine->commit) &&
           !str_empty(applied->commit) && !str_eq(mine->commit, applied->commit);
}

static bool is_same_commit(const struct order_key *mine, const struct order_key *applied)
{
    return !str_empty(mine->project) && str_eq(mine->project, applied->project) &&
           !str_empty(mine->commit) && str_eq(mine->commit, applied->commit);
}

static bool times_decide(const struct order_key *mine, const struct order_key *applied)
{
    return mine->happened_at && applied->happened_at && mine->happened_at != applied->happened_at;
}

static enum order by_number(int64_t mine, int64_t applied)
{
    return mine > applied ? ORDER_NEWER : mine < applied ? ORDER_STALE : ORDER_SAME;
}

/* An answer about ancestry counts only where the question made sense: an answer for another
 * project's commit would be an accident. */
static enum ancestry usable(const struct order_key *mine, const struct order_key *applied,
                            enum ancestry ancestry)
{
    if (is_same_commit(mine, applied))
        return ANCESTRY_SAME;
    return order_wants_ancestry(mine, applied) ? ancestry : ANCESTRY_NOT_ASKED;
}

enum order order_compare(const struct order_key *mine, const struct order_key *applied,
                         enum ancestry ancestry)
{
    int versions;
    if (!applied->project)
        return ORDER_NEWER;
    if (versions_decide(mine, applied, &versions))
        return versions > 0 ? ORDER_NEWER : ORDER_STALE;
    switch (usable(mine, applied, ancestry)) {
    case ANCESTRY_SAME:
        return ORDER_SAME;
    case ANCESTRY_DESCENDANT:
        return ORDER_NEWER;
    case ANCESTRY_ANCESTOR:
        return ORDER_STALE;
    case ANCESTRY_NOT_ASKED:
    case ANCESTRY_DIVERGED:
        break;
    }
    if (times_decide(mine, applied))
        return by_number(mine->happened_at, applied->happened_at);
    return by_number(mine->seq, applied->seq);
}

/* "team/app a1b2c3d merged at 2026-11-23T16:40:10Z" */
static void describe(const struct order_key *key, char *out, size_t size)
{
    const char *slash = key->project ? strchr(key->project, '/') : NULL;
    char when[32];
    str_rfc3339(key->happened_at, when);
    (void)snprintf(out, size, "%s %s%s%.7s%s%s",
                   slash          ? slash + 1
                   : key->project ? key->project
                                  : "an unknown project",
                   key->version ? key->version : "", key->version ? " at " : "",
                   str_empty(key->commit) ? "unknown" : key->commit,
                   key->happened_at ? " merged at " : "", key->happened_at ? when : "");
}

static const char *relation(const struct order_key *mine, const struct order_key *applied,
                            enum ancestry ancestry)
{
    int versions;
    if (versions_decide(mine, applied, &versions))
        return versions > 0 ? "is a higher version than" : "is a lower version than";
    switch (usable(mine, applied, ancestry)) {
    case ANCESTRY_SAME:
        return "is the same commit as";
    case ANCESTRY_DESCENDANT:
        return "comes after";
    case ANCESTRY_ANCESTOR:
        return "is contained in";
    case ANCESTRY_NOT_ASKED:
    case ANCESTRY_DIVERGED:
        break;
    }
    static const char *const by_time[] = {"is newer than", "is as old as", "is older than"};
    static const char *const by_seq[] = {"was received after", "was received together with",
                                         "was received before"};
    enum order order = order_compare(mine, applied, ancestry);
    return times_decide(mine, applied) ? by_time[order] : by_seq[order];
}

void order_explain(const struct order_key *mine, const struct order_key *applied,
                   enum ancestry ancestry, char *out, size_t size)
{
    char left[512], right[512];
    describe(mine, left, sizeof left);
    if (!applied->project) {
        (void)snprintf(out, size, "%s is the first", left);
        return;
    }
    describe(applied, right, sizeof right);
    (void)snprintf(out, size, "%s %s %s", left, relation(mine, applied, ancestry), right);
}
