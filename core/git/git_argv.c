#include "core/git/git_argv.h"

#include "core/base/limits.h"
#include "core/base/str.h"

static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "-._~";

/* The authority: host, optional user before '@', optional port. */
static bool authority_ok(const char *s, size_t len, bool may_be_empty, bool user_allowed)
{
    const char *at = memrchr(s, '@', len);
    if (at) {
        size_t user = (size_t)(at - s);
        if (!user_allowed || !user || *s == '-' || strspn(s, unreserved) != user)
            return false;
        len -= user + 1;
        s = at + 1;
    }
    if (!len)
        return may_be_empty && !at;
    for (size_t i = 0; i < len; i++)
        if (!strchr(unreserved, s[i]) && !strchr("[]:", s[i]))
            return false;
    return *s != '-' && *s != ':';
}

int git_check_url(const char *url, struct err *err)
{
    static const struct {
        const char *scheme;
        bool has_user;
        bool may_lack_host;
    } schemes[] = {
        {"https://", false, false},
        {"http://", false, false},
        {"ssh://", true, false},
        {"file://", false, true},
    };
    for (size_t i = 0; url && i < ARRAY_LEN(schemes); i++) {
        const char *rest = str_after(url, schemes[i].scheme);
        if (!rest)
            continue;
        size_t len = strcspn(rest, "/");
        if (!schemes[i].has_user && memchr(rest, '@', len))
            return err_set(err, ERR_CONFIG, 0,
                           "a %s URL of a git repository must not hold a user or password; "
                           "write them as username and password",
                           schemes[i].scheme);
        if (!authority_ok(rest, len, schemes[i].may_lack_host, schemes[i].has_user))
            return err_set(err, ERR_CONFIG, 0, "git URL: bad host, user or port");
        const char *path = rest + len;
        if (!*path)
            return err_set(err, ERR_CONFIG, 0, "git URL: no path behind the host");
        for (; *path; path++)
            if (!strchr(unreserved, *path) && !strchr("/%:@!$&'()*+,;=", *path))
                return err_set(err, ERR_CONFIG, 0,
                               "git URL: a character in its path must be percent-encoded");
        return 0;
    }
    return err_set(err, ERR_CONFIG, 0,
                   "git URL: must start with https://, http://, ssh:// or file://");
}

int git_check_object(const char *object, struct err *err)
{
    if (str_is_hex(object, 40) || str_is_hex(object, 64))
        return 0;
    return err_set(err, ERR_INPUT, 0,
                   "not a full commit id: wanted 40 or 64 digits of lower-case hex");
}

static bool ref_part_ok(const char *part, size_t len)
{
    return len && part[0] != '.' && !(len >= 5 && memcmp(part + len - 5, ".lock", 5) == 0);
}

static bool ref_ok(const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (!len || len > LIMIT_REF || *name == '-' || name[len - 1] == '.' || str_eq(name, "@") ||
        strstr(name, "..") || strstr(name, "@{"))
        return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127 || strchr("~^:?*[\\", *p))
            return false;
    for (const char *part = name;;) {
        size_t part_len = strcspn(part, "/");
        if (!ref_part_ok(part, part_len))
            return false;
        if (!part[part_len])
            return true;
        part += part_len + 1;
    }
}

int git_check_ref(const char *what, const char *name, struct err *err)
{
    return ref_ok(name) ? 0 : err_set(err, ERR_INPUT, 0, "not a legal name of a git %s", what);
}

int git_check_path(const char *path, struct err *err)
{
    size_t len = path ? strlen(path) : 0;
    bool ok = len && len <= LIMIT_GIT_PATH;
    for (const char *p = path; ok && *p; p++)
        ok = (unsigned char)*p >= ' ' && *p != 127;
    for (const char *part = path; ok;) {
        size_t part_len = strcspn(part, "/");
        ok = part_len && !(part[0] == '.' && (part_len == 1 || (part_len == 2 && part[1] == '.')));
        if (!part[part_len])
            break;
        part += part_len + 1;
    }
    return ok ? 0
              : err_set(err, ERR_INPUT, 0,
                        "not a path inside a repository: wanted a relative path without \"..\"");
}

const char *git_url_origin(struct arena *a, const char *url)
{
    const char *rest = str_after(url, "https://");
    if (!rest)
        rest = str_after(url, "http://");
    if (!rest)
        return NULL;
    return arena_printf(a, "%.*s/", (int)(rest - url) + (int)strcspn(rest, "/"), url);
}

