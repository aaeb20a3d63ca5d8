#include "core/forge/payload.h"

#include "core/base/str.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define FORM_FIELD "payload"

static bool is_form(const struct http_req *req)
{
    const char *type = http_header(&req->headers, "Content-Type");
    char bare[sizeof FORM_TYPE];
    size_t len = type ? strcspn(type, "; \t") : 0;
    if (len == 0 || len >= sizeof bare)
        return false;
    memcpy(bare, type, len);
    bare[len] = '\0';
    return str_caseeq(bare, FORM_TYPE);
}

/* No signature covers the Content-Type. Were the field looked for anywhere, whoever may choose a
 * title in a signed JSON body could write a payload of his own into it and call the body a form. */
static struct js *parse_form(const struct http_req *req, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *form = arena_strndup(&a, req->body, req->body_len);
    bool is_whole = strlen(form) == req->body_len && str_starts(form, FORM_FIELD "=");
    const char *payload = is_whole ? http_query_param(&a, form, FORM_FIELD) : NULL;
    if (!payload) {
        (void)err_set(err, ERR_INPUT, 0, "the form does not begin with the field \"payload\"");
        return NULL;
    }
    return js_parse(payload, strlen(payload), err);
}

struct js *payload_json(const struct http_req *req, struct err *err)
{
    CLEANUP_JS struct js *v = NULL;
    if (!req->body || req->body_len == 0) {
        (void)err_set(err, ERR_INPUT, 0, "the body is empty");
        return NULL;
    }
    v = is_form(req) ? parse_form(req, err) : js_parse(req->body, req->body_len, err);
    if (!v) {
        (void)err_wrap(err, "the body is malformed");
        return NULL;
    }
    if (!js_is_object(v)) {
        (void)err_set(err, ERR_INPUT, 0, "the body is malformed: it is no JSON object");
        return NULL;
    }
    return STEAL(v);
}

const char *payload_text(const struct js *v, const char *path, struct arena *a)
{
    const char *text = js_text(v, path, a);
    return str_empty(text) ? NULL : arena_strdup(a, text);
}

const char *payload_need(const struct js *v, const char *path, struct arena *a, struct err *err)
{
    const char *text = payload_text(v, path, a);
    if (!text)
        (void)err_set(err, ERR_INPUT, 0, "the field \"%s\" is missing, empty or no text", path);
    return text;
}

const char *payload_url(const struct js *v, const char *path, struct arena *a)
{
    const char *url = payload_text(v, path, a);
    return url && event_url_ok(url) ? url : NULL;
}

int64_t payload_time(const struct js *v, const char *path)
{
    int64_t seconds = 0;
    const char *text = js_str(v, path);
    if (!text)
        seconds = js_int(v, path, 0);
    else if (!str_from_rfc3339(text, &seconds))
        seconds = 0;
    return seconds > 0 ? seconds : 0;
}

int payload_add(struct event_list *events, const struct event *e, struct arena *a, struct err *err)
{
    if (event_validate(e, err) != 0)
        return -1;
    *list_push(a, events) = *e;
    return 0;
}
