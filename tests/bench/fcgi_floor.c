/*
 * The floor of what a FastCGI receiver can do: an empty program on libfcgi that reads its body and
 * answers 202. Same library, same nginx, nothing kept.
 *
 *     fcgi_floor SOCKET THREADS
 */
#include "core/base/base.h"
#include "core/base/mem.h"
#include "core/base/str.h"

#include <pthread.h>
#include <unistd.h>

#include <fcgiapp.h>

#define BACKLOG 4096
#define PIECE 65536

struct receiver {
    int fd;
    pthread_mutex_t accepting;
};

static void *receive(void *arg)
{
    struct receiver *receiver = arg;
    char *piece = xmalloc(PIECE);
    FCGX_Request request;

    if (FCGX_InitRequest(&request, receiver->fd, 0) != 0)
        abort();
    for (;;) {
        (void)pthread_mutex_lock(&receiver->accepting);
        int accepted = FCGX_Accept_r(&request);
        (void)pthread_mutex_unlock(&receiver->accepting);
        if (accepted != 0)
            break;
        while (FCGX_GetStr(piece, PIECE, request.in) > 0)
            ;
        (void)FCGX_FPrintF(request.out, "Status: 202 Accepted\r\nContent-Type: text/plain\r\n\r\n");
        FCGX_Finish_r(&request);
    }
    free(piece);
    return NULL;
}

int main(int argc, char **argv)
{
    struct receiver receiver = {.accepting = PTHREAD_MUTEX_INITIALIZER};
    uint64_t threads;
    pthread_t last;

    if (argc != 3 || !str_to_u64(argv[2], &threads) || threads < 1 || threads > 1024) {
        (void)fputs("usage: fcgi_floor SOCKET THREADS\n", stderr);
        return 2;
    }
    (void)FCGX_Init();
    (void)unlink(argv[1]);
    receiver.fd = FCGX_OpenSocket(argv[1], BACKLOG);
    if (receiver.fd < 0)
        return 1;
    for (uint64_t i = 0; i < threads; i++)
        if (pthread_create(&last, NULL, receive, &receiver) != 0)
            return 1;
    (void)pthread_join(last, NULL);
    return 1;
}
