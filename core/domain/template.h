/*
 * template.h - `{{ ... }}` in the strings of a repository's image list: a closed set of forms, no
 * general Jinja. Pure.
 */
#ifndef SLIPWAY_TEMPLATE_H
#define SLIPWAY_TEMPLATE_H

#include "core/base/diag.h"
#include "core/base/mem.h"

/* A variable that the repository or the operator names; its text may be a template itself. */
struct template_own {
    const char *name;
    const char *text;
    struct place at;
};

struct template_owns {
    struct template_own *at;
    size_t n;
    size_t cap;
};

/* What is defined for an event; NULL is undefined. */
struct template_vars {
    const char *branch;              /* zuul.branch */
    const char *tag;                 /* zuul.tag */
    const char *change;              /* zuul.change */
    const char *patchset;            /* zuul.patchset */
    const char *commit_id;           /* zuul.commit_id */
    const char *pipeline;            /* zuul.pipeline */
    const char *project_name;        /* zuul.project.name */
    const char *project_short_name;  /* zuul.project.short_name: the last part of the name */
    int64_t now_s;                   /* now(), seconds since 1970; 0: undefined */
    const struct template_owns *own; /* NULL: none. The last of one name holds. */
};

enum template_result {
    TEMPLATE_OK,
    TEMPLATE_UNDEFINED, /* a known variable that this event does not define; *out names it */
    TEMPLATE_ERROR      /* reported in diags with its place */
};

/*
 * An expression is one of
 *     'text'  [list, of, them]  zuul.<variable>  zuul.get('<variable>', 'else this')
 *     a name that the repository's `vars` or the operator defines
 *     now(utc=true, fmt='%Y%m%d'), always UTC; of % only YmdHMSjy
 * and, behind it:
 *     .split('.')  .replace('a', 'b')  '.'.join(list)  [0]  [-1]  [:2]  [1:]
 *     | default('text')  | default('text', true)  | replace('a', 'b')  | split('.')  | join('.')
 *     <condition> | ternary(this, that)      this if <condition> else that
 * where a condition is `x is defined`, `x is not defined`, `x == y`, `x != y`, `not` one of them.
 * Only the branch that is taken must be defined. Text without "{{" is returned as it is. "{%" and
 * "{#" are errors. Reference: Jinja's expressions, as container image lists of Zuul use them.
 *
 * A list is no text: template_expand refuses one.
 */
enum template_result template_expand(const char *text, struct place at,
                                     const struct template_vars *vars, struct diags *diags,
                                     const char **out);

/* Likewise, to a list: a text that is one expression with a list as its value gives that list,
 * each text once; any other text a list of one. *missing is *out of TEMPLATE_UNDEFINED. */
enum template_result template_expand_list(const char *text, struct place at,
                                          const struct template_vars *vars, struct diags *diags,
                                          struct str_list *out, const char **missing);

/* Checks the forms without values: true when it parses. */
bool template_check(const char *text, struct place at, struct diags *diags);

/* Does the text ask for this variable ("zuul.tag"), itself or through variables of `own` (NULL:
 * none)? */
bool template_uses(const char *text, const char *variable, const struct template_owns *own);

#endif
