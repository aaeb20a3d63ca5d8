#include "core/build/build_scene.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROBE_MS 30000
#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const packages[] = {
    [BUILD_PODMAN] = "podman", [BUILD_BUILDAH] = "buildah", [BUILD_DOCKER] = "docker.io"};

/* What a step started in the background ends with the first process of its namespace, and mounts
 * with theirs. A step sees no other process of the machine, which chroot alone would show it. */
#define APART "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"
static const char *const as_root[] = {"unshare", APART, "--", NULL};
static const char *const as_user[] = {"unshare", "--user", "--map-root-user", "--map-auto", APART,
                                      "--",      NULL};
static const char *const as_user_only[] = {"unshare",    "--user", "--map-root-user",
                                           "--map-auto", "--",     NULL};

static bool in_path(const char *path, const char *program)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct str_list folders = str_split(&a, path, ':');
    for (size_t i = 0; i < folders.n; i++) {
        const char *file = arena_printf(&a, "%s/%s", folders.at[i], program);
        struct stat st;
        if (*folders.at[i] == '/' && stat(file, &st) == 0 && S_ISREG(st.st_mode) &&
            access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static int find_tool(const struct build_scene *s, struct err *err)
{
    const char *tool = build_tool_name(s->spec->tool);
    if (in_path(s->place.path, tool))
        return 0;
    return err_set(err, ERR_CONFIG, ENOENT,
                   "%s is not installed on the builder's machine (Debian's package: %s)", tool,
                   packages[s->spec->tool]);
}

static int put_file(const struct build_scene *s, const char *name, const char *text,
                    const char **path, struct err *err)
{
    const char *file = arena_printf(s->a, "%s/%s", s->place.home, name);
    /* Nobody else reads it: one of them holds credentials. */
    int fd CLEANUP(cleanup_fd) = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", file);
    if (path)
        *path = file;
    return fs_write_all(fd, text, strlen(text), err);
}

static int put_home(struct build_scene *s, struct err *err)
{
    static const char *const folders[] = {"tmp", "run", "config", "data", "cache", "none", "login"};
    s->place.home = arena_printf(s->a, "%s/home", s->room.path);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        if (fs_mkdirs(arena_printf(s->a, "%s/%s", s->place.home, folders[i]), 0700, err) < 0)
            return -1;
    /* The flags say otherwise for each store; podman wants them here too. */
    const char *storage = arena_printf(s->a,
                                       "[storage]\ndriver = \"vfs\"\nrunroot = \"%s/none/run\"\n"
                                       "graphroot = \"%s/none/store\"\n",
                                       s->place.home, s->place.home);
    /* podman's usual locks are one shared memory for all of a machine's root users, and our user is
     * root within its namespace. */
    if (put_file(s, "policy.json", "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n",
                 &s->place.policy, err) < 0 ||
        put_file(s, BUILD_CONTAINERS_CONF,
                 "[engine]\nevents_logger = \"none\"\nlock_type = \"file\"\n", NULL, err) < 0 ||
        put_file(s, BUILD_STORAGE_CONF, storage, NULL, err) < 0 ||
        put_file(s, "registries.conf", "", &s->place.registries_conf, err) < 0)
        return -1;
    /* Also when it holds nothing: without the file the tools look for one of the user's. */
    return put_file(s, "login/config.json", s->spec->pull ? s->spec->pull : "{\"auths\":{}}\n",
                    &s->place.auth_file, err);
}

static bool runs(const struct build_scene *s, struct str_list argv)
{
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    *list_push(s->a, &argv) = NULL;
    const struct proc_opts opts = {.argv = argv.at, .env = s->env, .timeout_ms = PROBE_MS};
    return proc_run(&opts, &r, NULL) == 0 && r.status == 0;
}

static struct str_list copy_list(const char *const *words, struct arena *a)
{
    struct str_list list = {0};
    for (size_t i = 0; words[i]; i++)
        *list_push(a, &list) = words[i];
    return list;
}

/* Within the namespaces. */
static bool runs_apart(const struct build_scene *s, const char *const *words, size_t n)
{
    struct str_list argv = copy_list(geteuid() ? as_user : as_root, s->a);
    for (size_t i = 0; i < n; i++)
        *list_push(s->a, &argv) = words[i];
    return runs(s, argv);
}

/* Can a store of that kind be where ours is? The tools take the kernel's word for it, which has not
 * seen the file system; on another overlay their first mount fails. */
static bool can_overlay(const struct build_scene *s)
{
    const char *const mount[] = {
        "sh",
        "-c",
        "mkdir -p \"$1\" && cd \"$1\" && mkdir lower upper work all && "
        "mount -t overlay -o \"lowerdir=lower,upperdir=upper,workdir=work$2\" overlay all",
        "sh",
        arena_printf(s->a, "%s/probe/mount", s->room.path),
        geteuid() ? ",userxattr" : "",
    };
    /* Whatever opens a store; `info` would ask dpkg for the versions of everything. */
    const char *const look[] = {
        build_tool_name(s->spec->tool),
        "--storage-driver=overlay",
        arena_printf(s->a, "--root=%s/probe/store", s->room.path),
        arena_printf(s->a, "--runroot=%s/p", s->run),
        "images",
        "-q",
    };
    return runs_apart(s, mount, ARRAY_LEN(mount)) && runs_apart(s, look, ARRAY_LEN(look));
}

/* A step that has left its root is where the tool is: that sees the folders of its own job, and in
 * the place of the others' an empty one. -c: the folder is covered by then, its name means another.
 */
#define HIDE                                                                                       \
    "exec 9<\"$1\" && mount -t tmpfs -o mode=0755 none \"$2\" && mkdir \"$1\" && "                 \
    "mount -c --bind /proc/self/fd/9 \"$1\" && exec 9<&- || exit 125; shift 2; exec \"$@\""

/* Below the folder, but not in the one of it that is kept. */
static bool is_hidden(const char *path, const char *base, const char *own)
{
    const char *in_base = path ? str_after(path, base) : NULL;
    const char *in_own = path ? str_after(path, own) : NULL;
    return in_base && (*in_base == '/' || !*in_base) && !(in_own && (*in_own == '/' || !*in_own));
}

/* Jobs have their folders side by side; where anything else of ours lies among them, all stays in
 * sight. */
static void hide_others(struct build_scene *s)
{
    const char *own = fs_dirname(s->a, s->spec->out), *base = fs_dirname(s->a, own);
    const char *const ours[] = {s->spec->source, s->spec->siblings, s->room.path, s->run};
    const char *const hide[] = {"sh", "-c", HIDE, "sh", own, base};
    const char *const probe[] = {"sh", "-c", HIDE, "sh", own, base, "true"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (is_hidden(ours[i], base, own))
            return;
    if (str_eq(base, "/") || !runs_apart(s, probe, ARRAY_LEN(probe)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(hide); i++)
        *list_push(s->a, &s->place.wrap) = hide[i];
}

/* The namespaces, and the store that copies least, as far as the kernel grants them. */
static void choose(struct build_scene *s)
{
    static const char *const nothing[] = {"true"};
    s->place.driver = "vfs";
    if (s->spec->tool == BUILD_DOCKER || !runs_apart(s, nothing, 1))
        return;
    s->place.wrap = copy_list(geteuid() ? as_user : as_root, s->a);
    hide_others(s);
    /* Without them a killed builder would leave the mounts that overlay makes. */
    if (can_overlay(s))
        s->place.driver = "overlay";
}

/* podman takes no longer path than this for its run folder. */
#define RUN_LONGEST 50

#define APART_DIR "/tmp"
#define APART_NAME "slipway-run-"
#define OWNER "room" /* a link in it, to the room that it belongs to */

/* What killed builds left: their rooms have been removed by now. */
static void sweep_apart(struct build_scene *s)
{
    struct str_list names = {0};
    if (fs_list(APART_DIR, NULL, s->a, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(s->a, APART_DIR "/%s", names.at[i]);
        const char *owner = arena_printf(s->a, "%s/" OWNER, path);
        struct stat st;
        if (str_starts(names.at[i], APART_NAME) && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
            st.st_uid == geteuid() && lstat(owner, &st) == 0 && stat(owner, &st) < 0 &&
            errno == ENOENT)
            (void)fs_remove_tree(path, NULL);
    }
}

static int choose_run(struct build_scene *s, struct err *err)
{
    char apart[] = APART_DIR "/" APART_NAME "XXXXXX";
    s->run = arena_printf(s->a, "%s/run", s->room.path);
    if (s->spec->tool != BUILD_PODMAN || strlen(s->run) + strlen("/999") <= RUN_LONGEST)
        return 0;
    sweep_apart(s);
    if (!mkdtemp(apart) || symlink(s->room.path, arena_printf(s->a, "%s/" OWNER, apart)) < 0)
        return err_errno(err, ERR_CONFIG, errno, "a folder below " APART_DIR);
    s->run = s->run_apart = arena_strdup(s->a, apart);
    return 0;
}

static const char *run_of_store(struct build_scene *s, const char *store)
{
    size_t i = 0;
    while (i < s->stores.n && !str_eq(s->stores.at[i], store))
        i++;
    if (i == s->stores.n)
        *list_push(s->a, &s->stores) = store;
    return arena_printf(s->a, "%s/%zu", s->run, i);
}

int build_scene_open(struct build_scene *s, const struct build_spec *spec, const char *scratch,
                     struct arena *a, struct err *err)
{
    const char *path = getenv("PATH");
    *s = (struct build_scene){.spec = spec, .a = a, .room = {.fd = -1}};
    s->place.path = str_empty(path) ? USUAL_PATH : arena_strdup(a, path);
    s->place.isolation = spec->isolation ? spec->isolation : "chroot";
    if (find_tool(s, err) < 0 || build_room_open(&s->room, scratch, a, err) < 0 ||
        choose_run(s, err) < 0 || put_home(s, err) < 0 ||
        build_environment(spec, &s->place, a, &s->env, err) < 0)
        return -1;
    choose(s);
    return 0;
}

int build_scene_close(struct build_scene *s, struct err *err)
{
    int rc = s->run_apart ? fs_remove_tree(s->run_apart, err) : 0;
    return build_room_close(&s->room, err) < 0 ? -1 : rc;
}

static const char *native_platform(struct arena *a)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"},          {"armv6l", "arm/v6"},
        {"i686", "386"},     {"i386", "386"},      {"loongarch64", "loong64"},
    };
    struct utsname here;
    if (uname(&here) < 0)
        return "linux/unknown";
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(here.machine, names[i][0]))
            return arena_printf(a, "linux/%s", names[i][1]);
    return arena_printf(a, "linux/%s", here.machine);
}

const char *build_store_name(const char *platform, struct arena *a)
{
    /* The variant that is meant where none is said. */
    static const char *const usual[] = {"/arm64/v8", "/amd64/v1", "/arm/v7"};
    char *name = arena_strdup(a, platform ? platform : native_platform(a));
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (str_ends(name, usual[i]))
            *strrchr(name, '/') = '\0';
    return build_layout_name("store", name, a) + strlen("store-");
}

static bool is_in_store(const struct build_image *image, const char *store, struct arena *a)
{
    for (size_t i = 0; i < image->platforms.n; i++)
        if (str_eq(build_store_name(image->platforms.at[i], a), store))
            return true;
    return !image->platforms.n && str_eq(build_store_name(NULL, a), store);
}

static void block_refs(const struct build_image *image, struct arena *a, struct strbuf *out)
{
    for (size_t i = 0; i < image->refs.n; i++) {
        struct imageref ref;
        if (imageref_parse(image->refs.at[i], NULL, a, &ref, NULL) < 0)
            continue;
        const char *name = imageref_repository(&ref, a);
        char *entry CLEANUP(cleanup_free) = xasprintf("prefix = \"%s\"\n", name);
        if (!strstr(out->buf, entry))
            (void)strbuf_addf(out, "[[registry]]\n%slocation = \"%s\"\nblocked = true\n", entry,
                              name);
    }
}

int build_scene_turn(struct build_scene *s, const struct build_image *image, const char *platform,
                     struct err *err)
{
    struct strbuf conf CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BUILD_SPEC);
    const char *store = build_store_name(platform, s->a);
    s->place.store = arena_printf(s->a, "%s/store/%s", s->room.path, store);
    s->place.run = run_of_store(s, store);
    (void)strbuf_addstr(&conf, "unqualified-search-registries = [\"docker.io\"]\n"
                               "short-name-mode = \"disabled\"\n");
    for (size_t i = 0; i < s->spec->insecure.n; i++)
        (void)strbuf_addf(&conf, "[[registry]]\nlocation = \"%s\"\ninsecure = true\n",
                          s->spec->insecure.at[i]);
    for (const struct build_image *i = s->spec->images.at; i < image; i++)
        if (!is_in_store(i, store, s->a))
            block_refs(i, s->a, &conf);
    if (conf.full)
        return err_set(err, ERR_INPUT, 0, "the images have too many names");
    return put_file(s, "registries.conf", conf.buf, NULL, err);
}

int64_t build_scene_size(const struct build_scene *s)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_NAME * 20);
    bool inside = geteuid() && s->place.wrap.n;
    struct str_list argv = inside ? copy_list(as_user_only, &a) : (struct str_list){0};
    const char *const du[] = {"du", "-s", "-x", "--block-size=1", "--", s->room.path, NULL};
    for (size_t i = 0; i < ARRAY_LEN(du); i++)
        *list_push(&a, &argv) = du[i];
    const struct proc_opts opts = {.argv = argv.at, .env = s->env, .timeout_ms = PROBE_MS};
    int64_t size;
    /* Its status tells of files that went meanwhile; the sum is there all the same. */
    if (proc_run(&opts, &r, NULL) < 0)
        return -1;
    r.out.buf[strcspn(r.out.buf, "\t\n")] = '\0';
    return str_to_i64(r.out.buf, &size) ? size : -1;
}
