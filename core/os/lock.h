/*
 * lock.h - flock(2) locks on files: the turnstile in front of the store, and "one work per store".
 *
 * The turnstile keeps a rare writer from being starved by many: everybody takes `next`, then
 * `data`, and lets go of `next` at once, so at most one waiter stands between a newcomer and
 * `data`. The lock files are beside the database and never removed. The calling process must
 * serialise its own threads: a lock belongs to the open file.
 */
#ifndef SLIPWAY_LOCK_H
#define SLIPWAY_LOCK_H

#include "core/base/err.h"

struct turnstile {
    int next; /* fd, -1 when closed */
    int data;
};

#define TURNSTILE_INIT                                                                             \
    {                                                                                              \
        -1, -1                                                                                     \
    }

/* Opens (and creates, mode 0660 whatever the umask) `<base>.next` and `<base>.data`. */
int turnstile_open(struct turnstile *t, const char *base, struct err *err);
void turnstile_close(struct turnstile *t);
int turnstile_enter(struct turnstile *t, bool exclusive, struct err *err);
void turnstile_leave(struct turnstile *t);

/* Takes an exclusive lock on a file (created, 0660) without waiting. Returns the fd to keep open
 * for as long as the lock is wanted, or -1: ERR_CONFIG with code EWOULDBLOCK when another process
 * holds it. */
int lock_file_try(const char *path, struct err *err);

/* The same, but waits until the lock is free. Excludes threads of this process too: each call
 * opens the file anew. */
int lock_file_wait(const char *path, struct err *err);

#endif
