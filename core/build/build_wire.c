#include "core/build/build_wire.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/json.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Bytes of the character at p; 0: malformed; -1: well-formed so far, but there are too few. */
static int character(const unsigned char *p, size_t len)
{
    if (p[0] < 0x80)
        return p[0] ? 1 : 0;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    int n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    for (int i = 1; i < n; i++) {
        if ((size_t)i == len)
            return -1;
        unsigned char least = 0x80, most = 0xBF;
        if (i == 1) {
            least = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : least;
            most = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : most;
        }
        if (p[i] < least || p[i] > most)
            return 0;
    }
    return n;
}

static void add_character(const char *p, int n, struct strbuf *out)
{
    unsigned char c = (unsigned char)*p;
    if (n == 0)
        (void)strbuf_addstr(out, REPLACEMENT);
    else if (c == '\n')
        (void)strbuf_addstr(out, "\\n");
    else if (c == '"' || c == '\\')
        (void)strbuf_addf(out, "\\%c", c);
    else if (c < ' ' || c == 127)
        (void)strbuf_addf(out, "\\u%04x", c);
    else
        (void)strbuf_add(out, p, (size_t)n);
}

static void begin(struct strbuf *out)
{
    (void)strbuf_addstr(out, "{\"log\": \"");
}

static void end(struct strbuf *out)
{
    (void)strbuf_addstr(out, "\"}\n");
}

/* Adds characters, and returns how many bytes are left for later: the beginning of one. */
static size_t add_text(const char *text, size_t len, struct strbuf *out)
{
    while (len) {
        int n = character((const unsigned char *)text, len);
        if (n < 0)
            break;
        add_character(text, n, out);
        text += n ? n : 1;
        len -= n ? (size_t)n : 1;
    }
    return len;
}

/* Completes the held beginning of a character, or finds that it is none. Returns how many bytes of
 * text went into it. */
static size_t use_held(struct wire_log *w, const char *text, size_t len, struct strbuf *out)
{
    char joined[sizeof w->held];
    size_t had = w->n, more = sizeof joined - had < len ? sizeof joined - had : len;
    memcpy(joined, w->held, had);
    memcpy(joined + had, text, more);
    int n = character((const unsigned char *)joined, had + more);
    w->n = 0;
    if (n > 0) {
        add_character(joined, n, out);
        return (size_t)n - had;
    }
    if (n < 0) {
        memcpy(w->held, joined, had + more);
        w->n = had + more;
        return more;
    }
    /* Behind the first byte are such as no character begins with. */
    for (size_t i = 0; i < had; i++)
        add_character(joined, 0, out);
    return 0;
}

void wire_log(struct wire_log *w, const char *text, size_t len, struct strbuf *out)
{
    size_t before = out->len;
    begin(out);
    size_t start = out->len;
    if (w->n) {
        size_t used = use_held(w, text, len, out);
        text += used;
        len -= used;
    }
    size_t left = add_text(text, len, out);
    if (left) {
        memcpy(w->held, text + len - left, left);
        w->n = left;
    }
    if (out->len > start) {
        end(out);
        return;
    }
    out->len = before;
    out->buf[before] = '\0';
}

void wire_log_end(struct wire_log *w, struct strbuf *out)
{
    if (!w->n)
        return;
    begin(out);
    (void)strbuf_addstr(out, REPLACEMENT);
    end(out);
    w->n = 0;
}

static const char *result_line(struct js *result, struct arena *a)
{
    struct js *line CLEANUP_JS = js_object();
    js_put(line, "result", result);
    return arena_printf(a, "%s\n", js_dump(line, a));
}

const char *wire_result(const struct build_layouts *layouts, struct arena *a)
{
    struct js *result = js_object(), *list = js_array();
    list_each (const struct build_layout, l, layouts) {
        struct js *one = js_object();
        js_put_str(one, "name", l->name);
        js_put_str(one, "platform", l->platform);
        js_put_str(one, "path", l->path);
        js_push(list, one);
    }
    js_put(result, "layouts", list);
    return result_line(result, a);
}

const char *wire_failure(const struct err *failure, struct arena *a)
{
    struct js *result = js_object(), *error = js_object();
    js_put_str(error, "kind", err_kind_name(failure->kind));
    js_put_int(error, "code", failure->code);
    js_put_str(error, "text", failure->text);
    js_put(result, "error", error);
    return result_line(result, a);
}

static int not_ours(struct err *err)
{
    return err_set(err, ERR_INPUT, 0, "a line that is neither a log nor a result");
}

static int read_failure(const struct js *error, struct arena *a, struct err *out, struct err *err)
{
    const char *kind = js_member_str(error, "kind"), *text = js_member_str(error, "text");
    int64_t code = js_int(error, "code", 0);
    if (!kind || !text || code < INT32_MIN || code > INT32_MAX)
        return not_ours(err);
    for (int k = ERR_TEMP; k < ERR__MAX; k++)
        if (str_eq(err_kind_name((enum err_kind)k), kind)) {
            (void)err_set(out, (enum err_kind)k, (int)code, "%s", str_printable(a, text));
            return 0;
        }
    return not_ours(err);
}

static int read_layouts(const struct js *list, struct arena *a, struct build_layouts *out,
                        struct err *err)
{
    for (size_t i = 0; i < js_len(list); i++) {
        const struct js *one = js_at(list, i);
        const char *name = js_member_str(one, "name"), *path = js_member_str(one, "path");
        if (!name || !path)
            return not_ours(err);
        *list_push(a, out) =
            (struct build_layout){.name = arena_strdup(a, name),
                                  .platform = arena_strdup(a, js_member_str(one, "platform")),
                                  .path = arena_strdup(a, path)};
    }
    return 0;
}

int wire_read(const char *line, size_t len, struct arena *a, struct wire_line *out, struct err *err)
{
    *out = (struct wire_line){0};
    struct js *v CLEANUP_JS = js_parse(line, len, err);
    if (!v)
        return -1;
    const char *log = js_member_str(v, "log");
    if (log) {
        *out = (struct wire_line){
            .kind = WIRE_LOG, .log = arena_strdup(a, log), .log_len = strlen(log)};
        return 0;
    }
    const struct js *result = js_member(v, "result");
    const struct js *error = js_member(result, "error");
    if (error) {
        out->kind = WIRE_FAILURE;
        return read_failure(error, a, &out->failure, err);
    }
    const struct js *layouts = js_member(result, "layouts");
    if (!js_is_array(layouts))
        return not_ours(err);
    out->kind = WIRE_RESULT;
    return read_layouts(layouts, a, &out->layouts, err);
}
