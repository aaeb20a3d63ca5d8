/*
 * talk.h - conversations with another process over a unix stream socket: one that listens, or a
 * child of ours that has the socket as its standard input and output. And who is at the other end.
 */
#ifndef SLIPWAY_TALK_H
#define SLIPWAY_TALK_H

#include "core/base/err.h"

#include <sys/types.h>

/* A connected socket, non-blocking. ERR_TEMP when nobody listens or the path is not there (he may
 * come back), ERR_CONFIG when we may not. */
int talk_connect(const char *path, struct err *err);

/* Starts the program with exactly this environment; its standard error is ours, and it leads a
 * process group of its own. The socket is non-blocking on our side only. */
int talk_spawn(const char *program, const char *const *argv, const char *const *env, pid_t *child,
               struct err *err);

/* Waits for the child, kills it when it has not ended in time, and reaps it. Returns its exit
 * status, or 128 + signal. */
int talk_end(pid_t child, int64_t patience_ms);

/* Sends all, waiting at most stall_ms for room each time. It raises no SIGPIPE on sockets;
 * elsewhere the process has to ignore that signal. ERR_TEMP with EPIPE: the other side is gone.
 * When `watch` is not negative and can be read or has hung up meanwhile: ERR_TEMP, ECANCELED. */
int talk_send(int fd, int watch, const void *data, size_t len, int64_t stall_ms, struct err *err);

/* Who connected (SO_PEERCRED); false when fd is no unix socket. */
bool talk_peer(int fd, uid_t *uid, gid_t *gid);
/* Is this group the peer's own, or among its other groups? */
bool talk_peer_in_group(int fd, gid_t group);

#endif
