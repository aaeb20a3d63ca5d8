#include "core/engine/building.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/ask.h"
#include "core/engine/building_spec.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/lock.h"
#include "core/registry/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_DIGITS = 32, SWEEP_AFTER_S = 86400, LOGS_KEPT_S = 7 * 86400 };

#define DEFAULT_DIR "/var/lib/slipway/builds"

/* One run, and where its things are. */
struct building {
    const struct engine *engine;
    const struct event *event;
    const struct plan *plan;
    const struct building_opts *opts;
    struct arena *arena;
    const char *dir; /* of the key */
    struct build_spec spec;
    const char *identity;
    int log;
    int64_t log_left;
    const struct policy_project *policy;
};

static const char *dir_of(const struct build_conf *conf)
{
    return conf && conf->dir ? conf->dir : DEFAULT_DIR;
}

static const char *base_dir(const struct engine *e)
{
    return dir_of(e->build);
}

static const char *key_name(const char *key, struct arena *a)
{
    char hash[CRYPT_SHA256_HEX];
    crypt_sha256_hex(key, strlen(key), hash);
    return arena_strndup(a, hash, KEY_DIGITS);
}

static const char *key_dir(const struct engine *e, const char *key, struct arena *a)
{
    return arena_printf(a, "%s/%s", base_dir(e), key_name(key, a));
}

static const char *part_of(const struct building *b, const char *name)
{
    return arena_printf(b->arena, "%s/%s", b->dir, name);
}

/* A builder of another user shares our group, which the set-group-id bit hands down. Where it has
 * done so already, nothing is said again: a service may be forbidden to set that bit. */
static int make_shared(const char *path, mode_t mode, struct err *err)
{
    struct stat st;
    mode |= S_ISGID;
    if ((mkdir(path, mode & 0777) < 0 && errno != EEXIST) || stat(path, &st) < 0)
        return err_errno(err, ERR_CONFIG, errno, "make directory %s", path);
    if ((st.st_mode & mode) != mode && chmod(path, mode) < 0)
        return err_errno(err, ERR_CONFIG, errno, "mode of %s", path);
    return 0;
}

static bool is_installed(const char *program)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *path = getenv("PATH");
    struct str_list dirs = str_split(&a, path ? path : "/usr/local/bin:/usr/bin:/bin", ':');
    for (size_t i = 0; i < dirs.n; i++)
        if (*dirs.at[i] && access(arena_printf(&a, "%s/%s", dirs.at[i], program), X_OK) == 0)
            return true;
    return false;
}

/* What lies in the source, in a text that is the same only for the same. A working tree of
 * somebody else's may change at any time. */
static const char *source_text(const struct building *b)
{
    struct building_wants wants = building_wants(b->plan);
    if (b->opts->source)
        return "";
    return arena_printf(b->arena, "%s %s%s%s", b->event->project, b->event->list_commit,
                        wants.submodules ? " with submodules" : "", wants.lfs ? " with lfs" : "");
}

static int make_spec(struct building *b, const struct policy_project *policy, struct err *err)
{
    const struct engine *e = b->engine;
    bool siblings = building_siblings(b->plan, b->arena).n > 0;
    struct building_input in = {
        .event = b->event,
        .plan = b->plan,
        .policy = policy,
        .conf = e->build,
        .source = b->opts->source ? b->opts->source : part_of(b, "src"),
        .out = part_of(b, "out"),
        .siblings = !siblings           ? NULL
                    : b->opts->siblings ? b->opts->siblings
                                        : part_of(b, "siblings"),
        .usual = is_installed("podman") ? BUILD_PODMAN : BUILD_BUILDAH,
    };
    if (e->registry)
        in.insecure = registry_plain_hosts(e->registry, b->arena);
    if (building_spec(&in, b->arena, &b->spec, err) < 0)
        return -1;
    b->identity = building_identity(&b->spec, source_text(b), b->arena);
    return 0;
}

