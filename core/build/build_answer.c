#include "core/build/build_ask.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/build/build_child.h"
#include "core/build/build_wire.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

struct answering {
    int in;
    int out;
    int signals;
    struct arena *a;
    struct build_child child;
    struct build_room room;
    struct wire_log log;
    struct strbuf line;   /* one line of log */
    struct strbuf result; /* what the child says at its end */
    bool is_alone;        /* the peer is gone: nothing is to be said any more */
};

static int told_to_stop(struct answering *q, struct err *err)
{
    struct signalfd_siginfo info;
    while (read(q->signals, &info, sizeof info) < 0 && errno == EINTR)
        continue;
    return err_set(err, ERR_TEMP, ECANCELED, "the builder was told to stop");
}

/* ---- the spec ---- */

/* Reads one line; what is behind it is kept out. -1 with code EPIPE: the peer went away. */
static int read_line(struct answering *q, struct strbuf *line, struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + LIMIT_BUILD_TALK_MS;
    char chunk[32768];
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        struct pollfd fds[] = {{.fd = q->in, .events = POLLIN},
                               {.fd = q->signals, .events = POLLIN}};
        if (left <= 0)
            return err_set(err, ERR_INPUT, ETIMEDOUT, "no line with a spec came in time");
        if (poll(fds, ARRAY_LEN(fds), (int)left) < 0 && errno != EINTR)
            return err_errno(err, ERR_TEMP, errno, "poll");
        if (fds[1].revents)
            return told_to_stop(q, err);
        if (!fds[0].revents)
            continue;
        ssize_t n = read(q->in, chunk, sizeof chunk);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return err_set(err, ERR_INPUT, EPIPE, "it ended before its first line did");
        const char *end = memchr(chunk, '\n', (size_t)n);
        if (strbuf_add(line, chunk, end ? (size_t)(end - chunk) : (size_t)n) < 0)
            return err_set(err, ERR_INPUT, EMSGSIZE, "the spec is longer than %zu bytes",
                           (size_t)LIMIT_BUILD_SPEC);
        if (end && end + 1 != chunk + n)
            return err_set(err, ERR_INPUT, 0, "there is more than one line");
        if (end)
            return 0;
    }
}

/* Whom the folders of a spec may belong to. */
struct owner {
    uid_t uid;
    bool is_trusted; /* root, or our own user, who can reach all that we reach */
};

static struct owner owner_of(const struct answering *q)
{
    struct owner who = {.uid = geteuid(), .is_trusted = true};
    gid_t gid;
    if (talk_peer(q->in, &who.uid, &gid))
        who.is_trusted = who.uid == 0 || who.uid == geteuid();
    return who;
}

/* A stranger to our user must not have us read what only we can, or write where he can't: his own
 * folders, and those that are kept for a group that we share (the set-group-id bit says so). */
static int check_folder(const struct owner *who, const char *path, int access_mode, struct err *err)
{
    struct stat st;
    int fd CLEANUP(cleanup_fd) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, ERR_CONFIG, errno, "the builder cannot open the folder %s", path);
    bool shared = (st.st_mode & S_ISGID) && st.st_gid == getegid();
    if (!who->is_trusted && st.st_uid != who->uid && !shared)
        return err_set(err, ERR_CONFIG, EACCES,
                       "the folder %s belongs neither to the user who asks for the build nor to "
                       "the builder's group with the set-group-id bit",
                       path);
    if (faccessat(AT_FDCWD, path, access_mode, AT_EACCESS) < 0)
        return err_errno(err, ERR_CONFIG, errno,
                         "the builder may not %s the folder %s; its group must, see "
                         "`builder: {dir: ...}`",
                         access_mode & W_OK ? "write" : "read", path);
    return 0;
}

static int check_folders(const struct answering *q, const struct build_spec *spec, struct err *err)
{
    struct owner who = owner_of(q);
    if (check_folder(&who, spec->source, R_OK | X_OK, err) < 0 ||
        check_folder(&who, spec->out, R_OK | W_OK | X_OK, err) < 0)
        return -1;
    return spec->siblings ? check_folder(&who, spec->siblings, R_OK | X_OK, err) : 0;
}

/* -1 with q->is_alone: nobody waits for an answer. */
static int take_spec(struct answering *q, struct build_spec *spec, struct err *err)
{
    struct strbuf line CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BUILD_SPEC);
    if (read_line(q, &line, err) < 0) {
        q->is_alone = err->code == EPIPE;
        return err_wrap(err, "the builder's input");
    }
    /* Its pull credentials lie in there. */
    int rc = build_spec_from_json(line.buf, line.len, q->a, spec, err);
    explicit_bzero(line.buf, line.len);
    return rc < 0 ? err_wrap(err, "the spec") : check_folders(q, spec, err);
}

/* ---- the build ---- */

static int say(struct answering *q, const char *text, size_t len, struct err *err)
{
    if (talk_send(q->out, q->in, text, len, LIMIT_BUILD_TALK_MS, err) == 0)
        return 0;
    q->is_alone = true;
    return err_set(err, ERR_TEMP, ECANCELED, "who asked for the build went away: it was stopped");
}

