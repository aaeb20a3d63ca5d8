#include "cgi/web/fcgi.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/os/clock.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STACK_BYTES MIB(1)
#define BACK_OFF_MS 20
#define CALM_MS 1000
#define ARENAS 2 /* of malloc; as many as glibc takes keep megabytes and make nothing faster */

/*
 * libfcgi's own way of waking its threads, signals, would also cut short its wait for the first
 * byte of a connection that it has just accepted, and drop it: nginx would show 502. So the threads
 * wait in an epoll of ours and let libfcgi accept without blocking.
 */
struct server {
    const struct fcgi_opts *opts;
    int epoll;
    int stop; /* eventfd, readable for good once stopping began */
    atomic_bool stopping;
    atomic_bool drain;
    atomic_bool fatal;
    atomic_bool used;      /* a request came since memory was given back last */
    atomic_size_t alive;   /* threads that have not ended */
    atomic_size_t in_hand; /* threads between a request's parameters and its end */
};

struct body {
    FCGX_Request *request;
    bool whole; /* nothing but the mark of its end is left to read */
};

static size_t read_body(void *ctx, void *buf, size_t len)
{
    struct body *body = ctx;
    size_t got = 0;
    while (got < len) {
        size_t want = len - got < INT_MAX ? len - got : INT_MAX;
        int n = FCGX_GetStr((char *)buf + got, (int)want, body->request->in);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    body->whole = got == len;
    return got;
}

/*
 * libfcgi waits with the end of a connection until the other side has ended it, lest bytes that
 * nobody has read take the answer with them. When there are none, that is a wait for nothing. The
 * answer goes out before we look, for the mark of the body's end may be late.
 */
static void finish(struct body *body)
{
    FCGX_Request *request = body->request;
    bool sent = FCGX_FClose(request->err) == 0 && FCGX_FClose(request->out) == 0;
    if (sent && body->whole && FCGX_GetChar(request->in) < 0 && !FCGX_GetError(request->in))
        FCGX_Detach(request);
    FCGX_Finish_r(request);
    /* Also a connection that nginx would keep: a thread that waits on one serves nobody else. */
    FCGX_Free(request, 1);
}

static void begin_stop(struct server *s)
{
    uint64_t one = 1;
    atomic_store(&s->stopping, true);
    if (write(s->stop, &one, sizeof one) != sizeof one)
        log_error("cannot wake the threads", NULL);
}

static void serve_request(struct server *s, FCGX_Request *request)
{
    struct strbuf CLEANUP_STRBUF out = STRBUF_INIT(REPLY_MAX);
    struct body body = {.request = request};
    struct body_source source = {.read = read_body, .ctx = &body};
    atomic_fetch_add(&s->in_hand, 1);
    atomic_store_explicit(&s->used, true, memory_order_relaxed);
    bool go_on = s->opts->answer(s->opts->ctx, (const char *const *)request->envp, source, &out);
    (void)FCGX_PutStr(out.buf, (int)out.len, request->out);
    finish(&body);
    atomic_fetch_sub(&s->in_hand, 1);
    if (!go_on) {
        atomic_store(&s->fatal, true);
        begin_stop(s);
    }
}

/* Waits for a connection. False: stopping. */
static bool wait_for_connection(struct server *s)
{
    struct epoll_event events[2];
    int n = epoll_wait(s->epoll, events, ARRAY_LEN(events), -1);
    for (int i = 0; i < n; i++)
        if (events[i].data.fd == s->stop)
            return false;
    return true;
}

static void accept_one(struct server *s, FCGX_Request *request, bool *none)
{
    int rc = FCGX_Accept_r(request);
    *none = rc == -EAGAIN;
    if (rc == 0) {
        serve_request(s, request);
    } else if (rc != -EAGAIN) {
        /* Out of descriptors or the like: the connection still waits, so do not spin. */
        log_warn("cannot accept a connection", "error", strerrordesc_np(rc > -4096 ? -rc : 0),
                 NULL);
        clock_sleep_ms(BACK_OFF_MS);
    }
}

static void *serve_thread(void *arg)
{
    struct server *s = arg;
    FCGX_Request request;
    bool none = FCGX_InitRequest(&request, s->opts->fd, 0) != 0;
    bool usable = !none;
    /* Accepting comes first: under load it saves the wait. */
    while (usable && !atomic_load(&s->stopping)) {
        accept_one(s, &request, &none);
        if (none && !wait_for_connection(s))
            break;
    }
    none = false;
    while (usable && !none && atomic_load(&s->drain))
        accept_one(s, &request, &none);
    FCGX_Free(&request, 1);
    atomic_fetch_sub(&s->alive, 1);
    return NULL;
}

static void ignore_signal(int number UNUSED)
{
}

/* Real handlers, before FCGX_Init: for SIGTERM, SIGUSR1 and SIGPIPE it would install its own where
 * it finds none. The signals stay blocked and are read from a signalfd. */
int fcgi_signals(struct err *err)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE};
    struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        (void)sigaddset(&set, ours[i]);
        if (sigaction(ours[i], &action, NULL))
            return err_errno(err, ERR_BUG, errno, "sigaction");
    }
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc)
        return err_errno(err, ERR_BUG, rc, "pthread_sigmask");
    (void)sigdelset(&set, SIGPIPE);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd >= 0 ? fd : err_errno(err, ERR_BUG, errno, "signalfd");
}

