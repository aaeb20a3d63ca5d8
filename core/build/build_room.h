/*
 * build_room.h - the folder below scratch in which all throw-away things of one job are. It is
 * locked for as long as the job lasts, so that what a killed builder left can be told from what is
 * in use, and is removed by the next job.
 */
#ifndef SLIPWAY_BUILD_ROOM_H
#define SLIPWAY_BUILD_ROOM_H

#include "core/base/err.h"
#include "core/base/mem.h"

struct build_room {
    const char *path; /* NULL: closed; of the arena */
    int fd;           /* holds the lock, in every process that has inherited it */
};

/* Below `scratch`; NULL: $TMPDIR, else /var/tmp. Removes the rooms of our user that nobody holds
 * any more. ERR_CONFIG when nothing can be made there. */
int build_room_open(struct build_room *room, const char *scratch, struct arena *a, struct err *err);

/* Removes it with everything in it, files of subordinate ids too. Whoever still runs in it has to
 * be ended before. A room that is gone is no error. */
int build_room_close(struct build_room *room, struct err *err);

#endif
