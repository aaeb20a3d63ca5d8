/*
 * stream_peer.h - a web server in the test's own process, a thread for each connection, for the
 * tests of streamed transfers: it makes and checks bodies of any length without keeping them, and
 * can be slow, silent, or gone in the midst. What it does is said in the request's line:
 *
 *   GET /blob?size=N       N bytes of the pattern; also a Range "bytes=A-"
 *       &cut=M             closes after M bytes of the answer
 *       &pause=MS          waits so long before each 64 KiB
 *       &status=S          with that status in the place of 200
 *   GET /silent            a head, ten bytes of a hundred, and nothing more
 *   PUT /take              201, "X-Taken: <bytes>" and "X-Wrong: <how many differ>"
 *       &pause=MS          as above
 *       &late=MS           answers so long after the last byte
 *   PUT /early?status=S&after=N   answers after N bytes of the body, and closes
 *   PUT /drop?after=N      closes after N bytes of the body, and says nothing
 *   PUT /hole              reads nothing of the body, answers nothing
 *
 * A request through it as a proxy is answered as if it were for itself, but CONNECT is refused
 * with connect_status.
 */
#ifndef SLIPWAY_TESTS_STREAM_PEER_H
#define SLIPWAY_TESTS_STREAM_PEER_H

#include "core/base/base.h"
#include "core/base/mem.h"
#include "tests/unit/peer.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

struct stream_peer {
    pthread_t thread;
    int fd;
    char host[32];
    atomic_int connections; /* accepted so far */
    atomic_int requests;
    atomic_int under_way;
    atomic_int connect_status;
    atomic_bool stop;
    pthread_mutex_t lock;
    char head[8192]; /* of the last request; guarded by lock */
};

struct stream_link {
    struct stream_peer *peer;
    int fd;
    char head[8192]; /* of the request, NUL-terminated */
    char rest[8192]; /* bytes of its body that came along */
    size_t rest_n;
};

static UNUSED unsigned char stream_byte(uint64_t at)
{
    return (unsigned char)((at * 2654435761u) >> 13);
}

static UNUSED long stream_param(const char *head, const char *name, long otherwise)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *line = arena_strndup(&a, head, strcspn(head, "\r"));
    const char *at = strstr(line, arena_printf(&a, "%s=", name));
    return at ? strtol(at + strlen(name) + 1, NULL, 10) : otherwise;
}

static UNUSED const char *stream_header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

static UNUSED bool stream_send(struct stream_link *l, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(l->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static UNUSED bool stream_say(struct stream_link *l, const char *head)
{
    return stream_send(l, head, strlen(head));
}

/* Waits until the other side has closed. */
static UNUSED void stream_hold(struct stream_link *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLRDHUP};
    while (!atomic_load(&l->peer->stop) && poll(&p, 1, 20) == 0)
        ;
}

static UNUSED bool stream_blob(struct stream_link *l)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    long size = stream_param(l->head, "size", 0), cut = stream_param(l->head, "cut", -1);
    long status = stream_param(l->head, "status", 200), at = 0;
    const char *range = stream_header(l->head, "\nRange: bytes=");
    if (range) {
        at = strtol(range, NULL, 10);
        status = 206;
    }
    if (!stream_say(l,
                    arena_printf(&a, "HTTP/1.1 %ld Yes\r\nContent-Length: %ld\r\nX-At: %ld\r\n\r\n",
                                 status, size - at, at)))
        return false;
    char *piece = arena_alloc(&a, 65536);
    for (long sent = 0; at < size;) {
        long n = size - at < 65536 ? size - at : 65536;
        if (cut >= 0 && n > cut - sent)
            n = cut - sent;
        if (n == 0)
            return false;
        for (long i = 0; i < n; i++)
            piece[i] = (char)stream_byte((uint64_t)(at + i));
        peer_pause(stream_param(l->head, "pause", 0));
        if (!stream_send(l, piece, (size_t)n))
            return false;
        at += n;
        sent += n;
    }
    return true;
}

/* Reads up to `max` bytes of the body; 0 at its end. */
static UNUSED size_t stream_read(struct stream_link *l, char *buf, size_t max)
{
    if (l->rest_n) {
        size_t n = l->rest_n < max ? l->rest_n : max;
        memcpy(buf, l->rest, n);
        memmove(l->rest, l->rest + n, l->rest_n - n);
        l->rest_n -= n;
        return n;
    }
    ssize_t n = recv(l->fd, buf, max, 0);
    return n > 0 ? (size_t)n : 0;
}

