#include "core/build/build_ask.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/build/build_wire.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/talk.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 200 /* `stop` is looked at so often */
#define EXE "/proc/self/exe"

struct asking {
    const struct build_peer *peer;
    const struct build_spec *spec;
    const struct build_watch *watch;
    int fd;
    pid_t child;      /* 0: none */
    struct strbuf in; /* what came and was not yet understood */
    int64_t deadline;
    int64_t log_left; /* bytes: a builder that says more is not listened to */
    bool is_done;
    bool is_heard; /* the builder said something */
    struct wire_line result;
};

static void release(struct asking *q)
{
    cleanup_fd(&q->fd);
    strbuf_release(&q->in);
}

/* Where temporary files go and which tools there are; nothing else of ours is the child's business:
 * our environment may name secrets. */
static const char *const *child_environment(struct arena *a)
{
    static const char *const kept[] = {"PATH", "TMPDIR"};
    struct str_list env = {0};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (getenv(kept[i]))
            *list_push(a, &env) = arena_printf(a, "%s=%s", kept[i], getenv(kept[i]));
    *list_push(a, &env) = "LANG=C.UTF-8";
    *list_push(a, &env) = NULL;
    return env.at;
}

static int open_conversation(struct asking *q, struct arena *a, struct err *err)
{
    const struct build_peer *peer = q->peer;
    if (peer->socket) {
        q->fd = talk_connect(peer->socket, err);
        if (q->fd >= 0)
            return 0;
        if (err->code == EAGAIN)
            return err_set(err, ERR_TEMP, EBUSY, "the builder is busy: too many wait for it");
        if (err->code == ENOENT || err->code == ECONNREFUSED)
            return err_set(err, ERR_TEMP, EBUSY,
                           "waiting for a builder: nobody listens on %s; start "
                           "slipway-builder.socket, or `slipway builder --listen`",
                           peer->socket);
        return err_wrap(err, "the builder's socket");
    }
    const char *argv[] = {"slipway", "builder", peer->scratch ? "--scratch" : NULL, peer->scratch,
                          NULL};
    const char *program = peer->program ? peer->program : EXE;
    q->fd = talk_spawn(program, argv, child_environment(a), &q->child, err);
    return q->fd < 0 ? err_wrap(err, "the builder") : 0;
}

static int understand(struct asking *q, const char *line, size_t len, struct arena *a,
                      struct err *err)
{
    struct arena here CLEANUP(arena_release) = ARENA_INIT;
    if (wire_read(line, len, &here, &q->result, err) < 0)
        return err_set(err, ERR_TEMP, EPROTO,
                       "the builder says what is not understood; is it of the same version?");
    if (q->result.kind != WIRE_LOG) {
        q->is_done = true;
        return wire_read(line, len, a, &q->result, err); /* what lasts */
    }
    int64_t size = (int64_t)q->result.log_len;
    if (q->watch && q->watch->log && size <= q->log_left)
        q->watch->log(q->watch->user, q->result.log, q->result.log_len);
    q->log_left -= size <= q->log_left ? size : 0;
    return 0;
}

/* All whole lines; the beginning of one stays. */
static int understand_lines(struct asking *q, size_t looked_at, struct arena *a, struct err *err)
{
    size_t start = 0;
    const char *end;
    while (!q->is_done &&
           (end = memchr(q->in.buf + looked_at, '\n', q->in.len - looked_at)) != NULL) {
        size_t at = (size_t)(end - q->in.buf);
        if (understand(q, q->in.buf + start, at - start, a, err) < 0)
            return -1;
        start = looked_at = at + 1;
    }
    memmove(q->in.buf, q->in.buf + start, q->in.len - start + 1);
    q->in.len -= start;
    return 0;
}

/* 1: something came; 0: it ended. */
static int take(struct asking *q, struct arena *a, struct err *err)
{
    char chunk[32768];
    ssize_t n = read(q->fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    if (n <= 0)
        return 0;
    q->is_heard = true;
    size_t before = q->in.len;
    if (strbuf_add(&q->in, chunk, (size_t)n) < 0)
        return err_set(err, ERR_TEMP, EPROTO, "the builder sends a line without end");
    return understand_lines(q, before, a, err) < 0 ? -1 : 1;
}

static int listen_to(struct asking *q, struct arena *a, struct err *err)
{
    while (!q->is_done) {
        if (q->peer->stop && atomic_load(q->peer->stop))
            return err_set(err, ERR_TEMP, ECANCELED, "the build was stopped");
        if (clock_monotonic_ms() >= q->deadline)
            return err_set(err, ERR_TEMP, ETIMEDOUT, "the builder gave no result in its time");
        struct pollfd waiting = {.fd = q->fd, .events = POLLIN};
        int ready = poll(&waiting, 1, TICK_MS);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, ERR_TEMP, errno, "poll");
        if (ready <= 0)
            continue;
        int rc = take(q, a, err);
        if (rc < 0)
            return -1;
        /* So does systemd with who comes while all builders that it may start are at work. */
        if (rc == 0 && !q->is_heard && !q->child)
            return err_set(err, ERR_TEMP, EBUSY,
                           "the builder hung up before it said anything: it is busy, or cannot "
                           "start (journalctl -u 'slipway-builder@*' says which)");
        if (rc == 0 && !q->is_done)
            return err_set(err, ERR_TEMP, ECONNRESET, "the builder went away without a result");
    }
    return 0;
}

