#include "core/domain/tagselect.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/semver.h"
#include "core/lib/pattern.h"

/* One text: a tag, or one of the others. */
struct choice {
    const char *tag;
    struct pattern *pattern;
    const struct semver_range *range;
};

struct choices {
    struct choice *at;
    size_t n;
    size_t cap;
};

struct tagselect {
    struct arena arena;
    struct choices allow;
    struct choices deny;
};

/* Text from strangers goes into messages cut short and without control bytes. */
static const char *shown(const char *text, char out[100])
{
    size_t i = 0;
    for (; i < 96 && text[i]; i++)
        out[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    (void)snprintf(out + i, 100 - i, "%s", text[i] ? "..." : "");
    return out;
}

/* With `?` as a letter and `*` as nothing, or as a letter, it must be a tag: else none matches. */
static bool glob_ok(const char *text, struct arena *a)
{
    char *with = arena_strdup(a, text), *without = arena_strdup(a, text);
    size_t len = 0;
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '*' || text[i] == '?')
            with[i] = 'a';
        if (text[i] != '*')
            without[len++] = with[i];
    }
    without[len] = '\0';
    return imageref_tag_ok(with) || imageref_tag_ok(without);
}

static int read_choice(const char *text, struct arena *a, struct choice *out, struct err *err)
{
    char show[100];
    const char *range = str_after(text, "semver:");
    if (range) {
        out->range = semver_range_compile(range, a, err);
        return out->range ? 0 : err_wrap(err, "tags \"%s\"", shown(text, show));
    }
    if (imageref_tag_ok(text)) {
        out->tag = arena_strdup(a, text);
        return 0;
    }
    if (*text != '^' && *text != '!' && strchr(text, '['))
        return err_set(
            err, ERR_CONFIG, 0,
            "tags \"%s\": in a glob here [..] means nothing; write a regular expression, "
            "like ^v[0-9]+$",
            shown(text, show));
    if (*text != '^' && !strpbrk(text, "*?"))
        return err_set(err, ERR_CONFIG, 0,
                       "tags \"%s\": this is neither a tag, nor a glob with * or ?, nor a regular "
                       "expression that begins with ^, nor semver: and a range",
                       shown(text, show));
    if (*text != '^' && *text != '!' && !glob_ok(text, a))
        return err_set(err, ERR_CONFIG, 0, "tags \"%s\": no legal tag can match this glob",
                       shown(text, show));
    out->pattern = pattern_compile(text, err);
    return out->pattern ? 0 : err_wrap(err, "tags \"%s\"", shown(text, show));
}

static int read_choices(const struct str_list *texts, struct arena *a, struct choices *out,
                        struct err *err)
{
    if (texts && texts->n > LIMIT_TAGS)
        return err_set(err, ERR_CONFIG, 0, "%zu patterns for tags; at most %d", texts->n,
                       LIMIT_TAGS);
    for (size_t i = 0; texts && i < texts->n; i++)
        if (read_choice(texts->at[i] ? texts->at[i] : "", a, list_push(a, out), err) < 0)
            return -1;
    return 0;
}

struct tagselect *tagselect_compile(const struct str_list *allow, const struct str_list *deny,
                                    struct err *err)
{
    struct tagselect *s = xcalloc(1, sizeof *s);
    if (read_choices(allow, &s->arena, &s->allow, err) == 0 &&
        read_choices(deny, &s->arena, &s->deny, err) == 0)
        return s;
    tagselect_free(s);
    return NULL;
}

void tagselect_free(struct tagselect *s)
{
    if (!s)
        return;
    const struct choices *lists[] = {&s->allow, &s->deny};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_each (struct choice, c, lists[i])
            pattern_free(c->pattern);
    arena_release(&s->arena);
    free(s);
}

static bool matches(const struct choices *list, const char *tag)
{
    struct semver v;
    bool is_version = semver_parse(tag, SEMVER_TAG, &v);
    list_each (const struct choice, c, list) {
        if (c->tag     ? str_eq(c->tag, tag)
            : c->range ? is_version && semver_range_has(c->range, &v)
                       : pattern_match(c->pattern, tag))
            return true;
    }
    return false;
}

bool tagselect_wants(const struct tagselect *s, const char *tag)
{
    return imageref_tag_ok(tag) && (s->allow.n == 0 || matches(&s->allow, tag)) &&
           !matches(&s->deny, tag);
}

/* A tag on its way into the result. */
struct picked {
    const char *tag;
    size_t place; /* in the list of the repository */
    bool is_version;
    struct semver version;
};

static int by_text(const void *a, const void *b)
{
    const struct picked *one = a, *other = b;
    int order = strcmp(one->tag, other->tag);
    return order ? order : one->place < other->place ? -1 : 1;
}

static int by_place(const void *a, const void *b)
{
    const struct picked *one = a, *other = b;
    return one->place < other->place ? -1 : one->place > other->place;
}

static int by_version(const void *a, const void *b)
{
    const struct picked *one = a, *other = b;
    if (one->is_version != other->is_version)
        return one->is_version ? -1 : 1;
    int order = one->is_version ? semver_compare(&one->version, &other->version) : 0;
    return order ? order : by_place(a, b);
}

static bool has_range(const struct choices *list)
{
    list_each (const struct choice, c, list)
        if (c->range)
            return true;
    return false;
}

void tagselect_pick(const struct tagselect *s, const struct str_list *tags, struct arena *a,
                    struct str_list *out)
{
    LIST(struct picked) all = {0};
    bool versions = has_range(&s->allow);
    for (size_t i = 0; i < tags->n; i++) {
        if (!tagselect_wants(s, tags->at[i]))
            continue;
        struct picked *p = list_push(a, &all);
        *p = (struct picked){.tag = tags->at[i], .place = i};
        p->is_version = versions && semver_parse(p->tag, SEMVER_TAG, &p->version);
    }
    *out = (struct str_list){0};
    if (all.n == 0)
        return;
    qsort(all.at, all.n, sizeof *all.at, by_text);
    size_t kept = 1;
    for (size_t i = 1; i < all.n; i++)
        if (!str_eq(all.at[i].tag, all.at[kept - 1].tag))
            all.at[kept++] = all.at[i];
    qsort(all.at, kept, sizeof *all.at, versions ? by_version : by_place);
    for (size_t i = 0; i < kept; i++)
        *list_push(a, out) = all.at[i].tag;
}

bool tagselect_literal(const struct tagselect *s, struct arena *a, struct str_list *out)
{
    struct str_list tags = {0};
    if (s->allow.n == 0)
        return false;
    list_each (const struct choice, c, &s->allow) {
        if (!c->tag)
            return false;
        if (!str_in(c->tag, &tags) && tagselect_wants(s, c->tag))
            *list_push(a, &tags) = c->tag;
    }
    *out = tags;
    return true;
}
