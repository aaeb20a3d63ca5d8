/*
 * locks.h - what the tasks of one process share in memory: which final tags are being worked on,
 * and which repositories took a push of ours lately. The store's own locks survive a crash; these
 * keep the former digest that a task has read true until its journal is written.
 */
#ifndef SLIPWAY_LOCKS_H
#define SLIPWAY_LOCKS_H

#include "core/base/base.h"
#include "core/base/mem.h"

struct target_locks;

struct target_locks *target_locks_new(void);
void target_locks_free(struct target_locks *l);

/* Waits until every name ("registry/name:tag") is free and takes them, in sorted order, so that no
 * two callers can wait for each other. The names must live until they are let go. */
void target_locks_take(struct target_locks *l, const struct str_list *names);
void target_locks_drop(struct target_locks *l, const struct str_list *names);

struct push_proofs;

struct push_proofs *push_proofs_new(void);
void push_proofs_free(struct push_proofs *p);

/* A push to "registry/name" succeeded at that time (milliseconds, monotonic). */
void push_proofs_add(struct push_proofs *p, const char *repository, int64_t now_ms);
/* Did one succeed lately? */
bool push_proofs_has(struct push_proofs *p, const char *repository, int64_t now_ms);

#endif