/* The URL has passed git_check_url, so that it needs no escapes inside the quotes. */
const char *git_repo_config(struct arena *a, const char *url, bool sha256)
{
    return arena_printf(a,
                        "[core]\n\trepositoryformatversion = %d\n\tbare = true\n"
                        "%s"
                        "[remote \"origin\"]\n\turl = \"%s\"\n",
                        sha256, sha256 ? "[extensions]\n\tobjectformat = sha256\n" : "", url);
}

void git_auth_config(struct strbuf *out, const char *origin, const char *basic)
{
    (void)strbuf_addf(out, "[http \"%s\"]\n\textraHeader = \"Authorization: Basic %s\"\n", origin,
                      basic);
}

static const char *filter_name(enum git_filter filter)
{
    static const char *const names[] = {
        [GIT_FILTER_BLOBS] = "blob:none",
        [GIT_FILTER_LARGE_BLOBS] = "blob:limit=64k",
        [GIT_FILTER_TREES] = "tree:0",
    };
    return names[filter];
}

static void push(struct arena *a, struct str_list *argv, const char *arg)
{
    *list_push(a, argv) = arg;
}

static void push_config(struct arena *a, struct str_list *argv, const char *setting)
{
    push(a, argv, "-c");
    push(a, argv, setting);
}

void git_argv_start(struct arena *a, struct str_list *argv, const struct git_call *call)
{
    /* Redirects are off because a header of ours would travel with them; a cache need not outlive
     * a power cut, and a broken one is thrown away. */
    static const char *const settings[] = {
        "core.hooksPath=/dev/null",
        "core.askPass=",
        "credential.helper=",
        "gc.auto=0",
        "core.fsync=none",
        "maintenance.auto=false",
        "protocol.version=2",
        "safe.directory=*",
        "http.followRedirects=false",
    };
    push(a, argv, "git");
    push(a, argv, arena_printf(a, "--git-dir=%s", call->git_dir));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        push_config(a, argv, settings[i]);
    if (call->ca_file)
        push_config(a, argv, arena_printf(a, "http.sslCAInfo=%s", call->ca_file));
    if (call->auth_fd > 0)
        push_config(a, argv, arena_printf(a, "include.path=/proc/self/fd/%d", call->auth_fd));
    if (call->filter != GIT_FILTER_NONE) {
        push_config(a, argv, "remote.origin.promisor=true");
        push_config(
            a, argv,
            arena_printf(a, "remote.origin.partialCloneFilter=%s", filter_name(call->filter)));
    }
}

struct str_list git_argv_fetch(struct arena *a, const struct git_call *call, bool depth_one,
                               bool prune, const struct str_list *refspecs)
{
    static const char *const options[] = {
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
        "--no-show-forced-updates",
    };
    struct str_list argv = {0};
    git_argv_start(a, &argv, call);
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        push(a, &argv, options[i]);
    if (depth_one)
        push(a, &argv, "--depth=1");
    if (prune)
        push(a, &argv, "--prune");
    if (call->filter != GIT_FILTER_NONE)
        push(a, &argv, arena_printf(a, "--filter=%s", filter_name(call->filter)));
    push(a, &argv, "--end-of-options");
    push(a, &argv, "origin");
    for (size_t i = 0; i < refspecs->n; i++)
        push(a, &argv, refspecs->at[i]);
    return argv;
}

const char *const *git_argv_end(struct arena *a, struct str_list *argv)
{
    push(a, argv, NULL);
    return argv->at;
}

const char *const *git_env(struct arena *a, const char *path, const char *cache_dir)
{
    static const char *const fixed[] = {
        "LC_ALL=C",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_ATTR_NOSYSTEM=1",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ALLOW_PROTOCOL=https:http:ssh:file",
        "GIT_PROTOCOL_FROM_USER=0",
        "GIT_OPTIONAL_LOCKS=0",
        "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=10",
        "GIT_SSH_VARIANT=ssh",
    };
    struct str_list env = {0};
    push(a, &env, arena_printf(a, "PATH=%s", str_empty(path) ? "/usr/bin:/bin" : path));
    push(a, &env, arena_printf(a, "HOME=%s/no-home", cache_dir));
    /* A file and not only -c: the upload-pack that serves a file:// URL drops what -c says. */
    push(a, &env, arena_printf(a, "GIT_CONFIG_GLOBAL=%s/gitconfig", cache_dir));
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        push(a, &env, fixed[i]);
    push(a, &env, NULL);
    return env.at;
}
