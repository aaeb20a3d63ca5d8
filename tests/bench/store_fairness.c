/*
 * store_fairness.c - what a worker's commit costs while a receiver with 64 clients keeps the store
 * busy: a row of a table, with the bare cost of a sync beside it. store_fairness [DIRECTORY]
 */
#include "core/base/base.h"

#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 64, COMMITS = 400, BODY = 8192, SYNCS = 200 };

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void NORETURN die(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "store_fairness: %s: %s\n", what, err->text);
    exit(1);
}

static double sync_median(const char *dir)
{
    static double took[SYNCS];
    CLEANUP(cleanup_free) char *path = xasprintf("%s/probe", dir);
    CLEANUP(cleanup_fd) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    char page[4096] = {0};
    for (size_t i = 0; i < SYNCS; i++) {
        double start = now_ms();
        if (pwrite(fd, page, sizeof page, 0) < 0 || fdatasync(fd))
            return -1;
        took[i] = now_ms() - start;
    }
    qsort(took, SYNCS, sizeof took[0], compare);
    return took[SYNCS / 2];
}

struct client {
    struct store *s;
    int number;
    atomic_long *accepted; /* shared with the other process */
};

static void *put_for_ever(void *arg)
{
    const struct client *c = arg;
    struct err err = ERR_INIT;
    char *body = xcalloc(1, BODY);
    for (int i = 0;; i++) {
        bool repeat;
        (void)snprintf(body, 64, "client %d body %d", c->number, i);
        struct delivery d = {.source = "bench", .body = body, .body_len = BODY};
        if (store_delivery_put(c->s, &d, &repeat, &err))
            die("put", &err);
        (void)atomic_fetch_add(c->accepted, 1);
    }
    return NULL;
}

static void NORETURN receiver(const char *url, atomic_long *accepted)
{
    static struct client clients[CLIENTS];
    struct err err = ERR_INIT;
    struct store *s = NULL;
    pthread_t thread;
    if (store_open(&(struct store_opts){.url = url}, &s, &err))
        die("open", &err);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.s = s, .number = i, .accepted = accepted};
        if (pthread_create(&thread, NULL, put_for_ever, &clients[i]))
            die("thread", &err);
    }
    for (;;)
        (void)pause();
}

static void measure(struct store *s, double *took)
{
    struct err err = ERR_INIT;
    struct task t = {.forge = "f",
                     .project = "p",
                     .pipeline = "promote",
                     .lane = "l",
                     .key = "k",
                     .ref = "r",
                     .event = "{}",
                     .state = TASK_FAILED,
                     .reason = "-"};
    for (int i = 0; i < COMMITS; i++) {
        double start = now_ms();
        if (store_task_settle(s, &t, NULL, &err))
            die("settle", &err);
        took[i] = now_ms() - start;
        clock_sleep_ms(2);
    }
    qsort(took, COMMITS, sizeof took[0], compare);
}

int main(int argc, char **argv)
{
    static double alone[COMMITS], busy[COMMITS];
    struct err err = ERR_INIT;
    struct store *s = NULL;
    CLEANUP(cleanup_free)
    char *dir = xasprintf("%s/store_fairness.XXXXXX", argc > 1 ? argv[1] : "/tmp");
    atomic_long *accepted =
        mmap(NULL, sizeof *accepted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!mkdtemp(dir) || accepted == MAP_FAILED)
        return 1;
    CLEANUP(cleanup_free) char *url = xasprintf("sqlite:%s/s.db", dir);
    if (store_open(&(struct store_opts){.url = url, .may_create = true}, &s, &err))
        die("open", &err);
    store_close(s);
    pid_t child = fork();
    if (child == 0) {
        clock_sleep_ms(3000); /* the store is measured alone first */
        receiver(url, accepted);
    }
    if (store_open(&(struct store_opts){.url = url}, &s, &err))
        die("open", &err);
    double sync = sync_median(dir);
    measure(s, alone);
    while (atomic_load(accepted) < CLIENTS)
        clock_sleep_ms(10);
    long before = atomic_load(accepted);
    double start = now_ms();
    measure(s, busy);
    long during = atomic_load(accepted) - before;
    double seconds = (now_ms() - start) / 1e3;
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    store_close(s);
    (void)fs_remove_tree(dir, NULL);
    (void)printf("| worker's commit | median ms | p99 ms | worst ms |\n| --- | --- | --- | --- |\n"
                 "| alone | %.1f | %.1f | %.1f |\n"
                 "| beside %d clients, %.0f deliveries/s of %d bytes | %.1f | %.1f | %.1f |\n"
                 "\nfdatasync median %.2f ms; goal: p99 beside the clients <= 20 ms: %s\n",
                 alone[COMMITS / 2], alone[COMMITS * 99 / 100], alone[COMMITS - 1], CLIENTS,
                 (double)during / seconds, BODY, busy[COMMITS / 2], busy[COMMITS * 99 / 100],
                 busy[COMMITS - 1], sync, busy[COMMITS * 99 / 100] <= 20 ? "met" : "MISSED");
    return 0;
}
