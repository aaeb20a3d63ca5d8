#include "core/lib/yaml.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <yaml.h>

/* A node and what only the parser needs to know of it; nodes are handed out as &built->node. */
struct built {
    struct yml_node node;
    size_t size;   /* nodes in it, aliases counted as what they stand for */
    size_t height; /* levels of lists and maps in it, counted likewise; 0 for a scalar */
    bool open;     /* still being read: an alias to it would be a cycle */
    bool broken;   /* reported already: no more messages about it */
};

struct anchor {
    const char *name;
    struct built *node;
};

struct loader {
    yaml_parser_t parser;
    const char *file;
    const char *text;
    size_t len;
    struct diags *diags;
    struct arena *arena;
    LIST(struct anchor) anchors;
    bool like_python; /* see yml_parse_last */
    size_t nodes;     /* expanded, so far */
    size_t depth;
};

typedef LIST(struct yml_pair) pair_list;
typedef LIST(const struct yml_node *) node_list;

static struct built *load_node(struct loader *l, const yaml_event_t *event);

static const struct built *built_of(const struct yml_node *n)
{
    return (const struct built *)n;
}

static struct place place_of(const struct loader *l, const yaml_mark_t *mark)
{
    return (struct place){l->file, (unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

/* Line and column of a byte, for errors of libyaml's reader, which knows offsets only. */
static struct place place_of_offset(const struct loader *l, size_t offset)
{
    struct place at = {l->file, 1, 1};
    for (size_t i = 0; i < offset && i < l->len; i++) {
        if (l->text[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char)l->text[i] & 0xC0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

static bool is_tab_at(const struct loader *l, const yaml_mark_t *mark)
{
    const char *p = l->text, *end = l->text + l->len;
    for (size_t line = 0; line < mark->line && p; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    return p && mark->column < (size_t)(end - p) && p[mark->column] == '\t';
}

static void report_syntax(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR)
        abort();
    if (p->error == YAML_READER_ERROR) {
        diag_error(l->diags, place_of_offset(l, p->problem_offset), "not valid YAML: %s (byte %#x)",
                   problem, (unsigned)p->problem_value);
        return;
    }
    struct place at = place_of(l, &p->problem_mark);
    if (is_tab_at(l, &p->problem_mark))
        diag_error(l->diags, at, "not valid YAML: a tab cannot indent; use blanks");
    else if (p->context)
        diag_error(l->diags, at, "not valid YAML: %s %s that began at line %zu", problem,
                   p->context, p->context_mark.line + 1);
    else
        diag_error(l->diags, at, "not valid YAML: %s", problem);
}

static int next_event(struct loader *l, yaml_event_t *event)
{
    if (yaml_parser_parse(&l->parser, event))
        return 0;
    report_syntax(l);
    return -1;
}

/* Counts nodes before they are made; past the limit nothing more is read. */
static int count_nodes(struct loader *l, struct place at, size_t n)
{
    l->nodes += n;
    if (l->nodes <= LIMIT_YAML_NODES)
        return 0;
    diag_error(l->diags, at, "more than %d values once aliases are expanded", LIMIT_YAML_NODES);
    return -1;
}

/* May `levels` more levels stand here? Aliases count, so that whoever walks the tree may recurse.
 */
static int check_depth(struct loader *l, struct place at, size_t levels)
{
    if (l->depth + levels <= LIMIT_YAML_DEPTH)
        return 0;
    diag_error(l->diags, at, "nested deeper than %d levels", LIMIT_YAML_DEPTH);
    return -1;
}

/* Takes a child into the measures of a list or map. */
static void measure(struct built *parent, const struct built *child)
{
    parent->size += child->size;
    if (child->height >= parent->height)
        parent->height = child->height + 1;
}

static int define_anchor(struct loader *l, const char *name, struct built *node)
{
    if (strlen(name) > LIMIT_YAML_NAME) {
        diag_error(l->diags, node->node.at, "an anchor's name is longer than %d bytes",
                   LIMIT_YAML_NAME);
        return -1;
    }
    list_each (struct anchor, known, &l->anchors) {
        if (str_eq(known->name, name)) {
            known->node = node;
            return 0;
        }
    }
    if (l->anchors.n >= LIMIT_YAML_ANCHORS) {
        diag_error(l->diags, node->node.at, "more than %d anchors", LIMIT_YAML_ANCHORS);
        return -1;
    }
    struct anchor *added = list_push(l->arena, &l->anchors);
    added->name = arena_strdup(l->arena, name);
    added->node = node;
    return 0;
}

static struct built *new_node(struct loader *l, enum yml_type type, const yaml_mark_t *mark,
                              const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct place at = place_of(l, mark);
    if (count_nodes(l, at, 1) < 0)
        return NULL;
    /* %TAG can make a short tag expand to any length, again and again. */
    if (tag && strlen((const char *)tag) > LIMIT_YAML_NAME) {
        diag_error(l->diags, at, "a tag is longer than %d bytes", LIMIT_YAML_NAME);
        return NULL;
    }
    struct built *b = arena_alloc(l->arena, sizeof *b);
    b->node.type = type;
    b->node.at = at;
    b->node.tag = arena_strdup(l->arena, (const char *)tag);
    b->size = 1;
    b->height = type == YML_SCALAR ? 0 : 1;
    b->open = true;
    if (anchor && define_anchor(l, (const char *)anchor, b) < 0)
        return NULL;
    return b;
}

/* What stands in for a value that was reported, so that reading can go on. */
static struct built *new_broken(struct loader *l, struct place at)
{
    struct built *b = arena_alloc(l->arena, sizeof *b);
    b->node.at = at;
    b->node.text = "";
    b->node.plain = true;
    b->size = 1;
    b->broken = true;
    return b;
}

static struct built *load_alias(struct loader *l, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct place at = place_of(l, &event->start_mark);
    struct built *found = NULL;
    list_each (struct anchor, known, &l->anchors)
        if (str_eq(known->name, name))
            found = known->node;
    if (found && !found->open) {
        bool fits = check_depth(l, at, found->height) == 0 && count_nodes(l, at, found->size) == 0;
        return fits ? found : NULL;
    }
    if (found)
        diag_error(l->diags, at, "alias '*%.80s' stands inside its own anchor", name);
    else
        diag_error(l->diags, at, "no anchor '&%.80s' before this alias", name);
    return count_nodes(l, at, 1) < 0 ? NULL : new_broken(l, at);
}

static struct built *load_scalar(struct loader *l, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct built *b = new_node(l, YML_SCALAR, &event->start_mark, event->data.scalar.anchor,
                               event->data.scalar.tag);
    if (!b)
        return NULL;
    b->open = false;
    if (len > LIMIT_YAML_SCALAR) {
        diag_error(l->diags, b->node.at, "a text is longer than %zu bytes", LIMIT_YAML_SCALAR);
        b->broken = true;
        len = 0;
    } else if (memchr(text, '\0', len)) {
        diag_error(l->diags, b->node.at, "a text holds a NUL character");
        b->broken = true;
        len = 0;
    }
    b->node.text = arena_strndup(l->arena, text, len);
    b->node.len = len;
    b->node.plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                    !str_eq(b->node.tag, YAML_STR_TAG) && !str_eq(b->node.tag, "!");
    return b;
}

/* Reads the next node; *ended says that the collection's end came instead. NULL without it is a
 * reported error after which nothing more can be read. */
static struct built *load_next(struct loader *l, yaml_event_type_t end, bool *ended)
{
    yaml_event_t event;
    if (next_event(l, &event) < 0)
        return NULL;
    *ended = event.type == end;
    struct built *b = *ended ? NULL : load_node(l, &event);
    yaml_event_delete(&event);
    return b;
}

static struct built *load_sequence(struct loader *l, const yaml_event_t *event)
{
    struct built *b = new_node(l, YML_SEQ, &event->start_mark, event->data.sequence_start.anchor,
                               event->data.sequence_start.tag);
    if (!b)
        return NULL;
    node_list items = {0};
    for (;;) {
        bool ended = false;
        struct built *item = load_next(l, YAML_SEQUENCE_END_EVENT, &ended);
        if (ended)
            break;
        if (!item)
            return NULL;
        *list_push(l->arena, &items) = &item->node;
        measure(b, item);
    }
    b->node.items = items.at;
    b->node.n = items.n;
    b->open = false;
    return b;
}

static bool is_merge_key(const struct yml_node *key)
{
    return key->plain && !key->tag && str_eq(key->text, "<<");
}

static void add_merged_map(struct loader *l, const struct yml_node *map, pair_list *merged)
{
    if (built_of(map)->broken)
        return;
    if (map->type != YML_MAP) {
        diag_error(l->diags, map->at, "'<<' takes a map or a list of maps");
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        struct yml_pair *pair = list_push(l->arena, merged);
        *pair = map->pairs[i];
        pair->merged = true;
    }
}

static void add_merged(struct loader *l, const struct yml_node *value, pair_list *merged)
{
    if (value->type != YML_SEQ) {
        add_merged_map(l, value, merged);
        return;
    }
    for (size_t i = 0; i < value->n; i++)
        add_merged_map(l, value->items[i], merged);
}

static int compare_keys(const void *left, const void *right)
{
    const struct yml_pair *a = *(const struct yml_pair *const *)left;
    const struct yml_pair *b = *(const struct yml_pair *const *)right;
    int order = strcmp(a->key->text, b->key->text);
    return order ? order : a < b ? -1 : a > b;
}

static void report_duplicate(struct loader *l, const struct yml_node *first,
                             const struct yml_node *again)
{
    const char *hint = is_merge_key(again) ? "; write <<: [*one, *other]" : "";
    diag_error(l->diags, again->at, "key '%.80s' is here twice, first at line %u, column %u%s",
               again->text, first->at.line, first->at.column, hint);
}

/* Keeps the first pair of each key: local ones come before merged ones, and the first of merged
 * maps wins. Sorting keeps this cheap for a map with very many keys. */
static void settle_pairs(struct loader *l, struct built *map, pair_list *all)
{
    size_t n = all->n;
    if (n == 0)
        return;
    const struct yml_pair **sorted = arena_alloc(l->arena, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &all->at[i];
    qsort(sorted, n, sizeof *sorted, compare_keys);
    bool *dropped = arena_alloc(l->arena, n);
    const struct yml_pair *first = sorted[0];
    for (size_t i = 1; i < n; i++) {
        const struct yml_pair *pair = sorted[i];
        if (!str_eq(pair->key->text, first->key->text)) {
            first = pair;
            continue;
        }
        bool replaces = l->like_python && !pair->merged;
        dropped[(replaces ? first : pair) - all->at] = true;
        if (replaces)
            first = pair;
        else if (!pair->merged)
            report_duplicate(l, first->key, pair->key);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!dropped[i] && (all->at[i].merged || !is_merge_key(all->at[i].key)))
            all->at[kept++] = all->at[i];
    map->node.pairs = all->at;
    map->node.n = kept;
}

/* Reads one key and its value. 1: there was one, 0: the map ended, -1: stop. */
static int load_pair(struct loader *l, struct built *map, pair_list *pairs)
{
    bool ended = false;
    const struct built *key = load_next(l, YAML_MAPPING_END_EVENT, &ended);
    if (ended)
        return 0;
    if (!key)
        return -1;
    const struct built *value = load_next(l, YAML_NO_EVENT, &ended);
    if (!value)
        return -1;
    measure(map, key);
    measure(map, value);
    if (key->node.type != YML_SCALAR) {
        diag_error(l->diags, key->node.at, "a key must be a text, not a list or a map");
        return 1;
    }
    if (key->broken)
        return 1;
    struct yml_pair *pair = list_push(l->arena, pairs);
    pair->key = &key->node;
    pair->value = &value->node;
    return 1;
}

static struct built *load_map(struct loader *l, const yaml_event_t *event)
{
    struct built *b = new_node(l, YML_MAP, &event->start_mark, event->data.mapping_start.anchor,
                               event->data.mapping_start.tag);
    if (!b)
        return NULL;
    pair_list pairs = {0}, merged = {0};
    int more;
    while ((more = load_pair(l, b, &pairs)) > 0)
        ;
    if (more < 0)
        return NULL;
    /* The first of merged maps wins, so the last `<<` comes first. */
    for (size_t i = pairs.n; i > 0; i--)
        if (is_merge_key(pairs.at[i - 1].key))
            add_merged(l, pairs.at[i - 1].value, &merged);
    list_each (struct yml_pair, pair, &merged)
        *list_push(l->arena, &pairs) = *pair;
    settle_pairs(l, b, &pairs);
    b->open = false;
    return b;
}

static struct built *load_node(struct loader *l, const yaml_event_t *event)
{
    if (event->type == YAML_ALIAS_EVENT)
        return load_alias(l, event);
    if (event->type == YAML_SCALAR_EVENT)
        return load_scalar(l, event);
    if (check_depth(l, place_of(l, &event->start_mark), 1) < 0)
        return NULL;
    l->depth++;
    struct built *b =
        event->type == YAML_SEQUENCE_START_EVENT ? load_sequence(l, event) : load_map(l, event);
    l->depth--;
    return b;
}

/* Reads one event and says of what type it was; YAML_NO_EVENT after an error. */
static yaml_event_type_t skip_event(struct loader *l, struct place *at)
{
    yaml_event_t event;
    if (next_event(l, &event) < 0)
        return YAML_NO_EVENT;
    yaml_event_type_t type = event.type;
    *at = place_of(l, &event.start_mark);
    yaml_event_delete(&event);
    return type;
}

static const struct yml_node *load_document(struct loader *l)
{
    struct place at = {l->file, 1, 1};
    bool ended = false;
    if (skip_event(l, &at) != YAML_STREAM_START_EVENT)
        return NULL;
    yaml_event_type_t type = skip_event(l, &at);
    if (type == YAML_STREAM_END_EVENT && l->like_python)
        return &new_broken(l, (struct place){l->file, 1, 1})->node;
    if (type == YAML_STREAM_END_EVENT)
        diag_error(l->diags, (struct place){l->file, 0, 0}, "the file is empty");
    if (type != YAML_DOCUMENT_START_EVENT)
        return NULL;
    const struct built *root = load_next(l, YAML_NO_EVENT, &ended);
    if (!root || skip_event(l, &at) != YAML_DOCUMENT_END_EVENT)
        return NULL;
    type = skip_event(l, &at);
    if (type == YAML_DOCUMENT_START_EVENT)
        diag_error(l->diags, at, "a second document; only one is read");
    return type == YAML_STREAM_END_EVENT ? &root->node : NULL;
}

static const struct yml_node *parse(const char *file, const void *text, size_t len,
                                    bool like_python, struct diags *diags)
{
    static const char mark[] = "\xEF\xBB\xBF";
    if (len > LIMIT_YAML_BYTES) {
        diag_error(diags, (struct place){file, 0, 0}, "the file is longer than %zu bytes",
                   LIMIT_YAML_BYTES);
        return NULL;
    }
    /* A list of its own, so that what diags already holds does not count. */
    struct diags found = {.arena = diags->arena};
    struct loader l = {.file = file, .text = len ? text : "", .len = len};
    l.like_python = like_python;
    l.diags = &found;
    l.arena = diags->arena;
    /* libyaml would count a byte order mark as a column. */
    if (len >= sizeof mark - 1 && memcmp(text, mark, sizeof mark - 1) == 0) {
        l.text += sizeof mark - 1;
        l.len -= sizeof mark - 1;
    }
    if (!yaml_parser_initialize(&l.parser))
        abort();
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)l.text, l.len);
    const struct yml_node *root = load_document(&l);
    yaml_parser_delete(&l.parser);
    diag_append(diags, &found);
    return found.errors ? NULL : root;
}

const struct yml_node *yml_parse(const char *file, const void *text, size_t len,
                                 struct diags *diags)
{
    return parse(file, text, len, false, diags);
}

const struct yml_node *yml_parse_last(const char *file, const void *text, size_t len,
                                      struct diags *diags)
{
    return parse(file, text, len, true, diags);
}
