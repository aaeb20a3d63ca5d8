/*
 * reap.h - what a process has to do so that nothing that it started outlives it: adopt what its
 * children leave behind, and end it.
 */
#ifndef SLIPWAY_REAP_H
#define SLIPWAY_REAP_H

#include "core/base/base.h"

#include <sys/types.h>

/* From now on orphans of our children become our children (for this process only, not for those
 * that it forks). */
void reap_adopt(void);

/* SIGKILL to every process that is a child of ours just now; returns how many there are. */
size_t reap_kill_children(void);

/* Kills and reaps children, adopted ones too, until there is none; -1 when some are left after so
 * many milliseconds. No other thread may wait for a child meanwhile. */
int reap_all(int64_t patience_ms);

#endif
