/*
 * build_ask.h - the conversation with a builder, the same over a socket (its own user) and with a
 * child of our own (demo and command line): one line of JSON in, the spec; lines of JSON out, each
 * {"log": "text"}, and at last {"result": ...}. A builder that goes away without one: ERR_TEMP.
 */
#ifndef SLIPWAY_BUILD_ASK_H
#define SLIPWAY_BUILD_ASK_H

#include "core/build/build_run.h"

#include <stdatomic.h>

struct build_peer {
    const char *socket;      /* path of a unix socket; NULL: start argv as a child */
    const char *program;     /* the slipway binary, for a child: `slipway builder` */
    const char *scratch;     /* of a child: --scratch; NULL: its own choice */
    const atomic_bool *stop; /* NULL, or becomes true: the build is cancelled, ERR_TEMP ECANCELED */
};

/* log: as build_watch.log, from the calling thread. EBUSY with ERR_TEMP: there is no builder just
 * now, or it builds something else. The result's paths are checked to be where the spec says. */
int build_ask(const struct build_peer *peer, const struct build_spec *spec,
              const struct build_watch *watch, struct arena *a, struct build_layouts *out,
              struct err *err);

/*
 * The other side: one conversation over two descriptors (the same one twice for a socket). 0: a
 * result was sent, also one that says that the build failed; -1: no conversation came about, or the
 * peer went away (the input ends or hangs up) and the build was stopped. So is it at SIGTERM,
 * SIGINT and SIGHUP. Afterwards no process of the build runs any more, and nothing of it is in
 * scratch.
 *
 * A peer of another user than ours and root may name only folders that are his own, or that have
 * our group and the set-group-id bit. The calling process must have one thread and ignore SIGPIPE.
 */
int build_answer(int in, int out, const char *scratch, struct err *err);

/* Sends a failure as the result, without having read anything: EBUSY, for one. */
int build_refuse(int out, const struct err *why);

#endif
