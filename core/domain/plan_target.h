/*
 * plan_target.h - the part of planning that turns one image of a list into targets: templates
 * expanded, names completed, everything checked against grammar and policy. Used by plan.c alone.
 */
#ifndef SLIPWAY_PLAN_TARGET_H
#define SLIPWAY_PLAN_TARGET_H

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

/* Adds a note unless the same one is there already. */
void plan_note(struct plan_work *w, struct plan_notes *notes, struct place at, const char *what,
               const char *fmt, ...) PRINTF_LIKE(5, 6);

/* "a, b" for messages; "none" for an empty list. */
const char *plan_patterns(struct arena *a, const struct pattern_list *list);

/* Plans all tags of an image, and its build where they come from one. */
void plan_image(struct plan_work *w, const struct image *image, const struct plan_how *how);
/* Plans its build alone. */
void plan_only_build(struct plan_work *w, const struct image *image, const struct plan_how *how);

#endif
