#include "core/build/build_room.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "slipway-build-"
#define WITHIN "r-" /* a room of a room; podman takes no long paths */
#define REMOVE_MS 600000

static const char *scratch_or_default(const char *scratch)
{
    const char *tmp = getenv("TMPDIR");
    return scratch ? scratch : str_empty(tmp) ? "/var/tmp" : tmp;
}

static void remove_by(const char *const *argv, const char *path)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *search = getenv("PATH");
    const char *env[] = {
        arena_printf(&a, "PATH=%s", search ? search : "/usr/local/bin:/usr/bin:/bin"),
        arena_printf(&a, "HOME=%s", path), arena_printf(&a, "XDG_RUNTIME_DIR=%s", path),
        "LANG=C.UTF-8", NULL};
    struct proc_opts opts = {.argv = argv, .env = env, .timeout_ms = REMOVE_MS};
    struct proc_result r CLEANUP(proc_result_release);
    proc_result_init(&r, LIMIT_CHILD_ERRORS);
    (void)proc_run(&opts, &r, NULL);
}

/* Files of subordinate ids, and those in folders that an image has without write permission, only a
 * user namespace with these ids removes; and folders that are too deep for us, rm does. */
static int remove_room(const char *path, struct err *err)
{
    const char *const ways[][9] = {
        {"rm", "-rf", "--", path},
        {"unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", path},
        {"buildah", "unshare", "rm", "-rf", "--", path},
        {"podman", "unshare", "rm", "-rf", "--", path},
    };
    if (fs_remove_tree(path, err) == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(ways) && fs_exists(path); i++)
        remove_by(ways[i], path);
    return fs_exists(path) ? -1 : 0;
}

/* A room that nobody holds: its builder was killed. */
static void sweep_one(const char *path)
{
    struct err err = ERR_INIT;
    struct stat st;
    int fd CLEANUP(cleanup_fd) = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return;
    if (remove_room(path, &err) < 0)
        log_warn("what a killed build left cannot be removed", "folder", path, "why", err.text,
                 NULL);
}

static void sweep(const char *scratch, struct arena *a)
{
    DIR *dir = opendir(scratch);
    if (!dir)
        return;
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (str_starts(entry->d_name, PREFIX))
            sweep_one(arena_printf(a, "%s/%s", scratch, entry->d_name));
    (void)closedir(dir);
}

/* 0: another builder took it for one that was left, before it was locked. */
static int make_room(struct build_room *room, const char *scratch, struct arena *a)
{
    struct stat held, named;
    const char *base = strrchr(scratch, '/');
    bool is_within = base && str_starts(base + 1, PREFIX);
    char *path = arena_printf(a, "%s/%sXXXXXX", scratch, is_within ? WITHIN : PREFIX);
    if (!mkdtemp(path))
        return -1;
    room->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (room->fd >= 0 && flock(room->fd, LOCK_EX | LOCK_NB) == 0 && stat(path, &named) == 0 &&
        fstat(room->fd, &held) == 0 && named.st_ino == held.st_ino) {
        room->path = path;
        return 1;
    }
    cleanup_fd(&room->fd);
    return 0;
}

int build_room_open(struct build_room *room, const char *scratch, struct arena *a, struct err *err)
{
    *room = (struct build_room){.fd = -1};
    char *real CLEANUP(cleanup_free) = realpath(scratch_or_default(scratch), NULL);
    if (!real)
        return err_errno(err, ERR_CONFIG, errno, "the builder's scratch folder %s",
                         scratch_or_default(scratch));
    sweep(real, a);
    for (int i = 0; i < 100; i++) {
        int rc = make_room(room, real, a);
        if (rc > 0)
            return 0;
        if (rc < 0)
            return err_errno(err, ERR_CONFIG, errno, "a folder below %s", real);
    }
    return err_set(err, ERR_TEMP, 0, "no folder could be kept below %s", real);
}

int build_room_close(struct build_room *room, struct err *err)
{
    int rc = room->path && fs_exists(room->path) ? remove_room(room->path, err) : 0;
    cleanup_fd(&room->fd);
    *room = (struct build_room){.fd = -1};
    return rc;
}
