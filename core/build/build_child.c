#include "core/build/build_child.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/build/build_run.h"
#include "core/build/build_wire.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/reap.h"
#include "core/os/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAP_MS 10000
#define HEED_MS 3000 /* so long build_run has to end by itself when it is told to */
#define FTW_FDS 16

struct pipes {
    int log[2];
    int result[2];
    int control[2];
};

/* What build_run, and the thread that watches for it, know of each other. */
struct watched {
    int control;
    int log;
    atomic_bool is_unwanted;
    atomic_bool is_over;
};

/* Nobody wants the build any more when the other end of `control` is closed. */
static void *watch_control(void *arg)
{
    struct watched *w = arg;
    char byte;
    ssize_t n;
    do {
        n = read(w->control, &byte, 1);
    } while (n > 0 || (n < 0 && errno == EINTR));
    atomic_store(&w->is_unwanted, true);
    int64_t deadline = clock_monotonic_ms() + HEED_MS;
    while (!atomic_load(&w->is_over)) {
        if (clock_monotonic_ms() >= deadline)
            (void)reap_kill_children();
        clock_sleep_ms(10);
    }
    return NULL;
}

static bool is_unwanted(void *user)
{
    struct watched *w = user;
    return atomic_load(&w->is_unwanted);
}

static void send_log(void *user, const char *text, size_t len)
{
    const struct watched *w = user;
    (void)fs_write_all(w->log, text, len, NULL);
}

/* The group gets the rights of the owner: who asked for the build has to be able to remove it. */
static int share(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)ftw;
    if (kind == FTW_SL)
        return 0;
    (void)chmod(path, (st->st_mode & 07777) | (st->st_mode & S_IRWXU) >> 3);
    return 0;
}

static void share_layouts(const struct build_spec *spec, const struct build_layouts *layouts)
{
    struct stat st;
    if (stat(spec->out, &st) < 0 || !(st.st_mode & S_ISGID))
        return;
    list_each (const struct build_layout, l, layouts)
        (void)nftw(l->path, share, FTW_FDS, FTW_PHYS);
}

/* Whatever a former run of this spec left whole counts: build_run looks whether it is. */
static void keep_former(const struct build_spec *spec, struct arena *a, struct build_layouts *out)
{
    list_each (const struct build_image, image, &spec->images) {
        size_t n = image->platforms.n;
        for (size_t i = 0; i < (n ? n : 1); i++) {
            const char *platform = n ? image->platforms.at[i] : NULL;
            const char *path =
                arena_printf(a, "%s/%s", spec->out, build_layout_name(image->name, platform, a));
            if (fs_exists(path))
                *list_push(a, out) =
                    (struct build_layout){.name = image->name, .platform = platform, .path = path};
        }
    }
}

static const char *build(const struct build_spec *spec, const struct build_room *room,
                         struct watched *w, struct arena *a)
{
    struct err err = ERR_INIT;
    struct build_layouts layouts = {0};
    const struct build_watch watch = {
        .log = send_log, .user = w, .scratch = room->path, .stop = is_unwanted};
    keep_former(spec, a, &layouts);
    if (build_run(spec, &watch, a, &layouts, &err) < 0)
        return wire_failure(&err, a);
    share_layouts(spec, &layouts);
    return wire_result(&layouts, a);
}

/* The streams of the conversation are not the build's: the peer shall see it when our parent is
 * gone. */
static void leave_parent(const int *not_for_it, size_t n)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP};
    sigset_t none;
    for (size_t i = 0; i < n; i++)
        if (not_for_it[i] > STDERR_FILENO)
            (void)close(not_for_it[i]);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0 && (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0))
        _exit(1);
    if (null > STDERR_FILENO)
        (void)close(null);
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* What root's build mounts goes with its last process. Who may not do this mounts nothing that
     * others see. */
    if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
        (void)mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL);
    reap_adopt();
}

static NORETURN void child_main(const struct build_spec *spec, struct build_room *room,
                                const struct pipes *p)
{
    struct arena a = ARENA_INIT;
    struct watched w = {.control = p->control[0], .log = p->log[1]};
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch_control, &w) != 0)
        _exit(1);
    const char *line = build(spec, room, &w, &a);
    atomic_store(&w.is_over, true);
    /* Our parent does both as well, unless it is gone. */
    (void)reap_all(REAP_MS);
    (void)build_room_close(room, NULL);
    (void)fs_write_all(p->result[1], line, strlen(line), NULL);
    _exit(0);
}

static int make_pipes(struct pipes *p)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    return pipe2(p->log, O_CLOEXEC) < 0 || pipe2(p->result, O_CLOEXEC) < 0 ||
                   pipe2(p->control, O_CLOEXEC) < 0
               ? -1
               : 0;
}

static void close_pipes(struct pipes *p)
{
    int *all[] = {p->log, p->result, p->control};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        cleanup_fd(&all[i][0]);
        cleanup_fd(&all[i][1]);
    }
}

static int keep(int *end)
{
    int fd = *end;
    *end = -1;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int build_child_start(struct build_child *child, const struct build_spec *spec,
                      struct build_room *room, const int *not_for_it, size_t n, struct err *err)
{
    struct pipes p CLEANUP(close_pipes);
    *child = (struct build_child)BUILD_CHILD_INIT;
    if (make_pipes(&p) < 0)
        return err_errno(err, ERR_TEMP, errno, "pipe");
    reap_adopt();
    child->pid = fork();
    if (child->pid < 0) {
        child->pid = 0;
        return err_errno(err, ERR_TEMP, errno, "fork");
    }
    if (child->pid == 0) {
        leave_parent(not_for_it, n);
        cleanup_fd(&p.log[0]);
        cleanup_fd(&p.result[0]);
        cleanup_fd(&p.control[1]);
        child_main(spec, room, &p);
    }
    child->log = keep(&p.log[0]);
    child->result = keep(&p.result[0]);
    child->control = keep(&p.control[1]);
    child->ended = pidfd_open(child->pid, 0);
    return child->ended < 0 ? err_errno(err, ERR_TEMP, errno, "watch the build") : 0;
}

int build_child_end(struct build_child *child)
{
    int status = 0;
    cleanup_fd(&child->control);
    cleanup_fd(&child->log);
    cleanup_fd(&child->result);
    if (child->pid) {
        status = talk_end(child->pid, LIMIT_BUILD_CLEAN_MS);
        if (reap_all(REAP_MS) < 0)
            log_error("processes of a build are still there and cannot be ended", NULL);
    }
    cleanup_fd(&child->ended);
    *child = (struct build_child)BUILD_CHILD_INIT;
    return status;
}
