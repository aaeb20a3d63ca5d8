/*
 * listen.h - the unix socket that the web server connects to: made by us, or inherited. Never TCP:
 * whoever reaches a FastCGI socket can hold a thread and claim any address.
 */
#ifndef SLIPWAY_LISTEN_H
#define SLIPWAY_LISTEN_H

#include "core/base/err.h"

#include <sys/types.h>

struct listener {
    int fd;
    const char *path; /* set when we made the socket: ours to remove */
    dev_t dev;
    ino_t ino;
};

/*
 * In this order: `flag` (--listen), systemd's socket (LISTEN_PID, LISTEN_FDS: fd 3), fd 0 when it
 * is a listening socket (spawn-fcgi), `configured`. Inherited sockets go before the configured path
 * because who starts us with one means it. The path must live as long as the listener.
 *
 * A socket of our own has mode 0660; one that a dead process left is replaced, one that somebody
 * listens on is not: ERR_CONFIG. Single-threaded: it sets the umask for a moment.
 */
int listener_open(struct listener *l, const char *flag, const char *configured, struct err *err);

/* Removes our own socket from the file system, so that nobody connects any more; those who have
 * connected can still be accepted. */
void listener_withdraw(struct listener *l);
void listener_close(struct listener *l);

#endif
