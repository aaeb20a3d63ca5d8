/*
 * labels.h - what an image says it was built for: org.zuul-ci.change and org.zuul-ci.change_url,
 * which Zuul's jobs and ours give it.
 */
#ifndef SLIPWAY_ENGINE_LABELS_H
#define SLIPWAY_ENGINE_LABELS_H

#include "core/domain/event.h"
#include "core/engine/engine.h"

enum { LABELS_CONFIG_MAX = 1 << 20 };

struct labels {
    const char *change; /* NULL: it does not say */
    const char *change_url;
};

/* Of an image's config. An artifact's need not be JSON: then it has no labels. */
void labels_of_config(const void *config, size_t len, struct arena *a, struct labels *out);

/* Of what a tag or digest shows; of an index, of its first child. Both NULL when nothing is there.
 */
int labels_read(const struct engine *e, const char *host, const char *name, const char *ref,
                struct arena *a, struct labels *out, struct err *err);

/* "https://host/team/app/pull/7" is of team/app; "https://review/7" may be of any project. */
bool labels_url_fits(const char *url, const struct event *event);

#endif
