/*
 * template.h - `{{ ... }}` in the strings of a repository's image list: a closed set of forms, no
 * general Jinja. Pure.
 */
#ifndef SLIPWAY_TEMPLATE_H
#define SLIPWAY_TEMPLATE_H

#include "core/base/diag.h"
#include "core/base/mem.h"

/* What is defined for an event; NULL is undefined. */
struct template_vars {
    const char *branch;             /* zuul.branch */
    const char *tag;                /* zuul.tag */
    const char *change;             /* zuul.change */
    const char *commit_id;          /* zuul.commit_id */
    const char *project_name;       /* zuul.project.name */
    const char *project_short_name; /* zuul.project.short_name: the last part of the name */
};

enum template_result {
    TEMPLATE_OK,
    TEMPLATE_UNDEFINED, /* a known variable that this event does not define; *out names it */
    TEMPLATE_ERROR      /* reported in diags with its place */
};

/*
 * Forms: {{ zuul.branch }} {{ zuul.tag }} {{ zuul.change }} {{ zuul.commit_id }}
 * {{ zuul.project.name }} {{ zuul.project.short_name }}, each optionally followed by
 * | default('text'), or default("text"), which stands in when it is undefined.
 * Text without "{{" is returned as it is. "{%" and "{#" are errors.
 */
enum template_result template_expand(const char *text, struct place at,
                                     const struct template_vars *vars, struct diags *diags,
                                     const char **out);

/* Checks the forms without values: true when it parses. */
bool template_check(const char *text, struct place at, struct diags *diags);

/* Does the text ask for this variable ("zuul.tag")? */
bool template_uses(const char *text, const char *variable);

#endif