static int start_libfcgi(struct err *err)
{
    char ms[16];
    (void)snprintf(ms, sizeof ms, "%d", LIMIT_FCGI_POLL_MS);
    if (setenv("LIBFCGI_IS_AF_UNIX_KEEPER_POLL_TIMEOUT", ms, 1) ||
        setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", ms, 1))
        return err_errno(err, ERR_BUG, errno, "setenv");
    if (FCGX_Init())
        return err_set(err, ERR_BUG, 0, "libfcgi did not start");
    return 0;
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int open_waits(struct server *s, struct err *err)
{
    int flags = fcntl(s->opts->fd, F_GETFL);
    if (flags < 0 || fcntl(s->opts->fd, F_SETFL, flags | O_NONBLOCK))
        return err_errno(err, ERR_CONFIG, errno, "the listening socket");
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll < 0 || s->stop < 0 || watch(s->epoll, s->stop) || watch(s->epoll, s->opts->fd))
        return err_errno(err, ERR_TEMP, errno, "epoll");
    return 0;
}

static int start_threads(struct server *s, pthread_t *threads, size_t *started, struct err *err)
{
    pthread_attr_t attr;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = 0;
    for (*started = 0; *started < s->opts->threads && rc == 0; *started += rc == 0) {
        atomic_fetch_add(&s->alive, 1);
        rc = pthread_create(&threads[*started], &attr, serve_thread, s);
    }
    (void)pthread_attr_destroy(&attr);
    if (rc == 0)
        return 0;
    atomic_fetch_sub(&s->alive, 1);
    return err_errno(err, ERR_TEMP, rc, "cannot start a thread");
}

/* What many requests at once needed stays with malloc, megabytes of it, unless somebody asks. */
static void give_memory_back(struct server *s)
{
    if (atomic_load(&s->in_hand) == 0 && atomic_exchange(&s->used, false))
        (void)malloc_trim(0);
}

/* Returns when a signal or an answer asks for the end. */
static void wait_for_end(struct server *s, int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = s->stop, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, ARRAY_LEN(fds), CALM_MS);
        if (ready < 0 || fds[1].revents)
            return;
        if (ready == 0) {
            give_memory_back(s);
            continue;
        }
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            return;
        log_info("signal ignored: restart to read the configuration again; logs go to standard "
                 "error",
                 "signal", sigabbrev_np((int)info.ssi_signo), NULL);
    }
}

/* A thread whose client has sent only a part of the parameters hangs in libfcgi, without a limit:
 * it has no request in hand, so it gets little time. */
static bool wait_for_threads(struct server *s)
{
    int64_t begun = clock_monotonic_ms(), last_busy = begun;
    while (atomic_load(&s->alive) > 0) {
        int64_t now = clock_monotonic_ms();
        if (atomic_load(&s->in_hand) > 0)
            last_busy = now;
        if (now - last_busy > LIMIT_FCGI_SILENT_MS || now - begun > LIMIT_STOP_MS)
            return false;
        clock_sleep_ms(2);
    }
    return true;
}

static bool stop(struct server *s, const pthread_t *threads, size_t started)
{
    if (s->opts->withdraw(s->opts->ctx))
        atomic_store(&s->drain, true);
    begin_stop(s);
    bool in_time = wait_for_threads(s);
    bool all_ended = true;
    for (size_t i = 0; i < started; i++)
        if (in_time)
            (void)pthread_join(threads[i], NULL);
        else if (pthread_tryjoin_np(threads[i], NULL))
            all_ended = false;
    if (!all_ended)
        log_warn("stopping although some clients never finished their requests", NULL);
    return all_ended;
}

int fcgi_run(const struct fcgi_opts *opts, enum fcgi_end *end, struct err *err)
{
    /* Not on the stack: threads that hang may outlive this call. */
    struct server *s = xcalloc(1, sizeof *s);
    *s = (struct server){.opts = opts, .epoll = -1, .stop = -1};
    pthread_t *threads = xcalloc(opts->threads, sizeof *threads);
    (void)mallopt(M_ARENA_MAX, ARENAS);
    size_t started = 0;
    int rc = -1;
    if (start_libfcgi(err) == 0 && open_waits(s, err) == 0)
        rc = start_threads(s, threads, &started, err);
    if (rc == 0)
        wait_for_end(s, opts->signals);
    bool all_ended = started == 0 || stop(s, threads, started);
    *end = !all_ended ? FCGI_END_CUT : atomic_load(&s->fatal) ? FCGI_END_FATAL : FCGI_END_SIGNAL;
    free(threads);
    if (!all_ended)
        return rc;
    cleanup_fd(&s->epoll);
    cleanup_fd(&s->stop);
    free(s);
    return rc;
}
