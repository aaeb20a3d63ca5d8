#include "cgi/command/stopping.h"

#include <unistd.h>

static void *stopping_main(void *arg)
{
    struct stopping *s = arg;
    int sig = 0;
    while (sigwait(&s->signals, &sig) == 0 && sig != SIGUSR2) {
        if (atomic_exchange(&s->stop, true))
            _exit(128 + sig);
        (void)fprintf(stderr, "slipway: ending; once more to end at once\n");
    }
    return NULL;
}

void stopping_begin(struct stopping *s)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2};
    atomic_store(&s->stop, false);
    (void)sigemptyset(&s->signals);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        (void)sigaddset(&s->signals, ours[i]);
    (void)pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
    s->has_thread = pthread_create(&s->thread, NULL, stopping_main, s) == 0;
    /* Without the thread nobody would hear them. */
    if (!s->has_thread)
        (void)pthread_sigmask(SIG_UNBLOCK, &s->signals, NULL);
}

void stopping_end(struct stopping *s)
{
    if (!s->has_thread)
        return;
    (void)pthread_kill(s->thread, SIGUSR2);
    (void)pthread_join(s->thread, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, &s->signals, NULL);
    s->has_thread = false;
}