static UNUSED bool stream_take(struct stream_link *l)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *length = stream_header(l->head, "\nContent-Length: ");
    long size = length ? strtol(length, NULL, 10) : -1, at = 0, wrong = 0;
    long pause = stream_param(l->head, "pause", 0);
    char *piece = arena_alloc(&a, 65536);
    while (at < size) {
        size_t n = stream_read(l, piece, size - at < 65536 ? (size_t)(size - at) : 65536);
        if (n == 0)
            return false;
        for (size_t i = 0; i < n; i++)
            wrong += (unsigned char)piece[i] != stream_byte((uint64_t)at + i);
        at += (long)n;
        peer_pause(pause);
    }
    peer_pause(stream_param(l->head, "late", 0));
    return stream_say(l, arena_printf(&a,
                                      "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n"
                                      "X-Taken: %ld\r\nX-Wrong: %ld\r\n\r\nok",
                                      at, wrong));
}

static UNUSED bool stream_drop(struct stream_link *l)
{
    long left = stream_param(l->head, "after", 0);
    char piece[4096];
    while (left > 0) {
        size_t n = stream_read(l, piece, left < 4096 ? (size_t)left : 4096);
        if (n == 0)
            return false;
        left -= (long)n;
    }
    return false;
}

static UNUSED bool stream_early(struct stream_link *l)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    (void)stream_drop(l);
    (void)stream_say(l, arena_printf(&a,
                                     "HTTP/1.1 %ld No\r\nContent-Length: 7\r\nX-Early: 1\r\n\r\n"
                                     "no more",
                                     stream_param(l->head, "status", 413)));
    return false;
}

static UNUSED bool stream_silent(struct stream_link *l)
{
    (void)stream_say(l, "HTTP/1.1 200 Yes\r\nContent-Length: 100\r\n\r\n0123456789");
    stream_hold(l);
    return false;
}

static UNUSED bool stream_hole(struct stream_link *l)
{
    stream_hold(l);
    return false;
}

static UNUSED bool stream_connect(struct stream_link *l)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    (void)stream_say(l, arena_printf(&a, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n",
                                     atomic_load(&l->peer->connect_status)));
    return false;
}

static UNUSED bool stream_head(struct stream_link *l)
{
    size_t n = 0;
    for (const char *end = NULL; !end; end = strstr(l->head, "\r\n\r\n")) {
        ssize_t got = recv(l->fd, l->head + n, sizeof l->head - 1 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        l->head[n] = '\0';
    }
    size_t head = (size_t)(strstr(l->head, "\r\n\r\n") - l->head) + 4;
    l->rest_n = n - head;
    memcpy(l->rest, l->head + head, l->rest_n);
    l->head[head] = '\0';
    (void)atomic_fetch_add(&l->peer->requests, 1);
    (void)pthread_mutex_lock(&l->peer->lock);
    memcpy(l->peer->head, l->head, head + 1);
    (void)pthread_mutex_unlock(&l->peer->lock);
    return true;
}

static UNUSED void *stream_serve(void *user)
{
    struct stream_link *l = user;
    static const struct {
        const char *path;
        bool (*serve)(struct stream_link *);
    } table[] = {{"/blob", stream_blob},      {"/take", stream_take},     {"/early", stream_early},
                 {"/drop", stream_drop},      {"/silent", stream_silent}, {"/hole", stream_hole},
                 {"CONNECT ", stream_connect}};
    bool on = true;
    while (on && stream_head(l)) {
        on = false;
        for (size_t i = 0; i < ARRAY_LEN(table); i++)
            if (strstr(l->head, table[i].path)) {
                on = table[i].serve(l);
                break;
            }
        memset(l->head, 0, sizeof l->head);
    }
    (void)close(l->fd);
    (void)atomic_fetch_sub(&l->peer->under_way, 1);
    free(l);
    return NULL;
}

static UNUSED void *stream_accept(void *user)
{
    struct stream_peer *p = user;
    for (int fd; (fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        struct stream_link *l = xcalloc(1, sizeof *l);
        pthread_t thread;
        l->peer = p;
        l->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        (void)atomic_fetch_add(&p->connections, 1);
        (void)atomic_fetch_add(&p->under_way, 1);
        if (pthread_create(&thread, NULL, stream_serve, l) != 0)
            abort();
        (void)pthread_detach(thread);
    }
    return NULL;
}

static UNUSED void stream_peer_start(struct stream_peer *p)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(p, 0, sizeof *p);
    (void)pthread_mutex_init(&p->lock, NULL);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(p->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(p->fd, 64) != 0 ||
        getsockname(p->fd, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&p->thread, NULL, stream_accept, p) != 0)
        abort();
    (void)snprintf(p->host, sizeof p->host, "127.0.0.1:%d", ntohs(address.sin_port));
}

/* After its client is gone. */
static UNUSED void stream_peer_stop(struct stream_peer *p)
{
    atomic_store(&p->stop, true);
    (void)shutdown(p->fd, SHUT_RDWR);
    (void)pthread_join(p->thread, NULL);
    (void)close(p->fd);
    while (atomic_load(&p->under_way))
        peer_pause(5);
}

/* The last request's head, in the arena. */
static UNUSED const char *stream_seen(struct arena *a, struct stream_peer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    const char *head = arena_strdup(a, p->head);
    (void)pthread_mutex_unlock(&p->lock);
    return head;
}

#endif
