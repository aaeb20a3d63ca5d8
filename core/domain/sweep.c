#include "core/domain/sweep.h"

#include "core/base/str.h"
#include "core/domain/event.h"
#include "core/domain/imageref.h"

#include <inttypes.h>

#define PREFIX "change_"
#define AGE_MAX ((int64_t)3650 * 86400)

bool sweep_tag_parse(const char *tag, struct arena *a, struct sweep_tag *out)
{
    if (!imageref_is_change_tag(tag) || !imageref_tag_ok(tag))
        return false;
    const char *digits = tag + strlen(PREFIX), *rest = strchr(digits, '_');
    out->change = arena_strndup(a, digits, (size_t)(rest - digits));
    out->final = arena_strdup(a, rest + 1);
    return event_change_ok(out->change) && imageref_tag_ok(out->final);
}

static struct sweep_decision stays(const char *reason)
{
    return (struct sweep_decision){.verdict = SWEEP_STAYS, .reason = reason};
}

static struct sweep_decision unsure(const char *reason, bool temporary)
{
    return (struct sweep_decision){
        .verdict = SWEEP_STAYS, .reason = reason, .unsure = true, .temporary = temporary};
}

static const char *name_of(const struct sweep_answer *s, struct arena *a)
{
    return arena_printf(a, "change %s of %s", s->change, s->project);
}

/* Somebody who knows the change, or might know it but could not be asked, says no. */
static bool is_vetoed(const struct sweep_case *c, const struct sweep_answer *s, struct arena *a,
                      struct sweep_decision *out)
{
    if (s->trouble) {
        *out = unsure(arena_printf(a, "could not ask: %s", s->trouble), s->temporary);
        return true;
    }
    if (s->status.state == CHANGE_OPEN) {
        *out = stays(arena_printf(a, "%s is open", name_of(s, a)));
        return true;
    }
    if (s->status.state != CHANGE_MERGED || s->promoted || s->superseded || c->final_shows)
        return false;
    if (s->doubt)
        *out =
            unsure(arena_printf(a, "%s has merged, and whether it was superseded is not known: %s",
                                name_of(s, a), s->doubt),
                   s->temporary);
    else
        *out = stays(arena_printf(a,
                                  "not promoted yet: %s has merged, but '%s' shows neither this "
                                  "digest nor anything newer",
                                  name_of(s, a), c->tag.final));
    return true;
}

static const char *why_it_goes(const struct sweep_case *c, const struct sweep_answer *s,
                               struct arena *a)
{
    const char *what = s->status.state == CHANGE_CLOSED ? "was closed without merging"
                       : s->promoted || c->final_shows  ? "has merged and is promoted"
                                                        : "has merged and is superseded";
    return arena_printf(a, "%s %s", name_of(s, a), what);
}

static struct sweep_decision by_age(const struct sweep_case *c, struct arena *a)
{
    list_each (const struct sweep_answer, s, &c->answers)
        if (s->pending)
            return stays(arena_printf(a, "task %" PRId64 " may still promote it", s->pending));
    if (c->limit_s == 0)
        return stays("no forge knows its change, and it never goes by age alone");
    switch (c->age) {
    case SWEEP_AGE_UNASKED:
        return (struct sweep_decision){.verdict = SWEEP_WANTS_AGE};
    case SWEEP_AGE_TROUBLE:
        return unsure(arena_printf(a, "could not find out how old it is: %s", c->age_trouble),
                      true);
    case SWEEP_AGE_UNKNOWN:
        return stays(
            arena_printf(a, "no forge knows its change, and nobody knows how old it is%s%s",
                         c->age_trouble ? ": " : "", c->age_trouble ? c->age_trouble : ""));
    case SWEEP_AGE_KNOWN:
        break;
    }
    struct sweep_decision out = {.verdict = c->age_s > c->limit_s ? SWEEP_GOES : SWEEP_STAYS};
    out.reason =
        arena_printf(a, "no forge can be asked, and it was %s %s ago%s", c->age_of,
                     sweep_show_age(c->age_s, a), out.verdict == SWEEP_GOES ? "" : " only");
    return out;
}

struct sweep_decision sweep_decide(const struct sweep_case *c, struct arena *a)
{
    struct sweep_decision out;
    const struct sweep_answer *first = NULL;
    bool unasked = false;
    if (c->published)
        return stays("it is a final tag that Slipway published");
    list_each (const struct sweep_answer, s, &c->answers) {
        if (is_vetoed(c, s, a, &out))
            return out;
        unasked = unasked || s->status.state == CHANGE_UNASKED;
        if (!first && (s->status.state == CHANGE_CLOSED || s->status.state == CHANGE_MERGED))
            first = s;
    }
    if (!first || unasked)
        return by_age(c, a);
    return (struct sweep_decision){.verdict = SWEEP_GOES, .reason = why_it_goes(c, first, a)};
}

bool sweep_superseded(const struct order_key *mine, const struct order_key *applied,
                      enum ancestry ancestry)
{
    if (!applied->project)
        return false;
    if (str_eq(mine->project, applied->project) && !str_empty(mine->commit)) {
        if (str_eq(mine->commit, applied->commit))
            return true;
        if (order_wants_ancestry(mine, applied) && ancestry == ANCESTRY_ANCESTOR)
            return true;
        if (order_wants_ancestry(mine, applied) &&
            (ancestry == ANCESTRY_DESCENDANT || ancestry == ANCESTRY_SAME))
            return ancestry == ANCESTRY_SAME;
    }
    /* A sequence number would be a guess here: a question has none. */
    return mine->happened_at && applied->happened_at && mine->happened_at < applied->happened_at;
}

bool sweep_parse_age(const char *text, int64_t *seconds)
{
    int64_t value = 0;
    bool never = str_eq(text, "never") || str_eq(text, "0");
    /* A bare number could be meant as days. */
    if (!never &&
        (!text[strspn(text, "0123456789")] || !str_to_seconds(text, &value) || value > AGE_MAX))
        return false;
    *seconds = value;
    return true;
}

const char *sweep_show_age(int64_t seconds, struct arena *a)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    size_t i = 0;
    if (seconds < 0)
        seconds = 0;
    while (i + 1 < ARRAY_LEN(units) && seconds < units[i].seconds)
        i++;
    int64_t n = seconds / units[i].seconds;
    return arena_printf(a, "%" PRId64 " %s%s", n, units[i].name, n == 1 ? "" : "s");
}
