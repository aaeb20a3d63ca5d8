/*
 * progress.h - copies under way: bars on a terminal, one plain line for each end elsewhere. Written
 * to standard error, since standard output is for data.
 */
#ifndef SLIPWAY_PROGRESS_H
#define SLIPWAY_PROGRESS_H

#include "core/registry/copy.h"

struct progress;

/* Bars when `out` is a terminal that can move its cursor (TERM is not "dumb"), else lines; `quiet`:
 * neither. images 0: not known beforehand. */
struct progress *progress_new(FILE *out, size_t images, bool quiet);
/* What copy_all calls; valid until progress_free. */
const struct copy_watch *progress_watch(struct progress *p);
/* Takes the bars away. */
void progress_free(struct progress *p);

#endif
