#include "core/os/proc.h"

#include "core/base/limits.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Our ends of the child's standard streams, and the child. */
struct running {
    const char *name;
    pid_t pid;
    int pidfd;
    int in;
    int out;
    int err;
    const char *input;
    size_t input_left;
    int64_t deadline; /* clock_monotonic_ms */
    int64_t check_at; /* the same; INT64_MAX: never */
    const struct proc_opts *opts;
};

/* Both ends close on exec and lie above the standard streams, even where we were started with
 * those closed: dup2 onto 0, 1, 2 must not hit another end. */
static int pipe_above_stdio(int ends[2])
{
    int raw[2];
    if (pipe2(raw, O_CLOEXEC) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = raw[i];
        if (raw[i] > STDERR_FILENO)
            continue;
        ends[i] = fcntl(raw[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        (void)close(raw[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    cleanup_fd(&ends[0]);
    cleanup_fd(&ends[1]);
    return -1;
}

static int set_attributes(posix_spawnattr_t *attr)
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

/* Closes everything but the standard streams and pass_fd, also what a library left without
 * close-on-exec. Closing a number that is not open is no error here. */
static int close_others(posix_spawn_file_actions_t *actions, int pass_fd)
{
    if (pass_fd <= STDERR_FILENO)
        return posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    int rc = 0;
    for (int fd = STDERR_FILENO + 1; !rc && fd < pass_fd; fd++)
        rc = posix_spawn_file_actions_addclose(actions, fd);
    /* The same number on both sides takes close-on-exec away. */
    rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, pass_fd, pass_fd);
    return rc ? rc : posix_spawn_file_actions_addclosefrom_np(actions, pass_fd + 1);
}

static int set_actions(posix_spawn_file_actions_t *actions, const struct proc_opts *opts, int in,
                       int out, int err)
{
    int rc = in < 0
                 ? posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
                 : posix_spawn_file_actions_adddup2(actions, in, STDIN_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, err, STDERR_FILENO);
    if (!rc && opts->cwd)
        rc = posix_spawn_file_actions_addchdir_np(actions, opts->cwd);
    return rc ? rc : close_others(actions, opts->pass_fd);
}

/* Returns 0 or an errno. posix_spawn runs nothing of ours in the child, which is what a program
 * with threads needs. */
static int spawn(const struct proc_opts *opts, int in, int out, int err, pid_t *pid)
{
    const char *search = getenv("PATH");
    char *path CLEANUP(cleanup_free) =
        xasprintf("PATH=%s", search ? search : "/usr/local/bin:/usr/bin:/bin");
    const char *const fallback[] = {path, "LANG=C.UTF-8", NULL};
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
    rc = set_attributes(&attr);
    rc = rc ? rc : set_actions(&actions, opts, in, out, err);
    rc = rc ? rc
            : posix_spawnp(pid, opts->argv[0], &actions, &attr, (char *const *)opts->argv,
                           (char *const *)(opts->env ? opts->env : fallback));
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

static int start_failed(const char *name, int failure, struct err *err)
{
    if (failure == ENOENT)
        return err_set(err, ERR_CONFIG, ENOENT, "%s: not found; is it installed and in PATH?",
                       name);
    return err_errno(err, ERR_CONFIG, failure, "start %s", name);
}

static int start(const struct proc_opts *opts, struct running *run, struct err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1};
    int failure = 0;
    bool together = opts->on_output != NULL;
    if ((opts->input_len && pipe_above_stdio(in) < 0) || pipe_above_stdio(out) < 0 ||
        (!together && pipe_above_stdio(errs) < 0))
        failure = errno;
    if (!failure)
        failure = spawn(opts, in[0], out[1], together ? out[1] : errs[1], &run->pid);
    cleanup_fd(&in[0]);
    cleanup_fd(&out[1]);
    cleanup_fd(&errs[1]);
    run->in = in[1];
    run->out = out[0];
    run->err = errs[0];
    if (failure)
        return start_failed(run->name, failure, err);
    int ours[] = {run->in, run->out, run->err};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (ours[i] >= 0)
            (void)fcntl(ours[i], F_SETFL, O_NONBLOCK);
    run->pidfd = pidfd_open(run->pid, 0);
    if (run->pidfd < 0)
        return err_errno(err, ERR_CONFIG, errno, "watch %s", run->name);
    return 0;
}

/* write() that raises no SIGPIPE in this thread, whatever the process does with that signal. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
    sigset_t pipe_only, before, pending;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    (void)sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    ssize_t put = write(fd, data, len);
    int failure = errno;
    if (put < 0 && failure == EPIPE && !was_pending) {
        struct timespec now = {0};
        (void)sigtimedwait(&pipe_only, NULL, &now);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failure;
    return put;
}

static void feed(struct running *run)
{
    ssize_t put = write_quietly(run->in, run->input, run->input_left);
    if (put < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    /* A child that does not want its whole input is no error of ours: its status tells. */
    if (put > 0) {
        run->input += put;
        run->input_left -= (size_t)put;
    }
    if (put < 0 || !run->input_left)
        cleanup_fd(&run->in);
}

static void keep_first(struct strbuf *b, const char *data, size_t len)
{
    size_t room = b->max - b->len;
    (void)strbuf_add(b, data, len < room ? len : room);
}

/* Reads what is there now, with a bound: a child that never stops writing must not keep us from
 * looking at the clock. Closes *fd at its end. -1 when `strict` and the buffer is full. */
static int drain(int *fd, struct strbuf *into, bool strict)
{
    char chunk[16384];
    for (int i = 0; i < 64 && *fd >= 0; i++) {
        ssize_t got = read(*fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0) {
            cleanup_fd(fd);
            break;
        }
        if (!strict)
            keep_first(into, chunk, (size_t)got);
        else if (strbuf_add(into, chunk, (size_t)got) < 0)
            return -1;
    }
    return 0;
}

/* The same, handed on instead of kept. */
static void pass_on(struct running *run)
{
    char chunk[16384];
    for (int i = 0; i < 64 && run->out >= 0; i++) {
        ssize_t got = read(run->out, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got > 0)
            run->opts->on_output(run->opts->user, chunk, (size_t)got);
        else
            cleanup_fd(&run->out);
    }
}

static int too_much(const struct running *run, const struct proc_result *r, struct err *err)
{
    return err_set(err, ERR_PERM, EMSGSIZE, "%s: wrote more than %zu bytes", run->name, r->out.max);
}

/* Looks at the clock and asks the caller; *wait is how long nothing needs to be asked again. */
static int still_wanted(struct running *run, struct proc_result *r, int *wait, struct err *err)
{
    int64_t now = clock_monotonic_ms();
    if (run->deadline <= now) {
        r->timed_out = true;
        return err_set(err, ERR_TEMP, ETIMEDOUT, "%s: did not end in time", run->name);
    }
    if (run->check_at <= now) {
        if (run->opts->check(run->opts->user, err) < 0)
            return -1;
        now = clock_monotonic_ms();
        run->check_at = now + PROC_CHECK_MS;
    }
    int64_t next = run->deadline < run->check_at ? run->deadline : run->check_at;
    int64_t left = next > now ? next - now : 0;
    *wait = left > INT_MAX ? INT_MAX : (int)left;
    return 0;
}

static int take_output(struct running *run, struct proc_result *r, struct err *err)
{
    if (run->opts->on_output) {
        pass_on(run);
        return 0;
    }
    if (drain(&run->out, &r->out, true) < 0)
        return too_much(run, r, err);
    (void)drain(&run->err, &r->err, false);
    return 0;
}

/* Until the child has ended. A grandchild that still holds a pipe is not waited for. */
static int attend(struct running *run, struct proc_result *r, struct err *err)
{
    for (;;) {
        int wait;
        if (still_wanted(run, r, &wait, err) < 0)
            return -1;
        struct pollfd fds[] = {
            {.fd = run->pidfd, .events = POLLIN},
            {.fd = run->out, .events = POLLIN},
            {.fd = run->err, .events = POLLIN},
            {.fd = run->in, .events = POLLOUT},
        };
        int ready = poll(fds, ARRAY_LEN(fds), wait);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, ERR_TEMP, errno, "poll");
        if (ready <= 0)
            continue;
        if (take_output(run, r, err) < 0)
            return -1;
        if (fds[0].revents)
            return 0;
        if (fds[3].revents)
            feed(run);
    }
}

static int reap(const struct running *run, struct proc_result *r, struct err *err)
{
    int status;
    pid_t pid;
    do {
        pid = waitpid(run->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return err_errno(err, ERR_BUG, errno, "wait for %s", run->name);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

void proc_result_init(struct proc_result *r, size_t max_out)
{
    *r = (struct proc_result){
        .out = STRBUF_INIT(max_out),
        .err = STRBUF_INIT(LIMIT_CHILD_ERRORS),
    };
}

void proc_result_release(struct proc_result *r)
{
    strbuf_release(&r->out);
    strbuf_release(&r->err);
}

int proc_run(const struct proc_opts *opts, struct proc_result *r, struct err *err)
{
    struct running run = {
        .name = opts->argv[0],
        .pidfd = -1,
        .in = -1,
        .out = -1,
        .err = -1,
        .input = opts->input,
        .input_left = opts->input_len,
        .deadline = clock_monotonic_ms() + (opts->timeout_ms ? opts->timeout_ms : LIMIT_GIT_MS),
        .check_at = opts->check ? 0 : INT64_MAX,
        .opts = opts,
    };
    r->status = 0;
    r->timed_out = false;
    int rc = start(opts, &run, err);
    if (!rc)
        rc = attend(&run, r, err);
    if (run.pid > 0) {
        /* Before the child is reaped its number, and so its group's, cannot be another's. */
        if (rc)
            (void)kill(-run.pid, SIGKILL);
        struct err reaping = ERR_INIT;
        if (reap(&run, r, &reaping) < 0 && !rc) {
            *err = reaping;
            rc = -1;
        }
    }
    cleanup_fd(&run.pidfd);
    cleanup_fd(&run.in);
    cleanup_fd(&run.out);
    cleanup_fd(&run.err);
    return rc;
}
