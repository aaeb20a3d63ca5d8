#include "core/engine/mirror.h"

#include "core/base/limits.h"

enum { FAILURES_SHOWN = 5 };

const char *mirror_state_name(enum mirror_state s)
{
    static const char *const names[MIRROR__MAX] = {
        [MIRROR_SAME] = "same",
        [MIRROR_COPIED] = "copied",
        [MIRROR_WOULD_COPY] = "would-copy",
        [MIRROR_PRUNED] = "pruned",
        [MIRROR_WOULD_PRUNE] = "would-prune",
        [MIRROR_LEFT] = "left",
        [MIRROR_FAILED] = "failed",
    };
    return (unsigned)s < MIRROR__MAX ? names[s] : "unknown";
}

const char *mirror_summary(const struct mirror_result *r, struct arena *a)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(KIB(8));
    size_t shown = 0;
    for (int s = 0; s < MIRROR__MAX; s++)
        if (r->count[s])
            (void)strbuf_addf(&text, "%s%zu %s", text.len ? ", " : "", r->count[s],
                              mirror_state_name((enum mirror_state)s));
    list_each (const struct mirror_row, row, r)
        if (row->state == MIRROR_FAILED && shown++ < FAILURES_SHOWN)
            (void)strbuf_addf(&text, "; %s: %s",
                              row->target   ? row->target
                              : row->source ? row->source
                                            : "the list",
                              row->reason);
    return text.len ? strbuf_to_arena(&text, a) : "nothing to mirror";
}
