#include "cgi/copy_print.h"

#include "cgi/command.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"

#include <errno.h>
#include <inttypes.h>

const char *copy_end(const struct endpoint *e, const char *ref, struct arena *a)
{
    if (e->layout)
        return arena_printf(a, "oci:%s%s%s", layout_path(e->layout), ref ? ":" : "",
                            ref ? ref : "");
    const char *mark = !ref ? "" : imageref_digest_ok(ref) ? "@" : ":";
    return arena_printf(a, "%s/%s%s%s", e->host, e->name, mark, ref ? ref : "");
}

const char *copy_source(const struct copy *c, struct arena *a)
{
    return copy_end(&c->from, c->from_ref, a);
}

const char *copy_target(const struct copy *c, struct arena *a)
{
    const char *text = NULL;
    for (size_t i = 0; i < c->to_tags.n; i++) {
        const char *one = copy_end(&c->to, c->to_tags.at[i], a);
        text = text ? arena_printf(a, "%s, %s", text, one) : one;
    }
    return text ? text : copy_end(&c->to, c->digest, a);
}

const char *copy_state(const struct copy *c)
{
    return c->failed ? "failed" : c->same ? "same" : c->dry_run ? "would-copy" : "copied";
}

const char *bytes_text(int64_t bytes, struct arena *a)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024)
        return arena_printf(a, "%" PRId64 " B", bytes);
    for (; n >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        n /= 1024;
    return arena_printf(a, "%.1f %s", n, units[unit]);
}

/* The text after "name: ", NULL when it does not begin so. */
static const char *after_name(const char *text, const char *name, size_t len)
{
    return strncmp(text, name, len) == 0 && str_starts(text + len, ": ") ? text + len + 2 : NULL;
}

static const char *flag_for(const char *text)
{
    static const struct {
        const char *says;
        const char *flag;
    } flags[] = {
        {"say so with plain_http", "--plain-http HOST"},
        {"leave plain_http out", "--plain-http"},
        {"certificate in ca_file", "--ca-file FILE"},
        {"no credentials are configured for that registry", "--auth-file FILE"},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strstr(text, flags[i].says) && !strstr(text, flags[i].flag))
            return flags[i].flag;
    return NULL;
}

const char *copy_reason(const char *text, const char *shown, const char *host, struct arena *a)
{
    const char *rest, *colon;
    while (shown && (rest = after_name(text, shown, strlen(shown))) && host && strstr(rest, host))
        text = rest;
    while ((colon = strstr(text, ": ")) && colon > text &&
           (rest = after_name(colon + 2, text, (size_t)(colon - text))))
        text = colon + 2;
    const char *flag = flag_for(text);
    return flag ? arena_printf(a, "%s (here: %s)", text, flag) : text;
}

/* What failed stands before the text already. */
static const char *reason_of(const struct copy *c, struct arena *a)
{
    const char *text = copy_reason(c->err.text, copy_target(c, a), c->to.host, a);
    return copy_reason(text, copy_source(c, a), c->from.host, a);
}

const char *copy_line(const struct copy *c, struct arena *a)
{
    const char *ends = arena_printf(a, "%s -> %s", copy_source(c, a), copy_target(c, a));
    if (c->failed)
        return str_printable(
            a, arena_printf(a, STATE_COLUMN "%s: %s", "failed", ends, reason_of(c, a)));
    if (c->same)
        return arena_printf(a, STATE_COLUMN "%s", "same", ends);
    const char *mounted =
        c->blobs_mounted ? arena_printf(a, ", %zu mounted", c->blobs_mounted) : "";
    const char *more =
        c->companions ? arena_printf(a, ", %zu signatures and referrers", c->companions) : "";
    return arena_printf(a, STATE_COLUMN "%s  %s in %zu of %zu blobs%s%s", copy_state(c), ends,
                        bytes_text(c->bytes_moved, a), c->blobs_moved, c->blobs, mounted, more);
}

/* The source shows another digest than was asked for: no waiting mends that. */
static bool is_unexpected(const struct copy *c)
{
    return c->expected && c->err.code == ESTALE;
}

struct js *copy_json(const struct copy *c, struct arena *a)
{
    struct js *o = js_object(), *targets = js_array(), *notes = js_array();
    for (size_t i = 0; i < c->to_tags.n; i++)
        js_push_str(targets, copy_end(&c->to, c->to_tags.at[i], a));
    if (!c->to_tags.n)
        js_push_str(targets, copy_end(&c->to, c->digest, a));
    for (size_t i = 0; i < c->notes.n; i++)
        js_push_str(notes, c->notes.at[i]);
    js_put_str(o, "source", copy_source(c, a));
    js_put(o, "targets", targets);
    js_put_str(o, "state", copy_state(c));
    js_put_str(o, "digest", c->digest);
    js_put_str(o, "media_type", c->media_type);
    js_put_int(o, "bytes_total", c->bytes_total);
    js_put_int(o, "bytes_moved", c->bytes_moved);
    js_put_int(o, "blobs", (int64_t)c->blobs);
    js_put_int(o, "blobs_moved", (int64_t)c->blobs_moved);
    js_put_int(o, "blobs_mounted", (int64_t)c->blobs_mounted);
    js_put_int(o, "manifests_put", (int64_t)c->manifests_put);
    js_put_int(o, "companions", (int64_t)c->companions);
    js_put(o, "notes", notes);
    if (c->failed) {
        js_put_str(o, "reason", reason_of(c, a));
        js_put_bool(o, "temporary", c->err.kind == ERR_TEMP && !is_unexpected(c));
        js_put_bool(o, "absent", c->absent);
    }
    return o;
}

/* What one failure means; of several the first that a caller could not mend by waiting counts. */
static int exit_code_of(const struct copy *c)
{
    if (!c->failed)
        return EXIT_DONE;
    if (c->absent)
        return EXIT_NOT_FOUND;
    if (c->err.code == 401 || c->err.code == 403)
        return EXIT_DENIED;
    if (is_unexpected(c))
        return EXIT_FAILED;
    return c->err.kind == ERR_TEMP     ? EXIT_TRY_LATER
           : c->err.kind == ERR_CONFIG ? EXIT_USAGE
                                       : EXIT_FAILED;
}

int copy_exit_code(const struct copy *copies, size_t n)
{
    int code = EXIT_DONE;
    for (size_t i = 0; i < n; i++) {
        int one = exit_code_of(&copies[i]);
        if (one != EXIT_DONE && (code == EXIT_DONE || code == EXIT_TRY_LATER))
            code = one;
    }
    return code;
}
