/*
 * ask.h - questions about an event's project, put to its forge where that has an interface for
 * them, else to plain git. Only the configured addresses are ever called. Answers live in the
 * arena; "could not ask" is ERR_TEMP, and so is what the forge does not know yet.
 */
#ifndef SLIPWAY_ASK_H
#define SLIPWAY_ASK_H

#include "core/domain/event.h"
#include "core/domain/order.h"
#include "core/engine/engine.h"

/* Where a project's code is, and as whom it is fetched. */
int ask_remote(const struct engine *e, const char *forge, const char *project, struct arena *a,
               struct git_remote *out, struct err *err);

/* Completes an event that came unsigned or partial (event->confirm), in place; tags are peeled to
 * commits. ERR_TEMP with code EAGAIN: the event says merged, the forge does not yet. */
int ask_confirm(const struct engine *e, struct event *event, struct arena *a, struct err *err);

/* A file at event->list_commit, or *missing when the commit does not have it. */
int ask_file(const struct engine *e, const struct event *event, const char *path, struct arena *a,
             const char **content, size_t *len, bool *missing, struct err *err);

/* The project's default branch, NULL when it has none. */
int ask_head(const struct engine *e, const struct event *event, struct arena *a,
             const char **branch, struct err *err);

/* The git tree of event->list_commit. */
int ask_tree(const struct engine *e, const struct event *event, struct arena *a, const char **tree,
             struct err *err);

/* Is event->list_commit contained in the branch? Asked of plain git. */
int ask_on_branch(const struct engine *e, const struct event *event, const char *branch, bool *on,
                  struct err *err);

/* What became of a change, by its number; CHANGE_UNASKED where nobody can be asked: plain git, or a
 * forge that was taken out of the configuration. */
int ask_change(const struct engine *e, const char *forge, const char *project, const char *change,
               struct arena *a, struct change_status *out, struct err *err);

/* Says a report about event->staged_commit, and event->change. Ends soon when the engine is to
 * stop: ERR_TEMP with code EINTR. */
int ask_report(const struct engine *e, const struct event *event, const struct forge_report *report,
               struct arena *a, struct err *err);

/* How the commits of two keys of the event's project are related; ANCESTRY_NOT_ASKED where the
 * forge's own merge times tell already. */
int ask_ancestry(const struct engine *e, const struct event *event, const struct order_key *mine,
                 const struct order_key *applied, enum ancestry *out, struct err *err);

#endif