/* One that refuses at once may have said so before it had read all: then sending fails, and what it
 * said is there to be read. */
static int converse(struct asking *q, struct arena *a, struct err *err)
{
    const char *line = arena_printf(a, "%s\n", build_spec_to_json(q->spec, a));
    if (strlen(line) > LIMIT_BUILD_SPEC)
        return err_set(err, ERR_INPUT, 0, "what is to be built takes more than %zu bytes to say",
                       (size_t)LIMIT_BUILD_SPEC);
    (void)talk_send(q->fd, -1, line, strlen(line), LIMIT_BUILD_TALK_MS, NULL);
    return listen_to(q, a, err);
}

static const struct build_layout *said_of(const struct asking *q, const char *name,
                                          const char *platform)
{
    list_each (const struct build_layout, l, &q->result.layouts)
        if (str_eq(l->name, name) && str_eq(l->platform, platform))
            return l;
    return NULL;
}

static int accept_layout(const struct asking *q, const struct build_image *image,
                         const char *platform, struct arena *a, struct build_layouts *out,
                         struct err *err)
{
    struct stat st;
    const struct build_layout *said = said_of(q, image->name, platform);
    const char *path =
        arena_printf(a, "%s/%s", q->spec->out, build_layout_name(image->name, platform, a));
    if (!said || !str_eq(said->path, path) || lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_TEMP, EPROTO,
                       "the builder says that it is done, but %s is not there", path);
    *list_push(a, out) =
        (struct build_layout){.name = image->name, .platform = platform, .path = path};
    return 0;
}

/* What the builder says is believed only as far as it can be: these places and no others. */
static int accept_result(const struct asking *q, struct arena *a, struct build_layouts *out,
                         struct err *err)
{
    if (q->result.kind == WIRE_FAILURE) {
        *err = q->result.failure;
        return -1;
    }
    *out = (struct build_layouts){0};
    list_each (const struct build_image, image, &q->spec->images) {
        size_t n = image->platforms.n;
        for (size_t i = 0; i < (n ? n : 1); i++)
            if (accept_layout(q, image, n ? image->platforms.at[i] : NULL, a, out, err) < 0)
                return -1;
    }
    return 0;
}

int build_ask(const struct build_peer *peer, const struct build_spec *spec,
              const struct build_watch *watch, struct arena *a, struct build_layouts *out,
              struct err *err)
{
    int64_t seconds = (spec->timeout_s ? spec->timeout_s : LIMIT_BUILD_S) + 2 * LIMIT_BUILD_GRACE_S;
    struct asking q CLEANUP(release) = {
        .peer = peer,
        .spec = spec,
        .watch = watch,
        .fd = -1,
        .in = STRBUF_INIT(LIMIT_BUILD_SPEC),
        .deadline = clock_monotonic_ms() + 1000 * seconds,
        .log_left = 3 * (spec->log_max ? spec->log_max : (int64_t)LIMIT_BUILD_LOG) + MIB(1),
    };
    if (open_conversation(&q, a, err) < 0)
        return -1;
    int rc = converse(&q, a, err);
    /* Also the sign for it to stop. */
    cleanup_fd(&q.fd);
    if (q.child) {
        int64_t status = talk_end(q.child, LIMIT_BUILD_CLEAN_MS + LIMIT_STOP_MS);
        if (rc < 0 && err->code == ECONNRESET)
            (void)err_set(err, ERR_TEMP, ECONNRESET,
                          "the builder ended without a result, with status %lld",
                          (long long)status);
    }
    return rc < 0 ? -1 : accept_result(&q, a, out, err);
}

int build_refuse(int out, const struct err *why)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *line = wire_failure(why, &a);
    return talk_send(out, -1, line, strlen(line), 1000, NULL);
}
