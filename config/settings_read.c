#include "config/settings_read.h"

#include "config/secret.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/os/fs.h"

#include <sys/un.h>

const char *key_path(struct settings_load *l, const char *map, const char *entry, const char *key)
{
    return key ? arena_printf(l->arena, "%s.%s.%s", map, entry, key)
               : arena_printf(l->arena, "%s.%s", map, entry);
}

bool read_word(struct settings_load *l, const struct yml_node *n, const char *what,
               const char *const *words, size_t n_words, size_t *out)
{
    const char *text;
    if (!yml_want_str(n, what, true, &text, l->diags))
        return false;
    for (size_t i = 0; i < n_words; i++)
        if (str_eq(text, words[i])) {
            *out = i;
            return true;
        }
    struct strbuf list CLEANUP_STRBUF = STRBUF_INIT(512);
    for (size_t i = 0; i < n_words; i++)
        (void)strbuf_addf(&list, "%s%s", i ? ", " : "", words[i]);
    const char *near = str_nearest(text, words, n_words);
    diag_error(l->diags, n->at, "%s must be one of %s, not '%.80s'%s%s%s", what, list.buf, text,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return false;
}

bool read_seconds(struct settings_load *l, const struct yml_node *n, const char *what, int64_t min,
                  int64_t max, int64_t *out)
{
    const char *text;
    int64_t value;
    if (!yml_want_str(n, what, false, &text, l->diags))
        return false;
    if (str_to_seconds(text, &value) && value >= min && value <= max) {
        *out = value;
        return true;
    }
    diag_error(l->diags, n->at,
               "%s must be a time like 90s, 10m, 2h or 14d, from %llds to %lldd, not '%.40s'", what,
               (long long)min, (long long)max / 86400, text);
    return false;
}

bool read_bytes(struct settings_load *l, const struct yml_node *n, const char *what, size_t max,
                size_t *out)
{
    const char *text;
    if (!yml_want_str(n, what, false, &text, l->diags))
        return false;
    if (str_to_bytes(text, out) && *out > 0 && *out <= max)
        return true;
    diag_error(l->diags, n->at, "%s must be a size like 512K or 4M, at most %zuM, not '%.40s'",
               what, max >> 20, text);
    return false;
}

static bool has_odd_bytes(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 127 || *s == '\\')
            return true;
    return false;
}

/* What is wrong with an URL whose text behind the scheme is `rest`; NULL: nothing. The message
 * never repeats the URL, which may hold a password. */
static const char *url_wrong(struct arena *a, const char *rest, bool user_ok)
{
    const char *authority = arena_strndup(a, rest, strcspn(rest, "/?#"));
    const char *host = strrchr(authority, '@');
    if (host && !user_ok)
        return "must not hold a user name or password: they have keys of their own";
    if (host && memchr(authority, ':', (size_t)(host - authority)))
        return "must not hold a password";
    host = host ? host + 1 : authority;
    if (has_odd_bytes(rest))
        return "holds a blank or another character that an URL can't";
    if (!imageref_host_ok(host))
        return "has no host in it that can be used (lower-case letters, digits, dots, and a port)";
    if (strpbrk(rest, "?#"))
        return "must end with its path: no '?' and no '#'";
    return NULL;
}

static const char *without_slash(struct arena *a, const char *s)
{
    size_t len = strlen(s);
    while (len > 1 && s[len - 1] == '/')
        len--;
    return arena_strndup(a, s, len);
}

bool read_url(struct settings_load *l, const struct yml_node *n, const char *what, const char **out)
{
    const char *text;
    if (!yml_want_str(n, what, true, &text, l->diags))
        return false;
    const char *rest = str_after(text, "https://");
    if (!rest)
        rest = str_after(text, "http://");
    const char *wrong =
        rest ? url_wrong(l->arena, rest, false) : "must start with https:// or http://";
    if (wrong) {
        diag_error(l->diags, n->at, "%s %s", what, wrong);
        return false;
    }
    *out = without_slash(l->arena, text);
    return true;
}

bool read_git_url(struct settings_load *l, const struct yml_node *n, const char *what,
                  const char **out)
{
    const char *text;
    if (!yml_want_str(n, what, true, &text, l->diags))
        return false;
    const char *ssh = str_after(text, "ssh://");
    const char *file = str_after(text, "file:///");
    if (str_starts(text, "https://") || str_starts(text, "http://"))
        return read_url(l, n, what, out);
    const char *wrong = NULL;
    if (ssh)
        wrong = url_wrong(l->arena, ssh, true);
    else if (*text != '/' && !file)
        wrong = "must start with https://, ssh://, file:/// or '/'";
    else if (has_odd_bytes(text))
        wrong = "holds a blank or another odd character";
    if (!wrong && ssh && *ssh == '-')
        wrong = "has no host in it that can be used";
    if (wrong) {
        diag_error(l->diags, n->at, "%s %s", what, wrong);
        return false;
    }
    *out = without_slash(l->arena, text);
    return true;
}

