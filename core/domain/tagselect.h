/*
 * tagselect.h - which tags of a repository are meant: a list of what is wanted, and one of what is
 * not. Pure.
 */
#ifndef SLIPWAY_TAGSELECT_H
#define SLIPWAY_TAGSELECT_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct tagselect;

/*
 * Each text is a tag ("latest"), a glob ("v1.*", "nightly-????"; tags have no '/', so `*` and `**`
 * are the same), a regular expression that must match the whole tag ("^v[0-9]+$"), or a range of
 * versions ("semver:>=1.2 <2", semver.h; a tag counts as a version by SEMVER_TAG). An empty allow
 * list wants every tag. ERR_CONFIG names the text that is wrong: NULL. Both lists are copied; freed
 * by tagselect_free. At most LIMIT_TAGS texts in each list.
 */
struct tagselect *tagselect_compile(const struct str_list *allow, const struct str_list *deny,
                                    struct err *err);
void tagselect_free(struct tagselect *s); /* NULL is fine */

static inline void cleanup_tagselect(struct tagselect **s)
{
    tagselect_free(*s);
}
#define CLEANUP_TAGSELECT CLEANUP(cleanup_tagselect)

/* Wanted by one of the allow list and by none of the deny list. Texts that are no legal tag never
 * are. Thread-safe. */
bool tagselect_wants(const struct tagselect *s, const char *tag);

/*
 * Picks from the tags of a repository, each once. As listed; where the allow list has a range of
 * versions, first the versions, lowest first (equal ones as listed), then the others as listed.
 * The list that is handed out borrows the strings of `tags`.
 */
void tagselect_pick(const struct tagselect *s, const struct str_list *tags, struct arena *a,
                    struct str_list *out);

/* True when the allow list holds tags only: then *out is those that are not denied, each once, and
 * the repository need not be asked for its tags. */
bool tagselect_literal(const struct tagselect *s, struct arena *a, struct str_list *out);

#endif
