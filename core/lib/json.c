#include "core/lib/json.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <jansson.h>

/* struct js is json_t under another name, so that no header of ours shows jansson. */
static json_t *unwrap(const struct js *v)
{
    return (json_t *)(uintptr_t)v;
}

static struct js *wrap(json_t *v)
{
    return (struct js *)v;
}

struct place_in_text {
    size_t line;
    size_t column;
};

static struct place_in_text place_of(const char *text, size_t offset)
{
    struct place_in_text place = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

/* jansson recurses into nested values and its own bound (2048) is too generous for a thread's
 * stack, so depth is counted before it sees the text; and so are values, since each costs a hundred
 * times the bytes of its text. Unbalanced text is left to its parser. */
static int js_check_limits(const char *text, size_t len, size_t most, struct err *err)
{
    size_t depth = 0, values = 1;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH) {
                struct place_in_text at = place_of(text, i);
                return err_set(err, ERR_INPUT, 0,
                               "line %zu, column %zu: nested deeper than %d levels", at.line,
                               at.column, LIMIT_JSON_DEPTH);
            }
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        }
        values += !in_string && (c == '[' || c == '{' || c == ',');
        if (values > most)
            return err_set(err, ERR_INPUT, 0, "more than %zu values", most);
    }
    return 0;
}

/* jansson quotes what it read "near": bytes from a stranger, which a one-line message must not
 * carry raw. */
static void plain_text(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == '\x7f')
            *s = ' ';
}

struct js *js_parse(const void *text, size_t len, struct err *err)
{
    return js_parse_within(text, len, LIMIT_JSON_VALUES, err);
}

struct js *js_parse_within(const void *text, size_t len, size_t values, struct err *err)
{
    if (len == 0) {
        (void)err_set(err, ERR_INPUT, 0, "line 1, column 1: empty text, JSON is expected");
        return NULL;
    }
    if (js_check_limits(text, len, values, err) < 0)
        return NULL;
    json_error_t why;
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (v)
        return wrap(v);
    plain_text(why.text);
    if (why.line > 0)
        (void)err_set(err, ERR_INPUT, 0, "line %d, column %d: %s", why.line,
                      why.column > 0 ? why.column : 1, why.text);
    else
        (void)err_set(err, ERR_INPUT, 0, "line 1, column 1: %s", why.text);
    return NULL;
}

void js_free(struct js *v)
{
    json_decref(unwrap(v));
}

const struct js *js_get(const struct js *v, const char *path)
{
    const json_t *at = unwrap(v);
    while (at && *path) {
        size_t len = strcspn(path, ".");
        at = json_object_getn(at, path, len);
        path += len;
        if (*path == '.')
            path++;
    }
    return wrap(unwrap((const struct js *)at));
}

const char *js_str(const struct js *v, const char *path)
{
    return json_string_value(unwrap(js_get(v, path)));
}

int64_t js_int(const struct js *v, const char *path, int64_t otherwise)
{
    const json_t *found = unwrap(js_get(v, path));
    return json_is_integer(found) ? (int64_t)json_integer_value(found) : otherwise;
}

bool js_bool(const struct js *v, const char *path)
{
    return json_is_true(unwrap(js_get(v, path)));
}

const char *js_text(const struct js *v, const char *path, struct arena *a)
{
    const json_t *found = unwrap(js_get(v, path));
    if (json_is_integer(found))
        return arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(found));
    return json_string_value(found);
}

bool js_is_object(const struct js *v)
{
    return json_is_object(unwrap(v));
}

bool js_is_array(const struct js *v)
{
    return json_is_array(unwrap(v));
}

bool js_is_null(const struct js *v)
{
    return json_is_null(unwrap(v));
}

size_t js_len(const struct js *v)
{
    return json_array_size(unwrap(v));
}

const struct js *js_at(const struct js *v, size_t i)
{
    return wrap(json_array_get(unwrap(v), i));
}

size_t js_keys(const struct js *v, struct arena *a, struct str_list *keys)
{
    json_t *object = unwrap(v);
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        *list_push(a, keys) = json_object_iter_key(at);
    return json_object_size(object);
}

/* Building fails only without memory, or when a text is not UTF-8; the first aborts like any other
 * allocation, the second never gets this far: texts are mended. */
static json_t *js_require(json_t *v)
{
    if (!v) {
        (void)fputs("slipway: out of memory in JSON\n", stderr);
        abort();
    }
    return v;
}

static void js_require_ok(int rc)
{
    if (rc < 0)
        (void)js_require(NULL);
}

/* Replaces each malformed byte by '?': a log line or an error text from elsewhere must not make a
 * report fail. */
static char *utf8_mended(const char *s)
{
    char *mended = xstrdup(s);
    for (char *p = mended; *p;) {
        size_t n = str_utf8(p);
        if (n == 0)
            *p = '?';
        p += n ? n : 1;
    }
    return mended;
}

static json_t *js_string(const char *s)
{
    json_t *v = json_string(s);
    if (v)
        return v;
    CLEANUP(cleanup_free) char *mended = utf8_mended(s);
    return js_require(json_string(mended));
}

struct js *js_object(void)
{
    return wrap(js_require(json_object()));
}

struct js *js_array(void)
{
    return wrap(js_require(json_array()));
}

void js_put(struct js *object, const char *key, struct js *child)
{
    if (!child)
        return;
    CLEANUP(cleanup_free) char *mended = utf8_mended(key);
    js_require_ok(json_object_set_new(unwrap(object), mended, unwrap(child)));
}

void js_put_str(struct js *object, const char *key, const char *value)
{
    if (value)
        js_put(object, key, wrap(js_string(value)));
}

void js_put_int(struct js *object, const char *key, int64_t value)
{
    js_put(object, key, wrap(js_require(json_integer(value))));
}

void js_put_bool(struct js *object, const char *key, bool value)
{
    js_put(object, key, wrap(js_require(json_boolean(value))));
}

void js_push(struct js *array, struct js *child)
{
    if (child)
        js_require_ok(json_array_append_new(unwrap(array), unwrap(child)));
}

void js_push_str(struct js *array, const char *value)
{
    if (value)
        js_push(array, wrap(js_string(value)));
}

static char *js_write(const struct js *v, size_t flags, struct arena *a)
{
    CLEANUP(cleanup_free) char *text = json_dumps(unwrap(v), flags | JSON_ENCODE_ANY);
    if (!text)
        (void)js_require(NULL);
    return arena_strdup(a, text);
}

char *js_dump(const struct js *v, struct arena *a)
{
    return js_write(v, JSON_COMPACT, a);
}

/* People read it on terminals, which obey more control characters than JSON escapes: outside of
 * strings there are none of these. */
char *js_pretty(const struct js *v, struct arena *a)
{
    char *text = js_write(v, JSON_INDENT(2), a);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(6 * strlen(text) + 1);
    for (const char *p = text; *p; p++) {
        size_t n = *p == '\n' ? 0 : str_control(p);
        if (n == 0)
            (void)strbuf_addch(&out, *p);
        else
            (void)strbuf_addf(&out, "\\u%04x", (unsigned char)p[n - 1]);
        p += n ? n - 1 : 0;
    }
    return strbuf_to_arena(&out, a);
}

const struct js *js_member(const struct js *object, const char *name)
{
    return wrap(json_object_get(unwrap(object), name));
}

const char *js_member_str(const struct js *object, const char *name)
{
    return json_string_value(json_object_get(unwrap(object), name));
}
