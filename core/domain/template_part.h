/*
 * template_part.h - the parts that template.c is made of; of no use to others: what stands between
 * "{{" and "}}" as a tree of nodes, and its value.
 */
#ifndef SLIPWAY_TEMPLATE_PART_H
#define SLIPWAY_TEMPLATE_PART_H

#include "core/domain/template.h"

enum tnode_kind {
    TNODE_TEXT,
    TNODE_NUMBER,
    TNODE_FLAG,    /* true, false: `number` */
    TNODE_LIST,    /* kids: its items */
    TNODE_NAME,    /* a variable */
    TNODE_CALL,    /* a filter, a method or a function: kids are what it is applied to and its
                      arguments */
    TNODE_ITEM,    /* kid[number] */
    TNODE_SLICE,   /* kid[number:to] */
    TNODE_IF,      /* kids: the condition, what it is then, what it is else */
    TNODE_NOT,     /* kid */
    TNODE_DEFINED, /* kid: a name */
    TNODE_EQUAL    /* two kids */
};

struct tnode;
struct tnode_list {
    const struct tnode **at;
    size_t n;
    size_t cap;
};

struct tnode {
    enum tnode_kind kind;
    const char *text; /* TEXT: it; NAME: "zuul.tag"; CALL: "default" */
    const struct template_call *call;
    long number;
    long to; /* SLICE: LONG_MAX: to the end */
    struct tnode_list kids;
};

enum tvalue_type { TVALUE_TEXT, TVALUE_NUMBER, TVALUE_FLAG, TVALUE_LIST };

struct tvalue {
    enum tvalue_type type;
    const char *text;
    long number;
    struct str_list list;
};

/* One expansion. */
struct evaluation {
    const struct template_vars *vars;
    struct arena *arena;
    const char *missing; /* TEMPLATE_UNDEFINED: what is not defined */
    const char *why;     /* TEMPLATE_ERROR */
    unsigned depth;      /* of variables that are templates themselves */
    unsigned steps;
};

/* How a call is written. */
enum template_style { STYLE_FILTER = 1, STYLE_METHOD = 2, STYLE_FUNCTION = 4 };

struct template_call {
    const char *name;
    unsigned style; /* a mask */
    size_t min;     /* arguments, without what it is applied to */
    size_t max;
    enum template_result (*value)(struct evaluation *e, const struct tnode *n, struct tvalue *out);
};

/* NULL: there is none of that name in that style. */
const struct template_call *template_call(const char *name, enum template_style style);

/* Names for people: of the calls in a style, of the variables that events define. */
const char *template_calls(enum template_style style, struct arena *a);
const char *template_variables(struct arena *a);
/* Is it a format of now()? */
bool template_format_ok(const char *format);

/* Reads the expression behind "{{" at *s; *s is then behind its "}}". NULL: *why says what is
 * wrong. */
const struct tnode *template_parse(const char **s, struct arena *a, const char **why);

/* A condition is no text. */
bool tnode_is_condition(const struct tnode *n);

/* "zuul.tag" and the like: is it one that some event defines? */
bool template_known(const char *name);
/* Its value, NULL when this event does not define it. */
const char *template_value(const char *name, const struct template_vars *vars);

enum template_result template_evaluate(struct evaluation *e, const struct tnode *n,
                                       struct tvalue *out);
/* A whole text of pieces: the value of the only one, or all of them as one text. */
enum template_result template_text(struct evaluation *e, const char *text, struct tvalue *out);

/* The pieces of a text in turn. 1: *literal (of len bytes) and behind it *node, or NULL at the end
 * of the text; 0: there is no more; -1: *text is at a malformed one, and *why says what is wrong.
 */
int template_piece(const char **text, struct arena *a, const char **literal, size_t *len,
                   const struct tnode **node, const char **why);

#endif
