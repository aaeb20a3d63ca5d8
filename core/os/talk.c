#include "core/os/talk.h"

#include "core/base/mem.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#    define SO_PEERGROUPS 59
#endif

#define GROUPS_MAX 65536 /* what Linux allows a process */

int talk_connect(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_CONFIG, ENAMETOOLONG,
                       "the socket path %s is too long: at most %zu bytes", path,
                       sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return err_errno(err, errno == ENOENT ? ERR_TEMP : ERR_CONFIG, errno, "%s", path);
    int connected = fd;
    fd = -1;
    return connected;
}

static int spawn_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSIGDEF);
    rc = rc ? rc : posix_spawnattr_setpgroup(attr, 0);
    rc = rc ? rc : posix_spawnattr_setsigmask(attr, &none);
    return rc ? rc : posix_spawnattr_setsigdefault(attr, &all);
}

static int spawn_with(int theirs, const char *program, const char *const *argv,
                      const char *const *env, pid_t *child)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    int rc = posix_spawnattr_init(&attr);
    if (rc)
        return rc;
    rc = posix_spawn_file_actions_init(&actions);
    if (rc) {
        (void)posix_spawnattr_destroy(&attr);
        return rc;
    }
    rc = spawn_attributes(&attr);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(&actions, theirs, STDOUT_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    rc = rc ? rc
            : posix_spawn(child, program, &actions, &attr, (char *const *)(uintptr_t)argv,
                          (char *const *)(uintptr_t)env);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

/* Above the standard streams, which the child's end is copied to. */
static int above_stdio(int fd)
{
    if (fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    (void)close(fd);
    return higher;
}

int talk_spawn(const char *program, const char *const *argv, const char *const *env, pid_t *child,
               struct err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(err, ERR_CONFIG, errno, "socketpair");
    int ours CLEANUP(cleanup_fd) = above_stdio(ends[0]);
    int theirs CLEANUP(cleanup_fd) = above_stdio(ends[1]);
    if (ours < 0 || theirs < 0 || fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return err_errno(err, ERR_TEMP, errno, "socketpair");
    int rc = spawn_with(theirs, program, argv, env, child);
    if (rc)
        return err_errno(err, ERR_CONFIG, rc, "start %s", program);
    int fd = ours;
    ours = -1;
    return fd;
}

int talk_end(pid_t child, int64_t patience_ms)
{
    int status = 0;
    int fd CLEANUP(cleanup_fd) = pidfd_open(child, 0);
    int64_t deadline = clock_monotonic_ms() + patience_ms;
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (fd < 0 || left <= 0) {
            /* Its group, too, where it leads one. */
            (void)kill(-child, SIGKILL);
            (void)kill(child, SIGKILL);
            break;
        }
        int ready = poll(&waiting, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (ready > 0)
            break;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* So many bytes a pipe takes without blocking when poll says that it can be written. */
static ssize_t put(int fd, const char *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 && errno == ENOTSOCK ? write(fd, data, len < PIPE_BUF ? len : PIPE_BUF) : n;
}

int talk_send(int fd, int watch, const void *data, size_t len, int64_t stall_ms, struct err *err)
{
    const char *at = data;
    int64_t deadline = clock_monotonic_ms() + stall_ms;
    while (len) {
        int64_t left = deadline - clock_monotonic_ms();
        struct pollfd fds[] = {{.fd = fd, .events = POLLOUT},
                               {.fd = watch, .events = POLLIN | POLLRDHUP}};
        if (left <= 0)
            return err_set(err, ERR_TEMP, ETIMEDOUT, "the other side takes nothing any more");
        int ready = poll(fds, ARRAY_LEN(fds), left > INT_MAX ? INT_MAX : (int)left);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, ERR_TEMP, errno, "poll");
        if (ready <= 0)
            continue;
        if (fds[1].revents)
            return err_set(err, ERR_TEMP, ECANCELED, "interrupted");
        ssize_t n = put(fd, at, len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return err_errno(err, ERR_TEMP, errno, "the other side is gone");
        at += n;
        len -= (size_t)n;
        deadline = clock_monotonic_ms() + stall_ms;
    }
    return 0;
}

bool talk_peer(int fd, uid_t *uid, gid_t *gid)
{
    struct ucred who;
    socklen_t len = sizeof who;
    /* Of sockets that are no unix ones the kernel says -1. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.uid == (uid_t)-1)
        return false;
    *uid = who.uid;
    *gid = who.gid;
    return true;
}

bool talk_peer_in_group(int fd, gid_t group)
{
    uid_t uid;
    gid_t own;
    if (!talk_peer(fd, &uid, &own))
        return false;
    socklen_t len = GROUPS_MAX * sizeof(gid_t);
    gid_t *groups CLEANUP(cleanup_free) = xmalloc(len);
    if (own == group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof *groups; i++)
        if (groups[i] == group)
            return true;
    return false;
}
