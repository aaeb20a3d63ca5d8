#include "cgi/web/listen.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/fs.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define SYSTEMD_FD 3

static bool socket_option_is(int fd, int option, int value)
{
    int got = -1;
    socklen_t len = sizeof got;
    return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 && got == value;
}

static bool is_listening(int fd)
{
    return socket_option_is(fd, SO_ACCEPTCONN, 1);
}

static int inherit(struct listener *l, int fd, const char *from, struct err *err)
{
    if (!is_listening(fd))
        return err_set(err, ERR_CONFIG, 0, "%s is not a listening socket", from);
    if (!socket_option_is(fd, SO_DOMAIN, AF_UNIX))
        return err_set(err, ERR_CONFIG, 0,
                       "%s is not a unix socket: FastCGI over TCP is not served, because everybody "
                       "who reaches it could forge requests",
                       from);
    *l = (struct listener){.fd = fd};
    log_info("listening", "on", from, NULL);
    return 0;
}

/* The number of sockets that systemd passed to this very process. */
static uint64_t passed_sockets(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t number, count;
    if (!pid || !fds || !str_to_u64(pid, &number) || number != (uint64_t)getpid())
        return 0;
    return str_to_u64(fds, &count) ? count : 0;
}

/* Removes a socket that nobody listens on any more. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
    struct stat st;
    if (lstat(addr->sun_path, &st))
        return errno == ENOENT ? 0 : err_errno(err, ERR_CONFIG, errno, "socket %s", addr->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_CONFIG, EEXIST,
                       "%s is there and is not a socket: remove it, or listen elsewhere",
                       addr->sun_path);
    int CLEANUP(cleanup_fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "socket");
    if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0)
        return err_set(err, ERR_CONFIG, EADDRINUSE,
                       "another process listens on %s: stop it, or listen elsewhere",
                       addr->sun_path);
    if (errno != ECONNREFUSED)
        return err_errno(err, ERR_CONFIG, errno, "cannot tell whether %s is in use",
                         addr->sun_path);
    if (unlink(addr->sun_path) && errno != ENOENT)
        return err_errno(err, ERR_CONFIG, errno, "cannot replace %s", addr->sun_path);
    return 0;
}

static int bind_private(int fd, const struct sockaddr_un *addr)
{
    mode_t before = umask(0117);
    int rc = bind(fd, (const struct sockaddr *)addr, sizeof *addr);
    int saved = errno;
    (void)umask(before);
    errno = saved;
    return rc;
}

static int make(struct listener *l, const char *path, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        return err_set(err, ERR_CONFIG, ENAMETOOLONG,
                       "the socket path %s is too long: at most %zu bytes", path,
                       sizeof addr.sun_path - 1);
    memcpy(addr.sun_path, path, strlen(path));
    if (remove_stale(&addr, err))
        return -1;
    int CLEANUP(cleanup_fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "socket");
    struct stat st;
    if (bind_private(fd, &addr) || listen(fd, BACKLOG) || lstat(path, &st))
        return err_errno(err, ERR_CONFIG, errno, "cannot listen on %s", path);
    *l = (struct listener){.fd = fd, .path = path, .dev = st.st_dev, .ino = st.st_ino};
    fd = -1;
    log_info("listening", "on", path, NULL);
    return 0;
}

int listener_open(struct listener *l, const char *flag, const char *configured, struct err *err)
{
    *l = (struct listener){.fd = -1};
    if (!str_empty(flag))
        return make(l, flag, err);
    uint64_t passed = passed_sockets();
    if (passed > 1)
        return err_set(err, ERR_CONFIG, 0, "systemd passed more than one socket");
    if (passed == 1)
        return inherit(l, SYSTEMD_FD, "systemd's socket", err);
    if (is_listening(STDIN_FILENO))
        return inherit(l, STDIN_FILENO, "standard input", err);
    if (!str_empty(configured))
        return make(l, configured, err);
    return err_set(err, ERR_CONFIG, 0,
                   "nowhere to listen: say `listen: PATH` in the configuration (or --listen PATH), "
                   "or start it by a systemd socket unit, or with a listening unix socket as "
                   "standard input (spawn-fcgi)");
}

void listener_withdraw(struct listener *l)
{
    struct stat st;
    /* A successor may have put its own socket there already. */
    if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(l->path);
    l->path = NULL;
}

void listener_close(struct listener *l)
{
    listener_withdraw(l);
    cleanup_fd(&l->fd);
    l->fd = -1;
}
