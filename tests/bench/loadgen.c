/*
 * Many clients that send signed webhooks over kept-alive HTTP, as fast as they are answered. Every
 * body is unique and signed anew (GitHub's X-Hub-Signature-256). One thread, epoll: the machine's
 * processors belong to what is measured.
 *
 *     loadgen PORT PATH SECRET_FILE CLIENTS BODY_BYTES SECONDS [EVENT]
 *
 * Prints one JSON object: requests, rate, latencies in milliseconds, answers by class, own CPU.
 */
#include "core/base/base.h"
#include "core/base/mem.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define BODY_MAX (1 << 20)
#define ANSWER_MAX 16384
#define HEAD_MAX 1024
#define SAMPLES_MAX 4000000

struct client {
    int fd;
    char *request; /* head and body */
    size_t len;
    size_t sent;
    char answer[ANSWER_MAX];
    size_t got;
    int64_t started;
};

struct load {
    int port;
    const char *path;
    const char *event;
    char secret[256];
    size_t secret_len;
    size_t body_len;
    uint64_t serial;
    int epoll;
    int64_t until;
    uint32_t *samples; /* microseconds */
    size_t n;
    size_t classes[6]; /* answers 1xx to 5xx; 0: broken connections */
    size_t running;
};

static int64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

/* A pull request's merge, filled up with text to the wanted size. */
static void write_body(struct load *load, char *body)
{
    int n = snprintf(body, load->body_len + 1,
                     "{\"action\":\"closed\",\"number\":%" PRIu64
                     ",\"pull_request\":{\"number\":%" PRIu64
                     ",\"merged\":true,\"merged_at\":\"2026-01-02T03:04:05Z\","
                     "\"merge_commit_sha\":\"%040" PRIx64 "\",\"base\":{\"ref\":\"main\"},"
                     "\"head\":{\"sha\":\"%040" PRIx64 "\"}},"
                     "\"repository\":{\"full_name\":\"load/app\",\"default_branch\":\"main\"},"
                     "\"filler\":\"",
                     load->serial, load->serial, load->serial, load->serial);

    memset(body + n, 'x', load->body_len - (size_t)n - 2);
    memcpy(body + load->body_len - 2, "\"}", 3);
}

static void make_request(struct load *load, struct client *c)
{
    unsigned char mac[CRYPT_SHA256_BYTES];
    char hex[CRYPT_SHA256_HEX] = "";
    char *body = c->request + HEAD_MAX;

    load->serial++;
    write_body(load, body);
    crypt_hmac_sha256(load->secret, load->secret_len, body, load->body_len, mac);
    for (size_t i = 0; i < sizeof mac; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", mac[i]);

    char head[HEAD_MAX];
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nX-GitHub-Event: %s\r\n"
                     "X-GitHub-Delivery: 00000000-0000-4000-8000-%012" PRIx64 "\r\n"
                     "X-Hub-Signature-256: sha256=%s\r\n\r\n",
                     load->path, load->body_len, load->event, load->serial, hex);

    memmove(c->request + n, body, load->body_len);
    memcpy(c->request, head, (size_t)n);
    c->len = (size_t)n + load->body_len;
    c->sent = c->got = 0;
    c->started = now_us();
}

static void open_client(struct load *load, struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)load->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

/* The length of a complete answer in the buffer, 0 while it is not complete. */
static size_t answer_len(struct client *c)
{
    c->answer[c->got] = '\0';
    const char *end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return 0;
    size_t head = (size_t)(end - c->answer) + 4;
    const char *field = strcasestr(c->answer, "\r\nContent-Length:");
    if (field && field < end) {
        size_t whole = head + strtoul(field + 17, NULL, 10);
        return c->got >= whole ? whole : 0;
    }
    field = strcasestr(c->answer, "\r\nTransfer-Encoding: chunked");
    if (field && field < end)
        return strstr(c->answer + head - 2, "\r\n0\r\n\r\n") ? c->got : 0;
    return head;
}

static void close_client(struct load *load, struct client *c)
{
    (void)close(c->fd);
    c->fd = -1;
    load->running--;
}

/* The connection ended or spoke nonsense: counted, and opened again. */
static void reopen(struct load *load, struct client *c)
{
    load->classes[0]++;
    (void)close(c->fd);
    open_client(load, c);
    make_request(load, c);
}

