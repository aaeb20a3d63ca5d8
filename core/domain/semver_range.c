#include "core/domain/semver_part.h"

#include "core/base/limits.h"
#include "core/base/str.h"

/* A version lies in a comparator when it is not below low (where there is one) and below high
 * (where there is one); `open` and `closed` move the version at the bound to the other side. */
struct comparator {
    bool has_low, has_high;
    bool open;    /* low itself is out */
    bool closed;  /* high itself is in */
    bool outside; /* != : what lies within is out */
    struct semver low, high;
};

struct alternative {
    struct comparator *at;
    size_t n;
    size_t cap;
};

struct semver_range {
    struct alternative *at;
    size_t n;
    size_t cap;
};

/* A version as written in a range: the numbers before the first x, * or missing one. */
struct partial {
    struct semver v;
    size_t known; /* 0 to 4 */
    bool whole;   /* three or four numbers, and no x behind them */
};

struct reader {
    const char *text; /* a copy in the arena: what is read borrows from it */
    const char *s;
    struct arena *a;
    struct err *err;
    size_t comparators;
};

static int wrong(const struct reader *r, const char *what)
{
    char near[24];
    size_t i = 0;
    for (; i < sizeof near - 1 && r->s[i]; i++)
        near[i] = r->s[i] >= ' ' && r->s[i] < 127 ? r->s[i] : '?';
    near[i] = '\0';
    return err_set(r->err, ERR_CONFIG, 0, "range of versions: %s at character %zu, near \"%s\"",
                   what, (size_t)(r->s - r->text) + 1, near);
}

static bool at_word_end(char c)
{
    return c == '\0' || strchr(" \t,|", c);
}

static int take_partial(struct reader *r, struct partial *out)
{
    bool wild = false;
    *out = (struct partial){0};
    if (*r->s == 'v' || *r->s == 'V')
        r->s++;
    for (size_t i = 0;; i++) {
        if (i == SEMVER_NUMBERS)
            return wrong(r, "a version of more than four numbers");
        if (*r->s == 'x' || *r->s == 'X' || *r->s == '*') {
            wild = true;
            r->s++;
        } else {
            struct semver_part number;
            if (!semver_take_number(&r->s, false, &number))
                return wrong(r, *r->s == '0' ? "a number with leading zeros"
                                             : "a number, x or * is missing");
            if (!wild)
                out->v.number[out->known++] = number;
        }
        if (*r->s != '.')
            break;
        r->s++;
    }
    out->v.numbers = out->known;
    out->whole = out->known >= 3 && !wild;
    const char *tail = r->s;
    if (!semver_take_tail(&r->s, &out->v, false))
        return wrong(r, "a malformed pre-release or build");
    if (!out->whole && out->v.pre.len) {
        r->s = tail;
        return wrong(r, "a pre-release of a version that is not whole");
    }
    return at_word_end(*r->s) ? 0 : wrong(r, "this is no part of a version");
}

/* The same digits, one more. */
static struct semver_part increment(struct semver_part p, struct arena *a)
{
    char *out = arena_alloc(a, p.len + 2);
    out[0] = '0';
    if (p.len)
        memcpy(out + 1, p.at, p.len);
    size_t i = p.len;
    while (i > 0 && out[i] == '9')
        out[i--] = '0';
    out[i]++;
    return out[0] == '0' && p.len ? (struct semver_part){out + 1, p.len}
                                  : (struct semver_part){out, p.len + 1};
}

/* The first version behind all those that share the first `keep` numbers; npm writes it as
 * 2.0.0-0, so that pre-releases of 2.0.0 are out as well. */
static struct semver behind(const struct semver *v, size_t keep, struct arena *a)
{
    struct semver out = {.numbers = SEMVER_NUMBERS, .pre = {"0", 1}};
    for (size_t i = 0; i < keep; i++)
        out.number[i] = i + 1 == keep ? increment(v->number[i], a) : v->number[i];
    return out;
}

static struct comparator from(struct semver low)
{
    return (struct comparator){.has_low = true, .low = low};
}

static struct comparator below(struct semver high)
{
    return (struct comparator){.has_high = true, .high = high};
}

/* All versions that a partial one means: x.y stands for x.y.anything. */
static struct comparator within(const struct partial *p, struct arena *a)
{
    struct comparator c = {.has_low = p->known > 0, .low = p->v};
    if (p->known == 0)
        return c;
    c.has_high = true;
    c.closed = p->whole;
    c.high = c.closed ? p->v : behind(&p->v, p->known, a);
    return c;
}

static struct comparator nothing(void)
{
    return below((struct semver){.numbers = SEMVER_NUMBERS, .pre = {"0", 1}});
}

static bool is_zero(struct semver_part p)
{
    return p.len == 1 && *p.at == '0';
}

/* ^ keeps the first number that is not 0. */
static struct comparator caret(const struct partial *p, struct arena *a)
{
    size_t keep = 1;
    while (keep < p->known && keep < 3 && is_zero(p->v.number[keep - 1]))
        keep++;
    struct comparator c = from(p->v);
    c.has_high = true;
    c.high = behind(&p->v, keep, a);
    return c;
}

static struct comparator tilde(const struct partial *p, struct arena *a)
{
    struct comparator c = from(p->v);
    c.has_high = true;
    c.high = behind(&p->v, p->known > 1 ? 2 : 1, a);
    return c;
}

enum op { OP_NONE, OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NE, OP_CARET, OP_TILDE };