static const char *folder_of(struct settings_load *l, const struct yml_node *n)
{
    return fs_dirname(l->arena, n->at.file);
}

bool read_path(struct settings_load *l, const struct yml_node *n, const char *what,
               const char **out)
{
    const char *text;
    if (!yml_want_str(n, what, true, &text, l->diags))
        return false;
    if (!*text) {
        diag_error(l->diags, n->at, "%s must be a path", what);
        return false;
    }
    *out = *text == '/' ? text : arena_printf(l->arena, "%s/%s", folder_of(l, n), text);
    return true;
}

bool read_socket(struct settings_load *l, const struct yml_node *n, const char *what,
                 const char **out)
{
    if (!read_path(l, n, what, out))
        return false;
    size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1, len = strlen(*out);
    if (len <= most)
        return true;
    diag_error(l->diags, n->at,
               "%s: the path of a socket can't be longer than %zu bytes, and this one is %zu", what,
               most, len);
    return false;
}

typedef int secret_read_fn(const char *ref, struct arena *a, const char **out, struct err *err);

static bool read_reference(struct settings_load *l, const struct yml_node *n, const char *what,
                           unsigned roles, secret_read_fn *read, const char **out)
{
    struct err err = ERR_INIT;
    const char *text, *ref;
    if (!n)
        return false;
    /* The usual reader's message would repeat what may be a secret. */
    if (n->type != YML_SCALAR) {
        diag_error(l->diags, n->at, "%s must be file:PATH, credential:NAME or env:NAME", what);
        return false;
    }
    text = n->text;
    if (secret_check(text, folder_of(l, n), l->arena, &ref, &err) < 0) {
        diag_error(l->diags, n->at, "%s: %s", what, err.text);
        return false;
    }
    *list_push(l->arena, &l->s->secrets) = (struct settings_secret){what, ref};
    if (!(l->roles & roles))
        return true;
    if (read(ref, l->arena, out, &err) == 0)
        return true;
    diag_error(l->diags, n->at, "%s: %s", what, err.text);
    return false;
}

bool read_secret(struct settings_load *l, const struct yml_node *n, const char *what,
                 unsigned roles, const char **out)
{
    return read_reference(l, n, what, roles, secret_read, out);
}

bool read_secret_text(struct settings_load *l, const struct yml_node *n, const char *what,
                      unsigned roles, const char **out)
{
    return read_reference(l, n, what, roles, secret_read_text, out);
}

bool read_each(struct settings_load *l, const struct yml_node *n, const char *what,
               bool (*fn)(struct settings_load *l, const struct yml_node *item, void *to), void *to)
{
    if (!n)
        return false;
    if (n->type == YML_SCALAR && !yml_is_null(n))
        return fn(l, n, to);
    if (!yml_want_seq(n, what, l->diags))
        return false;
    bool ok = true;
    for (size_t i = 0; i < n->n; i++)
        ok = fn(l, n->items[i], to) && ok;
    return ok;
}

struct patterns_to {
    const char *what;
    struct pattern_list *list;
};

static bool read_pattern(struct settings_load *l, const struct yml_node *item, void *to)
{
    struct patterns_to *p = to;
    struct err err = ERR_INIT;
    const char *text;
    if (!yml_want_str(item, p->what, true, &text, l->diags))
        return false;
    struct pattern *pattern = pattern_compile(text, &err);
    if (!pattern) {
        diag_error(l->diags, item->at, "%s: %s", p->what, err.text);
        return false;
    }
    *list_push(l->arena, p->list) = pattern;
    return true;
}

bool read_patterns(struct settings_load *l, const struct yml_node *n, const char *what,
                   bool may_be_empty, struct pattern_list *out)
{
    struct patterns_to to = {what, out};
    if (n && n->type == YML_SEQ && !n->n && !may_be_empty) {
        diag_error(l->diags, n->at,
                   "%s is empty, which would let nothing through: leave it out for everything",
                   what);
        return false;
    }
    return read_each(l, n, what, read_pattern, &to);
}

bool url_is_exposed(const char *url)
{
    const char *host = url ? str_after(url, "http://") : NULL;
    return host && !str_starts(host, "localhost") && !str_starts(host, "127.") &&
           !str_starts(host, "[::1]");
}
