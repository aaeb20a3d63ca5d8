/*
 * engine_setup.h - puts an engine together from the settings, for commands that work or plan.
 */
#ifndef SLIPWAY_ENGINE_SETUP_H
#define SLIPWAY_ENGINE_SETUP_H

#include "config/settings.h"
#include "core/engine/engine.h"

/* Opens the store only when asked to. On failure everything is released. */
int engine_setup(struct engine *e, const struct settings *s, bool with_store, struct err *err);
/* The same for a command beside a running `work`: the store is shared and has to be there, the git
 * cache is not, for it belongs to the worker's user. */
int engine_setup_beside(struct engine *e, const struct settings *s, struct err *err);
void engine_teardown(struct engine *e);

/* Loads the settings for a command; NULL after printing every error to standard error. */
const struct settings *settings_for_command(const char *config_flag, unsigned roles,
                                            struct arena *a);

#endif
