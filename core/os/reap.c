#include "core/os/reap.h"

#include "core/os/clock.h"
#include "core/os/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void reap_adopt(void)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* The fourth word of /proc/<pid>/stat; the second, a name in parentheses, may hold anything. 0:
 * gone, or a zombie, which no signal reaches any more. */
static pid_t parent_of(int proc, const char *name)
{
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "%.32s/stat", name);
    int fd CLEANUP(cleanup_fd) = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *behind = strrchr(text, ')');
    if (!behind || strlen(behind) < 5 || behind[2] == 'Z' || behind[2] == 'X')
        return 0;
    return (pid_t)strtol(behind + 3, NULL, 10);
}

size_t reap_kill_children(void)
{
    size_t n = 0;
    pid_t self = getpid();
    DIR *dir = opendir("/proc");
    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            parent_of(dirfd(dir), entry->d_name) != self)
            continue;
        (void)kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
        n++;
    }
    (void)closedir(dir);
    return n;
}

int reap_all(int64_t patience_ms)
{
    int64_t deadline = clock_monotonic_ms() + patience_ms;
    for (;;) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            continue;
        if (pid < 0 && errno == ECHILD)
            return 0;
        if (clock_monotonic_ms() >= deadline)
            return -1;
        if (reap_kill_children())
            clock_sleep_ms(5);
        else
            clock_sleep_ms(1);
    }
}
