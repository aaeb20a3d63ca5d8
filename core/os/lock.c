#include "core/os/lock.h"

#include "core/base/mem.h"
#include "core/os/fs.h"
#include "core/os/random.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file appears under its name with its final mode, so that another user who shares it never
 * meets it half made. */
static int lock_file_create(const char *path, struct err *err)
{
    char suffix[17];
    random_hex(suffix, 8);
    char *beside CLEANUP(cleanup_free) = xasprintf("%s.%s.tmp", path, suffix);
    int fd CLEANUP(cleanup_fd) = open(beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "create lock file %s", path);
    int failure = 0;
    if (fchmod(fd, 0660) < 0 || (link(beside, path) < 0 && errno != EEXIST))
        failure = errno;
    (void)unlink(beside);
    return failure ? err_errno(err, ERR_CONFIG, failure, "create lock file %s", path) : 0;
}

static int lock_file_open(const char *path, struct err *err)
{
    enum { FLAGS = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK };
    int fd = open(path, FLAGS);
    if (fd < 0 && errno == ENOENT) {
        if (lock_file_create(path, err) < 0)
            return -1;
        fd = open(path, FLAGS);
    }
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "open lock file %s", path);
    return fd;
}

static int flock_retry(int fd, int operation)
{
    int rc;
    do {
        rc = flock(fd, operation);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

int turnstile_open(struct turnstile *t, const char *base, struct err *err)
{
    char *next CLEANUP(cleanup_free) = xasprintf("%s.next", base);
    char *data CLEANUP(cleanup_free) = xasprintf("%s.data", base);
    struct turnstile opened = TURNSTILE_INIT;
    opened.next = lock_file_open(next, err);
    if (opened.next < 0)
        return -1;
    opened.data = lock_file_open(data, err);
    if (opened.data < 0) {
        turnstile_close(&opened);
        return -1;
    }
    *t = opened;
    return 0;
}

void turnstile_close(struct turnstile *t)
{
    cleanup_fd(&t->next);
    cleanup_fd(&t->data);
}

int turnstile_enter(struct turnstile *t, bool exclusive, struct err *err)
{
    if (flock_retry(t->next, LOCK_EX) < 0)
        return err_errno(err, ERR_PERM, errno, "lock the store's turnstile");
    int rc = flock_retry(t->data, exclusive ? LOCK_EX : LOCK_SH);
    int failure = errno;
    (void)flock_retry(t->next, LOCK_UN);
    return rc < 0 ? err_errno(err, ERR_PERM, failure, "lock the store") : 0;
}

void turnstile_leave(struct turnstile *t)
{
    (void)flock_retry(t->data, LOCK_UN);
}

int lock_file_try(const char *path, struct err *err)
{
    int fd CLEANUP(cleanup_fd) = lock_file_open(path, err);
    if (fd < 0)
        return -1;
    if (flock_retry(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(err, ERR_CONFIG, EWOULDBLOCK, "%s: another process holds this lock",
                           path);
        return err_errno(err, ERR_PERM, errno, "lock %s", path);
    }
    int taken = fd;
    fd = -1;
    return taken;
}

int lock_file_wait(const char *path, struct err *err)
{
    int fd CLEANUP(cleanup_fd) = lock_file_open(path, err);
    if (fd < 0)
        return -1;
    if (flock_retry(fd, LOCK_EX) < 0)
        return err_errno(err, ERR_PERM, errno, "lock %s", path);
    int taken = fd;
    fd = -1;
    return taken;
}
