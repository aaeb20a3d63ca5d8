/*
 * plan_part.h - the parts that plan.c is made of; of no use to others. Together they turn one
 * image of a list into targets: templates expanded, names completed, everything checked against
 * grammar and policy.
 */
#ifndef SLIPWAY_PLAN_PART_H
#define SLIPWAY_PLAN_PART_H

#include "core/domain/plan.h"
#include "core/domain/template.h"

struct plan_work {
    const struct plan_input *in;
    struct arena *arena;
    struct plan *plan;
    struct template_vars vars;
};

/* How the tags of an image come about in one job. */
struct plan_how {
    enum plan_source source;
    const char *prefix; /* of staged tags: "change_7_"; NULL: none is concerned */
    bool write_staged;  /* the staged tag itself is what is written (a gate's upload) */
    bool intermediate;  /* ... and it lies in the policy's intermediate registry */
    const struct imagefile_vars *vars; /* of the job */
    bool only_zuul_tag;                /* leave tags out that do not depend on zuul.tag */
    bool clean_only; /* only list the staged tags, and pass over what can't be one */
};

/* Where an image is written, once names are known to be good. */
struct plan_place {
    const struct image *image;
    const char *registry;
    const char *name;
    const char *full; /* "registry/name" */
};

/* ---- plan_text.c ---------------------------------------------------------------------------- */

/* Adds a note unless the same one is there already. */
void plan_note(struct plan_work *w, struct plan_notes *notes, struct place at, const char *what,
               const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Notes among what is skipped, or refused; nothing where only staged tags are listed. */
void plan_leave_out(struct plan_work *w, const struct plan_how *how, struct place at,
                    const char *what, const char *why);
void plan_refuse(struct plan_work *w, const struct plan_how *how, struct place at, const char *what,
                 const char *why);

/* "a, b" for messages; "none" for an empty list. */
const char *plan_patterns(struct arena *a, const struct pattern_list *list);
/* What an image is called in messages. */
const char *plan_label(const struct image *image);

bool plan_uses(const struct plan_how *how, const struct image_text *text, const char *variable);
/* A text's values, or its only one. False when it can't be had: said as a skip or a refusal. */
bool plan_expand_list(struct plan_work *w, const struct plan_how *how,
                      const struct image_text *text, const struct template_vars *vars,
                      const char *what, struct str_list *out);
bool plan_expand(struct plan_work *w, const struct plan_how *how, const struct image_text *text,
                 const char *what, const char **out);

/* ---- plan_place.c --------------------------------------------------------------------------- */

/* Splits or completes: the repository may be written with or without the registry in front. NULL
 * when done, else what is wrong. */
const char *plan_place_name(struct plan_work *w, const char *registry, const char *repository,
                            struct plan_place *out);
/* False when an image may not be written, or nowhere: a refusal says why. */
bool plan_place_find(struct plan_work *w, const struct image *image, const struct plan_how *how,
                     struct plan_place *out);

/* ---- plan_target.c -------------------------------------------------------------------------- */

/* Plans all tags of an image, and its build where they come from one. */
void plan_image(struct plan_work *w, const struct image *image, const struct plan_how *how);
/* Plans its build alone. */
void plan_only_build(struct plan_work *w, const struct image *image, const struct plan_how *how);

#endif
