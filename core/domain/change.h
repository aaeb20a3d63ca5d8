/*
 * change.h - what a forge says of one change (Gerrit change, pull request), as plain data.
 */
#ifndef SLIPWAY_CHANGE_H
#define SLIPWAY_CHANGE_H

#include "core/base/base.h"

enum change_state {
    CHANGE_UNASKED, /* nobody can be asked: plain git, or a forge without such a question */
    CHANGE_UNKNOWN, /* the forge shows us no such change, or no such project */
    CHANGE_OPEN,    /* also drafts, private ones and those in the works */
    CHANGE_MERGED,
    CHANGE_CLOSED /* abandoned, or closed without merging */
};

struct change_status {
    enum change_state state;
    const char *commit; /* CHANGE_MERGED: the change's own merged revision */
    int64_t merged_at;  /* CHANGE_MERGED: the forge's own time, seconds; 0: not said */
};

#endif