static void settle(struct load *load, struct client *c)
{
    int64_t now = now_us();
    int class = c->answer[9] - '0';

    if (strncmp(c->answer, "HTTP/1.", 7) != 0 || class < 1 || class > 5)
        class = 0;
    load->classes[class]++;
    if (load->n < SAMPLES_MAX)
        load->samples[load->n++] = (uint32_t)(now - c->started);
    c->got = 0;
    if (now >= load->until) {
        close_client(load, c);
        return;
    }
    make_request(load, c);
}

/* Goes on with one client until its socket would block. */
static void drive(struct load *load, struct client *c)
{
    while (c->fd >= 0) {
        if (c->sent < c->len) {
            ssize_t n = send(c->fd, c->request + c->sent, c->len - c->sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN)
                return;
            if (n < 0) {
                reopen(load, c);
                return;
            }
            c->sent += (size_t)n;
            continue;
        }
        ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            reopen(load, c);
            return;
        }
        c->got += (size_t)n;
        if (answer_len(c) > 0)
            settle(load, c);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double percentile(const struct load *load, double p)
{
    if (load->n == 0)
        return 0;
    return load->samples[(size_t)(p * (double)(load->n - 1))] / 1000.0;
}

static void print(struct load *load, double seconds)
{
    struct rusage usage;

    qsort(load->samples, load->n, sizeof *load->samples, by_value);
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    (void)printf("{\"requests\": %zu, \"seconds\": %.3f, \"rate\": %.1f, \"p50_ms\": %.3f, "
                 "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"answers\": {\"2xx\": %zu, \"4xx\": %zu, "
                 "\"5xx\": %zu, \"broken\": %zu}, \"cpu_s\": %.2f}\n",
                 load->n, seconds, (double)load->n / seconds, percentile(load, 0.5),
                 percentile(load, 0.99), percentile(load, 1), load->classes[2], load->classes[4],
                 load->classes[5], load->classes[0], cpu);
}

static void read_secret(struct load *load, const char *path)
{
    FILE *file = fopen(path, "re");

    if (!file || !fgets(load->secret, sizeof load->secret, file))
        die(path);
    (void)fclose(file);
    load->secret_len = strcspn(load->secret, "\r\n");
}

static void run(struct load *load, struct client *clients, size_t n)
{
    struct epoll_event events[64];

    load->running = n;
    for (size_t i = 0; i < n; i++) {
        open_client(load, &clients[i]);
        make_request(load, &clients[i]);
    }
    while (load->running > 0) {
        int ready = epoll_wait(load->epoll, events, ARRAY_LEN(events), 10000);
        if (ready <= 0)
            die("no answer for 10 s");
        for (int i = 0; i < ready; i++)
            drive(load, events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    struct load load = {.event = argc > 7 ? argv[7] : "pull_request"};
    uint64_t port, n, size, seconds;

    if (argc < 7 || !str_to_u64(argv[1], &port) || !str_to_u64(argv[4], &n) ||
        !str_to_u64(argv[5], &size) || !str_to_u64(argv[6], &seconds) || port > 65535 || n < 1 ||
        n > CLIENTS_MAX || size < 512 || size > BODY_MAX || strlen(argv[2]) > 200) {
        (void)fputs("usage: loadgen PORT PATH SECRET_FILE CLIENTS BODY_BYTES SECONDS [EVENT]\n",
                    stderr);
        return 2;
    }
    load.port = (int)port;
    load.path = argv[2];
    load.body_len = (size_t)size;
    /* Each run starts elsewhere, so that no body of an earlier one comes again. */
    load.serial = (uint64_t)now_us() << 8;
    read_secret(&load, argv[3]);
    load.samples = xmalloc(SAMPLES_MAX * sizeof *load.samples);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = xcalloc(n, sizeof *clients);
    for (size_t i = 0; i < n; i++)
        clients[i].request = xmalloc(HEAD_MAX + load.body_len + 1);

    int64_t started = now_us();
    load.until = started + (int64_t)seconds * 1000000;
    run(&load, clients, (size_t)n);
    print(&load, (double)(now_us() - started) / 1e6);
    for (size_t i = 0; i < n; i++)
        free(clients[i].request);
    free(clients);
    free(load.samples);
    return load.classes[2] > 0 ? 0 : 1;
}
