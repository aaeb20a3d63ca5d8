#include "core/os/wake.h"

#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool wake_address(const char *path, struct sockaddr_un *out)
{
    size_t len = strlen(path);
    if (!len || len >= sizeof out->sun_path)
        return false;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, len + 1);
    return true;
}

int wake_listen(const char *path, struct err *err)
{
    struct sockaddr_un address;
    if (!wake_address(path, &address))
        return err_set(err, ERR_CONFIG, ENAMETOOLONG,
                       "wake-up socket %s: the path must have 1 to %zu bytes", path,
                       sizeof address.sun_path - 1);
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return err_set(err, ERR_CONFIG, EEXIST, "wake-up socket %s: something else is there",
                           path);
        if (unlink(path) < 0 && errno != ENOENT)
            return err_errno(err, ERR_CONFIG, errno, "replace wake-up socket %s", path);
    }
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, ERR_PERM, errno, "socket");
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0660) < 0)
        return err_errno(err, ERR_CONFIG, errno, "wake-up socket %s", path);
    int bound = fd;
    fd = -1;
    return bound;
}

bool wake_wait(int fd, int64_t timeout_ms)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    int limit = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    if (poll(&waiting, 1, limit) <= 0)
        return false;
    bool came = false;
    char byte;
    /* Bounded, so that a sender in a loop cannot keep us here. */
    for (int i = 0; i < 1024 && recv(fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_TRUNC) >= 0; i++)
        came = true;
    return came;
}

void wake_send(const char *path)
{
    struct sockaddr_un address;
    if (!wake_address(path, &address))
        return;
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)sendto(fd, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
                     sizeof address);
}
