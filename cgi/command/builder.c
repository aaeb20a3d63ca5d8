#include "cgi/command.h"

#include "cgi/harden.h"
#include "cgi/web/listen.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/build/build_ask.h"
#include "core/os/fs.h"
#include "core/os/reap.h"
#include "core/os/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSTEMD_FD 3

/* Each conversation is a process, so that the one that listens can answer others meanwhile. */
struct serving {
    struct listener listener;
    const char *scratch;
    int signals;
    sigset_t before;    /* the signals that a conversation may get */
    pid_t conversation; /* 0: none */
    bool is_busy;       /* also with what a killed conversation left, until that has ended */
    bool is_stopping;
};

static NORETURN void serve_conversation(struct serving *s, int fd)
{
    struct err err = ERR_INIT;
    (void)close(s->listener.fd);
    (void)close(s->signals);
    (void)sigprocmask(SIG_SETMASK, &s->before, NULL);
    if (build_answer(fd, fd, s->scratch, &err) < 0) {
        log_warn("no result was given", "why", err.text, NULL);
        _exit(EXIT_FAILED);
    }
    _exit(EXIT_DONE);
}

static void begin_conversation(struct serving *s, int fd)
{
    struct err why = ERR_INIT;
    pid_t pid = fork();
    if (pid == 0)
        serve_conversation(s, fd);
    if (pid < 0) {
        (void)err_errno(&why, ERR_TEMP, errno, "the builder");
        (void)build_refuse(fd, &why);
        return;
    }
    s->conversation = pid;
    s->is_busy = true;
}

/* The socket's mode says the same, where whoever made it took care. */
static bool may_ask(int fd)
{
    uid_t uid;
    gid_t gid;
    return talk_peer(fd, &uid, &gid) &&
           (uid == 0 || uid == geteuid() || talk_peer_in_group(fd, getegid()));
}

static void refuse_stranger(int fd)
{
    struct err why = ERR_INIT;
    log_warn("refused: the peer is not of the builder's group", NULL);
    (void)err_set(&why, ERR_CONFIG, EACCES,
                  "the builder serves root and members of its own group only");
    (void)build_refuse(fd, &why);
}

static void answer_one(struct serving *s)
{
    struct err why = ERR_INIT;
    int fd CLEANUP(cleanup_fd) = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!may_ask(fd)) {
        refuse_stranger(fd);
    } else if (s->is_busy || s->is_stopping) {
        (void)err_set(&why, ERR_TEMP, EBUSY, "the builder is at work for somebody else");
        (void)build_refuse(fd, &why);
    } else {
        begin_conversation(s, fd);
    }
}

static void reap(struct serving *s)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != s->conversation)
            continue;
        s->conversation = 0;
        if (WIFSIGNALED(status))
            log_warn("a conversation was killed: the builder waits until its build has ended",
                     NULL);
    }
    s->is_busy = pid == 0;
}

static void take_signals(struct serving *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD || s->is_stopping)
            continue;
        s->is_stopping = true;
        log_info("stopping", NULL);
        listener_withdraw(&s->listener);
        if (s->conversation)
            (void)kill(s->conversation, SIGTERM);
    }
    reap(s);
}

static int serve(struct serving *s)
{
    reap_adopt();
    (void)fcntl(s->listener.fd, F_SETFL, O_NONBLOCK);
    while (s->is_busy || !s->is_stopping) {
        struct pollfd fds[] = {{.fd = s->listener.fd, .events = POLLIN},
                               {.fd = s->signals, .events = POLLIN}};
        if (poll(fds, ARRAY_LEN(fds), -1) < 0)
            continue;
        if (fds[1].revents)
            take_signals(s);
        if (fds[0].revents)
            answer_one(s);
    }
    return EXIT_DONE;
}

static int listen_and_serve(const char *path, const char *scratch)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    struct serving s = {.listener = {.fd = -1}, .scratch = scratch};
    struct err err = ERR_INIT;
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        (void)sigaddset(&set, ours[i]);
    (void)sigprocmask(SIG_BLOCK, &set, &s.before);
    s.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int code = EXIT_FAILED;
    if (s.signals < 0)
        (void)err_errno(&err, ERR_CONFIG, errno, "signalfd");
    if (s.signals < 0 || listener_open(&s.listener, path, NULL, &err) < 0)
        code = command_failed(&err);
    else
        code = serve(&s);
    listener_close(&s.listener);
    cleanup_fd(&s.signals);
    return code;
}

/* What systemd has accepted for us, of a socket with Accept=yes; -1: nothing. */
static int accepted_fd(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t number;
    int listening = 1;
    socklen_t len = sizeof listening;
    if (!pid || !str_eq(fds, "1") || !str_to_u64(pid, &number) || number != (uint64_t)getpid() ||
        getsockopt(SYSTEMD_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || listening)
        return -1;
    return SYSTEMD_FD;
}

static int converse_on(int fd, const char *scratch)
{
    struct err err = ERR_INIT;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!may_ask(fd)) {
        refuse_stranger(fd);
        return EXIT_DENIED;
    }
    return build_answer(fd, fd, scratch, &err) < 0 ? command_failed(&err) : EXIT_DONE;
}

static int converse(const char *scratch)
{
    struct err err = ERR_INIT;
    if (isatty(STDIN_FILENO))
        return command_usage(&command_builder, "standard input is a terminal, and one line of "
                                               "JSON is expected from `slipway work`");
    return build_answer(STDIN_FILENO, STDOUT_FILENO, scratch, &err) < 0 ? command_failed(&err)
                                                                        : EXIT_DONE;
}

static int run(int argc, char **argv)
{
    const char *listen = NULL, *scratch = NULL;
    const struct flag flags[] = {
        {"listen", 0, FLAG_STR, &listen},
        {"scratch", 0, FLAG_STR, &scratch},
    };
    int positional;
    int code = flags_parse(&command_builder, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    if (positional)
        return command_usage(&command_builder, "unexpected argument '%s'", argv[1]);
    log_set_role("builder");
    harden_no_core_dumps();
    harden_file_limits();
    int accepted = listen ? -1 : accepted_fd();
    if (accepted >= 0)
        return converse_on(accepted, scratch);
    return listen || getenv("LISTEN_FDS") ? listen_and_serve(listen, scratch) : converse(scratch);
}

const struct command command_builder = {
    .name = "builder",
    .summary = "build images for `work`, under a user of its own",
    .help =
        "Examples:\n"
        "  slipway builder --listen /run/slipway/builder.sock --scratch /var/lib/slipway-builder\n"
        "  slipway builder < spec.json\n"
        "\n"
        "Takes one line of JSON that says what is to be built, and answers with lines of\n"
        "JSON: the log as it comes, and at last the result. It reads no configuration and no\n"
        "secrets. The conversation is over standard input and output; with --listen, or a\n"
        "socket from systemd, over a unix socket, for root and the members of the group that\n"
        "the builder runs with: one build at a time, and others are told at once that it is\n"
        "busy. From a socket with Accept=yes it takes the one conversation that systemd has\n"
        "started it for. When the one who asked goes away, the build is stopped. However a\n"
        "build ends, none of its processes and nothing in the scratch folder is left.\n"
        "\n"
        "Flags:\n"
        "      --listen PATH   make and listen on this unix socket (mode 0660)\n"
        "      --scratch DIR   where throw-away things go ($TMPDIR, else /var/tmp)\n",
    .run = run,
};
