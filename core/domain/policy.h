/*
 * policy.h - what the operator allows: which project may publish and read where, from which
 * branches and git tags (DESIGN section 8). Denied unless an entry says otherwise; the first
 * entry that matches forge and project decides. Pure, but for the compiled patterns and keys it
 * holds.
 */
#ifndef SLIPWAY_POLICY_H
#define SLIPWAY_POLICY_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/domain/image.h"
#include "core/lib/crypt.h"
#include "core/lib/pattern.h"

struct pattern_list {
    struct pattern **at;
    size_t n;
    size_t cap;
};

/* A public key, one of those that may vouch for images. */
struct policy_key {
    const char *path;
    struct crypt_key *key; /* NULL where the role publishes nothing and did not read it */
};

struct policy_keys {
    struct policy_key *at;
    size_t n;
    size_t cap;
};

enum policy_mode { POLICY_PUBLISH, POLICY_SHADOW };
enum policy_unrecorded { UNRECORDED_PROMOTE, UNRECORDED_REFUSE };
enum policy_stale { STALE_REFUSE, STALE_REBUILD, STALE_PROMOTE };
enum policy_foreign { FOREIGN_OVERWRITE, FOREIGN_HOLD };

struct policy_project {
    struct place at;
    struct pattern *match;
    const char *forge;
    struct pattern_list branches;    /* empty: no bound but the repository's own */
    struct pattern_list may_publish; /* on "host/name" */
    struct pattern_list may_read;
    bool may_read_given;            /* an empty list then means none */
    struct pattern_list sources;    /* other projects of the forge whose sources its builds may take
                                       in: siblings, submodules. Empty: none */
    struct pattern_list image_tags; /* empty: all */
    struct pattern_list git_tags;   /* empty: all */
    bool anywhere;                  /* git tags may be on any commit */
    bool may_build[PIPELINE__MAX];  /* not said: all but check and gate */
    const char *build_pull; /* text of an auth.json (domain/authfile.h) with which builds may pull;
                               NULL: none, or not read in this role. Never shown */
    const char *build_pull_ref; /* where it comes from: "file:/etc/slipway/secrets/pull.json" */
    const char *intermediate;
    struct pattern_list immutable; /* final tags that never move once they exist */
    bool immutable_given;          /* the operator said which: an empty list then means none */
    struct policy_keys require_signature; /* none: unsigned images are published */
    enum policy_mode mode;
    enum policy_unrecorded unrecorded;
    enum policy_stale on_stale;
    enum policy_foreign on_foreign;
    int64_t wait_for_staged_s;
    bool sweep;            /* look for leaked staged tags after a publication */
    int64_t sweep_after_s; /* they go by age where no forge can be asked; 0: never */
};

struct policy {
    struct policy_project *at;
    size_t n;
    size_t cap;
};

/* The entry for a project of a forge, NULL when there is none (no match, no work). */
const struct policy_project *policy_find(const struct policy *p, const char *forge,
                                         const char *project);

/* Does any pattern of the list match? An empty list gives `when_empty`. */
bool policy_matches(const struct pattern_list *list, const char *subject, bool when_empty);

bool policy_may_publish(const struct policy_project *p, const char *repository);
/* May it be read with our credentials? `may_read`, or where the operator did not write it what may
 * be published. */
bool policy_may_read(const struct policy_project *p, const char *repository);
/* The repository that one of the intermediate registry stands for, where the project may publish to
 * it; NULL: there is none. */
const char *policy_behind(const struct policy_project *p, const char *repository, struct arena *a);
bool policy_tag_is_immutable(const struct policy_project *p, const char *tag);

#endif