/* Is what a former run left of the same spec? */
static bool is_same(const struct building *b)
{
    struct strbuf kept CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BUILD_SPEC * 2);
    return !b->opts->source && fs_read_file(part_of(b, "spec.json"), &kept, NULL) == 0 &&
           str_eq(kept.buf, b->identity);
}

static int start_afresh(const struct building *b, struct err *err)
{
    static const char *const parts[] = {"spec.json", "out", "src",  "src.part",
                                        "siblings",  "log", "roots"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (fs_remove_tree(part_of(b, parts[i]), err) < 0)
            return -1;
    return 0;
}

static int make_place(const struct building *b, struct err *err)
{
    bool same = is_same(b);
    if (make_shared(b->dir, 0750, err) < 0 || (!same && start_afresh(b, err) < 0) ||
        make_shared(part_of(b, "out"), 0770, err) < 0)
        return -1;
    /* The sweep goes by this. */
    (void)utimensat(AT_FDCWD, b->dir, NULL, 0);
    return same ? 0
                : fs_replace_file(part_of(b, "spec.json"), b->identity, strlen(b->identity), 0640,
                                  err);
}

/* ---- sources --------------------------------------------------------------------------------- */

/* Checks out beside the place and renames: what is at the place is whole. */
static int check_out(const struct building *b, const struct git_remote *r,
                     const struct git_checkout *what, struct err *err)
{
    struct git_checkout beside = *what;
    beside.dir = part_of(b, "src.part");
    if (fs_remove_tree(beside.dir, err) < 0 || git_checkout(b->engine->git, r, &beside, err) < 0)
        return -1;
    return rename(beside.dir, what->dir) < 0
               ? err_errno(err, ERR_PERM, errno, "rename to %s", what->dir)
               : 0;
}

/* Whoever proposes a change says which submodules it has, and the account that fetches them may
 * read more than they may. */
static bool may_take_in(const struct building *b, const char *project)
{
    return str_eq(project, b->event->project) ||
           (b->policy && policy_matches(&b->policy->sources, project, false));
}

static bool may_fetch(void *user, const char *url)
{
    const struct building *b = user;
    const struct forge_conf *conf = engine_forge(b->engine, b->event->forge);
    const char *project = conf ? forge_git_project(conf, url, b->arena) : NULL;
    return project && may_take_in(b, project);
}

/* Servers keep objects for a while that no ref names any more. */
static int check_tag(const struct building *b, const struct git_remote *r, struct err *err)
{
    const struct event *e = b->event;
    const char *commit;
    if (e->kind != EVENT_TAG || !e->tag)
        return 0;
    if (git_resolve_tag(b->engine->git, r, e->tag, b->arena, &commit, err) < 0)
        return -1;
    if (!commit)
        return err_set(err, ERR_PERM, ENOENT, "tag '%s' is not in %s any more: nothing was built",
                       e->tag, e->project);
    return str_eq(commit, e->list_commit)
               ? 0
               : err_set(err, ERR_PERM, ESTALE, "tag '%s' of %s is at commit %s by now, not at %s",
                         e->tag, e->project, commit, e->list_commit);
}

static int get_source(const struct building *b, struct err *err)
{
    struct building_wants wants = building_wants(b->plan);
    const struct event *e = b->event;
    struct git_remote remote;
    if (b->opts->source)
        return 0;
    if (!e->list_commit)
        return err_set(err, ERR_BUG, 0, "there is no commit to build");
    if (ask_remote(b->engine, e->forge, e->project, b->arena, &remote, err) < 0 ||
        check_tag(b, &remote, err) < 0)
        return -1;
    if (fs_exists(b->spec.source))
        return 0;
    const struct forge_conf *conf = engine_forge(b->engine, e->forge);
    struct git_checkout what = {
        .commit = e->list_commit,
        .ref = building_ref(e, conf->type, b->arena),
        .dir = b->spec.source,
        .submodules = wants.submodules,
        .lfs = wants.lfs,
        .may_fetch = may_fetch,
        .user = (void *)(uintptr_t)b,
    };
    return check_out(b, &remote, &what, err) < 0 ? err_wrap(err, "check out %s", e->project) : 0;
}

static int get_sibling(const struct building *b, const char *name, struct err *err)
{
    const struct engine *e = b->engine;
    const char *place = arena_printf(b->arena, "%s/%s", b->spec.siblings, name);
    if (fs_exists(place))
        return 0;
    const struct forge_conf *conf = engine_forge(e, b->event->forge);
    if (!conf)
        return err_set(err, ERR_CONFIG, 0, "nobody knows where it is: forge '%s' is not configured",
                       b->event->forge ? b->event->forge : "");
    const char *project = building_sibling_project(name, conf->url, b->arena);
    if (!event_project_ok(project) || !may_take_in(b, project))
        return err_set(err, ERR_PERM, 0,
                       "the operator's policy does not let builds of %s take in '%s' (`sources`)",
                       b->event->project, project);
    struct git_remote remote;
    const char *branch, *commit = NULL;
    if (ask_remote(e, conf->name, project, b->arena, &remote, err) < 0 ||
        git_default_branch(e->git, &remote, b->arena, &branch, err) < 0 ||
        (branch && git_resolve_branch(e->git, &remote, branch, b->arena, &commit, err) < 0))
        return -1;
    if (!commit)
        return err_set(err, ERR_PERM, ENOENT, "%s has no default branch", project);
    struct git_checkout what = {
        .commit = commit, .ref = arena_printf(b->arena, "refs/heads/%s", branch), .dir = place};
    return fs_mkdirs(fs_dirname(b->arena, place), 0755, err) < 0
               ? -1
               : check_out(b, &remote, &what, err);
}

/* One would lie in the other's folder. */
static int check_nested(const struct str_list *names, struct err *err)
{
    for (size_t i = 0; i < names->n; i++)
        for (size_t k = 0; k < names->n; k++) {
            const char *rest = str_after(names->at[k], names->at[i]);
            if (rest && *rest == '/')
                return err_set(err, ERR_CONFIG, 0, "siblings %s and %s can't both be there",
                               names->at[i], names->at[k]);
        }
    return 0;
}

static int get_siblings(const struct building *b, struct err *err)
{
    struct str_list names = building_siblings(b->plan, b->arena);
    if (!names.n)
        return 0;
    if (b->opts->siblings)
        return 0;
    if (check_nested(&names, err) < 0 || make_shared(b->spec.siblings, 0750, err) < 0)
        return -1;
    for (size_t i = 0; i < names.n; i++)
        if (get_sibling(b, names.at[i], err) < 0)
            return err_wrap(err, "sibling %s", names.at[i]);
    return 0;
}

/* ---- the build ------------------------------------------------------------------------------- */

static void keep_log(void *user, const char *text, size_t len)
{
    struct building *b = user;
    size_t room = b->log_left < (int64_t)len ? (size_t)b->log_left : len;
    if (b->log >= 0 && room && fs_write_all(b->log, text, room, NULL) == 0)
        b->log_left -= (int64_t)room;
    if (b->opts->watch && b->opts->watch->log)
        b->opts->watch->log(b->opts->watch->user, text, len);
}

static int open_log(struct building *b, struct err *err)
{
    const char *path = part_of(b, "log");
    b->log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    b->log_left = (b->spec.log_max ? b->spec.log_max : (int64_t)LIMIT_BUILD_LOG) + MIB(1);
    return b->log < 0 ? err_errno(err, ERR_CONFIG, errno, "%s", path) : 0;
}

static const char *log_tail(const struct building *b)
{
    char text[LIMIT_BUILD_TAIL + 1];
    struct stat st;
    if (b->log < 0 || fstat(b->log, &st) < 0 || !st.st_size)
        return NULL;
    off_t from = st.st_size > (off_t)sizeof text ? st.st_size - (off_t)sizeof text : 0;
    ssize_t got = pread(b->log, text, sizeof text, from);
    return got > 0 ? building_tail(text, (size_t)got, b->arena) : NULL;
}

static int ask_builder(struct building *b, const char **tail, struct err *err)
{
    const struct build_conf *conf = b->engine->build;
    const struct build_peer peer = {
        .socket = conf->socket,
        .program = conf->program,
        .scratch = conf->scratch,
        .stop = b->engine->stop,
    };
    const struct build_watch watch = {.log = keep_log, .user = b, .scratch = conf->scratch};
    struct build_layouts layouts = {0};
    if (open_log(b, err) < 0)
        return -1;
    int rc = build_ask(&peer, &b->spec, &watch, b->arena, &layouts, err);
    if (rc < 0)
        *tail = log_tail(b);
    cleanup_fd(&b->log);
    return rc;
}

/* The layouts of an image, by where they have to be; false when one is not there. */
static bool find_layouts(const struct building *b, const struct build_image *image,
                         struct build_layouts *out)
{
    size_t n = image->platforms.n ? image->platforms.n : 1;
    for (size_t i = 0; i < n; i++) {
        const char *platform = image->platforms.n ? image->platforms.at[i] : NULL;
        const char *path = arena_printf(b->arena, "%s/%s", b->spec.out,
                                        build_layout_name(image->name, platform, b->arena));
        if (!fs_exists(arena_printf(b->arena, "%s/index.json", path)))
            return false;
        *list_push(b->arena, out) =
            (struct build_layout){.name = image->name, .platform = platform, .path = path};
    }
    return true;
}

/* Every layout by its name and root: what is kept lies where other builds' steps may write, should
 * they leave their root. */
static const char *roots_text(const struct building *b, struct built_list *list)
{
    const char *text = "";
    list_each (struct built, built, list)
        list_each (struct build_layout, l, &built->layouts) {
            struct err ignored = ERR_INIT;
            struct descriptor root = {0};
            bool absent = false;
            struct layout *layout = layout_open(l->path, false, &ignored);
            if (layout && layout_root(layout, NULL, b->arena, &root, &absent, &ignored) == 0)
                l->digest = root.digest;
            if (layout)
                layout_close(layout);
            text = arena_printf(b->arena, "%s%s %s\n", text, l->path, l->digest ? l->digest : "-");
        }
    return text;
}

static int remember_roots(const struct building *b, struct built_list *list, struct err *err)
{
    const char *text = roots_text(b, list);
    return fs_replace_file(part_of(b, "roots"), text, strlen(text), 0600, err);
}

static bool has_same_roots(const struct building *b, struct built_list *list)
{
    struct strbuf kept CLEANUP_STRBUF = STRBUF_INIT(KIB(64));
    return fs_read_file(part_of(b, "roots"), &kept, NULL) == 0 &&
           str_eq(kept.buf, roots_text(b, list));
}

static bool collect(const struct building *b, struct built_list *out)
{
    struct built_list all = {0};
    for (size_t i = 0; i < b->spec.images.n; i++) {
        struct built *built = list_push(b->arena, &all);
        built->image = b->plan->builds.at[i].image;
        if (!find_layouts(b, &b->spec.images.at[i], &built->layouts))
            return false;
    }
    *out = all;
    return true;
}

static int lock_base(const struct engine *e, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    int lock = lock_file_try(arena_printf(&a, "%s/.lock", base_dir(e)), err);
    if (lock < 0 && err->code == EWOULDBLOCK)
        (void)err_set(err, ERR_TEMP, EBUSY, BUILDING_BUSY);
    /* Whoever can open it can hold it, and no step is to hold up the builds after it. */
    if (lock >= 0)
        (void)fchmod(lock, 0600);
    return lock;
}

static int build(struct building *b, struct built_list *out, const char **tail, struct err *err)
{
    /* A retry that has to push only need not wait for another's build. */
    bool kept = is_same(b) && collect(b, out);
    if (kept && has_same_roots(b, out))
        return 0;
    int lock CLEANUP(cleanup_fd) = lock_base(b->engine, err);
    if (lock < 0 || (kept && start_afresh(b, err) < 0) || make_place(b, err) < 0 ||
        get_source(b, err) < 0 || get_siblings(b, err) < 0 || ask_builder(b, tail, err) < 0)
        return -1;
    if (!collect(b, out))
        return err_set(err, ERR_TEMP, EPROTO, "the builder is done, but not all layouts are there");
    return remember_roots(b, out, err);
}

int building_run(const struct engine *e, const struct event *event, const struct plan *plan,
                 const struct policy_project *policy, const struct building_opts *opts,
                 struct arena *a, struct built_list *out, const char **tail, struct err *err)
{
    *tail = NULL;
    *out = (struct built_list){0};
    if (!plan->builds.n)
        return 0;
    if (!e->build)
        return err_set(err, ERR_CONFIG, 0, "nothing can be built here: there is no `builder`");
    struct building b = {
        .engine = e,
        .event = event,
        .plan = plan,
        .opts = opts,
        .policy = policy,
        .arena = a,
        .dir = key_dir(e, opts->key, a),
        .log = -1,
    };
    if (!fs_exists(base_dir(e)) &&
        (fs_mkdirs(base_dir(e), 0755, err) < 0 || make_shared(base_dir(e), 0750, err) < 0))
        return -1;
    if (make_spec(&b, policy, err) < 0)
        return -1;
    return build(&b, out, tail, err);
}

bool building_is_busy(const struct engine *e)
{
    struct err err = ERR_INIT;
    if (!e->build || !fs_exists(base_dir(e)))
        return false;
    int lock CLEANUP(cleanup_fd) = lock_base(e, &err);
    return lock < 0 && err.code == EBUSY;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

#define LOGS "/.logs" /* beside the folders, for `work` and the operator alone */

static const char *kept_log(const struct build_conf *conf, const char *key, struct arena *a)
{
    return arena_printf(a, "%s" LOGS "/%s", dir_of(conf), key_name(key, a));
}

const char *building_log(const struct build_conf *conf, const char *key, struct arena *a)
{
    const char *live = arena_printf(a, "%s/%s/log", dir_of(conf), key_name(key, a));
    return fs_exists(live) ? live : kept_log(conf, key, a);
}

static void forget(const char *dir)
{
    struct err err = ERR_INIT;
    if (fs_remove_tree(dir, &err) < 0)
        log_warn("a build's folder could not be removed", "reason", err.text, NULL);
}

void building_forget(const struct engine *e, const char *key)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    const char *dir = e->build ? key_dir(e, key, &a) : NULL;
    if (!dir || !fs_exists(dir))
        return;
    const char *log = arena_printf(&a, "%s/log", dir);
    if (fs_exists(log) && (fs_mkdirs(arena_printf(&a, "%s" LOGS, base_dir(e)), 0700, &err) < 0 ||
                           rename(log, kept_log(e->build, key, &a)) < 0))
        log_warn("a build's log could not be kept", "file", log, NULL);
    forget(dir);
}

static void sweep_logs(const struct engine *e, struct arena *a)
{
    struct str_list names = {0};
    const char *dir = arena_printf(a, "%s" LOGS, base_dir(e));
    if (fs_list(dir, NULL, a, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(a, "%s/%s", dir, names.at[i]);
        struct stat st;
        if (lstat(path, &st) == 0 && st.st_mtime < clock_now_ms() / 1000 - LOGS_KEPT_S)
            (void)unlink(path);
    }
}

void building_sweep(const struct engine *e)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list names = {0};
    struct err err = ERR_INIT;
    if (!e->build || fs_list(base_dir(e), NULL, &a, &names, NULL) < 0)
        return;
    int lock CLEANUP(cleanup_fd) = lock_base(e, &err);
    if (lock < 0)
        return;
    int64_t oldest = clock_now_ms() / 1000 - SWEEP_AFTER_S;
    sweep_logs(e, &a);
    for (size_t i = 0; i < names.n; i++) {
        const char *dir = arena_printf(&a, "%s/%s", base_dir(e), names.at[i]);
        struct stat st;
        if (str_is_hex(names.at[i], KEY_DIGITS) && lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
            st.st_mtime < oldest)
            forget(dir);
    }
}