static int relay_log(struct answering *q, struct err *err)
{
    char piece[WIRE_LOG_PIECE];
    ssize_t n = read(q->child.log, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    strbuf_reset(&q->line);
    if (n > 0) {
        wire_log(&q->log, piece, (size_t)n, &q->line);
    } else {
        wire_log_end(&q->log, &q->line);
        cleanup_fd(&q->child.log);
    }
    return q->line.len ? say(q, q->line.buf, q->line.len, err) : 0;
}

static int take_result(struct answering *q, struct err *err)
{
    char piece[WIRE_LOG_PIECE];
    ssize_t n = read(q->child.result, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0)
        cleanup_fd(&q->child.result);
    else if (strbuf_add(&q->result, piece, (size_t)n) < 0)
        return err_set(err, ERR_BUG, 0, "the result is longer than %zu bytes", q->result.max);
    return 0;
}

/* The input says nothing more; that it can be read means that the peer has closed it. */
static int peer_left(struct answering *q, struct err *err)
{
    char byte;
    ssize_t n = read(q->in, &byte, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n > 0)
        return err_set(err, ERR_INPUT, 0, "more than the spec came: the build was stopped");
    q->is_alone = true;
    return err_set(err, ERR_TEMP, ECANCELED, "who asked for the build went away: it was stopped");
}

/* One round of waiting. 1: the build has ended, and all that it said has been taken. */
static int attend_once(struct answering *q, int64_t deadline, struct err *err)
{
    int64_t left = deadline - clock_monotonic_ms();
    struct pollfd fds[] = {{.fd = q->in, .events = POLLIN | POLLRDHUP},
                           {.fd = q->signals, .events = POLLIN},
                           {.fd = q->child.log, .events = POLLIN},
                           {.fd = q->child.result, .events = POLLIN},
                           {.fd = q->child.ended, .events = POLLIN}};
    if (left <= 0)
        return err_set(err, ERR_PERM, ETIMEDOUT, "the build did not end in its time");
    int ready = poll(fds, ARRAY_LEN(fds), left > INT_MAX ? INT_MAX : (int)left);
    if (ready < 0 && errno != EINTR)
        return err_errno(err, ERR_TEMP, errno, "poll");
    if (ready <= 0)
        return 0;
    if (fds[1].revents)
        return told_to_stop(q, err);
    if (fds[0].revents && peer_left(q, err) < 0)
        return -1;
    if ((fds[2].revents && relay_log(q, err) < 0) || (fds[3].revents && take_result(q, err) < 0))
        return -1;
    bool silent = !fds[2].revents && !fds[3].revents;
    return (q->child.log < 0 && q->child.result < 0) || (fds[4].revents && silent);
}

static int attend(struct answering *q, const struct build_spec *spec, struct err *err)
{
    int64_t seconds = (spec->timeout_s ? spec->timeout_s : LIMIT_BUILD_S) + LIMIT_BUILD_GRACE_S;
    int64_t deadline = clock_monotonic_ms() + 1000 * seconds;
    int rc;
    do {
        rc = attend_once(q, deadline, err);
    } while (rc == 0);
    return rc < 0 ? -1 : 0;
}

/* Runs it to its end, or stops it; nothing of it is left. Then q->result is its line. */
static int run_build(struct answering *q, const struct build_spec *spec, const char *scratch,
                     struct err *err)
{
    const int not_for_it[] = {q->in, q->out, q->signals};
    struct err cleaning = ERR_INIT;
    if (build_room_open(&q->room, scratch, q->a, err) < 0)
        return -1;
    int rc = build_child_start(&q->child, spec, &q->room, not_for_it, ARRAY_LEN(not_for_it), err);
    if (rc == 0)
        rc = attend(q, spec, err);
    int status = build_child_end(&q->child);
    if (build_room_close(&q->room, &cleaning) < 0)
        log_error("what a build left cannot be removed", "why", cleaning.text, NULL);
    if (rc == 0 && !str_ends(q->result.buf, "\n"))
        return err_set(err, ERR_TEMP, 0,
                       "the process that built ended without a result, with status %d%s", status,
                       status == 128 + SIGKILL ? ": killed, perhaps for want of memory" : "");
    return rc;
}

/* ---- the conversation ---- */

static int open_signals(sigset_t *before)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        (void)sigaddset(&set, ours[i]);
    (void)sigprocmask(SIG_BLOCK, &set, before);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int converse(struct answering *q, const char *scratch, struct err *err)
{
    struct build_spec spec = {0};
    const char *line = NULL;
    if (take_spec(q, &spec, err) < 0 || run_build(q, &spec, scratch, err) < 0) {
        if (q->is_alone)
            return -1;
        line = wire_failure(err, q->a);
    } else {
        line = q->result.buf;
    }
    return talk_send(q->out, -1, line, strlen(line), LIMIT_BUILD_TALK_MS, err);
}

static void release(struct answering *q)
{
    strbuf_release(&q->line);
    strbuf_release(&q->result);
    cleanup_fd(&q->signals);
}

int build_answer(int in, int out, const char *scratch, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    sigset_t before;
    struct answering q CLEANUP(release) = {
        .in = in,
        .out = out,
        .signals = open_signals(&before),
        .a = &a,
        .child = BUILD_CHILD_INIT,
        .room = {.fd = -1},
        .line = STRBUF_INIT(WIRE_LOG_PIECE * 6 + KIB(1)),
        .result = STRBUF_INIT(LIMIT_BUILD_SPEC),
    };
    int rc = converse(&q, scratch, err);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
