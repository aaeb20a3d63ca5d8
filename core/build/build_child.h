/*
 * build_child.h - build_run in a process of its own, under the eyes of another: whatever happens to
 * one of them, the other ends every process of the build and removes its room. The calling process
 * must have one thread, and ignore SIGPIPE.
 */
#ifndef SLIPWAY_BUILD_CHILD_H
#define SLIPWAY_BUILD_CHILD_H

#include "core/build/build.h"
#include "core/build/build_room.h"

struct build_child {
    pid_t pid;
    int ended;   /* a pidfd: readable when it has ended */
    int log;     /* what the tools say, non-blocking */
    int result;  /* at its end: the line of build_wire.h, non-blocking */
    int control; /* open for as long as it shall build */
};

#define BUILD_CHILD_INIT                                                                           \
    {                                                                                              \
        .ended = -1, .log = -1, .result = -1, .control = -1                                        \
    }

/* `not_for_it`: descriptors of ours that it must not hold, -1 for none. */
int build_child_start(struct build_child *child, const struct build_spec *spec,
                      struct build_room *room, const int *not_for_it, size_t n, struct err *err);

/* Stops it when it has not ended, waits for it, ends whatever it left running. Returns its exit
 * status, or 128 + signal. The descriptors are closed. */
int build_child_end(struct build_child *child);

#endif
