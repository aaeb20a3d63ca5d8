/*
 * plan.h - what one event asks for, decided from values alone: event, image list and policy in;
 * publications, refusals and clean-ups out. `slipway plan` prints just this.
 *
 * A plan with a refusal publishes nothing: all checks come before all writes.
 */
#ifndef SLIPWAY_PLAN_H
#define SLIPWAY_PLAN_H

#include "core/base/diag.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"
#include "core/domain/event.h"
#include "core/domain/imagefile.h"
#include "core/domain/mirror.h"
#include "core/domain/policy.h"
#include "core/domain/template.h"

enum plan_source {
    PLAN_FROM_STAGED,      /* the staged tag of the change */
    PLAN_FROM_PUBLISHED,   /* what was already published for the tagged commit */
    PLAN_FROM_BUILD,       /* has to be built first, then pushed as `tag` */
    PLAN_FROM_INTERMEDIATE /* what the gate left in the intermediate registry: copied, then as above
                            */
};

/* A tag that has no use any more once what it stood for is live: it goes while it shows this. */
struct plan_spent {
    const char *registry;
    const char *name;
    const char *tag; /* NULL: there is none */
    const char *digest;
};

/* One tag to be written and where its manifest comes from. For a gate's upload it is the staged
 * tag, else a final tag. */
struct plan_tag {
    enum plan_source source;
    const struct image *image;
    const char *registry;   /* host[:port], the key into the operator's registries */
    const char *name;       /* repository without the registry: "team/app" */
    const char *staged_tag; /* PLAN_FROM_STAGED: "change_7_latest"; else NULL */
    struct plan_spent
        spent;       /* set by the engine: what the gate left, where that is not staged_tag */
    const char *tag; /* the tag to write */
    bool immutable;  /* may be made, never moved */
    bool staging;    /* `tag` is a staged one: written by a gate, recorded, not ordered */
    const struct imagefile_vars *vars; /* of the job: how it is built, which Zuul is asked */
    const char *prepared; /* digest that the engine brought to the repository for it, NULL: none */
    size_t build;         /* PLAN_FROM_BUILD: which of the builds */
    const char *wanted;   /* PLAN_FROM_INTERMEDIATE: the final tag without a prefix, as the gate
                             knew it */
};

struct plan_tags {
    struct plan_tag *at;
    size_t n;
    size_t cap;
};

/* An image that has to be built, once however many tags it gets. In the order of the list: one may
 * be FROM an earlier one. */
struct plan_build {
    const struct image *image;
    const struct imagefile_vars *vars;
    const char *label;    /* for people: the repository, else the context */
    struct str_list refs; /* "host/name:tag" of all its tags without prefix: what a later one's FROM
                             line may say; empty for one that is only built */
    struct place at;
};

struct plan_builds {
    struct plan_build *at;
    size_t n;
    size_t cap;
};

struct plan_note {
    struct place at;  /* in the image list or the policy; line 0: nowhere in particular */
    const char *what; /* "registry.example.org/team/app:latest" or an image's context */
    const char *why;
};

struct plan_notes {
    struct plan_note *at;
    size_t n;
    size_t cap;
};

enum plan_verdict {
    PLAN_GO,      /* there is something to publish, or (change closed) only to clean up */
    PLAN_NOTHING, /* nothing asks for this event: `reason` says why */
    PLAN_REFUSED  /* refusals are listed */
};

struct plan {
    enum plan_verdict verdict;
    const char *reason; /* one line for people, always set */
    enum pipeline pipeline;
    bool shadow;         /* record what would have been done, write nothing */
    const char *rebuilt; /* why what a gate staged is built anew; NULL: it is not */
    bool pushes;         /* a merge, and the list has jobs for the push to its branch, too */
    struct plan_tags tags;
    struct plan_builds builds;     /* what has to be built for them, or (check) only built */
    struct mirror_entries mirrors; /* what mirror-container-images copies */
    struct str_list signers; /* keys: one of them must have signed each image that is promoted */
    struct plan_notes refused;
    struct plan_notes skipped; /* left out, and why: no error */
    struct plan_notes cleaned; /* staged tags that go afterwards: what = full reference */
};

struct plan_input {
    const struct event *event;
    const struct imagefile *file;        /* NULL: the repository has none at that commit */
    const struct policy_project *policy; /* NULL: no entry matches */
    const char *default_branch;          /* NULL: not known; then "main" and "master" count */
    int64_t now_s;                       /* what now() gives; 0: nothing */
    const char *run_id; /* of this upload, in tags of an intermediate registry; NULL: "<run>" */
    /* Is this registry one that the operator configured? */
    bool (*knows_registry)(const void *ctx, const char *host);
    const void *ctx;
};

/* Which pipeline an event starts; false for kinds that start none. A closed change starts none,
 * but plan_make lists the staged tags that go (verdict PLAN_GO, no tags, only `cleaned`). A git tag
 * that looks like a release runs the rows of both tag and release as one plan, called tag; a row
 * for tags that the file writes stands in for a release row that it does not. */
bool plan_pipeline(enum event_kind kind, enum pipeline *out);

/* Where an image lies in the intermediate registry ("<host>/<prefix>" of the policy):
 * <host>/<prefix>/<repository with its registry>. False when that is no legal name. */
bool plan_intermediate(const char *intermediate, const char *repository, struct arena *a,
                       const char **host, const char **name);

/* What templates may name for this event. */
struct template_vars plan_variables(const struct event *e);

/* Decides. Never fails: what is wrong becomes a refusal or a skip with its reason. */
void plan_make(const struct plan_input *in, struct arena *a, struct plan *out);

/* For people, and as JSON text (schema version 1). */
void plan_print(const struct plan *p, const struct event *e, struct strbuf *out);
const char *plan_to_json(const struct plan *p, const struct event *e, struct arena *a);

#endif