static enum op take_op(const char **s)
{
    static const struct {
        const char *text;
        enum op op;
    } ops[] = {{"<=", OP_LE}, {">=", OP_GE}, {"!=", OP_NE}, {"~>", OP_TILDE}, {"==", OP_EQ},
               {"<", OP_LT},  {">", OP_GT},  {"=", OP_EQ},  {"^", OP_CARET},  {"~", OP_TILDE}};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (str_starts(*s, ops[i].text)) {
            *s += strlen(ops[i].text);
            return ops[i].op;
        }
    return OP_NONE;
}

static struct comparator of_op(enum op op, const struct partial *p, struct arena *a)
{
    bool whole = p->whole;
    struct comparator c;
    switch (op) {
    case OP_LT:
        c = below(p->v);
        if (!whole)
            c.high.pre = (struct semver_part){"0", 1};
        return p->known ? c : nothing();
    case OP_LE:
        if (p->known == 0)
            return within(p, a);
        c = below(whole ? p->v : behind(&p->v, p->known, a));
        c.closed = whole;
        return c;
    case OP_GT:
        if (p->known == 0)
            return nothing();
        c = from(whole ? p->v : behind(&p->v, p->known, a));
        c.open = whole;
        if (!whole)
            c.low.pre = (struct semver_part){0};
        return c;
    case OP_GE:
        return p->known ? from(p->v) : within(p, a);
    case OP_NE:
        c = p->known ? within(p, a) : nothing();
        c.outside = p->known > 0;
        return c;
    case OP_CARET:
        return p->known ? caret(p, a) : within(p, a);
    case OP_TILDE:
        return p->known ? tilde(p, a) : within(p, a);
    case OP_NONE:
    case OP_EQ:
        break;
    }
    return within(p, a);
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* "1.2 - 2.3": s stands behind the first version. */
static bool is_hyphen(const char *s)
{
    const char *p = skip_blanks(s);
    return p > s && *p == '-' && (p[1] == ' ' || p[1] == '\t');
}

static int take_comparator(struct reader *r, struct alternative *alt)
{
    struct partial p, q;
    if (++r->comparators > LIMIT_SEMVER_COMPARATORS)
        return wrong(r, "too many comparators");
    enum op op = take_op(&r->s);
    r->s = skip_blanks(r->s);
    if (take_partial(r, &p) < 0)
        return -1;
    if (op == OP_NONE && is_hyphen(r->s)) {
        r->s = skip_blanks(skip_blanks(r->s) + 1);
        if (take_partial(r, &q) < 0)
            return -1;
        *list_push(r->a, alt) = of_op(OP_GE, &p, r->a);
        *list_push(r->a, alt) = of_op(OP_LE, &q, r->a);
        return 0;
    }
    *list_push(r->a, alt) = of_op(op, &p, r->a);
    return 0;
}

/* Up to "||" or the end. An empty alternative is every version, as in npm, but not by a slip:
 * "1.x ||" is refused. */
static int take_alternative(struct reader *r, struct alternative *alt)
{
    for (;;) {
        r->s = skip_blanks(r->s);
        if (take_comparator(r, alt) < 0)
            return -1;
        r->s = skip_blanks(r->s);
        if (*r->s == ',') {
            r->s++;
            continue;
        }
        if (*r->s == '\0' || *r->s == '|')
            return 0;
    }
}

const struct semver_range *semver_range_compile(const char *text, struct arena *a, struct err *err)
{
    if (!text || strlen(text) > LIMIT_PATTERN) {
        (void)err_set(err, ERR_CONFIG, 0, "range of versions: %s",
                      text ? "the text is too long" : "there is none");
        return NULL;
    }
    struct reader r = {.text = arena_strdup(a, text), .a = a, .err = err};
    struct semver_range *range = arena_alloc(a, sizeof *range);
    r.s = r.text;
    for (;;) {
        if (take_alternative(&r, list_push(a, range)) < 0)
            return NULL;
        if (*r.s == '\0')
            return range;
        if (r.s[1] != '|') {
            (void)wrong(&r, "a single | (two mean \"or\")");
            return NULL;
        }
        r.s += 2;
    }
}

static bool in_bounds(const struct comparator *c, const struct semver *v)
{
    if (c->has_low) {
        int order = semver_compare(v, &c->low);
        if (order < 0 || (order == 0 && c->open))
            return false;
    }
    if (c->has_high) {
        int order = semver_compare(v, &c->high);
        if (order > 0 || (order == 0 && !c->closed))
            return false;
    }
    return true;
}

/* Does this comparator speak of pre-releases of exactly these numbers? */
static bool names_pre(const struct comparator *c, const struct semver *v)
{
    return (c->has_low && c->low.pre.len && semver_compare_numbers(&c->low, v) == 0) ||
           (c->has_high && c->high.pre.len && semver_compare_numbers(&c->high, v) == 0);
}

static bool alternative_has(const struct alternative *alt, const struct semver *v)
{
    bool pre_named = false;
    list_each (struct comparator, c, alt) {
        if (in_bounds(c, v) == c->outside)
            return false;
        pre_named = pre_named || (!c->outside && names_pre(c, v));
    }
    return pre_named || v->pre.len == 0;
}

bool semver_range_has(const struct semver_range *r, const struct semver *v)
{
    list_each (struct alternative, alt, r)
        if (alternative_has(alt, v))
            return true;
    return false;
}
