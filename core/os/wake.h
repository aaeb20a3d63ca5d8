/*
 * wake.h - a datagram that says "look at the store now". Only a hint: it may be lost or repeated,
 * and polling is the truth.
 */
#ifndef SLIPWAY_WAKE_H
#define SLIPWAY_WAKE_H

#include "core/base/err.h"

/* Binds a unix datagram socket (mode 0660, replacing a stale one) and returns its fd. */
int wake_listen(const char *path, struct err *err);

/* Waits for a datagram and drains what else is there. True when one came, false on time-out or
 * signal. */
bool wake_wait(int fd, int64_t timeout_ms);

/* Sends one without waiting; nobody listening is no error. */
void wake_send(const char *path);

#endif
