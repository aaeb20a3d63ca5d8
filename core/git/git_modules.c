#include "core/git/git_modules.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/git/git_argv.h"

static struct git_module *module_named(struct arena *a, struct git_modules *list, const char *name)
{
    list_each (struct git_module, m, list)
        if (str_eq(m->name, name))
            return m;
    struct git_module *added = list_push(a, list);
    added->name = name;
    return added;
}

/* "submodule.<name>.path\n<value>"; a name may hold dots. */
static void read_setting(struct arena *a, const char *item, size_t len, struct git_modules *list)
{
    const char *text = arena_strndup(a, item, len);
    const char *value = strchr(text, '\n');
    const char *name = str_after(text, "submodule.");
    if (!name || !value)
        return;
    const char *key = memrchr(name, '.', (size_t)(value - name));
    if (!key)
        return;
    const char *what = arena_strndup(a, key + 1, (size_t)(value - key - 1));
    if (!str_eq(what, "path") && !str_eq(what, "url"))
        return;
    struct git_module *m = module_named(a, list, arena_strndup(a, name, (size_t)(key - name)));
    if (str_eq(what, "path"))
        m->path = value + 1;
    else
        m->url = value + 1;
}

int git_modules_read(struct arena *a, const char *text, size_t len, struct git_modules *out,
                     struct err *err)
{
    struct git_modules all = {0};
    *out = (struct git_modules){0};
    for (size_t at = 0; at < len;) {
        size_t part = strnlen(text + at, len - at);
        read_setting(a, text + at, part, &all);
        if (all.n > LIMIT_SUBMODULES)
            return err_set(err, ERR_PERM, 0, "more than %d submodules", LIMIT_SUBMODULES);
        at += part + 1;
    }
    list_each (struct git_module, m, &all) {
        if (!m->path || !m->url)
            continue;
        if (git_check_path(m->path, NULL) < 0)
            return err_set(err, ERR_PERM, 0,
                           "submodule '%.100s': its path is not one inside the "
                           "repository",
                           str_printable(a, m->name));
        *list_push(a, out) = *m;
    }
    return 0;
}

void git_modules_set_commits(struct arena *a, struct git_modules *modules, const char *text,
                             size_t len)
{
    static const char gitlink[] = "160000 ";
    for (size_t at = 0; at < len;) {
        size_t part = strnlen(text + at, len - at);
        const char *entry = arena_strndup(a, text + at, part);
        const char *object = str_after(entry, gitlink);
        const char *tab = object ? strchr(object, '\t') : NULL;
        at += part + 1;
        if (!tab)
            continue;
        list_each (struct git_module, m, modules)
            if (str_eq(m->path, tab + 1))
                m->commit = arena_strndup(a, object, (size_t)(tab - object));
    }
}

/* The length of "scheme://authority", 0 where there is none. */
static size_t origin_len(const char *url)
{
    const char *rest = strstr(url, "://");
    return rest ? (size_t)(rest + 3 - url) + strcspn(rest + 3, "/") : 0;
}

/* Takes "./" and "../" off the front, and parts off the base for the latter, as git does. NULL when
 * there are more of them than the base has parts. */
static const char *resolve(struct arena *a, const char *base, const char *relative)
{
    size_t least = origin_len(base), len = strlen(base);
    while (len > least && base[len - 1] == '/')
        len--;
    for (;;) {
        if (str_starts(relative, "./")) {
            relative += 2;
        } else if (str_starts(relative, "../")) {
            relative += 3;
            while (len > least && base[len - 1] != '/')
                len--;
            if (len <= least)
                return NULL;
            while (len > least && base[len - 1] == '/')
                len--;
        } else {
            return arena_printf(a, "%.*s/%s", (int)len, base, relative);
        }
    }
}

/* No part of the path may climb: the server would resolve it after we have compared. */
static bool climbs(const char *path)
{
    for (const char *part = path;;) {
        size_t len = strcspn(part, "/");
        if (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.')))
            return true;
        if (!part[len])
            return false;
        part += len + 1;
    }
}

static bool same_place(const char *remote, const char *url)
{
    size_t len = origin_len(remote);
    if (!len || origin_len(url) != len || strncasecmp(remote, url, len) != 0 || climbs(url + len))
        return false;
    if (!str_starts(remote, "file://"))
        return true;
    size_t end = strlen(remote);
    while (end > len && remote[end - 1] == '/')
        end--;
    while (end > len && remote[end - 1] != '/')
        end--;
    return strncmp(remote, url, end) == 0;
}

int git_module_url(struct arena *a, const char *remote, const struct git_module *module,
                   const char **url, struct err *err)
{
    const char *full = !module->url ? NULL
                       : str_starts(module->url, "./") || str_starts(module->url, "../")
                           ? resolve(a, remote, module->url)
                           : module->url;
    if (full && git_check_url(full, NULL) == 0 && !strstr(full, "%2e") && !strstr(full, "%2E") &&
        same_place(remote, full)) {
        *url = full;
        return 0;
    }
    /* A URL of a stranger may hold a password of theirs. */
    const char *said = module->url ? module->url : "";
    const char *at = strrchr(said, '@');
    return err_set(err, ERR_PERM, 0,
                   "submodule '%.100s' comes from %s%.200s: only those from %.*s are followed",
                   str_printable(a, module->name), at ? "...@" : "",
                   str_printable(a, at ? at + 1 : said), (int)origin_len(remote), remote);
}
