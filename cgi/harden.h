/*
 * harden.h - what every process that holds secrets or writes the store does at its start.
 */
#ifndef SLIPWAY_HARDEN_H
#define SLIPWAY_HARDEN_H

/* No core dump and no debugger of the same user: both would show secrets. */
void harden_no_core_dumps(void);

/* Reaching a limit on the size of files (RLIMIT_FSIZE) is an error like a full disk, EFBIG, and no
 * signal that ends the process. */
void harden_file_limits(void);

#endif
